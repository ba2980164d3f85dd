//! The command ring: what was asked of a shard, in order, for followers and auditors.
//!
//! A ring of bytes of fixed size for each shard. A command is appended in the failure-atomic block that has its effect and
//! commits with the same fence. It is found by its position, which only grows: position p stands at p modulo the
//! ring's size. The oldest are trimmed when nobody needs them any more; a ring that is full says so before anything is
//! written, and whoever holds it up decides.
//!
//! ```text
//! word 0   bytes of the command (32 bits) | crc32c of position and bytes, seeded with the region (32 bits, from bit 32)
//!      1.. the bytes, filled up with zeros
//! ```
//! A command does not cross the end of the ring: a word of all ones before it says that the rest is skipped.
//!
//! Fences: none of its own. Words of a record: 3 for each command (its content, and the new tail).

use super::TypeError;
use crate::{
    checksum::{checksum, checksum_bytes},
    heap::{HeapError, SHARD_COMMANDS, Tx, View},
    mem::{Mem, WORD},
};
use std::collections::VecDeque;

/// Says that the ring goes on at its beginning.
const SKIP: u64 = u64::MAX;

/// Where a command stands in its shard's sequence. Only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Why a command ring does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// There is no room until older commands are trimmed, and two more batches are committed.
    #[error("the command ring is full: it holds {held} of {capacity} bytes")]
    RingFull {
        /// Bytes that it holds.
        held: u64,
        /// Bytes that it can hold.
        capacity: u64,
    },
    /// Longer than half of the ring.
    #[error("a command of {bytes} bytes; at most {max} fit")]
    TooLarge {
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        max: u64,
    },
    /// The command was trimmed.
    #[error("commands before position {first} were trimmed")]
    Trimmed {
        /// The oldest that is left.
        first: u64,
    },
    /// No command begins there.
    #[error("position {position} is not that of a command")]
    NoSuchPosition {
        /// Which.
        position: u64,
    },
    /// The heap could not do it.
    #[error(transparent)]
    Heap(#[from] HeapError),
}

impl From<CommandError> for TypeError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Heap(error) => Self::Heap(error),
            other => Self::Command(other),
        }
    }
}

/// A command, and where the next one stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What was appended.
    pub bytes: Vec<u8>,
    /// Position of the next command, or of the end.
    pub next: Position,
}

/// From where on the ring's bytes must be left alone, in ordinary memory.
#[derive(Debug, Default)]
pub(crate) struct Trims {
    /// Bytes before this position may be overwritten. `None` before the first use in a run.
    usable: Option<u64>,
    /// Later trims: batch, and the head after it.
    pending: VecDeque<(u64, u64)>,
}

/// The command ring of a shard.
#[derive(Debug, Clone, Copy)]
pub struct Commands;

impl Commands {
    /// Appends a command.
    ///
    /// # Errors
    /// [`CommandError::RingFull`], [`CommandError::TooLarge`].
    pub fn append<M: Mem>(tx: &mut Tx<'_, M>, bytes: &[u8]) -> Result<Position, CommandError> {
        let capacity = Self::capacity(tx);
        let (head, mut tail) = Self::ends(tx)?;
        let need = WORD + (bytes.len() as u64).next_multiple_of(WORD);
        if need > capacity / 2 {
            let max = (capacity / 2).saturating_sub(WORD);
            return Err(CommandError::TooLarge { bytes: bytes.len() as u64, max });
        }
        let usable = Self::usable_head(tx, head);
        let to_end = capacity - tail % capacity;
        let skipped = if need > to_end { to_end } else { 0 };
        if tail + skipped + need - usable > capacity {
            return Err(CommandError::RingFull { held: tail - head, capacity });
        }
        if skipped > 0 {
            tx.put(Self::at(tx, tail), &SKIP.to_le_bytes())?;
            tail += skipped;
        }
        let head_word = bytes.len() as u64 | u64::from(Self::crc(tx.heap().seed(), tail, bytes)) << 32;
        let mut content = Vec::with_capacity(need as usize);
        content.extend(head_word.to_le_bytes());
        content.extend(bytes);
        tx.put(Self::at(tx, tail), &content)?;
        tx.write(Self::header(tx) + WORD, tail + need)?;
        Ok(Position(tail))
    }

