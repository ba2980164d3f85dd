//! Phasers.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout, waits},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, types::phaser::*};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Ask {
    Arrive(ArriveAndWait),
    Await(AwaitPhase),
}

waits!(Ask -> u64 { Arrive(ArriveAndWait) => |phase| phase, Await(AwaitPhase) => |phase| phase });

#[derive(Debug, Clone)]
enum Call {
    Register,
    BulkRegister(u32),
    Arrive,
    ArriveAndDeregister,
    Look,
}

/// Parties and arrivals by session; those of nobody, and arrivals beyond a session's own parties, have none.
struct Dance {
    phase: u64,
    parties: BTreeMap<Option<u128>, u32>,
    arrivals: Vec<Option<u128>>,
    is_over: bool,
    waiting: Vec<usize>,
}

fn is_over() -> CallError {
    CallError::denied("the phaser is over: its last party has left")
}

impl Dance {
    fn new(parties: u32) -> Dance {
        let parties = [(None, parties)].into();
        Dance { phase: 0, parties, arrivals: Vec::new(), is_over: false, waiting: Vec::new() }
    }

    fn registered(&self) -> u32 {
        self.parties.values().sum()
    }

    fn of(&self, session: u128) -> u32 {
        self.parties.get(&Some(session)).copied().unwrap_or(0)
    }

    fn arrived_of(&self, session: u128) -> usize {
        self.arrivals.iter().filter(|arrival| **arrival == Some(session)).count()
    }

    /// One arrives, if that can be: says why not, or in which phase.
    fn arrive(&mut self, session: u128, ends: &mut Ends<u64>) -> Result<u64, CallError> {
        if self.is_over {
            return Err(is_over());
        }
        if self.registered() == 0 {
            return Err(CallError::denied("the phaser has no parties"));
        }
        let is_own = self.arrived_of(session) < self.of(session) as usize;
        self.arrivals.push(is_own.then_some(session));
        let phase = self.phase;
        self.settle(ends);
        Ok(phase)
    }

    fn settle(&mut self, ends: &mut Ends<u64>) {
        let answer = if self.registered() == 0 {
            self.is_over = true;
            Err(is_over())
        } else if self.arrivals.len() >= self.registered() as usize {
            self.phase += 1;
            Ok(self.phase)
        } else {
            return;
        };
        self.arrivals.clear();
        ends.extend(self.waiting.drain(..).map(|id| (id, answer.clone())));
    }

    fn deregister(&mut self, session: u128, ends: &mut Ends<u64>) -> Result<u64, CallError> {
        if self.is_over {
            return Err(is_over());
        }
        let whose = Some(session).filter(|session| self.of(*session) > 0);
        match self.parties.get_mut(&whose) {
            Some(parties) if *parties > 0 => *parties -= 1,
            _ => return Err(CallError::denied("all parties belong to other sessions")),
        }
        if self.arrived_of(session) > self.of(session) as usize {
            let arrival = self.arrivals.iter_mut().find(|arrival| **arrival == Some(session));
            *arrival.expect("one arrived") = None;
        }
        let phase = self.phase;
        self.settle(ends);
        Ok(phase)
    }
}

impl Model for Dance {
    type Wait = Ask;
    type Other = Call;

    fn timeout_ms(wait: &Ask) -> Option<u64> {
        match wait {
            Ask::Arrive(wait) => wait.timeout_ms,
            Ask::Await(wait) => wait.timeout_ms,
        }
    }

