//! The way to one core: a task that keeps one connection for all calls of a session to it.
//!
//! The task sleeps until there is something to connect for. On a connection it reads, writes and watches at
//! once; when the connection ends, it connects again as long as calls are under way, with pauses that grow.

use super::{
    answer::{Answers, Sender},
    dial::{self, Stream},
    in_flight::{InFlight, Moving, Refused},
    session::Home,
};
use crate::{
    remote::{
        backoff::Backoff,
        node::{Node, Route},
        outcome::Failure,
        session::Stay,
        slots::CallName,
    },
    transport::is_quiet,
};
use abide_net::{CallError, Request, frame::Frame, limits::FRAME_BYTES_MAX};
use socket2::SockRef;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    runtime::Handle,
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};

/// How long giving back what a session holds may take. It is a favour to others, who get it anyway when the
/// lease ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// Bytes that are written at once; more in one batch count as a sign of life when they were taken.
const WRITE_BYTES: usize = 256 << 10;

/// Memory for a batch of frames that is kept for the next one.
const BATCH_BYTES_KEPT_MAX: usize = 256 << 10;

/// The way to one core.
#[derive(Debug)]
pub(super) struct Lane {
    node: Arc<Node>,
    stay: Arc<Stay>,
    core: usize,
    hello: Arc<[u8]>,
    in_flight: Mutex<InFlight>,
    /// There is something to write, or to connect for, or it is over.
    changed: Notify,
    is_started: AtomicBool,
    is_closing: AtomicBool,
    /// The session lives while it is closed, so that there is something to end.
    owes_goodbye: AtomicBool,
    /// How often goodbye may still be said: once more if the connection turns out to have been dead.
    goodbyes_left: AtomicU8,
    /// Goodbye is said here although no call was sent here.
    says_it_anyway: AtomicBool,
    /// Where the session goes when the node is restarted.
    home: Weak<Home>,
    /// A connection that was opened to find the node.
    found: Mutex<Option<Stream>>,
}

/// Why a connection is over.
enum End {
    /// It failed.
    Failed(Failure),
    /// Its session is over.
    Closed,
}

impl Lane {
    pub(super) fn new(
        node: Arc<Node>,
        stay: Arc<Stay>,
        core: usize,
        hello: Arc<[u8]>,
        home: Weak<Home>,
        trouble_since: Instant,
    ) -> Lane {
        Lane {
            in_flight: Mutex::new(InFlight::new(stay.clone(), core, trouble_since)),
            node,
            stay,
            core,
            hello,
            changed: Notify::new(),
            is_started: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            owes_goodbye: AtomicBool::new(false),
            goodbyes_left: AtomicU8::new(2),
            says_it_anyway: AtomicBool::new(false),
            home,
            found: Mutex::new(None),
        }
    }

    /// Has a connection that is open already serve.
    pub(super) fn adopt(&self, stream: Stream) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    /// Starts a call that was routed here.
    pub(super) fn start(
        self: &Arc<Self>,
        runtime: &Handle,
        request: &Request<'_>,
        route: Route,
        answer: Sender,
    ) -> Result<CallName, Refused> {
        let name = self.in_flight().start(Instant::now(), request, route, answer)?;
        self.wake(runtime);
        Ok(name)
    }

    /// Nobody waits for this call's answer any more.
    pub(super) fn cancel(&self, name: CallName) {
        self.in_flight().cancel(name);
        self.changed.notify_one();
    }

    /// Has the session's lease renewed.
    pub(super) fn heartbeat(self: &Arc<Self>, runtime: &Handle) {
        self.in_flight().want_heartbeat(Instant::now());
        self.wake(runtime);
    }

    pub(super) fn is_up(&self) -> bool {
        self.in_flight().is_up()
    }

    /// Gives the calls under way away, in their order: the node was restarted, and they go on in lanes to its new
    /// incarnation. The task ends.
    pub(super) fn leave(&self) -> Vec<Moving> {
        let calls = self.in_flight().leave();
        self.is_closing.store(true, SeqCst);
        self.changed.notify_one();
        calls
    }

    /// Takes in a call that was under way at an earlier incarnation. Before the lane is used.
    pub(super) fn take_in(&self, call: Moving, route: Route) {
        self.in_flight().take_in(call, route);
    }

    /// Begins to work on the calls that were taken in.
    pub(super) fn go_on(self: &Arc<Self>, runtime: &Handle) {
        if self.in_flight().needs_connection() {
            self.wake(runtime);
        }
    }

