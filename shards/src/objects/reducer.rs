//! Reducers.

use super::{
    floats::{extreme, settled},
    sizes::check_len,
};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, WaiterId},
    state::{Answers, ByteField, Cell, Fields, Number, Queue, damaged},
};
use abide_net::CallError;
use abide_schema::{MergeOp, NumberKind, Numbers, Wait, types::reducer};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// A barrier that adds up: see [`reducer`].
///
/// Invariants:
/// - fewer than `parties` wait, all of one generation, and none while it is broken;
/// - while somebody waits, `joined` is what those that wait have brought, joined; else it is empty.
#[derive(Debug)]
pub struct Reducer {
    parties: Number<u32>,
    shape: Cell<Shape>,
    broken: Number<bool>,
    generation: Number<u64>,
    /// Numbers of 8 bytes, the lowest byte first.
    joined: ByteField,
    waiters: Queue<()>,
}

/// What the vectors are, and how two of them are joined.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Shape {
    len: u32,
    kind: NumberKind,
    op: MergeOp,
}

const NUMBER_BYTES: usize = 8;

fn to_bytes(numbers: &Numbers) -> Vec<u8> {
    match numbers {
        Numbers::I64(integers) => integers.iter().flat_map(|integer| integer.to_le_bytes()).collect(),
        Numbers::F64(floats) => floats.iter().flat_map(|float| float.to_le_bytes()).collect(),
    }
}

impl Shape {
    fn check(self) -> Result<(), CallError> {
        check_len(self.len as usize * NUMBER_BYTES)?;
        let joins = match self.op {
            MergeOp::Concat => false,
            MergeOp::And | MergeOp::Or | MergeOp::Xor => self.kind == NumberKind::I64,
            MergeOp::Sum | MergeOp::Product | MergeOp::Min | MergeOp::Max => true,
            MergeOp::First | MergeOp::Last => true,
        };
        let Shape { kind, op, .. } = self;
        if joins {
            Ok(())
        } else {
            Err(CallError::bad_argument(format!("{op:?} does not join numbers of {kind:?}")))
        }
    }

    /// A caller's vector, as numbers of this kind.
    fn accept(self, values: Numbers) -> Result<Numbers, CallError> {
        let found = values.len();
        if found != self.len as usize {
            return Err(CallError::bad_argument(format!("a vector of {found} numbers, not of {}", self.len)));
        }
        let converted = match self.kind {
            NumberKind::I64 => values.integers().map(Numbers::I64),
            NumberKind::F64 => values.floats().map(Numbers::F64),
        };
        converted
            .ok_or_else(|| CallError::bad_argument(format!("not all numbers are exactly {:?}", self.kind)))
    }

    fn decode(self, bytes: &[u8]) -> Result<Numbers, CallError> {
        let (numbers, rest) = bytes.as_chunks::<NUMBER_BYTES>();
        if numbers.len() != self.len as usize || !rest.is_empty() {
            return Err(damaged("what parties have brought"));
        }
        Ok(match self.kind {
            NumberKind::I64 => Numbers::I64(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()),
            NumberKind::F64 => Numbers::F64(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()),
        })
    }

    /// Joins a vector to what is there, number by number.
    fn join(self, there: Numbers, new: &Numbers) -> Result<Numbers, CallError> {
        match (there, new) {
            (Numbers::I64(there), Numbers::I64(new)) => {
                let pairs = there.into_iter().zip(new);
                let joined = pairs.map(|(there, new)| integers(self.op, there, *new));
                joined.collect::<Result<_, _>>().map(Numbers::I64)
            }
            (Numbers::F64(there), Numbers::F64(new)) => {
                let pairs = there.into_iter().zip(new);
                Ok(Numbers::F64(pairs.map(|(there, new)| floats(self.op, there, *new)).collect()))
            }
            _ => Err(damaged("what parties have brought")),
        }
    }
}

