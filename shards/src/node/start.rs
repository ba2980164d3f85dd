//! Starting a node and stopping it.

use super::{
    config::{NodeConfig, Resolved, StartError},
    core_loop::{Core, Shared},
    mailbox::Mailbox,
    ring::{PREEMPT_TIMER, Ring, RingConfig, RingError},
    system,
};
use crate::{
    clock::Clock,
    regions::{OpenError, Regions, physical_memory_bytes},
    shard::{Shard, ShardConfig},
};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Arc, mpsc},
};

/// Memory that glommio sets aside for file I/O, of which a core has none but the reads that wake it.
const GLOMMIO_IO_BYTES: usize = 64 << 10;

/// Entries of each of glommio's own rings: one sleep and one timer at a time.
const GLOMMIO_RING_ENTRIES: usize = 64;

/// A running node. Dropping it stops it.
#[derive(Debug)]
pub struct Node {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    cores: Vec<ExecutorJoinHandle<Result<(), NodeStopped>>>,
    /// Until it has stopped.
    regions: Option<Regions>,
}

/// Why a node stopped without having been told to.
#[derive(Debug, thiserror::Error)]
#[error("core {core} stopped: {reason}")]
pub struct NodeStopped {
    /// The core that stopped first.
    pub core: usize,
    /// Why.
    pub reason: String,
}

