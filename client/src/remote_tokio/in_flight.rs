//! The calls of a session that are under way at one core, and what is to be written for them. Without I/O.
//!
//! ```text
//! start    -> the CALL joins `outgoing`, if the connection is up
//! take     -> the writer takes all of `outgoing` at once
//! frame    -> a REPLY answers its call and frees its slot
//! cancel   -> nobody waits for the answer any more: a CANCEL joins; the slot is free when the answer comes
//! down     -> what was written may have arrived
//! leave    -> the node was restarted: all calls go, in their order, with the CANCELs of those that nobody waits for
//! take_in  -> a call that left another lane begins to be under way here
//! up       -> all calls join `outgoing` again in the order in which they were started, with RETRY where they
//!             may have arrived, each with its CANCEL behind it
//! ```

use super::answer::{Answers, Sender};
use crate::remote::{
    frames::{Attempt, call_of, rejected},
    node::{Incarnation, Route},
    outcome::{Delivery, Failure, read_error},
    session::Stay,
    slots::CallName,
};
use abide_net::{
    CallError, Request,
    frame::{self, Frame},
    route::ShardId,
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// Most bytes of requests that are kept for one core, so that calls which are started faster than they are
/// answered end as errors and not in the memory of the whole machine. Eight of the largest frames.
const BYTES_MAX: usize = 256 << 20;

/// A call under way.
#[derive(Debug)]
struct UnderWay {
    sequence: u64,
    shard: ShardId,
    /// The order in which calls were started.
    number: u64,
    started: Instant,
    delivery: Delivery,
    /// Handed to the connection that is up.
    is_written: bool,
    /// The whole CALL frame, for sending it again.
    frame: Box<[u8]>,
    /// None if nobody waits for it any more.
    answer: Option<Sender>,
}

/// A sign of life that the session owes its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heartbeat {
    None,
    Wanted,
    Written,
}

/// The calls of a session at one core.
///
/// Invariants:
/// - each entry of `calls` has its slot from the session, and gives it back when it is removed;
/// - while the connection is up, the frame of each call is in `outgoing`, and its name in `queued`, or it
///   `is_written`; while it is down, `outgoing` and `queued` are empty and nothing `is_written`;
/// - `bytes` is the sum of the frames; `quick` counts the calls that do not wait in their objects.
#[derive(Debug)]
pub(super) struct InFlight {
    stay: Arc<Stay>,
    core: usize,
    /// By slot.
    calls: HashMap<u32, UnderWay>,
    started: u64,
    bytes: usize,
    quick: usize,
    heartbeat: Heartbeat,
    is_up: bool,
    outgoing: Vec<u8>,
    queued: Vec<CallName>,
    /// When the node was last heard, or something began for which it should be.
    heard: Instant,
    /// Since when there has been trouble with the connection.
    trouble_since: Instant,
    /// Why no call can be made any more.
    ended: Option<CallError>,
    /// The calls left: the session is elsewhere.
    has_left: bool,
}

/// Why a call was not started.
#[derive(Debug)]
pub(super) enum Refused {
    /// The session is elsewhere; the answer's sender comes back.
    Moved(Sender),
    /// For a reason of the call's.
    Error(CallError),
}

impl From<CallError> for Refused {
    fn from(error: CallError) -> Refused {
        Refused::Error(error)
    }
}

/// A call on its way from a lane to one of the node's next incarnation.
#[derive(Debug)]
pub(super) struct Moving {
    slot: u32,
    call: UnderWay,
}

impl InFlight {
    pub(super) fn new(stay: Arc<Stay>, core: usize, now: Instant) -> InFlight {
        InFlight {
            stay,
            core,
            calls: HashMap::new(),
            started: 0,
            bytes: 0,
            quick: 0,
            heartbeat: Heartbeat::None,
            is_up: false,
            outgoing: Vec::new(),
            queued: Vec::new(),
            heard: now,
            trouble_since: now,
            ended: None,
            has_left: false,
        }
    }

