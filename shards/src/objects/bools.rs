//! Truth values.

use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::CallError;
use abide_schema::types::atomic_bool;
use serde::{Deserialize, Serialize};

/// A truth value: see [`atomic_bool`].
#[derive(Debug, Serialize, Deserialize)]
pub struct AtomicBool {
    value: bool,
}

impl SharedObject for AtomicBool {
    type Type = atomic_bool::Type;

    fn create(atomic_bool::Creation { initial }: atomic_bool::Creation) -> Result<Self, CallError> {
        Ok(AtomicBool { value: initial })
    }
}

impl Object for AtomicBool {
    calls_and_state!(abide_schema::types::atomic_bool);

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl AtomicBool {
    fn put(&mut self, value: bool) -> bool {
        std::mem::replace(&mut self.value, value)
    }
}

impl atomic_bool::Methods<Context<'_>> for AtomicBool {
    fn get(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.value)
    }

    fn set(&mut self, _: &mut Context<'_>, value: bool) -> Result<(), CallError> {
        self.value = value;
        Ok(())
    }

    fn swap(&mut self, _: &mut Context<'_>, value: bool) -> Result<bool, CallError> {
        Ok(self.put(value))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Context<'_>,
        expected: bool,
        value: bool,
    ) -> Result<Result<bool, bool>, CallError> {
        Ok(if self.value == expected { Ok(self.put(value)) } else { Err(self.value) })
    }

    fn fetch_and(&mut self, _: &mut Context<'_>, value: bool) -> Result<bool, CallError> {
        Ok(self.put(self.value & value))
    }

    fn fetch_or(&mut self, _: &mut Context<'_>, value: bool) -> Result<bool, CallError> {
        Ok(self.put(self.value | value))
    }

    fn fetch_xor(&mut self, _: &mut Context<'_>, value: bool) -> Result<bool, CallError> {
        Ok(self.put(self.value ^ value))
    }
}
