//! The shard itself: names, sessions, listing, and objects that fail. What objects do is tested beside them.

use super::*;
use crate::{
    Registry,
    shard::testing::{EPOCH, config},
    state::{Fields, Queue},
};
use abide_net::codec;
use abide_schema::{
    Method, ObjectName, ObjectType, Page, Wait,
    types::{atomic_byte_array, atomic_long, counter, cyclic_barrier, object, shard},
};

abide_schema::object_type! {
    /// An object that fails on demand, as a user's may.
    pub mod fragile = 0x9000, "Fragile";
    creation {}
    methods {
        /// Waits.
        0 Wait Await = wait() -> ();
        /// Panics.
        1 Write Break = fail();
        /// Begins to wait, then panics.
        2 Wait BreakLate = fail_late() -> ();
    }
}

#[derive(Debug)]
struct Fragile {
    waiters: Queue<()>,
}

impl SharedObject for Fragile {
    type Type = fragile::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Fragile { waiters: Queue::at(fields, 0) }
    }

    fn create(&mut self, _: &mut Context<'_, '_>, _: fragile::Creation) -> Result<(), CallError> {
        Ok(())
    }

    crate::calls!(self::fragile);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        self.waiters.remove(context, waiter)?;
        Ok(Leaves::Now)
    }
}

impl fragile::Methods<Context<'_, '_>> for Fragile {
    fn wait(&mut self, context: &mut Context<'_, '_>) -> Result<Wait<()>, CallError> {
        self.waiters.wait(context, &(), None)
    }

    fn fail(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.waiters.wake_all(context, crate::state::Answers::same(&())?)?;
        panic!("as asked");
    }

    fn fail_late(&mut self, context: &mut Context<'_, '_>) -> Result<Wait<()>, CallError> {
        let _: Wait<()> = self.waiters.wait(context, &(), None)?;
        panic!("as asked");
    }
}

const LEASE_US: u64 = 1_000_000;
const TERMS: SessionTerms = SessionTerms { lease_us: LEASE_US, is_seeded: false };

struct World {
    shard: Shard,
    out: Outbox,
    now_us: u64,
    sequence: u64,
}

/// How a call is made, where it is not the usual way.
#[derive(Clone, Copy)]
struct Way {
    session: u128,
    slot: u32,
    first: bool,
    epoch: u64,
    creation: CreationWay,
}

#[derive(Clone, Copy)]
enum CreationWay {
    Never,
    IfAbsent,
    Exactly,
}

const USUAL: Way = Way { session: 1, slot: 0, first: true, epoch: 0, creation: CreationWay::IfAbsent };

type Answers = Vec<(u32, Result<Vec<u8>, CallError>)>;

impl World {
    fn new() -> World {
        let registry = Registry::built_in().with::<Fragile>();
        let shard = Shard::open(ShardConfig { registry, ..config(None) }).unwrap();
        World { shard, out: Outbox::default(), now_us: 1_000_000, sequence: 0 }
    }

    fn apply(&mut self, event: Event<'_>) -> Answers {
        self.shard.apply(self.now_us, event, &mut self.out);
        let answer = |reply: &OutgoingReply| {
            let body = self.out.body(reply);
            (reply.slot, if reply.ok { Ok(body.to_vec()) } else { Err(codec::decode(body).unwrap()) })
        };
        let answers = self.out.replies().iter().map(answer).collect();
        self.out.clear();
        answers
    }

    fn send<M: Method>(
        &mut self,
        way: Way,
        key: &str,
        method: &M,
        creation: &<M::Object as ObjectType>::Creation,
    ) -> Answers {
        let (creation, arguments) = (codec::encode(creation).unwrap(), codec::encode(method).unwrap());
        self.sequence += 1;
        let call = Call {
            retry: false,
            first: way.first,
            type_id: M::Object::ID,
            method: M::ID,
            shard: 0,
            slot: way.slot,
            sequence: self.sequence,
            epoch: way.epoch,
            replicas: None,
            key,
            creation: match way.creation {
                CreationWay::Never => None,
                CreationWay::IfAbsent => Some((&creation, false)),
                CreationWay::Exactly => Some((&creation, true)),
            },
            arguments: &arguments,
        };
        let origin = Origin::default();
        self.apply(Event::Call { origin, session: SessionId(way.session), terms: TERMS, call })
    }