    /// Starts a call, whose answer goes to `answer`. The request was routed here.
    pub(super) fn start(
        &mut self,
        now: Instant,
        request: &Request<'_>,
        route: Route,
        answer: Sender,
    ) -> Result<CallName, Refused> {
        if self.has_left {
            return Err(Refused::Moved(answer));
        }
        if let Some(error) = &self.ended {
            return Err(error.clone().into());
        }
        if self.bytes > BYTES_MAX {
            let reason =
                format!("{} bytes of calls to one core are under way (at most {BYTES_MAX})", self.bytes);
            return Err(CallError::Unavailable { reason }.into());
        }
        let name = self.stay.session.slots.take()?;
        let first = self.stay.is_first_at(route.shard);
        let mut frame = Vec::new();
        Frame::Call(call_of(request, Attempt { name, shard: route.shard, first, retry: false }))
            .encode(&mut frame);

        if !self.awaits_answer() {
            self.heard = now;
        }
        let delivery = Delivery::new(request.kind);
        self.started += 1;
        self.bytes += frame.len();
        self.quick += usize::from(!delivery.waits());
        if self.is_up {
            self.outgoing.extend_from_slice(&frame);
            self.queued.push(name);
        }
        let call = UnderWay {
            sequence: name.sequence,
            shard: route.shard,
            number: self.started,
            started: now,
            delivery,
            is_written: false,
            frame: frame.into(),
            answer: Some(answer),
        };
        let before = self.calls.insert(name.slot, call);
        assert!(before.is_none(), "slot {} has two calls", name.slot);
        Ok(name)
    }

    /// Nobody waits for this call's answer any more.
    pub(super) fn cancel(&mut self, name: CallName) {
        let Some(call) = self.calls.get_mut(&name.slot).filter(|call| call.sequence == name.sequence) else {
            return;
        };
        call.answer = None;
        if !self.is_up && call.is_pointless() {
            self.remove(name.slot);
        } else if self.is_up && call.delivery.waits() {
            cancel_frame(name).encode(&mut self.outgoing);
        }
    }

    /// Sends a heartbeat now, or with the next connection.
    pub(super) fn want_heartbeat(&mut self, now: Instant) {
        if self.heartbeat != Heartbeat::None || self.ended.is_some() {
            return;
        }
        if !self.awaits_answer() {
            self.heard = now;
        }
        self.heartbeat = Heartbeat::Wanted;
        self.queue_heartbeat();
    }

