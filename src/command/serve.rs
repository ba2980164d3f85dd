//! `abide serve`: a node.

use super::{
    Failure, explain,
    units::{parse_bytes, show_bytes},
};
use abide::{
    Limits, Persistence,
    node::{DataOptions, Node, NodeConfig, StartError},
};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    fs::{self, File},
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

/// What acknowledged changes of persistent objects survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Promise {
    /// The end of the node's process at any instruction, but no crash of the machine.
    ProcessCrash,
    /// The loss of power too: each batch of changes waits for the disk.
    PowerFail,
    /// Nothing: there are no persistent objects. The mode without --data; it cannot be had with it.
    Volatile,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen. Core n listens n ports further; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400", env = "ABIDE_SERVE_LISTEN")]
    listen: String,
    /// The folder of persistent objects, which are in its file objects.region. It is made if it is absent. Without it the node
    /// keeps no persistent objects.
    #[arg(long, value_name = "DIR", env = "ABIDE_SERVE_DATA")]
    data: Option<PathBuf>,
    /// What persistent objects survive. [default: process-crash with --data, volatile without]
    #[arg(long, value_enum, env = "ABIDE_SERVE_PERSISTENCE")]
    persistence: Option<Promise>,
    /// Most memory for ephemeral objects, such as 4GiB. A call that needs more ends as NoSpace and changes nothing; deleting
    /// works always. [default: as much as the machine has]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, env = "ABIDE_SERVE_MAX_MEMORY")]
    max_memory: Option<u64>,
    /// How large the file of persistent objects may grow, likewise. [default: as its disk lets it]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, env = "ABIDE_SERVE_MAX_DATA", requires = "data")]
    max_data: Option<u64>,
    /// Take --data on any file system, also on one that is not known to keep what --persistence promises.
    #[arg(long, env = "ABIDE_SERVE_FORCE_FILE_SYSTEM", requires = "data")]
    force_file_system: bool,
    /// Most calls that wait in one object; another one ends as WaitersFull.
    #[arg(long, value_name = "N", default_value_t = Limits::default().waiters_max, env = "ABIDE_SERVE_WAITERS_MAX")]
    waiters_max: u64,
    /// Most sessions of one shard; a call of another one ends as SessionsFull.
    #[arg(long, value_name = "N", default_value_t = Limits::default().sessions_max, env = "ABIDE_SERVE_SESSIONS_MAX")]
    sessions_max: usize,
    /// How many cores to use, each with an executor pinned to it. [default: all that are allowed]
    #[arg(long, env = "ABIDE_SERVE_CORES")]
    cores: Option<usize>,
    /// How many shards to keep objects in. Data that is there has the number that it was made with, and takes no other. [default:
    /// that of the data, or one for each core]
    #[arg(long, env = "ABIDE_SERVE_SHARDS")]
    shards: Option<u32>,
    /// How long a session lives without a sign of life, in milliseconds, unless its client asks for another lease.
    #[arg(long, value_name = "MS", default_value_t = 10_000, env = "ABIDE_SERVE_LEASE_MS")]
    lease_ms: u64,
    /// How long a core polls for work before it sleeps, in microseconds. Answers come sooner, at the price of the CPU.
    #[arg(long, value_name = "US", default_value_t = 0, env = "ABIDE_SERVE_BUSY_POLL_US")]
    busy_poll_us: u64,
    /// Most connections of one core.
    #[arg(long, default_value_t = NodeConfig::default().connections_max, env = "ABIDE_SERVE_CONNECTIONS_MAX")]
    connections_max: usize,
}

/// The file of persistent objects in their folder.
const DATA_FILE: &str = "objects.region";

impl ServeArguments {
    /// Where persistent objects are, if there are any. Touches no file.
    fn data(&self) -> Result<Option<DataOptions>, Failure> {
        let Some(folder) = &self.data else {
            return match self.persistence {
                None | Some(Promise::Volatile) => Ok(None),
                Some(_) => Err(Failure::Misuse("--persistence needs a folder: --data DIR".to_owned())),
            };
        };
        let persistence = match self.persistence {
            None | Some(Promise::ProcessCrash) => Persistence::ProcessCrash,
            Some(Promise::PowerFail) => Persistence::PowerFail,
            Some(Promise::Volatile) => {
                let reason = "--persistence volatile keeps nothing, so it takes no --data";
                return Err(Failure::Misuse(reason.to_owned()));
            }
        };
        let mut options = DataOptions::new(folder.join(DATA_FILE), persistence);
        options.bytes_max = self.max_data;
        options.force_file_system = self.force_file_system;
        Ok(Some(options))
    }

    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let config = NodeConfig {
            listen: resolve(&self.listen)?,
            cores: self.cores,
            shards: self.shards,
            lease: Duration::from_millis(self.lease_ms),
            busy_poll: Duration::from_micros(self.busy_poll_us),
            connections_max: self.connections_max,
            data: self.data()?,
            memory_bytes_max: self.max_memory,
            limits: Limits { waiters_max: self.waiters_max, sessions_max: self.sessions_max },
            ..NodeConfig::default()
        };
        if let Some(folder) = &self.data {
            make_folder(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        // Before any thread is there, so that none of them is interrupted by what this one waits for.
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let node = Node::start(&config).map_err(|error| match error {
            StartError::Config(reason) => Failure::Misuse(reason),
            StartError::Objects(error) => explain(error),
            other => other.into(),
        })?;
        let objects = match &config.data {
            Some(data) => format!("persistent objects in {}", data.path.display()),
            None => "objects in memory".to_owned(),
        };
        let bound = config.memory_bytes_max.map_or_else(String::new, |bytes| {
            format!(", at most {} of memory for ephemeral ones", show_bytes(bytes))
        });
        eprintln!(
            "abide {}: {} cores, {} shards, persistence {}, {objects}{bound}, leases of {} ms",
            env!("CARGO_PKG_VERSION"),
            node.addresses().len(),
            node.shards(),
            node.persistence(),
            self.lease_ms
        );
        let mut out = io::stdout();
        if json {
            let facts = json!({
                "ready": node.address().to_string(),
                "persistence": node.persistence(),
                "data": config.data.as_ref().map(|data| data.path.display().to_string()),
                "cores": node.addresses().len(),
                "shards": node.shards(),
            });
            writeln!(out, "{facts}")?;
        } else {
            writeln!(out, "ready {}", node.address())?;
        }
        out.flush()?;
        let stop = node.stopper();
        let waiting = signals.handle();
        let listener = std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                tracing::info!(signal, "stopping");
                stop();
            }
        });
        let ended = node.wait();
        waiting.close();
        let _ = listener.join();
        Ok(ended?)
    }
}

fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let mut found =
        address.to_socket_addrs().map_err(|error| Failure::Misuse(format!("--listen {address}: {error}")))?;
    found.next().ok_or_else(|| Failure::Misuse(format!("--listen {address}: no such address")))
}

/// Makes a folder with those above it, so that their names survive a loss of power as their contents do.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = match folder.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    File::open(above)?.sync_all()
}
