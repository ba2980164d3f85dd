//! What one core has to say to another.

use super::ring::RingWaker;
use crate::shard::{Origin, SessionId, SessionTerms};
use abide_net::route::ShardId;
use crossbeam::queue::{ArrayQueue, SegQueue};
use std::{
    collections::VecDeque,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Calls and other news that a mailbox holds. Senders keep the rest.
const MAILBOX_MESSAGES_MAX: usize = if cfg!(test) { 64 } else { 4_096 };

/// Bytes of answers on their way to a core at which no more calls are made for it.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// A message between cores.
#[derive(Debug)]
pub(super) enum Message {
    /// A call on a shard of the receiving core.
    Call {
        origin: Origin,
        session: SessionId,
        terms: SessionTerms,
        shard: ShardId,
        /// The CALL frame without its length prefix, which the sender has parsed once.
        frame: Box<[u8]>,
    },
    /// A client gives up a call that may wait on the receiving core.
    Cancel { session: SessionId, slot: u32, sequence: u64 },
    /// A session lives.
    Heartbeat { session: SessionId },
    /// A session ended in order.
    Goodbye { session: SessionId },
    /// Calls of a connection of the receiving core are through: answered by these REPLY frames, or waiting.
    /// And answers to calls that had been waiting.
    Answers {
        connection: u64,
        /// How many of its calls are through.
        through: u32,
        frames: Box<[u8]>,
    },
}

/// A core's mailbox, and the means to wake the core.
///
/// Answers have a queue of their own, which the core always empties: a core that takes no more calls, because
/// others have yet to take its answers, still takes theirs.
#[derive(Debug)]
pub(super) struct Mailbox {
    requests: ArrayQueue<Message>,
    answers: SegQueue<Message>,
    /// Bytes of the answers that are on their way, in the queue or about to be.
    answer_bytes: AtomicUsize,
    waker: OnceLock<RingWaker>,
}

impl Mailbox {
    pub(super) fn new() -> Mailbox {
        Mailbox {
            requests: ArrayQueue::new(MAILBOX_MESSAGES_MAX),
            answers: SegQueue::new(),
            answer_bytes: AtomicUsize::new(0),
            waker: OnceLock::new(),
        }
    }

    /// Says how the owning core is woken. Called once, by that core.
    pub(super) fn set_waker(&self, waker: RingWaker) {
        self.waker.set(waker).expect("a core sets its waker once");
    }

    /// Has the owning core look for messages soon. Cheap if it is awake.
    pub(super) fn wake(&self) {
        // A core without a waker yet looks before it first sleeps.
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    pub(super) fn take_request(&self) -> Option<Message> {
        self.requests.pop()
    }

    pub(super) fn take_answers(&self) -> Option<Message> {
        let message = self.answers.pop()?;
        if let Message::Answers { frames, .. } = &message {
            self.answer_bytes.fetch_sub(frames.len(), Ordering::Relaxed);
        }
        Some(message)
    }

    /// Whether the owning core has many answers yet to take. Their number is bounded by the calls that its
    /// connections may have under way, but not their bytes: so no more calls are made for it then.
    pub(super) fn is_behind(&self) -> bool {
        self.answer_bytes.load(Ordering::Relaxed) > ANSWER_BYTES_MAX
    }
}

/// One core's outgoing side to another's mailbox: keeps, in order, what does not fit.
///
/// What is kept is bounded: by the calls that the connections of this core may have under way elsewhere.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    spill: VecDeque<Message>,
    sent: bool,
}

impl Outgoing {
    pub(super) fn send(&mut self, message: Message, mailbox: &Mailbox) {
        self.sent = true;
        if let Message::Answers { frames, .. } = &message {
            mailbox.answer_bytes.fetch_add(frames.len(), Ordering::Relaxed);
            mailbox.answers.push(message);
        } else if !self.spill.is_empty() {
            self.spill.push_back(message);
        } else if let Err(message) = mailbox.requests.push(message) {
            self.spill.push_back(message);
        }
    }

    /// Sends what was kept, as far as it fits, and wakes the other core if anything was sent in this turn.
    pub(super) fn flush(&mut self, mailbox: &Mailbox) {
        while let Some(message) = self.spill.pop_front() {
            self.sent = true;
            if let Err(message) = mailbox.requests.push(message) {
                self.spill.push_front(message);
                break;
            }
        }
        if std::mem::take(&mut self.sent) {
            mailbox.wake();
        }
    }

    /// Whether messages are kept because the mailbox is full.
    pub(super) fn is_stuck(&self) -> bool {
        !self.spill.is_empty()
    }
}
