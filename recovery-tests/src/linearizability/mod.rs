//! Durable linearizability: is what recovery shows explained by what clients asked and were told?
//!
//! It is, if there is an order of all calls that were answered and *some* of the pending ones, in which each call that was
//! answered before another one was made comes before it, in which each answer is the one that the [`Model`] gives, and whose
//! final state is the recovered one. Reads are calls like others, so a value that somebody was shown and that recovery
//! does not know is found as well.
//!
//! [`Admissible`] finds all final states that the calls up to a crash allow, once; then each image of that crash
//! costs a comparison. The search is that of Wing and Gong with Lowe's memory of what was visited; [`brute`] is an
//! independent, slow one that the tests compare it with.

pub mod brute;
mod search;
#[cfg(test)]
mod tests;

use crate::history::{Call, Model};
use search::Outcome;
use std::collections::BTreeSet;

/// Why no order of the calls explains what was seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unexplained {
    /// The answers contradict each other, whatever the crash left.
    #[error("no order of the calls gives the answers that clients were told")]
    History,
    /// The answers are fine, the state is not.
    #[error("recovered {recovered}, but the calls allow only {allowed}")]
    State {
        /// What recovery showed.
        recovered: String,
        /// What it could have shown.
        allowed: String,
    },
    /// A call that was repeated after recovery was told something else than its single execution gives.
    #[error(
        "the repeated call {call} was told {told}: neither what it would get as new, nor what it got before"
    )]
    Repeated {
        /// The call.
        call: String,
        /// Its answer.
        told: String,
    },
}

/// All states that the calls up to a crash allow recovery to show.
#[derive(Debug)]
pub struct Admissible<M: Model> {
    calls: Vec<Call<M>>,
    initial: M::State,
    groups: Vec<Group<M>>,
}

/// Calls that are looked at together: all of them, or those of one part.
#[derive(Debug)]
struct Group<M: Model> {
    part: Option<u64>,
    /// Places in the history of the pending calls.
    pending: Vec<usize>,
    outcomes: Vec<Outcome<M>>,
}

impl<M: Model> Admissible<M> {
    /// Searches. `calls` is a history up to a crash, which began in the state `initial`.
    pub fn new(initial: &M::State, calls: Vec<Call<M>>) -> Result<Self, Unexplained> {
        let parts: Option<BTreeSet<u64>> = calls.iter().map(|call| M::part(&call.op)).collect();
        let group = |part: Option<u64>| {
            let of_part = |&at: &usize| part.is_none() || M::part(&calls[at].op) == part;
            let members: Vec<usize> = (0..calls.len()).filter(of_part).collect();
            let initial = part.map_or_else(|| initial.clone(), |part| M::project(initial, part));
            let (pending, outcomes) = search::outcomes(&initial, &calls, &members);
            if outcomes.is_empty() {
                Err(Unexplained::History)
            } else {
                Ok(Group { part, pending, outcomes })
            }
        };
        let groups = match parts {
            Some(parts) if !parts.is_empty() => parts.into_iter().map(|part| group(Some(part))).collect(),
            _ => group(None).map(|group| vec![group]),
        };
        let groups = groups?;
        Ok(Admissible { initial: initial.clone(), groups, calls })
    }

    /// The calls that were searched.
    #[must_use]
    pub fn calls(&self) -> &[Call<M>] {
        &self.calls
    }

    /// Whether recovery may show this.
    pub fn allows(&self, recovered: &M::State) -> Result<(), Unexplained> {
        for group in &self.groups {
            let allowed = match group.part {
                None => group.outcomes.iter().any(|outcome| outcome.state == *recovered),
                Some(part) => {
                    let state = M::project(recovered, part);
                    group.outcomes.iter().any(|outcome| outcome.state == state)
                }
            };
            if !allowed {
                return Err(self.wrong_state(recovered, group.part, &group.outcomes));
            }
        }
        if self.groups[0].part.is_some() {
            // Parts that no call named are as they were.
            let untouched = M::parts(recovered).into_iter().chain(M::parts(&self.initial));
            for part in untouched.filter(|&part| self.groups.iter().all(|group| group.part != Some(part))) {
                let before = M::project(&self.initial, part);
                if M::project(recovered, part) != before {
                    let outcome = Outcome { state: before, applied: Vec::new() };
                    return Err(self.wrong_state(recovered, Some(part), &[outcome]));
                }
            }
        }
        Ok(())
    }

    fn wrong_state(&self, recovered: &M::State, part: Option<u64>, outcomes: &[Outcome<M>]) -> Unexplained {
        let recovered = part.map_or_else(|| recovered.clone(), |part| M::project(recovered, part));
        let allowed: Vec<String> =
            outcomes.iter().take(8).map(|outcome| format!("{:?}", outcome.state)).collect();
        Unexplained::State { recovered: format!("{recovered:?}"), allowed: allowed.join(" or ") }
    }

    /// The explanations of a recovered state, to check with them what repeated calls are told. `None` if there are none:
    /// see [`allows`](Self::allows).
    #[must_use]
    pub fn explanations(&self, recovered: &M::State) -> Option<Explanations<'_, M>> {
        self.allows(recovered).ok()?;
        let of_group = |group: &Group<M>| {
            let state = group.part.map_or_else(|| recovered.clone(), |part| M::project(recovered, part));
            group.outcomes.iter().filter(|outcome| outcome.state == state).cloned().collect()
        };
        Some(Explanations { admissible: self, outcomes: self.groups.iter().map(of_group).collect() })
    }
}

/// What can have happened, given what recovery showed.
#[derive(Debug)]
pub struct Explanations<'a, M: Model> {
    admissible: &'a Admissible<M>,
    /// By group.
    outcomes: Vec<Vec<Outcome<M>>>,
}

impl<M: Model> Explanations<'_, M> {
    /// Places in the history of the calls that were pending, in the order in which they were made.
    #[must_use]
    pub fn pending(&self) -> Vec<usize> {
        let mut pending: Vec<usize> =
            self.admissible.groups.iter().flat_map(|group| group.pending.iter().copied()).collect();
        pending.sort_unstable();
        pending
    }

    /// A pending call was repeated and told `result`. If it took effect before the crash, that must be what it got
    /// then, and nothing changes; otherwise it takes effect now.
    pub fn repeated(&mut self, call: usize, result: &M::Result) -> Result<(), Unexplained> {
        for (group, outcomes) in self.admissible.groups.iter().zip(&mut self.outcomes) {
            let Some(at) = group.pending.iter().position(|&pending| pending == call) else { continue };
            outcomes.retain_mut(|outcome| match &outcome.applied[at] {
                Some(got) => got == result,
                None => {
                    let got = M::apply(&mut outcome.state, &self.admissible.calls[call].op);
                    outcome.applied[at] = Some(got);
                    outcome.applied[at].as_ref() == Some(result)
                }
            });
            if outcomes.is_empty() {
                return Err(Unexplained::Repeated {
                    call: format!("{:?}", self.admissible.calls[call].op),
                    told: format!("{result:?}"),
                });
            }
        }
        Ok(())
    }

    /// Whether this is the state after the repeated calls.
    pub fn allows(&self, state: &M::State) -> Result<(), Unexplained> {
        for (group, outcomes) in self.admissible.groups.iter().zip(&self.outcomes) {
            let shown = group.part.map_or_else(|| state.clone(), |part| M::project(state, part));
            if !outcomes.iter().any(|outcome| outcome.state == shown) {
                return Err(self.admissible.wrong_state(state, group.part, outcomes));
            }
        }
        Ok(())
    }
}
