//! The log that makes ordinary files survive a power cut.
//!
//! A region on a file without DAX is mapped privately: what is stored there never reaches the file by itself, so the
//! kernel cannot write back half of an update. A flush copies the line into this log instead
//! ([`LineLog::append`]), and a fence makes the log durable ([`LineLog::commit`]). Lines have one global order, and
//! **after any crash the region's file and the log together give what the lines up to some point of that order make of
//! the region, which includes every line whose commit has returned `Ok`**. That is a state which persistent memory could have been left
//! in as well, so whatever recovers the region from such memory recovers it here, and never knows of the log.
//!
//! The log is a file of its own beside the region, `NAME.log`, of a fixed length. Not a part of the region's file:
//! it is synced thousands of times a second, and a sync of the region's file would have to write whatever a checkpoint
//! or a growing region has put there; and growth stays an append to the region's end. It must be made before the region
//! gets its name, so that no region is ever without; the region's file names it by a random id.
//!
//! # Reading order
//!
//! [`LineLog`] (`commit`): appending and group commit. `checkpoint`: bringing lines into the region's file, so that the
//! log stays within its length, and its lines within a number of pages (`pages`). [`Replay`] (`replay`): which bytes of a log count. `format`: those bytes. [`Storage`]:
//! the two files, and [`LogRule`], what the log relies upon. [`FileStorage`]: real ones. [`sim`]: a disk that forgets.
//!
//! # What a commit costs
//!
//! One `pwrite` and one `fdatasync` for all threads that commit at the same time: 32 bytes, and 72 for each line. A
//! checkpoint, once a half of the log is full or its lines are in [`PAGES_MAX`] pages: a read of that half, a `pwrite` for
//! each run of neighbouring lines, two `fdatasync`.
//!
//! # What opening costs
//!
//! Reading what was committed since the last checkpoint but one, about 1 ms for each MiB, and a store of each of those lines
//! into the private map, 2 to 3 us for each page that they are in: at most the whole log and twice [`PAGES_MAX`] pages,
//! so 16 MiB and 8192 pages, whatever the region holds. Pages that are not in the page cache are read from the disk, all at
//! once, before the first is waited for. Two `fdatasync` of the log. The region's file is not written: what the log holds
//! stays in the log until a checkpoint, as if the process had not ended in between.
//!
//! # Format
//!
//! All numbers are little-endian. Version 1:
//!
//! ```text
//! 0x0000  head, slot 0 (128 bytes; the rest of the page is zero)
//! 0x1000  head, slot 1
//! 0x2000  segment 0: segment_bytes
//!         segment 1: segment_bytes, and the file ends
//!
//! head      0  magic[8] "ABIDELOG"
//!           8  version u32 = 1
//!          12  zero u32
//!          16  region uuid[16]
//!          32  log id[16]
//!          48  segment_bytes u64: a multiple of 8
//!          56  frame_bytes_max u64: no frame is longer
//!          64  turn u64: the valid head of the higher turn counts; it stands in slot turn % 2
//!          72  generation u64: the oldest whose lines may be missing in the region's file, from 1
//!          80  sequence u64: of the first line of that generation, from 0
//!          88  zero[36]
//!         124  crc32c u32 of bytes 0..124
//!
//! segment   the frames of one generation, one behind the other from the segment's start; what follows the last is left
//!           from earlier generations. Generation g stands in segment g % 2.
//!
//! frame     0  magic u32 "FRAM"
//!           4  lines u32: at least 1
//!           8  generation u64
//!          16  sequence u64 of the first line
//!          24  crc32c u32 of generation, sequence and the lines, seeded
//!          28  crc32c u32 of bytes 0..28, seeded
//!          32  lines: { offset in the region u64, image[64] } each
//!
//! seed      crc32c of region uuid and log id
//! ```
//!
//! **What counts**: the frames of the head's generation from its sequence on, each beginning where and with the sequence
//! at which the one before ended, up to the first that does not or whose checksums are wrong; then, in the same way, those
//! of the next generation. A later generation cannot be there, since its segment is entered only once the
//! head has left that segment.
//!
//! **Order of writes.** (1) No frame is written before the one ahead of it is durable. So behind a torn frame there is
//! none, and one that is found there says that durable bytes are damaged: [`LogError::Corrupt`]. Damage to the very
//! last frame cannot be told from a torn one. (2) A checkpoint of generation g writes its lines into the region's file,
//! syncs that, writes the head g + 1 into the older slot, syncs the log. A cut anywhere in between leaves a head from which
//! the same lines are written again. (3) A segment is entered only after (2) for what it holds. (4) Recovery first writes
//! the head and the last frame once more as they are, and syncs the log: a process that was killed, or whose sync failed,
//! leaves bytes that can be read and are not durable, and nobody may see what they make of the region before they are. (5)
//! Then it writes zeros over the places where the next frame may begin, a header's length, and syncs again. A frame that a
//! kill or a cut has torn there had the generation and the sequence of the next one; and another cut could make it whole, from
//! its own sectors and those of the next one, where these are the same. Not before (4), for if the head that was found is lost
//! by a cut, such a place is the start of what the head before it counts.
//!
//! # Assumptions
//!
//! A disk that says it has flushed has. A sector that is overwritten with bytes of which the first ones are the same keeps
//! those: the page of the last frame is written again with the next one.

mod checkpoint;
mod commit;
mod file;
mod format;
mod pages;
mod replay;
pub mod sim;
mod storage;

