//! Integers and counters.

use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number},
};
use abide_net::CallError;
use abide_schema::types::{atomic_int, atomic_long, counter};

macro_rules! atomic_integer {
    ($(#[doc = $doc:literal])* $name:ident, $module:ident, $integer:ty) => {
        $(#[doc = $doc])*
        #[derive(Debug)]
        pub struct $name {
            value: Number<$integer>,
        }

        impl SharedObject for $name {
            type Type = $module::Type;

            const FIELDS: u32 = 1;

            fn at(fields: Fields) -> Self {
                $name { value: Number::at(fields, 0) }
            }

            fn create(
                &mut self,
                context: &mut Context<'_, '_>,
                $module::Creation { initial }: $module::Creation,
            ) -> Result<(), CallError> {
                self.value.set(context, initial)
            }

            calls!(abide_schema::types::$module);
        }

        impl $module::Methods<Context<'_, '_>> for $name {
            fn get(&mut self, context: &mut Context<'_, '_>) -> Result<$integer, CallError> {
                self.value.get(context)
            }

            fn set(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<(), CallError> {
                self.value.set(context, value)
            }

            fn swap(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |_| value)
            }

            fn compare_exchange(&mut self, context: &mut Context<'_, '_>, expected: $integer, value: $integer) -> Result<Result<$integer, $integer>, CallError> {
                let before = self.value.update(context, |there| if there == expected { value } else { there })?;
                Ok(if before == expected { Ok(before) } else { Err(before) })
            }

            fn add_and_get(&mut self, context: &mut Context<'_, '_>, delta: $integer) -> Result<$integer, CallError> {
                Ok(self.value.update(context, |there| there.wrapping_add(delta))?.wrapping_add(delta))
            }

            fn get_and_add(&mut self, context: &mut Context<'_, '_>, delta: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there.wrapping_add(delta))
            }

            fn increment_and_get(&mut self, context: &mut Context<'_, '_>) -> Result<$integer, CallError> {
                self.add_and_get(context, 1)
            }

            fn decrement_and_get(&mut self, context: &mut Context<'_, '_>) -> Result<$integer, CallError> {
                self.add_and_get(context, -1)
            }

            fn get_and_increment(&mut self, context: &mut Context<'_, '_>) -> Result<$integer, CallError> {
                self.get_and_add(context, 1)
            }

            fn get_and_decrement(&mut self, context: &mut Context<'_, '_>) -> Result<$integer, CallError> {
                self.get_and_add(context, -1)
            }

            fn fetch_min(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there.min(value))
            }

            fn fetch_max(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there.max(value))
            }

            fn fetch_mul(&mut self, context: &mut Context<'_, '_>, factor: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there.wrapping_mul(factor))
            }

            fn fetch_and(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there & value)
            }

            fn fetch_or(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there | value)
            }

            fn fetch_xor(&mut self, context: &mut Context<'_, '_>, value: $integer) -> Result<$integer, CallError> {
                self.value.update(context, |there| there ^ value)
            }

            fn checked_add(&mut self, context: &mut Context<'_, '_>, delta: $integer) -> Result<Option<$integer>, CallError> {
                let before = self.value.update(context, |there| there.checked_add(delta).unwrap_or(there))?;
                Ok(before.checked_add(delta))
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
#[derive(Debug)]
pub struct Counter {
    count: Number<i64>,
}

impl SharedObject for Counter {
    type Type = counter::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Counter { count: Number::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        counter::Creation { initial }: counter::Creation,
    ) -> Result<(), CallError> {
        self.count.set(context, initial)
    }

    calls!(abide_schema::types::counter);
}

impl counter::Methods<Context<'_, '_>> for Counter {
    fn increment(&mut self, context: &mut Context<'_, '_>, n: i64) -> Result<(), CallError> {
        self.count.update(context, |count| count.wrapping_add(n)).map(drop)
    }

    fn decrement(&mut self, context: &mut Context<'_, '_>, n: i64) -> Result<(), CallError> {
        self.count.update(context, |count| count.wrapping_sub(n)).map(drop)
    }

    fn tally(&mut self, context: &mut Context<'_, '_>) -> Result<i64, CallError> {
        self.count.get(context)
    }

    fn reset(&mut self, context: &mut Context<'_, '_>) -> Result<i64, CallError> {
        self.count.update(context, |_| 0)
    }
}
