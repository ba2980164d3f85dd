//! The log of a region in [`Domain::File`], and when the region's file needs it.
//!
//! ```text
//! state slot in the file        the log beside it
//! clean                         is empty. If it is missing, a new one is made
//! open, boot none, log id       holds what was acknowledged last; without it the region does not open
//! open, any other               is empty, or there was never one: the region was used in another domain
//! ```
//!
//! So "clean" is written into the file itself, behind the log's back, and only once everything is in the file; and "open"
//! is written there before the log gets its first line. What the heap says of its state goes through the log like
//! all else, and is never "clean".
//!
//! A new log has a new random id, which the state slot names before the log is made: should the machine stop in
//! between, the log is missing, and not needed yet.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, Mode, OFlags, fadvise};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

use super::create::Place;
use super::error::{CreateError, OpenError};
use super::header::Header;
use super::options::RegionOptions;
use super::{NO_BOOT, boot, random_word};
use crate::layout::{Shutdown, State, TABLES};
use crate::line_log::{Checkpointer, FileStorage, LineLog, LogError, LogKey, Replay, Storage, format};
use crate::mapping::io::Io;
use crate::mapping::{Domain, LineSink, Mapping, PAGE};
use crate::mem::{MediaError, Mem};

/// Where a region's log stands.
pub(crate) fn path_of(region: &Path) -> PathBuf {
    FileStorage::log_path(region)
}

/// The log of a region's file.
pub(super) type Log = LineLog<LogFile, LogFile>;

/// A file as the log uses it, by system calls that a test can make fail.
#[derive(Debug)]
pub(super) struct LogFile {
    io: Io,
    file: Arc<OwnedFd>,
}

impl Storage for LogFile {
    fn pread(&self, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
        Ok(self.io.read(self.file.as_fd(), offset, out)?)
    }

    fn pwrite(&self, offset: u64, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(self.io.write(self.file.as_fd(), offset, bytes)?)
    }

    fn fdatasync(&self) -> std::io::Result<()> {
        Ok(self.io.sync_data(self.file.as_fd())?)
    }

    fn len(&self) -> std::io::Result<u64> {
        Ok(self.io.stat(self.file.as_fd())?.len)
    }
}

#[derive(Debug)]
struct Sink(Arc<Log>);

impl LineSink for Sink {
    fn append(&self, offset: u64, lines: u64, collect: &mut dyn FnMut(u64) -> [u64; 8]) {
        self.0.append(offset, lines, collect);
    }

    fn commit(&self) {
        // Whether it worked, `health` tells.
        let _ = self.0.commit_all();
    }

    fn health(&self) -> Result<(), MediaError> {
        self.0.health()
    }
}

/// The log of an open region. Invariant: the file's state slot says "open", with the log's id and no boot.
#[derive(Debug)]
pub(super) struct RegionLog {
    log: Arc<Log>,
    checkpointer: Option<Checkpointer<LogFile, LogFile>>,
    /// A forked child has no thread to wait for.
    process: Pid,
}

/// Whether lines that were acknowledged may be in the log alone.
pub(super) fn is_needed(state: &State) -> bool {
    state.shutdown == Shutdown::Open && state.boot_id == NO_BOOT && state.log_id != 0
}

/// Whether a log is to be read before the file is used without it: lines may be in it alone, or the state that said so may be
/// lost, and there is a log.
pub(super) fn is_to_be_read(path: &Path, state: &State, may_be_stale: bool, options: &RegionOptions) -> bool {
    // A log that is not needed has no lines, so to read it changes nothing.
    is_needed(state)
        || may_be_stale
            && state.log_id != 0
            && !matches!(open_log(path, OFlags::RDONLY, options), Err(LogError::Missing))
}

impl RegionLog {
    /// Opens the region's log, or makes one. Gives the lines that the file may lack, which must be put into the private map
    /// of the file before anything is read there. `header` tells what they make of it.
    pub(super) fn open(
        path: &Path,
        file: &Arc<OwnedFd>,
        header: &mut Header,
        options: &RegionOptions,
    ) -> Result<(Self, Option<Replay>), OpenError> {
        let settle = || options.io.sync(file.as_fd()).map_err(OpenError::io("sync the region's file"));
        let needed = is_needed(&header.state);
        if !needed {
            if header.state.shutdown == Shutdown::Open {
                // What the process before has stored may still be in the page cache alone.
                settle()?;
            }
            find_or_make(path, file, header, options)?;
            if header.state.shutdown == Shutdown::Clean && !header.may_be_stale {
                expect_no_lines(path, header, options)?;
            }
            // Before the log's first line: from here on it is needed.
            store_state(file, header, options, |state| {
                state.shutdown = Shutdown::Open;
                state.boot_id = NO_BOOT;
            })?;
        }
        let (log, lines) = open_line_log(path, file, header, options)?;
        if needed && lines.is_empty() {
            // That it is open may be in the page cache alone. Had the log a line, that would be durable: see above.
            settle()?;
        }
        *header = Header::read_with(&options.io, file.as_fd(), &lines)?;
        let mut outside = false;
        lines.each_line(|offset, _| outside |= offset >= header.state.region_bytes);
        let lines = if outside {
            // Nobody writes such a line, for a region grows before it is stored to. The file is long enough.
            log.checkpoint()?;
            None
        } else {
            Some(lines)
        };
        log.limit_pages(options.log.pages());
        Ok((Self { log: Arc::new(log), checkpointer: None, process: getpid() }, lines))
    }

