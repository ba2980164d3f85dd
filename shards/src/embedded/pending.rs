//! A call that was not answered at once: where its answer arrives, and who is to be told.

use abide_net::{CallError, caller::CallFuture, codec};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    thread::Thread,
};

/// An answer as the shard gave it.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) ok: bool,
    pub(super) body: Vec<u8>,
}

impl Answered {
    pub(super) fn result(&self) -> Result<&[u8], CallError> {
        if self.ok { Ok(&self.body) } else { Err(codec::decode(&self.body)?) }
    }
}

#[derive(Debug)]
enum Asker {
    Thread(Thread),
    Task(Option<Waker>),
}

#[derive(Debug)]
struct State {
    answer: Option<Answered>,
    asker: Asker,
}

/// A call under way.
#[derive(Debug)]
pub(super) struct Pending(Mutex<State>);

impl Pending {
    /// For a call whose thread will park.
    pub(super) fn of_this_thread() -> Pending {
        Pending(Mutex::new(State { answer: None, asker: Asker::Thread(std::thread::current()) }))
    }

    /// For a call whose future will be polled.
    pub(super) fn of_a_task() -> Pending {
        Pending(Mutex::new(State { answer: None, asker: Asker::Task(None) }))
    }

    /// Hands the answer over and wakes who waits for it.
    pub(super) fn complete(&self, answer: Answered) {
        let mut state = self.state();
        state.answer = Some(answer);
        match &mut state.asker {
            Asker::Thread(thread) => thread.unpark(),
            Asker::Task(waker) => {
                let waker = waker.take();
                drop(state);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// Has a thread that parks look at the shard's deadlines again.
    pub(super) fn look_again(&self) {
        if let Asker::Thread(thread) = &self.state().asker {
            thread.unpark();
        }
    }

    /// The answer, once.
    pub(super) fn take(&self) -> Option<Answered> {
        self.state().answer.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it has this lock")
    }
}

/// The future of an asynchronous call. Dropped before its end, it cancels the call.
pub(super) struct Answer<F: FnOnce(bool)> {
    pending: Arc<Pending>,
    epoch: u64,
    /// Called once, with whether the call was answered.
    end: Option<F>,
}

impl<F: FnOnce(bool)> Answer<F> {
    pub(super) fn new(pending: Arc<Pending>, epoch: u64, end: F) -> Answer<F> {
        Answer { pending, epoch, end: Some(end) }
    }
}

impl<F: FnOnce(bool) + Unpin> Future for Answer<F> {
    type Output = <CallFuture<'static> as Future>::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.pending.state();
        let Some(answer) = state.answer.take() else {
            state.asker = Asker::Task(Some(context.waker().clone()));
            return Poll::Pending;
        };
        drop(state);
        if let Some(end) = self.end.take() {
            end(true);
        }
        let Answered { ok, body } = answer;
        Poll::Ready(if ok {
            Ok((self.epoch, body))
        } else {
            Err(codec::decode(&body).unwrap_or_else(CallError::from))
        })
    }
}

impl<F: FnOnce(bool)> Drop for Answer<F> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end(false);
        }
    }
}
