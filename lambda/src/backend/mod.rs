//! Where cloud threads run.
//!
//! A backend is an [`Executor`]: it gets a task (a registered name and encoded arguments), takes it to where it
//! runs, and waits there for its end on a thread that belongs to this cloud thread alone. Everything else
//! (finding the function, retries, limits, the handle) is the same for all backends.

pub(crate) mod processes;
mod threads;

use crate::{
    error::JoinError,
    handle::Shared,
    limit::Limit,
    task::{Outcome, Task},
};
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, LazyLock},
};

/// Most child processes that run at once unless [`Builder::max_concurrency`](crate::Builder::max_concurrency)
/// says otherwise. Each takes three file descriptors of the spawning program, of which a program usually may
/// have 1024.
pub const PROCESSES_MAX: usize = 256;

/// Where cloud threads run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Backend {
    /// Threads of this process.
    #[default]
    Threads,
    /// Child processes that run this program again; `main` must begin with [`init()`](crate::init).
    Processes,
}

impl Backend {
    /// The variable that names the backend of cloud threads that are spawned without one.
    pub const VARIABLE: &str = "ABIDE_BACKEND";

    /// The backend that the environment asks for, or threads.
    pub fn from_env() -> Result<Self, JoinError> {
        match std::env::var_os(Backend::VARIABLE) {
            None => Ok(Backend::default()),
            Some(value) => {
                let value = value.to_string_lossy();
                value.parse().map_err(|UnknownBackend { name }| JoinError::Setting {
                    variable: Backend::VARIABLE,
                    value: name,
                    expected: KNOWN,
                })
            }
        }
    }

    pub(crate) fn executor(&self) -> Arc<dyn Executor> {
        match self {
            Backend::Threads => Arc::new(threads::Threads),
            Backend::Processes => Arc::new(processes::Processes),
        }
    }

    /// What bounds the cloud threads of this program that have no limit of their own.
    pub(crate) fn limit(&self) -> &'static Arc<Limit> {
        static THREADS: LazyLock<Arc<Limit>> = LazyLock::new(|| Limit::new(usize::MAX));
        static PROCESSES: LazyLock<Arc<Limit>> = LazyLock::new(|| Limit::new(PROCESSES_MAX));
        match self {
            Backend::Threads => &THREADS,
            Backend::Processes => &PROCESSES,
        }
    }
}

const KNOWN: &str = "`threads` or `processes`";

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        match name {
            "threads" => Ok(Backend::Threads),
            "processes" => Ok(Backend::Processes),
            _ => Err(UnknownBackend { name: name.to_owned() }),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Threads => "threads",
            Backend::Processes => "processes",
        })
    }
}

/// No backend has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend {name:?}: expected {KNOWN}")]
pub struct UnknownBackend {
    /// The name.
    pub name: String,
}

/// Takes tasks to where they run.
pub(crate) trait Executor: Send + Sync {
    /// Runs one attempt, counted from 1, and waits for its end. The calling thread belongs to this cloud
    /// thread alone. An executor that can end an attempt early says so with `Shared::set_kill`.
    fn execute(&self, task: &Task, attempt: u32, shared: &Arc<Shared>) -> Outcome;
}
