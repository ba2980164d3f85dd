//! Rate limiters, against a bucket that is filled microsecond by microsecond.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::types::rate_limiter::*;
use proptest::prelude::*;

struct Drops {
    permits: u128,
    period_us: u128,
    burst: u128,
    /// As many to a permit as the period has microseconds.
    parts: u128,
    queue: Vec<(usize, u128)>,
}

impl Drops {
    fn new(permits: u64, period_ms: u64, burst: u64) -> Drops {
        let [permits, period_us, burst] = [permits, period_ms * 1_000, burst].map(u128::from);
        Drops { permits, period_us, burst, parts: burst * period_us, queue: Vec::new() }
    }

    fn let_in(&mut self, ends: &mut Ends<()>) {
        while let Some((id, n)) = self.queue.first().copied()
            && n * self.period_us <= self.parts
        {
            self.queue.remove(0);
            self.parts -= n * self.period_us;
            ends.insert(id, Ok(()));
        }
        if self.queue.is_empty() {
            self.parts = self.parts.min(self.burst * self.period_us);
        }
    }
}

#[derive(Debug, Clone)]
enum Call {
    TryAcquire(u64),
    SetRate(u64, u64, u64),
    Available,
}

impl Model for Drops {
    type Wait = Acquire;
    type Other = Call;

    fn timeout_ms(wait: &Acquire) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, wait: Acquire, ends: &mut Ends<()>) {
        let n = u128::from(wait.n);
        if n > self.burst {
            let reason = format!("{n} permits; at most {} gather", self.burst);
            ends.insert(id, Err(CallError::bad_argument(reason)));
            return;
        }
        let before: u128 = self.queue.iter().map(|(_, n)| n).sum();
        let missing = ((before + n) * self.period_us).saturating_sub(self.parts);
        let is_late = wait.timeout_ms.is_some_and(|ms| missing > u128::from(ms) * 1_000 * self.permits);
        if is_late {
            ends.insert(id, Err(CallError::TimedOut));
        } else {
            self.queue.push((id, n));
            self.let_in(ends);
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<()>) {
        match call {
            Call::TryAcquire(n) => {
                let parts = u128::from(n) * self.period_us;
                let takes = self.queue.is_empty() && parts <= self.parts;
                if takes {
                    self.parts -= parts;
                }
                assert_eq!(shard.call(session, TryAcquire { n }), Ok(takes));
            }
            Call::SetRate(permits, period_ms, burst) => {
                let new = Drops::new(permits, period_ms, burst);
                self.parts = (self.parts * new.period_us / self.period_us).min(new.parts);
                (self.permits, self.period_us, self.burst) = (new.permits, new.period_us, new.burst);
                assert_eq!(shard.call(session, SetRate { permits, period_ms, burst }), Ok(()));
            }
            Call::Available => {
                assert_eq!(shard.call(session, Available {}), Ok((self.parts / self.period_us) as u64));
            }
        }
        self.let_in(ends);
    }

    fn passes(&mut self, ms: u64, ends: &mut Ends<()>) {
        for _ in 0..ms * 1_000 {
            self.parts += self.permits;
            self.let_in(ends);
        }
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<()>) {
        self.queue.retain(|(waiting, _)| *waiting != id);
        self.let_in(ends);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<()>) {}
}

fn rate() -> impl Strategy<Value = (u64, u64, u64)> {
    (1..6_u64, 1..30_u64, 1..6_u64)
}

proptest! {
    #[test]
    fn rate_limiters_agree_with_a_slow_model(
        (permits, period_ms, burst) in rate(),
        steps in steps(
            (0..6_u64, timeout()).prop_map(|(n, timeout_ms)| Acquire { n, timeout_ms }),
            prop_oneof![
                4 => (0..4_u64).prop_map(Call::TryAcquire),
                1 => rate().prop_map(|(permits, period_ms, burst)| Call::SetRate(permits, period_ms, burst)),
                2 => Just(Call::Available),
            ],
        ),
    ) {
        let shard = TestShard::new::<Type>(Creation { permits, period_ms, burst });
        compare(shard, Drops::new(permits, period_ms, burst), steps);
    }
}

fn limiter(permits: u64, period_ms: u64, burst: u64) -> TestShard {
    TestShard::new::<Type>(Creation { permits, period_ms, burst })
}

fn acquire(shard: &mut TestShard, session: u128, n: u64, timeout_ms: Option<u64>) -> Sent<Acquire> {
    shard.begin(session, Acquire { n, timeout_ms })
}

#[test]
fn who_waits_gets_in_when_the_permits_are_there_and_in_the_order_of_asking() {
    let mut shard = limiter(1, 10, 3);
    shard.expect(Acquire { n: 3, timeout_ms: None }, ());
    let much = acquire(&mut shard, 2, 3, None);
    let little = acquire(&mut shard, 3, 1, None);
    shard.pass_ms(29);
    shard.expect(Available {}, 2);
    shard.expect(TryAcquire { n: 1 }, false);
    shard.expect(TryAcquire { n: 0 }, false);
    assert!(shard.waits(&much) && shard.waits(&little));
    shard.pass_ms(1);
    assert_eq!(shard.take_answer(&much), Some(Ok(())));
    assert!(shard.waits(&little));
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&little), Some(Ok(())));
    shard.pass_ms(1_000);
    shard.expect(Available {}, 3);
}

