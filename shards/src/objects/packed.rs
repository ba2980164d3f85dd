//! Numbers of one kind, packed: what vectors and matrices are made of.
//!
//! Eight bytes each, little-endian, one behind the other, in one field of bytes. So reading and writing a number, or some in a row,
//! touches a range. Every change is worked out before anything is written: an overflow changes nothing.

use super::floats::{extreme, settled};
use crate::{
    Context,
    state::{ByteField, Fields, Number as NumberField},
};
use abide_net::CallError;
use abide_schema::{MergeOp, Number, NumberKind, Numbers};
use std::cmp::Ordering;

/// Most numbers: their bytes are as many as a value may have.
pub(super) const NUMBERS_MAX: u64 = 1 << 21;

const NUMBER_BYTES: u64 = 8;

const _: () = assert!(NUMBERS_MAX * NUMBER_BYTES <= abide_net::limits::VALUE_BYTES_MAX as u64);

/// The numbers of an object, in two of its fields.
#[derive(Debug)]
pub(super) struct Packed {
    are_floats: NumberField<bool>,
    bytes: ByteField,
}

/// How many fields they take.
pub(super) const FIELDS: u32 = 2;

impl Packed {
    /// In the fields from this one on.
    pub(super) fn at(fields: Fields, first: u32) -> Self {
        Packed { are_floats: NumberField::at(fields, first), bytes: ByteField::at(fields, first + 1) }
    }

    /// Fills new fields with so many numbers.
    pub(super) fn create(
        &self,
        context: &mut Context<'_, '_>,
        count: u64,
        kind: NumberKind,
        fill: Number,
    ) -> Result<(), CallError> {
        if count == 0 {
            return Err(CallError::bad_argument("there is at least one number"));
        }
        if count > NUMBERS_MAX {
            return Err(CallError::TooLarge { max: NUMBERS_MAX });
        }
        self.are_floats.set(context, kind == NumberKind::F64)?;
        self.write_all(context, count, word_of(kind, fill)?)
    }

    /// How many.
    pub(super) fn count(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        Ok(self.bytes.len(context)? / NUMBER_BYTES)
    }

    /// Of which kind.
    pub(super) fn kind(&self, context: &Context<'_, '_>) -> Result<NumberKind, CallError> {
        Ok(if self.are_floats.get(context)? { NumberKind::F64 } else { NumberKind::I64 })
    }

    /// Those from `first` on. They must be there.
    pub(super) fn get(
        &self,
        context: &Context<'_, '_>,
        first: u64,
        count: u64,
    ) -> Result<Numbers, CallError> {
        let bytes = self.bytes.get_range(context, first * NUMBER_BYTES, count * NUMBER_BYTES)?;
        Ok(unpack(self.kind(context)?, &bytes))
    }

    /// One of them, which must be there.
    pub(super) fn get_one(&self, context: &Context<'_, '_>, index: u64) -> Result<Number, CallError> {
        self.get(context, index, 1).map(first_of)
    }

    /// Some at the same distance from each other. They must be there.
    pub(super) fn get_spread(
        &self,
        context: &Context<'_, '_>,
        first: u64,
        distance: u64,
        count: u64,
    ) -> Result<Numbers, CallError> {
        /// What is read at once anyway.
        const NEAR: u64 = 4096 / NUMBER_BYTES;
        let kind = self.kind(context)?;
        let mut bytes = Vec::with_capacity((count * NUMBER_BYTES) as usize);
        if distance <= NEAR {
            // All that lies between them costs no more.
            let span = ((count - 1) * distance + 1) * NUMBER_BYTES;
            let all = self.bytes.get_range(context, first * NUMBER_BYTES, span)?;
            for each in all.chunks((distance * NUMBER_BYTES) as usize) {
                bytes.extend_from_slice(&each[..NUMBER_BYTES as usize]);
            }
        } else {
            for index in 0..count {
                let offset = (first + index * distance) * NUMBER_BYTES;
                bytes.extend(self.bytes.get_range(context, offset, NUMBER_BYTES)?);
            }
        }
        Ok(unpack(kind, &bytes))
    }

    /// Replaces those from `first` on, which must be there.
    pub(super) fn set(
        &self,
        context: &mut Context<'_, '_>,
        first: u64,
        values: Numbers,
    ) -> Result<(), CallError> {
        let bytes = pack(&self.of_kind(context, values)?);
        self.bytes.set_range(context, first * NUMBER_BYTES, &bytes)
    }

    /// Replaces one of them, which must be there, and gives the one before.
    pub(super) fn set_one(
        &self,
        context: &mut Context<'_, '_>,
        index: u64,
        value: Number,
    ) -> Result<Number, CallError> {
        let word = word_of(self.kind(context)?, value)?;
        let before = self.get_one(context, index)?;
        self.bytes.set_range(context, index * NUMBER_BYTES, &word)?;
        Ok(before)
    }

