//! A shard with one object, and what a client and a clock would do to it.

use crate::{
    Event, Outbox, Registry, Shard,
    shard::{Origin, SavedObject, SessionId, ShardConfig},
};
use abide_net::{CallError, codec, frame::Call};
use abide_schema::{Method, ObjectInfo, ObjectType, types::object};
use std::{collections::BTreeMap, marker::PhantomData};

/// The lease of the sessions, far longer than any test that does not mean to let one expire.
pub(super) const LEASE_MS: u64 = 3_600_000;

const KEY: &str = "it";
const START_US: u64 = 1_700_000_000_000_000;

/// A shard with one object.
pub(super) struct TestShard {
    shard: Shard,
    out: Outbox,
    now_us: u64,
    type_id: u16,
    creation: Vec<u8>,
    /// Grows with each call, so that it does so in each slot.
    last_sequence: u64,
    /// The next unused slot of each session. Slot 0 is for calls that are not kept.
    next_slots: BTreeMap<u128, u32>,
    /// Grows with each time that a call is sent. Answers find their way back by it.
    last_attempt: u64,
    answers: BTreeMap<u64, Result<Vec<u8>, CallError>>,
}

/// A call that was sent, and will be answered once for each time that it was sent and not overtaken.
#[derive(Debug, Clone)]
pub(super) struct Sent<M> {
    pub(super) session: u128,
    slot: u32,
    sequence: u64,
    attempt: u64,
    method: u16,
    arguments: Vec<u8>,
    kind: PhantomData<M>,
}

fn config() -> ShardConfig {
    ShardConfig { shard: 0, epoch: 1, registry: Registry::built_in(), started_us: 0 }
}

impl TestShard {
    /// A shard whose object will be made by the first call.
    pub(super) fn new<T: ObjectType>(creation: T::Creation) -> TestShard {
        TestShard::untyped(T::ID, codec::encode(&creation).unwrap())
    }

    /// The same, with encoded arguments of any kind.
    pub(super) fn untyped(type_id: u16, creation: Vec<u8>) -> TestShard {
        TestShard {
            shard: Shard::new(config()),
            out: Outbox::default(),
            now_us: START_US,
            type_id,
            creation,
            last_sequence: 0,
            next_slots: BTreeMap::new(),
            last_attempt: 0,
            answers: BTreeMap::new(),
        }
    }

    /// Applies an event, and files the answers that it gave.
    fn apply(&mut self, event: Event<'_>) {
        self.shard.apply(self.now_us, event, &mut self.out);
        for reply in self.out.replies() {
            let body = self.out.body(reply);
            let result =
                if reply.ok { Ok(body.to_vec()) } else { Err(codec::decode(body).expect("an error")) };
            let before = self.answers.insert(reply.origin.connection, result);
            assert!(before.is_none(), "answered twice: {reply:?}, before {before:?}");
        }
        self.out.clear();
    }

    fn send<M>(&mut self, mut sent: Sent<M>) -> Sent<M> {
        self.last_attempt += 1;
        sent.attempt = self.last_attempt;
        let creation = self.creation.clone();
        let call = Call {
            retry: false,
            first: true,
            type_id: self.type_id,
            method: sent.method,
            shard: 0,
            slot: sent.slot,
            sequence: sent.sequence,
            epoch: 0,
            key: KEY,
            creation: Some((&creation, true)),
            arguments: &sent.arguments,
        };
        let origin = Origin { core: 0, connection: sent.attempt };
        let session = SessionId(sent.session);
        self.apply(Event::Call { origin, session, lease_us: LEASE_MS * 1_000, call });
        sent
    }

    /// Sends a new call in this slot.
    fn send_new<M: Method>(&mut self, session: u128, slot: u32, method: &M) -> Sent<M> {
        self.last_sequence += 1;
        let arguments = codec::encode(method).unwrap();
        let sequence = self.last_sequence;
        self.send(Sent { session, slot, sequence, attempt: 0, method: M::ID, arguments, kind: PhantomData })
    }

