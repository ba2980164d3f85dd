//! A shard with one object, and what a client and a clock would do to it.
//!
//! There are two of them: one keeps the object in ordinary memory, its twin in a region, and the twin forgets all that it has in ordinary
//! memory every few events, as a node does that is killed and started again. Both must give the same answers.

use crate::{
    Event, Outbox, Shard,
    shard::{
        Home, Origin, SessionId, SessionTerms, ShardConfig,
        testing::{config, ephemeral_shard, persistent_home},
    },
};
use abide_net::{CallError, codec, frame::Call};
use abide_schema::{
    BlockedBy, Method, ObjectInfo, ObjectType,
    types::{object, shard},
};
use std::{collections::BTreeMap, marker::PhantomData};

/// The lease of the sessions, far longer than any test that does not mean to let one expire.
pub(super) const LEASE_MS: u64 = 3_600_000;

const KEY: &str = "it";
const START_US: u64 = 1_700_000_000_000_000;

/// Events after which the persistent twin is opened anew.
const EVENTS_A_RUN: u32 = 7;

type Answer = Result<Vec<u8>, CallError>;

/// One of the twins.
struct Twin {
    shard: Option<Shard>,
    out: Outbox,
    /// Where the objects of a persistent twin are.
    home: Option<Home>,
    /// Events until it is opened anew.
    left: u32,
    /// The time of the last event.
    last_us: u64,
    /// Calls that are not answered yet, which their clients ask for again after a restart.
    asked: BTreeMap<u64, Asked>,
    /// The newest attempt in each slot of each session.
    newest: BTreeMap<(u128, u32), u64>,
}

/// A call that is not answered yet.
struct Asked {
    name: (u128, u32),
    sequence: u64,
    type_id: u16,
    method: u16,
    creation: Vec<u8>,
    arguments: Vec<u8>,
}

impl Asked {
    fn event(&self, attempt: u64) -> Event<'_> {
        let (session, slot) = self.name;
        let call = Call {
            retry: true,
            first: true,
            type_id: self.type_id,
            method: self.method,
            shard: 0,
            slot,
            sequence: self.sequence,
            epoch: 0,
            replicas: None,
            key: KEY,
            creation: Some((&self.creation, true)),
            arguments: &self.arguments,
        };
        let origin = Origin { core: 0, connection: attempt };
        Event::Call { origin, session: SessionId(session), terms: TERMS, call }
    }
}

const TERMS: SessionTerms = SessionTerms { lease_us: LEASE_MS * 1_000, is_seeded: false };

impl Twin {
    fn ephemeral() -> Twin {
        Twin {
            shard: Some(ephemeral_shard()),
            out: Outbox::default(),
            home: None,
            left: 0,
            last_us: 0,
            asked: BTreeMap::new(),
            newest: BTreeMap::new(),
        }
    }

    fn persistent() -> Twin {
        let mut twin = Twin {
            shard: None,
            out: Outbox::default(),
            home: Some(persistent_home()),
            left: EVENTS_A_RUN,
            last_us: START_US,
            asked: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        twin.open(START_US);
        twin
    }

    /// Opens the shard on what its home holds.
    fn open(&mut self, now_us: u64) {
        self.shard = None;
        let config = ShardConfig { started_us: now_us, ..config(self.home.clone()) };
        self.shard = Some(Shard::open(config).expect("it opens again"));
    }

    /// Applies an event, and gives the answers by the connections that they go to.
    fn apply(&mut self, now_us: u64, event: Event<'_>) -> Vec<(u64, Answer)> {
        let mut answers = Vec::new();
        if self.home.is_some() {
            self.left -= 1;
            if self.left == 0 {
                // A restart looks at each call that waits.
                self.left = EVENTS_A_RUN + 4 * self.asked.len() as u32;
                // At the time before: what is due now is due after the restart.
                self.open(self.last_us);
                answers = self.ask_again(self.last_us);
            }
            if let Event::Call { origin, session, call, .. } = event {
                let asked = Asked {
                    name: (session.0, call.slot),
                    sequence: call.sequence,
                    type_id: call.type_id,
                    method: call.method,
                    creation: call.creation.map_or_else(Vec::new, |(creation, _)| creation.to_vec()),
                    arguments: call.arguments.to_vec(),
                };
                if let Some(before) = self.newest.insert(asked.name, origin.connection) {
                    self.asked.remove(&before);
                }
                self.asked.insert(origin.connection, asked);
            }
        }
        self.last_us = now_us;
        answers.extend(self.apply_once(now_us, event));
        for (attempt, _) in &answers {
            self.asked.remove(attempt);
        }
        answers
    }

    /// What clients do whose node was started again. Calls that waited wait on, but for those whose time is over just now.
    fn ask_again(&mut self, now_us: u64) -> Vec<(u64, Answer)> {
        let asked = std::mem::take(&mut self.asked);
        let mut answers = Vec::new();
        for (attempt, asked) in &asked {
            answers.extend(self.apply_once(now_us, asked.event(*attempt)));
        }
        self.asked = asked;
        // Who is answered before asking again is told when asking.
        answers.retain(|(attempt, _)| *attempt != 0);
        answers
    }

    fn apply_once(&mut self, now_us: u64, event: Event<'_>) -> Vec<(u64, Answer)> {
        let shard = self.shard.as_mut().expect("it is open");
        shard.apply(now_us, event, &mut self.out);
        shard.commit(&mut self.out).expect("its memory does not fail");
        let answer = |reply: &crate::shard::OutgoingReply| {
            let body = self.out.body(reply);
            let result =
                if reply.ok { Ok(body.to_vec()) } else { Err(codec::decode(body).expect("an error")) };
            (reply.origin.connection, result)
        };
        let answers = self.out.replies().iter().map(answer).collect();
        self.out.clear();
        answers
    }
}

/// A shard with one object, twice.
pub(super) struct TestShard {
    /// None after a store was closed, which only a persistent object outlives.
    ephemeral: Option<Twin>,
    persistent: Twin,
    now_us: u64,
    type_id: u16,
    creation: Vec<u8>,
    /// Grows with each call, so that it does so in each slot.
    last_sequence: u64,
    /// The next unused slot of each session. Slot 0 is for calls that are not kept.
    next_slots: BTreeMap<u128, u32>,
    /// Grows with each time that a call is sent. Answers find their way back by it.
    last_attempt: u64,
    answers: BTreeMap<u64, Answer>,
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

impl<M> Sent<M> {
    /// The same as a call of another kind, of which this is one.
    pub(super) fn of_kind<N>(self) -> Sent<N> {
        let Sent { session, slot, sequence, attempt, method, arguments, kind: PhantomData } = self;
        Sent { session, slot, sequence, attempt, method, arguments, kind: PhantomData }
    }
}

impl TestShard {
    /// A shard whose object will be made by the first call.
    pub(super) fn new<T: ObjectType>(creation: T::Creation) -> TestShard {
        TestShard::untyped(T::ID, codec::encode(&creation).unwrap())
    }

