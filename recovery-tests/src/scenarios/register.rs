//! A register of two words that belong together.

use super::values::{Memory, ValueModel};
use crate::history::Model;
use abide_pmem::{
    Tx, View,
    types::{Register, TypeError},
};
use fastrand::Rng;

/// Two numbers, the second always three times the first.
#[derive(Debug)]
pub struct Pair;

/// What clients ask of it.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Adds to the first; gives both as they were.
    Add(u64),
    /// Gives both.
    Get,
}

impl Model for Pair {
    type State = [u64; 2];
    type Op = Op;
    type Result = [u64; 2];

    fn apply(state: &mut [u64; 2], op: &Op) -> [u64; 2] {
        let old = *state;
        if let Op::Add(number) = *op {
            *state = [old[0] + number, old[1] + 3 * number];
        }
        old
    }
}

impl ValueModel for Pair {
    type Ask = Op;

    const NAME: &'static str = "register";

    fn empty() -> [u64; 2] {
        [0; 2]
    }

    fn ask(rng: &mut Rng, reads: bool) -> Op {
        if reads { Op::Get } else { Op::Add(rng.u64(1..9)) }
    }

    fn is_read(op: &Op) -> bool {
        matches!(op, Op::Get)
    }

    fn write(tx: &mut Tx<'_, Memory>, root: u64, op: &Op) -> Result<[u64; 2], TypeError> {
        Register::at(root).update(tx, |old| {
            let mut new = old;
            Pair::apply(&mut new, op);
            new
        })
    }

    fn read(view: &impl View, root: u64, _: &Op) -> Result<[u64; 2], TypeError> {
        Register::at(root).get(view)
    }

    fn state(view: &impl View, root: u64) -> Result<[u64; 2], TypeError> {
        Register::at(root).get(view)
    }
}
