//! Mapping a file that may be damaged anywhere, for whoever takes out what is left.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::error::OpenError;
use super::header::Header;
use super::lock::{Lock, Use};
use super::options::RegionOptions;
use super::{check_power_loss, log, open_file};
use crate::layout::{
    SUPERBLOCK, SUPERBLOCK_BYTES, SUPERBLOCK_COPY, State, Superblock, SuperblockError, TABLES,
};
use crate::line_log::LogError;
use crate::mapping::io::Io;
use crate::mapping::{Mapping, PAGE, Persistence};
use crate::mem::Mem;

/// A copy of a file's pages, and what could be made of its first ones. The file is locked for reading, and never written.
#[derive(Debug)]
pub(crate) struct Damaged {
    /// All of the file, filled up with zeros to a whole page, with what its log tells.
    pub(crate) mapping: Mapping,
    pub(crate) superblock: Superblock,
    /// The newest whole state slot, if there is one.
    pub(crate) state: Option<State>,
    /// Bytes of the file.
    pub(crate) file_bytes: u64,
    /// Whether a power loss may have left its pages in any state.
    pub(crate) had_power_loss: bool,
    /// What is wrong with the log that the region needs.
    pub(crate) log_error: Option<LogError>,
    // Given back last.
    _lock: Lock,
}

/// Which file could not be read.
#[derive(Debug)]
pub(crate) enum DamagedError {
    /// The damaged one.
    Region(OpenError),
    /// The one that was to lend its superblock.
    Lender(OpenError),
}

impl From<OpenError> for DamagedError {
    fn from(error: OpenError) -> Self {
        Self::Region(error)
    }
}

/// Locks and maps a file. A superblock must be left, or be in `superblock_of`: without the region's uuid no checksum can be checked.
pub(crate) fn map_damaged(
    path: &Path,
    superblock_of: Option<&Path>,
    options: &RegionOptions,
) -> Result<Damaged, DamagedError> {
    let io = &options.io;
    let file = open_file(io, path, Use::Shared)?;
    let lock = Lock::take(io, &file, Use::Shared)?;
    let file_bytes = io.stat(file.as_fd()).map_err(OpenError::io("stat the region's file"))?.len;
    if file_bytes < TABLES {
        return Err(OpenError::Truncated { have: file_bytes, need: TABLES }.into());
    }
    // The rest of the last page reads as zeros. Pages that cannot be read are zeros, too, and poison the mapping.
    let bytes = file_bytes
        .checked_next_multiple_of(PAGE)
        .ok_or(OpenError::Truncated { have: file_bytes, need: TABLES })?;
    let mut map_options = options.map_options();
    map_options.reserve = bytes;
    map_options.guard_truncation = true;
    let mapping = Mapping::private_copy(Arc::clone(&file), bytes, &map_options).map_err(OpenError::from)?;
    let superblock = match (superblock(&mapping), superblock_of) {
        (Ok(superblock), _) => superblock,
        (Err(_), Some(other)) => lent(io, other).map_err(DamagedError::Lender)?,
        (Err(error), None) => return Err(OpenError::from(error).into()),
    };
    if file_bytes <= superblock.layout.zones {
        return Err(OpenError::Truncated { have: file_bytes, need: superblock.layout.bytes_min() }.into());
    }
    let seed = superblock.checksum_seed();
    let mut state = State::load(&mapping, seed).ok();
    let asked = RegionOptions { persistence: Persistence::ProcessCrash, ..options.clone() };
    let had_power_loss = match state.as_ref().map(|state| check_power_loss(state, &asked)) {
        Some(Err(OpenError::UncleanPowerLoss)) => true,
        Some(Err(error)) => return Err(error.into()),
        _ => false,
    };
    let mut log_error = None;
    let has_log =
        |state: &State| log::is_to_be_read(path, state, state.may_be_stale(&mapping, seed), options);
    if let Some(found) = state.filter(has_log) {
        let uuid = superblock.identity.uuid;
        log_error = log::replay_prefix_into_copy(path, uuid, found.log_id, &mapping, options);
        state = State::load(&mapping, seed).ok();
    }
    Ok(Damaged { mapping, superblock, state, file_bytes, had_power_loss, log_error, _lock: lock })
}

/// The superblock of another file of the same region.
fn lent(io: &Io, path: &Path) -> Result<Superblock, OpenError> {
    let file = open_file(io, path, Use::Shared)?;
    let _lock = Lock::take(io, &file, Use::Shared)?;
    Ok(Header::read(io, file.as_fd())?.superblock)
}

/// The superblock, or its copy. That of a region that was never finished will do: its beginning may as well have been lost.
fn superblock(mem: &impl Mem) -> Result<Superblock, SuperblockError> {
    let decode = |at| {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        mem.read(at, &mut bytes);
        Superblock::decode(&bytes)
    };
    match (decode(SUPERBLOCK), decode(SUPERBLOCK_COPY)) {
        (Ok(superblock), _) | (Err(_), Ok(superblock)) => Ok(superblock),
        // What a later version wrote is said rather than that the other one is damaged.
        (Err(SuperblockError::NotARegion | SuperblockError::Corrupt), Err(error)) | (Err(error), Err(_)) => {
            Err(error)
        }
    }
}
