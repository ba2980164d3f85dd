//! Semaphores.

use super::{
    driver::{LEASE_MS, Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::types::semaphore::*;
use proptest::prelude::*;

struct Permits {
    unowned: bool,
    there: u64,
    /// One entry for each time that a session got some.
    held: Vec<(u128, u64)>,
    queue: Vec<(usize, u128, u64)>,
}

#[derive(Debug, Clone)]
enum Call {
    TryAcquire(u64),
    Release(u64),
    Available,
    Drain,
}

impl Permits {
    fn holds(&self, session: u128) -> u64 {
        self.held.iter().filter(|(holder, _)| *holder == session).map(|(_, permits)| permits).sum()
    }

    fn give(&mut self, session: u128, permits: u64) {
        self.there -= permits;
        self.held.push((session, permits));
    }

    fn let_in(&mut self, ends: &mut Ends<()>) {
        while let Some((id, session, permits)) = self.queue.first().copied()
            && permits <= self.there
        {
            self.queue.remove(0);
            self.give(session, permits);
            ends.insert(id, Ok(()));
        }
    }
}

impl Model for Permits {
    type Wait = Acquire;
    type Other = Call;

    fn timeout_ms(wait: &Acquire) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, session: u128, wait: Acquire, ends: &mut Ends<()>) {
        self.queue.push((id, session, wait.n));
        self.let_in(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<()>) {
        match call {
            Call::TryAcquire(n) => {
                let takes = self.queue.is_empty() && n <= self.there;
                if takes {
                    self.give(session, n);
                }
                assert_eq!(shard.call(session, TryAcquire { n }), Ok(takes));
            }
            Call::Release(n) => {
                let holds = self.holds(session);
                let result = shard.call(session, Release { n });
                if self.unowned || n <= holds {
                    self.held.retain(|(holder, _)| *holder != session);
                    self.held.push((session, holds.saturating_sub(n)));
                    self.there += n;
                    assert_eq!(result, Ok(()));
                } else {
                    assert!(matches!(result, Err(CallError::Denied { .. })), "{result:?}");
                }
            }
            Call::Available => assert_eq!(shard.call(session, Available {}), Ok(self.there)),
            Call::Drain => {
                assert_eq!(shard.call(session, Drain {}), Ok(self.there));
                self.give(session, self.there);
            }
        }
        self.let_in(ends);
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<()>) {
        self.queue.retain(|(waiting, ..)| *waiting != id);
        self.let_in(ends);
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<()>) {
        if !self.unowned {
            self.there += self.holds(session);
        }
        self.held.retain(|(holder, _)| *holder != session);
        self.let_in(ends);
    }
}

proptest! {
    #[test]
    fn semaphores_agree_with_a_slow_model(
        permits in 0..6_u64,
        unowned: bool,
        steps in steps(
            (0..6_u64, timeout()).prop_map(|(n, timeout_ms)| Acquire { n, timeout_ms }),
            prop_oneof![
                2 => (0..4_u64).prop_map(Call::TryAcquire),
                4 => (0..4_u64).prop_map(Call::Release),
                2 => Just(Call::Available),
                1 => Just(Call::Drain),
            ],
        ),
    ) {
        let model = Permits { unowned, there: permits, held: Vec::new(), queue: Vec::new() };
        compare(TestShard::new::<Type>(Creation { permits, unowned }), model, steps);
    }
}

fn semaphore(permits: u64) -> TestShard {
    TestShard::new::<Type>(Creation { permits, unowned: false })
}

fn acquire(shard: &mut TestShard, session: u128, n: u64, timeout_ms: Option<u64>) -> Sent<Acquire> {
    shard.begin(session, Acquire { n, timeout_ms })
}

#[test]
fn who_asked_for_much_is_not_overtaken_by_those_who_ask_for_little() {
    let mut shard = semaphore(3);
    shard.expect(Acquire { n: 2, timeout_ms: None }, ());
    let much = acquire(&mut shard, 2, 3, None);
    let little = acquire(&mut shard, 3, 1, None);
    let nothing = acquire(&mut shard, 4, 0, None);
    assert!(shard.waits(&much) && shard.waits(&little) && shard.waits(&nothing));
    assert_eq!(shard.call(5, TryAcquire { n: 1 }), Ok(false), "one is there, but others wait for it");
    shard.get(Release { n: 1 });
    assert!(shard.waits(&much));
    shard.get(Release { n: 1 });
    assert_eq!(shard.take_answer(&much), Some(Ok(())));
    assert!(shard.waits(&little) && shard.waits(&nothing));
    assert_eq!(shard.call(2, Release { n: 3 }), Ok(()));
    assert_eq!(shard.take_answer(&little), Some(Ok(())));
    assert_eq!(shard.take_answer(&nothing), Some(Ok(())));
    shard.expect(Available {}, 2);
}

#[test]
fn when_the_first_in_the_queue_times_out_those_behind_it_that_fit_are_let_in() {
    let mut shard = semaphore(2);
    let much = acquire(&mut shard, 1, 5, Some(10));
    let some = acquire(&mut shard, 2, 1, None);
    let also_much = acquire(&mut shard, 3, 2, Some(20));
    let little = acquire(&mut shard, 4, 1, None);
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&much), Some(Err(CallError::TimedOut)));
    assert_eq!(shard.take_answer(&some), Some(Ok(())));
    assert!(shard.waits(&also_much) && shard.waits(&little));
    shard.cancel(&also_much);
    assert_eq!(shard.take_answer(&also_much), Some(Err(CallError::Cancelled)));
    assert_eq!(shard.take_answer(&little), Some(Ok(())));
    shard.expect(Available {}, 0);
}

