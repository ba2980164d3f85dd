//! What a node is started with, in two steps: what was asked, and what will run.

use super::ring::{RingConfig, RingError};
use crate::{
    Registry,
    regions::{DataOptions, OpenError},
    shard::Limits,
};
use abide_net::limits::FRAME_BYTES_MAX;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

/// The port that a node listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7400;

/// How long a node tries to listen on an address that is in use. The sockets of a killed node are mostly gone after 10 ms, but
/// more than 6 s were seen on a machine with twenty times the work that it has processors for.
const BIND_PATIENCE: Duration = Duration::from_secs(30);

/// After how long it says that it tries.
const BIND_SILENCE: Duration = Duration::from_secs(1);

/// Shortest and longest lease that a client may ask for.
const LEASE_MS_MIN: u32 = 100;
const LEASE_MS_MAX: u32 = 600_000;

/// What the operator wants. Touches nothing until [`super::Node::start`] resolves it.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where the first core listens. Core `n` listens `n` ports further; port 0 lets the system choose each.
    pub listen: SocketAddr,
    /// How many cores to use, each with an executor pinned to it. By default all that this process may use.
    pub cores: Option<usize>,
    /// How many shards to keep objects in. By default one for each core: more only cost when a batch of calls
    /// is spread over more of them. Data that is there already has the number that it was made with.
    pub shards: Option<u32>,
    /// How long a session lives without a sign of life, unless its client asks for another lease. Default 10 s.
    pub lease: Duration,
    /// The types of objects.
    pub registry: Registry,
    /// Most connections of one core. Default 8,192; each open one takes a few hundred bytes.
    pub connections_max: usize,
    /// How long a core polls for work before it sleeps. On a virtual machine a core that slept answers some
    /// 50 us later; one that polls uses its whole CPU meanwhile. Default zero.
    pub busy_poll: Duration,
    /// Bytes of incomplete frames that one core keeps for all its connections together. A connection that
    /// needs more is closed. Default 256 MiB: eight of the largest frames.
    pub partial_bytes_max: usize,
    /// Bytes of answers that one core keeps for all clients that do not read them. The connection that
    /// goes past it is closed. Default 256 MiB.
    pub unread_bytes_max: usize,
    /// Where persistent objects are kept; without it, there are none.
    pub data: Option<DataOptions>,
    /// Most bytes of memory for ephemeral objects. By default as many as the machine has.
    pub memory_bytes_max: Option<u64>,
    /// How much each shard takes on.
    pub limits: Limits,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            cores: None,
            shards: None,
            lease: Duration::from_secs(10),
            registry: Registry::built_in(),
            connections_max: 8_192,
            busy_poll: Duration::ZERO,
            partial_bytes_max: 8 * FRAME_BYTES_MAX,
            unread_bytes_max: 256 << 20,
            data: None,
            memory_bytes_max: None,
            limits: Limits::default(),
        }
    }
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// Something else has the address, or it is not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// io_uring is not to be had.
    #[error(
        "io_uring is forbidden here, and a node cannot run without it: set the sysctl kernel.io_uring_disabled to 0, \
         and in a container use a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Forbidden(#[source] io::Error),
    /// The limit on locked memory is too low.
    #[error(
        "only {limit_kib} KiB of memory may be locked, and a node needs {needed_kib}: raise it with `ulimit -l {needed_kib}`, \
         LimitMEMLOCK= in a systemd unit, or --ulimit memlock=-1 for a container"
    )]
    LockedMemory {
        /// The limit that is set.
        limit_kib: u64,
        /// The limit that is needed.
        needed_kib: u64,
    },
    /// The kernel lacks something.
    #[error("the node's data path cannot be opened")]
    Ring(#[from] RingError),
    /// Objects have no place.
    #[error(transparent)]
    Objects(#[from] OpenError),
    /// An executor could not be started.
    #[error("core {core} cannot be started: {reason}")]
    Executor {
        /// Which.
        core: usize,
        /// Why.
        reason: String,
    },
}

/// What a node runs with.
#[derive(Debug)]
pub(super) struct Resolved {
    /// One listener for each core, in the order of the cores.
    pub(super) listeners: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
    /// The processor that each core is pinned to.
    pub(super) processors: Vec<usize>,
    pub(super) shards: u32,
    pub(super) lease_ms: u32,
    pub(super) ring: RingConfig,
    pub(super) partial_bytes_max: usize,
    pub(super) unread_bytes_max: usize,
}

impl NodeConfig {
    pub(super) fn resolve(&self) -> Result<Resolved, StartError> {
        let allowed = super::system::allowed_processors();
        let cores = self.cores.unwrap_or(allowed.len());
        let refuse = |reason: String| Err(StartError::Config(reason));
        if cores == 0 || cores > allowed.len() {
            return refuse(format!("{cores} cores, but this process may use 1 to {}", allowed.len()));
        }
        let shards = self.shards.unwrap_or(cores as u32);
        if (shards as usize) < cores || shards > 65_536 {
            return refuse(format!(
                "{shards} shards for {cores} cores: at least one each, and at most 65536"
            ));
        }
        let lease_ms = self.lease.as_millis();
        if !(u128::from(LEASE_MS_MIN)..=u128::from(LEASE_MS_MAX)).contains(&lease_ms) {
            return refuse(format!(
                "a lease of {lease_ms} ms: it must be {LEASE_MS_MIN} to {LEASE_MS_MAX} ms"
            ));
        }
        let Ok(connections_max) = self.connections_max.try_into() else {
            return refuse(format!("{} connections of one core are too many", self.connections_max));
        };
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for core in 0..cores {
            let mut address = self.listen;
            if address.port() != 0 {
                let port = u16::try_from(usize::from(address.port()) + core);
                let Ok(port) = port else { return refuse(format!("no port left for core {core}")) };
                address.set_port(port);
            }
            let failed = |source| StartError::Listen { address, source };
            let listener = bind(address).map_err(failed)?;
            addresses.push(listener.local_addr().map_err(failed)?);
            listeners.push(listener);
        }
        Ok(Resolved {
            listeners,
            addresses,
            processors: allowed[..cores].to_vec(),
            shards,
            lease_ms: lease_ms as u32,
            ring: RingConfig { connections_max, busy_poll: self.busy_poll, ..RingConfig::default() },
            partial_bytes_max: self.partial_bytes_max,
            unread_bytes_max: self.unread_bytes_max,
        })
    }
}

/// Listens, waiting a moment for a node that was here before: the kernel takes its time to close the sockets of
/// an io_uring whose process was killed.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let (begun, mut told) = (Instant::now(), false);
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < BIND_PATIENCE => {
                if !told && begun.elapsed() >= BIND_SILENCE {
                    tracing::warn!(%address, "the address is in use; trying for {BIND_PATIENCE:?}");
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// The lease of a session that asked for `wanted_ms` (0: no wish).
pub(super) fn granted_lease_ms(wanted_ms: u32, default_ms: u32) -> u32 {
    if wanted_ms == 0 { default_ms } else { wanted_ms.clamp(LEASE_MS_MIN, LEASE_MS_MAX) }
}
