//! Barriers.

use super::{
    driver::{LEASE_MS, Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::types::cyclic_barrier::*;
use proptest::prelude::*;

struct Meeting {
    parties: usize,
    waiting: Vec<usize>,
    broken: bool,
}

#[derive(Debug, Clone)]
enum Call {
    Waiting,
    Parties,
    Reset,
    IsBroken,
}

impl Meeting {
    fn break_up(&mut self, ends: &mut Ends<u32>) {
        ends.extend(self.waiting.drain(..).map(|id| (id, Err(CallError::Broken))));
    }
}

impl Model for Meeting {
    type Wait = Await;
    type Other = Call;

    fn timeout_ms(wait: &Await) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, _: Await, ends: &mut Ends<u32>) {
        if self.broken {
            ends.insert(id, Err(CallError::Broken));
            return;
        }
        self.waiting.push(id);
        if self.waiting.len() == self.parties {
            let indices = (0..self.parties as u32).rev();
            ends.extend(self.waiting.drain(..).zip(indices.map(Ok)));
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<u32>) {
        match call {
            Call::Waiting => assert_eq!(shard.call(session, Waiting {}), Ok(self.waiting.len() as u32)),
            Call::Parties => assert_eq!(shard.call(session, Parties {}), Ok(self.parties as u32)),
            Call::IsBroken => assert_eq!(shard.call(session, IsBroken {}), Ok(self.broken)),
            Call::Reset => {
                assert_eq!(shard.call(session, Reset {}), Ok(()));
                self.break_up(ends);
                self.broken = false;
            }
        }
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<u32>) {
        self.waiting.retain(|waiting| *waiting != id);
        self.broken = true;
        self.break_up(ends);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<u32>) {}
}

proptest! {
    #[test]
    fn barriers_agree_with_a_slow_model(
        parties in 1..6_u32,
        steps in steps(
            timeout().prop_map(|timeout_ms| Await { timeout_ms }),
            prop::sample::select(vec![Call::Waiting, Call::Parties, Call::Reset, Call::IsBroken]),
        ),
    ) {
        let model = Meeting { parties: parties as usize, waiting: Vec::new(), broken: false };
        compare(TestShard::new::<Type>(Creation { parties }), model, steps);
    }
}

fn barrier(parties: u32) -> TestShard {
    TestShard::new::<Type>(Creation { parties })
}

fn arrive(shard: &mut TestShard, session: u128, timeout_ms: Option<u64>) -> Sent<Await> {
    shard.begin(session, Await { timeout_ms })
}

#[test]
fn a_barrier_of_no_parties_is_refused_and_one_of_one_party_never_waits() {
    let mut shard = barrier(0);
    assert!(matches!(shard.call(1, Waiting {}), Err(CallError::BadArgument { .. })));
    let mut shard = barrier(1);
    for _ in 0..3 {
        shard.expect(Await { timeout_ms: None }, 0);
    }
}

#[test]
fn each_generation_is_released_by_its_last_arrival_with_indices_in_order() {
    let mut shard = barrier(3);
    for _ in 0..4 {
        let first = arrive(&mut shard, 1, None);
        let second = arrive(&mut shard, 2, Some(1_000));
        shard.expect(Waiting {}, 2);
        let third = arrive(&mut shard, 3, None);
        assert_eq!(shard.take_answer(&first), Some(Ok(2)));
        assert_eq!(shard.take_answer(&second), Some(Ok(1)));
        assert_eq!(shard.take_answer(&third), Some(Ok(0)));
        shard.expect(Waiting {}, 0);
    }
    // The time-outs of calls that were answered are forgotten.
    shard.pass_ms(2_000);
    shard.expect(IsBroken {}, false);
}

#[test]
fn one_time_out_breaks_the_generation_and_all_later_waits_until_a_reset() {
    let mut shard = barrier(4);
    let patient = arrive(&mut shard, 1, None);
    let hasty = arrive(&mut shard, 2, Some(10));
    let also_hasty = arrive(&mut shard, 3, Some(10));
    shard.pass_ms(9);
    assert!(shard.waits(&hasty));
    shard.pass_ms(1);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    assert_eq!(shard.take_answer(&patient), Some(Err(CallError::Broken)));
    assert_eq!(shard.take_answer(&also_hasty), Some(Err(CallError::Broken)));
    shard.expect(IsBroken {}, true);
    assert_eq!(shard.call(4, Await { timeout_ms: None }), Err(CallError::Broken));
    shard.get(Reset {});
    shard.expect(IsBroken {}, false);
    let again: Vec<_> = (1..5).map(|session| arrive(&mut shard, session, None)).collect();
    for (call, index) in again.iter().zip([3, 2, 1, 0]) {
        assert_eq!(shard.take_answer(call), Some(Ok(index)));
    }
}

#[test]
fn a_time_out_of_no_time_ends_with_the_next_event() {
    let mut shard = barrier(2);
    let call = arrive(&mut shard, 1, Some(0));
    shard.pass_ms(0);
    assert_eq!(shard.take_answer(&call), Some(Err(CallError::TimedOut)));
    shard.expect(IsBroken {}, true);
}

#[test]
fn a_party_whose_lease_ends_breaks_the_generation_for_the_living() {
    let mut shard = barrier(3);
    let dead = arrive(&mut shard, 1, None);
    let living = arrive(&mut shard, 2, None);
    shard.pass_ms(LEASE_MS / 2);
    shard.heartbeat(2);
    assert!(shard.waits(&dead));
    shard.pass_ms(LEASE_MS / 2);
    assert_eq!(shard.take_answer(&dead), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&living), Some(Err(CallError::Broken)));
    assert_eq!(shard.call(2, IsBroken {}), Ok(true));
}

/// The shard once collected the waits of a session that ends, and ended each. But the end of the first
/// breaks the barrier, which answers the second: the shard stopped, because it waited no more.
#[test]
fn a_session_that_dies_with_two_threads_at_one_barrier_breaks_it_once() {
    let mut shard = barrier(4);
    let calls: Vec<_> = [1, 1, 2].map(|session| arrive(&mut shard, session, None)).into();
    shard.goodbye(1);
    assert_eq!(shard.take_answer(&calls[0]), Some(Err(CallError::SessionExpired)));
    assert_eq!(shard.take_answer(&calls[1]), Some(Err(CallError::Broken)));
    assert_eq!(shard.take_answer(&calls[2]), Some(Err(CallError::Broken)));
    assert_eq!(shard.call(2, IsBroken {}), Ok(true));
}

#[test]
fn a_party_that_gives_up_breaks_the_generation() {
    let mut shard = barrier(3);
    let (quitter, other) = (arrive(&mut shard, 1, None), arrive(&mut shard, 2, None));
    shard.cancel(&quitter);
    assert_eq!(shard.take_answer(&quitter), Some(Err(CallError::Cancelled)));
    assert_eq!(shard.take_answer(&other), Some(Err(CallError::Broken)));
}

#[test]
fn a_reset_ends_the_calls_that_wait_and_lets_a_new_generation_begin() {
    let mut shard = barrier(2);
    let waiting = arrive(&mut shard, 2, None);
    shard.get(Reset {});
    assert_eq!(shard.take_answer(&waiting), Some(Err(CallError::Broken)));
    shard.expect(IsBroken {}, false);
    let (first, last) = (arrive(&mut shard, 1, None), arrive(&mut shard, 2, None));
    assert_eq!((shard.take_answer(&first), shard.take_answer(&last)), (Some(Ok(1)), Some(Ok(0))));
}

#[test]
fn a_party_of_an_earlier_generation_may_die_without_harm() {
    let mut shard = barrier(2);
    let early = arrive(&mut shard, 1, None);
    arrive(&mut shard, 2, None);
    assert_eq!(shard.take_answer(&early), Some(Ok(1)));
    let later = arrive(&mut shard, 3, None);
    shard.goodbye(1);
    shard.goodbye(2);
    assert!(shard.waits(&later));
    shard.expect(Await { timeout_ms: None }, 0);
}

#[test]
fn twenty_thousand_waiters_that_time_out_at_once_each_get_one_answer() {
    const WAITERS: usize = 20_000;
    let mut shard = barrier(WAITERS as u32 + 1);
    let calls: Vec<_> = (0..WAITERS).map(|n| arrive(&mut shard, (n % 7) as u128, Some(10))).collect();
    let with_waiters = shard.info().bytes;
    assert!((8 * WAITERS as u64..200 * WAITERS as u64).contains(&with_waiters), "{with_waiters} bytes");
    shard.pass_ms(10);
    assert!(shard.info().bytes < 1_000);
    assert_eq!(shard.take_answer(&calls[0]), Some(Err(CallError::TimedOut)));
    for call in &calls[1..] {
        assert_eq!(shard.take_answer(call), Some(Err(CallError::Broken)));
    }
    assert_eq!(shard.answers_left(), 0);
}
