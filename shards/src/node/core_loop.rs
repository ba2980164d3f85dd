//! One core's loop.
//!
//! A turn takes in everything that arrived (bytes from clients, messages from cores, time), makes the calls, and
//! then hands all answers over together. Nothing in a turn waits; between turns the core sleeps until its ring,
//! its mailbox or its timer has something.

use super::{
    config::granted_lease_ms,
    connection::Connections,
    mailbox::{Mailbox, Message, Outgoing},
    ring::{ConnectionId, ReceivedBuffer, Ring, RingEvent},
};
use crate::{
    clock::Clock,
    shard::{Event, Origin, Outbox, SessionId, SessionTerms, Shard},
};
use abide_net::{
    CallError,
    frame::{self, Call, Frame, FrameError, Hello, Next, RejectReason, Welcome},
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX},
    route::{ShardId, shard_of},
};
use abide_pmem::HeapError;
use abide_schema::{ObjectType, types::shard};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A connection that has not said HELLO for so long is closed.
const HELLO_US_MAX: u64 = 10_000_000;

/// A client that was told that its connection is being closed has so long to close its side.
const CLOSING_US_MAX: u64 = 10_000_000;

/// Unread answers of one connection at which no more of its calls are made until it has read them.
const UNREAD_BYTES_STALL: usize = 1 << 20;

/// Calls that one connection may have under way on other cores. A client that knows the map has none.
const ELSEWHERE_CALLS_MAX: u32 = 32;

/// A core that is later than this for the end of a lease did not run, or ran too slowly to hear heartbeats.
const LATE_US_MAX: u64 = 50_000;

/// How long heartbeats that waited for a late core may take to reach it, by way of other cores.
const LATE_GRACE_US: u64 = 100_000;

/// Answers that may gather in the outbox within a turn before they are handed to the ring.
const OUTBOX_BYTES_MAX: usize = 256 << 10;

/// Messages of other cores that one turn takes in, so that clients have their turn too.
const MESSAGES_A_TURN_MAX: usize = 1_024;

/// How long clients get to read what was sent to them when the node stops.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// What all cores of a node share: nothing that changes but mailboxes and one flag.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) epoch: u64,
    pub(super) shards: u32,
    pub(super) ports: Vec<u16>,
    pub(super) lease_ms: u32,
    pub(super) clock: Clock,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) stop: AtomicBool,
    pub(super) partial_bytes_max: usize,
    pub(super) unread_bytes_max: usize,
}

impl Shared {
    /// Has all cores stop.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.mailboxes.iter().for_each(Mailbox::wake);
    }

    fn core_of(&self, shard: ShardId) -> usize {
        shard as usize % self.mailboxes.len()
    }
}

/// A core of a node.
pub(super) struct Core {
    number: usize,
    shared: Arc<Shared>,
    ring: Ring,
    /// The shards `number`, `number + cores`, ...
    shards: Vec<Shard>,
    connections: Connections,
    /// Connections without HELLO yet, the oldest first, and when their time is over.
    strangers: VecDeque<(u64, ConnectionId)>,
    /// Connections that are being closed, the oldest first, and when patience with them ends.
    closing: VecDeque<(u64, ConnectionId)>,
    /// Connections with unread answers beyond [`UNREAD_BYTES_STALL`]. They go on when those are sent.
    unread: BTreeSet<ConnectionId>,
    /// The calls of other cores' connections that this turn got through, by core and connection.
    through: BTreeMap<(u32, u64), u32>,
    outgoing: Vec<Outgoing>,
    outbox: Outbox,
    now_us: u64,
    /// The last turn did not come to the end of the mailbox.
    mail_left: bool,
    /// The memory of a shard failed: nobody knows what of its last batch is durable, so the node must stop.
    failed: Option<HeapError>,
}

/// What became of the bytes that a connection sent.
enum Progress {
    /// So many bytes were used; the rest is an incomplete frame.
    Incomplete(usize),
    /// So many bytes were used; the rest waits until the client reads its answers, or another core catches up.
    Stalled(usize),
    /// The connection was turned away.
    Rejected,
}

