//! A region: a heap in a file, used by one process at a time.
//!
//! [`Region`] joins the file, its lock, the mapping and the heap, and keeps the promise about power losses that the domain
//! alone cannot: where the kernel's page cache stands between memory and disk
//! ([`ProcessCrash`](Persistence::ProcessCrash)), the file's state slot names the boot in which the region was opened, durably
//! and before anything else is stored. A region that is still open by that slot, in another boot, was cut by more than
//! the end of its process, and is refused. An orderly [`close`](Region::close) makes all data durable, then says so.
//!
//! ```text
//! state in the file   its boot      now asked for   what opening does
//! clean               any           any             opens
//! open                none          any             recovers: it was opened to survive a power loss
//! open                this one      any             recovers: only the process ended
//! open                another one   any             refuses: UncleanPowerLoss
//! ```
//!
//! Read on: `create` (no half-made region), `lock` (one process at a time), `header` (what is checked before mapping), `log`
//! (power losses on ordinary files).

mod boot;
mod create;
mod damaged;
mod error;
mod header;
mod lock;
mod log;
mod options;
mod read_only;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub(crate) use create::Place;
pub(crate) use damaged::{DamagedError, map_damaged};
pub use error::{CloseError, CreateError, GrowError, InUse, OpenError};
pub(crate) use log::path_of as log_path;
pub use options::RegionOptions;
pub use read_only::ReadOnlyRegion;
pub(crate) use read_only::map_copy;

use crate::heap::Heap;
use crate::layout::{Identity, Shutdown, State};
use crate::mapping::io::Io;
use crate::mapping::{Domain, Mapping, Persistence};
use crate::mem::{MediaError, Mem};
use header::Header;
use lock::{Lock, Use};
use log::RegionLog;

/// The boot that a state slot names if its region survives power losses.
const NO_BOOT: [u8; 16] = [0; 16];

/// A region that is open for reading and writing.
///
/// Dropping it leaves it as a crash of the process would, which costs nothing but a recovery when it is opened again;
/// [`close`](Self::close) also makes it durable.
///
/// A process that forks keeps its regions; the child has none of their memory, and must not use what it inherits of them
/// but to drop it.
#[derive(Debug)]
pub struct Region {
    heap: Heap<Mapping>,
    file: Option<RegionFile>,
    /// Serialises growth.
    growing: Mutex<()>,
}

#[derive(Debug)]
struct RegionFile {
    path: PathBuf,
    file: Arc<OwnedFd>,
    options: RegionOptions,
    log: Option<RegionLog>,
    // Given back last, when nothing refers to the file any more.
    _lock: Lock,
}

impl Region {
    /// Makes a region of `bytes` bytes, a multiple of [`PAGE`](crate::mapping::PAGE), and opens it. All of it is allocated on the disk at once.
    ///
    /// # Errors
    /// See [`CreateError`]. Then there is no file of that name, or the one that was there; should the machine fail in
    /// its middle, there is none or a whole one.
    pub fn create(path: impl AsRef<Path>, bytes: u64, options: &RegionOptions) -> Result<Self, CreateError> {
        let path = path.as_ref();
        if options.persistence == Persistence::Volatile {
            return Err(OpenError::Volatile.into());
        }
        let identity =
            new_identity(options).map_err(|source| CreateError::Io { doing: "get random bytes", source })?;
        let place = Place::find(&options.io, path)?;
        let (file, lock) = create::create(&place, bytes, identity, options)?;
        // The lock is held until the name is gone again.
        Self::prepare(path, &file, &lock, options)
            .map_err(|error| {
                place.remove();
                let log = log::path_of(path);
                // There was none before, or the file would not have been made.
                if let (Persistence::PowerFail, Ok(log)) =
                    (options.persistence, Place::find(&options.io, &log))
                {
                    log.remove();
                }
                error.into()
            })
            .map(|(heap, log)| Self::of_file(heap, log, path, file, lock, options))
    }

