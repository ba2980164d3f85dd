//! What every type of object means, said once more in plain Rust.
//!
//! A model is an ordinary value with ordinary collections, made from the words of the declarations and from nothing else: it
//! shares no code with the shards. It says what a call returns, or that it waits, and which waiting calls it answers with
//! what. The compiler holds it to the declarations: a model has the methods that a shard must have.

mod arrays;
mod atomics;
mod barriers;
mod lists;
mod locks;
mod maps;
mod meetings;
mod merge;
mod numbers;
mod queues;
mod sha256;
mod sorted;
mod synchronisation;
mod values;
pub(crate) mod world;

use abide_net::{CallError, codec};
use abide_schema::{ObjectType, Progress, Wait};
use serde::Serialize;
use std::fmt::Debug;

/// A session, by its number in the run.
pub(crate) type Session = u64;

/// A call, by its number in the run: the order of numbers is the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CallId(pub(crate) u64);

/// What a caller is told: an encoded result, or an error.
pub(crate) type Answer = Result<Vec<u8>, CallError>;

/// Why a call waits no more, other than by its object's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    TimedOut,
    Cancelled,
    SessionEnded,
}

/// The circumstances of a call, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Moment {
    pub(crate) now_us: u64,
    caller: Option<(Session, CallId)>,
    /// Set by a call that waits: its time-out.
    begun: Option<Option<u64>>,
    /// Waiting calls that are answered, in this order.
    answers: Vec<(CallId, Answer)>,
}

impl Moment {
    pub(crate) fn session(&self) -> Session {
        self.caller.expect("only a call has a session").0
    }

    pub(crate) fn call(&self) -> CallId {
        self.caller.expect("only a call has a number").1
    }

    /// The call waits from here on.
    pub(crate) fn wait<T>(&mut self, timeout_ms: Option<u64>) -> Wait<T> {
        self.begun = Some(timeout_ms);
        Wait::Waiting
    }

    /// Has those that leave together get each other's answers.
    pub(crate) fn turn_round(&mut self) {
        let mut answers: Vec<Answer> = self.answers.iter().map(|(_, answer)| answer.clone()).collect();
        answers.reverse();
        self.answers.iter_mut().zip(answers).for_each(|((_, answer), other)| *answer = other);
    }

    /// Answers a waiting call.
    pub(crate) fn answer<T: Serialize>(&mut self, call: CallId, result: Result<&T, CallError>) {
        self.answers
            .push((call, result.map(|result| codec::encode(result).expect("results can be encoded"))));
    }
}

/// The model of one type of object.
pub(crate) trait Model: Clone + Debug + Send + Sync + 'static {
    /// The declaration that it is the meaning of.
    type Type: ObjectType;

    /// A new object.
    fn create(creation: <Self::Type as ObjectType>::Creation, now_us: u64) -> Result<Self, CallError>;

    /// Makes a call: the declaration's `dispatch`.
    fn call(
        &mut self,
        moment: &mut Moment,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError>;

    /// A call that waited here does so no more. Says whether it ends now; the object may keep one whose time-out passed.
    fn gone(&mut self, _moment: &mut Moment, _call: CallId, _session: Session, _why: Gone) -> bool {
        true
    }

    /// A session ended; none of its calls wait here any more.
    fn session_ended(&mut self, _moment: &mut Moment, _session: Session) {}

    /// When something happens here without anybody's doing.
    fn due_us(&self) -> Option<u64> {
        None
    }

    /// That moment has come.
    fn due(&mut self, _moment: &mut Moment) {}

    /// Whether an answer that a caller was told is right, given the one that this model expected. Where a declaration leaves
    /// something open (an order, a cursor), this looks at what it does not, and learns the rest.
    fn accept(
        &mut self,
        _method: u16,
        _arguments: &[u8],
        expected: &[u8],
        told: &[u8],
    ) -> Result<(), String> {
        if expected == told { Ok(()) } else { Err(String::new()) }
    }

    /// Cursors and tokens that a caller could know of, to make calls with.
    fn hints(&self) -> Hints {
        Hints::default()
    }
}