    fn wait(&mut self, id: usize, session: u128, wait: Ask, ends: &mut Ends<u64>) {
        match wait {
            Ask::Arrive(_) => match self.arrive(session, ends) {
                Err(error) => drop(ends.insert(id, Err(error))),
                Ok(phase) if phase < self.phase => drop(ends.insert(id, Ok(self.phase))),
                Ok(_) => self.waiting.push(id),
            },
            Ask::Await(AwaitPhase { phase, .. }) if phase != self.phase => {
                ends.insert(id, Ok(self.phase));
            }
            Ask::Await(_) if self.is_over => drop(ends.insert(id, Err(is_over()))),
            Ask::Await(_) => self.waiting.push(id),
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<u64>) {
        let n = match call {
            Call::BulkRegister(n) => n,
            _ => 1,
        };
        match call {
            Call::Register | Call::BulkRegister(_) => {
                let expected = if self.is_over { Err(is_over()) } else { Ok(self.phase) };
                let result = match call {
                    Call::Register => shard.call(session, Register {}),
                    _ => shard.call(session, BulkRegister { n }),
                };
                assert_eq!(result, expected);
                if !self.is_over {
                    *self.parties.entry(Some(session)).or_default() += n;
                }
            }
            Call::Arrive => {
                let expected = self.arrive(session, ends);
                assert_eq!(shard.call(session, Arrive {}), expected);
            }
            Call::ArriveAndDeregister => {
                let expected = self.deregister(session, ends);
                assert_eq!(shard.call(session, ArriveAndDeregister {}), expected);
            }
            Call::Look => {
                assert_eq!(shard.call(session, GetPhase {}), Ok(self.phase));
                assert_eq!(shard.call(session, Registered {}), Ok(self.registered()));
                assert_eq!(shard.call(session, Arrived {}), Ok(self.arrivals.len() as u32));
                assert_eq!(shard.call(session, IsTerminated {}), Ok(self.is_over));
            }
        }
    }

    fn gone(&mut self, id: usize, _: &mut Ends<u64>) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<u64>) {
        self.arrivals.retain(|arrival| *arrival != Some(session));
        if self.parties.remove(&Some(session)).is_some_and(|parties| parties > 0) {
            self.settle(ends);
        }
    }
}

proptest! {
    #[test]
    fn phasers_agree_with_a_slow_model(
        parties in 0..4_u32,
        steps in steps(
            (0..5_u64, timeout(), any::<bool>()).prop_map(|(phase, timeout_ms, awaits)| match awaits {
                true => Ask::Await(AwaitPhase { phase, timeout_ms }),
                false => Ask::Arrive(ArriveAndWait { timeout_ms }),
            }),
            prop_oneof![
                3 => Just(Call::Register),
                1 => (0..4_u32).prop_map(Call::BulkRegister),
                3 => Just(Call::Arrive),
                3 => Just(Call::ArriveAndDeregister),
                2 => Just(Call::Look),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation { parties }), Dance::new(parties), steps);
    }
}

fn phaser(parties: u32) -> TestShard {
    TestShard::new::<Type>(Creation { parties })
}

fn arrive(shard: &mut TestShard, session: u128, timeout_ms: Option<u64>) -> Sent<ArriveAndWait> {
    shard.begin(session, ArriveAndWait { timeout_ms })
}

#[test]
fn a_phase_ends_when_all_that_are_registered_have_arrived() {
    let mut shard = phaser(0);
    for session in 1..4 {
        assert_eq!(shard.call(session, Register {}), Ok(0));
    }
    for phase in 0..3 {
        let early = [1, 2].map(|session| arrive(&mut shard, session, None));
        let onlooker = shard.begin(9, AwaitPhase { phase, timeout_ms: None });
        shard.expect(Arrived {}, 2);
        assert!(early.iter().all(|call| shard.waits(call)) && shard.waits(&onlooker));
        assert_eq!(shard.call(3, Arrive {}), Ok(phase));
        for call in &early {
            assert_eq!(shard.take_answer(call), Some(Ok(phase + 1)));
        }
        assert_eq!(shard.take_answer(&onlooker), Some(Ok(phase + 1)));
        shard.expect(Arrived {}, 0);
    }
}

#[test]
fn a_party_that_dies_is_waited_for_no_more_whether_it_has_arrived_or_not() {
    let mut shard = phaser(0);
    for session in 1..4 {
        assert_eq!(shard.call(session, Register {}), Ok(0));
    }
    let waiting = arrive(&mut shard, 1, None);
    let dead = arrive(&mut shard, 2, None);
    assert_eq!(
        shard.holders(),
        [BlockedBy {
            session: format!("{:032x}", 3),
            owner: None,
            what: "1 parties that have not arrived".to_owned(),
        }]
    );
    shard.goodbye(2);
    assert_eq!(shard.take_answer(&dead), Some(Err(CallError::SessionExpired)));
    assert!(shard.waits(&waiting), "its arrival went with it: one of two has arrived");
    shard.expect(Arrived {}, 1);
    shard.expect(Registered {}, 2);
    shard.goodbye(3);
    assert_eq!(shard.take_answer(&waiting), Some(Ok(1)));
    shard.expect(Registered {}, 1);
}

