//! Rendezvous.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::{Page, types::rendezvous::*};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Default)]
struct Board {
    published: BTreeMap<String, (u128, String)>,
    lookups: Vec<(usize, String)>,
}

#[derive(Debug, Clone)]
enum Call {
    Publish(String, u8),
    Withdraw(String),
    Names(Option<String>, u32),
}

impl Board {
    fn answer(&mut self, ends: &mut Ends<String>) {
        self.lookups.retain(|(id, name)| {
            let found = self.published.get(name);
            ends.extend(found.map(|(_, address)| (*id, Ok(address.clone()))));
            found.is_none()
        });
    }
}

impl Model for Board {
    type Wait = Lookup;
    type Other = Call;

    fn timeout_ms(wait: &Lookup) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, wait: Lookup, ends: &mut Ends<String>) {
        self.lookups.push((id, wait.name));
        self.answer(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<String>) {
        match call {
            Call::Publish(name, n) => {
                let address = format!("address {n}");
                let result = shard.call(session, Publish { name: name.clone(), address: address.clone() });
                if self.published.get(&name).is_some_and(|(publisher, _)| *publisher != session) {
                    assert!(matches!(result, Err(CallError::Denied { .. })), "{result:?}");
                } else {
                    assert_eq!(result, Ok(()));
                    self.published.insert(name, (session, address));
                }
            }
            Call::Withdraw(name) => {
                let is_own = self.published.get(&name).is_some_and(|(publisher, _)| *publisher == session);
                assert_eq!(shard.call(session, Withdraw { name: name.clone() }), Ok(is_own));
                if is_own {
                    self.published.remove(&name);
                }
            }
            Call::Names(after, limit) => {
                let behind = self.published.iter().filter(|(name, _)| Some(*name) > after.as_ref());
                let mut entries: Vec<_> =
                    behind.map(|(name, (_, address))| (name.clone(), address.clone())).collect();
                let more = entries.len() > limit as usize;
                entries.truncate(limit as usize);
                let next = entries.last().filter(|_| more).map(|(name, _)| name.clone());
                assert_eq!(shard.call(session, Names { after, limit }), Ok(Page { entries, next }));
            }
        }
        self.answer(ends);
    }

    fn gone(&mut self, id: usize, _: &mut Ends<String>) {
        self.lookups.retain(|(waiting, _)| *waiting != id);
    }

    fn session_ended(&mut self, session: u128, _: &mut Ends<String>) {
        self.published.retain(|_, (publisher, _)| *publisher != session);
    }
}

/// Some are others' beginnings.
fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "ab", "a\u{10ffff}", "b\0", "b"]).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn rendezvous_agree_with_a_slow_model(
        steps in steps(
            (name(), timeout()).prop_map(|(name, timeout_ms)| Lookup { name, timeout_ms }),
            prop_oneof![
                2 => (name(), any::<u8>()).prop_map(|(name, n)| Call::Publish(name, n)),
                3 => name().prop_map(Call::Withdraw),
                1 => (prop::option::of(name()), 1..4_u32).prop_map(|(after, limit)| Call::Names(after, limit)),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Board::default(), steps);
    }
}

fn rendezvous() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

fn publish(name: &str, address: &str) -> Publish {
    Publish { name: name.to_owned(), address: address.to_owned() }
}

fn lookup(shard: &mut TestShard, session: u128, name: &str) -> Sent<Lookup> {
    shard.begin(session, Lookup { name: name.to_owned(), timeout_ms: None })
}

