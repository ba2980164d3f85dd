//! The shards in the caller's own process: no server, no thread of its own, no io_uring.
//!
//! The calling thread takes the shard and makes the call itself; while it is at it, it also makes the calls
//! of threads that came to the shard meanwhile (flat combining; Hendler, Incze, Shavit and Tzafrir, SPAA
//! 2010). A call without contention costs no hop to another thread. See `combiner`.
//!
//! [`EmbeddedStore::open`] keeps objects in a file between two runs, see `home`.

mod combiner;
mod home;
mod pending;
mod slots;
mod ticker;

pub use home::OpenError;

use crate::{
    Registry,
    clock::Clock,
    shard::{Event, SessionId, Shard, ShardConfig},
};
use abide_net::{
    CallError, Caller, Request,
    caller::{AsyncCaller, CallFuture},
    frame::Call,
    route::{check_key, shard_of},
};
use combiner::Combiner;
use home::Home;
use pending::Pending;
use std::{
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};
use ticker::Ticker;

/// What an embedded store shall be. `None` leaves a choice to the store.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Number of shards. By default one for each core, for that is how many can work at once.
    pub shards: Option<u32>,
    /// The types of objects.
    pub registry: Registry,
    /// Whether to open a store that was not closed in order, as it was when it last was.
    pub accept_loss: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions { shards: None, registry: Registry::built_in(), accept_loss: false }
    }
}

/// A store in this process, through one of its sessions. What the session holds is given back when the last
/// handle to it is dropped; the store closes with its last session.
#[derive(Debug)]
pub struct EmbeddedStore {
    shards: Arc<Shards>,
    session: SessionId,
}

#[derive(Debug)]
struct Shards {
    combiners: Arc<[Combiner]>,
    ticker: OnceLock<Ticker>,
    epoch: u64,
    clock: Clock,
    sessions: AtomicU64,
    home: Mutex<Option<Home>>,
}

/// An embedded store and its sessions live and die together: their leases do not end before.
const LEASE_US: u64 = u64::MAX;

impl EmbeddedStore {
    /// A store that is gone when the last handle to it is.
    pub fn in_memory(options: &EmbeddedOptions) -> EmbeddedStore {
        let clock = Clock::start();
        EmbeddedStore::start(options, clock, clock.started_us(), None)
    }

    /// A store whose objects are kept in the file `path` from its orderly end to its next opening.
    ///
    /// While it is open, objects are in memory: a process that dies loses what it changed, and the next
    /// opening says so ([`OpenError::Unclean`]) rather than bring older objects back as if nothing had
    /// happened.
    pub fn open(path: &Path, options: &EmbeddedOptions) -> Result<EmbeddedStore, OpenError> {
        let clock = Clock::start();
        let (home, saved) = Home::open(path, options.accept_loss, clock.started_us())?;
        let store = EmbeddedStore::start(options, clock, home.epoch(), Some(home));
        for object in &saved {
            let shard = store.shards.owner(object.name.type_id, &object.name.key);
            if let Err(source) = store.shards.combiners[shard].restore(object) {
                store.shards.home.lock().expect("nobody else has it yet").take().expect("just set").abandon();
                return Err(OpenError::Object { path: path.into(), key: object.name.key.clone(), source });
            }
        }
        Ok(store)
    }

    fn start(options: &EmbeddedOptions, clock: Clock, epoch: u64, home: Option<Home>) -> EmbeddedStore {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let count = options.shards.unwrap_or_else(cores).max(1);
        let config = |shard| ShardConfig {
            shard,
            epoch,
            registry: options.registry.clone(),
            started_us: clock.started_us(),
        };
        let shards = Shards {
            ticker: OnceLock::new(),
            combiners: (0..count).map(|shard| Combiner::new(Shard::new(config(shard)))).collect(),
            epoch,
            clock,
            sessions: AtomicU64::new(0),
            home: Mutex::new(home),
        };
        Shards::session(&Arc::new(shards))
    }

