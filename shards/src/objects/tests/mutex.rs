//! Mutexes.

use super::{
    driver::{LEASE_MS, Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::{Holder, types::mutex::*};
use proptest::prelude::*;

#[derive(Default)]
struct Room {
    token: u64,
    holder: Option<(u128, u64)>,
    holds: u32,
    queue: Vec<(usize, u128, u64)>,
}

#[derive(Debug, Clone)]
enum Call {
    TryLock(u64),
    Unlock(u64),
    IsLocked,
    Holder,
}

impl Room {
    fn enter(&mut self, session: u128, owner: u64) -> Option<u64> {
        if self.holder == Some((session, owner)) {
            self.holds += 1;
        } else if self.holder.is_none() {
            (self.holder, self.holds, self.token) = (Some((session, owner)), 1, self.token + 1);
        } else {
            return None;
        }
        Some(self.token)
    }

    fn leave(&mut self, ends: &mut Ends<u64>) {
        self.holder = None;
        if !self.queue.is_empty() {
            let (id, session, owner) = self.queue.remove(0);
            ends.insert(id, Ok(self.enter(session, owner).expect("it is free")));
        }
    }
}

impl Model for Room {
    type Wait = Lock;
    type Other = Call;

    fn timeout_ms(wait: &Lock) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, session: u128, wait: Lock, ends: &mut Ends<u64>) {
        match self.enter(session, wait.owner) {
            Some(token) => drop(ends.insert(id, Ok(token))),
            None => self.queue.push((id, session, wait.owner)),
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<u64>) {
        match call {
            Call::TryLock(owner) => {
                let token = self.enter(session, owner);
                assert_eq!(shard.call(session, TryLock { owner }), Ok(token));
            }
            Call::Unlock(owner) => {
                let result = shard.call(session, Unlock { owner, token: None });
                if self.holder == Some((session, owner)) {
                    assert_eq!(result, Ok(()));
                    self.holds -= 1;
                    if self.holds == 0 {
                        self.leave(ends);
                    }
                } else {
                    assert!(matches!(result, Err(CallError::Denied { .. })), "{result:?}");
                }
            }
            Call::IsLocked => assert_eq!(shard.call(session, IsLocked {}), Ok(self.holder.is_some())),
            Call::Holder => {
                let holder = self.holder.map(|(session, owner)| Holder {
                    session: format!("{session:032x}"),
                    owner,
                    token: self.token,
                    holds: self.holds,
                });
                assert_eq!(shard.call(session, GetHolder {}), Ok(holder));
            }
        }
    }

    fn gone(&mut self, id: usize, _: &mut Ends<u64>) {
        self.queue.retain(|(waiting, ..)| *waiting != id);
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<u64>) {
        if self.holder.is_some_and(|(holder, _)| holder == session) {
            self.leave(ends);
        }
    }
}

proptest! {
    #[test]
    fn mutexes_agree_with_a_slow_model(
        steps in steps(
            (0..2_u64, timeout()).prop_map(|(owner, timeout_ms)| Lock { owner, timeout_ms }),
            prop_oneof![
                1 => (0..2_u64).prop_map(Call::TryLock),
                6 => (0..2_u64).prop_map(Call::Unlock),
                1 => Just(Call::IsLocked),
                1 => Just(Call::Holder),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Room::default(), steps);
    }
}

fn mutex() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

fn lock(shard: &mut TestShard, session: u128, owner: u64) -> Sent<Lock> {
    shard.begin(session, Lock { owner, timeout_ms: None })
}

#[test]
fn the_lock_is_handed_over_in_the_order_of_asking_with_tokens_that_only_grow() {
    let mut shard = mutex();
    let calls: Vec<_> = (1..6).map(|session| lock(&mut shard, session, 0)).collect();
    let mut last = 0;
    for (session, call) in (1..6).zip(&calls) {
        let token = shard.take_answer(call).expect("its turn").unwrap();
        assert!(token > last, "{token} after {last}");
        last = token;
        assert!(calls[session..].iter().all(|later| shard.waits(later)));
        assert_eq!(shard.call(session as u128, Unlock { owner: 0, token: None }), Ok(()));
    }
    shard.expect(IsLocked {}, false);
    assert!(shard.get(TryLock { owner: 0 }).unwrap() > last);
}

#[test]
fn an_owner_locks_again_without_waiting_and_keeps_its_token() {
    let mut shard = mutex();
    let token = shard.get(Lock { owner: 7, timeout_ms: None });
    let other = lock(&mut shard, 2, 0);
    shard.expect(Lock { owner: 7, timeout_ms: Some(0) }, token);
    shard.expect(TryLock { owner: 7 }, Some(token));
    let session = format!("{:032x}", 1);
    shard.expect(GetHolder {}, Some(Holder { session, owner: 7, token, holds: 3 }));
    shard.get(Unlock { owner: 7, token: None });
    shard.get(Unlock { owner: 7, token: None });
    assert!(shard.waits(&other), "it is held once more");
    shard.get(Unlock { owner: 7, token: None });
    assert_eq!(shard.take_answer(&other), Some(Ok(token + 1)));
}

#[test]
fn two_threads_of_one_session_are_two_owners() {
    let mut shard = mutex();
    shard.get(Lock { owner: 1, timeout_ms: None });
    shard.expect(TryLock { owner: 2 }, None);
    assert!(matches!(shard.call(1, Unlock { owner: 2, token: None }), Err(CallError::Denied { .. })));
    assert!(matches!(shard.call(2, Unlock { owner: 1, token: None }), Err(CallError::Denied { .. })));
    let other = lock(&mut shard, 1, 2);
    shard.get(Unlock { owner: 1, token: None });
    assert_eq!(shard.take_answer(&other), Some(Ok(2)));
    // The lock went from one owner to another of the same session, which is still told of its end.
    shard.goodbye(1);
    assert_eq!(shard.call(2, IsLocked {}), Ok(false));
}

#[test]
fn the_lock_of_a_session_that_dies_goes_to_the_next_with_a_greater_token() {
    let mut shard = mutex().steady();
    let token = shard.get(Lock { owner: 0, timeout_ms: None });
    shard.get(Lock { owner: 0, timeout_ms: None });
    let dying_too = lock(&mut shard, 1, 5);
    let next = lock(&mut shard, 2, 0);
    shard.pass_ms(LEASE_MS / 2);
    shard.heartbeat(2);
    shard.pass_ms(LEASE_MS / 2);
    assert_eq!(shard.take_answer(&dying_too), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&next), Some(Ok(token + 1)));
    assert_eq!(shard.call(1, Unlock { owner: 0, token: None }), Err(CallError::SessionExpired));
    assert_eq!(shard.call(2, Unlock { owner: 0, token: None }), Ok(()));
}

#[test]
fn a_waiter_that_leaves_does_not_disturb_the_queue() {
    let mut shard = mutex();
    shard.get(Lock { owner: 0, timeout_ms: None });
    let hasty = shard.begin(2, Lock { owner: 0, timeout_ms: Some(10) });
    let dead = lock(&mut shard, 3, 0);
    let quitter = lock(&mut shard, 4, 0);
    let patient = lock(&mut shard, 5, 0);
    shard.pass_ms(10);
    shard.goodbye(3);
    shard.cancel(&quitter);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    assert_eq!(shard.take_answer(&dead), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&quitter), Some(Err(CallError::Cancelled)));
    shard.get(Unlock { owner: 0, token: None });
    assert_eq!(shard.take_answer(&patient), Some(Ok(2)));
}

#[test]
fn a_queue_of_sessions_that_die_together_hands_the_lock_to_the_first_that_lives() {
    let mut shard = mutex().steady();
    let dead: Vec<_> = (1..5).map(|session| lock(&mut shard, session, 0)).collect();
    let living = lock(&mut shard, 9, 0);
    shard.pass_ms(LEASE_MS / 2);
    shard.heartbeat(9);
    shard.pass_ms(LEASE_MS / 2);
    assert!(dead.iter().all(|call| shard.take_answer(call).is_some()));
    assert!(shard.take_answer(&living).expect("its turn").unwrap() > 1);
    assert_eq!(shard.call(9, Unlock { owner: 0, token: None }), Ok(()));
    assert_eq!(shard.call(9, IsLocked {}), Ok(false));
}

/// A guard that outlived its session, and is dropped after its thread locked again in a new one.
#[test]
fn a_token_of_an_earlier_locking_unlocks_nothing() {
    let mut shard = TestShard::new::<Type>(Creation {});
    let first = shard.call(1, TryLock { owner: 1 }).unwrap().unwrap();
    assert_eq!(shard.call(1, Unlock { owner: 1, token: Some(first) }), Ok(()));
    let second = shard.call(1, TryLock { owner: 1 }).unwrap().unwrap();
    assert!(matches!(shard.call(1, Unlock { owner: 1, token: Some(first) }), Err(CallError::Denied { .. })));
    assert_eq!(shard.call(1, Unlock { owner: 1, token: Some(second) }), Ok(()));
}