    /// The same, with encoded arguments of any kind.
    pub(super) fn untyped(type_id: u16, creation: Vec<u8>) -> TestShard {
        TestShard {
            ephemeral: Some(Twin::ephemeral()),
            persistent: Twin::persistent(),
            now_us: START_US,
            type_id,
            creation,
            last_sequence: 0,
            next_slots: BTreeMap::new(),
            last_attempt: 0,
            answers: BTreeMap::new(),
        }
    }

    /// The same, but the persistent twin is not opened anew: with that, leases begin anew.
    pub(super) fn steady(mut self) -> TestShard {
        self.persistent.left = u32::MAX;
        self
    }

    /// Applies an event to both, and files the answers that it gave.
    fn apply(&mut self, event: Event<'_>) {
        let mut answers = self.persistent.apply(self.now_us, event);
        if let Some(ephemeral) = &mut self.ephemeral {
            let mut others = ephemeral.apply(self.now_us, event);
            // Those of clients that asked again come first.
            answers.sort_by_key(|(attempt, _)| *attempt);
            others.sort_by_key(|(attempt, _)| *attempt);
            // What is known of an object says where it lives.
            let is_info = matches!(event, Event::Call { call, .. } if call.method == object::Info::ID);
            if !is_info {
                assert_eq!(
                    others, answers,
                    "an ephemeral object answers (left) other than a persistent one: {event:?}"
                );
            }
        }
        for (attempt, answer) in answers {
            let before = self.answers.insert(attempt, answer);
            assert!(before.is_none(), "answered twice: {attempt}, before {before:?}");
        }
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
            replicas: None,
            key: KEY,
            creation: Some((&creation, true)),
            arguments: &sent.arguments,
        };
        let origin = Origin { core: 0, connection: sent.attempt };
        let session = SessionId(sent.session);
        self.apply(Event::Call { origin, session, terms: TERMS, call });
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

    /// Who holds what the calls wait for, as whoever asks for all calls that wait is told.
    pub(super) fn holders(&mut self) -> Vec<BlockedBy> {
        let type_id = std::mem::replace(&mut self.type_id, shard::Type::ID);
        let page = self.get(shard::Waits { cursor: 0, limit: 1 });
        self.type_id = type_id;
        page.entries.into_iter().next().expect("a call waits").holders
    }

    /// Answers that nobody has looked at.
    pub(super) fn answers_left(&self) -> usize {
        self.answers.len()
    }

    /// Closes the store in order, and opens it again: only the persistent object is still there.
    pub(super) fn reopen(mut self) -> TestShard {
        let shard = self.persistent.shard.as_mut().expect("it is open");
        shard.end_sessions(self.now_us, &mut self.persistent.out);
        shard.commit(&mut self.persistent.out).expect("its memory does not fail");
        self.persistent.out.clear();
        // Their sessions are over: nobody asks for them again.
        self.persistent.asked.clear();
        self.persistent.open(self.now_us);
        TestShard { ephemeral: None, answers: BTreeMap::new(), ..self }
    }
}