/// What a caller may know of an object, so that calls are not always about nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hints {
    /// Tokens, versions, cursors.
    pub(crate) numbers: Vec<u64>,
    /// Who holds it: a session and an owner within it, without whom little happens.
    pub(crate) holder: Option<(Session, u64)>,
    /// Cursors of iterations.
    pub(crate) after: Vec<abide_net::Value>,
}

/// A [`Model`] of some type.
pub(crate) trait AnyModel: Debug + Send + Sync {
    fn copy(&self) -> Box<dyn AnyModel>;
    fn call(
        &mut self,
        moment: &mut Moment,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError>;
    fn gone(&mut self, moment: &mut Moment, call: CallId, session: Session, why: Gone) -> bool;
    fn session_ended(&mut self, moment: &mut Moment, session: Session);
    fn due_us(&self) -> Option<u64>;
    fn due(&mut self, moment: &mut Moment);
    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String>;
    fn hints(&self) -> Hints;
}

impl<T: Model> AnyModel for T {
    fn copy(&self) -> Box<dyn AnyModel> {
        Box::new(self.clone())
    }

    fn call(
        &mut self,
        moment: &mut Moment,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError> {
        Model::call(self, moment, method, arguments, out)
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, session: Session, why: Gone) -> bool {
        Model::gone(self, moment, call, session, why)
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        Model::session_ended(self, moment, session);
    }

    fn due_us(&self) -> Option<u64> {
        Model::due_us(self)
    }

    fn due(&mut self, moment: &mut Moment) {
        Model::due(self, moment);
    }

    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String> {
        Model::accept(self, method, arguments, expected, told)
    }

    fn hints(&self) -> Hints {
        Model::hints(self)
    }
}

/// Writes [`Model::call`] by a type's declaration.
macro_rules! calls {
    ($module:ident) => {
        type Type = abide_schema::types::$module::Type;

        fn call(
            &mut self,
            moment: &mut $crate::model::Moment,
            method: u16,
            arguments: &[u8],
            out: &mut Vec<u8>,
        ) -> Result<abide_schema::Progress, abide_net::CallError> {
            abide_schema::types::$module::dispatch(self, moment, method, arguments, out)
        }
    };
}
use calls;

fn made<T: Model>(creation: &[u8], now_us: u64) -> Result<Box<dyn AnyModel>, CallError> {
    Ok(Box::new(T::create(codec::decode(creation)?, now_us)?))
}

/// A new object of a type.
pub(crate) fn create(type_id: u16, creation: &[u8], now_us: u64) -> Result<Box<dyn AnyModel>, CallError> {
    let make = match type_id {
        1 => made::<atomics::Bool>,
        2 => made::<atomics::Int>,
        3 => made::<atomics::Long>,
        4 => made::<atomics::Double>,
        5 => made::<atomics::Counter>,
        6 => made::<atomics::ByteArray>,
        7 => made::<atomics::Reference>,
        8 => made::<lists::List>,
        9 => made::<maps::Map>,
        10 => made::<barriers::CyclicBarrier>,
        11 => made::<synchronisation::CountDownLatch>,
        12 => made::<synchronisation::Semaphore>,
        13 => made::<synchronisation::Future>,
        14 => made::<locks::Mutex>,
        15 => made::<sorted::SortedMap>,
        16 => made::<maps::Set>,
        17 => made::<arrays::Matrix>,
        18 => made::<arrays::Vector>,
        19 => made::<arrays::Blob>,
        20 => made::<queues::Queue>,
        21 => made::<queues::PriorityQueue>,
        22 => made::<queues::Topic>,
        23 => made::<numbers::IdGenerator>,
        24 => made::<numbers::RateLimiter>,
        25 => made::<locks::RwLock>,
        26 => made::<locks::Condition>,
        27 => made::<meetings::Election>,
        28 => made::<barriers::Phaser>,
        29 => made::<meetings::Exchanger>,
        30 => made::<synchronisation::Event>,
        31 => made::<meetings::Rendezvous>,
        32 => made::<barriers::Reducer>,
        other => panic!("there is no model of type {other}"),
    };
    make(creation, now_us)
}
