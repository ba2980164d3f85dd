//! Registers.

use super::{
    Hints, Model, Moment, calls,
    merge::{extreme, settled},
};
use abide_net::{Bytes, CallError, Value};
use abide_schema::types::{
    atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, counter,
};
use std::cmp::Ordering;

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone)]
pub(super) struct Bool(bool);

impl Model for Bool {
    calls!(atomic_bool);

    fn create(creation: atomic_bool::Creation, _: u64) -> Made<Self> {
        Ok(Bool(creation.initial))
    }
}

impl atomic_bool::Methods<Moment> for Bool {
    fn get(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.0)
    }

    fn set(&mut self, _: &mut Moment, value: bool) -> Made<()> {
        self.0 = value;
        Ok(())
    }

    fn swap(&mut self, _: &mut Moment, value: bool) -> Made<bool> {
        Ok(std::mem::replace(&mut self.0, value))
    }

    fn compare_exchange(&mut self, _: &mut Moment, expected: bool, value: bool) -> Made<Result<bool, bool>> {
        if self.0 == expected { Ok(Ok(std::mem::replace(&mut self.0, value))) } else { Ok(Err(self.0)) }
    }

    fn fetch_and(&mut self, moment: &mut Moment, value: bool) -> Made<bool> {
        let after = self.0 && value;
        self.swap(moment, after)
    }

    fn fetch_or(&mut self, moment: &mut Moment, value: bool) -> Made<bool> {
        let after = self.0 || value;
        self.swap(moment, after)
    }

    fn fetch_xor(&mut self, moment: &mut Moment, value: bool) -> Made<bool> {
        let after = self.0 != value;
        self.swap(moment, after)
    }
}

macro_rules! integer {
    ($name:ident, $module:ident, $integer:ty) => {
        /// Computes in 128 bits, and wraps at the end.
        #[derive(Debug, Clone)]
        pub(super) struct $name($integer);

        impl Model for $name {
            calls!($module);

            fn create(creation: $module::Creation, _: u64) -> Made<Self> {
                Ok($name(creation.initial))
            }
        }

        impl $name {
            /// Replaces the value and returns the one before.
            fn become_wrapped(&mut self, value: i128) -> $integer {
                std::mem::replace(&mut self.0, value as $integer)
            }
        }

        impl $module::Methods<Moment> for $name {
            fn get(&mut self, _: &mut Moment) -> Made<$integer> {
                Ok(self.0)
            }

            fn set(&mut self, _: &mut Moment, value: $integer) -> Made<()> {
                self.0 = value;
                Ok(())
            }

            fn swap(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(std::mem::replace(&mut self.0, value))
            }

            fn compare_exchange(
                &mut self,
                _: &mut Moment,
                expected: $integer,
                value: $integer,
            ) -> Made<Result<$integer, $integer>> {
                let before = self.0;
                if before != expected {
                    return Ok(Err(before));
                }
                self.0 = value;
                Ok(Ok(before))
            }

            fn add_and_get(&mut self, _: &mut Moment, delta: $integer) -> Made<$integer> {
                self.become_wrapped(i128::from(self.0) + i128::from(delta));
                Ok(self.0)
            }

            fn get_and_add(&mut self, _: &mut Moment, delta: $integer) -> Made<$integer> {
                Ok(self.become_wrapped(i128::from(self.0) + i128::from(delta)))
            }

            fn increment_and_get(&mut self, moment: &mut Moment) -> Made<$integer> {
                self.add_and_get(moment, 1)
            }

            fn decrement_and_get(&mut self, moment: &mut Moment) -> Made<$integer> {
                self.add_and_get(moment, -1)
            }

            fn get_and_increment(&mut self, moment: &mut Moment) -> Made<$integer> {
                self.get_and_add(moment, 1)
            }

            fn get_and_decrement(&mut self, moment: &mut Moment) -> Made<$integer> {
                self.get_and_add(moment, -1)
            }

            fn fetch_min(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(self.become_wrapped(self.0.min(value).into()))
            }

            fn fetch_max(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(self.become_wrapped(self.0.max(value).into()))
            }

            fn fetch_mul(&mut self, _: &mut Moment, factor: $integer) -> Made<$integer> {
                Ok(self.become_wrapped(i128::from(self.0) * i128::from(factor)))
            }

            fn fetch_and(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(self.become_wrapped((self.0 & value).into()))
            }

            fn fetch_or(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(self.become_wrapped((self.0 | value).into()))
            }

            fn fetch_xor(&mut self, _: &mut Moment, value: $integer) -> Made<$integer> {
                Ok(self.become_wrapped((self.0 ^ value).into()))
            }

            fn checked_add(&mut self, _: &mut Moment, delta: $integer) -> Made<Option<$integer>> {
                let sum = <$integer>::try_from(i128::from(self.0) + i128::from(delta));
                let Ok(sum) = sum else { return Ok(None) };
                self.0 = sum;
                Ok(Some(sum))
            }
        }
    };
}

