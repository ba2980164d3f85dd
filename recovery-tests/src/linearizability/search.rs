//! The search for all orders of a history, which remembers where it has been.

use crate::history::{Call, Model};
use std::collections::HashSet;

/// One way in which a history can have ended.
#[derive(Debug)]
pub(super) struct Outcome<M: Model> {
    pub(super) state: M::State,
    /// For each pending call: what it got, if it took effect.
    pub(super) applied: Vec<Option<M::Result>>,
}

impl<M: Model> Clone for Outcome<M> {
    fn clone(&self) -> Self {
        Outcome { state: self.state.clone(), applied: self.applied.clone() }
    }
}

/// The call of the same client before this one, if it is looked at.
#[derive(Debug, Clone, Copy)]
enum Previous {
    None,
    Answered(usize),
    Pending(usize),
}

/// A place of the search: which calls have taken effect, and what came of it.
struct Node<M: Model> {
    /// All answered calls before this one have taken effect; this one has not.
    low: usize,
    /// Bit i: answered call `low + i` has.
    window: u64,
    outcome: Outcome<M>,
}

impl<M: Model> Clone for Node<M> {
    fn clone(&self) -> Self {
        Node { outcome: self.outcome.clone(), ..*self }
    }
}

impl<M: Model> Node<M> {
    fn has(&self, answered: usize) -> bool {
        answered < self.low || answered < self.low + 64 && self.window >> (answered - self.low) & 1 == 1
    }

    fn comes_after(&self, previous: Previous) -> bool {
        match previous {
            Previous::None => true,
            Previous::Answered(at) => self.has(at),
            Previous::Pending(at) => self.outcome.applied[at].is_some(),
        }
    }

    fn mark(&mut self, answered: usize) {
        let bit = answered - self.low;
        assert!(bit < 64, "more than 64 calls at the same time");
        self.window |= 1 << bit;
        let done = self.window.trailing_ones();
        self.low += done as usize;
        self.window = self.window.checked_shr(done).unwrap_or(0);
    }
}

/// All outcomes of the calls at `members`, each once, and the places of the pending ones among them.
pub(super) fn outcomes<M: Model>(
    initial: &M::State,
    calls: &[Call<M>],
    members: &[usize],
) -> (Vec<usize>, Vec<Outcome<M>>) {
    let (answered, pending): (Vec<usize>, Vec<usize>) =
        members.iter().partition(|&&at| calls[at].response.is_some());
    let previous = |at: usize| {
        let before = members
            .iter()
            .rev()
            .copied()
            .find(|&other| other < at && calls[other].client == calls[at].client);
        match before {
            None => Previous::None,
            Some(before) => match answered.binary_search(&before) {
                Ok(at) => Previous::Answered(at),
                Err(_) => Previous::Pending(pending.binary_search(&before).expect("it is one or the other")),
            },
        }
    };
    let answered_after: Vec<Previous> = answered.iter().map(|&at| previous(at)).collect();
    let pending_after: Vec<Previous> = pending.iter().map(|&at| previous(at)).collect();

    let outcome = Outcome { state: initial.clone(), applied: vec![None; pending.len()] };
    let mut stack = vec![Node::<M> { low: 0, window: 0, outcome }];
    let mut visited = HashSet::new();
    let mut found = Vec::new();
    let mut next = Vec::new();
    'nodes: while let Some(mut node) = stack.pop() {
        loop {
            // A call can come next only if no call that has not taken effect was answered before it was made.
            next.clear();
            let mut first_answer = u64::MAX;
            for (at, &call) in answered.iter().enumerate().skip(node.low) {
                if calls[call].invoked > first_answer {
                    break;
                }
                if node.has(at) {
                    continue;
                }
                if node.comes_after(answered_after[at]) {
                    next.push(at);
                }
                first_answer = first_answer.min(calls[call].response.as_ref().expect("it was answered").1);
            }
            let ready = |at: &usize| {
                node.outcome.applied[*at].is_none()
                    && calls[pending[*at]].invoked < first_answer
                    && node.comes_after(pending_after[*at])
            };
            let ready: Vec<usize> = (0..pending.len()).filter(ready).collect();
            if let ([at], true) = (&next[..], ready.is_empty()) {
                // There is no choice: nothing to remember.
                if !take_effect(&mut node, *at, &calls[answered[*at]]) {
                    continue 'nodes;
                }
                continue;
            }
            let key = (node.low, node.window, node.outcome.applied.clone(), node.outcome.state.clone());
            if !visited.insert(key) {
                continue 'nodes;
            }
            for &at in &next {
                let mut child = node.clone();
                if take_effect(&mut child, at, &calls[answered[at]]) {
                    stack.push(child);
                }
            }
            for at in ready {
                let mut child = node.clone();
                let result = M::apply(&mut child.outcome.state, &calls[pending[at]].op);
                child.outcome.applied[at] = Some(result);
                stack.push(child);
            }
            if node.low == answered.len() {
                found.push(node.outcome);
            }
            continue 'nodes;
        }
    }
    (pending, found)
}

/// Lets an answered call take effect. Whether it gets the answer that was told.
fn take_effect<M: Model>(node: &mut Node<M>, at: usize, call: &Call<M>) -> bool {
    node.mark(at);
    let (told, _) = call.response.as_ref().expect("it was answered");
    M::apply(&mut node.outcome.state, &call.op) == *told
}