    /// Reads the command at a position, which is that of an earlier command's `next`, or [`first`](Self::first).
    ///
    /// # Errors
    /// [`CommandError::Trimmed`], [`CommandError::NoSuchPosition`]; [`HeapError::Corrupt`] if it is damaged.
    pub fn read<V: View>(view: &V, position: Position) -> Result<Option<Command>, CommandError> {
        let capacity = Self::capacity(view);
        let (head, tail) = Self::ends(view)?;
        let mut at = position.0;
        if at < head {
            return Err(CommandError::Trimmed { first: head });
        }
        let no_such = CommandError::NoSuchPosition { position: at };
        if at > tail || !at.is_multiple_of(WORD) {
            return Err(no_such);
        }
        if at == tail {
            return Ok(None);
        }
        let mut word = view.content_word(Self::at(view, at));
        if word == SKIP {
            at += capacity - at % capacity;
            if at >= tail {
                return Err(no_such);
            }
            word = view.content_word(Self::at(view, at));
        }
        let len = word & u64::from(u32::MAX);
        let next = at + WORD + len.next_multiple_of(WORD);
        if next > tail || at % capacity + next - at > capacity {
            return Err(Self::trimmed_or(view, position, no_such));
        }
        let mut bytes = vec![0; len as usize];
        view.contents(Self::at(view, at) + WORD, &mut bytes);
        if (word >> 32) as u32 != Self::crc(view.heap().seed(), at, &bytes) {
            let corrupt = HeapError::Corrupt { offset: Self::at(view, at) };
            return Err(Self::trimmed_or(view, position, corrupt.into()));
        }
        Ok(Some(Command { bytes, next: Position(next) }))
    }

    /// What looks damaged may have been trimmed and overwritten while it was read.
    fn trimmed_or<V: View>(view: &V, position: Position, error: CommandError) -> CommandError {
        let first = view.word(Self::header(view));
        if first > position.0 { CommandError::Trimmed { first } } else { error }
    }

    /// Position of the oldest command, or of the end.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if the shard's header is damaged.
    pub fn first<V: View>(view: &V) -> Result<Position, CommandError> {
        Ok(Position(Self::ends(view)?.0))
    }

    /// Position that the next command will have.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if the shard's header is damaged.
    pub fn end<V: View>(view: &V) -> Result<Position, CommandError> {
        Ok(Position(Self::ends(view)?.1))
    }

    /// Forgets all commands before a position. Their space is used again two batches later.
    ///
    /// # Errors
    /// [`CommandError::NoSuchPosition`] if that lies behind the end.
    pub fn trim<M: Mem>(tx: &mut Tx<'_, M>, before: Position) -> Result<(), CommandError> {
        let (head, tail) = Self::ends(tx)?;
        if before.0 > tail || !before.0.is_multiple_of(WORD) {
            return Err(CommandError::NoSuchPosition { position: before.0 });
        }
        if before.0 > head {
            Self::usable_head(tx, head);
            tx.write(Self::header(tx), before.0)?;
            let batch = tx.batch();
            // A trim beyond the head is one that was taken back.
            let pending = &mut tx.trims().pending;
            pending.retain(|&(_, to)| to <= head);
            pending.push_back((batch, before.0));
        }
        Ok(())
    }

    /// From where on bytes must not be overwritten. What batch b trims may be checked by recovery until batch b + 1 is
    /// committed (rules R2 and R6).
    fn usable_head<M: Mem>(tx: &mut Tx<'_, M>, head: u64) -> u64 {
        let batch = tx.batch();
        let trims = tx.trims();
        let mut usable = trims.usable.unwrap_or(head);
        while let Some(&(trimmed_in, to)) = trims.pending.front()
            && trimmed_in + 2 <= batch
        {
            usable = usable.max(to.min(head));
            trims.pending.pop_front();
        }
        trims.usable = Some(usable);
        usable
    }

    fn header<V: View>(view: &V) -> u64 {
        view.heap().layout().shard_header(view.shard()) + SHARD_COMMANDS
    }