#[test]
fn an_address_is_there_until_its_session_takes_it_back_or_ends() {
    let mut shard = rendezvous();
    let waiting = lookup(&mut shard, 9, "db");
    let other = lookup(&mut shard, 9, "d");
    shard.expect(publish("db", "first"), ());
    assert_eq!(shard.take_answer(&waiting), Some(Ok("first".to_owned())));
    shard.expect(publish("db", "second"), ());
    shard.expect(publish("cache", "third"), ());
    assert!(matches!(shard.call(2, publish("db", "mine")), Err(CallError::Denied { .. })));
    assert_eq!(shard.call(2, Withdraw { name: "db".to_owned() }), Ok(false));
    shard.expect(Lookup { name: "db".to_owned(), timeout_ms: None }, "second".to_owned());
    shard.expect(Withdraw { name: "db".to_owned() }, true);
    shard.expect(Withdraw { name: "db".to_owned() }, false);
    // It has one left, and so its end is told.
    shard.goodbye(1);
    let entries = vec![("db".to_owned(), "mine".to_owned())];
    assert_eq!(shard.call(2, publish("db", "mine")), Ok(()));
    assert_eq!(shard.call(2, Names { after: None, limit: 9 }), Ok(Page { entries, next: None }));
    assert!(shard.waits(&other));
}

#[test]
fn names_and_addresses_of_the_greatest_length_are_taken_and_longer_ones_are_refused() {
    let mut shard = rendezvous();
    let (name, address) = ("n".repeat(512), "a".repeat(4_096));
    let waiting = lookup(&mut shard, 2, &name);
    shard.expect(publish(&name, &address), ());
    assert_eq!(shard.take_answer(&waiting), Some(Ok(address.clone())));
    for name in ["", &"n".repeat(513), &"n".repeat(5_000)] {
        let results = [
            shard.call(1, publish(name, "address")).err(),
            shard.call(1, Withdraw { name: name.to_owned() }).err(),
            shard.call(1, Lookup { name: name.to_owned(), timeout_ms: None }).err(),
            shard.call(1, Names { after: Some(name.to_owned()), limit: 1 }).err(),
        ];
        for result in results {
            assert!(matches!(result, Some(CallError::BadArgument { .. })), "{result:?}");
        }
    }
    let too_long = shard.call(1, publish("name", &"a".repeat(4_097)));
    assert_eq!(too_long, Err(CallError::TooLarge { max: 4_096 }));
    shard.expect(Withdraw { name }, true);
    assert!(shard.info().bytes < 1_000);
}

/// More than one failure-atomic block could answer.
#[test]
fn very_many_who_look_one_name_up_are_all_answered_and_others_are_not() {
    let mut shard = rendezvous();
    let address = "a".repeat(4_096);
    let calls: Vec<_> = (0..1_000)
        .map(|n| {
            let name = if n % 10 == 0 { "other" } else { "name" };
            lookup(&mut shard, n % 7 + 2, name)
        })
        .collect();
    shard.expect(publish("name", &address), ());
    for (n, call) in calls.iter().enumerate() {
        match n % 10 {
            0 => assert!(shard.waits(call)),
            _ => assert_eq!(shard.take_answer(call), Some(Ok(address.clone()))),
        }
    }
    shard.expect(Withdraw { name: "name".to_owned() }, true);
    let late = lookup(&mut shard, 2, "name");
    assert!(shard.waits(&late));
}

/// More than one failure-atomic block could take back.
#[test]
fn a_session_of_very_many_names_takes_all_of_them_with_it() {
    const NAMES: usize = 1_500;
    let mut shard = rendezvous();
    for n in 0..NAMES {
        assert_eq!(shard.call(2, publish(&format!("name {n}"), "address")), Ok(()));
    }
    shard.expect(publish("mine", "address"), ());
    let mut listed = 0;
    let mut after = None;
    loop {
        let page = shard.get(Names { after, limit: 100 });
        listed += page.entries.len();
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, NAMES + 1);
    shard.goodbye(2);
    let entries = vec![("mine".to_owned(), "address".to_owned())];
    shard.expect(Names { after: None, limit: 9 }, Page { entries, next: None });
}

#[test]
fn nothing_is_published_after_a_store_was_closed() {
    let mut shard = rendezvous();
    shard.expect(publish("name", "address"), ());
    lookup(&mut shard, 2, "other");
    let mut shard = shard.reopen();
    shard.expect(Names { after: None, limit: 9 }, Page { entries: Vec::new(), next: None });
    let waiting = lookup(&mut shard, 3, "name");
    assert!(shard.waits(&waiting));
}