    /// Opens a region, and recovers it if its process or its machine ended while it was open.
    ///
    /// The time does not depend on how much it holds. With page cache or persistent memory it is that of replaying the last
    /// batches of each shard. In [`Domain::File`] there is the log's before that: it is read since the
    /// last checkpoint but one, about 1 ms for each MiB, and its lines are stored, 2 to 3 us for each page of the region
    /// that they are in. Both are bounded by [`RegionOptions::log`]: by default 16 MiB, and 8192 pages. Two syncs of the log;
    /// the region's file is neither written nor synced.
    ///
    /// Dearer is what happens seldom: the first opening for this promise after a crash in another domain syncs the file,
    /// so all of it that waits for the disk; one for another promise than that of [`Domain::File`] brings
    /// what the log holds into the file.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>, options: &RegionOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        if options.persistence == Persistence::Volatile {
            return Err(OpenError::Volatile);
        }
        let file = open_file(&options.io, path, Use::Exclusive)?;
        let lock = Lock::take(&options.io, &file, Use::Exclusive)?;
        let (heap, log) = Self::prepare(path, &file, &lock, options)?;
        Ok(Self::of_file(heap, log, path, file, lock, options))
    }

    /// Opens the region, or makes one of `bytes` bytes where there is no file of that name. One that is there keeps its
    /// size and its geometry.
    ///
    /// # Errors
    /// [`CreateError::Open`] if there is a region that cannot be opened: it is never replaced. Else see [`CreateError`].
    pub fn open_or_create(
        path: impl AsRef<Path>,
        bytes: u64,
        options: &RegionOptions,
    ) -> Result<Self, CreateError> {
        let path = path.as_ref();
        match Self::open(path, options) {
            Err(OpenError::NotFound { .. }) => {}
            opened => return Ok(opened?),
        }
        match Self::create(path, bytes, options) {
            // Somebody else has just made it; or it is not the region that is there, but a log without one.
            Err(exists @ CreateError::Exists { .. }) => match Self::open(path, options) {
                Err(OpenError::NotFound { .. }) => Err(exists),
                opened => Ok(opened?),
            },
            created => created,
        }
    }

    /// Opens a region for reading. Nothing is written to its file: what recovery changes, it changes in a copy of the pages.
    /// While it is open nobody can open it for writing, but others for reading.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_read_only(
        path: impl AsRef<Path>,
        options: &RegionOptions,
    ) -> Result<ReadOnlyRegion, OpenError> {
        ReadOnlyRegion::open(path.as_ref(), options)
    }

    /// A region in memory of this process, which nothing survives.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn volatile(bytes: u64, options: &RegionOptions) -> Result<Self, OpenError> {
        let heap = Heap::open(Self::format_anonymous(bytes, options)?, NO_BOOT)?;
        Ok(Self { heap, file: None, growing: Mutex::new(()) })
    }

    /// A region in memory of this process, which nothing survives and of which each shard is used by one thread at a time: for
    /// objects that are to cost little. Blocks store in place at once and write no records; see [`Heap::open_unshared`].
    /// Memory is taken from the kernel only when it is first stored to.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn unshared(bytes: u64, options: &RegionOptions) -> Result<Self, OpenError> {
        let heap = Heap::open_unshared(Self::format_anonymous(bytes, options)?)?;
        Ok(Self { heap, file: None, growing: Mutex::new(()) })
    }

    /// Memory of this process with an empty region.
    fn format_anonymous(bytes: u64, options: &RegionOptions) -> Result<Mapping, OpenError> {
        let identity =
            new_identity(options).map_err(|source| OpenError::Io { doing: "get random bytes", source })?;
        let mapping = Mapping::anonymous(bytes, &options.map_options())?;
        Heap::format(&mapping, identity, options.geometry)?;
        Heap::finish_format(&mapping)?;
        Ok(mapping)
    }

    /// Reads the header of a locked file, maps it, and recovers what it holds.
    fn prepare(
        path: &Path,
        file: &Arc<OwnedFd>,
        lock: &Lock,
        options: &RegionOptions,
    ) -> Result<(Heap<Mapping>, Option<RegionLog>), OpenError> {
        let mut header = Header::read(&options.io, file.as_fd())?;
        if header.superblock.read_only {
            return Err(OpenError::ReadOnly { why: "it has features of a later version" });
        }
        lock.name(header.superblock.identity.uuid)?;
        let boot_id = check_power_loss(&header.state, options)?;
        // Before the state says that it is open.
        let was_clean = header.state.shutdown == Shutdown::Clean && !header.may_be_stale;
        let domain = options.domain_request().find(&options.io, file.as_fd())?;
        if domain != Domain::File && log::is_to_be_read(path, &header.state, header.may_be_stale, options) {
            log::replay(path, file, &mut header, options)?;
        }
        let mut log = None;
        let map = |bytes| Mapping::shared(Arc::clone(file), bytes, domain, &options.map_options());
        let heap = match domain {
            Domain::ProcessCrash => {
                let mapping = map(header.state.region_bytes)?;
                mark_open(&mapping, &header, boot_id)?;
                Heap::open_if_clean(mapping, boot_id, was_clean)?
            }
            Domain::Dax | Domain::Eadr => {
                settle_page_cache(file, &header, options)?;
                Heap::open(map(header.state.region_bytes)?, NO_BOOT)?
            }
            Domain::File => {
                let (opened, lines) = RegionLog::open(path, file, &mut header, options)?;
                let log = log.insert(opened);
                let bytes = header.state.region_bytes;
                let mapping = Mapping::logged(Arc::clone(file), bytes, log.sink(), &options.map_options())?;
                if let Some(lines) = lines {
                    log::put_into(&lines, &mapping, file);
                }
                let heap = Heap::open_if_clean(mapping, NO_BOOT, was_clean)?;
                log.start_checkpoints()?;
                heap
            }
            Domain::Volatile => unreachable!("refused before"),
        };
        Ok((heap, log))
    }

    fn of_file(
        heap: Heap<Mapping>,
        log: Option<RegionLog>,
        path: &Path,
        file: Arc<OwnedFd>,
        lock: Lock,
        options: &RegionOptions,
    ) -> Self {
        let file = RegionFile { path: path.to_owned(), file, options: options.clone(), log, _lock: lock };
        Self { heap, file: Some(file), growing: Mutex::new(()) }
    }

    /// What it holds.
    #[must_use]
    pub fn heap(&self) -> &Heap<Mapping> {
        &self.heap
    }

    /// What it survives, and how.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.heap.mem().domain()
    }

    /// Its file as it was named when it was opened; `None` if it has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// Bytes of the region.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.heap.mem().len()
    }

    /// Makes it larger, while it is in use: up to `bytes` bytes, a multiple of [`PAGE`](crate::mapping::PAGE). Nothing happens if it is as large. One
    /// sync of the file and one fence.
    ///
    /// # Errors
    /// See [`GrowError`].
    pub fn grow(&self, bytes: u64) -> Result<(), GrowError> {
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let mapping = self.heap.mem();
        mapping.health()?;
        let before = mapping.len();
        if bytes <= before {
            return Ok(());
        }
        mapping.can_grow(bytes)?;
        if let Some(file) = &self.file {
            // From here on a failure leaves the file longer than the region, which the next growth makes use of.
            if let Err(errno) = file.options.io.allocate(file.file.as_fd(), before, bytes - before) {
                let source = errno.into();
                return Err(if error::is_full(errno) {
                    GrowError::NoSpace { bytes, source }
                } else {
                    GrowError::Io { doing: "allocate more of the region's file", source }
                });
            }
            // The length must be durable before a state slot says so.
            if let Err(errno) = file.options.io.sync(file.file.as_fd()) {
                tracing::error!(error = %errno, "cannot sync the region's file");
                mapping.poison(MediaError::IoPoisoned);
                return Err(MediaError::IoPoisoned.into());
            }
        }
        mapping.grow(bytes)?;
        Ok(self.heap.extend()?)
    }

    /// Ends in order: all data is durable, whatever the domain, and then the file says that it was closed.
    ///
    /// # Errors
    /// See [`CloseError`].
    pub fn close(mut self) -> Result<(), CloseError> {
        let mapping = self.heap.mem();
        if !mapping.belongs_to_this_process() {
            return Err(CloseError::NotOurs);
        }
        mapping.health()?;
        if let Some(file) = &mut self.file
            && let Some(log) = file.log.take()
        {
            self.heap.settle()?;
            return log.close(&file.file, &file.options).map_err(|error| CloseError::Log(Box::new(error)));
        }
        if self.domain().is_page_cache() {
            // First the data. Were the state written with it, the disk could get the state alone.
            self.heap.settle()?;
            mapping.sync()?;
        }
        self.heap.mark_clean()?;
        Ok(mapping.sync()?)
    }
}