    fn call<M: Method>(
        &mut self,
        way: Way,
        key: &str,
        method: &M,
        creation: &<M::Object as ObjectType>::Creation,
    ) -> Result<M::Output, CallError> {
        let mut answers = self.send(way, key, method, creation);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0).1.map(|body| codec::decode(&body).unwrap())
    }

    fn add(&mut self, way: Way, delta: i64) -> Result<i64, CallError> {
        self.call(way, "x", &atomic_long::AddAndGet { delta }, &atomic_long::Creation { initial: 0 })
    }

    /// A method of all objects, sent to the AtomicLong `x`.
    fn about<M: Method>(&mut self, way: Way, method: &M) -> Result<M::Output, CallError> {
        let (creation, arguments) = (codec::encode(&0_i64).unwrap(), codec::encode(method).unwrap());
        self.sequence += 1;
        let call = Call {
            retry: false,
            first: way.first,
            type_id: atomic_long::Type::ID,
            method: M::ID,
            shard: 0,
            slot: way.slot,
            sequence: self.sequence,
            epoch: way.epoch,
            replicas: None,
            key: "x",
            creation: Some((&creation, false)),
            arguments: &arguments,
        };
        let origin = Origin::default();
        let mut answers =
            self.apply(Event::Call { origin, session: SessionId(way.session), terms: TERMS, call });
        answers.remove(0).1.map(|body| codec::decode(&body).unwrap())
    }
}

#[test]
fn an_object_of_an_earlier_epoch_is_lost_until_it_is_created_on_purpose() {
    let mut world = World::new();
    let old = Way { epoch: EPOCH - 1, ..USUAL };
    assert_eq!(world.add(old, 1), Err(CallError::Lost { epoch: EPOCH - 1 }));
    assert_eq!(world.about(old, &object::Exists {}), Err(CallError::Lost { epoch: EPOCH - 1 }));
    assert_eq!(world.about(old, &object::Info {}), Err(CallError::Lost { epoch: EPOCH - 1 }));
    assert_eq!(world.about(old, &object::Create {}), Ok(true));
    assert_eq!(world.add(old, 1), Ok(1));
}

#[test]
fn a_deleted_object_is_not_lost() {
    let mut world = World::new();
    let seen = Way { epoch: EPOCH, ..USUAL };
    assert_eq!(world.add(USUAL, 5), Ok(5));
    assert_eq!(world.about(seen, &object::Delete {}), Ok(true));
    assert_eq!(world.about(seen, &object::Delete {}), Ok(false));
    assert_eq!(world.about(seen, &object::Exists {}), Ok(false));
    assert_eq!(world.add(Way { creation: CreationWay::Never, ..seen }, 1), Err(CallError::NotFound));
    assert_eq!(world.add(seen, 1), Ok(1));
}

