//! Numbers in rows, and large bytes.

use super::{
    Model, Moment, calls,
    merge::{floats, integers, settled},
    sha256,
};
use abide_net::{Bytes, CallError};
use abide_schema::{
    MergeOp, Number, NumberKind, Numbers,
    types::{blob, matrix, vector},
};

type Made<T> = Result<T, CallError>;

fn other_kind() -> CallError {
    CallError::bad_argument("")
}

fn out_of_bounds(len: usize) -> CallError {
    CallError::OutOfBounds { len: len as u64 }
}

/// Numbers of one kind.
#[derive(Debug, Clone)]
struct Row(Numbers);

fn kind_of(numbers: &Numbers) -> NumberKind {
    match numbers {
        Numbers::I64(_) => NumberKind::I64,
        Numbers::F64(_) => NumberKind::F64,
    }
}

/// The same number, of this kind.
fn number_as(number: Number, kind: NumberKind) -> Made<Number> {
    match kind {
        NumberKind::I64 => number.integer().map(Number::I64),
        NumberKind::F64 => number.float().map(Number::F64),
    }
    .ok_or_else(other_kind)
}

/// The same numbers, of this kind.
pub(super) fn numbers_as(numbers: Numbers, kind: NumberKind) -> Made<Numbers> {
    match kind {
        NumberKind::I64 => numbers.integers().map(Numbers::I64),
        NumberKind::F64 => numbers.floats().map(Numbers::F64),
    }
    .ok_or_else(other_kind)
}

/// Joins one by one. Both are of one kind and length.
pub(super) fn joined(op: MergeOp, there: &Numbers, new: &Numbers) -> Made<Numbers> {
    match (there, new) {
        (Numbers::I64(there), Numbers::I64(new)) => {
            let joined = there.iter().zip(new).map(|(there, new)| integers(op, *there, *new));
            joined.collect::<Made<_>>().map(Numbers::I64)
        }
        (Numbers::F64(there), Numbers::F64(new)) => {
            let joined = there.iter().zip(new).map(|(there, new)| floats(op, *there, *new));
            joined.collect::<Made<_>>().map(Numbers::F64)
        }
        _ => unreachable!("they are of one kind"),
    }
}

impl Row {
    fn new(len: usize, kind: NumberKind, fill: Number) -> Made<Row> {
        Ok(Row(match number_as(fill, kind)? {
            Number::I64(fill) => Numbers::I64(vec![fill; len]),
            Number::F64(fill) => Numbers::F64(vec![fill; len]),
        }))
    }

    fn kind(&self) -> NumberKind {
        kind_of(&self.0)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, at: usize) -> Number {
        match &self.0 {
            Numbers::I64(numbers) => Number::I64(numbers[at]),
            Numbers::F64(numbers) => Number::F64(numbers[at]),
        }
    }

    fn set(&mut self, at: usize, value: Number) -> Made<Number> {
        let before = self.get(at);
        let value = number_as(value, self.kind())?;
        match (&mut self.0, value) {
            (Numbers::I64(numbers), Number::I64(value)) => numbers[at] = value,
            (Numbers::F64(numbers), Number::F64(value)) => numbers[at] = value,
            _ => unreachable!("it is of this kind now"),
        }
        Ok(before)
    }

    fn pick(&self, places: impl Iterator<Item = usize>) -> Numbers {
        match &self.0 {
            Numbers::I64(numbers) => Numbers::I64(places.map(|at| numbers[at]).collect()),
            Numbers::F64(numbers) => Numbers::F64(places.map(|at| numbers[at]).collect()),
        }
    }

    fn put(&mut self, start: usize, values: Numbers) -> Made<()> {
        let values = numbers_as(values, self.kind())?;
        match (&mut self.0, values) {
            (Numbers::I64(numbers), Numbers::I64(new)) => {
                numbers[start..start + new.len()].copy_from_slice(&new)
            }
            (Numbers::F64(numbers), Numbers::F64(new)) => {
                numbers[start..start + new.len()].copy_from_slice(&new)
            }
            _ => unreachable!("they are of this kind now"),
        }
        Ok(())
    }

