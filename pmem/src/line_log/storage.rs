//! The two files that the log touches, as four calls: what tests replace by a disk that forgets.

use std::io;

/// A file: the log's own, or the region's.
///
/// Calls behave as the system calls of their names. What was written is durable only once [`fdatasync`](Self::fdatasync)
/// has returned `Ok`; until then a power cut may keep any part of it, in any order.
///
/// **One file description for each value.** Linux tells of a failed write-back once for each open file description, to
/// whoever syncs first. So the log and whoever else syncs the region's file (growth, for one) must have opened it
/// separately, or one would get the error that the other had to hear of.
pub trait Storage: Send + Sync {
    /// Reads at most `out.len()` bytes. May be short; 0 is the end of the file.
    fn pread(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Writes at most `bytes.len()` bytes. May be short.
    fn pwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Makes durable all that was written before the call.
    fn fdatasync(&self) -> io::Result<()>;

    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Whether this storage wants a rule of the log broken, to see whether the checks notice. Real files never do, and
    /// the compiler removes the question.
    #[inline(always)]
    fn broken(&self, _rule: LogRule) -> bool {
        false
    }
}

/// A rule of the log whose breach loses something, or makes a region unopenable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogRule {
    /// A frame is durable before anybody is told so.
    FrameSync,
    /// A failed `fdatasync` is not tried again: the kernel has forgotten what it could not write.
    NoRetry,
    /// A segment is entered only after the log's head has left it.
    EnterFreeSegment,
    /// Checkpoint: the region's file is durable before the head moves.
    CheckpointRegionSync,
    /// Checkpoint: the head is written after the region's file.
    CheckpointHeadLast,
    /// Checkpoint: the head is durable before the segment behind it is used again.
    CheckpointHeadSync,
    /// Checkpoint: of several images of one line the newest counts.
    NewestLine,
    /// The two copies of the head are written in turn.
    AlternateHeads,
    /// Recovery: the head that it read is durable before it acts upon it.
    RecoverHeadTrust,
    /// Recovery: the last frame that it read is durable before it acts upon it.
    RecoverFrameTrust,
    /// Recovery: that is, synced once more.
    RecoverTrustSync,
    /// Recovery: what may be left of a frame that was never whole is made unreadable before a frame is written over it.
    RecoverClearTorn,
    /// Recovery: and that durably.
    RecoverClearSync,
    /// Replay: a frame counts only if its checksum is right.
    FrameChecksum,
    /// Replay: a frame counts only in the place of its generation and sequence.
    FrameInOrder,
    /// Replay: a frame behind the end says that a durable one is damaged.
    NoticeHole,
    /// Replay: a line must lie inside of the region.
    LineInRegion,
}

impl LogRule {
    /// All of them.
    pub const ALL: &'static [LogRule] = &[
        LogRule::FrameSync,
        LogRule::NoRetry,
        LogRule::EnterFreeSegment,
        LogRule::CheckpointRegionSync,
        LogRule::CheckpointHeadLast,
        LogRule::CheckpointHeadSync,
        LogRule::NewestLine,
        LogRule::AlternateHeads,
        LogRule::RecoverHeadTrust,
        LogRule::RecoverFrameTrust,
        LogRule::RecoverTrustSync,
        LogRule::RecoverClearTorn,
        LogRule::RecoverClearSync,
        LogRule::FrameChecksum,
        LogRule::FrameInOrder,
        LogRule::NoticeHole,
        LogRule::LineInRegion,
    ];
}

/// Writes all of `bytes`. A short write goes on behind it and an interrupted one starts over; no other error is tried
/// again.
pub(super) fn write_all<S: Storage>(storage: &S, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match storage.pwrite(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads all of `out`. The end of the file inside of it is an error.
pub(super) fn read_all<S: Storage>(storage: &S, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        match storage.pread(offset, out) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                out = &mut out[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `fdatasync`, once. An interruption is an error too: what was written back by then is unknown.
pub(super) fn sync<S: Storage>(storage: &S) -> io::Result<()> {
    match storage.fdatasync() {
        Err(_) if storage.broken(LogRule::NoRetry) => storage.fdatasync(),
        result => result,
    }
}
