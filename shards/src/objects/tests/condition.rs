//! Conditions.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, waits},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, ConditionWait, Holder, types::condition::*};
use proptest::prelude::*;

type Owner = (u128, u64);

#[derive(Debug, Clone)]
enum Ask {
    Lock(Lock),
    Await(Await),
}

#[derive(Debug, Clone, PartialEq)]
enum Got {
    Locked(u64),
    Waited(ConditionWait),
}

waits!(Ask -> Got { Lock(Lock) => Got::Locked, Await(Await) => Got::Waited });

#[derive(Debug, Clone, Copy, PartialEq)]
enum Why {
    Locks,
    TimedOut,
    NotifiedAlone,
    NotifiedWithAll,
}

#[derive(Debug, Clone, Copy)]
struct Asking {
    id: usize,
    who: Owner,
    holds: u32,
    why: Why,
}

#[derive(Default)]
struct Monitor {
    token: u64,
    holder: Option<(Owner, u32)>,
    /// Who waits for the lock.
    queue: Vec<Asking>,
    /// Who waits to be notified.
    waiting: Vec<Asking>,
}

#[derive(Debug, Clone)]
enum Call {
    TryLock(u64),
    /// With a token so far behind the newest, if with any.
    Unlock(u64, Option<u64>),
    NotifyOne(u64),
    NotifyAll(u64),
    Waiting,
    Holder,
}

fn not_held() -> CallError {
    CallError::denied("the owner does not hold the lock")
}

impl Monitor {
    fn is_held_by(&self, who: Owner) -> bool {
        self.holder.is_some_and(|(holder, _)| holder == who)
    }

    fn enter(&mut self, who: Owner) -> Option<u64> {
        match &mut self.holder {
            None => (self.holder, self.token) = (Some((who, 1)), self.token + 1),
            Some((holder, holds)) if *holder == who => *holds += 1,
            Some(_) => return None,
        }
        Some(self.token)
    }

    /// Has a call get the lock, or wait for it in the place of its asking.
    fn ask(&mut self, asking: Asking, ends: &mut Ends<Got>) {
        self.queue.push(asking);
        self.queue.sort_by_key(|asking| asking.id);
        self.go_on(ends);
    }

    fn go_on(&mut self, ends: &mut Ends<Got>) {
        if self.holder.is_none() && !self.queue.is_empty() {
            let Asking { id, who, holds, why } = self.queue.remove(0);
            self.token += 1;
            self.holder = Some((who, holds));
            let got = match why {
                Why::Locks => Got::Locked(self.token),
                _ => Got::Waited(ConditionWait { token: self.token, notified: why != Why::TimedOut }),
            };
            ends.insert(id, Ok(got));
        }
    }

    fn leave(&mut self, ends: &mut Ends<Got>) {
        self.holder = None;
        self.go_on(ends);
    }

    fn notify(&mut self, why: Why, ends: &mut Ends<Got>) -> bool {
        let is_there = !self.waiting.is_empty();
        if is_there {
            let asking = self.waiting.remove(0);
            self.ask(Asking { why, ..asking }, ends);
        }
        is_there
    }
}

impl Model for Monitor {
    type Wait = Ask;
    type Other = Call;

    fn timeout_ms(wait: &Ask) -> Option<u64> {
        match wait {
            Ask::Lock(lock) => lock.timeout_ms,
            Ask::Await(wait) => wait.timeout_ms,
        }
    }

