//! One object and the calls that wait in it, by the book.

use super::{Answer, AnyModel, CallId, Gone, Hints, Moment, Session, create};
use crate::asked::Asked;
use abide_net::{CallError, codec};
use abide_schema::{Method, Progress, types::object};
use std::{collections::BTreeMap, sync::Arc};

/// A call that waits.
#[derive(Debug, Clone)]
struct Waiting {
    session: Session,
    deadline_us: Option<u64>,
}

/// What the callers of one object are to be told.
pub(crate) struct World {
    pub(crate) type_id: u16,
    creation: Vec<u8>,
    object: Option<Box<dyn AnyModel>>,
    /// What becomes of a new model, for models that are wrong on purpose.
    alter: Alter,
    waiting: BTreeMap<CallId, Waiting>,
    pub(crate) now_us: u64,
}

type Alter = Arc<dyn Fn(Box<dyn AnyModel>) -> Box<dyn AnyModel> + Send + Sync>;

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("World").field(&self.object).field(&self.waiting).finish()
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
                let existed = self.object.take().is_some();
                let broken = std::mem::take(&mut self.waiting).into_keys();
                let broken = broken.map(|waiting| (waiting, Err(CallError::Broken)));
                broken.chain([(call, encoded(&existed))]).collect()
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
        self.object = Some((self.alter)(create(self.type_id, &self.creation, self.now_us)?));
        encoded(&true)
    }

    fn call_object(&mut self, session: Session, call: CallId, asked: &Asked) -> Answers {
        let before = self.object.as_ref().map(|object| object.copy());
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
                answers
            }
            Ok(Progress::Waiting) => {
                let timeout_ms = moment.begun.take().expect("a call that waits says so");
                let deadline_us = timeout_ms.map(|ms| self.now_us.saturating_add(ms.saturating_mul(1_000)));
                self.waiting.insert(call, Waiting { session, deadline_us });
                self.answered(moment)
            }
            Err(error) => {
                self.object = before;
                vec![(call, Err(error))]
            }
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
        let Some(Waiting { session, .. }) = self.waiting.get(&call).cloned() else { return Vec::new() };
        let mut moment = Moment { now_us: self.now_us, ..Moment::default() };
        let object = self.object.as_mut().expect("somebody waits in it");
        if object.gone(&mut moment, call, session, why) {
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
        deadlines.chain(self.object.as_ref().and_then(|object| object.due_us())).min()
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
            }
        }
        self.now_us = self.now_us.max(now_us);
        answers
    }

    /// Whether an answer that a caller was told is right, given what was expected.
    pub(crate) fn accept(&mut self, asked: &Asked, expected: &Answer, told: &Answer) -> Result<(), String> {
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