/// Refuses a region that more than the end of a process has interrupted. Gives the id of this boot if the region is to
/// name it, and [`NO_BOOT`] if it is not.
fn check_power_loss(state: &State, options: &RegionOptions) -> Result<[u8; 16], OpenError> {
    let was_in_page_cache = state.shutdown == Shutdown::Open && state.boot_id != NO_BOOT;
    let will_be = options.persistence == Persistence::ProcessCrash;
    if !was_in_page_cache && !will_be {
        return Ok(NO_BOOT);
    }
    let boot_id = boot::boot_id(&options.boot_id)
        .map_err(|source| OpenError::Io { doing: "read the kernel's boot id", source })?;
    if was_in_page_cache && state.boot_id != boot_id {
        return Err(OpenError::UncleanPowerLoss);
    }
    Ok(if will_be { boot_id } else { NO_BOOT })
}

/// Makes durable, before anything else of this run can reach the disk, that a region in the page cache is open in this boot.
///
/// Nothing is to be done if that is known to be durable, as after the kill of a process: then the pages that wait for the
/// disk may be many. It is known if both slots say so. The first of them was written here, and the second, by
/// [`Heap::open`], only after the sync had succeeded.
fn mark_open(mapping: &Mapping, header: &Header, boot_id: [u8; 16]) -> Result<(), OpenError> {
    let says_so = |state: &State| state.shutdown == Shutdown::Open && state.boot_id == boot_id;
    if says_so(&header.state) && header.state_before.as_ref().is_some_and(says_so) {
        return Ok(());
    }
    let mut state = header.state;
    state.shutdown = Shutdown::Open;
    state.boot_id = boot_id;
    state.store_next(mapping, header.superblock.checksum_seed());
    Ok(mapping.sync()?)
}