    fn wait(&mut self, id: usize, session: u128, wait: Ask, ends: &mut Ends<Got>) {
        match wait {
            Ask::Lock(Lock { owner, .. }) => match self.enter((session, owner)) {
                Some(token) => drop(ends.insert(id, Ok(Got::Locked(token)))),
                None => {
                    self.ask(Asking { id, who: (session, owner), holds: 1, why: Why::Locks }, ends);
                }
            },
            Ask::Await(Await { owner, .. }) => match self.holder {
                Some((who, holds)) if who == (session, owner) => {
                    self.waiting.push(Asking { id, who, holds, why: Why::TimedOut });
                    self.leave(ends);
                }
                _ => drop(ends.insert(id, Err(not_held()))),
            },
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<Got>) {
        match call {
            Call::TryLock(owner) => {
                let token = self.enter((session, owner));
                assert_eq!(shard.call(session, TryLock { owner }), Ok(token));
            }
            Call::Unlock(owner, behind) => {
                let token = behind.map(|behind| self.token.saturating_sub(behind));
                let result = shard.call(session, Unlock { owner, token });
                if !self.is_held_by((session, owner)) || token.is_some_and(|token| token != self.token) {
                    assert!(matches!(result, Err(CallError::Denied { .. })), "{result:?}");
                    return;
                }
                assert_eq!(result, Ok(()));
                match &mut self.holder {
                    Some((_, holds)) if *holds > 1 => *holds -= 1,
                    _ => self.leave(ends),
                }
            }
            Call::NotifyOne(owner) => {
                let result = shard.call(session, NotifyOne { owner });
                if !self.is_held_by((session, owner)) {
                    return assert_eq!(result, Err(not_held()));
                }
                assert_eq!(result, Ok(self.notify(Why::NotifiedAlone, ends)));
            }
            Call::NotifyAll(owner) => {
                let result = shard.call(session, NotifyAll { owner });
                if !self.is_held_by((session, owner)) {
                    return assert_eq!(result, Err(not_held()));
                }
                assert_eq!(result, Ok(self.waiting.len() as u64));
                while self.notify(Why::NotifiedWithAll, ends) {}
            }
            Call::Waiting => assert_eq!(shard.call(session, Waiting {}), Ok(self.waiting.len() as u64)),
            Call::Holder => {
                let holder = self.holder.map(|((session, owner), holds)| Holder {
                    session: format!("{session:032x}"),
                    owner,
                    token: self.token,
                    holds,
                });
                assert_eq!(shard.call(session, GetHolder {}), Ok(holder));
            }
        }
    }

    fn waits_on(&mut self, id: usize, ends: &mut Ends<Got>) -> bool {
        if let Some(place) = self.waiting.iter().position(|asking| asking.id == id) {
            let asking = self.waiting.remove(place);
            self.ask(asking, ends);
            return true;
        }
        self.queue.iter().any(|asking| asking.id == id && asking.why != Why::Locks)
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<Got>) {
        self.waiting.retain(|asking| asking.id != id);
        if let Some(place) = self.queue.iter().position(|asking| asking.id == id)
            && self.queue.remove(place).why == Why::NotifiedAlone
        {
            self.notify(Why::NotifiedAlone, ends);
        }
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<Got>) {
        if self.holder.is_some_and(|((holder, _), _)| holder == session) {
            self.leave(ends);
        }
    }
}

/// Mostly the same, so that the caller often holds the lock.
fn owner() -> impl Strategy<Value = u64> {
    prop_oneof![5 => Just(0), 1 => Just(1)]
}

proptest! {
    #[test]
    fn conditions_agree_with_a_slow_model(
        steps in steps(
            // Those who ask for the lock soon give up, else all would wait for it and nobody for the condition.
            prop_oneof![
                1 => (owner(), 0..15_u64).prop_map(|(owner, ms)| Ask::Lock(Lock { owner, timeout_ms: Some(ms) })),
                2 => (owner(), prop::option::of(0..15_u64)).prop_map(|(owner, timeout_ms)| Ask::Await(Await { owner, timeout_ms })),
            ],
            prop_oneof![
                8 => owner().prop_map(Call::TryLock),
                2 => (owner(), prop::option::of(0..2_u64)).prop_map(|(owner, behind)| Call::Unlock(owner, behind)),
                6 => owner().prop_map(Call::NotifyOne),
                2 => owner().prop_map(Call::NotifyAll),
                1 => Just(Call::Waiting),
                4 => Just(Call::Holder),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Monitor::default(), steps);
    }
}

fn condition() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

/// Locks, so often, and waits to be notified.
fn wait(
    shard: &mut TestShard,
    session: u128,
    owner: u64,
    holds: u32,
    timeout_ms: Option<u64>,
) -> Sent<Await> {
    for _ in 0..holds {
        assert!(shard.call(session, TryLock { owner }).expect("a call").is_some());
    }
    shard.begin(session, Await { owner, timeout_ms })
}

#[test]
fn who_waits_lets_the_lock_go_with_all_holds_and_gets_it_back_with_all() {
    let mut shard = condition();
    let waiting = wait(&mut shard, 2, 7, 3, None);
    shard.expect(Waiting {}, 1);
    let token = shard.get(Lock { owner: 0, timeout_ms: Some(0) });
    shard.expect(NotifyOne { owner: 0 }, true);
    shard.expect(NotifyOne { owner: 0 }, false);
    assert!(shard.waits(&waiting), "it is notified, but has not got the lock");
    shard.get(Unlock { owner: 0, token: None });
    let waited = ConditionWait { token: token + 1, notified: true };
    assert_eq!(shard.take_answer(&waiting), Some(Ok(waited)));
    let session = format!("{:032x}", 2);
    shard.expect(GetHolder {}, Some(Holder { session, owner: 7, token: token + 1, holds: 3 }));
    // A session whose call waits holds nothing, and does again from here on.
    shard.goodbye(2);
    shard.expect(TryLock { owner: 0 }, Some(token + 2));
}

#[test]
fn only_who_holds_the_lock_may_wait_and_notify() {
    let mut shard = condition();
    shard.get(Lock { owner: 0, timeout_ms: None });
    for (session, owner) in [(1, 1), (2, 0)] {
        assert_eq!(shard.call(session, Await { owner, timeout_ms: None }), Err(not_held()));
        assert_eq!(shard.call(session, NotifyOne { owner }), Err(not_held()));
        assert_eq!(shard.call(session, NotifyAll { owner }), Err(not_held()));
    }
}

#[test]
fn a_time_out_waits_for_the_lock_and_one_that_comes_after_the_notification_changes_nothing() {
    let mut shard = condition();
    let hasty = wait(&mut shard, 2, 0, 1, Some(10));
    let notified = wait(&mut shard, 3, 0, 1, Some(20));
    shard.get(Lock { owner: 0, timeout_ms: None });
    let later = shard.begin(4, Lock { owner: 0, timeout_ms: Some(30) });
    shard.pass_ms(10);
    shard.expect(NotifyOne { owner: 0 }, true);
    shard.expect(Waiting {}, 0);
    shard.pass_ms(100);
    assert!(shard.waits(&hasty) && shard.waits(&notified), "somebody has the lock");
    assert_eq!(shard.take_answer(&later), Some(Err(CallError::TimedOut)));
    shard.get(Unlock { owner: 0, token: None });
    let waited = shard.take_answer(&hasty).expect("the lock is free").unwrap();
    assert!(!waited.notified);
    assert_eq!(shard.call(2, Unlock { owner: 0, token: Some(waited.token) }), Ok(()));
    assert!(shard.take_answer(&notified).expect("the lock is free").unwrap().notified);
}

#[test]
fn a_time_out_while_the_lock_is_free_takes_it_at_once() {
    let mut shard = condition();
    let hasty = wait(&mut shard, 2, 0, 2, Some(10));
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&hasty), Some(Ok(ConditionWait { token: 2, notified: false })));
    shard.expect(TryLock { owner: 0 }, None);
}

