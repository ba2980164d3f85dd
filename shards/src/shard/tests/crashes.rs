//! What a shard's books are for: restarts, and crashes in the middle of what takes several blocks.

use super::super::{
    blocks::About,
    records::{Ends, SessionRecord},
    testing::{config, persistent_home},
    *,
};
use abide_net::codec;
use abide_schema::{
    Method, ObjectType,
    types::{atomic_long, count_down_latch as latch, mutex, object},
};

const LEASE_US: u64 = 1_000_000;

/// A persistent shard, and the region that outlives it.
struct Node {
    home: Home,
    shard: Shard,
    out: Outbox,
    now_us: u64,
    /// The answers by connection, which is the number of the asking.
    answers: Vec<(u64, Result<Vec<u8>, CallError>)>,
    asked: u64,
}

#[derive(Clone, Copy)]
struct Asker {
    session: u128,
    slot: u32,
    sequence: u64,
    is_seeded: bool,
}

fn asker(session: u128, slot: u32, sequence: u64) -> Asker {
    Asker { session, slot, sequence, is_seeded: false }
}

fn seeded(sequence: u64) -> Asker {
    Asker { session: 77, slot: 0, sequence, is_seeded: true }
}

impl Node {
    fn new() -> Node {
        let home = persistent_home();
        let shard = Shard::open(config(Some(home.clone()))).unwrap();
        Node { home, shard, out: Outbox::default(), now_us: 1, answers: Vec::new(), asked: 0 }
    }

    /// What a kill leaves, opened again.
    fn restart(self) -> Node {
        let Node { home, shard, now_us, asked, .. } = self;
        drop(shard);
        let config = ShardConfig { started_us: now_us, epoch: 8, ..config(Some(home.clone())) };
        Node {
            shard: Shard::open(config).unwrap(),
            home,
            out: Outbox::default(),
            now_us,
            answers: Vec::new(),
            asked,
        }
    }

    fn apply(&mut self, event: Event<'_>) {
        self.shard.apply(self.now_us, event, &mut self.out);
        self.take();
    }

    fn take(&mut self) {
        self.shard.commit(&mut self.out).unwrap();
        for reply in self.out.replies() {
            let body = self.out.body(reply);
            let answer = if reply.ok { Ok(body.to_vec()) } else { Err(codec::decode(body).unwrap()) };
            self.answers.push((reply.origin.connection, answer));
        }
        self.out.clear();
    }

    /// Makes a call on the only object of its type; gives its answer if it has one at once.
    fn ask<M: Method>(
        &mut self,
        asker: Asker,
        method: &M,
        creation: &<M::Object as ObjectType>::Creation,
    ) -> Option<Result<M::Output, CallError>> {
        self.ask_about(M::Object::ID, asker, method, &codec::encode(creation).unwrap())
    }

    fn ask_about<M: Method>(
        &mut self,
        type_id: u16,
        asker: Asker,
        method: &M,
        creation: &[u8],
    ) -> Option<Result<M::Output, CallError>> {
        let arguments = codec::encode(method).unwrap();
        self.asked += 1;
        let connection = self.asked;
        let call = Call {
            retry: false,
            first: true,
            type_id,
            method: M::ID,
            shard: 0,
            slot: asker.slot,
            sequence: asker.sequence,
            epoch: 0,
            replicas: Some(1),
            key: "it",
            creation: Some((creation, false)),
            arguments: &arguments,
        };
        let terms = SessionTerms { lease_us: LEASE_US, is_seeded: asker.is_seeded };
        let origin = Origin { core: 0, connection };
        self.apply(Event::Call { origin, session: SessionId(asker.session), terms, call });
        let at = self.answers.iter().position(|(to, _)| *to == connection)?;
        Some(self.answers.remove(at).1.map(|body| codec::decode(&body).unwrap()))
    }

    fn add(&mut self, asker: Asker, delta: i64) -> Result<i64, CallError> {
        let zero = atomic_long::Creation { initial: 0 };
        self.ask(asker, &atomic_long::AddAndGet { delta }, &zero).expect("it does not wait")
    }

    fn long<M: Method<Object = atomic_long::Type>>(
        &mut self,
        asker: Asker,
        method: &M,
    ) -> Result<M::Output, CallError> {
        self.ask(asker, method, &atomic_long::Creation { initial: 0 }).expect("it does not wait")
    }
}