    /// Head and tail.
    fn ends<V: View>(view: &V) -> Result<(u64, u64), HeapError> {
        let at = Self::header(view);
        let [head, tail] = view.words([at, at + WORD]);
        let is_good = head <= tail
            && tail - head <= Self::capacity(view)
            && tail < 1 << 62
            && head.is_multiple_of(WORD)
            && tail.is_multiple_of(WORD);
        if is_good { Ok((head, tail)) } else { Err(HeapError::Corrupt { offset: at }) }
    }

    fn capacity<V: View>(view: &V) -> u64 {
        view.heap().layout().geometry().command_ring_bytes
    }

    fn at<V: View>(view: &V, position: u64) -> u64 {
        view.heap().layout().command_ring(view.shard()) + position % Self::capacity(view)
    }

    fn crc(seed: u32, position: u64, bytes: &[u8]) -> u32 {
        checksum_bytes(checksum(seed, &[position]), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        heap::testing::{heap, reopen},
        sim::Sim,
    };
    use std::collections::VecDeque;

    fn read_all(heap: &crate::Heap<Sim>) -> Vec<Vec<u8>> {
        let reader = heap.reader(0);
        let mut at = Commands::first(&reader).unwrap();
        let mut all = Vec::new();
        while let Some(command) = Commands::read(&reader, at).unwrap() {
            all.push(command.bytes);
            at = command.next;
        }
        assert_eq!(at, Commands::end(&reader).unwrap());
        all
    }

    #[test]
    fn commands_come_back_in_order_through_trims_laps_and_restarts() {
        for seed in 0..50 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut heap = heap();
            let mut model: VecDeque<(Position, Vec<u8>)> = VecDeque::new();
            for _ in 0..100 {
                let bytes: Vec<u8> = (0..rng.usize(0..120)).map(|_| rng.u8(..)).collect();
                match heap.atomically(0, |tx| Commands::append(tx, &bytes)) {
                    Ok(position) => model.push_back((position, bytes)),
                    Err(CommandError::RingFull { .. }) => {
                        let keep = rng.usize(0..3).min(model.len());
                        model.drain(..model.len() - keep);
                        let before = model.front().map_or_else(
                            || Commands::end(&heap.reader(0)).unwrap(),
                            |(position, _)| *position,
                        );
                        heap.atomically(0, |tx| Commands::trim(tx, before)).unwrap();
                    }
                    Err(error) => panic!("seed {seed}: {error}"),
                }
                if rng.u8(..20) == 0 {
                    heap = reopen(&heap);
                }
                let expected: Vec<_> = model.iter().map(|(_, bytes)| bytes.clone()).collect();
                assert_eq!(read_all(&heap), expected, "seed {seed}");
            }
        }
    }

    #[test]
    fn trimmed_space_is_not_overwritten_before_two_more_batches() {
        let heap = heap();
        let fill = || {
            loop {
                if let Err(error) = heap.atomically(0, |tx| Commands::append(tx, &[1; 56])) {
                    return error;
                }
            }
        };
        assert_eq!(fill(), CommandError::RingFull { held: 512, capacity: 512 });
        let end = Commands::end(&heap.reader(0)).unwrap();
        heap.atomically(0, |tx| Commands::trim(tx, end)).unwrap();
        let append = || heap.atomically(0, |tx| Commands::append(tx, &[2; 56]));
        assert_eq!(append(), Err(CommandError::RingFull { held: 0, capacity: 512 }));
        heap.atomically(0, |tx| tx.allocate(64)).unwrap();
        append().unwrap();
    }

    #[test]
    fn positions_that_are_none_have_their_error() {
        let heap = heap();
        let first = heap.atomically(0, |tx| Commands::append(tx, &[3; 20])).unwrap();
        let reader = heap.reader(0);
        let read = |at| Commands::read(&reader, Position(at));
        assert!(matches!(read(3), Err(CommandError::NoSuchPosition { .. })));
        assert!(matches!(read(1000), Err(CommandError::NoSuchPosition { .. })));
        read(8).expect_err("the middle of a command");
        let too_large = heap.atomically(0, |tx| Commands::append(tx, &[0; 300]));
        assert_eq!(too_large, Err(CommandError::TooLarge { bytes: 300, max: 248 }));
        let end = Commands::end(&reader).unwrap();
        heap.atomically(0, |tx| Commands::trim(tx, end)).unwrap();
        assert!(matches!(Commands::read(&reader, first), Err(CommandError::Trimmed { first: 32 })));
    }
}