    /// Sends a call of any kind in a slot of its own.
    pub(super) fn call_untyped(&mut self, session: u128, method: u16, arguments: Vec<u8>) {
        self.last_sequence += 1;
        let (slot, sequence) = (self.last_sequence as u32, self.last_sequence);
        self.send::<()>(Sent { session, slot, sequence, attempt: 0, method, arguments, kind: PhantomData });
    }

    /// The errors among the answers that nobody has looked at.
    pub(super) fn all_errors(&self) -> Vec<CallError> {
        self.answers.values().filter_map(|answer| answer.as_ref().err().cloned()).collect()
    }

    /// Sends a call that may wait.
    pub(super) fn begin<M: Method>(&mut self, session: u128, method: M) -> Sent<M> {
        let next = self.next_slots.entry(session).or_insert(0);
        *next += 1;
        let slot = *next;
        self.send_new(session, slot, &method)
    }

    /// Makes a call that must not wait.
    pub(super) fn call<M: Method>(&mut self, session: u128, method: M) -> Result<M::Output, CallError> {
        let sent = self.send_new(session, 0, &method);
        self.take_answer(&sent).expect("the call waits")
    }

    /// Makes a call that must succeed, as session 1.
    pub(super) fn get<M: Method>(&mut self, method: M) -> M::Output {
        self.call(1, method).expect("the call fails")
    }

    /// Makes a call as session 1, and compares its result with a model's.
    pub(super) fn expect<M>(&mut self, method: M, expected: M::Output)
    where
        M: Method<Output: PartialEq + std::fmt::Debug> + Clone + std::fmt::Debug,
    {
        let result = self.call(1, method.clone());
        assert_eq!(result, Ok(expected), "{method:?}");
    }

    /// The answer to this attempt of a call, if it is there. It is there once.
    pub(super) fn take_answer<M: Method>(&mut self, sent: &Sent<M>) -> Option<Result<M::Output, CallError>> {
        let answer = self.answers.remove(&sent.attempt)?;
        Some(answer.map(|body| codec::decode(&body).expect("a result of the method's type")))
    }

    /// Whether this attempt has no answer yet.
    pub(super) fn waits<M>(&self, sent: &Sent<M>) -> bool {
        !self.answers.contains_key(&sent.attempt)
    }

    /// Sends the same call again, as a client does that reconnected.
    pub(super) fn retry<M: Clone>(&mut self, sent: &Sent<M>) -> Sent<M> {
        self.send(sent.clone())
    }

    /// Gives a call up.
    pub(super) fn cancel<M>(&mut self, sent: &Sent<M>) {
        let (session, slot, sequence) = (SessionId(sent.session), sent.slot, sent.sequence);
        self.apply(Event::Cancel { session, slot, sequence });
    }

    /// Ends a session in order.
    pub(super) fn goodbye(&mut self, session: u128) {
        self.apply(Event::Goodbye { session: SessionId(session) });
    }

    /// A sign of life.
    pub(super) fn heartbeat(&mut self, session: u128) {
        self.apply(Event::Heartbeat { session: SessionId(session) });
    }

    /// Lets time pass.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
        self.apply(Event::Tick);
    }

    /// What the shard knows of the object.
    pub(super) fn info(&mut self) -> ObjectInfo {
        self.get(object::Info {})
    }

    /// Answers that nobody has looked at.
    pub(super) fn answers_left(&self) -> usize {
        self.answers.len()
    }

    /// Closes the shard and opens another with what it saved.
    pub(super) fn reopen(self) -> TestShard {
        let TestShard { shard, mut out, .. } = self;
        let saved: Vec<SavedObject> = shard.close(&mut out);
        let mut shard = Shard::new(config());
        saved.iter().for_each(|saved| shard.restore(saved).expect("what was saved can be restored"));
        TestShard {
            shard,
            out: Outbox::default(),
            answers: BTreeMap::new(),
            now_us: self.now_us,
            type_id: self.type_id,
            creation: self.creation,
            last_sequence: self.last_sequence,
            next_slots: self.next_slots,
            last_attempt: self.last_attempt,
        }
    }
}
