//! One object and the calls that wait in it, by the book.

use super::{Answer, AnyModel, CallId, Gone, Hints, Moment, Session, create};
use crate::asked::Asked;
use abide_net::{CallError, MethodKind, codec};
use abide_schema::{
    Method, ObjectInfo, Progress,
    types::{find_type_id, object},
};
use std::{collections::BTreeMap, sync::Arc};

/// A call that waits.
#[derive(Debug, Clone)]
struct Waiting {
    session: Session,
    deadline_us: Option<u64>,
    /// For one that waits for a newer version than this: the object knows nothing of it.
    watches: Option<u64>,
}

/// What the callers of one object are to be told.
pub(crate) struct World {
    pub(crate) type_id: u16,
    creation: Vec<u8>,
    object: Option<Box<dyn AnyModel>>,
    /// What becomes of a new model, for models that are wrong on purpose.
    alter: Alter,
    waiting: BTreeMap<CallId, Waiting>,
    /// How many calls that may change the object were made on it.
    version: u64,
    expires_us: Option<u64>,
    pub(crate) now_us: u64,
}

type Alter = Arc<dyn Fn(Box<dyn AnyModel>) -> Box<dyn AnyModel> + Send + Sync>;

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("World").field(&self.object).field(&self.waiting).field(&self.version).finish()
    }
}

impl Clone for World {
    fn clone(&self) -> Self {
        World {
            object: self.object.as_ref().map(|object| object.copy()),
            creation: self.creation.clone(),
            waiting: self.waiting.clone(),
            alter: self.alter.clone(),
            ..*self
        }
    }
}

/// Answers, and to which calls.
pub(crate) type Answers = Vec<(CallId, Answer)>;

fn encoded<T: serde::Serialize>(result: &T) -> Answer {
    Ok(codec::encode(result).expect("results can be encoded"))
}

impl World {
    /// An object that is not there yet. Each call on it brings these arguments, to create it with if need be.
    pub(crate) fn new(type_id: u16, creation: &[u8], now_us: u64) -> World {
        World {
            type_id,
            creation: creation.to_vec(),
            object: None,
            alter: Arc::new(|model| model),
            waiting: BTreeMap::new(),
            version: 0,
            expires_us: None,
            now_us,
        }
    }

    /// The same with an altered model.
    pub(crate) fn altered(
        mut self,
        alter: impl Fn(Box<dyn AnyModel>) -> Box<dyn AnyModel> + Send + Sync + 'static,
    ) -> World {
        self.alter = Arc::new(alter);
        self
    }

    /// Somebody makes a call. Gives all answers that come of it, its own too unless it waits.
    pub(crate) fn call(&mut self, session: Session, call: CallId, asked: &Asked) -> Answers {
        let mut answers = match asked.method {
            object::Exists::ID => vec![(call, encoded(&self.object.is_some()))],
            object::Create::ID => vec![(call, self.create())],
            object::Delete::ID => {
                let existed = self.object.is_some();
                let mut answers = self.delete();
                answers.push((call, encoded(&existed)));
                answers
            }
            object::Info::ID | object::ExpireIn::ID | object::Persist::ID | object::Watch::ID
                if self.object.is_none() =>
            {
                vec![(call, Err(CallError::NotFound))]
            }
            object::Info::ID => vec![(call, encoded(&self.info()))],
            object::ExpireIn::ID => {
                let object::ExpireIn { ms } = codec::decode(&asked.arguments).expect("its arguments");
                let at_us = self.now_us.saturating_add(ms.saturating_mul(1_000));
                vec![(call, encoded(&self.expires_us.replace(at_us).is_some()))]
            }
            object::Persist::ID => vec![(call, encoded(&self.expires_us.take().is_some()))],
            object::Watch::ID => {
                let object::Watch { version, timeout_ms } =
                    codec::decode(&asked.arguments).expect("its arguments");
                if self.version > version {
                    vec![(call, encoded(&self.version))]
                } else {
                    let deadline_us = self.deadline_us(timeout_ms);
                    self.waiting.insert(call, Waiting { session, deadline_us, watches: Some(version) });
                    Answers::new()
                }
            }
            _ => self.call_object(session, call, asked),
        };
        answers.extend(self.pass_until(self.now_us));
        answers
    }

