//! How a cloud thread can end other than with its value.

use serde::{Deserialize, Serialize};
use std::{fmt, io, process::ExitStatus, sync::Arc, time::Duration};

/// Why joining a cloud thread gave no value.
///
/// Spawning never fails by itself: whatever stands in the way comes out here, so that a program has one place
/// to look at.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The function ran and returned an error.
    #[error("the cloud function failed: {message}")]
    Failed {
        /// The error's text.
        message: String,
    },
    /// The function panicked. The panic hook has printed where, on the standard error of where it ran.
    #[error("the cloud function panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The process ended before the function returned: it was killed, it aborted, or it called `exit`.
    /// Which of its calls on shared objects were made is not known.
    #[error(
        "the process ended before the function returned ({status}){}{}",
        hint(status),
        lines(stderr_tail)
    )]
    Exited {
        /// The exit code or the signal.
        status: ExitStatus,
        /// The last lines that it wrote to its standard error. They were also printed as they came.
        stderr_tail: String,
    },
    /// Nothing more is known of where the function ran. It may have run, in part or to its end.
    #[error("lost sight of the cloud thread: {reason}")]
    Lost {
        /// What happened.
        reason: String,
    },
    /// [`JoinHandle::cancel`](crate::JoinHandle::cancel) was called, in time.
    #[error("the cloud thread was cancelled")]
    Cancelled,
    /// [`JoinHandle::join_timeout`](crate::JoinHandle::join_timeout) waited long enough. The cloud thread goes
    /// on, and the handle can be joined again.
    #[error("the cloud thread has not ended after {waited:?}; it goes on")]
    TimedOut {
        /// The time that was given.
        waited: Duration,
    },
    /// The program knows no cloud function of this name.
    #[error(
        "`{name}` is not registered as a cloud function: mark the function with `#[cloud_function]`, and pass \
         the function itself, not a closure or a pointer to it"
    )]
    NotRegistered {
        /// The function that was passed, or the name that was asked for.
        name: String,
    },
    /// Two registrations contradict each other, so that it would be chance which of them runs.
    #[error(
        "cloud functions are ambiguous: {first}, and {second}; give one of them another name with \
         `#[cloud_function(name = \"...\")]`, and mark each function once"
    )]
    Duplicate {
        /// A registration: name, function, file and line.
        first: String,
        /// The other.
        second: String,
    },
    /// A child process would run `main` from its start, and `main` does not begin with `init()`.
    #[error(
        "call `abide::init()` (or `abide_lambda::init()`) at the start of `main`: a child process runs this \
         program again, and that call is where it takes up its cloud function"
    )]
    NotInitialised,
    /// Processes that spawn processes went deeper than anyone means to.
    #[error("processes that spawn processes are nested {max} deep; is a cloud function spawning itself?")]
    TooDeep {
        /// How deep is allowed.
        max: u32,
    },
    /// The spawning thread's store lives in this process alone, so that no other process can reach it.
    #[error(
        "the current store lives in this process alone, and the cloud thread would run in another: start a \
         server (`abide serve`) and connect to it, run the function on threads, or spawn it \
         `without_store()`"
    )]
    NotShared,
    /// The cloud thread could not get a session with the store. The function did not run.
    #[error("the cloud thread could not open its session with the store: {reason}")]
    NoStore {
        /// Where it tried, and what came back.
        reason: String,
    },
    /// The arguments or the result could not travel.
    #[error("the {part} of the cloud function cannot travel: {reason}")]
    Codec {
        /// Which of them.
        part: Part,
        /// Why.
        reason: String,
    },
    /// The thread or the process could not be started. The function did not run.
    #[error("the cloud thread could not be started ({what})")]
    Start {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// The environment asks for something that does not exist.
    #[error("the environment variable {variable} is {value:?}: expected {expected}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: &'static str,
    },
}

impl JoinError {
    /// Whether another attempt could end differently: the function failed, panicked or vanished, or could not
    /// begin for a reason outside of the program. This is what [`Builder::retries`](crate::Builder::retries)
    /// goes by unless [`Builder::retry_if`](crate::Builder::retry_if) says otherwise.
    ///
    /// It says nothing about whether the function may run twice.
    pub fn is_retryable(&self) -> bool {
        use JoinError::*;
        matches!(
            self,
            Failed { .. } | Panicked { .. } | Exited { .. } | Lost { .. } | NoStore { .. } | Start { .. }
        )
    }

    pub(crate) fn start(what: &str, source: impl Into<io::Error>) -> Self {
        JoinError::Start { what: what.to_owned(), source: Arc::new(source.into()) }
    }
}

/// What travels between a program and its cloud threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Part {
    /// The arguments, on the way to the function.
    Arguments,
    /// The result, on the way back.
    Result,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Arguments => "arguments",
            Part::Result => "result",
        })
    }
}

fn hint(status: &ExitStatus) -> &'static str {
    if status.success() {
        "; did the function call `exit`, or does `main` do anything before `init()`?"
    } else {
        ""
    }
}

fn lines(stderr_tail: &str) -> String {
    if stderr_tail.is_empty() { String::new() } else { format!("; its last lines:\n{stderr_tail}") }
}
