//! What must be so when all is done.

use super::work::{Acknowledged, Change, PLACES, Place, file_of};
use anyhow::{Context as _, bail, ensure};
use std::{fs, path::Path};

/// The results of a session by the number of the call, and how many were acknowledged more than once.
pub(super) fn results_of(acknowledged: &[Acknowledged], calls: u64) -> anyhow::Result<(Vec<i64>, u64)> {
    let mut results = vec![None; calls as usize];
    let mut repeated = 0;
    for &Acknowledged { call, result } in acknowledged {
        let known = results.get_mut(call as usize).with_context(|| format!("there is no call {call}"))?;
        match *known {
            None => *known = Some(result),
            Some(before) => {
                ensure!(before == result, "call {call} had the result {before}, and in a later run {result}");
                repeated += 1;
            }
        }
    }
    let results = results.into_iter().enumerate();
    let results = results
        .map(|(call, result)| result.with_context(|| format!("call {call} was never acknowledged")))
        .collect::<Result<_, _>>()?;
    Ok((results, repeated))
}

/// The changes of each place that were acknowledged.
#[derive(Debug)]
pub(super) struct Changes {
    places: Vec<Vec<Made>>,
    /// Results that were acknowledged again, by a later run.
    pub(super) repeated: u64,
}

/// An acknowledged change.
#[derive(Debug, Clone, Copy)]
struct Made {
    after: i64,
    amount: i64,
    session: u64,
    call: u64,
}

impl Changes {
    /// Reads what all sessions were told.
    pub(super) fn read(dir: &Path, seed: u64, sessions: u64, calls: u64) -> anyhow::Result<Changes> {
        let mut changes = Changes { places: vec![Vec::new(); PLACES], repeated: 0 };
        for session in 0..sessions {
            let read = || {
                let acknowledged = Acknowledged::read_all(&fs::read(file_of(dir, session))?)?;
                results_of(&acknowledged, calls)
            };
            let (results, repeated) = read().with_context(|| format!("session {session}"))?;
            changes.repeated += repeated;
            for (call, after) in (0..).zip(results) {
                changes.add(session, call, Change::new(seed, session, call), after);
            }
        }
        Ok(changes)
    }

    fn add(&mut self, session: u64, call: u64, Change { place, amount }: Change, after: i64) {
        self.places[place.0].push(Made { after, amount, session, call });
    }

    /// What each place must have: the sum of what was added to it. Fails unless the results are those of these changes, each
    /// made once, one after the other: each begins where another ends.
    pub(super) fn totals(mut self) -> anyhow::Result<Vec<i64>> {
        let places = self.places.iter_mut().enumerate();
        places.map(|(place, made)| total(made).with_context(|| Place(place).to_string())).collect()
    }
}

fn total(made: &mut [Made]) -> anyhow::Result<i64> {
    made.sort_unstable_by_key(|made| (made.after - made.amount, made.after));
    let mut total = 0;
    for (index, &Made { after, amount, session, call }) in made.iter().enumerate() {
        let before = after - amount;
        if before > total {
            bail!(
                "call {call} of session {session} found {before}, but all others that came before it leave {total}: \
                 a change was made twice, or by nobody"
            );
        }
        if before < total {
            let other = index.checked_sub(1).map(|index| made[index]);
            let other = other.map_or("nobody".to_owned(), |other| {
                format!("call {} of session {}", other.call, other.session)
            });
            bail!(
                "call {call} of session {session} found {before}, but {other} left {total}: a change was lost"
            );
        }
        total = after;
    }
    Ok(total)
}

/// Compares what is there with what must be.
pub(super) fn compare(totals: &[i64], read: impl Fn(Place) -> anyhow::Result<i64>) -> anyhow::Result<()> {
    for (place, &expected) in totals.iter().enumerate() {
        let place = Place(place);
        let is = read(place)?;
        ensure!(is == expected, "{place} has {is}, and {expected} were added");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(all: &[(u64, i64)]) -> Vec<Acknowledged> {
        all.iter().map(|&(call, result)| Acknowledged { call, result }).collect()
    }

    #[test]
    fn a_result_that_changes_or_never_comes_is_found() {
        let results = |all| results_of(&acknowledged(all), 3).map_err(|error| error.to_string());
        assert_eq!(results(&[(0, 5), (1, 6), (0, 5), (1, 6), (2, 9)]), Ok((vec![5, 6, 9], 2)));
        assert!(results(&[(0, 5), (1, 6), (0, 5), (1, 7), (2, 9)]).unwrap_err().contains("in a later run 7"));
        assert!(results(&[(0, 5), (2, 6)]).unwrap_err().contains("call 1 was never"));
        assert!(results(&[(3, 5)]).unwrap_err().contains("no call 3"));
    }

    /// The changes of one place: amounts, and results.
    fn totals(all: &[(i64, i64)]) -> Result<i64, String> {
        let mut changes = Changes { places: vec![Vec::new(); PLACES], repeated: 0 };
        for (call, &(amount, after)) in (0..).zip(all) {
            changes.add(0, call, Change { place: Place(1), amount }, after);
        }
        changes.totals().map(|totals| totals[1]).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_change_that_was_made_twice_or_lost_is_found() {
        assert_eq!(totals(&[(2, 6), (4, 4), (1, 7)]), Ok(7));
        assert!(totals(&[(2, 6), (4, 4), (1, 8)]).unwrap_err().contains("made twice"));
        assert!(totals(&[(2, 6), (4, 4), (1, 6)]).unwrap_err().contains("was lost"));
        assert!(totals(&[(1, 1), (1, 1)]).unwrap_err().contains("was lost"));
        assert!(totals(&[(1, 0)]).unwrap_err().contains("nobody left 0: a change was lost"));
        assert!(totals(&[(1, 2)]).unwrap_err().contains("counter 1: call 0"));
    }

    #[test]
    fn a_total_that_nobody_was_told_is_found() {
        let totals = vec![7; PLACES];
        assert!(compare(&totals, |_| Ok(7)).is_ok());
        let error = compare(&totals, |place| Ok(if place.0 == 4 { 8 } else { 7 })).unwrap_err();
        assert_eq!(error.to_string(), "key 1 of map 0 has 8, and 7 were added");
    }
}
