//! Real memory: a file, or anonymous memory, mapped at an address that never changes, as a [`Mem`].
//!
//! Access rules. The only addresses that are ever dereferenced are `base + offset` with `offset + 8 <= len`, aligned to
//! 8, and only as [`AtomicU64`]; no reference to anything larger exists. `base .. base + len` stays mapped, readable, and up to
//! `store_len` writable, from the moment at which `len` was raised until the drop of the [`Mapping`]. Other processes
//! must not store to the file (its lock says so); should one do it nevertheless, loads give other values,
//! which all code above must bear anyway, since the media could hold them.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use std::sync::{Arc, Mutex, PoisonError};

use crate::mem::{LINE, MediaError, Mem, Site, WORD};

mod cpu;
mod domain;
mod faults;
mod health;
pub mod io;
mod nd;
mod sigbus;
mod space;

pub use cpu::{CpuFeatures, Instruction, WriteBack};
pub use domain::{Domain, DomainError, DomainRequest, Persistence};
pub use faults::{Call, Fault, Faults};
#[cfg(test)]
pub(crate) use sigbus::LOST;
pub use sigbus::SigbusError;
pub use space::PAGE;

use health::Health;
use io::Io;
use space::{Backing, Space};

/// Addresses reserved for each mapping unless told otherwise. One of 128 that fit into a process.
pub const DEFAULT_RESERVE: u64 = 1 << 40;

/// Where the lines go that a mapping in [`Domain::File`] flushes: a [`LineLog`](crate::line_log::LineLog).
pub trait LineSink: Send + Sync + std::fmt::Debug {
    /// Takes the images of `lines` lines from `offset` on. `collect` reads the line at an offset from memory, and must be called
    /// when the line has its place in the order already: of two images of a line the later one in the order is then the
    /// one that was read later, so it holds all that was flushed with the earlier one.
    fn append(&self, offset: u64, lines: u64, collect: &mut dyn FnMut(u64) -> [u64; 8]);

    /// Returns once all that this thread has appended is durable, or [`health`](Self::health) says why not.
    fn commit(&self);

    /// Whether all that was committed is durable.
    fn health(&self) -> Result<(), MediaError>;
}

/// Why memory could not be mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// Not a multiple of [`PAGE`], or nothing at all.
    #[error("a length of {len} bytes cannot be mapped; it must be a positive multiple of {PAGE}")]
    BadLength {
        /// What was asked for.
        len: u64,
    },
    /// More than the addresses that were reserved when the mapping was made. Open it again with a larger reserve.
    #[error("{len} bytes do not fit into the {reserved} bytes of addresses that are reserved")]
    OutOfReserve {
        /// What was asked for.
        len: u64,
        /// What there is.
        reserved: u64,
    },
    /// The process may not have so many addresses.
    #[error("the process has no {len} bytes of addresses left")]
    NoAddresses {
        /// What was asked for.
        len: u64,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel refused to map.
    #[error("cannot map {len} bytes")]
    Refused {
        /// What was asked for.
        len: u64,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// This processor has no instruction that writes cache lines back.
    #[error("this processor has no instruction that writes cache lines back")]
    NoWriteBack,
    /// The file's truncation could not be guarded against.
    #[error("cannot guard the mapping against truncation of its file")]
    Sigbus(#[from] SigbusError),
}

/// How to map. The same for files and anonymous memory.
#[derive(Debug, Clone)]
pub struct MapOptions {
    /// Makes the system calls.
    pub io: Io,
    /// Bytes of addresses to reserve: how far the mapping can grow. Fewer if the process may not have so many.
    pub reserve: u64,
    /// Whether a fault behind the end of a truncated file poisons the mapping instead of ending the process
    /// (see [`SigbusError`] for what it takes).
    pub guard_truncation: bool,
    /// Writes lines back although the domain does not need it: with eADR for those who distrust it, and on ordinary files to
    /// measure what it costs.
    pub force_flush: bool,
    /// The instruction that writes back; the cheapest that there is if `None`.
    pub write_back: Option<WriteBack>,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self {
            io: Io::new(),
            reserve: DEFAULT_RESERVE,
            guard_truncation: true,
            force_flush: false,
            write_back: None,
        }
    }
}

/// What flush and fence do.
#[derive(Debug)]
enum Persist {
    /// Nothing, for stores survive by being made. Keeps only the compiler from moving them.
    Stored,
    /// Stores survive once they left the store buffer.
    Fenced,
    /// Lines are written back by instruction.
    Lines(WriteBack),
    /// Lines go to the log.
    Log(Box<dyn LineSink>),
}

/// Mapped memory.
///
/// Invariant: `len` only grows, and all of `base .. base + len` is mapped. `store_len` is `len`, or 0 if the memory is
/// read-only.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    len: AtomicU64,
    store_len: AtomicU64,
    persist: Persist,
    domain: Domain,
    health: Arc<Health>,
    backing: Backing,
    file: Option<Arc<OwnedFd>>,
    io: Io,
    // Dropped in this order: the signal handler forgets the addresses before they are given back.
    _guard: Option<sigbus::Guard>,
    space: Mutex<Space>,
}

