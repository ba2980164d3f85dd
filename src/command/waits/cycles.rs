//! Deadlocks: cycles among calls that wait for what other waiting callers hold.
//!
//! A call is blocked by those who hold what it waits for. A holder is an owner (a thread) of a session, and it is blocked in its turn if
//! one of its own calls waits. Where a session alone is known, on either side, its owners cannot be told apart: the cycle is then
//! one of sessions, and not certain, for another thread of a session may be about to give back what it holds.

use abide::schema::WaitInfo;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// A cycle of waiting calls: each waits for what the caller of the next holds, and the last for what that of the first does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cycle {
    /// In the order of waiting; the call that comes first in the list of waits is the first here.
    pub(super) steps: Vec<Step>,
    /// Whether each step is from an owner to an owner.
    pub(super) certain: bool,
}

/// A call of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    /// Its place in the list of waits.
    pub(super) wait: usize,
    /// Which of those who hold what it waits for is the next of the cycle.
    pub(super) holder: usize,
}

/// The cycles among these calls: each call that is in one is in at least one of those returned, the shortest for it, and none is
/// returned twice. Calls of sessions are only looked at for what no certain cycle explains.
pub(super) fn find_cycles(waits: &[WaitInfo]) -> Vec<Cycle> {
    let mut in_a_cycle = vec![false; waits.len()];
    let mut cycles = BTreeSet::new();
    for certain in [true, false] {
        let graph = Graph::of(waits, certain);
        let mut names = BTreeSet::new();
        let (component, size) = graph.components();
        for start in 0..waits.len() {
            if in_a_cycle[start] {
                continue;
            }
            // Between two calls there is always a node that is none.
            if size[component[start]] == 1 {
                continue;
            }
            let Some(calls) = graph.shortest_cycle(start, &component, waits.len()) else { continue };
            calls.iter().for_each(|&call| in_a_cycle[call] = true);
            let cycle = Cycle::of(waits, &calls, certain);
            // Of owners that cannot be told apart one stands for all.
            if certain || names.insert(cycle.name(waits)) {
                cycles.insert(cycle);
            }
        }
    }
    cycles.into_iter().collect()
}

impl Cycle {
    fn of(waits: &[WaitInfo], calls: &[usize], certain: bool) -> Cycle {
        let first = (0..calls.len()).min_by_key(|&at| calls[at]).unwrap_or(0);
        let turned = (0..calls.len()).map(|at| (first + at) % calls.len());
        let steps = turned.map(|at| {
            let (wait, next) = (calls[at], &waits[calls[(at + 1) % calls.len()]]);
            let holders = waits[wait].holders.iter();
            let matching = holders.map(|holder| {
                let same_session = holder.session == next.session;
                let same_owner = holder.owner.is_some() && holder.owner == next.owner;
                let unknown = !certain && (holder.owner.is_none() || next.owner.is_none());
                if same_session && same_owner { 2 } else { usize::from(same_session && unknown) }
            });
            // The first of the best.
            let best = matching.enumerate().max_by_key(|&(at, quality)| (quality, std::cmp::Reverse(at)));
            Step { wait, holder: best.map_or(0, |(at, _)| at) }
        });
        Cycle { steps: steps.collect(), certain }
    }

    /// What makes cycles of sessions one for those who look: who waits for which object, from the least on.
    fn name<'a>(&self, waits: &'a [WaitInfo]) -> Vec<(&'a str, u16, &'a str)> {
        let part = |step: &Step| {
            let wait = &waits[step.wait];
            (wait.session.as_str(), wait.object.type_id, wait.object.key.as_str())
        };
        let mut parts: Vec<_> = self.steps.iter().map(part).collect();
        let least = (0..parts.len()).min_by_key(|&at| parts[at]).unwrap_or(0);
        parts.rotate_left(least);
        parts
    }
}

