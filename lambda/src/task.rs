//! What travels to where a cloud thread runs, and what comes back.
//!
//! A backend in another process or on another machine sends a [`Header`] and the encoded arguments, and gets a
//! [`Reply`] and, if the function returned, its encoded value. Both sides are the same binary, so the encoding
//! needs no versions. Large parts travel beside the headers rather than in them, so that they are not copied.

use crate::{
    context::{CloudThreadId, Context},
    error::{JoinError, Part},
    registry::Entry,
};
use abide_client::Store;
use abide_net::{CallError, codec, limits::FRAME_BYTES_MAX};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, sync::Arc};

/// How an attempt to run a function ended: with its encoded value, or without.
pub(crate) type Outcome = Result<Vec<u8>, JoinError>;

/// One cloud thread's work, the same for each of its attempts.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) entry: &'static Entry,
    pub(crate) id: CloudThreadId,
    pub(crate) name: String,
    pub(crate) store: Option<Store>,
    /// All attempts are runs of one session, whose seed is the cloud thread's id.
    pub(crate) is_seeded: bool,
    pub(crate) arguments: Vec<u8>,
}

impl Task {
    /// How another process reaches the store, if the function gets one at all.
    pub(crate) fn address(&self) -> Result<Option<String>, JoinError> {
        match &self.store {
            None => Ok(None),
            Some(store) => store.address().map(Some).ok_or(JoinError::NotShared),
        }
    }

    /// The session of an attempt that runs in this process, if the function gets one at all.
    pub(crate) fn session(&self) -> Result<Option<Session>, CallError> {
        let open = |store| Session::open(store, self.seed());
        self.store.as_ref().map(open).transpose()
    }

    /// The seed of the session of all attempts, if they have one session.
    pub(crate) fn seed(&self) -> Option<CloudThreadId> {
        self.is_seeded.then_some(self.id)
    }

    /// No attempt follows one that failed: what they held is given back, and what they did need not be remembered.
    pub(crate) fn end(&self) {
        if let Some(store) = &self.store
            && self.is_seeded
        {
            match Session::open(store, self.seed()) {
                Ok(session) => session.finish(),
                Err(error) => tracing::debug!(id = %self.id, %error, "the session ends with its lease"),
            }
        }
    }
}

/// What an attempt works under.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) store: Store,
    is_seeded: bool,
}

impl Session {
    /// A session of the attempt's own, or the one that all attempts have.
    pub(crate) fn open(store: &Store, seed: Option<CloudThreadId>) -> Result<Session, CallError> {
        let store = match seed {
            None => store.new_session()?,
            Some(id) => store.with_seed_of(format!("cloud thread {id}"))?,
        };
        Ok(Session { store, is_seeded: seed.is_some() })
    }

    /// The session of a process that has nothing else.
    pub(crate) fn only(store: Store, seed: Option<CloudThreadId>) -> Result<Session, CallError> {
        if seed.is_none() {
            return Ok(Session { store, is_seeded: false });
        }
        let session = Session::open(&store, seed)?;
        // For threads that the function starts.
        session.store.make_default();
        Ok(session)
    }

    /// The function ended well, so it will not run again.
    pub(crate) fn finish(self) {
        if self.is_seeded
            && let Err(error) = self.store.finish()
        {
            tracing::debug!(%error, "the session ends with its lease");
        }
    }
}

/// All of an attempt but its arguments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The function's registered name.
    pub(crate) function: String,
    /// Who it runs as.
    pub(crate) context: Context,
    /// The address of the store that is to be current while it runs.
    pub(crate) store: Option<String>,
    /// The seed of the session of all attempts, if they have one session.
    pub(crate) seed: Option<CloudThreadId>,
    /// How many processes stand between the program and this one, this one included.
    pub(crate) depth: u32,
}

/// How an attempt ended, in a form that travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The encoded value follows.
    Returned,
    Failed {
        message: String,
    },
    Panicked {
        message: String,
    },
    NotRegistered {
        name: String,
    },
    Duplicate {
        first: String,
        second: String,
    },
    NoStore {
        reason: String,
    },
    Codec {
        part: Part,
        reason: String,
    },
    NotStarted {
        what: String,
        reason: String,
    },
    Other {
        reason: String,
    },
}

impl From<&JoinError> for Reply {
    fn from(error: &JoinError) -> Self {
        match error.clone() {
            JoinError::Failed { message } => Reply::Failed { message },
            JoinError::Panicked { message } => Reply::Panicked { message },
            JoinError::NotRegistered { name } => Reply::NotRegistered { name },
            JoinError::Duplicate { first, second } => Reply::Duplicate { first, second },
            JoinError::NoStore { reason } => Reply::NoStore { reason },
            JoinError::Codec { part, reason } => Reply::Codec { part, reason },
            JoinError::Start { what, source } => Reply::NotStarted { what, reason: source.to_string() },
            other => Reply::Other { reason: other.to_string() },
        }
    }
}

impl Reply {
    /// The outcome that this reply reports, with the value that came along.
    pub(crate) fn into_outcome(self, value: Vec<u8>) -> Outcome {
        Err(match self {
            Reply::Returned => return Ok(value),
            Reply::Failed { message } => JoinError::Failed { message },
            Reply::Panicked { message } => JoinError::Panicked { message },
            Reply::NotRegistered { name } => JoinError::NotRegistered { name },
            Reply::Duplicate { first, second } => JoinError::Duplicate { first, second },
            Reply::NoStore { reason } => JoinError::NoStore { reason },
            Reply::Codec { part, reason } => JoinError::Codec { part, reason },
            Reply::NotStarted { what, reason } => {
                JoinError::Start { what, source: Arc::new(io::Error::other(reason)) }
            }
            Reply::Other { reason } => JoinError::Lost { reason },
        })
    }
}

/// Encodes an argument or a result. Refuses what the other side would refuse to read, also together with what
/// is in `out` already.
pub(crate) fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    codec::encode_into(value, out).map_err(|error| error.to_string())?;
    match out.len() {
        0..=FRAME_BYTES_MAX => Ok(()),
        bytes => Err(format!("{bytes} bytes are more than {FRAME_BYTES_MAX}; put them into a shared object")),
    }
}

/// Decodes an argument or a result.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    codec::decode(bytes).map_err(|error| error.to_string())
}