#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpointer;
pub use commit::LineLog;
pub use file::FileStorage;
pub use pages::PAGES_MAX;
pub use replay::Replay;
pub use storage::{LogRule, Storage};

use crate::mem::LINE;
use std::io;

/// Longest log: 64 GiB. More would be a mistake, since opening reads it.
pub const LOG_BYTES_MAX: u64 = 64 << 30;

/// What binds a log to its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKey {
    /// The region's uuid.
    pub region: [u8; 16],
    /// The log's own random id, which the region's file records: a copy of the region that was given a new log does not
    /// accept the old one.
    pub log: [u8; 16],
}

impl LogKey {
    /// What the checksums of frames start from.
    fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.region), &self.log)
    }
}

/// Sizes of a new log, which whoever opens it later finds in its head; and how many pages are between two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    segment_bytes: u64,
    frame_bytes_max: u64,
    pages: usize,
}

impl Options {
    /// A log of at most `log_bytes`, 16 MiB by default: each half of it holds the lines between two checkpoints, and
    /// opening reads at most all of it. `buffered_lines`, 4096 by default (288 KiB), is how many lines wait in memory for a
    /// commit before [`LineLog::append`] commits by itself.
    pub fn new(log_bytes: u64, buffered_lines: u32) -> Result<Options, LogError> {
        let frame_bytes_max =
            format::FRAME_HEADER_BYTES as u64 + u64::from(buffered_lines) * format::ENTRY_BYTES as u64;
        let least = format::SEGMENTS_AT + 2 * frame_bytes_max;
        if buffered_lines == 0 || log_bytes < least || log_bytes > LOG_BYTES_MAX {
            return Err(LogError::BadOptions { log_bytes, least, most: LOG_BYTES_MAX });
        }
        let segment_bytes = ((log_bytes - format::SEGMENTS_AT) / 2) & !7;
        Ok(Options { segment_bytes, frame_bytes_max, pages: PAGES_MAX })
    }

    /// The same, with another limit than [`PAGES_MAX`] of pages of the region that the lines between two checkpoints are in.
    /// The more, the less often a page that is changed again and again is written; opening stores to twice as many at
    /// most, and takes 2 to 3 us for each. It is no property of the log, and can be another one each time.
    #[must_use]
    pub fn with_pages(self, pages: usize) -> Options {
        Options { pages, ..self }
    }

    /// Pages of the region that the lines between two checkpoints are in, at most; unless one commit is in more.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Bytes of each half.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// Bytes of the longest frame.
    #[must_use]
    pub fn frame_bytes_max(&self) -> u64 {
        self.frame_bytes_max
    }
}

impl Default for Options {
    fn default() -> Self {
        Options::new(16 << 20, 1 << 12).expect("within the bounds")
    }
}

/// Why a log could not be made or opened. Nothing but [`Io`](Self::Io) goes away by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no log file. A region that was not closed in order cannot be opened without: what was committed last
    /// stands there alone.
    #[error("the region's log file is missing")]
    Missing,
    /// The file does not begin as a log does.
    #[error("not a log of a region")]
    NotALog,
    /// The file is shorter than a log, or than its head says.
    #[error("the log has {have} bytes and should have {need}")]
    Truncated {
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        need: u64,
    },
    /// A later version of this code wrote it.
    #[error("the log has format {found}, and this code reads up to {max}")]
    NewerFormat {
        /// The log's.
        found: u32,
        /// Ours.
        max: u32,
    },
    /// It is the log of another region, or not the one that this region was last used with.
    #[error("the log belongs to another region")]
    Foreign,
    /// Bytes that were durable are damaged, and with them lines whose commit was acknowledged.
    #[error("the log is damaged at {offset:#x}")]
    Corrupt {
        /// Where in the log's file.
        offset: u64,
    },
    /// The log has a line that lies outside of the region's file: the file is shorter than it was.
    #[error("the log has a line at {offset:#x}, and the region only {region_bytes:#x} bytes")]
    LineOutside {
        /// Where in the region.
        offset: u64,
        /// Bytes of the region's file.
        region_bytes: u64,
    },
    /// The sizes asked for do not fit each other.
    #[error(
        "a log of {log_bytes} bytes: it must have {least} to {most} for the lines it buffers, which are at least one"
    )]
    BadOptions {
        /// What was asked for.
        log_bytes: u64,
        /// Least that holds one full buffer in each half.
        least: u64,
        /// [`LOG_BYTES_MAX`].
        most: u64,
    },
    /// The system's answer to reading, writing or syncing.
    #[error("reading or writing the log or the region's file failed")]
    Io(#[from] io::Error),
}

/// Writes a new, empty log over whatever `log` holds, and makes it durable.
///
/// Every byte is written, not only reserved: a first write into reserved blocks has to record in the file system
/// that they are in use, and each commit would pay for that. A full disk shows here, and not at a commit.
pub fn format<L: Storage>(log: &L, key: &LogKey, options: &Options) -> Result<(), LogError> {
    let head = format::Head::new(options);
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < head.file_bytes() {
        let part = (head.file_bytes() - at).min(zeros.len() as u64);
        storage::write_all(log, at, &zeros[..part as usize])?;
        at += part;
    }
    storage::sync(log)?;
    // The head goes last: what a cut leaves of this is not a log.
    storage::write_all(log, head.slot_at(), &head.encode(key))?;
    storage::sync(log)?;
    Ok(())
}

const _: () = assert!(format::ENTRY_BYTES == 8 + LINE as usize);