/// Who may be blocked by whom. The first nodes are the calls, in their order. The others stand for many edges each, so that the size of
/// the graph is that of the list of waits: a call leads to those who hold what it waits for, and these to their own waiting calls.
#[derive(Debug)]
struct Graph<'a> {
    next: Vec<Vec<usize>>,
    known: HashMap<Node<'a>, usize>,
}

/// A node that is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Node<'a> {
    /// Somebody who holds something.
    Holder(&'a str, Option<u64>),
    /// The waiting calls of an owner, or those of a session that do not say of whom they are.
    Calls(&'a str, Option<u64>),
    /// All waiting calls of a session.
    Session(&'a str),
}

impl<'a> Graph<'a> {
    /// With the edges between owners alone, or also those between sessions.
    fn of(waits: &'a [WaitInfo], owners_only: bool) -> Graph<'a> {
        let mut graph = Graph { next: vec![Vec::new(); waits.len()], known: HashMap::new() };
        for (call, wait) in waits.iter().enumerate() {
            let (calls, is_new) = graph.node(Node::Calls(&wait.session, wait.owner));
            graph.next[calls].push(call);
            if is_new {
                let (session, _) = graph.node(Node::Session(&wait.session));
                graph.next[session].push(calls);
            }
        }
        for (call, wait) in waits.iter().enumerate() {
            for holder in &wait.holders {
                let (held_by, is_new) = graph.node(Node::Holder(&holder.session, holder.owner));
                graph.next[call].push(held_by);
                if !is_new {
                    continue;
                }
                if holder.owner.is_some() {
                    graph.lead(held_by, Node::Calls(&holder.session, holder.owner));
                }
                if !owners_only {
                    let of_session = match holder.owner {
                        Some(_) => Node::Calls(&holder.session, None),
                        None => Node::Session(&holder.session),
                    };
                    graph.lead(held_by, of_session);
                }
            }
        }
        graph
    }

    /// A node, and whether it is a new one.
    fn node(&mut self, name: Node<'a>) -> (usize, bool) {
        let fresh = self.next.len();
        let at = *self.known.entry(name).or_insert(fresh);
        if at == fresh {
            self.next.push(Vec::new());
        }
        (at, at == fresh)
    }

    fn lead(&mut self, from: usize, to: Node<'a>) {
        // It may be that nobody of these waits; then there is no such node.
        if let Some(&to) = self.known.get(&to) {
            self.next[from].push(to);
        }
    }

    /// The strongly connected component of each node, and how many nodes each has: Tarjan's algorithm, with a stack of its own, for a
    /// chain of waiting calls may be long.
    fn components(&self) -> (Vec<usize>, Vec<usize>) {
        const NONE: usize = usize::MAX;
        let count = self.next.len();
        let (mut index, mut low) = (vec![NONE; count], vec![0; count]);
        let (mut component, mut size) = (vec![NONE; count], Vec::new());
        let (mut open, mut path) = (Vec::new(), Vec::new());
        let mut counter = 0;
        for root in 0..count {
            if index[root] == NONE {
                path.push((root, 0));
            }
            while let Some((node, edge)) = path.pop() {
                if edge == 0 {
                    (index[node], low[node]) = (counter, counter);
                    counter += 1;
                    open.push(node);
                }
                let Some(&next) = self.next[node].get(edge) else {
                    if low[node] == index[node] {
                        let from = open.iter().rposition(|&other| other == node).unwrap_or(0);
                        size.push(open.len() - from);
                        open.drain(from..).for_each(|member| component[member] = size.len() - 1);
                    }
                    if let Some(&(parent, _)) = path.last() {
                        low[parent] = low[parent].min(low[node]);
                    }
                    continue;
                };
                path.push((node, edge + 1));
                if index[next] == NONE {
                    path.push((next, 0));
                } else if component[next] == NONE {
                    low[node] = low[node].min(index[next]);
                }
            }
        }
        (component, size)
    }

    /// The calls of a shortest cycle through this one, in the order of waiting. It stays within its component.
    fn shortest_cycle(&self, start: usize, component: &[usize], calls: usize) -> Option<Vec<usize>> {
        let mut before = HashMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for &next in &self.next[node] {
                if next == start {
                    let mut path = vec![node];
                    while let Some(&earlier) = path.last().and_then(|last| before.get(last)) {
                        path.push(earlier);
                    }
                    path.reverse();
                    path.retain(|&node| node < calls);
                    return Some(path);
                }
                if component[next] == component[start] && !before.contains_key(&next) {
                    before.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide::schema::{BlockedBy, ObjectName};

    type Who<'a> = (&'a str, Option<u64>);

    fn wait(who: Who<'_>, object: &str, holders: &[Who<'_>]) -> WaitInfo {
        WaitInfo {
            object: ObjectName { type_id: 14, key: object.to_owned() },
            type_name: "Mutex".to_owned(),
            session: who.0.to_owned(),
            slot: 0,
            sequence: 1,
            method: "lock".to_owned(),
            owner: who.1,
            since_unix_ms: 0,
            deadline_unix_ms: None,
            holders: holders
                .iter()
                .map(|(session, owner)| BlockedBy {
                    session: (*session).to_owned(),
                    owner: *owner,
                    what: "the lock".to_owned(),
                })
                .collect(),
        }
    }

    fn calls(cycles: &[Cycle]) -> Vec<(Vec<usize>, bool)> {
        cycles
            .iter()
            .map(|cycle| (cycle.steps.iter().map(|step| step.wait).collect(), cycle.certain))
            .collect()
    }

    const A: Who<'_> = ("a", Some(1));
    const B: Who<'_> = ("b", Some(1));
    const C: Who<'_> = ("c", Some(1));

    #[test]
    fn nobody_who_only_waits_is_deadlocked() {
        assert_eq!(find_cycles(&[]), []);
        assert_eq!(find_cycles(&[wait(A, "x", &[B]), wait(C, "x", &[B])]), []);
        assert_eq!(find_cycles(&[wait(A, "x", &[B]), wait(B, "y", &[C])]), []);
        assert_eq!(find_cycles(&[wait(A, "barrier", &[])]), []);
    }

    #[test]
    fn a_cycle_is_found_once_and_without_those_who_wait_behind_it() {
        let waits = [
            wait(("d", Some(1)), "x", &[B]),
            wait(A, "x", &[B]),
            wait(C, "z", &[A]),
            wait(B, "y", &[C]),
            wait(("e", Some(1)), "y", &[C]),
        ];
        let cycles = find_cycles(&waits);
        assert_eq!(calls(&cycles), [(vec![1, 3, 2], true)]);
        assert!(cycles[0].steps.iter().all(|step| step.holder == 0));
    }

    #[test]
    fn two_owners_of_a_session_are_two() {
        let other = ("a", Some(2));
        assert_eq!(find_cycles(&[wait(A, "x", &[B]), wait(B, "y", &[other])]), []);
        assert_eq!(
            calls(&find_cycles(&[wait(A, "x", &[other]), wait(other, "y", &[A])])),
            [(vec![0, 1], true)]
        );
    }

    #[test]
    fn of_several_holders_the_one_in_the_cycle_is_named() {
        let cycles = find_cycles(&[wait(A, "x", &[C, B]), wait(B, "y", &[C, ("d", None), A])]);
        assert_eq!(cycles[0].steps, [Step { wait: 0, holder: 1 }, Step { wait: 1, holder: 2 }]);
    }

    #[test]
    fn where_owners_are_not_known_cycles_are_of_sessions_and_not_certain() {
        let (a, b) = (("a", None), ("b", None));
        assert_eq!(calls(&find_cycles(&[wait(A, "x", &[b]), wait(B, "y", &[A])])), [(vec![0, 1], false)]);
        assert_eq!(calls(&find_cycles(&[wait(a, "x", &[B]), wait(b, "y", &[a])])), [(vec![0, 1], false)]);
        // Many threads of a session that wait for its own permits are one line.
        let waits: Vec<_> = (0..100).map(|_| wait(a, "permits", &[a])).collect();
        assert_eq!(calls(&find_cycles(&waits)), [(vec![0], false)]);
        // A certain cycle is not told again as one of sessions.
        let waits = [wait(A, "x", &[B]), wait(B, "y", &[A, a])];
        assert_eq!(calls(&find_cycles(&waits)), [(vec![0, 1], true)]);
    }

    #[test]
    fn two_cycles_that_share_a_call_are_both_found() {
        let waits = [wait(A, "x", &[B, C]), wait(B, "y", &[A]), wait(C, "z", &[A])];
        assert_eq!(calls(&find_cycles(&waits)), [(vec![0, 1], true), (vec![0, 2], true)]);
    }

    #[test]
    fn a_long_cycle_and_many_who_wait_for_it_are_no_trouble() {
        let names: Vec<_> = (0..20_000).map(|n| format!("{n:032x}")).collect();
        let who = |n: usize| (names[n % 10_000].as_str(), Some(1));
        let mut waits: Vec<_> = (0..10_000).map(|n| wait(who(n), "x", &[who(n + 1)])).collect();
        waits.extend((10_000..20_000).map(|n| wait((names[n].as_str(), None), "x", &[who(n)])));
        let cycles = find_cycles(&waits);
        assert_eq!((cycles.len(), cycles[0].steps.len()), (1, 10_000));
    }

    /// Whether each call can be reached from itself, by trying: who blocks whom, as the module says, and no more.
    fn slow_model(waits: &[WaitInfo]) -> Vec<bool> {
        let blocks = |from: &WaitInfo, to: &WaitInfo| {
            from.holders.iter().any(|holder| {
                let known = holder.owner.is_some() && to.owner.is_some();
                holder.session == to.session && (!known || holder.owner == to.owner)
            })
        };
        let count = waits.len();
        let mut reach: Vec<Vec<bool>> =
            waits.iter().map(|from| waits.iter().map(|to| blocks(from, to)).collect()).collect();
        for over in 0..count {
            for from in 0..count {
                for to in 0..count {
                    let joined = reach[from][over] && reach[over][to];
                    reach[from][to] |= joined;
                }
            }
        }
        (0..count).map(|call| reach[call][call]).collect()
    }

    #[test]
    fn random_waits_have_the_cycles_that_a_slow_search_finds() {
        let first: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        for seed in first..first + 3_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let sessions = ["a", "b", "c", "d"];
            let mut who = || {
                let owner = [None, Some(1), Some(2), Some(3)][random.usize(..4)];
                (sessions[random.usize(..4)], owner)
            };
            let count = 1 + seed as usize % 9;
            let waits: Vec<_> =
                (0..count).map(|n| wait(who(), &format!("object {n}"), &[who(), who()][..n % 3])).collect();
            let cycles = find_cycles(&waits);
            let mut found = vec![false; count];
            for cycle in &cycles {
                for (at, step) in cycle.steps.iter().enumerate() {
                    found[step.wait] = true;
                    let holder = &waits[step.wait].holders[step.holder];
                    let next = &waits[cycle.steps[(at + 1) % cycle.steps.len()].wait];
                    assert_eq!(holder.session, next.session, "rerun with SEED={seed}");
                    let exact = holder.owner.is_some() && holder.owner == next.owner;
                    let unknown = holder.owner.is_none() || next.owner.is_none();
                    assert!(exact || (unknown && !cycle.certain), "rerun with SEED={seed}");
                }
            }
            assert_eq!(found, slow_model(&waits), "rerun with SEED={seed}: {waits:?}");
        }
    }
}