impl Node {
    /// Starts a node. When this returns, it accepts connections on all its cores.
    pub fn start(config: &NodeConfig) -> Result<Node, StartError> {
        system::check()?;
        if let Err(error) = system::raise_open_files() {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let resolved = config.resolve()?;
        let clock = Clock::start();
        let regions = Regions::open(
            config.data.as_ref(),
            config.shards,
            resolved.shards,
            config.memory_bytes_max.unwrap_or_else(physical_memory_bytes),
            clock.started_us(),
        )?;
        let shards = (0..regions.shards()).map(|shard| open_shard(shard, config, &regions, &clock));
        let mut shards = shards.map(|shard| shard.map(Some)).collect::<Result<Vec<_>, _>>()?;
        let shared = Arc::new(Shared {
            // Greater than that of any earlier node: by its data, and without such as far as clocks agree.
            epoch: regions.epoch(),
            shards: regions.shards(),
            ports: resolved.addresses.iter().map(SocketAddr::port).collect(),
            lease_ms: resolved.lease_ms,
            clock,
            mailboxes: resolved.listeners.iter().map(|_| Mailbox::new()).collect(),
            stop: false.into(),
            partial_bytes_max: resolved.partial_bytes_max,
            unread_bytes_max: resolved.unread_bytes_max,
        });
        let Resolved { listeners, addresses, processors, ring, .. } = resolved;
        let mut node = Node { shared: shared.clone(), addresses, cores: Vec::new(), regions: Some(regions) };
        let (opened, opening) = mpsc::channel();
        for (core, (listener, processor)) in listeners.into_iter().zip(processors).enumerate() {
            let cores = shared.mailboxes.len();
            let own = (core as u32..shared.shards).step_by(cores);
            let shards =
                own.map(|shard| shards[shard as usize].take().expect("a shard has one core")).collect();
            let seat = Seat { core, shared: shared.clone(), listener, ring: ring.clone(), shards };
            let opened = opened.clone();
            let executor = LocalExecutorBuilder::new(Placement::Fixed(processor))
                .name(&format!("abide-core-{core}"))
                .io_memory(GLOMMIO_IO_BYTES)
                .ring_depth(GLOMMIO_RING_ENTRIES)
                .preempt_timer(PREEMPT_TIMER)
                .spawn(move || seat.sit(opened))
                .map_err(|error| StartError::Executor { core, reason: error.to_string() })?;
            node.cores.push(executor);
        }
        drop(opened);
        for _ in 0..node.cores.len() {
            match opening.recv() {
                Ok(Ok(())) => {}
                Ok(Err(RingError::Forbidden(source))) => return Err(StartError::Forbidden(source)),
                Ok(Err(error)) => return Err(error.into()),
                Err(mpsc::RecvError) => {
                    let reason = "its executor ended while it started".to_owned();
                    return Err(StartError::Executor { core: 0, reason });
                }
            }
        }
        Ok(node)
    }

    /// Where the first core listens: the address to give to clients.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where each core listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many shards it has.
    pub fn shards(&self) -> u32 {
        self.shared.shards
    }

    /// A function that stops the node, for a signal handler's thread.
    pub fn stopper(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = self.shared.clone();
        move || shared.stop()
    }

    /// Waits until the node has stopped: because it was told to, or because a core could not go on.
    pub fn wait(mut self) -> Result<(), NodeStopped> {
        self.join()
    }

    /// Stops the node and waits until it has.
    pub fn stop(mut self) -> Result<(), NodeStopped> {
        self.shared.stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), NodeStopped> {
        let mut outcome = Ok(());
        for (core, executor) in std::mem::take(&mut self.cores).into_iter().enumerate() {
            let ended = match executor.join() {
                Ok(ended) => ended,
                Err(error) => Err(NodeStopped { core, reason: error.to_string() }),
            };
            outcome = outcome.and(ended);
        }
        // Only after an orderly end: what a core left behind that could not go on is for recovery to look at.
        if let Some(regions) = self.regions.take()
            && outcome.is_ok()
            && let Err(error) = regions.close()
        {
            let reason =
                std::error::Error::source(&error).map_or_else(String::new, |source| format!(": {source}"));
            outcome = Err(NodeStopped { core: 0, reason: format!("{error}{reason}") });
        }
        outcome
    }

    /// What persistent objects survive, in words.
    pub fn persistence(&self) -> String {
        self.regions.as_ref().map_or_else(|| "volatile".to_owned(), Regions::persistence)
    }
}

fn open_shard(
    shard: u32,
    config: &NodeConfig,
    regions: &Regions,
    clock: &Clock,
) -> Result<Shard, StartError> {
    let path = || regions.path().unwrap_or(Path::new("")).to_owned();
    let opened = Shard::open(ShardConfig {
        shard,
        epoch: regions.epoch(),
        registry: config.registry.clone(),
        started_us: clock.started_us(),
        ephemeral: regions.ephemeral(shard),
        persistent: regions.persistent(shard),
        persistent_by_default: false,
        persistence: regions.persistence(),
        limits: config.limits.clone(),
    });
    opened.map_err(|source| OpenError::Objects { path: path(), source }.into())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stop();
        if let Err(error) = self.join() {
            tracing::error!(%error, "the node had not stopped in order");
        }
    }
}

/// What a core's thread is given.
struct Seat {
    core: usize,
    shared: Arc<Shared>,
    listener: TcpListener,
    ring: RingConfig,
    shards: Vec<Shard>,
}

impl Seat {
    async fn sit(self, opened: mpsc::Sender<Result<(), RingError>>) -> Result<(), NodeStopped> {
        // However this core ends, also by a panic, a node without it is none: the others stop too.
        let _all_or_none = StopOthers(self.shared.clone());
        let ring = match Ring::new(self.listener, self.ring) {
            Ok(ring) => ring,
            Err(error) => {
                let reason = error.to_string();
                // Nobody listens if another core failed first.
                let _ = opened.send(Err(error));
                return Err(NodeStopped { core: self.core, reason });
            }
        };
        let number = self.core;
        let stopped = |error: std::io::Error| NodeStopped { core: number, reason: error.to_string() };
        let core = Core::new(number, self.shared, ring, self.shards).map_err(stopped)?;
        let _ = opened.send(Ok(()));
        drop(opened);
        core.run().await.map_err(stopped)
    }
}

struct StopOthers(Arc<Shared>);

impl Drop for StopOthers {
    fn drop(&mut self) {
        self.0.stop();
    }
}