    /// The session is let go: if it `lives`, its core is told, if the session was there or `anyway`; then the task ends.
    pub(super) fn close(self: &Arc<Self>, runtime: &Handle, lives: bool, anyway: bool) {
        self.owes_goodbye.store(lives, SeqCst);
        self.says_it_anyway.store(anyway, SeqCst);
        self.is_closing.store(true, SeqCst);
        if anyway { self.wake(runtime) } else { self.changed.notify_one() }
    }

    fn wake(self: &Arc<Self>, runtime: &Handle) {
        if !self.is_started.load(SeqCst) && !self.is_started.swap(true, SeqCst) {
            // Made out here: a runtime that is shutting down drops the task before it runs.
            let ends = EndsCalls(self.clone());
            runtime.spawn(async move { ends.0.run().await });
        }
        self.changed.notify_one();
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the calls, and then tells those that ended.
    fn answering<T>(&self, change: impl FnOnce(&mut InFlight, &mut Answers) -> T) -> T {
        let mut answers = Answers::default();
        let changed = change(&mut self.in_flight(), &mut answers);
        answers.deliver();
        changed
    }

    async fn run(&self) {
        let mut backoff = Backoff::new();
        while self.is_wanted().await {
            let began = Instant::now();
            let stream = match self.connect(began).await {
                Ok(stream) => stream,
                Err(failure) => {
                    let pause = backoff.pause();
                    if self.failed(failure, pause) {
                        self.pause(pause).await;
                    }
                    continue;
                }
            };
            self.in_flight().up(Instant::now());
            let mut has_answered = false;
            let end = self.serve(stream, &mut has_answered).await;
            let was_good = has_answered || began.elapsed() > self.node.settings.request_timeout;
            self.in_flight().down(Instant::now(), was_good);
            match end {
                End::Closed => return,
                End::Failed(failure) => {
                    if was_good {
                        backoff = Backoff::new();
                    }
                    let pause = backoff.pause();
                    if self.failed(failure, pause) && self.in_flight().needs_connection() {
                        self.pause(pause).await;
                    }
                }
            }
        }
    }

    /// Waits until a connection is needed. False when the lane is closed and needs none.
    async fn is_wanted(&self) -> bool {
        loop {
            if self.is_closing.load(SeqCst) {
                // Calls that nobody waits for end with the session.
                return self.says_goodbye();
            }
            if self.in_flight().needs_connection() {
                return true;
            }
            self.changed.notified().await;
        }
    }

    /// Whether the core may know of the session that is being closed. Asked by the lane's task alone, which is
    /// also the one that contacts the core.
    fn says_goodbye(&self) -> bool {
        let is_known = self.stay.has_contacted(self.core) || self.says_it_anyway.load(SeqCst);
        self.owes_goodbye.load(SeqCst) && is_known
    }

    async fn connect(&self, now: Instant) -> Result<Stream, Failure> {
        // Nobody has read from it since, so its end would not have been noticed.
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(found) = found.filter(|found| is_quiet(SockRef::from(&found.socket))) {
            return Ok(found);
        }
        let retry_for = self.node.settings.retry_for;
        let give_up = self.in_flight().next_give_up(retry_for).unwrap_or(now + retry_for);
        let is_closing = self.is_closing.load(SeqCst);
        let deadline = if is_closing { now + GOODBYE_MAX } else { give_up };
        dial::to_core(&self.node, &self.stay, self.core, &self.hello, deadline, is_closing).await
    }

    /// Draws the consequences of a failure for the calls under way. Says whether to try again, after a pause:
    /// calls that will have no patience left then are given up now, for a reason that is known.
    fn failed(&self, failure: Failure, pause: Duration) -> bool {
        tracing::debug!(core = self.core, ?failure, "a connection failed");
        if self.is_closing.load(SeqCst) {
            // The goodbye was lost. If it is again, the lease ends what the session holds.
            if self.goodbyes_left.fetch_sub(1, SeqCst) == 1 {
                self.owes_goodbye.store(false, SeqCst);
            }
            return false;
        }
        match failure {
            Failure::OtherIncarnation => {
                let trouble_since = self.in_flight().trouble_since();
                if let Some(home) = self.home.upgrade() {
                    home.follow(&self.stay, trouble_since);
                }
                // Most often this lane is closed now. If not, the node was restarted again, or this session is being let go.
                self.give_up(pause, "the node was restarted again and again");
            }
            Failure::Final(text) => {
                self.answering(|in_flight, answers| {
                    in_flight.end_calls(|delivery| delivery.given_up(text.clone()), answers)
                });
            }
            Failure::Passing(text) => self.give_up(pause, &text),
        }
        true
    }

    fn give_up(&self, pause: Duration, why: &str) {
        let retry_for = self.node.settings.retry_for;
        self.answering(|in_flight, answers| {
            in_flight.give_up(Instant::now() + pause, retry_for, why, answers)
        });
    }

    /// Sleeps for so long, or until the lane is closed.
    async fn pause(&self, pause: Duration) {
        let closed = async {
            while !self.is_closing.load(SeqCst) {
                self.changed.notified().await;
            }
        };
        let _ = timeout(pause, closed).await;
    }

    /// Uses a connection until it ends.
    async fn serve(&self, mut stream: Stream, has_answered: &mut bool) -> End {
        let Stream { socket, received } = &mut stream;
        let (mut reader, mut writer) = socket.split();
        let end = tokio::select! {
            end = self.read(&mut reader, received, has_answered) => end,
            end = self.write(&mut writer) => end,
            end = self.watch() => end,
        };
        match end {
            End::Closed if self.says_goodbye() => self.see_off(socket, received).await,
            end => end,
        }
    }

    /// Waits for the answer to the heartbeat behind a goodbye, which says that the goodbye was read.
    async fn see_off(&self, socket: &mut TcpStream, received: &mut dial::Received) -> End {
        let mut was_heard = false;
        let answer = async {
            while !was_heard {
                received.more(socket).await?;
                received.frames(FRAME_BYTES_MAX, |frame| {
                    was_heard |= matches!(frame, Frame::Alive { .. });
                    Ok(())
                })?;
            }
            Ok(())
        };
        match timeout(GOODBYE_MAX, answer).await {
            Ok(Ok(())) => {
                // The connection ends in order.
                let _ = socket.shutdown().await;
                End::Closed
            }
            Ok(Err(failure)) => End::Failed(failure),
            Err(_) => End::Failed(Failure::Passing("no answer to a goodbye".to_owned())),
        }
    }

    async fn read(
        &self,
        reader: &mut ReadHalf<'_>,
        received: &mut dial::Received,
        has_answered: &mut bool,
    ) -> End {
        loop {
            let taken = self.answering(|in_flight, answers| {
                received.frames(FRAME_BYTES_MAX, |frame| {
                    *has_answered |= matches!(frame, Frame::Reply(_) | Frame::Alive { .. });
                    in_flight.frame(frame, answers)
                })
            });
            if let Err(failure) = taken {
                return End::Failed(failure);
            }
            if let Err(failure) = received.more(reader).await {
                return End::Failed(failure);
            }
            self.in_flight().heard(Instant::now());
        }
    }

    async fn write(&self, writer: &mut WriteHalf<'_>) -> End {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            batch.shrink_to(BATCH_BYTES_KEPT_MAX);
            let is_closing = self.is_closing.load(SeqCst);
            if is_closing {
                // Whatever is still to be written ends with the session.
                if !self.says_goodbye() {
                    return End::Closed;
                }
                Frame::Goodbye.encode(&mut batch);
                Frame::Heartbeat.encode(&mut batch);
            } else if !self.in_flight().take(&mut batch) {
                self.changed.notified().await;
                continue;
            }
            for (n, piece) in batch.chunks(WRITE_BYTES).enumerate() {
                if n > 0 {
                    // The piece before went out: large values take their time. That a small one did says
                    // nothing, for the kernel takes it from anyone.
                    self.in_flight().heard(Instant::now());
                }
                if let Err(error) = writer.write_all(piece).await {
                    return End::Failed(Failure::Passing(format!("the connection failed: {error}")));
                }
            }
            if is_closing {
                return End::Closed;
            }
        }
    }

    /// Ends when the node owes an answer and nothing is heard of it.
    async fn watch(&self) -> End {
        let patience = self.node.settings.request_timeout;
        loop {
            let silent_at = self.in_flight().silent_at(patience);
            match silent_at {
                Some(at) if at <= Instant::now() => {
                    let text = format!("the node was silent for {patience:?}");
                    return End::Failed(Failure::Passing(text));
                }
                Some(at) => sleep_until(at.into()).await,
                // Soon enough to be in time for whatever begins meanwhile.
                None => sleep(patience.min(self.stay.incarnation.heartbeat_every())).await,
            }
        }
    }
}

/// The lane's task. When it ends, on purpose or because its runtime does, so do its calls.
struct EndsCalls(Arc<Lane>);

impl Drop for EndsCalls {
    fn drop(&mut self) {
        let gone = || "the runtime of the connection has ended".to_owned();
        self.0.answering(|in_flight, answers| {
            in_flight.end_calls(|delivery| delivery.given_up(gone()), answers);
            in_flight.end(CallError::Unavailable { reason: gone() });
        });
    }
}