const WAIT: latch::Await = latch::Await { timeout_ms: None };
const ONE: latch::Creation = latch::Creation { count: 1 };
const LOCK: mutex::Lock = mutex::Lock { owner: 0, timeout_ms: None };

#[test]
#[should_panic(expected = "before what they acknowledge is durable")]
fn no_executor_can_send_an_answer_before_its_commit() {
    let mut node = Node::new();
    let arguments = codec::encode(&atomic_long::AddAndGet { delta: 1 }).unwrap();
    let creation = codec::encode(&atomic_long::Creation { initial: 0 }).unwrap();
    let call = Call {
        retry: false,
        first: true,
        type_id: atomic_long::Type::ID,
        method: atomic_long::AddAndGet::ID,
        shard: 0,
        slot: 0,
        sequence: 1,
        epoch: 0,
        replicas: Some(1),
        key: "it",
        creation: Some((&creation, false)),
        arguments: &arguments,
    };
    let terms = SessionTerms { lease_us: LEASE_US, is_seeded: false };
    let event = Event::Call { origin: Origin::default(), session: SessionId(1), terms, call };
    node.shard.apply(1, event, &mut node.out);
    let _ = node.out.replies();
}

#[test]
fn a_call_that_is_asked_again_after_a_restart_gets_its_first_result_also_if_that_is_an_error() {
    let mut node = Node::new();
    assert_eq!(node.add(asker(1, 0, 1), 5), Ok(5));
    let denied = node.ask(asker(1, 1, 2), &mutex::Unlock { owner: 0, token: None }, &mutex::Creation {});
    assert!(matches!(denied, Some(Err(CallError::Denied { .. }))));
    let mut node = node.restart();
    assert_eq!(node.add(asker(1, 0, 1), 5), Ok(5), "it was made twice");
    // By now it would succeed.
    assert_eq!(node.ask(asker(1, 2, 3), &LOCK, &mutex::Creation {}), Some(Ok(1)));
    let again = node.ask(asker(1, 1, 2), &mutex::Unlock { owner: 0, token: None }, &mutex::Creation {});
    assert_eq!(again, denied);
    assert_eq!(node.add(asker(1, 0, 4), 1), Ok(6));
    assert_eq!(node.add(asker(1, 0, 1), 5), Err(CallError::StaleSequence { last: 4 }));
}

#[test]
fn a_queue_that_was_let_go_before_a_crash_is_answered_after_it() {
    const WAITERS: u32 = 1_000;
    let mut node = Node::new();
    for slot in 0..WAITERS {
        assert_eq!(node.ask(asker(1, slot, 1), &WAIT, &ONE), None);
    }
    // The block of the call that lets them go, and nothing after it.
    let object = node.shard.find_named(latch::Type::ID, "it", Some(1)).unwrap().unwrap();
    let known = *node.shard.known(latch::Type::ID).unwrap();
    let arguments = codec::encode(&latch::CountDown { n: 1 }).unwrap();
    node.shard
        .run_alone(About::object(object, "it"), &mut node.out, |context| {
            (known.call)(object.fields(), context, latch::CountDown::ID, &arguments, &mut Vec::new())
                .map(drop)
        })
        .unwrap();
    node.take();
    assert_eq!(node.answers, [], "they were let go in that block");
    let mut node = node.restart();
    for slot in 0..WAITERS {
        assert_eq!(node.ask(asker(1, slot, 1), &WAIT, &ONE), Some(Ok(())), "slot {slot}");
    }
    assert_eq!(node.shard.ledger.waiters.len(), 0);
    let objects = node.shard.space(true).objects().unwrap();
    assert_eq!(objects, 1, "the release is gone");
}

#[test]
fn a_call_whose_object_was_deleted_before_a_crash_ends_as_broken() {
    let mut node = Node::new();
    assert_eq!(node.ask(asker(1, 0, 1), &WAIT, &ONE), None);
    let object = node.shard.find_named(latch::Type::ID, "it", Some(1)).unwrap().unwrap();
    node.shard
        .run_alone(About::object(object, "it"), &mut node.out, |context| {
            super::super::about::remove(context, object)
        })
        .unwrap();
    node.take();
    let mut node = node.restart();
    assert_eq!(node.ask(asker(1, 0, 1), &WAIT, &ONE), Some(Err(CallError::Broken)));
    assert_eq!(node.ask(asker(1, 0, 2), &WAIT, &ONE), None, "a new object");
}

