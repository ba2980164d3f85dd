//! A byte array that takes all of its forms: in the root, one block, extents.

use super::values::{Memory, ValueModel};
use crate::history::Model;
use abide_pmem::{
    Tx, View,
    types::{Bytes, Persistent as _, TypeError, garbage},
};
use fastrand::Rng;

/// Bytes.
#[derive(Debug)]
pub struct ByteArray;

/// What clients ask of it. A byte stands for as many of its kind.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Replaces all by so many of this byte.
    Set(usize, u8),
    /// Replaces a part, as far as it is there.
    SetRange(usize, usize, u8),
    /// Adds so many of this byte; gives how many there are.
    Append(usize, u8),
    /// Changes the length.
    Resize(usize),
    /// Makes it empty.
    Discard,
    /// Frees a part of the garbage.
    Collect,
    /// Gives all.
    Get,
    /// Gives a part, as far as it is there.
    GetRange(usize, usize),
}

fn part(at: usize, len: usize, of: usize) -> std::ops::Range<usize> {
    let at = at.min(of);
    at..at + len.min(of - at)
}

impl Model for ByteArray {
    type State = Vec<u8>;
    type Op = Op;
    type Result = Vec<u8>;

    fn apply(state: &mut Vec<u8>, op: &Op) -> Vec<u8> {
        match *op {
            Op::Set(len, byte) => *state = vec![byte; len],
            Op::SetRange(at, len, byte) => {
                let range = part(at, len, state.len());
                state[range].fill(byte);
            }
            Op::Append(len, byte) => state.resize((state.len() + len).min(MAX), byte),
            Op::Resize(len) => state.resize(len, 0),
            Op::Discard => state.clear(),
            Op::Collect => {}
            Op::Get => return state.clone(),
            Op::GetRange(at, len) => return state[part(at, len, state.len())].to_vec(),
        }
        Vec::new()
    }
}

const MAX: usize = 1200;

impl ValueModel for ByteArray {
    type Ask = Op;

    const NAME: &'static str = "bytes";

    fn empty() -> Vec<u8> {
        Vec::new()
    }

    fn ask(rng: &mut Rng, reads: bool) -> Op {
        let len = *rng.choice(&[3, 40, 41, 130, 256, 257, 384, 700]).expect("a choice");
        let byte = rng.u8(1..);
        match rng.u32(0..10) {
            0..5 if reads => Op::Get,
            _ if reads => Op::GetRange(rng.usize(0..600), rng.usize(1..300)),
            0..2 => Op::Set(len, byte),
            2..6 => Op::SetRange(rng.usize(0..600), rng.usize(1..200), byte),
            6 => Op::Append(rng.usize(1..200), byte),
            7 => Op::Resize(len),
            8 => Op::Collect,
            _ => Op::Discard,
        }
    }

    fn is_read(op: &Op) -> bool {
        matches!(op, Op::Get | Op::GetRange(..))
    }

    fn write(tx: &mut Tx<'_, Memory>, root: u64, op: &Op) -> Result<Vec<u8>, TypeError> {
        let bytes = Bytes::at(root);
        let now = bytes.len(tx)? as usize;
        match *op {
            Op::Set(len, byte) => bytes.set(tx, &vec![byte; len])?,
            Op::SetRange(at, len, byte) => {
                let range = part(at, len, now);
                bytes.set_range(tx, range.start as u64, &vec![byte; range.len()])?;
            }
            Op::Append(len, byte) => drop(bytes.append(tx, &vec![byte; len.min(MAX - now)])?),
            Op::Resize(len) => bytes.resize(tx, len as u64)?,
            Op::Discard => Bytes::discard(tx, root)?,
            Op::Collect => drop(garbage::collect(tx, 2)?),
            Op::Get | Op::GetRange(..) => {}
        }
        Ok(Vec::new())
    }

    fn read(view: &impl View, root: u64, op: &Op) -> Result<Vec<u8>, TypeError> {
        match *op {
            // The length and the bytes are asked for at two moments, so the array may have become shorter.
            Op::GetRange(at, len) => view.snapshot(|view| {
                let range = part(at, len, Bytes::at(root).len(view)? as usize);
                Bytes::at(root).get_range(view, range.start as u64, range.len() as u64)
            }),
            _ => Bytes::at(root).get(view),
        }
    }

    fn state(view: &impl View, root: u64) -> Result<Vec<u8>, TypeError> {
        Bytes::at(root).get(view)
    }
}
