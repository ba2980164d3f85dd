//! Real shards behind threads and sockets.

use super::{
    connection,
    faults::{Act, Faults, Moment},
};
use abide_net::frame::{Call, Welcome};
use abide_pmem::Persistence;
use abide_shards::{
    Event, Outbox, Registry, Shard,
    regions::{DataOptions, Regions},
    shard::{Limits, Origin, SessionId, SessionTerms, ShardConfig},
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::Sender,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    pub cores: usize,
    pub shards: u32,
    pub lease: Duration,
    pub frame_bytes_max: u32,
    /// The node's clock stands still but for [`TestNode::advance`].
    pub manual_clock: bool,
    /// Objects and sessions are kept in a file, and are there again after a restart.
    pub persistent: bool,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            cores: 1,
            shards: 4,
            lease: Duration::from_secs(10),
            frame_bytes_max: 32 << 20,
            manual_clock: false,
            persistent: false,
        }
    }
}

/// A call as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenCall {
    pub core: usize,
    pub shard: u32,
    pub slot: u32,
    pub sequence: u64,
    pub retry: bool,
    pub first: bool,
    pub method: u16,
    pub session: u128,
}

/// What arrived at a node since it was made.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Connections accepted, by core.
    pub connections: Vec<usize>,
    pub calls: Vec<SeenCall>,
    pub heartbeats: usize,
    pub goodbyes: usize,
    pub cancels: usize,
    /// Sessions that said HELLO.
    pub sessions: Vec<u128>,
}

/// A node. Stops when it is dropped.
pub struct TestNode {
    pub(super) shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

/// What all threads of a node have.
pub(super) struct Shared {
    pub(super) options: Mutex<NodeOptions>,
    ip: IpAddr,
    data: TempDir,
    ports: Mutex<Vec<u16>>,
    state: Mutex<State>,
    faults: Mutex<Faults>,
    seen: Mutex<Seen>,
    started: Instant,
    started_us: u64,
    advanced_us: AtomicU64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) epoch: u64,
    regions: Option<Regions>,
    pub(super) shards: Vec<Shard>,
    pub(super) outbox: Outbox,
    /// Writers of the connections, which get whole frames; and the sockets, to be shut down.
    pub(super) connections: HashMap<u64, (Sender<Vec<u8>>, TcpStream)>,
    pub(super) last_connection: u64,
}

struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl TestNode {
    pub fn start(options: NodeOptions) -> TestNode {
        // Each node has an address of its own, so no port is ever taken by anybody else while it is down.
        let [a, b, c] = fastrand::u32(..).to_le_bytes()[..3] else { unreachable!() };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let shared = Shared {
            ip: IpAddr::V4(Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254))),
            data: tempfile::tempdir().unwrap(),
            ports: Mutex::default(),
            state: Mutex::default(),
            faults: Mutex::new(Box::new(|_| Act::Go)),
            seen: Mutex::default(),
            started: Instant::now(),
            started_us: since_1970.as_micros() as u64,
            advanced_us: AtomicU64::new(0),
            options: Mutex::new(options),
        };
        let node = TestNode { shared: Arc::new(shared), running: Mutex::new(None) };
        node.start_again();
        node
    }

    /// One core and four shards.
    pub fn small() -> TestNode {
        TestNode::start(NodeOptions::default())
    }

    /// The same with data that outlives it.
    pub fn persistent() -> TestNode {
        TestNode::start(NodeOptions { persistent: true, ..NodeOptions::default() })
    }

    /// Where its first core listens.
    pub fn address(&self) -> String {
        format!("{}:{}", self.shared.ip, self.shared.ports.lock().unwrap()[0])
    }

    pub fn shards(&self) -> u32 {
        self.shared.options.lock().unwrap().shards
    }

    /// Has the test decide what goes wrong, from now on.
    pub fn on(&self, faults: impl FnMut(Moment<'_>) -> Act + Send + 'static) {
        *self.shared.faults.lock().unwrap() = Box::new(faults);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.on(|_| Act::Go);
    }

    /// Does this the next time that `when` holds, once.
    pub fn once(&self, act: Act, mut when: impl FnMut(Moment<'_>) -> bool + Send + 'static) {
        let mut act = Some(act);
        self.on(move |moment| if act.is_some() && when(moment) { act.take().unwrap() } else { Act::Go });
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen().clone()
    }

    /// How many calls arrived so far: without a copy of what is known of each, which would hold the node up.
    pub fn calls_arrived(&self) -> usize {
        self.shared.seen().calls.len()
    }

    /// Connections accepted so far, by all cores.
    pub fn connections_opened(&self) -> usize {
        self.seen().connections.iter().sum()
    }

    /// Has the session end, as if its lease had: the next call of it is told.
    pub fn end_session(&self, session: u128) {
        self.shared.apply_everywhere(Event::Goodbye { session: SessionId(session) });
    }

    /// Whether a shard knows the session.
    pub fn knows(&self, session: u128) -> bool {
        self.shared.state().shards.iter().any(|shard| shard.knows(SessionId(session)))
    }

    /// Lets time pass on the node's manual clock.
    pub fn advance(&self, duration: Duration) {
        self.shared.advanced_us.fetch_add(duration.as_micros() as u64, SeqCst);
    }

    /// Lets five leases pass on the node's manual clock, as a heartbeat comes for each quarter of one. So the
    /// session that sends them must live on, however slow the machine is.
    pub fn let_leases_pass(&self, lease: Duration, mut after_each: impl FnMut()) {
        for _ in 0..20 {
            let before = self.seen().heartbeats;
            self.advance(lease / 4);
            super::eventually("a heartbeat comes", || self.seen().heartbeats > before);
            after_each();
        }
    }

    /// Cuts all connections. The node goes on, and sessions live.
    pub fn cut_all(&self) {
        self.shared
            .state()
            .connections
            .drain()
            .for_each(|(_, (_, socket))| drop(socket.shutdown(Shutdown::Both)));
    }

    /// Stops it: nothing listens any more.
    pub fn stop(&self) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        running.stop.store(true, SeqCst);
        self.cut_all();
        running.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.cut_all(); // what was accepted meanwhile
    }

    /// Kills it and starts it again, in a new incarnation.
    pub fn restart(&self) {
        let options = self.shared.options.lock().unwrap().clone();
        self.restart_as(options);
    }

    /// The same with other options. Cores that were there keep their ports.
    pub fn restart_as(&self, options: NodeOptions) {
        self.stop();
        *self.shared.options.lock().unwrap() = options;
        self.start_again();
    }

    /// Forgets the cores' ports: they are others after the next start, but for the first one's.
    pub fn move_ports(&self) {
        self.shared.ports.lock().unwrap().truncate(1);
    }

    /// Begins to listen, in a new epoch, with what its data says.
    pub fn start_again(&self) {
        let options = self.shared.options.lock().unwrap().clone();
        let mut ports = self.shared.ports.lock().unwrap();
        let listeners: Vec<TcpListener> = (0..options.cores)
            .map(|core| {
                let port = ports.get(core).copied().unwrap_or(0);
                TcpListener::bind((self.shared.ip, port)).expect("the address is this node's own")
            })
            .collect();
        *ports = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(ports);
        {
            let state = &mut *self.shared.state();
            // As if killed: whatever the shards and the outbox had in ordinary memory is gone.
            (state.shards, state.outbox, state.regions) = (Vec::new(), Outbox::default(), None);
            let path = self.shared.data.path().join("data.abide");
            let mut data = DataOptions::new(path, Persistence::ProcessCrash);
            data.force_file_system = true;
            let data = options.persistent.then_some(&data);
            let regions =
                Regions::open(data, Some(options.shards), options.shards, 1 << 30, state.epoch + 1).unwrap();
            state.epoch = regions.epoch();
            let open = |shard| {
                Shard::open(ShardConfig {
                    shard,
                    epoch: regions.epoch(),
                    registry: Registry::built_in(),
                    started_us: self.shared.now_us(),
                    ephemeral: regions.ephemeral(shard),
                    persistent: regions.persistent(shard),
                    persistent_by_default: options.persistent,
                    persistence: regions.persistence(),
                    limits: Limits::default(),
                })
            };
            state.shards = (0..options.shards).map(|shard| open(shard).unwrap()).collect();
            state.regions = Some(regions);
        }
        self.shared.seen().connections.resize(options.cores, 0);
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads: Vec<_> = listeners
            .into_iter()
            .enumerate()
            .map(|(core, listener)| {
                let (shared, stop) = (self.shared.clone(), stop.clone());
                thread::spawn(move || accept(shared, core, listener, &stop))
            })
            .collect();
        let (shared, stopped) = (self.shared.clone(), stop.clone());
        threads.push(thread::spawn(move || {
            while !stopped.load(SeqCst) {
                shared.apply_everywhere(Event::Tick);
                thread::sleep(Duration::from_millis(5));
            }
        }));
        *self.running.lock().unwrap() = Some(Running { stop, threads });
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(shared: Arc<Shared>, core: usize, listener: TcpListener, stop: &AtomicBool) {
    listener.set_nonblocking(true).unwrap();
    while !stop.load(SeqCst) {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(false).unwrap();
                shared.seen().connections[core] += 1;
                connection::serve(&shared, core, socket);
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub(super) fn choice(&self, moment: Moment<'_>) -> Act {
        (self.faults.lock().unwrap())(moment)
    }

    pub(super) fn now_us(&self) -> u64 {
        let manual = self.options.lock().unwrap().manual_clock;
        let elapsed_us = if manual { 0 } else { self.started.elapsed().as_micros() as u64 };
        self.started_us + elapsed_us + self.advanced_us.load(SeqCst)
    }

    pub(super) fn welcome(&self, core: usize, lease_ms: u32) -> Welcome {
        let options = self.options.lock().unwrap();
        Welcome {
            epoch: self.state().epoch,
            lease_ms,
            frame_bytes_max: options.frame_bytes_max,
            shards: options.shards,
            core: core as u16,
            ports: self.ports.lock().unwrap().clone(),
        }
    }

    /// Makes a call, and sends the answers that it causes, but for the one to this connection: that is
    /// returned.
    pub(super) fn call(
        &self,
        connection: u64,
        session: SessionId,
        terms: SessionTerms,
        call: Call<'_>,
    ) -> Vec<u8> {
        let origin = Origin { core: 0, connection };
        let now_us = self.now_us();
        let state = &mut *self.state();
        if !state.connections.contains_key(&connection) {
            return Vec::new(); // it was cut, and this may be another incarnation
        }
        let Some(shard) = state.shards.get_mut(call.shard as usize) else { return Vec::new() };
        shard.apply(now_us, Event::Call { origin, session, terms, call }, &mut state.outbox);
        state.deliver(Some((connection, call.slot, call.sequence)))
    }

    pub(super) fn apply_everywhere(&self, event: Event<'_>) {
        let now_us = self.now_us();
        let state = &mut *self.state();
        for shard in &mut state.shards {
            shard.apply(now_us, event, &mut state.outbox);
        }
        state.deliver(None);
    }
}

impl State {
    /// Hands answers to the connections' writers; but the one to this call is returned.
    fn deliver(&mut self, but: Option<(u64, u32, u64)>) -> Vec<u8> {
        let mut kept = Vec::new();
        for shard in &mut self.shards {
            shard.commit(&mut self.outbox).unwrap();
        }
        for reply in self.outbox.replies() {
            let frame = self.outbox.frame(reply);
            if but == Some((reply.origin.connection, reply.slot, reply.sequence)) {
                kept.extend_from_slice(frame);
            } else if let Some((writer, _)) = self.connections.get(&reply.origin.connection) {
                let _ = writer.send(frame.to_vec());
            }
        }
        self.outbox.clear();
        kept
    }
}
