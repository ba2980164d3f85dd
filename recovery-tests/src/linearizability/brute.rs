//! Durable linearizability by its definition: all orders of all subsets. For at most eight calls.

use crate::history::{Call, Model};

/// Whether some order of all answered calls and some pending ones gives the answers and ends in `recovered`.
///
/// # Panics
/// With more than eight calls.
#[must_use]
pub fn explains<M: Model>(initial: &M::State, calls: &[Call<M>], recovered: &M::State) -> bool {
    assert!(calls.len() <= 8, "{} calls are too many for all their orders", calls.len());
    let pending: Vec<usize> = (0..calls.len()).filter(|&at| calls[at].response.is_none()).collect();
    (0..1_u32 << pending.len()).any(|subset| {
        let left_out = |at: usize| {
            pending.iter().position(|&other| other == at).is_some_and(|bit| subset >> bit & 1 == 0)
        };
        let mut chosen: Vec<usize> = (0..calls.len()).filter(|&at| !left_out(at)).collect();
        // The calls of a client take effect in order: one that is left out leaves out those after it.
        let skips = |&at: &usize| (0..at).any(|b| calls[b].client == calls[at].client && left_out(b));
        !chosen.iter().any(skips)
            && any_order(&mut chosen, 0, &mut |order| fits(initial, calls, order, recovered))
    })
}

/// Whether `accept` takes any permutation of `order[from..]`.
fn any_order(order: &mut [usize], from: usize, accept: &mut dyn FnMut(&[usize]) -> bool) -> bool {
    if from == order.len() {
        return accept(order);
    }
    for at in from..order.len() {
        order.swap(from, at);
        if any_order(order, from + 1, accept) {
            return true;
        }
        order.swap(from, at);
    }
    false
}

fn fits<M: Model>(initial: &M::State, calls: &[Call<M>], order: &[usize], recovered: &M::State) -> bool {
    let before = |a: &Call<M>, b: &Call<M>| {
        a.response.as_ref().is_some_and(|(_, told)| *told < b.invoked)
            || a.client == b.client && a.invoked < b.invoked
    };
    for (position, &later) in order.iter().enumerate() {
        if order[..position].iter().any(|&earlier| before(&calls[later], &calls[earlier])) {
            return false;
        }
    }
    let mut state = initial.clone();
    for &at in order {
        let result = M::apply(&mut state, &calls[at].op);
        if calls[at].response.as_ref().is_some_and(|(told, _)| *told != result) {
            return false;
        }
    }
    state == *recovered
}
