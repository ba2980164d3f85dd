//! An embedded store, in memory or in a file.

use super::{Envelope, PATIENCE, Store};
use crate::model::{CallId, Session, world::Answers};
use abide_net::{
    CallError, Caller, MethodKind, Request,
    caller::{AsyncCaller, CallFuture, Creation},
    codec,
};
use abide_schema::{
    Holder, Leader, Method, ObjectType,
    types::{condition, election, mutex, rw_lock},
};
use abide_shards::embedded::{EmbeddedOptions, EmbeddedStore};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

/// Notices that some call was answered.
#[derive(Default)]
struct Bell {
    rang: Mutex<bool>,
    rings: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rang.lock().expect("nobody panics with it") = true;
        self.rings.notify_all();
    }
}

pub(crate) struct Embedded {
    directory: Option<tempfile::TempDir>,
    store: Option<EmbeddedStore>,
    sessions: BTreeMap<Session, (EmbeddedStore, String)>,
    pending: BTreeMap<CallId, (CallFuture<'static>, Envelope)>,
    answers: Answers,
    bell: Arc<Bell>,
}

impl Embedded {
    pub(crate) fn new(in_file: bool) -> Embedded {
        let directory = in_file.then(|| tempfile::tempdir().expect("a directory"));
        let mut store = Embedded {
            directory,
            store: None,
            sessions: BTreeMap::new(),
            pending: BTreeMap::new(),
            answers: Answers::new(),
            bell: Arc::default(),
        };
        store.open();
        store
    }

    fn open(&mut self) {
        let options = EmbeddedOptions { shards: Some(2), ..EmbeddedOptions::default() };
        let path: Option<PathBuf> = self.directory.as_ref().map(|directory| directory.path().join("data"));
        self.store = Some(match path {
            Some(path) => EmbeddedStore::open(&path, &options).expect("the store opens"),
            None => EmbeddedStore::in_memory(&options),
        });
    }

    /// Takes what has been answered.
    fn poll(&mut self) {
        let waker = Waker::from(self.bell.clone());
        let mut context = Context::from_waker(&waker);
        let mut ready = Vec::new();
        for (call, (future, _)) in &mut self.pending {
            if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
                ready.push((*call, answer));
            }
        }
        for (call, answer) in ready {
            let (_, envelope) = self.pending.remove(&call).expect("it was pending");
            let answer = answer.map(|(_, body)| self.with_numbers(&envelope, body));
            self.answers.push((call, answer));
        }
    }

    /// An answer with the sessions' names of the run for those of the store.
    fn with_numbers(&self, envelope: &Envelope, body: Vec<u8>) -> Vec<u8> {
        let rename = |name: &mut String| {
            let known = self.sessions.iter().find(|(_, (_, known))| known == name);
            if let Some((session, _)) = known {
                *name = format!("{:032x}", u128::from(*session));
            }
        };
        let decoded = "it is such a result";
        match (envelope.asked.type_id, envelope.asked.method) {
            (mutex::Type::ID, mutex::GetHolder::ID) | (condition::Type::ID, condition::GetHolder::ID) => {
                let mut holder: Option<Holder> = codec::decode(&body).expect(decoded);
                holder.iter_mut().for_each(|holder| rename(&mut holder.session));
                codec::encode(&holder).expect("it can be encoded")
            }
            (rw_lock::Type::ID, rw_lock::GetHolders::ID) => {
                let mut holders: Vec<Holder> = codec::decode(&body).expect(decoded);
                holders.iter_mut().for_each(|holder| rename(&mut holder.session));
                codec::encode(&holders).expect("it can be encoded")
            }
            (election::Type::ID, election::GetLeader::ID | election::Observe::ID) => {
                let mut leader: Option<Leader> = codec::decode(&body).expect(decoded);
                leader.iter_mut().for_each(|leader| rename(&mut leader.session));
                codec::encode(&leader).expect("it can be encoded")
            }
            _ => body,
        }
    }
}

/// A blocking call.
pub(crate) fn call_now(store: &EmbeddedStore, envelope: &Envelope) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    Caller::call(store, &request(envelope), &mut |result| body.extend_from_slice(result))?;
    Ok(body)
}

fn request(envelope: &Envelope) -> Request<'_> {
    Request {
        type_id: envelope.asked.type_id,
        key: &envelope.key,
        shard: None,
        method: envelope.asked.method,
        kind: envelope.asked.kind,
        creation: Creation::IfAbsent(&envelope.creation),
        epoch: 0,
        replicas: Some(envelope.replicas),
        arguments: &envelope.asked.arguments,
    }
}

/// What objects call a session.
fn name_of(store: &EmbeddedStore, session: Session) -> String {
    let key = format!("who is {session}");
    let call = |method, arguments: Vec<u8>| {
        let mut body = Vec::new();
        let request = Request {
            type_id: mutex::Type::ID,
            key: &key,
            shard: None,
            method,
            kind: MethodKind::Write,
            creation: Creation::IfAbsent(&[]),
            epoch: 0,
            replicas: Some(0),
            arguments: &arguments,
        };
        Caller::call(store, &request, &mut |result| body.extend_from_slice(result)).expect("the store works");
        body
    };
    call(mutex::TryLock::ID, codec::encode(&mutex::TryLock { owner: 0 }).expect("it can be encoded"));
    let holder: Option<Holder> = codec::decode(&call(mutex::GetHolder::ID, Vec::new())).expect("a holder");
    holder.expect("the caller holds it").session
}

impl Store for Embedded {
    fn begin(&mut self, session: Session) {
        let store = self.store.as_ref().expect("it is open").session();
        let name = name_of(&store, session);
        self.sessions.insert(session, (store, name));
    }

    fn start(&mut self, envelope: &Envelope) {
        let (store, _) = &self.sessions[&envelope.session];
        if envelope.asked.kind != MethodKind::Wait && envelope.call.0.is_multiple_of(2) {
            let answer = call_now(store, envelope).map(|body| self.with_numbers(envelope, body));
            self.answers.push((envelope.call, answer));
        } else {
            let future = AsyncCaller::call(store, &request(envelope));
            self.pending.insert(envelope.call, (future, envelope.clone()));
        }
        self.poll();
    }

    fn retry(&mut self, _: &Envelope) -> bool {
        false
    }

    fn cancel(&mut self, envelope: &Envelope) -> bool {
        self.pending.remove(&envelope.call);
        false
    }

    fn end(&mut self, session: Session) -> bool {
        let (store, _) = &self.sessions[&session];
        store.end_session().expect("it ends");
        self.poll();
        self.sessions.remove(&session);
        true
    }

    fn pass_until(&mut self, _: u64) {}

    fn restart(&mut self, in_order: bool, _: &[Envelope]) {
        self.pending.clear();
        if in_order {
            self.store.as_ref().expect("it is open").close().expect("it closes");
        }
        self.sessions.clear();
        self.store = None;
        self.open();
    }

    fn answers(&mut self, expected: usize) -> Answers {
        let until = Instant::now() + PATIENCE;
        loop {
            *self.bell.rang.lock().expect("nobody panics with it") = false;
            self.poll();
            if self.answers.len() >= expected || Instant::now() >= until {
                return std::mem::take(&mut self.answers);
            }
            let rang = self.bell.rang.lock().expect("nobody panics with it");
            let left = until.saturating_duration_since(Instant::now());
            drop(
                self.bell.rings.wait_timeout_while(rang, left, |rang| !*rang).expect("nobody panics with it"),
            );
        }
    }
}
