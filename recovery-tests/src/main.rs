//! The processes that the tests start: a node, and clients with a role. And the explorer of crash images.

mod command;

use abide::{
    CallError, CloudThread, JoinHandle, Store, cloud_function,
    node::{Node, NodeConfig},
};
use abide_recovery_tests::{disk, fire, kills};
use clap::{Parser, Subcommand};
use std::{io::Write, time::Duration};

#[derive(Debug, Parser)]
struct Arguments {
    /// The node's address.
    #[arg(long, global = true, default_value = "")]
    server: String,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// A node; prints `ready ADDR`.
    Serve {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: std::net::SocketAddr,
        /// How many cores. [default: all]
        #[arg(long)]
        cores: Option<usize>,
        /// The lease of sessions, in milliseconds.
        #[arg(long, default_value_t = 10_000)]
        lease_ms: u64,
    },
    /// Cloud threads that each add 1 to the AtomicLong `total`, many times.
    Add {
        /// How many threads.
        #[arg(long)]
        threads: usize,
        /// How many times each.
        #[arg(long)]
        times: u64,
    },
    /// Threads that meet at the CyclicBarrier `meeting`; prints `GENERATION INDEX` for each arrival.
    Meet {
        /// How many threads.
        #[arg(long)]
        threads: usize,
        /// How many parties the barrier has.
        #[arg(long)]
        parties: u32,
        /// How many times they meet.
        #[arg(long)]
        generations: u32,
    },
    /// Takes the Mutex `lock` and all three permits of the Semaphore `permits`, prints `held TOKEN`, and keeps
    /// them until it is killed.
    Hold,
    /// Looks at crash images of the structures of persistent memory; fails if one is wrong.
    Images(command::Images),
    /// Breaks each rule, flush and fence of these structures; fails if that is not noticed.
    Mutants(command::TryMutants),
    /// Has one run of `images` or `mutants` again.
    Replay(command::Replay),
    /// Kills a process that uses a region, again and again; fails if what it leaves is wrong.
    Kills(kills::Kills),
    /// The process that `kills` kills.
    PmemWriter(kills::Writer),
    /// Checks what the killed process has left, where only another process can.
    PmemInspect(kills::Inspect),
    /// Reads what the killed process has said.
    PmemHeard(kills::Heard),
    /// Kills clients and their node, cuts their connections, and checks that each call was made once.
    Fire(fire::Fire),
    /// The node that `fire` kills.
    FireNode(fire::FireNode),
    /// The clients that `fire` kills.
    FireClient(fire::Client),
    /// A disk for a virtual machine that loses at a cut what it was not told to keep.
    Disk(disk::Disk),
}

fn main() -> anyhow::Result<()> {
    abide::init();
    let Arguments { server, role } = Arguments::parse();
    match role {
        Role::Images(arguments) => command::images(&arguments),
        Role::Mutants(arguments) => command::mutants(&arguments),
        Role::Replay(arguments) => command::replay(&arguments),
        Role::Kills(arguments) => kills::kills(&arguments),
        Role::PmemWriter(arguments) => kills::write(&arguments),
        Role::PmemInspect(arguments) => kills::inspect(&arguments),
        Role::PmemHeard(arguments) => kills::heard(&arguments),
        Role::Fire(arguments) => fire::fire(&arguments),
        Role::FireNode(arguments) => fire::fire_node(&arguments),
        Role::FireClient(arguments) => fire::client(&server, &arguments),
        Role::Disk(arguments) => disk::serve(&arguments),
        Role::Serve { listen, cores, lease_ms } => serve(NodeConfig {
            listen,
            cores,
            lease: Duration::from_millis(lease_ms),
            ..NodeConfig::default()
        }),
        Role::Add { threads, times } => {
            let store = Store::connect(&server)?;
            let cloud = CloudThread::builder().store(&store);
            join_all((0..threads).map(|_| cloud.spawn(add, (times,))).collect())
        }
        Role::Meet { threads, parties, generations } => {
            let store = Store::connect(&server)?;
            let cloud = CloudThread::builder().store(&store);
            join_all((0..threads).map(|_| cloud.spawn(meet, (parties, generations))).collect())
        }
        Role::Hold => {
            let store = Store::connect(&server)?;
            let (lock, permits) = (store.mutex("lock"), store.semaphore("permits", 3));
            let guard = lock.lock()?;
            permits.acquire(3)?;
            println!("held {}", guard.token());
            std::io::stdout().flush()?;
            loop {
                std::thread::sleep(Duration::from_secs(3_600));
            }
        }
    }
}

fn serve(config: NodeConfig) -> anyhow::Result<()> {
    let node = Node::start(&config)?;
    println!("ready {}", node.address());
    std::io::stdout().flush()?;
    Ok(node.wait()?)
}

/// Adds 1 to the shared total, many times.
#[cloud_function]
fn add(times: u64) -> Result<(), CallError> {
    let total = Store::current()?.atomic_long("total");
    (0..times).try_for_each(|_| total.increment_and_get().map(drop))
}

/// Meets the others and prints each arrival.
#[cloud_function]
fn meet(parties: u32, generations: u32) -> Result<(), CallError> {
    let barrier = Store::current()?.cyclic_barrier("meeting", parties);
    for generation in 0..generations {
        let index = barrier.wait()?;
        println!("{generation} {index}");
    }
    Ok(())
}

/// Waits for all cloud threads.
fn join_all(handles: Vec<JoinHandle<()>>) -> anyhow::Result<()> {
    handles.into_iter().try_for_each(|handle| Ok(handle.join()?))
}