    /// Closes the store: ends all sessions and, if the store has a file, writes the objects to it. Calls
    /// made later find it `Unavailable`. Without this the last handle's end does the same, but has nobody
    /// to tell of an error.
    pub fn close(&self) -> Result<(), OpenError> {
        self.shards.close()
    }

    /// The same store under a session of its own.
    pub fn session(&self) -> EmbeddedStore {
        Shards::session(&self.shards)
    }

    fn prepare<'a>(&self, request: &Request<'a>, slot: u32, sequence: u64) -> Result<Call<'a>, CallError> {
        let shard = match request.shard {
            Some(shard) if (shard as usize) < self.shards.combiners.len() => shard,
            Some(shard) => {
                return Err(CallError::bad_argument(format!(
                    "shard {shard} of {}",
                    self.shards.combiners.len()
                )));
            }
            None => {
                check_key(request.key)?;
                self.shards.owner(request.type_id, request.key) as u32
            }
        };
        Ok(Call {
            retry: false,
            first: true,
            type_id: request.type_id,
            method: request.method,
            shard,
            slot,
            sequence,
            epoch: request.epoch,
            key: request.key,
            creation: request.creation.in_frame(),
            arguments: request.arguments,
        })
    }
}

impl Caller for EmbeddedStore {
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let (call_name, _kept_until_answered) = slots::next_of_this_thread();
        let call = self.prepare(request, call_name.slot, call_name.sequence)?;
        self.shards.combiners[call.shard as usize].call(&self.shards.clock, self.session, &call, result)?;
        Ok(self.shards.epoch)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.shards.combiners.len() as u32)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(Arc::new(self.session()))
    }

    fn address(&self) -> Option<String> {
        None
    }
}

impl AsyncCaller for EmbeddedStore {
    fn call(&self, request: &Request<'_>) -> CallFuture<'static> {
        let slot = slots::TaskSlot::take();
        let epoch = self.shards.epoch;
        let started = self.prepare(request, slot.name().slot, slot.name().sequence).map(|call| {
            let combiner = &self.shards.combiners[call.shard as usize];
            let pending = combiner.start(&self.shards.clock, self.session, &call);
            self.shards
                .ticker
                .get_or_init(|| Ticker::start(&self.shards.combiners, self.shards.clock))
                .look_again();
            (call.shard, pending)
        });
        match started {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok((shard, pending)) => {
                let shards = self.shards.clone();
                let session = self.session;
                Box::pin(pending::Answer::new(pending, epoch, move |finished| {
                    let name = slot.name();
                    if !finished {
                        let (slot, sequence) = (name.slot, name.sequence);
                        shards.combiners[shard as usize]
                            .tell(&shards.clock, Event::Cancel { session, slot, sequence });
                    }
                    drop(slot);
                }))
            }
        }
    }

    fn shards(&self) -> u32 {
        self.shards.combiners.len() as u32
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        for combiner in self.shards.combiners.iter() {
            combiner.tell(&self.shards.clock, Event::Goodbye { session: self.session });
        }
    }
}

impl Shards {
    fn owner(&self, type_id: u16, key: &str) -> usize {
        shard_of(type_id, key, self.combiners.len() as u32) as usize
    }

    fn session(this: &Arc<Shards>) -> EmbeddedStore {
        let number = this.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        EmbeddedStore { shards: this.clone(), session: SessionId(u128::from(number)) }
    }

    fn close(&self) -> Result<(), OpenError> {
        let mut home = self.home.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let saved: Option<Vec<_>> =
            self.combiners.iter().map(|combiner| combiner.close(&self.clock)).collect();
        match (home.take(), saved) {
            (Some(home), Some(saved)) => home.close(saved.concat()),
            // A shard stopped at a broken invariant: its objects are not to be trusted with overwriting the old ones.
            (Some(home), None) => Err(OpenError::Unclean { path: home.abandon() }),
            (None, _) => Ok(()),
        }
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store could not be closed in order");
        }
    }
}

#[cfg(test)]
mod tests;
