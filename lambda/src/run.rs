//! Runs a function on the calling thread: where all backends end, on whichever machine.

use crate::{
    context::Context,
    error::JoinError,
    registry::Entry,
    task::{Outcome, Session},
};
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};

/// Runs one attempt with `session` as its current store.
///
/// The session is closed before this returns, and so before anyone learns that the function ended: what it held
/// is given back by then, unless it failed and its session is that of another attempt too. A panic ends here,
/// after the panic hook has printed it.
pub(crate) fn here(entry: &Entry, context: Context, session: Option<Session>, arguments: &[u8]) -> Outcome {
    let result = {
        let _context = context.enter();
        let _current = session.as_ref().map(|session| session.store.enter());
        // What a panic leaves half done is the function's own: only encoded bytes and shared objects, which
        // change call by call, are seen by anyone else.
        panic::catch_unwind(AssertUnwindSafe(|| entry.run(arguments)))
    };
    match session {
        Some(session) if matches!(result, Ok(Ok(_))) => session.finish(),
        session => drop(session),
    }
    result.unwrap_or_else(|payload| Err(JoinError::Panicked { message: message(&*payload) }))
}

/// The text of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "(its payload is not a text)".to_owned()
    }
}