    /// Everything that is to be written now, in `batch`, which is empty. Says whether there is anything. What
    /// was handed out may arrive.
    pub(super) fn take(&mut self, batch: &mut Vec<u8>) -> bool {
        assert!(batch.is_empty(), "{} bytes of the last batch were not written", batch.len());
        if self.outgoing.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.outgoing, batch);
        if !self.queued.is_empty() {
            self.stay.contacts(self.core);
        }
        for name in self.queued.drain(..) {
            // Its answer cannot have come before it was written.
            let call = self.calls.get_mut(&name.slot).expect("a queued call is under way");
            assert_eq!(call.sequence, name.sequence, "a slot moved on while its call was queued");
            call.is_written = true;
        }
        true
    }

    /// The peer lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Takes a frame from the node.
    pub(super) fn frame(&mut self, frame: Frame<'_>, answers: &mut Answers) -> Result<(), Failure> {
        match frame {
            Frame::Reply(reply) => {
                let known = self.calls.get(&reply.slot);
                let Some(call) = known.filter(|call| call.sequence == reply.sequence && call.is_written)
                else {
                    return Ok(()); // to a call that was given up
                };
                let (shard, delivery) = (call.shard, call.delivery);
                let answer = match reply.result {
                    Ok(body) => {
                        self.stay.answered(shard, Ok(()));
                        Ok((self.stay.epoch(), body.to_vec()))
                    }
                    Err(encoded) => {
                        let error = read_error(encoded);
                        if error == CallError::SessionExpired && call.answer.is_none() {
                            self.stay.session.end(false); // for another call to tell
                        } else {
                            self.stay.answered(shard, Err(&error));
                        }
                        Err(delivery.error(error))
                    }
                };
                answers.add(self.remove(reply.slot).answer, answer);
                Ok(())
            }
            Frame::Alive { alive } => {
                self.heartbeat = Heartbeat::None;
                if !alive {
                    tracing::warn!(session = ?self.stay.session, "the session expired");
                    self.stay.session.end(false);
                }
                Ok(())
            }
            Frame::Reject { reason, text } => Err(rejected(reason, text)),
            other => Err(Failure::Passing(format!("the node sent {}", other.kind()))),
        }
    }

    /// A connection is up: everything is sent again.
    pub(super) fn up(&mut self, now: Instant) {
        assert!(!self.is_up && self.outgoing.is_empty() && self.queued.is_empty(), "two connections are up");
        self.is_up = true;
        self.heard = now;
        let mut calls: Vec<_> = self.calls.iter_mut().collect();
        calls.sort_unstable_by_key(|(_, call)| call.number);
        for (slot, call) in calls {
            let name = CallName { slot: *slot, sequence: call.sequence };
            set_flags(&mut call.frame, self.stay.is_first_at(call.shard), call.delivery.may_have_arrived);
            self.outgoing.extend_from_slice(&call.frame);
            self.queued.push(name);
            if call.answer.is_none() && call.delivery.waits() {
                cancel_frame(name).encode(&mut self.outgoing);
            }
        }
        self.queue_heartbeat();
    }

    /// The connection is lost. `was_good` if it had proved itself: trouble begins only now.
    pub(super) fn down(&mut self, now: Instant, was_good: bool) {
        self.is_up = false;
        self.outgoing = Vec::new();
        self.queued.clear();
        if was_good {
            self.trouble_since = now;
        }
        if self.heartbeat == Heartbeat::Written {
            self.heartbeat = Heartbeat::Wanted;
        }
        for call in self.calls.values_mut() {
            call.delivery.may_have_arrived |= std::mem::take(&mut call.is_written);
        }
        let pointless = self.calls.iter().filter(|(_, call)| call.answer.is_none() && call.is_pointless());
        for slot in pointless.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.remove(slot);
        }
    }

    /// Gives the calls up that have been tried for `retry_for`.
    pub(super) fn give_up(&mut self, now: Instant, retry_for: Duration, why: &str, answers: &mut Answers) {
        let (trouble_since, is_over) = (self.trouble_since, |since: Instant| since + retry_for <= now);
        let over = self.calls.iter().filter(|(_, call)| is_over(call.started.max(trouble_since)));
        for slot in over.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            let call = self.remove(slot);
            answers.add(call.answer, Err(call.delivery.given_up(why.to_owned())));
        }
    }

    /// When the next call is given up, if no connection comes up before.
    pub(super) fn next_give_up(&self, retry_for: Duration) -> Option<Instant> {
        self.calls.values().map(|call| call.started.max(self.trouble_since) + retry_for).min()
    }

    /// Ends all calls as `error` says, also in the middle of a connection. Says whether anybody hears of it.
    pub(super) fn end_calls(&mut self, error: impl Fn(Delivery) -> CallError, answers: &mut Answers) -> bool {
        let mut is_heard = false;
        for slot in self.calls.keys().copied().collect::<Vec<_>>() {
            let mut call = self.remove(slot);
            is_heard |= call.answer.is_some();
            call.delivery.may_have_arrived |= call.is_written;
            answers.add(call.answer, Err(error(call.delivery)));
        }
        is_heard
    }

    /// No call will be made any more; they end like this.
    pub(super) fn end(&mut self, error: CallError) {
        self.ended = Some(error);
        self.heartbeat = Heartbeat::None;
    }

    /// All calls, in the order in which they were started. None will be made here any more.
    pub(super) fn leave(&mut self) -> Vec<Moving> {
        self.has_left = true;
        self.heartbeat = Heartbeat::None;
        self.outgoing = Vec::new();
        self.queued.clear();
        (self.bytes, self.quick) = (0, 0);
        let mut calls: Vec<_> = self.calls.drain().map(|(slot, call)| Moving { slot, call }).collect();
        calls.sort_unstable_by_key(|moving| moving.call.number);
        for moving in &mut calls {
            moving.call.delivery.may_have_arrived |= std::mem::take(&mut moving.call.is_written);
        }
        calls
    }

    /// Takes a call in that was under way elsewhere, and belongs here now.
    pub(super) fn take_in(&mut self, moving: Moving, route: Route) {
        assert!(!self.is_up, "calls come before the connection");
        let Moving { slot, mut call } = moving;
        self.started += 1;
        (call.number, call.shard) = (self.started, route.shard);
        self.bytes += call.frame.len();
        self.quick += usize::from(!call.delivery.waits());
        let before = self.calls.insert(slot, call);
        assert!(before.is_none(), "slot {slot} has two calls");
    }

    /// Since when there has been trouble with the connection.
    pub(super) fn trouble_since(&self) -> Instant {
        self.trouble_since
    }

    /// Whether there is anything that a connection is needed for.
    pub(super) fn needs_connection(&self) -> bool {
        !self.calls.is_empty() || self.heartbeat != Heartbeat::None
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// When the connection counts as dead unless something is heard before. A heartbeat has less patience than
    /// calls: another must still be in time for the lease.
    pub(super) fn silent_at(&self, patience: Duration) -> Option<Instant> {
        let for_heartbeat = self.stay.incarnation.heartbeat_every().min(patience);
        let patience = if self.heartbeat == Heartbeat::Written { for_heartbeat } else { patience };
        self.awaits_answer().then(|| self.heard + patience)
    }

    /// Whether the node owes an answer within a bounded time.
    fn awaits_answer(&self) -> bool {
        self.quick > 0 || self.heartbeat == Heartbeat::Written
    }

    fn queue_heartbeat(&mut self) {
        if self.is_up && self.heartbeat == Heartbeat::Wanted {
            Frame::Heartbeat.encode(&mut self.outgoing);
            self.heartbeat = Heartbeat::Written;
        }
    }

    fn remove(&mut self, slot: u32) -> UnderWay {
        let call = self.calls.remove(&slot).expect("only calls under way are removed");
        self.bytes -= call.frame.len();
        self.quick -= usize::from(!call.delivery.waits());
        self.stay.session.slots.give_back(CallName { slot, sequence: call.sequence });
        call
    }
}

