//! What a session is asked to do: each call follows from the seed, the session and the call's number alone, so whoever checks
//! knows what each changes.

use abide::client::{
    CallError, MergeOp, Store,
    handles::{AtomicLong, Map},
};
use anyhow::{Context as _, ensure};
use fastrand::Rng;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Shared counters.
pub(super) const COUNTERS: usize = 3;
/// Shared maps.
const MAPS: usize = 2;
/// Keys of each map.
const KEYS: usize = 5;
/// Numbers that the sessions add to.
pub(super) const PLACES: usize = COUNTERS + MAPS * KEYS;
/// Most that a merge adds.
const AMOUNT_MAX: i64 = 9;

/// A shared number: a counter, or what a key of a map has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) usize);

impl Place {
    /// The map and the key, if it is in a map.
    fn entry(self) -> Option<(usize, u64)> {
        let entry = self.0.checked_sub(COUNTERS)?;
        Some((entry / KEYS, (entry % KEYS) as u64))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            None => write!(f, "counter {}", self.0),
            Some((map, key)) => write!(f, "key {key} of map {map}"),
        }
    }
}

/// A call: adds an amount to a place, and is answered with what is there then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) amount: i64,
}

impl Change {
    /// The call of this number, from 0. Increments and merges take turns.
    pub(super) fn new(seed: u64, session: u64, call: u64) -> Change {
        // Neighbours in these numbers are not to be neighbours in what they do.
        let [seed, session, call_seed] = [seed, session, call].map(|number| Rng::with_seed(number).u64(..));
        let mut rng = Rng::with_seed(seed ^ session.rotate_left(21) ^ call_seed.rotate_left(42));
        if call.is_multiple_of(2) {
            Change { place: Place(rng.usize(..COUNTERS)), amount: 1 }
        } else {
            Change { place: Place(rng.usize(COUNTERS..PLACES)), amount: rng.i64(1..=AMOUNT_MAX) }
        }
    }
}

/// Handles of all that is shared, in one session.
#[derive(Debug)]
pub(super) struct Objects {
    counters: Vec<AtomicLong>,
    maps: Vec<Map<u64, i64>>,
}

impl Objects {
    pub(super) fn of(store: &Store) -> Objects {
        let counter = |number| store.atomic_long(&format!("counter {number}")).persistent();
        let map = |number| store.map(&format!("map {number}")).persistent();
        Objects { counters: (0..COUNTERS).map(counter).collect(), maps: (0..MAPS).map(map).collect() }
    }

    /// Makes a call. Gives its result.
    pub(super) fn make(&self, change: Change) -> Result<i64, CallError> {
        match change.place.entry() {
            None => self.counters[change.place.0].add_and_get(change.amount),
            Some((map, key)) => self.maps[map].merge(&key, &change.amount, MergeOp::Sum),
        }
    }

    /// What a place has.
    pub(super) fn read(&self, place: Place) -> Result<i64, CallError> {
        match place.entry() {
            None => self.counters[place.0].get(),
            Some((map, key)) => Ok(self.maps[map].get(&key)?.unwrap_or(0)),
        }
    }
}

/// The file of a session's acknowledged results.
pub(super) fn file_of(dir: &Path, session: u64) -> PathBuf {
    dir.join(format!("session-{session}"))
}

/// Bytes of a line: all lines are as long, so that one write is one line and a torn one would show.
pub(super) const LINE_BYTES: usize = 29;

/// An acknowledged result: of which call, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) call: u64,
    pub(super) result: i64,
}

impl Acknowledged {
    pub(super) fn line(self) -> String {
        let line = format!("{:>9} {:>18}\n", self.call, self.result);
        assert_eq!(line.len(), LINE_BYTES, "{self:?} has no place in a line");
        line
    }

    /// Reads all lines of a file.
    pub(super) fn read_all(bytes: &[u8]) -> anyhow::Result<Vec<Acknowledged>> {
        ensure!(bytes.len().is_multiple_of(LINE_BYTES), "a line is torn");
        let read = |line: &[u8]| {
            let (call, result) = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.split_at_checked(9)?;
            Some(Acknowledged { call: call.trim().parse().ok()?, result: result.trim().parse().ok()? })
        };
        let lines = bytes.chunks(LINE_BYTES);
        lines.map(|line| read(line).with_context(|| format!("{line:?} is no line"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_written() {
        let all = [(0, 1), (999_999_999, 1), (7, -5), (8, 99_999_999_999_999_999)];
        let all = all.map(|(call, result)| Acknowledged { call, result });
        let text: String = all.iter().map(|acknowledged| acknowledged.line()).collect();
        assert_eq!(Acknowledged::read_all(text.as_bytes()).unwrap(), all);
        assert!(Acknowledged::read_all(&text.as_bytes()[..40]).is_err());
        assert!(Acknowledged::read_all(text.replace('9', "x").as_bytes()).is_err());
    }

    #[test]
    fn all_places_are_used() {
        let mut used = [false; PLACES];
        for call in 0..500 {
            let change = Change::new(1, 2, call);
            assert_eq!(change, Change::new(1, 2, call));
            assert_eq!(change.place.0 < COUNTERS, call % 2 == 0);
            used[change.place.0] = true;
        }
        assert_eq!(used, [true; PLACES]);
    }
}
