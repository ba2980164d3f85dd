//! References to values of users' types.

use super::sizes::check_value;
use crate::{
    Context, SharedObject, calls,
    state::{ByteField, Fields, Number},
};
use abide_net::{CallError, Value};
use abide_schema::types::atomic_ref;

/// A reference to a value, or to nothing: see [`atomic_ref`].
#[derive(Debug)]
pub struct AtomicRef {
    /// No bytes for nothing: a value has one at least.
    value: ByteField,
    /// Grows whenever a value is put here, be it equal to the one before, or is taken away. So one who saw
    /// a version knows that nothing happened since, and not merely that the value came back.
    version: Number<u64>,
}

impl SharedObject for AtomicRef {
    type Type = atomic_ref::Type;

    const FIELDS: u32 = 2;

    fn at(fields: Fields) -> Self {
        AtomicRef { value: ByteField::at(fields, 0), version: Number::at(fields, 1) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        atomic_ref::Creation { initial }: atomic_ref::Creation,
    ) -> Result<(), CallError> {
        check(&initial)?;
        self.value.set(context, bytes_of(&initial))
    }

    calls!(abide_schema::types::atomic_ref);
}

fn check(value: &Option<Value>) -> Result<(), CallError> {
    value.as_ref().map_or(Ok(()), check_value)
}

fn bytes_of(value: &Option<Value>) -> &[u8] {
    value.as_ref().map_or(&[], Value::as_bytes)
}

impl AtomicRef {
    fn value(&self, context: &Context<'_, '_>) -> Result<Option<Value>, CallError> {
        let bytes = self.value.get(context)?;
        if bytes.is_empty() { Ok(None) } else { Value::from_bytes(&bytes).map(Some) }
    }

    fn put(&self, context: &mut Context<'_, '_>, value: &Option<Value>) -> Result<u64, CallError> {
        self.value.set(context, bytes_of(value))?;
        Ok(self.version.update(context, |version| version + 1)? + 1)
    }
}

impl atomic_ref::Methods<Context<'_, '_>> for AtomicRef {
    fn get(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        self.value(context)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, value: Option<Value>) -> Result<(), CallError> {
        check(&value)?;
        self.put(context, &value).map(drop)
    }

    fn swap(
        &mut self,
        context: &mut Context<'_, '_>,
        value: Option<Value>,
    ) -> Result<Option<Value>, CallError> {
        check(&value)?;
        let before = self.value(context)?;
        self.put(context, &value)?;
        Ok(before)
    }

    fn compare_exchange(
        &mut self,
        context: &mut Context<'_, '_>,
        expected: Option<Value>,
        value: Option<Value>,
    ) -> Result<Result<Option<Value>, Option<Value>>, CallError> {
        check(&value)?;
        let before = self.value(context)?;
        if before != expected {
            return Ok(Err(before));
        }
        self.put(context, &value)?;
        Ok(Ok(before))
    }

    fn take(&mut self, context: &mut Context<'_, '_>) -> Result<Option<Value>, CallError> {
        let before = self.value(context)?;
        // Taking nothing from nothing changes nothing.
        if before.is_some() {
            self.put(context, &None)?;
        }
        Ok(before)
    }

    fn get_versioned(&mut self, context: &mut Context<'_, '_>) -> Result<(u64, Option<Value>), CallError> {
        Ok((self.version.get(context)?, self.value(context)?))
    }

    fn set_if_version(
        &mut self,
        context: &mut Context<'_, '_>,
        version: u64,
        value: Option<Value>,
    ) -> Result<Result<u64, u64>, CallError> {
        check(&value)?;
        let there = self.version.get(context)?;
        if there != version {
            return Ok(Err(there));
        }
        self.put(context, &value).map(Ok)
    }
}