#[test]
fn a_time_out_consumes_no_permit() {
    let mut shard = semaphore(1);
    shard.expect(Acquire { n: 1, timeout_ms: None }, ());
    let call = acquire(&mut shard, 2, 1, Some(10));
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&call), Some(Err(CallError::TimedOut)));
    shard.get(Release { n: 1 });
    shard.expect(Available {}, 1);
    assert!(matches!(shard.call(2, Release { n: 1 }), Err(CallError::Denied { .. })));
}

#[test]
fn the_permits_of_a_session_whose_lease_ends_go_to_those_who_wait() {
    let mut shard = semaphore(3);
    shard.expect(Acquire { n: 2, timeout_ms: None }, ());
    shard.expect(TryAcquire { n: 1 }, true);
    let waiting = acquire(&mut shard, 2, 3, None);
    shard.pass_ms(LEASE_MS / 2);
    shard.heartbeat(2);
    shard.pass_ms(LEASE_MS / 2);
    assert_eq!(shard.take_answer(&waiting), Some(Ok(())));
    assert_eq!(shard.call(1, Release { n: 3 }), Err(CallError::SessionExpired));
    assert_eq!(shard.call(2, Release { n: 3 }), Ok(()));
    assert_eq!(shard.call(2, Available {}), Ok(3));
}

/// The first wait of a session that ends is over, and that lets its second in: the session is no more, and
/// its permits must not be lost with it.
#[test]
fn permits_that_a_session_gets_while_it_dies_are_given_back_too() {
    let mut shard = semaphore(1);
    let much = acquire(&mut shard, 1, 2, None);
    let little = acquire(&mut shard, 1, 1, None);
    let other = acquire(&mut shard, 2, 1, None);
    shard.goodbye(1);
    assert_eq!(shard.take_answer(&much), Some(Err(CallError::SessionExpired)));
    assert!(shard.take_answer(&little).is_some());
    assert_eq!(shard.take_answer(&other), Some(Ok(())));
    assert_eq!(shard.call(2, Release { n: 1 }), Ok(()));
    assert_eq!(shard.call(2, Available {}), Ok(1));
}

#[test]
fn a_session_may_not_release_more_than_it_holds() {
    let mut shard = semaphore(3);
    shard.expect(Acquire { n: 2, timeout_ms: None }, ());
    assert!(matches!(shard.call(1, Release { n: 3 }), Err(CallError::Denied { .. })));
    assert!(matches!(shard.call(2, Release { n: 1 }), Err(CallError::Denied { .. })));
    shard.expect(Available {}, 1);
    shard.expect(Release { n: 0 }, ());
    shard.expect(Release { n: 2 }, ());
    shard.expect(Available {}, 3);
}

#[test]
fn an_unowned_semaphore_takes_permits_from_anybody_but_not_more_than_it_can_count() {
    let mut shard = TestShard::new::<Type>(Creation { permits: 0, unowned: true });
    let waiting = acquire(&mut shard, 2, 2, None);
    assert_eq!(shard.call(3, Release { n: 5 }), Ok(()));
    assert_eq!(shard.take_answer(&waiting), Some(Ok(())));
    shard.goodbye(2);
    shard.expect(Available {}, 3);
    assert!(matches!(shard.call(1, Release { n: u64::MAX - 2 }), Err(CallError::BadArgument { .. })));
    shard.expect(Available {}, 3);
    shard.expect(Release { n: u64::MAX - 3 }, ());
    shard.expect(Drain {}, u64::MAX);
}

#[test]
fn what_is_drained_is_held_and_comes_back_with_the_session() {
    let mut shard = semaphore(u64::MAX);
    assert_eq!(shard.call(2, Drain {}), Ok(u64::MAX));
    assert_eq!(shard.call(2, Drain {}), Ok(0));
    shard.expect(Available {}, 0);
    assert_eq!(shard.call(2, Release { n: 4 }), Ok(()));
    shard.expect(Available {}, 4);
    shard.goodbye(2);
    shard.expect(Available {}, u64::MAX);
}

#[test]
fn asking_for_more_than_there_can_ever_be_just_waits() {
    let mut shard = semaphore(1);
    let call = acquire(&mut shard, 2, u64::MAX, Some(100));
    shard.expect(TryAcquire { n: u64::MAX }, false);
    assert!(shard.waits(&call));
    shard.pass_ms(100);
    assert_eq!(shard.take_answer(&call), Some(Err(CallError::TimedOut)));
    shard.expect(TryAcquire { n: 1 }, true);
}

#[test]
fn twenty_thousand_waiters_that_time_out_at_once_leave_the_rest_of_the_queue_intact() {
    const WAITERS: usize = 20_000;
    let mut shard = semaphore(1);
    shard.expect(Acquire { n: 1, timeout_ms: None }, ());
    let first = acquire(&mut shard, 2, 1, None);
    let calls: Vec<_> =
        (0..WAITERS).map(|n| acquire(&mut shard, (n % 7) as u128 + 3, n as u64, Some(10))).collect();
    let last = acquire(&mut shard, 2, 1, None);
    shard.pass_ms(10);
    for call in &calls {
        assert_eq!(shard.take_answer(call), Some(Err(CallError::TimedOut)));
    }
    shard.get(Release { n: 1 });
    assert_eq!(shard.take_answer(&first), Some(Ok(())));
    assert!(shard.waits(&last));
    assert_eq!(shard.call(2, Release { n: 1 }), Ok(()));
    assert_eq!(shard.take_answer(&last), Some(Ok(())));
}