    /// Starts the thread that makes checkpoints. The first may be due already, which the one who opens need not wait for.
    pub(super) fn start_checkpoints(&mut self) -> Result<(), OpenError> {
        let checkpointer = Checkpointer::start(Arc::clone(&self.log))
            .map_err(|source| OpenError::Io { doing: "start the thread that makes checkpoints", source })?;
        self.checkpointer = Some(checkpointer);
        Ok(())
    }

    /// Brings all that was committed into the file.
    #[cfg(test)]
    pub(super) fn checkpoint(&self) {
        self.log.checkpoint().expect("a log without damage");
    }

    /// Where the mapping's lines go.
    pub(super) fn sink(&self) -> Box<dyn LineSink> {
        Box::new(Sink(Arc::clone(&self.log)))
    }

    /// Brings all that was committed into the file, and says in the file that it was closed in order. All that the heap
    /// has stored must be committed.
    pub(super) fn close(mut self, file: &Arc<OwnedFd>, options: &RegionOptions) -> Result<(), OpenError> {
        drop(self.checkpointer.take());
        self.log.checkpoint()?;
        let mut header = Header::read(&options.io, file.as_fd())?;
        store_state(file, &mut header, options, |state| state.shutdown = Shutdown::Clean)
    }
}

impl Drop for RegionLog {
    fn drop(&mut self) {
        if getpid() != self.process {
            std::mem::forget(self.checkpointer.take());
        }
    }
}

/// Brings what the log holds into the file, as it must be before the file is used in another domain.
pub(super) fn replay(
    path: &Path,
    file: &Arc<OwnedFd>,
    header: &mut Header,
    options: &RegionOptions,
) -> Result<(), OpenError> {
    let (log, lines) = open_line_log(path, file, header, options)?;
    log.checkpoint()?;
    if !lines.is_empty() {
        tracing::info!(lines = lines.len(), "brought the log into the region's file");
    }
    *header = Header::read(&options.io, file.as_fd())?;
    Ok(())
}

/// Refuses a log with lines beside a region that was closed in order, all of which are in its file: they count by an older head, the
/// newest being damaged, and would put back what stood there before.
fn expect_no_lines(path: &Path, header: &Header, options: &RegionOptions) -> Result<(), OpenError> {
    let log = open_log(path, OFlags::RDONLY, options)?;
    let lines = Replay::read(&log, header.state.region_bytes, &key(header))?;
    if lines.is_empty() { Ok(()) } else { Err(LogError::Corrupt { offset: 0 }.into()) }
}

fn open_line_log(
    path: &Path,
    file: &OwnedFd,
    header: &Header,
    options: &RegionOptions,
) -> Result<(Log, Replay), OpenError> {
    let log = open_log(path, OFlags::RDWR, options)?;
    Ok(LineLog::open(log, reopen(file, options)?, key(header))?)
}

/// Puts what the log holds into a copy of the file in memory; neither file is written.
pub(super) fn replay_into_copy(
    path: &Path,
    file: &OwnedFd,
    header: &Header,
    copy: &Mapping,
    options: &RegionOptions,
) -> Result<(), OpenError> {
    let log = open_log(path, OFlags::RDONLY, options)?;
    let bytes = options.io.stat(file.as_fd()).map_err(OpenError::io("stat the region's file"))?.len;
    put_into(&Replay::read(&log, bytes.min(copy.len()), &key(header))?, copy, file);
    Ok(())
}

/// Puts into a copy of the file what can be read of a log that may be damaged. Says what is wrong with it.
pub(super) fn replay_prefix_into_copy(
    path: &Path,
    region: [u8; 16],
    log_id: u64,
    copy: &Mapping,
    options: &RegionOptions,
) -> Option<LogError> {
    let log = match open_log(path, OFlags::RDONLY, options) {
        Ok(log) => log,
        Err(error) => return Some(error),
    };
    let (lines, why) = Replay::read_prefix(&log, copy.len(), &log_key(region, log_id));
    for (offset, line) in lines {
        copy.write(offset, &line);
    }
    why
}

