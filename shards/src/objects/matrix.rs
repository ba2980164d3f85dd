//! Matrices of numbers.

use super::packed::{self, Packed};
use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number as NumberField},
};
use abide_net::CallError;
use abide_schema::{MergeOp, Number, NumberKind, Numbers, types::matrix};

/// A matrix of numbers: see [`matrix`].
///
/// Invariant: `numbers` holds as many as the shape says, row after row.
#[derive(Debug)]
pub struct Matrix {
    numbers: Packed,
    /// Rows and columns.
    shape: NumberField<[u64; 2]>,
}

impl SharedObject for Matrix {
    type Type = matrix::Type;

    const FIELDS: u32 = packed::FIELDS + 1;

    fn at(fields: Fields) -> Self {
        Matrix { numbers: Packed::at(fields, 0), shape: NumberField::at(fields, packed::FIELDS) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        matrix::Creation { rows, cols, kind, fill }: matrix::Creation,
    ) -> Result<(), CallError> {
        let (rows, cols) = (u64::from(rows), u64::from(cols));
        self.shape.set(context, [rows, cols])?;
        self.numbers.create(context, rows * cols, kind, fill)
    }

    calls!(abide_schema::types::matrix);
}

/// Checks that there is a row or column `index` among `count`.
fn check(index: u32, count: u64) -> Result<u64, CallError> {
    let index = u64::from(index);
    if index < count { Ok(index) } else { Err(CallError::OutOfBounds { len: count }) }
}

impl Matrix {
    /// The place of row `i` and column `j` among the numbers.
    fn index(&self, context: &Context<'_, '_>, i: u32, j: u32) -> Result<u64, CallError> {
        let [rows, cols] = self.shape.get(context)?;
        Ok(check(i, rows)? * cols + check(j, cols)?)
    }
}

impl matrix::Methods<Context<'_, '_>> for Matrix {
    fn rows(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        Ok(self.shape.get(context)?[0] as u32)
    }

    fn cols(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        Ok(self.shape.get(context)?[1] as u32)
    }

    fn kind(&mut self, context: &mut Context<'_, '_>) -> Result<NumberKind, CallError> {
        self.numbers.kind(context)
    }

    fn get(&mut self, context: &mut Context<'_, '_>, i: u32, j: u32) -> Result<Number, CallError> {
        let index = self.index(context, i, j)?;
        self.numbers.get_one(context, index)
    }

    fn set(
        &mut self,
        context: &mut Context<'_, '_>,
        i: u32,
        j: u32,
        value: Number,
    ) -> Result<Number, CallError> {
        let index = self.index(context, i, j)?;
        self.numbers.set_one(context, index, value)
    }

    fn row(&mut self, context: &mut Context<'_, '_>, i: u32) -> Result<Numbers, CallError> {
        let [rows, cols] = self.shape.get(context)?;
        self.numbers.get(context, check(i, rows)? * cols, cols)
    }

    fn col(&mut self, context: &mut Context<'_, '_>, j: u32) -> Result<Numbers, CallError> {
        let [rows, cols] = self.shape.get(context)?;
        self.numbers.get_spread(context, check(j, cols)?, cols, rows)
    }

    fn set_row(&mut self, context: &mut Context<'_, '_>, i: u32, values: Numbers) -> Result<(), CallError> {
        let [rows, cols] = self.shape.get(context)?;
        let first = check(i, rows)? * cols;
        let values = self.numbers.as_many(context, values, cols)?;
        self.numbers.set(context, first, values)
    }

    fn compute(
        &mut self,
        context: &mut Context<'_, '_>,
        i: u32,
        j: u32,
        op: MergeOp,
        x: Number,
    ) -> Result<Number, CallError> {
        let index = self.index(context, i, j)?;
        self.numbers.join_one(context, index, op, x)
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
        let count = self.numbers.count(context)?;
        self.numbers.get(context, 0, count)
    }
}