    fn combine(&mut self, values: Numbers, op: MergeOp) -> Made<()> {
        if values.len() != self.len() {
            return Err(CallError::bad_argument(""));
        }
        self.0 = joined(op, &self.0, &numbers_as(values, self.kind())?)?;
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Matrix {
    rows: u32,
    cols: u32,
    numbers: Row,
}

impl Model for Matrix {
    calls!(matrix);

    fn create(creation: matrix::Creation, _: u64) -> Made<Self> {
        let matrix::Creation { rows, cols, kind, fill } = creation;
        let numbers = Row::new(rows as usize * cols as usize, kind, fill)?;
        Ok(Matrix { rows, cols, numbers })
    }
}

impl Matrix {
    fn at(&self, i: u32, j: u32) -> Made<usize> {
        self.check_row(i)?;
        self.check_col(j)?;
        Ok((i * self.cols + j) as usize)
    }

    fn check_row(&self, i: u32) -> Made<()> {
        if i < self.rows { Ok(()) } else { Err(out_of_bounds(self.rows as usize)) }
    }

    fn check_col(&self, j: u32) -> Made<()> {
        if j < self.cols { Ok(()) } else { Err(out_of_bounds(self.cols as usize)) }
    }
}

impl matrix::Methods<Moment> for Matrix {
    fn rows(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.rows)
    }

    fn cols(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.cols)
    }

    fn kind(&mut self, _: &mut Moment) -> Made<NumberKind> {
        Ok(self.numbers.kind())
    }

    fn get(&mut self, _: &mut Moment, i: u32, j: u32) -> Made<Number> {
        Ok(self.numbers.get(self.at(i, j)?))
    }

    fn set(&mut self, _: &mut Moment, i: u32, j: u32, value: Number) -> Made<Number> {
        let at = self.at(i, j)?;
        self.numbers.set(at, value)
    }

    fn row(&mut self, _: &mut Moment, i: u32) -> Made<Numbers> {
        self.check_row(i)?;
        Ok(self.numbers.pick((0..self.cols).map(|j| (i * self.cols + j) as usize)))
    }

    fn col(&mut self, _: &mut Moment, j: u32) -> Made<Numbers> {
        self.check_col(j)?;
        Ok(self.numbers.pick((0..self.rows).map(|i| (i * self.cols + j) as usize)))
    }

    fn set_row(&mut self, _: &mut Moment, i: u32, values: Numbers) -> Made<()> {
        self.check_row(i)?;
        if values.len() != self.cols as usize {
            return Err(CallError::bad_argument(""));
        }
        self.numbers.put((i * self.cols) as usize, values)
    }

    fn compute(&mut self, moment: &mut Moment, i: u32, j: u32, op: MergeOp, x: Number) -> Made<Number> {
        let at = self.at(i, j)?;
        let after = match (self.numbers.get(at), number_as(x, self.numbers.kind())?) {
            (Number::I64(there), Number::I64(x)) => Number::I64(integers(op, there, x)?),
            (Number::F64(there), Number::F64(x)) => Number::F64(floats(op, there, x)?),
            _ => unreachable!("both are of this kind"),
        };
        self.set(moment, i, j, after)?;
        Ok(after)
    }

    fn combine(&mut self, _: &mut Moment, values: Numbers, op: MergeOp) -> Made<()> {
        self.numbers.combine(values, op)
    }

    fn fill(&mut self, _: &mut Moment, value: Number) -> Made<()> {
        self.numbers = Row::new(self.numbers.len(), self.numbers.kind(), value)?;
        Ok(())
    }

    fn to_vec(&mut self, _: &mut Moment) -> Made<Numbers> {
        Ok(self.numbers.0.clone())
    }
}

#[derive(Debug, Clone)]
pub(super) struct Vector(Row);

impl Model for Vector {
    calls!(vector);

    fn create(creation: vector::Creation, _: u64) -> Made<Self> {
        let vector::Creation { len, kind, fill } = creation;
        Row::new(len as usize, kind, fill).map(Vector)
    }
}

impl Vector {
    fn at(&self, index: u32) -> Made<usize> {
        let index = index as usize;
        if index < self.0.len() { Ok(index) } else { Err(out_of_bounds(self.0.len())) }
    }
}