#[test]
fn the_end_of_a_session_goes_on_after_a_crash() {
    let mut node = Node::new();
    assert_eq!(node.ask(asker(1, 0, 1), &LOCK, &mutex::Creation {}), Some(Ok(1)));
    assert_eq!(node.ask(asker(2, 0, 1), &LOCK, &mutex::Creation {}), None);
    let terms = node.shard.ledger.sessions.terms(SessionId(1)).unwrap();
    let record = SessionRecord { ends: Ends::Now { expired: true }, ..SessionRecord::new(terms, 1) };
    node.shard
        .run_alone(About::books(true), &mut node.out, |context| {
            context.books.put_session(context.block, SessionId(1), &record)
        })
        .unwrap();
    node.take();
    let mut node = node.restart();
    assert_eq!(node.ask(asker(2, 0, 1), &LOCK, &mutex::Creation {}), Some(Ok(2)), "the lock was given back");
    assert_eq!(node.add(asker(1, 3, 9), 1), Err(CallError::SessionExpired));
}

#[test]
fn a_session_that_expired_is_not_taken_for_a_new_one_after_a_restart() {
    let mut node = Node::new();
    assert_eq!(node.add(asker(1, 0, 1), 1), Ok(1));
    node.now_us += LEASE_US;
    node.apply(Event::Tick);
    let mut node = node.restart();
    assert_eq!(node.add(asker(1, 0, 1), 1), Err(CallError::SessionExpired));
    // Long after, nobody asks any more, and nothing is kept.
    node.now_us += 2 * sessions::TOMBSTONE_US;
    node.apply(Event::Tick);
    let space = node.shard.space(true);
    assert_eq!(space.look(|block| space.books.sessions(block)).unwrap(), []);
}

#[test]
fn what_a_living_session_holds_and_waits_for_is_as_it_was_after_a_restart() {
    let mut node = Node::new();
    assert_eq!(node.ask(asker(1, 0, 1), &LOCK, &mutex::Creation {}), Some(Ok(1)));
    for session in [2, 3] {
        assert_eq!(node.ask(asker(session, 0, 1), &LOCK, &mutex::Creation {}), None);
    }
    let mut node = node.restart();
    // Whoever reconnects first, the order of asking counts.
    assert_eq!(node.ask(asker(3, 0, 1), &LOCK, &mutex::Creation {}), None);
    let unlock = mutex::Unlock { owner: 0, token: None };
    assert_eq!(node.ask(asker(1, 1, 2), &unlock, &mutex::Creation {}), Some(Ok(())));
    assert_eq!(node.ask(asker(2, 0, 1), &LOCK, &mutex::Creation {}), Some(Ok(2)));
    // It dies, and the next one's answer comes to where it asked last.
    node.answers.clear();
    node.apply(Event::Goodbye { session: SessionId(2) });
    assert_eq!(node.answers.len(), 1);
    assert_eq!(node.answers[0].1.as_ref().map(|body| codec::decode(body).unwrap()), Ok(3_u64));
}

#[test]
fn a_seeded_session_gets_the_recorded_answers_of_reads_writes_and_errors_and_no_others() {
    let mut node = Node::new();
    let run = |node: &mut Node| {
        let added = node.add(seeded(1), 1);
        let seen = node.long(seeded(2), &atomic_long::Get {});
        let unlock = mutex::Unlock { owner: 0, token: None };
        let denied = node.ask(seeded(3), &unlock, &mutex::Creation {});
        (added, seen, denied)
    };
    let first = run(&mut node);
    assert_eq!((&first.0, &first.1), (&Ok(1), &Ok(1)));
    assert_eq!(node.add(asker(1, 0, 1), 10), Ok(11));
    assert_eq!(run(&mut node), first);
    let mut node = node.restart();
    assert_eq!(run(&mut node), first);
    // A program that does something else is told so, and nothing is done.
    assert!(matches!(node.add(seeded(1), 2), Err(CallError::BadArgument { .. })));
    assert_eq!(node.add(seeded(4), 100), Ok(111));
    // Its lease ends, but it can still be run again, and has a lease then; long after, it is forgotten.
    node.now_us += 2 * LEASE_US;
    node.apply(Event::Tick);
    assert_eq!(run(&mut node), first);
    assert_eq!(node.shard.next_lease_us(), Some(node.now_us + LEASE_US));
    node.now_us += 2 * LEASE_US;
    node.apply(Event::Tick);
    node.now_us += 2 * sessions::SEEDED_SLEEP_US;
    node.apply(Event::Tick);
    assert_eq!(node.add(asker(3, 0, 1), 0), Ok(111));
    let space = node.shard.space(true);
    let left = space.look(|block| space.books.sessions(block)).unwrap();
    assert!(left.iter().all(|(id, record)| *id != SessionId(77) || record.ends != Ends::No), "{left:?}");
}

