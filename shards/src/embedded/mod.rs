//! The shards in the caller's own process: no server, no thread of its own, no io_uring.
//!
//! The calling thread takes the shard and makes the call itself; while it is at it, it also makes the calls
//! of threads that came to the shard meanwhile (flat combining; Hendler, Incze, Shavit and Tzafrir, SPAA
//! 2010). A call without contention costs no hop to another thread. See `combiner`.
//!
//! [`EmbeddedStore::open`] keeps objects in a region's file, where they survive the end of the process at any instruction.

mod combiner;
mod pending;
mod slots;
mod ticker;

pub use crate::regions::OpenError;

use crate::{
    Registry,
    clock::Clock,
    regions::{DataOptions, Regions, physical_memory_bytes},
    shard::{Event, Limits, Outbox, SessionId, SessionTerms, Shard, ShardConfig},
};
use abide_net::{
    CallError, Caller, Request,
    caller::{AsyncCaller, CallFuture},
    frame::Call,
    route::{check_key, shard_of},
};
use abide_pmem::Persistence;
use combiner::{Asker, Combiner};
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
    /// Number of shards. By default one for each core, for that is how many can work at once; a store in a file has the number
    /// that it was made with.
    pub shards: Option<u32>,
    /// The types of objects.
    pub registry: Registry,
    /// What persistent objects survive.
    pub persistence: Persistence,
    /// Most bytes of the file of persistent objects. By default as many as its disk has.
    pub data_bytes_max: Option<u64>,
    /// Most bytes of memory for ephemeral objects. By default as many as the machine has.
    pub memory_bytes_max: Option<u64>,
    /// How much each shard takes on.
    pub limits: Limits,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        EmbeddedOptions {
            shards: None,
            registry: Registry::built_in(),
            persistence: Persistence::ProcessCrash,
            data_bytes_max: None,
            memory_bytes_max: None,
            limits: Limits::default(),
        }
    }
}

/// A store in this process, through one of its sessions. What the session holds is given back when the last
/// handle to it is dropped; the store closes with its last session.
#[derive(Debug)]
pub struct EmbeddedStore {
    shards: Arc<Shards>,
    session: SessionId,
    /// The last sequence of a seeded session, which makes its calls one after the other.
    seeded: Option<Arc<Mutex<u64>>>,
}

#[derive(Debug)]
struct Shards {
    combiners: Arc<[Combiner]>,
    ticker: OnceLock<Ticker>,
    epoch: u64,
    clock: Clock,
    sessions: AtomicU64,
    regions: Mutex<Option<Regions>>,
}

/// An embedded store and its sessions live and die together: their leases do not end before.
const LEASE_US: u64 = u64::MAX;

impl EmbeddedStore {
    /// A store that is gone when the last handle to it is.
    ///
    /// # Panics
    /// If there are no addresses for its memory: a mebibyte or two, but a tebibyte of addresses.
    pub fn in_memory(options: &EmbeddedOptions) -> EmbeddedStore {
        EmbeddedStore::start(options, None).expect("a store in memory needs nothing but addresses")
    }

    /// A store whose objects are kept in the file `path`, unless they are asked to be ephemeral: what a call changed is there
    /// when it returns, whatever becomes of the process. Sessions of earlier runs have ended: what they held is given back.
    pub fn open(path: &Path, options: &EmbeddedOptions) -> Result<EmbeddedStore, OpenError> {
        let mut data = DataOptions::new(path, options.persistence);
        data.bytes_max = options.data_bytes_max;
        EmbeddedStore::start(options, Some(&data))
    }

    fn start(options: &EmbeddedOptions, data: Option<&DataOptions>) -> Result<EmbeddedStore, OpenError> {
        let clock = Clock::start();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        let memory_max = options.memory_bytes_max.unwrap_or_else(physical_memory_bytes);
        let wanted = options.shards.map(|shards| shards.max(1));
        let regions = Regions::open(data, wanted, cores, memory_max, clock.started_us())?;
        let open = |shard| {
            let mut shard = Shard::open(ShardConfig {
                shard,
                epoch: regions.epoch(),
                registry: options.registry.clone(),
                started_us: clock.started_us(),
                ephemeral: regions.ephemeral(shard),
                persistent: regions.persistent(shard),
                persistent_by_default: data.is_some(),
                persistence: regions.persistence(),
                limits: options.limits.clone(),
            })
            .map_err(|source| OpenError::Objects {
                path: regions.path().unwrap_or(Path::new("")).to_owned(),
                source,
            })?;
            // Nobody can go on with the sessions of a process that is gone.
            let mut nobody = Outbox::default();
            shard.end_sessions(clock.started_us(), &mut nobody);
            shard.commit(&mut nobody).map_err(|error| OpenError::Objects {
                path: regions.path().unwrap_or(Path::new("")).to_owned(),
                source: CallError::Damaged { reason: error.to_string() },
            })?;
            Ok(Combiner::new(shard))
        };
        let combiners = (0..regions.shards()).map(open).collect::<Result<_, OpenError>>()?;
        let shards = Shards {
            ticker: OnceLock::new(),
            combiners,
            epoch: regions.epoch(),
            clock,
            sessions: AtomicU64::new(0),
            regions: Mutex::new(Some(regions)),
        };
        Ok(Shards::session(&Arc::new(shards)))
    }