#[test]
fn an_arrival_stays_when_its_wait_times_out() {
    let mut shard = phaser(2);
    let hasty = arrive(&mut shard, 1, Some(10));
    shard.pass_ms(10);
    assert_eq!(shard.take_answer(&hasty), Some(Err(CallError::TimedOut)));
    shard.expect(Arrived {}, 1);
    assert_eq!(shard.call(2, ArriveAndWait { timeout_ms: None }), Ok(1));
}

#[test]
fn a_phaser_is_over_when_its_last_party_leaves_and_not_before_it_has_had_one() {
    let mut shard = phaser(0);
    shard.expect(IsTerminated {}, false);
    assert!(matches!(shard.call(1, Arrive {}), Err(CallError::Denied { .. })));
    shard.expect(BulkRegister { n: 0 }, 0);
    shard.expect(BulkRegister { n: 2 }, 0);
    let waiting = shard.begin(9, AwaitPhase { phase: 0, timeout_ms: None });
    shard.expect(ArriveAndDeregister {}, 0);
    shard.expect(IsTerminated {}, false);
    assert!(matches!(shard.call(2, ArriveAndDeregister {}), Err(CallError::Denied { .. })), "not its own");
    shard.goodbye(1);
    assert_eq!(shard.take_answer(&waiting), Some(Err(is_over())));
    shard.expect(IsTerminated {}, true);
    shard.expect(Registered {}, 0);
    assert_eq!(shard.call(1, Register {}), Err(is_over()));
    assert_eq!(shard.call(1, ArriveAndWait { timeout_ms: None }), Err(is_over()));
    assert_eq!(shard.call(1, AwaitPhase { phase: 0, timeout_ms: None }), Err(is_over()));
    shard.expect(AwaitPhase { phase: 7, timeout_ms: None }, 0);
}

#[test]
fn who_leaves_ends_the_phase_if_only_it_was_missing() {
    let mut shard = phaser(1);
    shard.get(Register {});
    let waiting = arrive(&mut shard, 2, None);
    assert!(shard.waits(&waiting));
    shard.expect(ArriveAndDeregister {}, 0);
    assert_eq!(shard.take_answer(&waiting), Some(Ok(1)));
    // It is no party any more, so its end changes nothing.
    shard.goodbye(1);
    assert_eq!(shard.call(2, Registered {}), Ok(1));
}

#[test]
fn arrivals_of_an_earlier_phase_are_not_taken_back() {
    let mut shard = phaser(0);
    for session in 1..4 {
        assert_eq!(shard.call(session, Register {}), Ok(0));
    }
    (1..4).for_each(|session| assert_eq!(shard.call(session, Arrive {}), Ok(0)));
    assert_eq!(shard.call(1, Arrive {}), Ok(1));
    shard.goodbye(2);
    shard.expect(Arrived {}, 1);
    assert_eq!(shard.call(3, ArriveAndWait { timeout_ms: None }), Ok(2));
}

#[test]
fn more_parties_than_can_be_counted_are_refused() {
    let mut shard = phaser(u32::MAX - 1);
    shard.expect(Register {}, 0);
    assert!(matches!(shard.call(1, Register {}), Err(CallError::BadArgument { .. })));
    shard.expect(Registered {}, u32::MAX);
}

#[test]
fn very_many_parties_leave_a_phase_together() {
    const PARTIES: u32 = 1_000;
    let mut shard = phaser(PARTIES + 1);
    let waiting: Vec<_> = (0..PARTIES).map(|n| arrive(&mut shard, u128::from(n % 5) + 2, None)).collect();
    shard.expect(ArriveAndWait { timeout_ms: None }, 1);
    for call in &waiting {
        assert_eq!(shard.take_answer(call), Some(Ok(1)));
    }
}

#[test]
fn only_parties_that_belong_to_nobody_are_there_after_a_store_was_closed() {
    let mut shard = phaser(2);
    shard.get(Register {});
    arrive(&mut shard, 1, None);
    assert_eq!(shard.call(2, Arrive {}), Ok(0));
    let mut shard = shard.reopen();
    shard.expect(Registered {}, 2);
    shard.expect(Arrived {}, 1);
    shard.expect(Arrive {}, 0);
    shard.expect(GetPhase {}, 1);
}
