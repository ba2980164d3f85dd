//! References to values of users' types.

use super::sizes::check_value;
use crate::{Context, Object, SharedObject, calls_and_state};
use abide_net::{CallError, Value};
use abide_schema::types::atomic_ref;
use serde::{Deserialize, Serialize};

/// A reference to a value, or to nothing: see [`atomic_ref`].
#[derive(Debug, Serialize, Deserialize)]
pub struct AtomicRef {
    value: Option<Value>,
    /// Grows whenever a value is put here, be it equal to the one before, or is taken away. So one who saw
    /// a version knows that nothing happened since, and not merely that the value came back.
    version: u64,
}

impl SharedObject for AtomicRef {
    type Type = atomic_ref::Type;

    fn create(atomic_ref::Creation { initial }: atomic_ref::Creation) -> Result<Self, CallError> {
        check(&initial)?;
        Ok(AtomicRef { value: initial, version: 0 })
    }
}

impl Object for AtomicRef {
    calls_and_state!(abide_schema::types::atomic_ref);

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.value.as_ref().map_or(0, |value| value.as_bytes().len())
    }
}

fn check(value: &Option<Value>) -> Result<(), CallError> {
    value.as_ref().map_or(Ok(()), check_value)
}

impl AtomicRef {
    fn put(&mut self, value: Option<Value>) -> Option<Value> {
        self.version += 1;
        std::mem::replace(&mut self.value, value)
    }
}

impl atomic_ref::Methods<Context<'_>> for AtomicRef {
    fn get(&mut self, _: &mut Context<'_>) -> Result<Option<Value>, CallError> {
        Ok(self.value.clone())
    }

    fn set(&mut self, _: &mut Context<'_>, value: Option<Value>) -> Result<(), CallError> {
        check(&value)?;
        self.put(value);
        Ok(())
    }

    fn swap(&mut self, _: &mut Context<'_>, value: Option<Value>) -> Result<Option<Value>, CallError> {
        check(&value)?;
        Ok(self.put(value))
    }

    fn compare_exchange(
        &mut self,
        _: &mut Context<'_>,
        expected: Option<Value>,
        value: Option<Value>,
    ) -> Result<Result<Option<Value>, Option<Value>>, CallError> {
        check(&value)?;
        Ok(if self.value == expected { Ok(self.put(value)) } else { Err(self.value.clone()) })
    }

    fn take(&mut self, _: &mut Context<'_>) -> Result<Option<Value>, CallError> {
        // Taking nothing from nothing changes nothing.
        Ok(if self.value.is_some() { self.put(None) } else { None })
    }

    fn get_versioned(&mut self, _: &mut Context<'_>) -> Result<(u64, Option<Value>), CallError> {
        Ok((self.version, self.value.clone()))
    }

    fn set_if_version(
        &mut self,
        _: &mut Context<'_>,
        version: u64,
        value: Option<Value>,
    ) -> Result<Result<u64, u64>, CallError> {
        check(&value)?;
        if self.version != version {
            return Ok(Err(self.version));
        }
        self.put(value);
        Ok(Ok(self.version))
    }
}