    /// Replaces all.
    pub(super) fn fill(&self, context: &mut Context<'_, '_>, value: Number) -> Result<(), CallError> {
        let (count, word) = (self.count(context)?, word_of(self.kind(context)?, value)?);
        self.write_all(context, count, word)
    }

    fn write_all(&self, context: &mut Context<'_, '_>, count: u64, word: [u8; 8]) -> Result<(), CallError> {
        if word == [0; 8] {
            // Zeros that were never written take no space.
            self.bytes.resize(context, 0)?;
            return self.bytes.resize(context, count * NUMBER_BYTES);
        }
        self.bytes.set(context, &word.repeat(count as usize))
    }

    /// Joins one of them, which must be there, with a number, and gives the one after.
    pub(super) fn join_one(
        &self,
        context: &mut Context<'_, '_>,
        index: u64,
        op: MergeOp,
        value: Number,
    ) -> Result<Number, CallError> {
        let new = self.of_kind(context, single(value))?;
        let there = self.get(context, index, 1)?;
        let after = join(op, there, new)?;
        self.bytes.set_range(context, index * NUMBER_BYTES, &pack(&after))?;
        Ok(first_of(after))
    }

    /// Joins each with the one in its place. `BadArgument` if these are not as many.
    pub(super) fn join_all(
        &self,
        context: &mut Context<'_, '_>,
        op: MergeOp,
        values: Numbers,
    ) -> Result<(), CallError> {
        let count = self.count(context)?;
        let new = self.as_many(context, values, count)?;
        let after = join(op, self.get(context, 0, count)?, new)?;
        self.bytes.set(context, &pack(&after))
    }

    /// Joins each with the same number.
    pub(super) fn join_with(
        &self,
        context: &mut Context<'_, '_>,
        op: MergeOp,
        value: Number,
    ) -> Result<(), CallError> {
        let count = self.count(context)? as usize;
        let values = match self.of_kind(context, single(value))? {
            Numbers::I64(value) => Numbers::I64(value.repeat(count)),
            Numbers::F64(value) => Numbers::F64(value.repeat(count)),
        };
        self.join_all(context, op, values)
    }

    /// The sum of the products with the numbers in their places.
    pub(super) fn dot(&self, context: &Context<'_, '_>, values: Numbers) -> Result<Number, CallError> {
        let count = self.count(context)?;
        let new = self.as_many(context, values, count)?;
        match (self.get(context, 0, count)?, new) {
            (Numbers::I64(left), Numbers::I64(right)) => dot_of_integers(&left, &right).map(Number::I64),
            (Numbers::F64(left), Numbers::F64(right)) => {
                let products = left.iter().zip(&right).map(|(left, right)| left * right);
                Ok(Number::F64(settled(products.fold(0.0, |sum, product| sum + product))))
            }
            _ => unreachable!("both are of this kind"),
        }
    }

    /// The same numbers in this kind, if there are so many and they can be of it.
    pub(super) fn as_many(
        &self,
        context: &Context<'_, '_>,
        values: Numbers,
        count: u64,
    ) -> Result<Numbers, CallError> {
        if values.len() as u64 != count {
            return Err(CallError::bad_argument(format!("{} numbers where there are {count}", values.len())));
        }
        self.of_kind(context, values)
    }

    fn of_kind(&self, context: &Context<'_, '_>, values: Numbers) -> Result<Numbers, CallError> {
        convert(self.kind(context)?, values)
    }
}

fn convert(kind: NumberKind, values: Numbers) -> Result<Numbers, CallError> {
    let converted = match kind {
        NumberKind::I64 => values.integers().map(Numbers::I64),
        NumberKind::F64 => values.floats().map(Numbers::F64),
    };
    let name = match kind {
        NumberKind::I64 => "an integer",
        NumberKind::F64 => "an exact float",
    };
    converted.ok_or_else(|| CallError::bad_argument(format!("a number that is not {name}")))
}

fn single(value: Number) -> Numbers {
    match value {
        Number::I64(integer) => Numbers::I64(vec![integer]),
        Number::F64(float) => Numbers::F64(vec![float]),
    }
}

fn first_of(numbers: Numbers) -> Number {
    match numbers {
        Numbers::I64(integers) => Number::I64(integers[0]),
        Numbers::F64(floats) => Number::F64(floats[0]),
    }
}

fn word_of(kind: NumberKind, value: Number) -> Result<[u8; 8], CallError> {
    Ok(match first_of(convert(kind, single(value))?) {
        Number::I64(integer) => integer.to_le_bytes(),
        Number::F64(float) => float.to_le_bytes(),
    })
}

fn pack(numbers: &Numbers) -> Vec<u8> {
    match numbers {
        Numbers::I64(integers) => integers.iter().flat_map(|integer| integer.to_le_bytes()).collect(),
        Numbers::F64(floats) => floats.iter().flat_map(|float| float.to_le_bytes()).collect(),
    }
}

