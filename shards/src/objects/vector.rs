//! Vectors of numbers.

use super::packed::{self, Packed};
use crate::{Context, SharedObject, calls, state::Fields};
use abide_net::CallError;
use abide_schema::{MergeOp, Number, NumberKind, Numbers, types::vector};

/// A vector of numbers: see [`vector`].
#[derive(Debug)]
pub struct Vector {
    numbers: Packed,
}

impl SharedObject for Vector {
    type Type = vector::Type;

    const FIELDS: u32 = packed::FIELDS;

    fn at(fields: Fields) -> Self {
        Vector { numbers: Packed::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        vector::Creation { len, kind, fill }: vector::Creation,
    ) -> Result<(), CallError> {
        self.numbers.create(context, len.into(), kind, fill)
    }

    calls!(abide_schema::types::vector);
}

impl Vector {
    /// Checks that the numbers from `start` to before `end` are there.
    fn check_range(&self, context: &Context<'_, '_>, start: u64, end: u64) -> Result<(), CallError> {
        let len = self.numbers.count(context)?;
        if start.max(end) > len {
            return Err(CallError::OutOfBounds { len });
        }
        if start > end {
            return Err(CallError::bad_argument(format!("a range from {start} to before {end}")));
        }
        Ok(())
    }

    fn check_index(&self, context: &Context<'_, '_>, index: u32) -> Result<u64, CallError> {
        let index = u64::from(index);
        self.check_range(context, index, index + 1)?;
        Ok(index)
    }
}

impl vector::Methods<Context<'_, '_>> for Vector {
    fn len(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        Ok(self.numbers.count(context)? as u32)
    }

    fn kind(&mut self, context: &mut Context<'_, '_>) -> Result<NumberKind, CallError> {
        self.numbers.kind(context)
    }

    fn get(&mut self, context: &mut Context<'_, '_>, index: u32) -> Result<Number, CallError> {
        let index = self.check_index(context, index)?;
        self.numbers.get_one(context, index)
    }

    fn set(&mut self, context: &mut Context<'_, '_>, index: u32, value: Number) -> Result<Number, CallError> {
        let index = self.check_index(context, index)?;
        self.numbers.set_one(context, index, value)
    }

    fn get_range(
        &mut self,
        context: &mut Context<'_, '_>,
        start: u32,
        end: u32,
    ) -> Result<Numbers, CallError> {
        let (start, end) = (start.into(), end.into());
        self.check_range(context, start, end)?;
        self.numbers.get(context, start, end - start)
    }

    fn set_range(
        &mut self,
        context: &mut Context<'_, '_>,
        start: u32,
        values: Numbers,
    ) -> Result<(), CallError> {
        let start = start.into();
        self.check_range(context, start, start + values.len() as u64)?;
        self.numbers.set(context, start, values)
    }

    fn add_assign(&mut self, context: &mut Context<'_, '_>, values: Numbers) -> Result<(), CallError> {
        self.numbers.join_all(context, MergeOp::Sum, values)
    }

    fn scale(&mut self, context: &mut Context<'_, '_>, factor: Number) -> Result<(), CallError> {
        self.numbers.join_with(context, MergeOp::Product, factor)
    }

    fn dot(&mut self, context: &mut Context<'_, '_>, values: Numbers) -> Result<Number, CallError> {
        self.numbers.dot(context, values)
    }

    fn combine(
        &mut self,
        context: &mut Context<'_, '_>,
        values: Numbers,
        op: MergeOp,
    ) -> Result<(), CallError> {
        self.numbers.join_all(context, op, values)
    }

    fn fill(&mut self, context: &mut Context<'_, '_>, value: Number) -> Result<(), CallError> {
        self.numbers.fill(context, value)
    }

    fn to_vec(&mut self, context: &mut Context<'_, '_>) -> Result<Numbers, CallError> {
        let len = self.numbers.count(context)?;
        self.numbers.get(context, 0, len)
    }
}