/// Stores the lines in a private map of the file, which is long enough. They are in the log already: nothing is flushed.
pub(super) fn put_into(lines: &Replay, map: &Mapping, file: &OwnedFd) {
    read_ahead(lines, file);
    lines.each_line(|offset, line| map.write(offset, line));
}

/// Begins to read the pages of the file that the lines are in, unless they are in the page cache. Else each page that is not
/// is waited for by itself, and what the kernel reads around it may be megabytes.
fn read_ahead(lines: &Replay, file: &OwnedFd) {
    let mut pages = Vec::with_capacity(lines.len());
    lines.each_line(|offset, _| pages.push(offset / PAGE));
    pages.sort_unstable();
    pages.dedup();
    for run in pages.chunk_by(|page, next| page + 1 == *next) {
        // Without it the pages are read all the same, if more slowly.
        let _ = fadvise(file, run[0] * PAGE, NonZeroU64::new(run.len() as u64 * PAGE), Advice::WillNeed);
    }
}

fn key(header: &Header) -> LogKey {
    log_key(header.superblock.identity.uuid, header.state.log_id)
}

fn log_key(region: [u8; 16], log_id: u64) -> LogKey {
    let mut log = [0; 16];
    log[..8].copy_from_slice(&log_id.to_le_bytes());
    LogKey { region, log }
}

fn open_log(path: &Path, flags: OFlags, options: &RegionOptions) -> Result<LogFile, LogError> {
    let io = options.io.clone();
    match io.open(&path_of(path), flags | OFlags::NOFOLLOW, Mode::empty()) {
        Ok(file) => Ok(LogFile { io, file: Arc::new(file) }),
        Err(Errno::NOENT) => Err(LogError::Missing),
        Err(errno) => Err(std::io::Error::from(errno).into()),
    }
}

/// The same file by another description: the kernel tells each of them once of an error of write-back, and the log must not
/// miss one because somebody else has heard of it.
fn reopen(file: &OwnedFd, options: &RegionOptions) -> Result<LogFile, OpenError> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let file = options
        .io
        .open(Path::new(&path), OFlags::RDWR, Mode::empty())
        .map_err(OpenError::io("open the region's file again"))?;
    Ok(LogFile { io: options.io.clone(), file: Arc::new(file) })
}

/// For a file that needs no log: makes sure that there is one that it names.
fn find_or_make(
    path: &Path,
    file: &Arc<OwnedFd>,
    header: &mut Header,
    options: &RegionOptions,
) -> Result<(), OpenError> {
    if header.state.log_id != 0 {
        match open_log(path, OFlags::RDWR, options) {
            // Whether it is the right one, opening it will tell.
            Ok(_) => return Ok(()),
            Err(LogError::Missing) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let log_id = loop {
        let random = random_word().map_err(|source| OpenError::Io { doing: "get random bytes", source })?;
        if random != 0 {
            break random;
        }
    };
    let log_path = path_of(path);
    let refuse = |error| OpenError::MakeLog(Box::new(error));
    let place = Place::find(&options.io, &log_path).map_err(refuse)?;
    place.expect_free().map_err(refuse)?;
    let boot_id = boot::boot_id(&options.boot_id)
        .map_err(|source| OpenError::Io { doing: "read the kernel's boot id", source })?;
    store_state(file, header, options, |state| {
        state.log_id = log_id;
        // Without a boot it would need the log that is not there yet, if it is open.
        state.boot_id = boot_id;
    })?;
    let key = key(header);
    let fill = |file: &Arc<OwnedFd>| {
        let log = LogFile { io: options.io.clone(), file: Arc::clone(file) };
        format(&log, &key, &options.log).map_err(|error| match error {
            LogError::Io(source) => CreateError::of_log(source),
            error => CreateError::Open(Box::new(error.into())),
        })
    };
    place.make(fill).map_err(refuse)?;
    Ok(())
}

/// Writes the next state into the file itself, durably.
fn store_state(
    file: &Arc<OwnedFd>,
    header: &mut Header,
    options: &RegionOptions,
    change: impl FnOnce(&mut State),
) -> Result<(), OpenError> {
    let mut map_options = options.map_options();
    map_options.reserve = TABLES;
    map_options.force_flush = false;
    let front = Mapping::shared(Arc::clone(file), TABLES, Domain::ProcessCrash, &map_options)?;
    change(&mut header.state);
    header.state.store_next(&front, header.superblock.checksum_seed());
    Ok(front.sync()?)
}
