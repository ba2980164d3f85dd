//! The future of a call.

use super::session::LiveSession;
use crate::remote::slots::CallName;
use abide_net::CallError;
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::oneshot;

/// How a call ended: the epoch that answered and its encoded result, or an error.
pub(super) type Outcome = Result<(u64, Vec<u8>), CallError>;

/// Where a call's outcome goes.
pub(super) type Sender = oneshot::Sender<Outcome>;

/// Outcomes that were found out under a lock, to be told without it: whoever is woken may run at once.
#[derive(Debug, Default)]
#[must_use = "their callers wait for them"]
pub(super) struct Answers(Vec<(Sender, Outcome)>);

impl Answers {
    /// Adds an outcome, unless nobody wants to know it.
    pub(super) fn add(&mut self, answer: Option<Sender>, outcome: Outcome) {
        self.0.extend(answer.map(|answer| (answer, outcome)));
    }

    pub(super) fn deliver(self) {
        for (answer, outcome) in self.0 {
            // An error says that the future was dropped in this moment.
            let _ = answer.send(outcome);
        }
    }
}

/// A call under way. Dropped before its answer, it is cancelled.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) name: CallName,
    pub(super) outcome: oneshot::Receiver<Outcome>,
    pub(super) is_over: bool,
    /// The session lives as long as its calls.
    pub(super) session: Arc<LiveSession>,
}

impl Future for Answer {
    type Output = Result<(u64, Vec<u8>), CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.outcome).poll(context));
        self.is_over = true;
        let lost = |_| Err(CallError::Unknown { reason: "whoever should have answered is gone".to_owned() });
        Poll::Ready(outcome.unwrap_or_else(lost))
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_over {
            self.session.cancel(self.name);
        }
    }
}
