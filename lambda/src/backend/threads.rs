//! Cloud threads as threads of this process.

use super::Executor;
use crate::{
    context::Context,
    error::JoinError,
    handle::Shared,
    run,
    task::{Outcome, Task},
};
use std::sync::Arc;

/// Runs the function on the calling thread: that one is the cloud thread.
pub(crate) struct Threads;

impl Executor for Threads {
    fn execute(&self, task: &Task, attempt: u32, shared: &Arc<Shared>) -> Outcome {
        let session = task.session();
        let session = session.map_err(|error| JoinError::NoStore { reason: error.to_string() })?;
        let context =
            Context { id: task.id, name: task.name.clone(), attempt, shared: Some(Arc::clone(shared)) };
        run::here(task.entry, context, session, &task.arguments)
    }
}