#[test]
fn what_a_seeded_session_holds_is_given_back_when_its_lease_ends() {
    let mut node = Node::new();
    assert_eq!(node.ask(seeded(1), &LOCK, &mutex::Creation {}), Some(Ok(1)));
    assert_eq!(node.ask(asker(2, 0, 1), &LOCK, &mutex::Creation {}), None);
    node.now_us += LEASE_US / 2;
    node.apply(Event::Heartbeat { session: SessionId(2) });
    node.now_us += LEASE_US / 2;
    node.apply(Event::Tick);
    assert_eq!(node.answers.len(), 1, "the lock went to the next");
    assert_eq!(node.ask(seeded(1), &LOCK, &mutex::Creation {}), Some(Ok(1)), "and the answer is kept");
}

#[test]
fn an_object_expires_on_time_also_across_a_restart_and_watchers_hear_of_it() {
    let mut node = Node::new();
    let creation = codec::encode(&0_i64).unwrap();
    let long = atomic_long::Type::ID;
    assert_eq!(node.add(asker(1, 0, 1), 1), Ok(1));
    let expire = object::ExpireIn { ms: 50 };
    assert_eq!(node.ask_about(long, asker(1, 0, 2), &expire, &creation), Some(Ok(false)));
    assert_eq!(
        node.ask_about(long, asker(1, 0, 3), &object::ExpireIn { ms: 100 }, &creation),
        Some(Ok(true))
    );
    let watch = object::Watch { version: 1, timeout_ms: None };
    assert_eq!(node.ask_about(long, asker(1, 1, 1), &watch, &creation), None);
    let mut node = node.restart();
    assert_eq!(node.shard.next_deadline_us(), Some(1 + 100_000));
    node.now_us += 60_000;
    assert_eq!(node.long(asker(1, 0, 4), &atomic_long::Get {}), Ok(1));
    node.now_us += 40_000;
    node.apply(Event::Tick);
    assert_eq!(node.ask_about(long, asker(1, 1, 1), &watch, &creation), Some(Err(CallError::Broken)));
    assert_eq!(node.ask_about(long, asker(1, 0, 5), &object::Exists {}, &creation), Some(Ok(false)));
    assert!(node.shard.space(true).next_expiry_us.is_none());
}

#[test]
fn a_watcher_hears_of_each_change_that_it_has_not_seen() {
    let mut node = Node::new();
    let creation = codec::encode(&0_i64).unwrap();
    let long = atomic_long::Type::ID;
    let watch = |version| object::Watch { version, timeout_ms: Some(10) };
    assert_eq!(node.add(asker(1, 0, 1), 1), Ok(1));
    assert_eq!(node.ask_about(long, asker(2, 0, 1), &watch(0), &creation), Some(Ok(1)));
    assert_eq!(node.ask_about(long, asker(2, 0, 2), &watch(1), &creation), None);
    assert_eq!(node.long(asker(1, 0, 2), &atomic_long::Get {}), Ok(1), "a read is no change");
    assert_eq!(node.answers, []);
    let mut node = node.restart();
    assert_eq!(node.add(asker(1, 0, 3), 1), Ok(2));
    assert_eq!(node.ask_about(long, asker(2, 0, 2), &watch(1), &creation), Some(Ok(2)));
    assert_eq!(node.ask_about(long, asker(2, 0, 3), &watch(2), &creation), None);
    node.now_us += 10_000;
    node.apply(Event::Tick);
    assert_eq!(node.answers.pop().unwrap().1, Err(CallError::TimedOut));
}
