//! Integers and counters.

use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::CallError;
use abide_schema::types::{atomic_int, atomic_long, counter};
use serde::{Deserialize, Serialize};

macro_rules! atomic_integer {
    ($(#[doc = $doc:literal])* $name:ident, $module:ident, $integer:ty) => {
        $(#[doc = $doc])*
        #[derive(Debug, Serialize, Deserialize)]
        pub struct $name {
            value: $integer,
        }

        impl SharedObject for $name {
            type Type = $module::Type;

            fn create($module::Creation { initial }: $module::Creation) -> Result<Self, CallError> {
                Ok($name { value: initial })
            }
        }

        impl Object for $name {
            calls_and_state!(abide_schema::types::$module);

            fn bytes(&self) -> usize {
                size_of::<Self>()
            }
        }

        impl $name {
            fn put(&mut self, value: $integer) -> $integer {
                std::mem::replace(&mut self.value, value)
            }

            fn add(&mut self, delta: $integer) -> $integer {
                self.value = self.value.wrapping_add(delta);
                self.value
            }
        }

        impl $module::Methods<Context<'_>> for $name {
            fn get(&mut self, _: &mut Context<'_>) -> Result<$integer, CallError> {
                Ok(self.value)
            }

            fn set(&mut self, _: &mut Context<'_>, value: $integer) -> Result<(), CallError> {
                self.value = value;
                Ok(())
            }

            fn swap(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(value))
            }

            fn compare_exchange(
                &mut self,
                _: &mut Context<'_>,
                expected: $integer,
                value: $integer,
            ) -> Result<Result<$integer, $integer>, CallError> {
                Ok(if self.value == expected { Ok(self.put(value)) } else { Err(self.value) })
            }

            fn add_and_get(&mut self, _: &mut Context<'_>, delta: $integer) -> Result<$integer, CallError> {
                Ok(self.add(delta))
            }

            fn get_and_add(&mut self, _: &mut Context<'_>, delta: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value.wrapping_add(delta)))
            }

            fn increment_and_get(&mut self, _: &mut Context<'_>) -> Result<$integer, CallError> {
                Ok(self.add(1))
            }

            fn decrement_and_get(&mut self, _: &mut Context<'_>) -> Result<$integer, CallError> {
                Ok(self.add(-1))
            }

            fn get_and_increment(&mut self, _: &mut Context<'_>) -> Result<$integer, CallError> {
                Ok(self.put(self.value.wrapping_add(1)))
            }

            fn get_and_decrement(&mut self, _: &mut Context<'_>) -> Result<$integer, CallError> {
                Ok(self.put(self.value.wrapping_sub(1)))
            }

            fn fetch_min(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value.min(value)))
            }

            fn fetch_max(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value.max(value)))
            }

            fn fetch_mul(&mut self, _: &mut Context<'_>, factor: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value.wrapping_mul(factor)))
            }

            fn fetch_and(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value & value))
            }

            fn fetch_or(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value | value))
            }

            fn fetch_xor(&mut self, _: &mut Context<'_>, value: $integer) -> Result<$integer, CallError> {
                Ok(self.put(self.value ^ value))
            }

            fn checked_add(
                &mut self,
                _: &mut Context<'_>,
                delta: $integer,
            ) -> Result<Option<$integer>, CallError> {
                let sum = self.value.checked_add(delta);
                self.value = sum.unwrap_or(self.value);
                Ok(sum)
            }
        }
    };
}

atomic_integer! {
    /// A 32-bit signed integer: see [`atomic_int`].
    AtomicInt, atomic_int, i32
}
atomic_integer! {
    /// A 64-bit signed integer: see [`atomic_long`].
    AtomicLong, atomic_long, i64
}

/// A count that many threads change and few read: see [`counter`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Counter {
    count: i64,
}

impl SharedObject for Counter {
    type Type = counter::Type;

    fn create(counter::Creation { initial }: counter::Creation) -> Result<Self, CallError> {
        Ok(Counter { count: initial })
    }
}

impl Object for Counter {
    calls_and_state!(abide_schema::types::counter);

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl counter::Methods<Context<'_>> for Counter {
    fn increment(&mut self, _: &mut Context<'_>, n: i64) -> Result<(), CallError> {
        self.count = self.count.wrapping_add(n);
        Ok(())
    }

    fn decrement(&mut self, _: &mut Context<'_>, n: i64) -> Result<(), CallError> {
        self.count = self.count.wrapping_sub(n);
        Ok(())
    }

    fn tally(&mut self, _: &mut Context<'_>) -> Result<i64, CallError> {
        Ok(self.count)
    }

    fn reset(&mut self, _: &mut Context<'_>) -> Result<i64, CallError> {
        Ok(std::mem::take(&mut self.count))
    }
}
