//! Truth values.

use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number},
};
use abide_net::CallError;
use abide_schema::types::atomic_bool;

/// A truth value: see [`atomic_bool`].
#[derive(Debug)]
pub struct AtomicBool {
    value: Number<bool>,
}

impl SharedObject for AtomicBool {
    type Type = atomic_bool::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        AtomicBool { value: Number::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        atomic_bool::Creation { initial }: atomic_bool::Creation,
    ) -> Result<(), CallError> {
        self.value.set(context, initial)
    }

    calls!(abide_schema::types::atomic_bool);
}

impl atomic_bool::Methods<Context<'_, '_>> for AtomicBool {
    fn get(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.value.get(context)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, value: bool) -> Result<(), CallError> {
        self.value.set(context, value)
    }

    fn swap(&mut self, context: &mut Context<'_, '_>, value: bool) -> Result<bool, CallError> {
        self.value.update(context, |_| value)
    }

    fn compare_exchange(
        &mut self,
        context: &mut Context<'_, '_>,
        expected: bool,
        value: bool,
    ) -> Result<Result<bool, bool>, CallError> {
        let before = self.value.update(context, |there| if there == expected { value } else { there })?;
        Ok(if before == expected { Ok(before) } else { Err(before) })
    }

    fn fetch_and(&mut self, context: &mut Context<'_, '_>, value: bool) -> Result<bool, CallError> {
        self.value.update(context, |there| there & value)
    }

    fn fetch_or(&mut self, context: &mut Context<'_, '_>, value: bool) -> Result<bool, CallError> {
        self.value.update(context, |there| there | value)
    }

    fn fetch_xor(&mut self, context: &mut Context<'_, '_>, value: bool) -> Result<bool, CallError> {
        self.value.update(context, |there| there ^ value)
    }
}