#[test]
fn who_insists_on_creation_arguments_finds_an_object_with_others_out() {
    let mut world = World::new();
    let barrier = |parties| cyclic_barrier::Creation { parties };
    let exactly = Way { creation: CreationWay::Exactly, ..USUAL };
    assert_eq!(world.call(exactly, "b", &cyclic_barrier::Parties {}, &barrier(3)), Ok(3));
    assert_eq!(world.call(exactly, "b", &cyclic_barrier::Parties {}, &barrier(3)), Ok(3));
    let other = world.call(exactly, "b", &cyclic_barrier::Parties {}, &barrier(4));
    assert_eq!(other, Err(CallError::AlreadyExists { with: r#"{"parties":3}"#.to_owned() }));
    assert_eq!(world.call(USUAL, "b", &cyclic_barrier::Parties {}, &barrier(4)), Ok(3));
}

#[test]
fn the_name_of_an_object_is_its_type_and_its_key() {
    let mut world = World::new();
    world.add(USUAL, 1).unwrap();
    world.call(USUAL, "x", &counter::Increment { n: 10 }, &counter::Creation { initial: 0 }).unwrap();
    assert_eq!(world.add(USUAL, 0), Ok(1));
    let zero = atomic_long::Creation { initial: 0 };
    assert!(matches!(world.call(USUAL, "", &atomic_long::Get {}, &zero), Err(CallError::BadArgument { .. })));
    let too_long = "k".repeat(513);
    assert_eq!(
        world.call(USUAL, &too_long, &atomic_long::Get {}, &zero),
        Err(CallError::TooLarge { max: 512 })
    );
}

#[test]
fn a_session_begins_with_its_first_contact_and_never_twice() {
    let mut world = World::new();
    let later = Way { first: false, ..USUAL };
    assert_eq!(world.add(later, 1), Err(CallError::SessionExpired), "the shard never knew this session");
    assert_eq!(world.add(USUAL, 1), Ok(1));
    assert_eq!(world.add(later, 1), Ok(2));
    world.now_us += LEASE_US - 1;
    assert_eq!(world.add(later, 1), Ok(3), "a lease ended early");
    world.now_us += LEASE_US;
    world.apply(Event::Tick);
    assert_eq!(world.add(later, 1), Err(CallError::SessionExpired));
    assert_eq!(world.add(USUAL, 1), Err(CallError::SessionExpired), "an expired session began again");
    assert_eq!(world.add(Way { session: 2, ..USUAL }, 1), Ok(4));
}

#[test]
fn a_heartbeat_is_a_sign_of_life() {
    let mut world = World::new();
    world.add(USUAL, 1).unwrap();
    for _ in 0..10 {
        world.now_us += LEASE_US - 1;
        world.apply(Event::Heartbeat { session: SessionId(1) });
        assert!(world.shard.may_be_alive(SessionId(1)));
    }
    assert_eq!(world.add(Way { first: false, ..USUAL }, 1), Ok(2));
    world.now_us += LEASE_US;
    world.apply(Event::Tick);
    assert!(!world.shard.may_be_alive(SessionId(1)));
}

/// An executor that slept over the end of a lease has to hear first what arrived meanwhile.
#[test]
fn a_sign_of_life_that_was_heard_late_counts_and_lost_time_is_forgiven() {
    let mut world = World::new();
    let later = Way { first: false, ..USUAL };
    world.add(USUAL, 1).unwrap();
    world.now_us += 3 * LEASE_US;
    assert_eq!(world.add(later, 1), Ok(2), "the call was there before the tick");
    world.apply(Event::Tick);
    let due_us = world.shard.next_lease_us().unwrap();
    world.now_us += 3 * LEASE_US;
    world.apply(Event::Late { by_us: world.now_us - due_us + 1 });
    world.apply(Event::Tick);
    assert_eq!(world.add(later, 1), Ok(3), "the shard had not listened");
    world.now_us += LEASE_US;
    world.apply(Event::Tick);
    assert_eq!(world.add(later, 1), Err(CallError::SessionExpired));
}

#[test]
fn time_never_goes_back() {
    let mut world = World::new();
    world.add(USUAL, 1).unwrap();
    world.now_us += LEASE_US;
    world.apply(Event::Tick);
    world.now_us = 0;
    assert_eq!(world.add(Way { first: false, ..USUAL }, 1), Err(CallError::SessionExpired));
}

#[test]
fn a_slot_takes_no_call_that_is_older_than_its_newest() {
    let mut world = World::new();
    world.add(USUAL, 1).unwrap();
    world.add(USUAL, 1).unwrap();
    world.sequence -= 2;
    assert_eq!(world.add(USUAL, 1), Err(CallError::StaleSequence { last: 2 }));
    world.sequence = 1;
    assert_eq!(world.add(USUAL, 1_000), Ok(2), "the newest call again gets its first result");
    world.sequence = 2;
    assert_eq!(world.add(USUAL, 0), Ok(2));
    let far = Way { slot: u32::MAX, ..USUAL };
    assert!(matches!(world.add(far, 1), Err(CallError::SessionsFull { .. })));
}

/// An answer is kept for a retry until its slot's next call: so many and so large ones are not free.
#[test]
fn the_answers_that_a_session_has_kept_are_bounded() {
    let mut world = World::new();
    let creation = atomic_byte_array::Creation { initial: vec![7; 8 << 20].as_slice().into() };
    let swap = atomic_byte_array::Swap { bytes: vec![7; 8 << 20].as_slice().into() };
    let mut swap_in =
        |slot, session| world.call(Way { slot, session, ..USUAL }, "x", &swap, &creation).map(drop);
    let granted = (0..20).take_while(|slot| swap_in(*slot, 1).is_ok()).count();
    assert!((8..=9).contains(&granted), "{granted} answers of 8 MiB were kept");
    assert!(matches!(swap_in(19, 1), Err(CallError::TooLarge { .. })));
    assert_eq!(swap_in(0, 1), Ok(()), "a slot's next call gives its own answer up");
    assert_eq!(swap_in(0, 2), Ok(()), "another session");
}

#[test]
fn a_listing_shows_each_object_that_stays_once_while_others_come_and_go() {
    let mut world = World::new();
    let zero = atomic_long::Creation { initial: 0 };
    let set = atomic_long::Set { value: 1 };
    for n in 0..100 {
        world.call(USUAL, &format!("stays {n}"), &set, &zero).unwrap();
        world.call(USUAL, &format!("goes {n}"), &set, &zero).unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    for round in 0.. {
        let list = shard::ListObjects {
            type_id: None,
            prefix: Some("stays".to_owned()),
            cursor: cursor.clone(),
            limit: 7,
        };
        let page: Page<ObjectName, Vec<u8>> = world.call(USUAL, "", &list, &shard::Creation {}).unwrap();
        seen.extend(page.entries.into_iter().map(|name| name.key));
        if round < 100 {
            let mut out = Outbox::default();
            world.shard.delete_named(false, 3, &format!("goes {round}"), &mut out).unwrap();
            world.call(USUAL, &format!("new {round}"), &set, &zero).unwrap();
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    seen.sort_unstable();
    let mut all: Vec<_> = (0..100).map(|n| format!("stays {n}")).collect();
    all.sort_unstable();
    assert_eq!(seen, all);
}

#[test]
fn a_method_that_panics_leaves_its_object_as_it_was_before_the_call() {
    let mut world = World::new();
    let way = |slot| Way { slot, ..USUAL };
    let panicked = Err(CallError::MethodPanicked { message: "as asked".to_owned() });
    assert_eq!(world.send(way(1), "f", &fragile::Await {}, &fragile::Creation {}), []);
    // It had let the first one go when it failed.
    let answers = world.send(way(2), "f", &fragile::Break {}, &fragile::Creation {});
    assert_eq!(answers, [(2, panicked.clone())]);
    assert_eq!(world.send(way(3), "f", &fragile::Await {}, &fragile::Creation {}), []);
    assert_eq!(world.shard.ledger.waiters.len(), 2);
    assert_eq!(world.add(USUAL, 1), Ok(1), "another object of the shard");
    let late = world.send(way(4), "late", &fragile::BreakLate {}, &fragile::Creation {});
    assert_eq!(late, [(4, panicked)]);
    assert_eq!(world.shard.ledger.waiters.len(), 2);
    let gone = world.apply(Event::Goodbye { session: SessionId(1) });
    assert_eq!(gone.len(), 2, "both were still waiting");
}

#[test]
fn a_method_or_a_type_that_is_not_there_is_an_error() {
    let mut world = World::new();
    let mut ask = |type_id, method| {
        world.sequence += 1;
        let call = Call {
            retry: false,
            first: true,
            type_id,
            method,
            shard: 0,
            slot: 0,
            sequence: world.sequence,
            epoch: 0,
            replicas: None,
            key: "x",
            creation: Some((&[], false)),
            arguments: &[],
        };
        let origin = Origin::default();
        world.apply(Event::Call { origin, session: SessionId(1), terms: TERMS, call }).remove(0).1
    };
    assert!(matches!(ask(3, 99), Err(CallError::NoSuchMethod { .. })));
    assert!(matches!(ask(999, 0), Err(CallError::NoSuchMethod { .. })));
    assert!(matches!(ask(0, 99), Err(CallError::NoSuchMethod { .. })));
    assert!(matches!(ask(3, 4), Err(CallError::BadArgument { .. })), "creation arguments that are none");
}

mod crashes;
