//! Floats.
//!
//! What a processor makes of a NaN's bits differs between processors, and which of two zeros `f64::min`
//! gives is not even fixed on one. Both are decided here, so that replicas agree.

use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::CallError;
use abide_schema::types::atomic_double;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A result of arithmetic, with one NaN for all.
pub(super) fn settled(result: f64) -> f64 {
    if result.is_nan() { f64::NAN } else { result }
}

/// Of two floats the one that is `wanted` (less or greater) than the other. -0.0 is less than 0.0, and NaN
/// loses; of equals, the one that is there.
pub(super) fn extreme(there: f64, new: f64, wanted: Ordering) -> f64 {
    if new.is_nan() {
        there
    } else if there.is_nan() || new.total_cmp(&there) == wanted {
        new
    } else {
        there
    }
}

/// A 64-bit float: see [`atomic_double`].
#[derive(Debug, Serialize, Deserialize)]
pub struct AtomicDouble {
    value: f64,
}

impl SharedObject for AtomicDouble {
    type Type = atomic_double::Type;

    fn create(atomic_double::Creation { initial }: atomic_double::Creation) -> Result<Self, CallError> {
        Ok(AtomicDouble { value: initial })
    }
}

impl Object for AtomicDouble {
    calls_and_state!(abide_schema::types::atomic_double);

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl AtomicDouble {
    fn put(&mut self, value: f64) -> f64 {
        std::mem::replace(&mut self.value, value)
    }
}

impl atomic_double::Methods<Context<'_>> for AtomicDouble {
    fn get(&mut self, _: &mut Context<'_>) -> Result<f64, CallError> {
        Ok(self.value)
    }

    fn set(&mut self, _: &mut Context<'_>, value: f64) -> Result<(), CallError> {
        self.value = value;
        Ok(())
    }

    fn swap(&mut self, _: &mut Context<'_>, value: f64) -> Result<f64, CallError> {
        Ok(self.put(value))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Context<'_>,
        expected: f64,
        value: f64,
    ) -> Result<Result<f64, f64>, CallError> {
        let equal = self.value.to_bits() == expected.to_bits();
        Ok(if equal { Ok(self.put(value)) } else { Err(self.value) })
    }

    fn add_and_get(&mut self, _: &mut Context<'_>, delta: f64) -> Result<f64, CallError> {
        self.value = settled(self.value + delta);
        Ok(self.value)
    }

    fn mul_and_get(&mut self, _: &mut Context<'_>, factor: f64) -> Result<f64, CallError> {
        self.value = settled(self.value * factor);
        Ok(self.value)
    }

    fn fetch_min(&mut self, _: &mut Context<'_>, value: f64) -> Result<f64, CallError> {
        Ok(self.put(extreme(self.value, value, Ordering::Less)))
    }

    fn fetch_max(&mut self, _: &mut Context<'_>, value: f64) -> Result<f64, CallError> {
        Ok(self.put(extreme(self.value, value, Ordering::Greater)))
    }
}
