//! The bytes of the log: two heads, and frames. The module's page describes them byte by byte.

use super::{LogError, LogKey, Options};
use crate::checksum::sealed_bytes;

/// What a log begins with.
pub(super) const MAGIC: [u8; 8] = *b"ABIDELOG";
/// Newest format that this code reads, and the one that it writes.
pub(super) const VERSION: u32 = 1;
/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 128;
/// Bytes between the two heads: a page, so that no write of one can tear the other.
pub(super) const HEAD_STRIDE: u64 = 4096;
/// Where the first segment starts.
pub(super) const SEGMENTS_AT: u64 = 2 * HEAD_STRIDE;
/// What a frame begins with: "FRAM".
pub(super) const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"FRAM");
/// Bytes of a frame before its lines.
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// Bytes of a line in a frame: its offset in the region, its image.
pub(super) const ENTRY_BYTES: usize = 72;

/// Little-endian `u64` at a place that is known to be inside.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Little-endian `u32` at a place that is known to be inside.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Where the log begins: which generation and line come first, and the sizes of the file's parts.
///
/// Invariant: `frame_bytes_max <= segment_bytes`, both multiples of 8, and the two segments fit a file's `u64` length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Counts the heads that were written. The newer of two valid ones counts; it stands in slot `turn % 2`.
    pub(super) turn: u64,
    /// Oldest generation whose lines may be missing in the region's file.
    pub(super) generation: u64,
    /// Sequence of that generation's first line.
    pub(super) sequence: u64,
    pub(super) segment_bytes: u64,
    pub(super) frame_bytes_max: u64,
}

impl Head {
    /// The first head of a new log.
    pub(super) fn new(options: &Options) -> Head {
        Head {
            turn: 0,
            generation: 1,
            sequence: 0,
            segment_bytes: options.segment_bytes(),
            frame_bytes_max: options.frame_bytes_max(),
        }
    }

    /// Bytes of the whole file.
    pub(super) fn file_bytes(&self) -> u64 {
        SEGMENTS_AT + 2 * self.segment_bytes
    }

    /// Where this head stands.
    pub(super) fn slot_at(&self) -> u64 {
        (self.turn % 2) * HEAD_STRIDE
    }

    /// Where the segment of a generation starts.
    pub(super) fn segment_at(&self, generation: u64) -> u64 {
        SEGMENTS_AT + (generation % 2) * self.segment_bytes
    }

    pub(super) fn encode(&self, key: &LogKey) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&key.region);
        bytes[32..48].copy_from_slice(&key.log);
        bytes[48..56].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.frame_bytes_max.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.turn.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.generation.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.sequence.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..HEAD_BYTES - 4]);
        bytes[HEAD_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head that stands in `slot`. Its checksum does not depend on the key, so that another region's log is told
    /// apart from a damaged one.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES], slot: u64, key: &LogKey) -> Result<Head, LogError> {
        if bytes[0..8] != MAGIC {
            return Err(LogError::NotALog);
        }
        if crc32c::crc32c(&bytes[..HEAD_BYTES - 4]) != u32_at(bytes, HEAD_BYTES - 4) {
            return Err(LogError::Corrupt { offset: slot * HEAD_STRIDE });
        }
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(LogError::NewerFormat { found: version, max: VERSION });
        }
        if bytes[16..32] != key.region || bytes[32..48] != key.log {
            return Err(LogError::Foreign);
        }
        let head = Head {
            turn: u64_at(bytes, 64),
            generation: u64_at(bytes, 72),
            sequence: u64_at(bytes, 80),
            segment_bytes: u64_at(bytes, 48),
            frame_bytes_max: u64_at(bytes, 56),
        };
        let sizes = head.segment_bytes.is_multiple_of(8)
            && head.frame_bytes_max.is_multiple_of(8)
            && head.frame_bytes_max >= (FRAME_HEADER_BYTES + ENTRY_BYTES) as u64
            && head.frame_bytes_max <= head.segment_bytes
            && head.segment_bytes <= super::LOG_BYTES_MAX / 2;
        // Numbers only grow by one, so those that could overflow were written by nobody.
        let numbers =
            head.turn < u64::MAX / 2 && head.generation < u64::MAX / 2 && head.sequence < u64::MAX / 2;
        if version != VERSION || !sizes || !numbers || head.turn % 2 != slot {
            return Err(LogError::Corrupt { offset: slot * HEAD_STRIDE });
        }
        Ok(head)
    }
}

/// What stands before a frame's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) generation: u64,
    /// Sequence of the first line.
    pub(super) sequence: u64,
    pub(super) lines: u32,
    lines_crc: u32,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(super) fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.lines) * ENTRY_BYTES as u64
    }

    /// Fills the space before the lines of `frame`.
    pub(super) fn seal(frame: &mut [u8], key: &LogKey, generation: u64, sequence: u64) {
        let lines = (frame.len() - FRAME_HEADER_BYTES) / ENTRY_BYTES;
        assert_eq!(frame.len(), FRAME_HEADER_BYTES + lines * ENTRY_BYTES);
        frame[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        frame[4..8].copy_from_slice(&u32::try_from(lines).expect("a bounded frame").to_le_bytes());
        frame[8..16].copy_from_slice(&generation.to_le_bytes());
        frame[16..24].copy_from_slice(&sequence.to_le_bytes());
        let crc = lines_crc(key, generation, sequence, &frame[FRAME_HEADER_BYTES..]);
        frame[24..28].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c_append(key.seed(), &frame[..28]);
        frame[28..32].copy_from_slice(&crc.to_le_bytes());
    }

    /// The header at the start of `bytes`, if a log with this key has written one.
    pub(super) fn decode(bytes: &[u8], key: &LogKey) -> Option<FrameHeader> {
        if bytes.len() < FRAME_HEADER_BYTES || u32_at(bytes, 0) != FRAME_MAGIC {
            return None;
        }
        if crc32c::crc32c_append(key.seed(), &bytes[..28]) != u32_at(bytes, 28) {
            return None;
        }
        Some(FrameHeader {
            generation: u64_at(bytes, 8),
            sequence: u64_at(bytes, 16),
            lines: u32_at(bytes, 4),
            lines_crc: u32_at(bytes, 24),
        })
    }

    /// Whether these are the lines that the header was written for.
    pub(super) fn covers(&self, key: &LogKey, lines: &[u8]) -> bool {
        lines_crc(key, self.generation, self.sequence, lines) == self.lines_crc
    }
}

/// The lines' checksum depends on region, log, generation and sequence: lines of an earlier lap under a later
/// header fail it.
fn lines_crc(key: &LogKey, generation: u64, sequence: u64, lines: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(key.seed(), &generation.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
    sealed_bytes(crc, lines)
}