fn unpack(kind: NumberKind, bytes: &[u8]) -> Numbers {
    let (words, _) = bytes.as_chunks::<8>();
    match kind {
        NumberKind::I64 => Numbers::I64(words.iter().map(|word| i64::from_le_bytes(*word)).collect()),
        NumberKind::F64 => Numbers::F64(words.iter().map(|word| f64::from_le_bytes(*word)).collect()),
    }
}

/// Joins numbers of one kind, pair by pair.
fn join(op: MergeOp, there: Numbers, new: Numbers) -> Result<Numbers, CallError> {
    match (there, new) {
        (there, _) if op == MergeOp::First => Ok(there),
        (_, new) if op == MergeOp::Last => Ok(new),
        (Numbers::I64(there), Numbers::I64(new)) => {
            let pairs = there.into_iter().zip(new);
            pairs
                .map(|(left, right)| join_integers(op, left, right))
                .collect::<Result<_, _>>()
                .map(Numbers::I64)
        }
        (Numbers::F64(there), Numbers::F64(new)) => {
            let join: fn(f64, f64) -> f64 = match op {
                MergeOp::Sum => |left, right| settled(left + right),
                MergeOp::Product => |left, right| settled(left * right),
                MergeOp::Min => |left, right| extreme(left, right, Ordering::Less),
                MergeOp::Max => |left, right| extreme(left, right, Ordering::Greater),
                _ => return Err(cannot(op, "floats")),
            };
            Ok(Numbers::F64(there.into_iter().zip(new).map(|(left, right)| join(left, right)).collect()))
        }
        _ => unreachable!("both are of the object's kind"),
    }
}

fn cannot(op: MergeOp, are: &str) -> CallError {
    CallError::WrongType { is: format!("one of {are}, which {op:?} does not join") }
}

fn join_integers(op: MergeOp, left: i64, right: i64) -> Result<i64, CallError> {
    let joined = match op {
        MergeOp::Sum => left.checked_add(right),
        MergeOp::Product => left.checked_mul(right),
        MergeOp::Min => Some(left.min(right)),
        MergeOp::Max => Some(left.max(right)),
        MergeOp::And => Some(left & right),
        MergeOp::Or => Some(left | right),
        MergeOp::Xor => Some(left ^ right),
        MergeOp::Concat | MergeOp::First | MergeOp::Last => return Err(cannot(op, "integers")),
    };
    joined.ok_or_else(|| CallError::bad_argument(format!("{op:?} of {left} and {right} overflows 64 bits")))
}

/// The exact sum of the products: only what it is in the end has to fit.
fn dot_of_integers(left: &[i64], right: &[i64]) -> Result<i64, CallError> {
    // In two parts, neither of which can overflow with so few products.
    let (mut high, mut low) = (0_i128, 0_u128);
    for (left, right) in left.iter().zip(right) {
        let product = i128::from(*left) * i128::from(*right);
        high += product >> 64;
        low += u128::from(product as u64);
    }
    high += (low >> 64) as i128;
    let sum = match high {
        0 => i64::try_from(low as u64).ok(),
        -1 => Some(low as u64 as i64).filter(|sum| *sum < 0),
        _ => None,
    };
    sum.ok_or_else(|| CallError::bad_argument("the sum of the products overflows 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dot_product_is_that_of_wide_integers(
            pairs in prop::collection::vec((any::<i64>(), any::<i64>()), 0..4),
            small in prop::collection::vec((-9..9_i64, -9..9_i64), 0..4),
        ) {
            for pairs in [pairs, small] {
                let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                // As floating parts of a size that three products of 126 bits cannot leave: a quarter of each, and the rests.
                let products = left.iter().zip(&right).map(|(left, right)| i128::from(*left) * i128::from(*right));
                let (quarters, rests) = products.fold((0_i128, 0_i128), |(quarters, rests), product| {
                    (quarters + (product >> 2), rests + (product & 3))
                });
                let sum = quarters.checked_mul(4).and_then(|sum| sum.checked_add(rests));
                let expected = sum.and_then(|sum| i64::try_from(sum).ok());
                prop_assert_eq!(dot_of_integers(&left, &right).ok(), expected);
            }
        }
    }

    #[test]
    fn a_dot_product_fits_if_its_end_does() {
        let (min, max) = (i64::MIN, i64::MAX);
        assert_eq!(dot_of_integers(&[max, max, 1], &[max, -max, 7]), Ok(7));
        assert_eq!(dot_of_integers(&[min, 1], &[1, 0]), Ok(min));
        assert_eq!(dot_of_integers(&[max, 1], &[1, 0]), Ok(max));
        assert!(dot_of_integers(&[min, 1], &[1, -1]).is_err());
        assert!(dot_of_integers(&[max, 1], &[1, 1]).is_err());
        assert!(dot_of_integers(&[min; 100], &[min; 100]).is_err());
        let (many, signs) = (vec![min; 1000], [vec![min; 500], vec![max; 500]].concat());
        assert_eq!(dot_of_integers(&many, &signs).ok(), None);
    }
}
