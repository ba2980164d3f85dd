//! Floats.
//!
//! What a processor makes of a NaN's bits differs between processors, and which of two zeros `f64::min`
//! gives is not even fixed on one. Both are decided here, so that replicas agree.

use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number},
};
use abide_net::CallError;
use abide_schema::types::atomic_double;
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
#[derive(Debug)]
pub struct AtomicDouble {
    value: Number<f64>,
}

impl SharedObject for AtomicDouble {
    type Type = atomic_double::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        AtomicDouble { value: Number::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        atomic_double::Creation { initial }: atomic_double::Creation,
    ) -> Result<(), CallError> {
        self.value.set(context, initial)
    }

    calls!(abide_schema::types::atomic_double);
}

impl atomic_double::Methods<Context<'_, '_>> for AtomicDouble {
    fn get(&mut self, context: &mut Context<'_, '_>) -> Result<f64, CallError> {
        self.value.get(context)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, value: f64) -> Result<(), CallError> {
        self.value.set(context, value)
    }

    fn swap(&mut self, context: &mut Context<'_, '_>, value: f64) -> Result<f64, CallError> {
        self.value.update(context, |_| value)
    }

    fn compare_exchange(
        &mut self,
        context: &mut Context<'_, '_>,
        expected: f64,
        value: f64,
    ) -> Result<Result<f64, f64>, CallError> {
        let same = |there: f64| there.to_bits() == expected.to_bits();
        let before = self.value.update(context, |there| if same(there) { value } else { there })?;
        Ok(if same(before) { Ok(before) } else { Err(before) })
    }

    fn add_and_get(&mut self, context: &mut Context<'_, '_>, delta: f64) -> Result<f64, CallError> {
        Ok(settled(self.value.update(context, |there| settled(there + delta))? + delta))
    }

    fn mul_and_get(&mut self, context: &mut Context<'_, '_>, factor: f64) -> Result<f64, CallError> {
        Ok(settled(self.value.update(context, |there| settled(there * factor))? * factor))
    }

    fn fetch_min(&mut self, context: &mut Context<'_, '_>, value: f64) -> Result<f64, CallError> {
        self.value.update(context, |there| extreme(there, value, Ordering::Less))
    }

    fn fetch_max(&mut self, context: &mut Context<'_, '_>, value: f64) -> Result<f64, CallError> {
        self.value.update(context, |there| extreme(there, value, Ordering::Greater))
    }
}