integer!(Int, atomic_int, i32);
integer!(Long, atomic_long, i64);

#[derive(Debug, Clone)]
pub(super) struct Double(f64);

impl Model for Double {
    calls!(atomic_double);

    fn create(creation: atomic_double::Creation, _: u64) -> Made<Self> {
        Ok(Double(creation.initial))
    }
}

impl atomic_double::Methods<Moment> for Double {
    fn get(&mut self, _: &mut Moment) -> Made<f64> {
        Ok(self.0)
    }

    fn set(&mut self, _: &mut Moment, value: f64) -> Made<()> {
        self.0 = value;
        Ok(())
    }

    fn swap(&mut self, _: &mut Moment, value: f64) -> Made<f64> {
        Ok(std::mem::replace(&mut self.0, value))
    }

    fn compare_exchange(&mut self, _: &mut Moment, expected: f64, value: f64) -> Made<Result<f64, f64>> {
        let before = self.0;
        if before.to_bits() != expected.to_bits() {
            return Ok(Err(before));
        }
        self.0 = value;
        Ok(Ok(before))
    }

    fn add_and_get(&mut self, _: &mut Moment, delta: f64) -> Made<f64> {
        self.0 = settled(self.0 + delta);
        Ok(self.0)
    }

    fn mul_and_get(&mut self, _: &mut Moment, factor: f64) -> Made<f64> {
        self.0 = settled(self.0 * factor);
        Ok(self.0)
    }

    fn fetch_min(&mut self, _: &mut Moment, value: f64) -> Made<f64> {
        let after = extreme(self.0, value, Ordering::Less);
        Ok(std::mem::replace(&mut self.0, after))
    }

    fn fetch_max(&mut self, _: &mut Moment, value: f64) -> Made<f64> {
        let after = extreme(self.0, value, Ordering::Greater);
        Ok(std::mem::replace(&mut self.0, after))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Counter(i64);

impl Model for Counter {
    calls!(counter);

    fn create(creation: counter::Creation, _: u64) -> Made<Self> {
        Ok(Counter(creation.initial))
    }
}

impl counter::Methods<Moment> for Counter {
    fn increment(&mut self, _: &mut Moment, n: i64) -> Made<()> {
        self.0 = (i128::from(self.0) + i128::from(n)) as i64;
        Ok(())
    }

    fn decrement(&mut self, _: &mut Moment, n: i64) -> Made<()> {
        self.0 = (i128::from(self.0) - i128::from(n)) as i64;
        Ok(())
    }

    fn tally(&mut self, _: &mut Moment) -> Made<i64> {
        Ok(self.0)
    }

    fn reset(&mut self, _: &mut Moment) -> Made<i64> {
        Ok(std::mem::take(&mut self.0))
    }
}

#[derive(Debug, Clone)]
pub(super) struct ByteArray(Vec<u8>);

impl Model for ByteArray {
    calls!(atomic_byte_array);

    fn create(creation: atomic_byte_array::Creation, _: u64) -> Made<Self> {
        Ok(ByteArray(creation.initial.0))
    }
}

impl ByteArray {
    fn range(&mut self, offset: u64, len: u64) -> Made<&mut [u8]> {
        let there = self.0.len() as u64;
        let range = (offset as usize, offset.saturating_add(len));
        if range.1 > there || offset > there {
            return Err(CallError::OutOfBounds { len: there });
        }
        Ok(&mut self.0[range.0..range.1 as usize])
    }
}

impl atomic_byte_array::Methods<Moment> for ByteArray {
    fn get(&mut self, _: &mut Moment) -> Made<Bytes> {
        Ok(Bytes(self.0.clone()))
    }

    fn set(&mut self, _: &mut Moment, bytes: Bytes) -> Made<()> {
        self.0 = bytes.0;
        Ok(())
    }

    fn swap(&mut self, _: &mut Moment, bytes: Bytes) -> Made<Bytes> {
        Ok(Bytes(std::mem::replace(&mut self.0, bytes.0)))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Moment,
        expected: Bytes,
        bytes: Bytes,
    ) -> Made<Result<Bytes, Bytes>> {
        if self.0 != expected.0 {
            return Ok(Err(Bytes(self.0.clone())));
        }
        self.0 = bytes.0;
        Ok(Ok(expected))
    }

    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.0.len() as u64)
    }