    fn create(&mut self) -> Answer {
        if self.object.is_some() {
            return encoded(&false);
        }
        self.version = 0;
        self.object = Some((self.alter)(create(self.type_id, &self.creation, self.now_us)?));
        encoded(&true)
    }

    fn call_object(&mut self, session: Session, call: CallId, asked: &Asked) -> Answers {
        let before = self.object.as_ref().map(|object| object.copy());
        if before.is_none() {
            self.version = 0;
        }
        let mut moment = Moment { now_us: self.now_us, caller: Some((session, call)), ..Moment::default() };
        let mut out = Vec::new();
        let made = match &mut self.object {
            Some(object) => object.call(&mut moment, asked.method, &asked.arguments, &mut out),
            None => match create(self.type_id, &self.creation, self.now_us) {
                Ok(object) => {
                    let object = self.object.insert((self.alter)(object));
                    object.call(&mut moment, asked.method, &asked.arguments, &mut out)
                }
                Err(error) => Err(error),
            },
        };
        match made {
            Ok(Progress::Done) => {
                assert!(moment.begun.is_none(), "a call that is done does not wait: {}", asked.text);
                let mut answers = self.answered(moment);
                answers.push((call, Ok(out)));
                answers.extend(self.touched(asked.kind));
                answers
            }
            Ok(Progress::Waiting) => {
                let timeout_ms = moment.begun.take().expect("a call that waits says so");
                let deadline_us = self.deadline_us(timeout_ms);
                self.waiting.insert(call, Waiting { session, deadline_us, watches: None });
                let mut answers = self.answered(moment);
                answers.extend(self.touched(asked.kind));
                answers
            }
            Err(error) => {
                self.object = before;
                vec![(call, Err(error))]
            }
        }
    }

    fn deadline_us(&self, timeout_ms: Option<u64>) -> Option<u64> {
        timeout_ms.map(|ms| self.now_us.saturating_add(ms.saturating_mul(1_000)))
    }

    /// The object goes, and whoever waits in it is told.
    fn delete(&mut self) -> Answers {
        (self.object, self.expires_us) = (None, None);
        let broken = std::mem::take(&mut self.waiting).into_keys();
        broken.map(|call| (call, Err(CallError::Broken))).collect()
    }

    /// A call was made that may have changed the object: whoever watches for that is told.
    fn touched(&mut self, kind: MethodKind) -> Answers {
        if kind == MethodKind::Read {
            return Answers::new();
        }
        self.version += 1;
        let version = self.version;
        let sees = |(_, waiting): &(&CallId, &Waiting)| waiting.watches.is_some_and(|seen| seen < version);
        let seeing: Vec<CallId> = self.waiting.iter().filter(sees).map(|(call, _)| *call).collect();
        let tell = |call| {
            self.waiting.remove(&call);
            (call, encoded(&version))
        };
        seeing.into_iter().map(tell).collect()
    }

    /// As far as anybody can know.
    fn info(&self) -> ObjectInfo {
        ObjectInfo {
            type_name: find_type_id(self.type_id).expect("built in").name.to_owned(),
            key: String::new(),
            bytes: 0,
            created_unix_ms: 0,
            last_call_unix_ms: 0,
            version: self.version,
            waiters: self.waiting.len() as u64,
            replicas: 1,
            persistent: false,
            expires_unix_ms: self.expires_us.map(|_| 0),
        }
    }

    /// Takes those out of the waiting ones that were answered.
    fn answered(&mut self, moment: Moment) -> Answers {
        for (call, _) in &moment.answers {
            self.waiting.remove(call);
        }
        moment.answers
    }

    fn end_wait(&mut self, call: CallId, why: Gone) -> Answers {
        let Some(Waiting { session, watches, .. }) = self.waiting.get(&call).cloned() else {
            return Vec::new();
        };
        let mut moment = Moment { now_us: self.now_us, ..Moment::default() };
        let object = self.object.as_mut().expect("somebody waits in it");
        if watches.is_some() || object.gone(&mut moment, call, session, why) {
            let error = match why {
                Gone::TimedOut => CallError::TimedOut,
                Gone::Cancelled => CallError::Cancelled,
                Gone::SessionEnded => CallError::SessionExpired,
            };
            moment.answers.push((call, Err(error)));
        } else if let Some(waiting) = self.waiting.get_mut(&call) {
            waiting.deadline_us = None;
        }
        self.answered(moment)
    }

