//! Elections.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout, waits},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Leader, types::election::*};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Ask {
    Campaign(Campaign),
    Observe(Observe),
}

#[derive(Debug, Clone, PartialEq)]
enum Got {
    Leads(u64),
    Sees(Option<Leader>),
}

waits!(Ask -> Got { Campaign(Campaign) => Got::Leads, Observe(Observe) => Got::Sees });

#[derive(Debug, Clone)]
enum Call {
    /// With a token so far behind the newest, if with any.
    Resign(Option<u64>),
    Leader,
}

#[derive(Default)]
struct Throne {
    token: u64,
    leader: Option<(u128, String)>,
    campaigns: Vec<(usize, u128, String)>,
    /// Who waits for another leader than the one with this token.
    observers: Vec<(usize, u64)>,
}

impl Throne {
    fn shown(&self) -> Option<Leader> {
        self.leader.as_ref().map(|(session, candidate)| Leader {
            session: format!("{session:032x}"),
            candidate: candidate.clone(),
            token: self.token,
        })
    }

    fn go_on(&mut self, ends: &mut Ends<Got>) {
        if self.leader.is_none() && !self.campaigns.is_empty() {
            let (id, session, candidate) = self.campaigns.remove(0);
            (self.leader, self.token) = (Some((session, candidate)), self.token + 1);
            ends.insert(id, Ok(Got::Leads(self.token)));
        }
        let shown = self.shown();
        let token = shown.as_ref().map_or(0, |leader| leader.token);
        self.observers.retain(|(id, seen)| {
            if *seen != token {
                ends.insert(*id, Ok(Got::Sees(shown.clone())));
            }
            *seen == token
        });
    }
}

impl Model for Throne {
    type Wait = Ask;
    type Other = Call;

    fn timeout_ms(wait: &Ask) -> Option<u64> {
        match wait {
            Ask::Campaign(campaign) => campaign.timeout_ms,
            Ask::Observe(observe) => observe.timeout_ms,
        }
    }

    fn wait(&mut self, id: usize, session: u128, wait: Ask, ends: &mut Ends<Got>) {
        match wait {
            Ask::Campaign(Campaign { candidate, .. }) => match &self.leader {
                Some((leader, _)) if *leader == session => {
                    ends.insert(id, Ok(Got::Leads(self.token)));
                }
                _ => self.campaigns.push((id, session, candidate)),
            },
            Ask::Observe(Observe { token, .. }) => self.observers.push((id, token)),
        }
        self.go_on(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<Got>) {
        match call {
            Call::Resign(behind) => {
                let token = behind.map(|behind| self.token.saturating_sub(behind));
                let leads = self.leader.as_ref().is_some_and(|(leader, _)| *leader == session)
                    && token.is_none_or(|token| token == self.token);
                assert_eq!(shard.call(session, Resign { token }), Ok(leads));
                if leads {
                    self.leader = None;
                }
            }
            Call::Leader => assert_eq!(shard.call(session, GetLeader {}), Ok(self.shown())),
        }
        self.go_on(ends);
    }

    fn gone(&mut self, id: usize, _: &mut Ends<Got>) {
        self.campaigns.retain(|(waiting, ..)| *waiting != id);
        self.observers.retain(|(waiting, _)| *waiting != id);
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<Got>) {
        self.leader.take_if(|(leader, _)| *leader == session);
        self.go_on(ends);
    }
}

proptest! {
    #[test]
    fn elections_agree_with_a_slow_model(
        steps in steps(
            (0..8_u64, timeout(), any::<bool>()).prop_map(|(n, timeout_ms, observes)| match observes {
                true => Ask::Observe(Observe { token: n, timeout_ms }),
                false => Ask::Campaign(Campaign { candidate: format!("number {n}"), timeout_ms }),
            }),
            prop_oneof![
                4 => prop::option::of(0..2_u64).prop_map(Call::Resign),
                1 => Just(Call::Leader),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Throne::default(), steps);
    }
}

fn campaign(candidate: &str) -> Campaign {
    Campaign { candidate: candidate.to_owned(), timeout_ms: None }
}

fn leader(session: u128, candidate: &str, token: u64) -> Option<Leader> {
    Some(Leader { session: format!("{session:032x}"), candidate: candidate.to_owned(), token })
}

#[test]
fn the_leadership_goes_from_one_that_ends_to_the_next_with_a_greater_token() {
    let mut shard = TestShard::new::<Type>(Creation {});
    let observer = shard.begin(9, Observe { token: 0, timeout_ms: None });
    assert!(shard.waits(&observer));
    shard.expect(campaign("a"), 1);
    assert_eq!(shard.take_answer(&observer), Some(Ok(leader(1, "a", 1))));
    let observer = shard.begin(9, Observe { token: 1, timeout_ms: None });
    let [quitter, next] = [2, 3].map(|session| shard.begin(session, campaign("b")));
    shard.cancel(&quitter);
    assert_eq!(shard.take_answer(&quitter), Some(Err(CallError::Cancelled)));
    shard.expect(campaign("another"), 1);
    assert_eq!(
        shard.holders(),
        [BlockedBy {
            session: format!("{:032x}", 1),
            owner: None,
            what: "the leadership, as \"a\"".to_owned(),
        }]
    );
    shard.goodbye(1);
    assert_eq!(shard.take_answer(&next), Some(Ok(2)));
    assert_eq!(shard.take_answer(&observer), Some(Ok(leader(3, "b", 2))));
    shard.expect(Resign { token: None }, false);
    assert_eq!(shard.call(3, Resign { token: Some(1) }), Ok(false));
    assert_eq!(shard.call(3, Resign { token: Some(2) }), Ok(true));
    shard.expect(GetLeader {}, None);
    // Who resigned holds nothing more.
    assert_eq!(shard.call(4, campaign("c")), Ok(3));
    shard.goodbye(3);
    shard.expect(GetLeader {}, leader(4, "c", 3));
}

#[test]
fn very_many_observers_see_the_same_leader() {
    let mut shard = TestShard::new::<Type>(Creation {});
    let observers: Vec<_> =
        (0..1_000).map(|n| shard.begin(n % 5 + 2, Observe { token: 0, timeout_ms: None })).collect();
    shard.expect(campaign("a"), 1);
    for observer in &observers {
        assert_eq!(shard.take_answer(observer), Some(Ok(leader(1, "a", 1))));
    }
    shard.expect(Resign { token: None }, true);
    shard.expect(Observe { token: 1, timeout_ms: None }, None);
}

#[test]
fn what_one_campaigns_as_is_of_bounded_length() {
    let mut shard = TestShard::new::<Type>(Creation {});
    let too_long = shard.call(1, campaign(&"x".repeat(4_097)));
    assert_eq!(too_long, Err(CallError::TooLarge { max: 4_096 }));
    shard.expect(campaign(&"x".repeat(4_096)), 1);
}

#[test]
fn nobody_leads_after_a_store_was_closed_and_tokens_still_grow() {
    let mut shard = TestShard::new::<Type>(Creation {});
    shard.expect(campaign("a"), 1);
    shard.begin(2, campaign("b"));
    let mut shard = shard.reopen();
    shard.expect(GetLeader {}, None);
    assert!(shard.get(campaign("c")) > 1);
}