impl Moving {
    pub(super) fn name(&self) -> CallName {
        CallName { slot: self.slot, sequence: self.call.sequence }
    }

    /// Encodes the call for another incarnation than that of the epoch `left`, and says where it belongs there.
    pub(super) fn route_again(&mut self, incarnation: &Incarnation, left: u64) -> Result<Route, CallError> {
        let UnderWay { frame, delivery, .. } = &mut self.call;
        let Ok(Frame::Call(call)) = frame::parse(&frame[LENGTH_BYTES..]) else {
            unreachable!("this client encoded the call");
        };
        let again = || {
            if frame.len() - LENGTH_BYTES > incarnation.frame_bytes_max {
                return Err(CallError::TooLarge { max: incarnation.frame_bytes_max as u64 });
            }
            incarnation.route_again(&call)
        };
        let route = again().map_err(|error| delivery.refused(error))?;
        let mut encoded = Vec::with_capacity(frame.len());
        let epoch = delivery.seen_in(call.epoch, left);
        Frame::Call(frame::Call { shard: route.shard, epoch, ..call }).encode(&mut encoded);
        *frame = encoded.into();
        Ok(route)
    }

    /// Ends the call.
    pub(super) fn end(self, error: CallError, answers: &mut Answers) {
        answers.add(self.call.answer, Err(error));
    }
}

impl UnderWay {
    /// Whether nothing comes of never sending it again: the node has not seen it, or it changes nothing.
    fn is_pointless(&self) -> bool {
        self.delivery.is_read() || !self.delivery.may_have_arrived
    }
}

fn cancel_frame(CallName { slot, sequence }: CallName) -> Frame<'static> {
    Frame::Cancel { slot, sequence }
}

/// Bytes of a frame's length prefix.
const LENGTH_BYTES: usize = 4;

/// Where in a whole CALL frame its flags are, and two of them.
const FLAGS_AT: usize = 5;
const RETRY: u8 = 1;
const FIRST: u8 = 2;

/// Changes the flags of an encoded CALL.
fn set_flags(call: &mut [u8], first: bool, retry: bool) {
    call[FLAGS_AT] &= !(FIRST | RETRY);
    if first {
        call[FLAGS_AT] |= FIRST;
    }
    if retry {
        call[FLAGS_AT] |= RETRY;
    }
}

#[cfg(test)]
mod tests;
