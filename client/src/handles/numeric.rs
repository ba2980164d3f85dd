//! The numbers that vectors, matrices and reducers are made of.

use abide_net::CallError;
use abide_schema::{Number, NumberKind, Numbers};
use std::fmt::Debug;

mod sealed {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f64 {}
}

/// A number of a [`Vector`](super::Vector), a [`Matrix`](super::Matrix) or a [`Reducer`](super::Reducer): `i64` or `f64`.
pub trait Numeric: sealed::Sealed + Debug + Copy + PartialEq + Send + Sync + 'static {
    /// Which of them it is.
    #[doc(hidden)]
    const KIND: NumberKind;

    #[doc(hidden)]
    fn into_number(self) -> Number;

    #[doc(hidden)]
    fn from_number(number: Number) -> Result<Self, CallError>;

    #[doc(hidden)]
    fn into_numbers(numbers: &[Self]) -> Numbers;

    #[doc(hidden)]
    fn from_numbers(numbers: Numbers) -> Result<Vec<Self>, CallError>;
}

impl Numeric for i64 {
    const KIND: NumberKind = NumberKind::I64;

    fn into_number(self) -> Number {
        self.into()
    }

    fn from_number(number: Number) -> Result<i64, CallError> {
        number.integer().ok_or_else(|| other("a float"))
    }

    fn into_numbers(numbers: &[i64]) -> Numbers {
        numbers.to_vec().into()
    }

    fn from_numbers(numbers: Numbers) -> Result<Vec<i64>, CallError> {
        numbers.integers().ok_or_else(|| other("floats"))
    }
}

impl Numeric for f64 {
    const KIND: NumberKind = NumberKind::F64;

    fn into_number(self) -> Number {
        self.into()
    }

    fn from_number(number: Number) -> Result<f64, CallError> {
        number.float().ok_or_else(|| other("an integer that no float is"))
    }

    fn into_numbers(numbers: &[f64]) -> Numbers {
        numbers.to_vec().into()
    }

    fn from_numbers(numbers: Numbers) -> Result<Vec<f64>, CallError> {
        numbers.floats().ok_or_else(|| other("integers that no floats are"))
    }
}

fn other(is: &str) -> CallError {
    CallError::WrongType { is: is.to_owned() }
}
