//! What a file says of itself before it is mapped.
//!
//! Read by system call: where the media is damaged that is an error, and through a map it would be a signal.

use std::os::fd::BorrowedFd;

use super::error::OpenError;
use crate::layout::{
    STATE, SUPERBLOCK, SUPERBLOCK_BYTES, SUPERBLOCK_COPY, State, Superblock, SuperblockError, TABLES,
};
use crate::line_log::Replay;
use crate::mapping::io::Io;
use crate::mem::LINE;

/// Bytes of both state slots.
const SLOTS_BYTES: usize = 2 * LINE as usize;

/// Superblock and state of a file.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) superblock: Superblock,
    pub(super) state: State,
    /// The slot before the newest, if it is whole.
    pub(super) state_before: Option<State>,
    /// Whether a newer state may be lost: there is no whole one beside the newest.
    pub(super) may_be_stale: bool,
}

impl Header {
    /// Reads and checks them. The file is long enough for the region if this succeeds.
    pub(super) fn read(io: &Io, file: BorrowedFd<'_>) -> Result<Self, OpenError> {
        Self::read_changed(io, file, |_| {})
    }

    /// As they are with the lines of a log that the file lacks.
    pub(super) fn read_with(io: &Io, file: BorrowedFd<'_>, lines: &Replay) -> Result<Self, OpenError> {
        Self::read_changed(io, file, |bytes| {
            lines.each_line(|offset, line| {
                if offset < TABLES {
                    bytes[offset as usize..][..line.len()].copy_from_slice(line);
                }
            });
        })
    }

    fn read_changed(
        io: &Io,
        file: BorrowedFd<'_>,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<Self, OpenError> {
        let mut bytes = vec![0; TABLES as usize];
        let have = io.stat(file).map_err(OpenError::io("stat the region's file"))?.len;
        let read = io.read_up_to(file, 0, &mut bytes).map_err(OpenError::io("read the region's header"))?;
        change(&mut bytes);
        let superblock = superblock(&bytes)?;
        if read < bytes.len() {
            return Err(OpenError::Truncated { have, need: TABLES });
        }
        let slots: [u8; SLOTS_BYTES] = bytes[STATE as usize..][..SLOTS_BYTES].try_into().expect("two lines");
        let seed = superblock.checksum_seed();
        let state = State::decode_slots(&slots, seed)?;
        let mut other = slots;
        let newest = (state.generation % 2 * LINE) as usize;
        other[newest..newest + LINE as usize].fill(0);
        let state_before = State::decode_slots(&other, seed).ok();
        let may_be_stale = state.may_be_stale_in(&slots, seed);
        let need = state.region_bytes.max(superblock.layout.bytes_min());
        if have < need {
            return Err(OpenError::Truncated { have, need });
        }
        Ok(Self { superblock, state, state_before, may_be_stale })
    }
}

/// The superblock, or its copy if it is damaged. Bytes that were not there are zeros.
fn superblock(bytes: &[u8]) -> Result<Superblock, OpenError> {
    let decode =
        |at: u64| Superblock::decode(bytes[at as usize..][..SUPERBLOCK_BYTES].try_into().expect("a page"));
    match decode(SUPERBLOCK) {
        Ok(superblock) => Ok(superblock),
        // So does a region begin that was never finished: its copy is good, but nobody was told of it.
        Err(error @ SuperblockError::NotARegion) if bytes[..8] == [0; 8] => Err(error.into()),
        Err(error) => match decode(SUPERBLOCK_COPY) {
            Ok(superblock) => {
                tracing::warn!(%error, "the superblock is damaged; its copy is used");
                Ok(superblock)
            }
            Err(_) => Err(error.into()),
        },
    }
}