impl vector::Methods<Moment> for Vector {
    fn len(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.0.len() as u32)
    }

    fn kind(&mut self, _: &mut Moment) -> Made<NumberKind> {
        Ok(self.0.kind())
    }

    fn get(&mut self, _: &mut Moment, index: u32) -> Made<Number> {
        Ok(self.0.get(self.at(index)?))
    }

    fn set(&mut self, _: &mut Moment, index: u32, value: Number) -> Made<Number> {
        let at = self.at(index)?;
        self.0.set(at, value)
    }

    fn get_range(&mut self, _: &mut Moment, start: u32, end: u32) -> Made<Numbers> {
        if start > end {
            return Err(CallError::bad_argument(""));
        }
        if end as usize > self.0.len() {
            return Err(out_of_bounds(self.0.len()));
        }
        Ok(self.0.pick(start as usize..end as usize))
    }

    fn set_range(&mut self, _: &mut Moment, start: u32, values: Numbers) -> Made<()> {
        if start as usize + values.len() > self.0.len() {
            return Err(out_of_bounds(self.0.len()));
        }
        self.0.put(start as usize, values)
    }

    fn add_assign(&mut self, _: &mut Moment, values: Numbers) -> Made<()> {
        self.0.combine(values, MergeOp::Sum)
    }

    fn scale(&mut self, _: &mut Moment, factor: Number) -> Made<()> {
        let factors = Row::new(self.0.len(), self.0.kind(), factor)?;
        self.0.combine(factors.0, MergeOp::Product)
    }

    fn dot(&mut self, _: &mut Moment, values: Numbers) -> Made<Number> {
        if values.len() != self.0.len() {
            return Err(CallError::bad_argument(""));
        }
        match (&self.0.0, numbers_as(values, self.0.kind())?) {
            (Numbers::I64(there), Numbers::I64(new)) => {
                let products =
                    there.iter().zip(&new).map(|(there, new)| i128::from(*there) * i128::from(*new));
                let sum = i64::try_from(products.sum::<i128>());
                sum.map(Number::I64).map_err(|_| CallError::bad_argument(""))
            }
            (Numbers::F64(there), Numbers::F64(new)) => {
                let products = there.iter().zip(&new).map(|(there, new)| there * new);
                let sum = products.fold(0.0, |sum, product| settled(sum + product));
                Ok(Number::F64(sum))
            }
            _ => unreachable!("they are of one kind now"),
        }
    }

    fn combine(&mut self, _: &mut Moment, values: Numbers, op: MergeOp) -> Made<()> {
        self.0.combine(values, op)
    }

    fn fill(&mut self, _: &mut Moment, value: Number) -> Made<()> {
        self.0 = Row::new(self.0.len(), self.0.kind(), value)?;
        Ok(())
    }

    fn to_vec(&mut self, _: &mut Moment) -> Made<Numbers> {
        Ok(self.0.0.clone())
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Blob(Vec<u8>);

impl Model for Blob {
    calls!(blob);

    fn create(blob::Creation {}: blob::Creation, _: u64) -> Made<Self> {
        Ok(Blob::default())
    }
}

impl blob::Methods<Moment> for Blob {
    fn len(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.0.len() as u64)
    }

    fn write(&mut self, _: &mut Moment, bytes: Bytes) -> Made<()> {
        self.0 = bytes.0;
        Ok(())
    }

    fn read(&mut self, _: &mut Moment) -> Made<Bytes> {
        Ok(Bytes(self.0.clone()))
    }

    fn get_range(&mut self, _: &mut Moment, offset: u64, len: u64) -> Made<Bytes> {
        if offset > self.0.len() as u64 {
            return Err(out_of_bounds(self.0.len()));
        }
        Ok(Bytes(self.0.iter().skip(offset as usize).take(len as usize).copied().collect()))
    }

    fn set_range(&mut self, _: &mut Moment, offset: u64, bytes: Bytes) -> Made<u64> {
        if offset > self.0.len() as u64 {
            return Err(out_of_bounds(self.0.len()));
        }
        let end = self.0.len().min(offset as usize + bytes.0.len());
        self.0.splice(offset as usize..end, bytes.0);
        Ok(self.0.len() as u64)
    }

    fn append(&mut self, _: &mut Moment, bytes: Bytes) -> Made<u64> {
        self.0.extend(bytes.0);
        Ok(self.0.len() as u64)
    }

    fn truncate(&mut self, _: &mut Moment, len: u64) -> Made<()> {
        if len > self.0.len() as u64 {
            return Err(out_of_bounds(self.0.len()));
        }
        self.0.truncate(len as usize);
        Ok(())
    }

    fn digest(&mut self, _: &mut Moment) -> Made<String> {
        Ok(sha256::hex_digest(&self.0))
    }
}
