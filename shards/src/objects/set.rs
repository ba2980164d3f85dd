//! Sets of values.

use super::sizes::{self, check_map_key, encoded_bytes};
use crate::{
    Context, SharedObject, calls,
    state::{Dictionary, Fields},
};
use abide_net::{CallError, Value};
use abide_schema::{Page, types::set};
use std::collections::BTreeSet;

/// A set of values: see [`set`].
#[derive(Debug)]
pub struct Set {
    /// The values are the keys.
    values: Dictionary,
}

impl SharedObject for Set {
    type Type = set::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Set { values: Dictionary::at(fields, 0) }
    }

    fn create(&mut self, _: &mut Context<'_, '_>, set::Creation {}: set::Creation) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::set);
}

impl set::Methods<Context<'_, '_>> for Set {
    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.values.len(context)
    }

    fn is_empty(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.values.is_empty(context)
    }

    fn contains(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        self.values.contains_key(context, value.as_bytes())
    }

    fn contains_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<bool, CallError> {
        for value in &values {
            if !self.values.contains_key(context, value.as_bytes())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn insert(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        check_map_key(&value)?;
        self.values.insert(context, value.as_bytes(), &[])
    }

    fn remove(&mut self, context: &mut Context<'_, '_>, value: Value) -> Result<bool, CallError> {
        self.values.remove(context, value.as_bytes())
    }

    fn extend(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        values.iter().try_for_each(check_map_key)?;
        let mut new = 0;
        for value in &values {
            new += u64::from(self.values.insert(context, value.as_bytes(), &[])?);
        }
        Ok(new)
    }

    fn remove_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        let mut removed = 0;
        for value in &values {
            removed += u64::from(self.values.remove(context, value.as_bytes())?);
        }
        Ok(removed)
    }

    fn retain_all(&mut self, context: &mut Context<'_, '_>, values: Vec<Value>) -> Result<u64, CallError> {
        let mut kept: BTreeSet<&[u8]> = BTreeSet::new();
        for value in &values {
            if self.values.contains_key(context, value.as_bytes())? {
                kept.insert(value.as_bytes());
            }
        }
        let going = self.values.len(context)? - kept.len() as u64;
        // Few are taken out one by one; if most go, what stays is put in anew. So the work is that of the arguments in any case.
        if going > kept.len() as u64 {
            self.values.clear(context)?;
            for value in kept {
                self.values.insert(context, value, &[])?;
            }
        } else if going > 0 {
            let mut unwanted = Vec::new();
            self.values.for_each_key(context, None, |value| {
                if !kept.contains(value) {
                    unwanted.push(value.to_vec());
                }
                Ok(true)
            })?;
            for value in &unwanted {
                self.values.remove(context, value)?;
            }
        }
        Ok(going)
    }

    fn clear(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.values.clear(context)
    }

    fn page(
        &mut self,
        context: &mut Context<'_, '_>,
        after: Option<Value>,
        limit: u32,
    ) -> Result<Page<Value, Value>, CallError> {
        let mut page = sizes::Gathering::new(limit);
        self.values.for_each_key(context, after.as_ref().map(Value::as_bytes), |value| {
            let value = Value::from_bytes(value)?;
            let bytes = encoded_bytes(&value);
            Ok(page.take((value.clone(), value), bytes))
        })?;
        Ok(sizes::without_keys(page))
    }
}