#[test]
fn who_cannot_get_permits_in_time_is_told_at_once_and_takes_no_place_in_the_queue() {
    let mut shard = limiter(1, 10, 3);
    shard.expect(Acquire { n: 3, timeout_ms: None }, ());
    let first = acquire(&mut shard, 2, 2, Some(20));
    assert!(shard.waits(&first), "just in time");
    let late = acquire(&mut shard, 3, 1, Some(29));
    assert_eq!(
        shard.take_answer(&late),
        Some(Err(CallError::TimedOut)),
        "behind the first it has to wait 30 ms"
    );
    let in_time = acquire(&mut shard, 4, 1, Some(30));
    shard.pass_ms(20);
    assert_eq!(shard.take_answer(&first), Some(Ok(())), "also if its time-out is the same moment");
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&in_time), Some(Ok(())));
    let more = acquire(&mut shard, 2, 4, None);
    assert!(matches!(shard.take_answer(&more), Some(Err(CallError::BadArgument { .. }))));
    shard.expect(TryAcquire { n: 4 }, false);
}

#[test]
fn when_the_first_leaves_those_behind_it_move_up() {
    let mut shard = limiter(1, 10, 5);
    shard.expect(Acquire { n: 5, timeout_ms: None }, ());
    let [dying, cancelled, last] =
        [(2, 5), (3, 4), (4, 1)].map(|(session, n)| acquire(&mut shard, session, n, None));
    shard.pass_ms(15);
    shard.goodbye(2);
    assert_eq!(shard.take_answer(&dying), Some(Err(CallError::SessionExpired)));
    assert!(shard.waits(&last), "another is still before it");
    shard.cancel(&cancelled);
    assert_eq!(shard.take_answer(&cancelled), Some(Err(CallError::Cancelled)));
    assert_eq!(shard.take_answer(&last), Some(Ok(())), "one and a half permits are there");
    shard.pass_ms(5);
    shard.expect(TryAcquire { n: 1 }, true);
    shard.expect(TryAcquire { n: 1 }, false);
}

#[test]
fn a_rate_that_changes_changes_it_for_those_who_wait() {
    let mut shard = limiter(1, 1_000, 5);
    shard.expect(Acquire { n: 5, timeout_ms: None }, ());
    let slowed = acquire(&mut shard, 2, 1, Some(1_000));
    let much = acquire(&mut shard, 3, 4, None);
    shard.get(SetRate { permits: 1, period_ms: 2_000, burst: 2 });
    shard.pass_ms(1_000);
    assert_eq!(shard.take_answer(&slowed), Some(Err(CallError::TimedOut)));
    shard.get(SetRate { permits: 1, period_ms: 1, burst: 2 });
    shard.pass_ms(3);
    assert!(shard.waits(&much), "half a permit was there");
    shard.pass_ms(1);
    assert_eq!(shard.take_answer(&much), Some(Ok(())), "more than gathers now, but it was promised");
    for (permits, period_ms, burst) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1 << 41, 1)] {
        let set = SetRate { permits, period_ms, burst };
        assert!(matches!(shard.call(1, set), Err(CallError::BadArgument { .. })));
        let created = limiter(permits, period_ms, burst).call(1, Available {});
        assert!(matches!(created, Err(CallError::BadArgument { .. })));
    }
}

#[test]
fn a_clock_that_jumps_lets_in_whom_it_would_have_let_in_step_by_step() {
    let mut shard = limiter(1, 10, 2);
    shard.expect(Acquire { n: 2, timeout_ms: None }, ());
    // Twice as many as one block lets in, each just in time; and one that has to wait for a little longer.
    let calls: Vec<_> = (1..=300).map(|n| acquire(&mut shard, n % 7 + 2, 1, Some(n as u64 * 10))).collect();
    let last = acquire(&mut shard, 2, 2, None);
    shard.pass_ms(3_019);
    for call in &calls {
        assert_eq!(shard.take_answer(call), Some(Ok(())));
    }
    assert!(shard.waits(&last));
    shard.pass_ms(1);
    assert_eq!(shard.take_answer(&last), Some(Ok(())));
}

/// The shard looks at time-outs first. The permits of the last came at the very moment of its own, behind those of more than one
/// block can let in.
#[test]
fn who_gets_its_permits_in_time_does_so_however_many_are_before_it() {
    let mut shard = limiter(1, 10, 1);
    shard.expect(Acquire { n: 1, timeout_ms: None }, ());
    let calls: Vec<_> = (1..=300).map(|n| acquire(&mut shard, n % 7 + 2, 1, None)).collect();
    let in_time = acquire(&mut shard, 9, 1, Some(3_010));
    let behind = acquire(&mut shard, 9, 1, None);
    shard.pass_ms(3_010);
    for call in calls.iter().chain([&in_time]) {
        assert_eq!(shard.take_answer(call), Some(Ok(())));
    }
    assert!(shard.waits(&behind));
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&behind), Some(Ok(())));
}

#[test]
fn what_gathers_does_so_while_the_store_is_closed_too() {
    let mut shard = limiter(3, 1_000, 3);
    shard.expect(Acquire { n: 3, timeout_ms: None }, ());
    let mut shard = shard.reopen();
    shard.expect(Available {}, 0);
    shard.pass_ms(334);
    let mut shard = shard.reopen();
    shard.expect(Available {}, 1);
    shard.pass_ms(10_000);
    shard.expect(Available {}, 3);
}
