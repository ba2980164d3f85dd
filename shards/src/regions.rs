//! The regions of a store: where its shards' objects live.
//!
//! Ephemeral objects of all shards share one region in ordinary memory, which is made for the run; persistent ones share one in a
//! file. A shard has a part of each for itself, and room is handed out of both as it is needed, up to their bounds.

use crate::shard::Home;
use abide_net::{CallError, route::ShardId};
use abide_pmem::{
    Domain, Geometry, Persistence, Region, RegionOptions,
    layout::SuperblockError,
    region::{CloseError, CreateError, OpenError as RegionOpenError},
    types::{Kind, Register, TypeError},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a store could not be opened, or not be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Someone else has it. Retrying later can work.
    #[error("the store {path} is in use")]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// The machine stopped while the store was open, and it was not asked to survive that.
    #[error(
        "the machine stopped while the store {path} was open, and it was opened to survive the end of its process only: \
         `abide salvage` brings what can be read into a new store"
    )]
    Unclean {
        /// Its file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not an Abide store")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The store has another number of shards than it was to be opened with. That number cannot change.
    #[error("the store {path} has {found} shards, and it was to be opened with {wanted}")]
    OtherShards {
        /// Its file.
        path: PathBuf,
        /// How many it has.
        found: u32,
        /// How many were asked for.
        wanted: u32,
    },
    /// The file cannot be used as it is: its file system does not keep the promise, it is damaged, or it is of a later version.
    #[error("the store {path} cannot be opened")]
    Region {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: Box<RegionOpenError>,
    },
    /// The file could not be made.
    #[error("the store {path} cannot be made")]
    Create {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: Box<CreateError>,
    },
    /// The file is sound, but what is in it cannot be used.
    #[error("the objects of the store {path} cannot be read")]
    Objects {
        /// The store's file.
        path: PathBuf,
        /// Why not.
        source: CallError,
    },
    /// The store could not be closed in order. Opening it again recovers it as after a crash.
    #[error("the store {path} was not closed in order")]
    Close {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: Box<CloseError>,
    },
    /// A bound is below what an empty store takes.
    #[error(
        "{what} may have at most {bytes_max} bytes, and an empty store with {shards} shards takes {bytes}"
    )]
    TooLittle {
        /// Of what: memory, or the file.
        what: &'static str,
        /// The bound.
        bytes_max: u64,
        /// How many it takes.
        bytes: u64,
        /// With how many shards.
        shards: u32,
    },
    /// There is no memory for ephemeral objects.
    #[error("no memory for ephemeral objects")]
    Memory(#[source] Box<RegionOpenError>),
}

/// Where persistent objects are kept.
#[derive(Debug, Clone)]
pub struct DataOptions {
    /// The file.
    pub path: PathBuf,
    /// What they survive.
    pub persistence: Persistence,
    /// How large the file may grow, in bytes; nothing for as large as its disk lets it.
    pub bytes_max: Option<u64>,
    /// Takes any file system, also one that is not known to keep the promise.
    pub force_file_system: bool,
}

impl DataOptions {
    /// A file that survives this, on a file system that is known to keep the promise.
    pub fn new(path: impl Into<PathBuf>, persistence: Persistence) -> DataOptions {
        DataOptions { path: path.into(), persistence, bytes_max: None, force_file_system: false }
    }
}

/// Bytes of a new region's file beyond its tables: enough for some ten thousand small objects.
const FIRST_BYTES: u64 = 16 << 20;

/// Bytes of the memory for ephemeral objects at first, beyond its tables. The kernel gives a page when it is first used.
const FIRST_MEMORY_BYTES: u64 = 16 << 20;

/// Regions are of whole pages of any size.
const GRAIN: u64 = 2 << 20;

/// The largest that the format allows: a call may change half as much.
const RING_SLOT_BYTES: u32 = 512 << 10;