    fn get_range(&mut self, _: &mut Moment, offset: u64, len: u64) -> Made<Bytes> {
        self.range(offset, len).map(|bytes| Bytes(bytes.to_vec()))
    }

    fn set_range(&mut self, _: &mut Moment, offset: u64, bytes: Bytes) -> Made<()> {
        self.range(offset, bytes.0.len() as u64)?.copy_from_slice(&bytes.0);
        Ok(())
    }

    fn append(&mut self, _: &mut Moment, bytes: Bytes) -> Made<u64> {
        self.0.extend(bytes.0);
        Ok(self.0.len() as u64)
    }

    fn resize(&mut self, _: &mut Moment, len: u64) -> Made<()> {
        self.0.resize(len as usize, 0);
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Reference {
    value: Option<Value>,
    version: u64,
}

impl Model for Reference {
    calls!(atomic_ref);

    fn create(creation: atomic_ref::Creation, _: u64) -> Made<Self> {
        Ok(Reference { value: creation.initial, version: 0 })
    }

    fn hints(&self) -> Hints {
        Hints { numbers: vec![self.version], ..Hints::default() }
    }
}

impl Reference {
    fn put(&mut self, value: Option<Value>) -> Option<Value> {
        self.version += 1;
        std::mem::replace(&mut self.value, value)
    }
}

impl atomic_ref::Methods<Moment> for Reference {
    fn get(&mut self, _: &mut Moment) -> Made<Option<Value>> {
        Ok(self.value.clone())
    }

    fn set(&mut self, _: &mut Moment, value: Option<Value>) -> Made<()> {
        self.put(value);
        Ok(())
    }

    fn swap(&mut self, _: &mut Moment, value: Option<Value>) -> Made<Option<Value>> {
        Ok(self.put(value))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Moment,
        expected: Option<Value>,
        value: Option<Value>,
    ) -> Made<Result<Option<Value>, Option<Value>>> {
        if self.value == expected { Ok(Ok(self.put(value))) } else { Ok(Err(self.value.clone())) }
    }

    fn take(&mut self, _: &mut Moment) -> Made<Option<Value>> {
        if self.value.is_none() { Ok(None) } else { Ok(self.put(None)) }
    }

    fn get_versioned(&mut self, _: &mut Moment) -> Made<(u64, Option<Value>)> {
        Ok((self.version, self.value.clone()))
    }

    fn set_if_version(
        &mut self,
        _: &mut Moment,
        version: u64,
        value: Option<Value>,
    ) -> Made<Result<u64, u64>> {
        if self.version != version {
            return Ok(Err(self.version));
        }
        self.put(value);
        Ok(Ok(self.version))
    }
}