    /// A caller gives a call up.
    pub(crate) fn cancel(&mut self, call: CallId) -> Answers {
        self.end_wait(call, Gone::Cancelled)
    }

    /// A session ends: first its calls that wait, then what it holds.
    pub(crate) fn end_session(&mut self, session: Session) -> Answers {
        let mut answers = Vec::new();
        for call in self.waiting.keys().copied().collect::<Vec<_>>() {
            if self.waiting.get(&call).is_some_and(|waiting| waiting.session == session) {
                answers.extend(self.end_wait(call, Gone::SessionEnded));
            }
        }
        if let Some(object) = &mut self.object {
            let mut moment = Moment { now_us: self.now_us, ..Moment::default() };
            object.session_ended(&mut moment, session);
            answers.extend(self.answered(moment));
        }
        answers
    }

    /// When something happens next without anybody's doing.
    pub(crate) fn next_us(&self) -> Option<u64> {
        let deadlines = self.waiting.values().filter_map(|waiting| waiting.deadline_us);
        let due_us = self.object.as_ref().and_then(|object| object.due_us());
        deadlines.chain(due_us).chain(self.expires_us).min()
    }

    /// Time passes. What happens by itself happens at its moment.
    pub(crate) fn pass_until(&mut self, now_us: u64) -> Answers {
        let mut answers = Vec::new();
        while let Some(next_us) = self.next_us().filter(|next_us| *next_us <= now_us) {
            self.now_us = self.now_us.max(next_us);
            let mut moment = Moment { now_us: self.now_us, ..Moment::default() };
            // What comes at the very moment at which patience ends comes in time.
            if let Some(object) = &mut self.object
                && object.due_us().is_some_and(|due_us| due_us <= next_us)
            {
                object.due(&mut moment);
                answers.extend(self.answered(moment));
            }
            let over =
                |waiting: &Waiting| waiting.deadline_us.is_some_and(|deadline_us| deadline_us <= next_us);
            let over = self.waiting.iter().filter(|(_, waiting)| over(waiting));
            let first =
                over.min_by_key(|(call, waiting)| (waiting.deadline_us, **call)).map(|(call, _)| *call);
            if let Some(call) = first {
                answers.extend(self.end_wait(call, Gone::TimedOut));
            } else if self.expires_us.is_some_and(|expires_us| expires_us <= next_us) {
                answers.extend(self.delete());
            }
        }
        self.now_us = self.now_us.max(now_us);
        answers
    }

    /// Whether an answer that a caller was told is right, given what was expected.
    pub(crate) fn accept(&mut self, asked: &Asked, expected: &Answer, told: &Answer) -> Result<(), String> {
        if let (object::Info::ID, Ok(expected), Ok(told)) = (asked.method, expected, told) {
            let decode = |body: &[u8]| codec::decode(body).map_err(|error| error.to_string());
            let (expected, told): (ObjectInfo, ObjectInfo) = (decode(expected)?, decode(told)?);
            let known = |info: &ObjectInfo| {
                let expires = info.expires_unix_ms.is_some();
                (info.type_name.clone(), info.version, info.waiters, info.replicas, expires)
            };
            return if known(&expected) == known(&told) { Ok(()) } else { Err(String::new()) };
        }
        match (expected, told) {
            (Ok(expected), Ok(told)) => match &mut self.object {
                Some(object) if asked.method < 0xff00 => {
                    object.accept(asked.method, &asked.arguments, expected, told)
                }
                _ if expected == told => Ok(()),
                _ => Err(String::new()),
            },
            (Err(expected), Err(told)) if without_words(expected) == without_words(told) => Ok(()),
            _ => Err(String::new()),
        }
    }

    /// What callers may know.
    pub(crate) fn hints(&self) -> Hints {
        self.object.as_ref().map(|object| object.hints()).unwrap_or_default()
    }
}

/// An error without what is meant for people.
pub(crate) fn without_words(error: &CallError) -> CallError {
    let mut error = error.clone();
    match &mut error {
        CallError::WrongType { is: words }
        | CallError::BadArgument { reason: words }
        | CallError::Denied { reason: words }
        | CallError::AlreadyExists { with: words } => words.clear(),
        _ => {}
    }
    error
}