    /// Closes the store: ends all sessions and, if the store has a file, brings all of it to the disk. Calls
    /// made later find it `Unavailable`. Without this the last handle's end does the same, but has nobody
    /// to tell of an error.
    pub fn close(&self) -> Result<(), OpenError> {
        self.shards.close()
    }

    /// The same store under a session of its own.
    pub fn session(&self) -> EmbeddedStore {
        Shards::session(&self.shards)
    }

    fn terms(&self) -> SessionTerms {
        SessionTerms { lease_us: LEASE_US, is_seeded: self.seeded.is_some() }
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
            replicas: request.replicas,
            key: request.key,
            creation: request.creation.in_frame(),
            arguments: request.arguments,
        })
    }
}

impl Caller for EmbeddedStore {
    fn call(&self, request: &Request<'_>, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let (own, _kept_until_answered) = slots::next_of_this_thread();
        // A seeded session has one slot, in which its calls are numbered as in every run of its program.
        let mut last =
            self.seeded.as_ref().map(|last| last.lock().unwrap_or_else(|error| error.into_inner()));
        let (slot, sequence) = match &mut last {
            None => (own.slot, own.sequence),
            Some(last) => {
                **last += 1;
                (0, **last)
            }
        };
        let call = self.prepare(request, slot, sequence)?;
        let from = Asker { session: self.session, terms: self.terms(), connection: own.slot.into() };
        self.shards.combiners[call.shard as usize].call(&self.shards.clock, from, &call, result)?;
        Ok(self.shards.epoch)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(self.shards.combiners.len() as u32)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(Arc::new(self.session()))
    }

    fn seeded_session(&self, seed: u128) -> Result<Arc<dyn Caller>, CallError> {
        let (shards, session) = (self.shards.clone(), SessionId(seed));
        Ok(Arc::new(EmbeddedStore { shards, session, seeded: Some(Arc::default()) }))
    }

    fn end_session(&self) -> Result<(), CallError> {
        self.shards.end_session(self.session);
        Ok(())
    }

    fn address(&self) -> Option<String> {
        None
    }
}

impl AsyncCaller for EmbeddedStore {
    fn call(&self, request: &Request<'_>) -> CallFuture<'static> {
        let slot = slots::TaskSlot::take();
        let epoch = self.shards.epoch;
        // Which of several asynchronous calls is made first is not the same in each run, so a seeded session makes none.
        let refuse = || CallError::denied("a seeded session makes its calls one after the other");
        let prepared = self.prepare(request, slot.name().slot, slot.name().sequence);
        let prepared = if self.seeded.is_some() { Err(refuse()) } else { prepared };
        let started = prepared.map(|call| {
            let combiner = &self.shards.combiners[call.shard as usize];
            let from =
                Asker { session: self.session, terms: self.terms(), connection: slot.name().slot.into() };
            let pending = combiner.start(&self.shards.clock, from, &call);
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
        // What a seeded session did is kept for another run of its program.
        if self.seeded.is_none() {
            self.shards.end_session(self.session);
        }
    }
}

impl Shards {
    fn owner(&self, type_id: u16, key: &str) -> usize {
        shard_of(type_id, key, self.combiners.len() as u32) as usize
    }

    fn session(this: &Arc<Shards>) -> EmbeddedStore {
        let number = this.sessions.fetch_add(1, Ordering::Relaxed) + 1;
        // Of no other run of the store, which may have left records.
        let session = SessionId(u128::from(this.epoch) << 64 | u128::from(number));
        EmbeddedStore { shards: this.clone(), session, seeded: None }
    }

    fn end_session(&self, session: SessionId) {
        for combiner in self.combiners.iter() {
            combiner.tell(&self.clock, Event::Goodbye { session });
        }
    }

    fn close(&self) -> Result<(), OpenError> {
        let mut regions = self.regions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.combiners.iter().for_each(|combiner| combiner.close(&self.clock));
        // A shard that stopped at a broken invariant keeps its place in the region, which is then left as by a crash.
        regions.take().map_or(Ok(()), Regions::close)
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