/// Before a region whose process was killed is opened to survive power losses: what that process stored may still be in
/// the page cache alone.
fn settle_page_cache(file: &Arc<OwnedFd>, header: &Header, options: &RegionOptions) -> Result<(), OpenError> {
    if header.state.shutdown == Shutdown::Open {
        options.io.sync(file.as_fd()).map_err(OpenError::io("sync the region's file"))?;
    }
    Ok(())
}

/// Opens the file for the use, with errors that say what is wrong with it.
fn open_file(io: &Io, path: &Path, how: Use) -> Result<Arc<OwnedFd>, OpenError> {
    let flags = match how {
        Use::Exclusive => OFlags::RDWR,
        Use::Shared => OFlags::RDONLY,
    };
    let file = io.open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT => OpenError::NotFound { path: path.to_owned() },
        Errno::ISDIR | Errno::NXIO | Errno::NODEV => OpenError::NotAFile { path: path.to_owned() },
        Errno::ROFS => OpenError::ReadOnly { why: "its file system is mounted for reading only" },
        Errno::ACCESS | Errno::PERM
            if how == Use::Exclusive && io.open(path, OFlags::RDONLY, Mode::empty()).is_ok() =>
        {
            OpenError::ReadOnly { why: "its file may not be written" }
        }
        errno => OpenError::io("open the region's file")(errno),
    })?;
    let stat = io.stat(file.as_fd()).map_err(OpenError::io("stat the region's file"))?;
    if !stat.regular {
        return Err(OpenError::NotAFile { path: path.to_owned() });
    }
    Ok(Arc::new(file))
}

/// A random word.
fn random_word() -> Result<u64, std::io::Error> {
    getrandom::u64().map_err(std::io::Error::other)
}

/// A random identity, but for the key that was asked for.
fn new_identity(options: &RegionOptions) -> Result<Identity, std::io::Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let (uuid, hash_key) = random.split_at(16);
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Identity {
        uuid: uuid.try_into().expect("16 bytes"),
        hash_key: options.hash_key.unwrap_or(hash_key.try_into().expect("16 bytes")),
        created_s: since_1970.as_secs(),
    })
}