fn integers(op: MergeOp, there: i64, new: i64) -> Result<i64, CallError> {
    let joined = match op {
        MergeOp::Sum => there.checked_add(new),
        MergeOp::Product => there.checked_mul(new),
        MergeOp::Min => Some(there.min(new)),
        MergeOp::Max => Some(there.max(new)),
        MergeOp::And => Some(there & new),
        MergeOp::Or => Some(there | new),
        MergeOp::Xor => Some(there ^ new),
        MergeOp::First => Some(there),
        MergeOp::Last => Some(new),
        MergeOp::Concat => None,
    };
    joined.ok_or_else(|| CallError::bad_argument(format!("{op:?} of {there} and {new} overflows 64 bits")))
}

fn floats(op: MergeOp, there: f64, new: f64) -> f64 {
    match op {
        MergeOp::Sum => settled(there + new),
        MergeOp::Product => settled(there * new),
        MergeOp::Min => extreme(there, new, Ordering::Less),
        MergeOp::Max => extreme(there, new, Ordering::Greater),
        MergeOp::Last => new,
        // A reducer of floats is not made with the others.
        MergeOp::First | MergeOp::And | MergeOp::Or | MergeOp::Xor | MergeOp::Concat => there,
    }
}

impl SharedObject for Reducer {
    type Type = reducer::Type;

    const FIELDS: u32 = 6;

    fn at(fields: Fields) -> Self {
        Reducer {
            parties: Number::at(fields, 0),
            shape: Cell::at(fields, 1),
            broken: Number::at(fields, 2),
            generation: Number::at(fields, 3),
            joined: ByteField::at(fields, 4),
            waiters: Queue::at(fields, 5),
        }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        reducer::Creation { parties, len, kind, op }: reducer::Creation,
    ) -> Result<(), CallError> {
        if parties == 0 {
            return Err(CallError::bad_argument("a reducer has at least one party"));
        }
        let shape = Shape { len, kind, op };
        shape.check()?;
        self.shape.set(context, Some(&shape))?;
        self.parties.set(context, parties)
    }

    calls!(abide_schema::types::reducer);

    /// A party that timed out, was cancelled or died gets no result, and what it brought cannot be taken back out of the others'.
    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if self.waiters.remove(context, waiter)?.is_some() {
            self.broken.set(context, true)?;
            self.end_generation(context, Answers::error(CallError::Broken))?;
        }
        Ok(Leaves::Now)
    }
}

impl Reducer {
    fn end_generation(&self, context: &mut Context<'_, '_>, answers: Answers) -> Result<(), CallError> {
        self.joined.set(context, &[])?;
        self.waiters.wake_all(context, answers)
    }
}

impl reducer::Methods<Context<'_, '_>> for Reducer {
    fn contribute(
        &mut self,
        context: &mut Context<'_, '_>,
        values: Numbers,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<Numbers>, CallError> {
        let shape = self.shape.get(context)?.ok_or_else(|| damaged("a reducer"))?;
        let values = shape.accept(values)?;
        if self.broken.get(context)? {
            return Err(CallError::Broken);
        }
        let waiting = self.waiters.len(context)?;
        let joined = match waiting {
            0 => values,
            _ => shape.join(shape.decode(&self.joined.get(context)?)?, &values)?,
        };
        if waiting + 1 < u64::from(self.parties.get(context)?) {
            self.joined.set(context, &to_bytes(&joined))?;
            return self.waiters.wait(context, &(), timeout_ms);
        }
        self.generation.update(context, |generation| generation + 1)?;
        self.end_generation(context, Answers::same(&joined)?)?;
        Ok(Wait::Done(joined))
    }

    fn waiting(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        Ok(self.waiters.len(context)? as u32)
    }

    fn parties(&mut self, context: &mut Context<'_, '_>) -> Result<u32, CallError> {
        self.parties.get(context)
    }

    fn reset(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.broken.set(context, false)?;
        self.end_generation(context, Answers::error(CallError::Broken))
    }

    fn is_broken(&mut self, context: &mut Context<'_, '_>) -> Result<bool, CallError> {
        self.broken.get(context)
    }

    fn generation(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.generation.get(context)
    }
}