impl Core {
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        ring: Ring,
        shards: Vec<Shard>,
    ) -> io::Result<Core> {
        shared.mailboxes[number].set_waker(ring.waker());
        let outgoing = shared.mailboxes.iter().map(|_| Outgoing::default()).collect();
        Ok(Core {
            number,
            ring,
            shards,
            connections: Connections::default(),
            strangers: VecDeque::new(),
            closing: VecDeque::new(),
            unread: BTreeSet::new(),
            through: BTreeMap::new(),
            outgoing,
            outbox: Outbox::default(),
            now_us: shared.clock.now_us(),
            mail_left: false,
            failed: None,
            shared,
        })
    }

    /// Runs until the node stops. An error means that the ring is unusable.
    pub(super) async fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.load(Ordering::SeqCst) {
            self.turn();
            if let Some(error) = &self.failed {
                return Err(io::Error::other(format!("its memory failed: {error}")));
            }
            self.sleep().await?;
        }
        self.wind_up().await
    }

    fn turn(&mut self) {
        self.now_us = self.shared.clock.now_us();
        self.forgive_lost_time();
        while let Some(event) = self.ring.next_event() {
            self.ring_event(event);
        }
        let shared = self.shared.clone();
        let mailbox = &shared.mailboxes[self.number];
        while let Some(message) = mailbox.take_answers() {
            self.message(message);
        }
        self.mail_left = true;
        for _ in 0..MESSAGES_A_TURN_MAX {
            if shared.mailboxes.iter().any(Mailbox::is_behind) {
                break;
            }
            let Some(message) = mailbox.take_request() else {
                self.mail_left = false;
                break;
            };
            self.message(message);
        }
        // Only now: a heartbeat that arrived in time counts, however late this turn is.
        self.let_time_pass();
        self.deliver();
        for (outgoing, mailbox) in self.outgoing.iter_mut().zip(&shared.mailboxes) {
            outgoing.flush(mailbox);
        }
    }

    /// Time in which this core did not run is not held against sessions: their heartbeats were not heard.
    fn forgive_lost_time(&mut self) {
        for shard in &mut self.shards {
            let late_us = shard.next_lease_us().map_or(0, |due_us| self.now_us.saturating_sub(due_us));
            if late_us > LATE_US_MAX {
                tracing::warn!(late_us, "this core did not run for a while; leases are extended by as much");
                let by_us = late_us + LATE_GRACE_US;
                shard.apply(self.now_us, Event::Late { by_us }, &mut self.outbox);
            }
        }
    }

    /// Waits for the ring, the mailbox or the next deadline.
    async fn sleep(&mut self) -> io::Result<()> {
        // What is left to do needs a turn soon, but the executor's other tasks get theirs.
        let unfinished = self.mail_left || self.outgoing.iter().any(Outgoing::is_stuck);
        if unfinished || self.shared.stop.load(Ordering::SeqCst) {
            self.shared.mailboxes[self.number].wake();
        }
        let timers = self.shards.iter().filter_map(Shard::next_deadline_us);
        let connections = [self.strangers.front(), self.closing.front()].into_iter().flatten();
        let deadline_us = timers.chain(connections.map(|(until_us, _)| *until_us)).min();
        let Some(deadline_us) = deadline_us else { return self.ring.ready().await };
        let left = Duration::from_micros(deadline_us.saturating_sub(self.now_us));
        let alarm = async {
            glommio::timer::sleep(left).await;
            Ok(())
        };
        futures_lite::future::or(self.ring.ready(), alarm).await
    }

    fn let_time_pass(&mut self) {
        for shard in &mut self.shards {
            if shard.next_deadline_us().is_some_and(|deadline_us| deadline_us <= self.now_us) {
                shard.apply(self.now_us, Event::Tick, &mut self.outbox);
            }
        }
        while let Some((until_us, id)) = self.strangers.front().copied() {
            let waits = self.connections.get_mut(id).is_some_and(|connection| connection.session.is_none());
            if waits && until_us > self.now_us {
                break;
            }
            self.strangers.pop_front();
            if waits {
                self.reject(id, RejectReason::Malformed, "no HELLO came");
            }
        }
        while let Some((until_us, id)) = self.closing.front().copied()
            && until_us <= self.now_us
        {
            self.closing.pop_front();
            self.ring.close(id);
        }
    }

    fn ring_event(&mut self, event: RingEvent) {
        match event {
            RingEvent::Accepted { connection, .. } => {
                self.connections.open(connection);
                self.strangers.push_back((self.now_us + HELLO_US_MAX, connection));
            }
            RingEvent::Received { connection, bytes } => self.received(connection, &bytes),
            RingEvent::PeerFinished { connection } => {
                if let Some(found) = self.connections.get_mut(connection) {
                    found.finished = true;
                }
                self.close_if_finished(connection);
            }
            RingEvent::SendDrained { connection } => {
                self.unread.remove(&connection);
                self.go_on(connection);
            }
            RingEvent::Closed { connection, reason } => {
                tracing::debug!(?connection, ?reason, "closed");
                self.unread.remove(&connection);
                self.connections.close(connection);
            }
        }
    }

    fn received(&mut self, id: ConnectionId, bytes: &ReceivedBuffer) {
        let mut partial = self.connections.take_partial(id);
        let stalled = self.connections.get_mut(id).is_none_or(|connection| connection.stalled);
        if partial.is_empty() && !stalled {
            // The usual case: whole frames, read where the kernel put them.
            let progress = self.frames(id, bytes);
            self.keep(id, progress, |used| bytes[used..].to_vec());
        } else {
            partial.extend_from_slice(bytes);
            let progress = if stalled { Progress::Stalled(0) } else { self.frames(id, &partial) };
            self.keep(id, progress, |used| {
                partial.drain(..used);
                partial
            });
        }
    }

    /// Keeps what is left of a connection's bytes.
    fn keep(&mut self, id: ConnectionId, progress: Progress, rest: impl FnOnce(usize) -> Vec<u8>) {
        let rest = match progress {
            Progress::Rejected => return,
            Progress::Incomplete(used) => rest(used),
            Progress::Stalled(used) => {
                self.ring.pause_receive(id);
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.stalled = true;
                }
                rest(used)
            }
        };
        // Who keeps most has to go: not who came last, with a frame of the usual size.
        if !rest.is_empty()
            && let Some(most) = self.connections.keep_partial(id, rest, self.shared.partial_bytes_max)
        {
            self.reject(most, RejectReason::Busy, "too many incomplete frames");
        }
    }

    /// Makes the calls that a connection's bytes are.
    fn frames(&mut self, id: ConnectionId, bytes: &[u8]) -> Progress {
        let mut used = 0;
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return Progress::Rejected };
            let session = connection.session;
            let longest = if session.is_some() { FRAME_BYTES_MAX } else { HELLO_BYTES_MAX };
            match frame::next_frame(&bytes[used..], longest) {
                Ok(Next::Incomplete(_)) => return Progress::Incomplete(used),
                // Only calls are held up: a heartbeat has no answer worth the name, and must not come too late.
                Ok(Next::Frame(Frame::Call(_), _)) if self.must_stall(id) => return Progress::Stalled(used),
                Ok(Next::Frame(frame, length)) => {
                    let whole = &bytes[used..used + length];
                    used += length;
                    let outcome = match (session, frame) {
                        (None, Frame::Hello(hello)) => {
                            self.welcome(id, hello);
                            Ok(())
                        }
                        (Some(session), frame) => self.frame(id, session, frame, whole),
                        (None, other) => Err(FrameError::OutOfPlace { kind: other.kind() }),
                    };
                    if let Err(error) = outcome {
                        self.reject(id, RejectReason::Malformed, &error.to_string());
                        return Progress::Rejected;
                    }
                }
                Err(error) => {
                    let version = matches!(error, FrameError::OtherVersion { .. });
                    let reason = if version { RejectReason::Version } else { RejectReason::Malformed };
                    self.reject(id, reason, &error.to_string());
                    return Progress::Rejected;
                }
            }
        }
    }

    /// Whether no more of this connection's calls may be made now: its client does not read its answers, or
    /// it has as many calls under way on other cores as it may.
    fn must_stall(&mut self, id: ConnectionId) -> bool {
        self.bound_outbox();
        let elsewhere = self.connections.get_mut(id).map_or(0, |connection| connection.elsewhere);
        elsewhere >= ELSEWHERE_CALLS_MAX || self.unread.contains(&id)
    }

    fn bound_outbox(&mut self) {
        if self.outbox.bytes_len() > OUTBOX_BYTES_MAX {
            self.deliver();
        }
    }

    fn welcome(&mut self, id: ConnectionId, hello: Hello) {
        let lease_ms = granted_lease_ms(hello.lease_ms, self.shared.lease_ms);
        let terms = SessionTerms { lease_us: u64::from(lease_ms) * 1_000, is_seeded: hello.is_seeded };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.session = Some((SessionId(hello.session), terms));
        }
        let welcome = Frame::Welcome(Welcome {
            epoch: self.shared.epoch,
            lease_ms,
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            shards: self.shared.shards,
            core: self.number as u16,
            ports: self.shared.ports.clone(),
        });
        self.send(id, &welcome);
    }

    fn frame(
        &mut self,
        id: ConnectionId,
        (session, terms): (SessionId, SessionTerms),
        frame: Frame<'_>,
        whole: &[u8],
    ) -> Result<(), FrameError> {
        match frame {
            Frame::Call(call) => {
                let origin = Origin { core: self.number as u32, connection: id.into() };
                self.call(origin, session, terms, call, whole);
            }
            Frame::Cancel { slot, sequence } => {
                self.own_shards(Event::Cancel { session, slot, sequence });
                self.tell_others(|| Message::Cancel { session, slot, sequence });
            }
            Frame::Heartbeat => {
                self.own_shards(Event::Heartbeat { session });
                self.tell_others(|| Message::Heartbeat { session });
                let alive = self.shards.iter_mut().all(|shard| shard.may_be_alive(session));
                self.send(id, &Frame::Alive { alive });
            }
            Frame::Goodbye => {
                self.own_shards(Event::Goodbye { session });
                self.tell_others(|| Message::Goodbye { session });
            }
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Reply(_)
            | Frame::Alive { .. }
            | Frame::Reject { .. } => {
                return Err(FrameError::OutOfPlace { kind: frame.kind() });
            }
        }
        Ok(())
    }

    /// Makes a call here, or has the core make it that owns the object. Where an object belongs is computed
    /// here: what the client believes only decided where it connected to.
    fn call(
        &mut self,
        origin: Origin,
        session: SessionId,
        terms: SessionTerms,
        call: Call<'_>,
        whole: &[u8],
    ) {
        let shard = if call.type_id == shard::Type::ID {
            if call.shard >= self.shared.shards {
                let reason = format!("shard {}, but there are {}", call.shard, self.shared.shards);
                self.answer_here(&origin, &call, &CallError::bad_argument(reason));
                return;
            }
            call.shard
        } else {
            shard_of(call.type_id, call.key, self.shared.shards)
        };
        let owner = self.shared.core_of(shard);
        if owner == self.number {
            self.call_here(origin, session, terms, shard, call);
        } else {
            if let Some(connection) = self.connections.get_mut(origin.connection.into()) {
                connection.elsewhere += 1;
            }
            let frame = whole[size_of::<u32>()..].into();
            let message = Message::Call { origin, session, terms, shard, frame };
            self.outgoing[owner].send(message, &self.shared.mailboxes[owner]);
        }
    }

    /// Answers a call that no shard could.
    fn answer_here(&mut self, origin: &Origin, call: &Call<'_>, error: &CallError) {
        let id = origin.connection.into();
        if let Some(output) = self.ring.output(id) {
            frame::encode_reply(output, call.slot, call.sequence, Err(error));
        }
        self.note_unread(id);
    }

    fn call_here(
        &mut self,
        origin: Origin,
        session: SessionId,
        terms: SessionTerms,
        shard: ShardId,
        call: Call<'_>,
    ) {
        let event = Event::Call { origin, session, terms, call };
        let shard = &mut self.shards[shard as usize / self.shared.mailboxes.len()];
        shard.apply(self.now_us, event, &mut self.outbox);
    }

    fn own_shards(&mut self, event: Event<'_>) {
        for shard in &mut self.shards {
            shard.apply(self.now_us, event, &mut self.outbox);
        }
    }

    fn tell_others(&mut self, message: impl Fn() -> Message) {
        for (core, outgoing) in self.outgoing.iter_mut().enumerate() {
            if core != self.number {
                outgoing.send(message(), &self.shared.mailboxes[core]);
            }
        }
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Call { origin, session, terms, shard, frame } => {
                let Ok(Frame::Call(call)) = frame::parse(&frame) else {
                    panic!("a core passed a frame on that is no call");
                };
                self.call_here(origin, session, terms, shard, call);
                *self.through.entry((origin.core, origin.connection)).or_default() += 1;
                self.bound_outbox();
            }
            Message::Cancel { session, slot, sequence } => {
                self.own_shards(Event::Cancel { session, slot, sequence })
            }
            Message::Heartbeat { session } => self.own_shards(Event::Heartbeat { session }),
            Message::Goodbye { session } => self.own_shards(Event::Goodbye { session }),
            Message::Answers { connection, through, frames } => {
                let id = ConnectionId::from(connection);
                self.ring.send(id, &frames);
                self.note_unread(id);
                if let Some(connection) = self.connections.get_mut(id) {
                    connection.elsewhere -= through;
                    // With some room, so that a connection does not stall again at once.
                    if connection.elsewhere <= ELSEWHERE_CALLS_MAX / 2 && !self.unread.contains(&id) {
                        self.go_on(id);
                    }
                }
            }
        }
    }

    /// Makes what the turn did so far durable, then hands the answers to their connections, here or on other cores.
    fn deliver(&mut self) {
        let mut outbox = std::mem::take(&mut self.outbox);
        for shard in &mut self.shards {
            if let Err(error) = shard.commit(&mut outbox) {
                tracing::error!(%error, "the memory of a shard failed");
                // The answers go with the outbox: they would acknowledge what may not be there.
                self.failed = Some(error);
                return;
            }
        }
        let mut elsewhere: BTreeMap<(u32, u64), Vec<u8>> = BTreeMap::new();
        for reply in outbox.replies() {
            let Origin { core, connection } = reply.origin;
            if core as usize == self.number {
                let id = ConnectionId::from(connection);
                // A connection that is gone needs no answer: the session keeps it for a retry.
                self.ring.send(id, outbox.frame(reply));
                self.note_unread(id);
            } else {
                elsewhere.entry((core, connection)).or_default().extend_from_slice(outbox.frame(reply));
            }
        }
        let mut through = std::mem::take(&mut self.through);
        // A call that waits has no answer yet, but its core has to know that it is through.
        through.keys().for_each(|to| _ = elsewhere.entry(*to).or_default());
        for ((core, connection), frames) in elsewhere {
            let through = through.remove(&(core, connection)).unwrap_or(0);
            let message = Message::Answers { connection, through, frames: frames.into() };
            self.outgoing[core as usize].send(message, &self.shared.mailboxes[core as usize]);
        }
        outbox.clear();
        self.outbox = outbox;
    }

    /// Watches what a connection has not read. Past the bound for all together, the one with most is closed.
    fn note_unread(&mut self, id: ConnectionId) {
        if self.ring.queued_bytes(id) <= UNREAD_BYTES_STALL {
            return;
        }
        self.unread.insert(id);
        let unread: usize = self.unread.iter().map(|id| self.ring.queued_bytes(*id)).sum();
        let most = self.unread.iter().max_by_key(|id| self.ring.queued_bytes(**id)).copied();
        if let Some(most) = most.filter(|_| unread > self.shared.unread_bytes_max) {
            tracing::warn!(?most, unread, "closing a connection whose client does not read");
            self.ring.close(most);
            self.unread.remove(&most);
        }
    }

    /// Goes on with a connection that was stalled, whose client has read its answers or got others through.
    fn go_on(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if std::mem::take(&mut connection.stalled) {
            let mut partial = self.connections.take_partial(id);
            let progress = self.frames(id, &partial);
            if matches!(progress, Progress::Incomplete(_)) {
                self.ring.resume_receive(id);
            }
            self.keep(id, progress, |used| {
                partial.drain(..used);
                partial
            });
        }
        self.close_if_finished(id);
    }

    /// Closes a connection whose client has sent all that it will, once all of that is answered or waits.
    fn close_if_finished(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.finished
            && !connection.stalled
            && connection.elsewhere == 0
            && !self.unread.contains(&id)
        {
            self.deliver();
            self.close_after_flush(id);
        }
    }

    /// Closes a connection once what was sent is read, or the client has had its time for that.
    fn close_after_flush(&mut self, id: ConnectionId) {
        self.ring.close_after_flush(id);
        self.closing.push_back((self.now_us + CLOSING_US_MAX, id));
    }

    fn send(&mut self, id: ConnectionId, frame: &Frame<'_>) {
        if let Some(output) = self.ring.output(id) {
            frame.encode(output);
        }
        self.note_unread(id);
    }

    /// Says why, and closes.
    fn reject(&mut self, id: ConnectionId, reason: RejectReason, text: &str) {
        tracing::debug!(?id, ?reason, text, "turned away");
        self.deliver();
        self.send(id, &Frame::Reject { reason, text });
        self.close_after_flush(id);
        self.connections.close(id);
    }

    /// Tells every client, gives them a moment to read it, and lets go.
    async fn wind_up(mut self) -> io::Result<()> {
        self.ring.stop_accepting();
        self.turn();
        for id in self.connections.ids() {
            self.reject(id, RejectReason::Stopping, "the node is stopping");
        }
        let until = Instant::now() + STOP_PATIENCE;
        while self.ring.connections() > 0 && Instant::now() < until {
            while self.ring.next_event().is_some() {}
            let patience = async {
                glommio::timer::sleep(Duration::from_millis(10)).await;
                Ok(())
            };
            futures_lite::future::or(self.ring.ready(), patience).await?;
        }
        Ok(())
    }
}
