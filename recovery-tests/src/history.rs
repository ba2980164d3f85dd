//! What clients of a structure asked, what they were told, and when.

use std::{fmt::Debug, hash::Hash};

/// The sequential meaning of a structure: what it would do if calls came one after the other and nothing ever crashed.
///
/// If no operation of a structure touches more than one of its parts (the keys of a map), the checker can look at each
/// part by itself, which is exact and much quicker: then [`part`](Self::part), [`parts`](Self::parts) and
/// [`project`](Self::project) say how.
pub trait Model: 'static {
    /// All that recovery can show of the structure.
    type State: Clone + Eq + Hash + Debug + Send + Sync + 'static;
    /// An operation with its arguments.
    type Op: Clone + Debug + Send + Sync + 'static;
    /// What a client is told.
    type Result: Clone + Eq + Hash + Debug + Send + Sync + 'static;

    /// Does the operation.
    fn apply(state: &mut Self::State, op: &Self::Op) -> Self::Result;

    /// The only part of the state that the operation reads or changes; `None` if there may be several.
    fn part(_op: &Self::Op) -> Option<u64> {
        None
    }

    /// The parts of a state that are not as in an empty one.
    fn parts(_state: &Self::State) -> Vec<u64> {
        Vec::new()
    }

    /// The state with all parts but one empty.
    fn project(state: &Self::State, _part: u64) -> Self::State {
        state.clone()
    }
}

/// A call of a client.
#[derive(Debug)]
pub struct Call<M: Model> {
    /// Who calls. A client's calls take effect in the order in which it made them, if at all.
    pub client: u32,
    /// The number of this call among those of the client. Never used again, also not after a crash.
    pub sequence: u64,
    /// What is asked.
    pub op: M::Op,
    /// When it was asked.
    pub invoked: u64,
    /// What was told, and when. `None`: the call is pending.
    pub response: Option<(M::Result, u64)>,
}

impl<M: Model> Clone for Call<M> {
    fn clone(&self) -> Self {
        Call { op: self.op.clone(), response: self.response.clone(), ..*self }
    }
}

/// Calls in the order in which they were made, on a clock that counts invocations and responses.
#[derive(Debug)]
pub struct History<M: Model> {
    calls: Vec<Call<M>>,
    now: u64,
}

impl<M: Model> Default for History<M> {
    fn default() -> Self {
        History { calls: Vec::new(), now: 0 }
    }
}

impl<M: Model> History<M> {
    /// A client asks. Gives the call's place in the history.
    pub fn invoke(&mut self, client: u32, sequence: u64, op: M::Op) -> usize {
        self.now += 1;
        self.calls.push(Call { client, sequence, op, invoked: self.now, response: None });
        self.calls.len() - 1
    }

    /// A client is told.
    pub fn respond(&mut self, call: usize, result: M::Result) {
        self.now += 1;
        let response = &mut self.calls[call].response;
        assert!(response.is_none(), "call {call} was answered twice");
        *response = Some((result, self.now));
    }

    /// All events up to now have happened at [`at`](Self::at) of this time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// All calls.
    #[must_use]
    pub fn calls(&self) -> &[Call<M>] {
        &self.calls
    }

    /// The history as it was at a time: what came later has not happened.
    #[must_use]
    pub fn at(&self, time: u64) -> Vec<Call<M>> {
        let made = self.calls.iter().take_while(|call| call.invoked <= time);
        made.map(|call| Call {
            op: call.op.clone(),
            response: call.response.clone().filter(|(_, told)| *told <= time),
            ..*call
        })
        .collect()
    }
}

/// A history in words, one call a line.
#[must_use]
pub fn describe<M: Model>(calls: &[Call<M>]) -> String {
    let line = |call: &Call<M>| {
        let told = match &call.response {
            Some((result, told)) => format!("-> {result:?} (at {told})"),
            None => "pending".into(),
        };
        format!("  {:>3} client {} #{} {:?} {told}\n", call.invoked, call.client, call.sequence, call.op)
    };
    calls.iter().map(line).collect()
}
