//! [`Vector`] and [`Matrix`].

use super::{Numeric, handle};
use crate::mode::Mode;
use abide_schema::{
    MergeOp,
    types::{matrix, vector},
};

handle! {
    /// A shared vector of so many numbers, `i64` or `f64`; at most 2^21 of them, 0 at first unless created with another one.
    ///
    /// An integer that overflows is `BadArgument`, and nothing is changed then.
    ///
    /// ```no_run
    /// # fn gradient(_weights: &[f64]) -> Vec<f64> { Vec::new() }
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let weights = abide_client::Store::current()?.vector::<f64>("weights", 1_000);
    /// let step = gradient(&weights.to_vec()?);
    /// weights.add_assign(&step)?; // in one step, whoever else adds to it
    /// # Ok(())
    /// # }
    /// ```
    pub struct Vector<N> of vector, arguments;
}

impl<N: Numeric, M: Mode> Vector<N, M> {
    /// How many numbers.
    pub fn len(&self) -> M::Output<u32> {
        self.object.call(|| Ok(vector::Len {}), Ok)
    }

    /// The number at `index`. `OutOfBounds` past the end.
    pub fn get(&self, index: u32) -> M::Output<N> {
        self.object.call(|| Ok(vector::Get { index }), N::from_number)
    }

    /// Replaces the number at `index` and returns the one before. `OutOfBounds` past the end.
    pub fn set(&self, index: u32, value: N) -> M::Output<N> {
        self.object.call(|| Ok(vector::Set { index, value: value.into_number() }), N::from_number)
    }

    /// The numbers from `start` to before `end`. `OutOfBounds` if they are not all there.
    pub fn get_range(&self, start: u32, end: u32) -> M::Output<Vec<N>> {
        self.object.call(|| Ok(vector::GetRange { start, end }), N::from_numbers)
    }

    /// Replaces the numbers from `start` on. `OutOfBounds` if there are not so many.
    pub fn set_range(&self, start: u32, values: impl AsRef<[N]>) -> M::Output<()> {
        self.object.call(|| Ok(vector::SetRange { start, values: N::into_numbers(values.as_ref()) }), Ok)
    }

    /// Adds a vector of the same length.
    pub fn add_assign(&self, values: impl AsRef<[N]>) -> M::Output<()> {
        self.object.call(|| Ok(vector::AddAssign { values: N::into_numbers(values.as_ref()) }), Ok)
    }

    /// Multiplies each number by this one.
    pub fn scale(&self, factor: N) -> M::Output<()> {
        self.object.call(|| Ok(vector::Scale { factor: factor.into_number() }), Ok)
    }

    /// The sum of the products with a vector of the same length, added from the first to the last.
    pub fn dot(&self, values: impl AsRef<[N]>) -> M::Output<N> {
        self.object.call(|| Ok(vector::Dot { values: N::into_numbers(values.as_ref()) }), N::from_number)
    }

    /// Joins each number with the one in its place of a vector of the same length.
    pub fn combine(&self, values: impl AsRef<[N]>, op: MergeOp) -> M::Output<()> {
        self.object.call(|| Ok(vector::Combine { values: N::into_numbers(values.as_ref()), op }), Ok)
    }

    /// Sets every number.
    pub fn fill(&self, value: N) -> M::Output<()> {
        self.object.call(|| Ok(vector::Fill { value: value.into_number() }), Ok)
    }

    /// All numbers, as they are in one moment.
    pub fn to_vec(&self) -> M::Output<Vec<N>> {
        self.object.call(|| Ok(vector::ToVec {}), N::from_numbers)
    }
}

handle! {
    /// A shared matrix of numbers, `i64` or `f64`; at most 2^21 of them, 0 at first unless created with another one.
    ///
    /// Indices that are not there are `OutOfBounds`. An integer that overflows is `BadArgument`, and nothing is changed then.
    pub struct Matrix<N> of matrix, arguments;
}

impl<N: Numeric, M: Mode> Matrix<N, M> {
    /// Number of rows.
    pub fn rows(&self) -> M::Output<u32> {
        self.object.call(|| Ok(matrix::Rows {}), Ok)
    }

    /// Number of columns.
    pub fn cols(&self) -> M::Output<u32> {
        self.object.call(|| Ok(matrix::Cols {}), Ok)
    }

    /// The number at row `i` and column `j`.
    pub fn get(&self, i: u32, j: u32) -> M::Output<N> {
        self.object.call(|| Ok(matrix::Get { i, j }), N::from_number)
    }

    /// Replaces the number at row `i` and column `j`, and returns the one before.
    pub fn set(&self, i: u32, j: u32, value: N) -> M::Output<N> {
        self.object.call(|| Ok(matrix::Set { i, j, value: value.into_number() }), N::from_number)
    }

    /// A row.
    pub fn row(&self, i: u32) -> M::Output<Vec<N>> {
        self.object.call(|| Ok(matrix::Row { i }), N::from_numbers)
    }

    /// A column.
    pub fn col(&self, j: u32) -> M::Output<Vec<N>> {
        self.object.call(|| Ok(matrix::Col { j }), N::from_numbers)
    }

    /// Replaces a row.
    pub fn set_row(&self, i: u32, values: impl AsRef<[N]>) -> M::Output<()> {
        self.object.call(|| Ok(matrix::SetRow { i, values: N::into_numbers(values.as_ref()) }), Ok)
    }

    /// Joins the number at row `i` and column `j` with `x`, and returns the one after.
    pub fn compute(&self, i: u32, j: u32, op: MergeOp, x: N) -> M::Output<N> {
        self.object.call(|| Ok(matrix::Compute { i, j, op, x: x.into_number() }), N::from_number)
    }

    /// Joins each number with the one in its place of a matrix of the same shape, given row after row.
    pub fn combine(&self, values: impl AsRef<[N]>, op: MergeOp) -> M::Output<()> {
        self.object.call(|| Ok(matrix::Combine { values: N::into_numbers(values.as_ref()), op }), Ok)
    }

    /// Sets every number.
    pub fn fill(&self, value: N) -> M::Output<()> {
        self.object.call(|| Ok(matrix::Fill { value: value.into_number() }), Ok)
    }

    /// All numbers, row after row, as they are in one moment.
    pub fn to_vec(&self) -> M::Output<Vec<N>> {
        self.object.call(|| Ok(matrix::ToVec {}), N::from_numbers)
    }
}
