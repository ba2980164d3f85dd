//! Cloud threads: functions that run elsewhere, like threads, and share objects rather than memory.
//!
//! ```
//! use abide_lambda::{CloudThread, cloud_function};
//!
//! #[cloud_function]
//! fn sum(from: u64, to: u64) -> Result<u64, std::convert::Infallible> {
//!     Ok((from..to).sum())
//! }
//!
//! fn main() -> Result<(), abide_lambda::JoinError> {
//!     abide_lambda::init(); // first thing in main, for cloud threads that are processes
//!     let threads: Vec<_> = (0..4).map(|n| CloudThread::spawn(sum, (n * 25, (n + 1) * 25))).collect();
//!     let mut total = 0;
//!     for thread in threads {
//!         total += thread.join()?;
//!     }
//!     assert_eq!(total, 4950);
//!     Ok(())
//! }
//! ```
//!
//! The function finds the objects that it shares in `Store::current()` (crate `abide-client`): the store of
//! whoever spawned it, under a session of its own. Where it runs is one choice, [`Builder::backend`] or the
//! environment variable `ABIDE_BACKEND`:
//!
//! | [`Backend`] | `ABIDE_BACKEND` | where the function runs | the store |
//! |---|---|---|---|
//! | [`Threads`](Backend::Threads) | `threads`, or unset | a thread of this process | any |
//! | [`Processes`](Backend::Processes) | `processes` | a child process that runs this program again | on a node |
//!
//! A program that works with one works with the others: arguments and results are always encoded, each cloud
//! thread has a session, a panic is an error of [`join`](JoinHandle::join). What does differ:
//! - With threads, `std::process::exit` and an abort end the whole program, and static variables are shared. With
//!   processes they concern that cloud thread alone.
//! - With threads, standard input is the program's. With processes there is nothing to read.
//! - A process can be [cancelled](JoinHandle::cancel) at any point, a thread only where it looks.
//!
//! # How a cloud thread travels
//! ```text
//! #[cloud_function]                 leaves a registry::Entry (a name, a function) in the binary
//! CloudThread::spawn                registry::find: from the function to its entry
//!   CloudFunction::encode           arguments::Writer: from the arguments to bytes; together a task::Task
//!   Limit::submit                   waits for a place, then a thread of its own for this cloud thread
//!     Retry::run                    one attempt after the other, until one counts
//!       Executor::execute           backend: takes the task to where it runs, waits for the end
//!         Threads                   opens a session, of a retried thread its own from its id; then run::here
//!         Processes                 start -> a child, from the start of main
//!           Exchange::run           task::Header and arguments out; task::Reply and value back; stderr
//!           init -> child::serve    in the child: registry::find_name; connects; then run::here
//!       run::here                   context, current store, panics; Entry::run decodes, calls, encodes
//!   Shared::finish                  the outcome, for JoinHandle::join to decode
//! ```
//!
//! Read in this order: `thread` (what users call), `function` and `registry` (what can be spawned), `task` (what
//! travels), `backend` (where to), `run` (where it ends), `handle`, `retry` and `limit`.
//!
//! # Failures
//! Whatever goes wrong comes out of [`JoinHandle::join`], as a [`JoinError`] that says what to do. A failed cloud
//! thread is not run again unless [`Builder::retries`] asks for it. A new attempt then goes on where the failed one stopped: the
//! calls on shared objects that were made are not made again, but answered as they were then. A program that ends takes its cloud threads along, also when it is killed.
//!
//! Deliberately absent: shared objects (`abide-client`), where they live (`abide-shards`), and futures: a cloud
//! thread blocks a thread.

mod arguments;
mod backend;
mod context;
mod error;
mod function;
mod handle;
mod limit;
mod registry;
mod retry;
mod run;
mod task;
mod thread;

// `#[cloud_function]` names this crate as its users do, also in a test inside of it.
#[allow(unused_extern_crates)]
extern crate self as abide_lambda;

pub use abide_macros::cloud_function;
pub use backend::{Backend, PROCESSES_MAX, UnknownBackend, processes::init};
pub use context::CloudThreadId;
pub use error::{JoinError, Part};
pub use function::{CloudArgument, CloudFunction, CloudResult};
pub use handle::JoinHandle;
pub use thread::{Builder, CloudThread};

/// What `#[cloud_function]` expands to. Not for use by hand, and subject to change.
#[doc(hidden)]
pub mod __private {
    pub use crate::arguments::Reader;
    pub use crate::function::{argument, result};
    pub use crate::registry::{Entry, Identity};
    pub use inventory;

    /// How a registered function ends.
    pub type Ran = Result<Vec<u8>, crate::JoinError>;
}