fn geometry(shards: u32) -> Geometry {
    Geometry {
        shards,
        // Names of the index are those of directories, one a shard.
        lanes: 4,
        directory_pages: 16,
        ring_slot_bytes: RING_SLOT_BYTES,
        // Answers stand in a map of the directory's, which is as large as need be.
        completions: 1,
        command_ring_bytes: 0,
        ..Geometry::default()
    }
}

/// The regions of a store.
#[derive(Debug)]
pub struct Regions {
    shards: u32,
    epoch: u64,
    memory: Arc<Region>,
    memory_max: u64,
    data: Option<Data>,
}

#[derive(Debug)]
struct Data {
    path: PathBuf,
    region: Arc<Region>,
    bytes_max: u64,
}

impl Regions {
    /// Opens the regions of a store. `shards` is how many it shall have: a file has its own number, and if none is asked for that
    /// one counts, and `usual_shards` for a new one. Ephemeral objects get at most `memory_max` bytes. The store's epoch
    /// is above that of any earlier opening, and at least `epoch_min`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        data: Option<&DataOptions>,
        shards: Option<u32>,
        usual_shards: u32,
        memory_max: u64,
        epoch_min: u64,
    ) -> Result<Regions, OpenError> {
        let mut count = shards.unwrap_or(usual_shards);
        let mut epoch = epoch_min;
        let data = data.map(|options| Data::open(options, shards, usual_shards)).transpose()?;
        if let Some(data) = &data {
            count = data.region.heap().shard_count();
            epoch = next_epoch(&data.region, epoch_min)
                .map_err(|source| OpenError::Objects { path: data.path.clone(), source })?;
        }
        let options =
            RegionOptions { geometry: geometry(count), ..RegionOptions::new(Persistence::Volatile) };
        let bytes = first_bytes(FIRST_MEMORY_BYTES, count, memory_max, "the memory of ephemeral objects")?;
        let memory =
            Region::unshared(bytes, &options).map_err(|source| OpenError::Memory(Box::new(source)))?;
        Ok(Regions { shards: count, epoch, memory: Arc::new(memory), memory_max, data })
    }

    /// How many shards the store has.
    pub fn shards(&self) -> u32 {
        self.shards
    }

    /// The incarnation of the store.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Where ephemeral objects of a shard live.
    pub fn ephemeral(&self, shard: ShardId) -> Home {
        Home { region: self.memory.clone(), shard, bytes_max: self.memory_max }
    }

    /// Where persistent objects of a shard live, if the store keeps any.
    pub fn persistent(&self, shard: ShardId) -> Option<Home> {
        let data = self.data.as_ref()?;
        Some(Home { region: data.region.clone(), shard, bytes_max: data.bytes_max })
    }

    /// What persistent objects survive, in words.
    pub fn persistence(&self) -> String {
        let Some(data) = &self.data else { return "volatile".to_owned() };
        match data.region.domain() {
            Domain::Volatile => "volatile".to_owned(),
            Domain::ProcessCrash => "process-crash".to_owned(),
            Domain::Dax => "power-fail (persistent memory)".to_owned(),
            Domain::Eadr => "power-fail (persistent memory with durable caches)".to_owned(),
            Domain::File => "power-fail (log and file)".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// The file of persistent objects.
    pub fn path(&self) -> Option<&Path> {
        self.data.as_ref().map(|data| data.path.as_path())
    }

    /// Closes the file in order. All shards must have been dropped: if one is left, the file stays as after a crash of the process,
    /// which loses nothing.
    ///
    /// # Errors
    /// [`OpenError::Close`].
    pub fn close(self) -> Result<(), OpenError> {
        let Some(Data { path, region, .. }) = self.data else { return Ok(()) };
        match Arc::try_unwrap(region) {
            Ok(region) => {
                region.close().map_err(|source| OpenError::Close { path, source: Box::new(source) })
            }
            Err(_) => {
                tracing::warn!(path = %path.display(), "a shard is still in use: its store is left as it is");
                Ok(())
            }
        }
    }
}

/// Bytes of the tables of a region with so many shards, roughly.
fn tables_bytes(shards: u32) -> u64 {
    u64::from(shards) * (4 * u64::from(RING_SLOT_BYTES) + (64 << 10)) + (2 << 20)
}

/// Bytes of a new region with room for so many of objects, or less if no more are allowed, but not less than any is of use with.
fn first_bytes(objects: u64, shards: u32, bytes_max: u64, what: &'static str) -> Result<u64, OpenError> {
    let least = (tables_bytes(shards) + GRAIN).next_multiple_of(GRAIN);
    let wanted = (objects + tables_bytes(shards)).next_multiple_of(GRAIN).min(bytes_max / GRAIN * GRAIN);
    if wanted < least {
        return Err(OpenError::TooLittle { what, bytes_max, bytes: least, shards });
    }
    Ok(wanted)
}

impl Data {
    fn open(options: &DataOptions, shards: Option<u32>, usual_shards: u32) -> Result<Data, OpenError> {
        let path = options.path.clone();
        let count = shards.unwrap_or(usual_shards);
        let region_options = RegionOptions {
            geometry: geometry(count),
            force_file_system: options.force_file_system,
            ..RegionOptions::new(options.persistence)
        };
        let bytes_max = options.bytes_max.unwrap_or(u64::MAX / 2);
        let bytes = match first_bytes(FIRST_BYTES, count, bytes_max, "the file of persistent objects") {
            // Of no use: it is as large as it is.
            Err(_) if path.exists() => GRAIN,
            other => other?,
        };
        let region = Region::open_or_create(&path, bytes, &region_options)
            .map_err(|error| OpenError::of(path.clone(), error))?;
        let found = region.heap().shard_count();
        if let Some(wanted) = shards.filter(|&wanted| wanted != found) {
            // Nothing was changed yet.
            region
                .close()
                .map_err(|source| OpenError::Close { path: path.clone(), source: Box::new(source) })?;
            return Err(OpenError::OtherShards { path, found, wanted });
        }
        Ok(Data { path, region: Arc::new(region), bytes_max })
    }
}

impl OpenError {
    fn of(path: PathBuf, error: CreateError) -> OpenError {
        match error {
            CreateError::Open(source) => match *source {
                RegionOpenError::InUse(_) | RegionOpenError::CopyIsOpen => OpenError::InUse { path },
                RegionOpenError::UncleanPowerLoss => OpenError::Unclean { path },
                RegionOpenError::Superblock(SuperblockError::NotARegion) => OpenError::NotAStore { path },
                source => OpenError::Region { path, source: Box::new(source) },
            },
            source => OpenError::Create { path, source: Box::new(source) },
        }
    }
}

/// The name of the register that holds the store's last epoch.
const EPOCH_NAME: &[u8] = b"store/epoch";

/// Begins a new epoch: durable on return.
fn next_epoch(region: &Region, epoch_min: u64) -> Result<u64, CallError> {
    let unreadable = |error| CallError::Damaged { reason: format!("the store's epoch: {error}") };
    let index = region.heap().index();
    let kind = Kind::Register as u16;
    let entry = match index.get(kind, EPOCH_NAME).map_err(unreadable)? {
        Some(entry) => entry,
        None => index.create(kind, EPOCH_NAME, 0).map_err(unreadable)?,
    };
    let register = Register::<u64>::at(entry.root);
    let mut epoch = 0;
    region
        .heap()
        .atomically(entry.shard, |tx| {
            epoch = register.get(&*tx)?.saturating_add(1).max(epoch_min);
            register.set(tx, epoch)
        })
        .map_err(|error: TypeError| crate::state::refuse(error))?;
    Ok(epoch)
}

/// Bytes of this machine's memory: the bound of ephemeral objects unless another is asked for.
pub fn physical_memory_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    total.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(1 << 40, |kib| kib << 10)
}
