//! Where clients' lines are, in ordinary memory: made by one pass over the table.
//!
//! Only hints: a block that is taken back does not take them back, so a line is looked at before it is believed. The table is made for
//! that pass, which the first call after an opening waits for: numbers of lines by the hashes of their clients, without the clients,
//! who stand in the lines.

use super::{ClientId, Line};
use crate::{
    heap::HeapError,
    mem::{LINE, WORD},
};
use std::hash::BuildHasher;

/// Lines by clients, and lines that were free.
#[derive(Debug, Default)]
pub(crate) struct CompletionHints {
    /// An open-addressed table: high half of a client's hash (high half) | number of the line plus one. Zero is a free slot.
    slots: Box<[u64]>,
    taken: usize,
    /// How many slots may be taken: three quarters.
    taken_max: usize,
    hasher: foldhash::fast::RandomState,
    pub(super) free: Vec<u32>,
}

impl CompletionHints {
    /// Looks through a table of so many lines, of which `load` gives the words. Every line is checked: a client whose line is damaged
    /// must not pass for a new one.
    #[inline]
    pub(super) fn read(
        seed: u32,
        first: u64,
        capacity: u32,
        load: impl Fn(u64) -> u64,
    ) -> Result<Self, HeapError> {
        let slots = (2 * capacity as usize).next_power_of_two().max(8);
        let mut hints = Self {
            slots: vec![0; slots].into(),
            taken_max: slots / 4 * 3,
            free: Vec::with_capacity(capacity as usize),
            ..Self::default()
        };
        // The last one first, so that the first free line is taken first.
        for number in (0..capacity).rev() {
            let at = first + u64::from(number) * LINE;
            let mut words = [0; 8];
            for (word, i) in words.iter_mut().zip(0..) {
                *word = load(at + i * WORD);
            }
            let line = Line { at, words };
            if line.is_free() {
                hints.free.push(number);
            } else if words[7] == line.crc_of(seed) {
                hints.insert(line.client(), number);
            } else {
                return Err(HeapError::Corrupt { offset: at });
            }
        }
        Ok(hints)
    }

    /// Whether they must be made, at first or since they have become too many.
    pub(super) fn are_to_be_made(&self) -> bool {
        self.taken >= self.taken_max
    }

    /// The first slot of a client, and what is in the slots with its lines besides their numbers.
    fn place(&self, client: ClientId) -> (usize, u64) {
        let hash = self.hasher.hash_one(client);
        (hash as usize & (self.slots.len() - 1), hash & !0xffff_ffff)
    }

    /// Notes that a client has this line.
    #[inline]
    pub(super) fn insert(&mut self, client: ClientId, number: u32) {
        let (mut at, tag) = self.place(client);
        let slot = tag | (u64::from(number) + 1);
        // Ends: a quarter of the slots is free.
        while self.slots[at] != 0 {
            if self.slots[at] == slot {
                return;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
        self.taken += 1;
    }

    /// The lines that may be the client's.
    #[inline]
    pub(super) fn lines(&self, client: ClientId) -> impl Iterator<Item = u32> + '_ {
        let (first, tag) = self.place(client);
        let mask = self.slots.len() - 1;
        (first..)
            .map(move |at| self.slots[at & mask])
            .take_while(|&slot| slot != 0)
            .filter(move |slot| slot & !0xffff_ffff == tag)
            .map(|slot| slot as u32 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines in memory that say whose they are.
    fn table(clients: &[Option<ClientId>]) -> Vec<u64> {
        let line = |(number, client): (u64, &Option<ClientId>)| {
            let mut line = Line { at: number * LINE, words: [0; 8] };
            if let Some(client) = client {
                line.words[..3].copy_from_slice(&[*client as u64, (*client >> 64) as u64, 1]);
                line.words[7] = line.crc_of(5);
            }
            line.words
        };
        (0..).zip(clients).flat_map(line).collect()
    }

    #[test]
    fn each_client_finds_its_line_and_free_lines_are_taken_from_the_first_on() {
        for capacity in [1, 3, 4, 100, 4096] {
            let clients: Vec<_> = (0..capacity)
                .map(|number| (number % 3 != 2).then_some(u128::from(number) << 64 | u128::from(number)))
                .collect();
            let words = table(&clients);
            let mut hints = CompletionHints::read(5, 0, capacity, |at| words[(at / WORD) as usize]).unwrap();
            assert!(!hints.are_to_be_made());
            for (number, client) in (0..).zip(&clients) {
                if let Some(client) = client {
                    assert!(hints.lines(*client).any(|line| line == number));
                }
            }
            assert!(hints.free.is_sorted_by(|one, next| one > next));
            assert_eq!(hints.free.len(), clients.iter().filter(|client| client.is_none()).count());
            // What was noted already takes no slot; others do until there are enough.
            let known = hints.taken;
            hints.insert(0, 0);
            assert_eq!(hints.taken, known);
            let mut client = 1 << 100;
            while !hints.are_to_be_made() {
                hints.insert(client, 0);
                assert!(hints.lines(client).eq([0]), "{client}");
                client += 1;
            }
            assert!(hints.slots.contains(&0), "a search for what is not there would not end");
            assert!(hints.lines(7).all(|line| line != 0) || capacity < 8);
        }
    }

    /// A client whose line is damaged would pass for a new one, and its last call would be made again.
    #[test]
    fn each_flipped_bit_of_a_line_is_noticed() {
        let words = table(&[Some(7), Some(8 << 64), None]);
        let read = |words: &[u64]| CompletionHints::read(5, 0, 3, |at| words[(at / WORD) as usize]);
        assert!(read(&words).is_ok());
        for bit in 0..words.len() * 64 {
            let mut flipped = words.clone();
            flipped[bit / 64] ^= 1 << (bit % 64);
            let at = bit as u64 / 512 * LINE;
            assert_eq!(read(&flipped).err(), Some(HeapError::Corrupt { offset: at }), "bit {bit}");
        }
    }

    #[test]
    fn hints_that_were_never_made_are_to_be_made() {
        assert!(CompletionHints::default().are_to_be_made());
    }
}