/// Else a notification would be lost, and with it what it tells of: nobody would ever come for it.
#[test]
fn who_dies_notified_alone_and_without_the_lock_passes_the_notification_on() {
    let mut shard = condition();
    let dying = wait(&mut shard, 2, 0, 1, None);
    let quitting = wait(&mut shard, 3, 0, 1, None);
    let next = wait(&mut shard, 4, 0, 1, None);
    shard.get(Lock { owner: 0, timeout_ms: None });
    shard.expect(NotifyOne { owner: 0 }, true);
    shard.goodbye(2);
    shard.cancel(&quitting);
    shard.get(Unlock { owner: 0, token: None });
    assert_eq!(shard.take_answer(&dying), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&quitting), Some(Err(CallError::Cancelled)));
    assert!(shard.take_answer(&next).expect("the lock is free").unwrap().notified);
}

#[test]
fn who_was_notified_has_the_lock_before_those_who_asked_for_it_since_it_waited() {
    let mut shard = condition();
    shard.get(Lock { owner: 0, timeout_ms: None });
    let earlier = shard.begin(2, Lock { owner: 0, timeout_ms: None });
    let waiting = shard.begin(1, Await { owner: 0, timeout_ms: None });
    assert!(!shard.waits(&earlier));
    let later = shard.begin(3, Lock { owner: 0, timeout_ms: None });
    assert_eq!(shard.call(2, NotifyAll { owner: 0 }), Ok(1));
    assert_eq!(shard.call(2, Unlock { owner: 0, token: None }), Ok(()));
    assert!(!shard.waits(&waiting) && shard.waits(&later));
}

/// More than one failure-atomic block could move.
#[test]
fn very_many_are_notified_together_and_those_who_wait_after_that_are_not() {
    const WAITERS: u64 = 1_000;
    let mut shard = condition();
    let calls: Vec<_> =
        (0..WAITERS).map(|owner| wait(&mut shard, u128::from(owner % 5) + 2, owner, 1, None)).collect();
    shard.get(Lock { owner: 0, timeout_ms: None });
    shard.expect(NotifyAll { owner: 0 }, WAITERS);
    shard.expect(Waiting {}, 0);
    shard.expect(NotifyAll { owner: 0 }, 0);
    let later = shard.begin(1, Await { owner: 0, timeout_ms: None });
    for (owner, call) in (0..).zip(&calls) {
        assert!(shard.take_answer(call).expect("its turn").unwrap().notified);
        assert_eq!(shard.call(u128::from(owner % 5) + 2, Unlock { owner, token: None }), Ok(()));
    }
    assert!(shard.waits(&later));
    shard.expect(Waiting {}, 1);
}

#[test]
fn who_holds_the_lock_is_told_to_whoever_asks_for_those_who_wait() {
    let mut shard = condition();
    wait(&mut shard, 2, 0, 1, None);
    assert_eq!(shard.holders(), []);
    shard.get(Lock { owner: 5, timeout_ms: None });
    let blocked = BlockedBy { session: format!("{:032x}", 1), owner: Some(5), what: "the lock".to_owned() };
    assert_eq!(shard.holders(), [blocked]);
}

#[test]
fn nobody_holds_the_lock_or_waits_after_a_store_was_closed() {
    let mut shard = condition();
    wait(&mut shard, 2, 0, 2, None);
    let token = shard.get(Lock { owner: 0, timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(Waiting {}, 0);
    shard.expect(TryLock { owner: 0 }, Some(token + 1));
    shard.expect(NotifyOne { owner: 0 }, false);
}