// SAFETY: the memory is reached only by atomic operations, and all other fields are `Send` by themselves.
unsafe impl Send for Mapping {}
// SAFETY: as above; growth is serialised by the lock of `space`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory that nothing survives, all zeros.
    pub fn anonymous(len: u64, options: &MapOptions) -> Result<Self, MapError> {
        Self::new(None, len, Backing::Anonymous, Domain::Volatile, None, options)
    }

    /// The first `len` bytes of a file that stores go to. Its blocks must be allocated, and its domain must have been
    /// found by [`DomainRequest::find`].
    ///
    /// # Panics
    /// If the domain is not one whose stores go to the file through the map.
    pub fn shared(
        file: Arc<OwnedFd>,
        len: u64,
        domain: Domain,
        options: &MapOptions,
    ) -> Result<Self, MapError> {
        let backing = match domain {
            Domain::ProcessCrash => Backing::Shared,
            Domain::Dax | Domain::Eadr => Backing::Dax,
            Domain::Volatile | Domain::File => panic!("{domain:?} is no domain of a shared map"),
        };
        Self::new(Some(file), len, backing, domain, None, options)
    }

    /// The first `len` bytes of a file, never stored to.
    pub fn read_only(file: Arc<OwnedFd>, len: u64, options: &MapOptions) -> Result<Self, MapError> {
        Self::new(Some(file), len, Backing::ReadOnly, Domain::Volatile, None, options)
    }

    /// A copy of a file's first `len` bytes. What is stored never reaches the file.
    pub fn private_copy(file: Arc<OwnedFd>, len: u64, options: &MapOptions) -> Result<Self, MapError> {
        Self::new(Some(file), len, Backing::Private, Domain::Volatile, None, options)
    }

    /// A copy of a file's first `len` bytes, whose flushed lines go to a log from which the file is brought up to date. What
    /// the log holds must be in the file already.
    pub fn logged(
        file: Arc<OwnedFd>,
        len: u64,
        log: Box<dyn LineSink>,
        options: &MapOptions,
    ) -> Result<Self, MapError> {
        Self::new(Some(file), len, Backing::Private, Domain::File, Some(log), options)
    }

    fn new(
        file: Option<Arc<OwnedFd>>,
        len: u64,
        backing: Backing,
        domain: Domain,
        log: Option<Box<dyn LineSink>>,
        options: &MapOptions,
    ) -> Result<Self, MapError> {
        check_len(len)?;
        let persist = match (log, backing, domain) {
            (Some(log), ..) => Persist::Log(log),
            (None, Backing::Dax, Domain::Eadr) if !options.force_flush => Persist::Fenced,
            (None, Backing::Dax, _) => Persist::Lines(write_back(options)?),
            (None, Backing::Shared, _) if options.force_flush => Persist::Lines(write_back(options)?),
            (None, ..) => Persist::Stored,
        };
        let mut space = Space::reserve(&options.io, options.reserve, len)
            .map_err(|source| MapError::NoAddresses { len, source: source.into() })?;
        space
            .extend(&options.io, len, backing, file.as_deref().map(io::borrow))
            .map_err(|source| MapError::Refused { len, source: source.into() })?;
        let health = Arc::new(Health::default());
        let guard = if options.guard_truncation && backing != Backing::Anonymous {
            Some(sigbus::Guard::new(space.base(), space.capacity() as usize, Arc::clone(&health))?)
        } else {
            None
        };
        Ok(Self {
            base: space.base(),
            len: AtomicU64::new(len),
            store_len: AtomicU64::new(if backing == Backing::ReadOnly { 0 } else { len }),
            persist,
            domain,
            health,
            backing,
            file,
            io: options.io.clone(),
            _guard: guard,
            space: Mutex::new(space),
        })
    }

    /// What the memory survives.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// The instruction that flushes, if one does.
    #[must_use]
    pub fn write_back(&self) -> Option<WriteBack> {
        match self.persist {
            Persist::Lines(write_back) => Some(write_back),
            _ => None,
        }
    }

    /// Whether storing is refused.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.backing == Backing::ReadOnly
    }

    /// Maps on up to `len` bytes; the base does not move, and loads and stores go on meanwhile. The file must reach so
    /// far, with its blocks allocated. Nothing happens if as much is mapped already.
    pub fn grow(&self, len: u64) -> Result<(), MapError> {
        check_len(len)?;
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if len <= self.len.load(Ordering::Relaxed) {
            return Ok(());
        }
        fits(len, &space)?;
        space
            .extend(&self.io, len, self.backing, self.file.as_deref().map(io::borrow))
            .map_err(|source| MapError::Refused { len, source: source.into() })?;
        // Only now, and with release order: whoever sees the length finds the memory.
        self.len.store(len, Ordering::Release);
        if self.backing != Backing::ReadOnly {
            self.store_len.store(len, Ordering::Release);
        }
        Ok(())
    }

    /// Whether [`grow`](Self::grow) would have the addresses. To be asked before the file is made longer.
    pub fn can_grow(&self, len: u64) -> Result<(), MapError> {
        check_len(len)?;
        fits(len, &self.space.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes all that was stored through a shared map durable, whatever the domain: writes the pages back and syncs the file.
    /// A failure poisons the mapping, for the kernel forgets what it could not write.
    pub fn sync(&self) -> Result<(), MediaError> {
        let Some(file) = &self.file else { return self.health() };
        if matches!(self.backing, Backing::Shared | Backing::Dax) {
            let space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
            let synced = space.sync(&self.io).and_then(|()| self.io.sync(io::borrow(file)));
            if let Err(errno) = synced {
                tracing::error!(error = %errno, "cannot sync the region's file");
                self.poison(MediaError::IoPoisoned);
            }
        }
        self.health()
    }

    /// Says that the memory cannot be relied upon any more. The first reason stays.
    pub fn poison(&self, why: MediaError) {
        self.health.poison(why);
    }

    /// Whether this process may use the mapping: a forked child has none of its pages.
    #[must_use]
    pub fn belongs_to_this_process(&self) -> bool {
        self.space.lock().unwrap_or_else(PoisonError::into_inner).is_of_this_process()
    }

    #[inline(always)]
    fn word(&self, offset: u64) -> &AtomicU64 {
        check(offset, self.len.load(Ordering::Acquire));
        // SAFETY: aligned, since the base is, and inside of what is mapped, as just checked; reached only atomically.
        unsafe { AtomicU64::from_ptr(self.base.add(offset as usize).cast()) }
    }

    #[inline(always)]
    fn word_to_store(&self, offset: u64) -> &AtomicU64 {
        check(offset, self.store_len.load(Ordering::Acquire));
        // SAFETY: as in `word`, and writable.
        unsafe { AtomicU64::from_ptr(self.base.add(offset as usize).cast()) }
    }

    /// Consecutive words, all inside of `len`, which is this mapping's.
    #[inline(always)]
    fn run(&self, offset: u64, words: usize, len: u64) -> &[AtomicU64] {
        if words == 0 {
            return &[];
        }
        check(offset, len);
        check(offset.saturating_add((words as u64 - 1) * WORD), len);
        // SAFETY: aligned, since the base is, and inside of what is mapped, as just checked; reached only atomically.
        unsafe { std::slice::from_raw_parts(self.base.add(offset as usize).cast::<AtomicU64>(), words) }
    }

    /// The line's words, read until two readings agree.
    fn collect(&self, line: u64) -> [u64; 8] {
        let read = || std::array::from_fn(|i| self.load(line + i as u64 * WORD));
        let mut before: [u64; 8] = read();
        loop {
            let now = read();
            if now == before {
                return now;
            }
            before = now;
        }
    }
}

impl Mem for Mapping {
    #[inline]
    fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    #[inline]
    fn load(&self, offset: u64) -> u64 {
        self.word(offset).load(Ordering::Acquire)
    }

    #[inline]
    fn store(&self, offset: u64, value: u64) {
        self.word_to_store(offset).store(value, Ordering::Release);
    }

    #[inline]
    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64> {
        self.word_to_store(offset).compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline]
    fn fetch_or(&self, offset: u64, bits: u64) -> u64 {
        self.word_to_store(offset).fetch_or(bits, Ordering::AcqRel)
    }

    #[inline]
    fn fetch_and(&self, offset: u64, bits: u64) -> u64 {
        self.word_to_store(offset).fetch_and(bits, Ordering::AcqRel)
    }

    #[inline]
    fn store_all(&self, offset: u64, words: &[u64]) {
        let to = self.run(offset, words.len(), self.store_len.load(Ordering::Acquire));
        for (to, &word) in to.iter().zip(words) {
            to.store(word, Ordering::Release);
        }
    }

    #[inline]
    fn read(&self, offset: u64, out: &mut [u8]) {
        let from = self.run(offset, out.len().div_ceil(8), self.len.load(Ordering::Acquire));
        let (words, rest) = out.as_chunks_mut::<8>();
        for (out, word) in words.iter_mut().zip(from) {
            *out = word.load(Ordering::Acquire).to_le_bytes();
        }
        if !rest.is_empty() {
            let word = from[words.len()].load(Ordering::Acquire).to_le_bytes();
            rest.copy_from_slice(&word[..rest.len()]);
        }
    }

    #[inline]
    fn write(&self, offset: u64, bytes: &[u8]) {
        let to = self.run(offset, bytes.len().div_ceil(8), self.store_len.load(Ordering::Acquire));
        let (words, rest) = bytes.as_chunks::<8>();
        for (to, word) in to.iter().zip(words) {
            to.store(u64::from_le_bytes(*word), Ordering::Release);
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            to[words.len()].store(u64::from_le_bytes(word), Ordering::Release);
        }
    }

    #[inline]
    fn flush(&self, _site: Site, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let end = self.len();
        assert!(offset < end && len <= end - offset, "flush of {len} bytes at {offset:#x} of {end:#x}");
        match &self.persist {
            Persist::Stored | Persist::Fenced => compiler_fence(Ordering::SeqCst),
            Persist::Lines(write_back) => {
                let first = offset & !(LINE - 1);
                let last = (offset + len - 1) & !(LINE - 1);
                // SAFETY: both lines, and so all between, are inside of what is mapped, as asserted: `end` is a multiple
                // of the page size.
                unsafe {
                    write_back.lines(self.base.add(first as usize), self.base.add(last as usize));
                }
            }
            Persist::Log(log) => {
                let first = offset & !(LINE - 1);
                let lines = (offset + len - first).div_ceil(LINE);
                log.append(first, lines, &mut |line| self.collect(line));
            }
        }
    }

    #[inline]
    fn order(&self, _site: Site) {
        match &self.persist {
            Persist::Stored => compiler_fence(Ordering::SeqCst),
            Persist::Fenced | Persist::Lines(_) => cpu::store_fence(),
            // The log keeps the order in which lines were appended.
            Persist::Log(_) => {}
        }
    }

    #[inline]
    fn fence(&self, _site: Site) {
        match &self.persist {
            Persist::Stored => compiler_fence(Ordering::SeqCst),
            Persist::Fenced | Persist::Lines(_) => cpu::store_fence(),
            Persist::Log(log) => log.commit(),
        }
    }

    #[inline]
    fn health(&self) -> Result<(), MediaError> {
        self.health.check()?;
        match &self.persist {
            Persist::Log(log) => log.health(),
            _ => Ok(()),
        }
    }
}

/// Lets no access through that is not of one whole word inside of `len`, a multiple of the page size.
#[inline(always)]
fn check(offset: u64, len: u64) {
    if offset >= len || !offset.is_multiple_of(WORD) {
        outside(offset, len);
    }
}

#[cold]
#[inline(never)]
fn outside(offset: u64, len: u64) -> ! {
    panic!("access to the word at {offset:#x} of {len:#x} bytes");
}

fn check_len(len: u64) -> Result<(), MapError> {
    if len == 0 || !len.is_multiple_of(PAGE) {
        return Err(MapError::BadLength { len });
    }
    Ok(())
}

fn fits(len: u64, space: &Space) -> Result<(), MapError> {
    if len > space.capacity() {
        return Err(MapError::OutOfReserve { len, reserved: space.capacity() });
    }
    Ok(())
}

fn write_back(options: &MapOptions) -> Result<WriteBack, MapError> {
    options.write_back.or_else(WriteBack::detect).ok_or(MapError::NoWriteBack)
}

#[cfg(test)]
mod tests;
