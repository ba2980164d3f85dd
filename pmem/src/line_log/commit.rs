//! Appending lines from any thread, and committing them in groups.
//!
//! One short mutex orders the lines. What it guards is a copy of 72 bytes into a buffer; there is no place that is reserved
//! and not yet filled, and so nothing can become durable behind a hole. Whoever commits first becomes the leader: it takes the
//! buffer, writes it as one frame, and syncs. Who comes meanwhile fills the other buffer and waits; of those one leads
//! the next group. No thread but the callers' own is needed.
//!
//! Locks are taken in the order `checkpoint`, `writer`, `shared`. Nobody waits for the disk while holding `shared`.

use super::checkpoint::Writer;
use super::format::{ENTRY_BYTES, FRAME_HEADER_BYTES, FrameHeader, Head};
use super::storage::{read_all, sync, write_all};
use super::{LogError, LogKey, LogRule, Replay, Storage};
use crate::mem::{LINE, MediaError};
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The log of one region, `L` its file and `R` the region's.
///
/// Invariant: a commit that has returned `Ok` is durable. After the first error of a write or a sync nothing is
/// acknowledged any more, and nothing is tried again; the region has to be opened anew.
#[derive(Debug)]
pub struct LineLog<L, R> {
    pub(super) log: L,
    pub(super) region: R,
    pub(super) key: LogKey,
    /// Sizes; its numbers are those at opening.
    pub(super) sizes: Head,
    shared: Mutex<Shared>,
    /// Those who wait for the frame that is being written, and those who wait for the next, by the group's parity.
    written: [Condvar; 2],
    /// Those who wait until the buffer has room.
    room: Condvar,
    pub(super) writer: Mutex<Writer>,
    /// Held by the one that makes a checkpoint.
    pub(super) checkpoint: Mutex<()>,
    pub(super) due: Condvar,
}

/// Invariant: `durable <= in_flight <= appended`, and `durable < in_flight` only while somebody leads.
/// The lines from `in_flight` on are in `filling`.
#[derive(Debug)]
pub(super) struct Shared {
    /// Space for a frame's header, then lines.
    filling: Vec<u8>,
    spare: Vec<u8>,
    /// Sequence behind the last line that was appended.
    appended: u64,
    /// Sequence behind the last line of the frame that is being written.
    in_flight: u64,
    /// Sequence behind the last line that is durable.
    durable: u64,
    leading: bool,
    /// Frames that were written.
    group: usize,
    poisoned: bool,
    /// A segment is full, and nobody has begun to bring its lines into the region's file.
    pub(super) checkpoint_due: bool,
    /// A [`Checkpointer`](super::Checkpointer) does that; else the thread that finds it due.
    pub(super) checkpointer: bool,
    pub(super) stop_checkpointer: bool,
}

impl<L: Storage, R: Storage> LineLog<L, R> {
    /// Opens the log, and gives the lines that the region's file may lack. They stay in the log, and the next checkpoints
    /// bring them into the file; **whoever reads the file must put them into its memory first**
    /// ([`Replay::each_line`]).
    ///
    /// Reads what was committed since the last checkpoint, writes the last frame again, and syncs the log twice. Nothing is written to the region's file.
    ///
    /// A crash or an error inside leaves log and region such that opening again does the same.
    pub fn open(log: L, region: R, key: LogKey) -> Result<(Self, Replay), LogError> {
        let replay = Replay::read(&log, region.len()?, &key)?;
        let head = replay.head;
        if !log.broken(LogRule::RecoverHeadTrust) {
            write_all(&log, head.slot_at(), &head.encode(&key))?;
        }
        if let Some((at, bytes)) = replay.last_frame
            && !log.broken(LogRule::RecoverFrameTrust)
        {
            let mut frame = vec![0; usize::try_from(bytes).expect("a bounded frame")];
            read_all(&log, at, &mut frame)?;
            write_all(&log, at, &frame)?;
        }
        if !log.broken(LogRule::RecoverTrustSync) {
            sync(&log)?;
        }
        if !log.broken(LogRule::RecoverClearTorn) {
            // Not before that: were the head lost again, a generation would begin where now nothing follows.
            for segment in replay.next_frame_segments() {
                if segment.used as u64 + FRAME_HEADER_BYTES as u64 <= head.segment_bytes {
                    write_all(&log, segment.end_at(), &[0; FRAME_HEADER_BYTES])?;
                }
            }
            if !log.broken(LogRule::RecoverClearSync) {
                sync(&log)?;
            }
        }
        let writer = Writer::behind(&replay);
        let shared = Shared {
            filling: empty_frame(),
            spare: empty_frame(),
            appended: writer.sequence(),
            in_flight: writer.sequence(),
            durable: writer.sequence(),
            leading: false,
            group: 0,
            poisoned: false,
            // Not by the next one that commits: whoever opens a region is in a hurry. A checkpointer begins with it.
            checkpoint_due: false,
            checkpointer: false,
            stop_checkpointer: false,
        };
        let log = LineLog {
            log,
            region,
            key,
            sizes: head,
            shared: Mutex::new(shared),
            written: [Condvar::new(), Condvar::new()],
            room: Condvar::new(),
            writer: Mutex::new(writer),
            checkpoint: Mutex::new(()),
            due: Condvar::new(),
        };
        Ok((log, replay))
    }

    /// Appends `lines` lines from `offset` on, and gives the sequence behind them: what [`commit`](Self::commit)
    /// takes.
    ///
    /// `collect` gives the image of the line at an offset, and **must read the line when it is called**, not
    /// before: it is called while the line's place in the order is held. A line that was read ahead could come behind a
    /// newer image of itself, which another thread has committed, and take its place.
    ///
    /// May commit when the buffer is full. After an error the lines are dropped, and each commit says so.
    pub fn append(&self, offset: u64, lines: u64, mut collect: impl FnMut(u64) -> [u64; 8]) -> u64 {
        assert!(offset.is_multiple_of(LINE), "a line begins at a multiple of {LINE}, not at {offset:#x}");
        let capacity = usize::try_from(self.sizes.frame_bytes_max).expect("a bounded frame");
        let mut shared = self.lock();
        for line in 0..lines {
            while shared.filling.len() + ENTRY_BYTES > capacity && !shared.poisoned {
                shared = if shared.leading {
                    self.room.wait(shared).unwrap_or_else(PoisonError::into_inner)
                } else {
                    self.lead(shared)
                };
            }
            if shared.poisoned {
                break;
            }
            let at = offset + line * LINE;
            let mut entry = [0; ENTRY_BYTES];
            entry[..8].copy_from_slice(&at.to_le_bytes());
            for (bytes, word) in entry[8..].as_chunks_mut::<8>().0.iter_mut().zip(collect(at)) {
                *bytes = word.to_le_bytes();
            }
            shared.filling.extend_from_slice(&entry);
            shared.appended += 1;
        }
        shared.appended
    }

    /// Returns once all lines below `sequence` are durable. `Ok` is an acknowledgement; after an error there is none
    /// any more, for anybody.
    ///
    /// The thread that leads when a half of the log is full makes the checkpoint before it returns, unless a
    /// [`Checkpointer`](super::Checkpointer) runs. Others go on meanwhile, up to the end of the other half.
    pub fn commit(&self, sequence: u64) -> Result<(), MediaError> {
        let mut shared = self.lock();
        assert!(sequence <= shared.appended, "{sequence} of {} lines", shared.appended);
        loop {
            if shared.poisoned {
                return Err(MediaError::IoPoisoned);
            }
            if shared.durable >= sequence {
                break;
            }
            shared = if shared.leading {
                let next = usize::from(sequence > shared.in_flight);
                let mine = &self.written[(shared.group + next) % 2];
                mine.wait(shared).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.lead(shared)
            };
        }
        if shared.checkpoint_due && !shared.checkpointer {
            shared.checkpoint_due = false;
            drop(shared);
            self.checkpoint_oldest()?;
        }
        Ok(())
    }

    /// Makes durable whatever anybody has appended so far.
    pub fn commit_all(&self) -> Result<(), MediaError> {
        let appended = self.lock().appended;
        self.commit(appended)
    }

    /// Whether commits can still be relied upon.
    pub fn health(&self) -> Result<(), MediaError> {
        if self.lock().poisoned { Err(MediaError::IoPoisoned) } else { Ok(()) }
    }

    /// Writes what the buffer holds as one frame and syncs it. The caller has seen that nobody leads.
    fn lead<'a>(&'a self, mut shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        assert!(!shared.leading && shared.in_flight == shared.durable);
        let sequence = shared.in_flight;
        let spare = std::mem::take(&mut shared.spare);
        let mut frame = std::mem::replace(&mut shared.filling, spare);
        shared.leading = true;
        shared.in_flight = shared.appended;
        drop(shared);
        self.room.notify_all();

        // A panic inside, of a storage, must not leave the others waiting for a leader that is gone.
        let unwound = PoisonOnDrop(self);
        let result = self.write_frame(&mut frame, sequence);
        std::mem::forget(unwound);
        if let Err(error) = &result {
            tracing::error!(%error, "the region's log could not be written; the region accepts nothing any more");
        }

        frame.truncate(FRAME_HEADER_BYTES);
        let mut shared = self.lock();
        shared.spare = frame;
        shared.leading = false;
        shared.poisoned |= result.is_err();
        // Also when somebody else has poisoned the log meanwhile nothing is acknowledged: it may be that their sync was
        // given the error of our frame.
        if !shared.poisoned {
            shared.durable = shared.in_flight;
        }
        let group = shared.group;
        shared.group += 1;
        self.written[group % 2].notify_all();
        if shared.poisoned {
            self.written[(group + 1) % 2].notify_all();
            self.room.notify_all();
        } else {
            // One of each: a thread that waits for room may find none, lead, and so free those who wait for a commit.
            self.written[(group + 1) % 2].notify_one();
            self.room.notify_one();
        }
        shared
    }

    fn write_frame(&self, frame: &mut [u8], sequence: u64) -> io::Result<()> {
        let bytes = frame.len() as u64;
        let mut writer = self.writer_with_room(&frame[FRAME_HEADER_BYTES..])?;
        assert_eq!(writer.sequence(), sequence, "frames follow each other without a hole");
        FrameHeader::seal(frame, &self.key, writer.generation, sequence);
        write_all(&self.log, writer.frame_at(), frame)?;
        if !self.log.broken(LogRule::FrameSync) {
            sync(&self.log)?;
        }
        writer.advance(bytes, (bytes - FRAME_HEADER_BYTES as u64) / ENTRY_BYTES as u64);
        Ok(())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // What runs under the lock leaves a sound state also where it panics: see `append`.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says to everybody, once and for all, that nothing is durable any more.
    pub(super) fn poison(&self) {
        self.lock().poisoned = true;
        for waiting in self.written.iter().chain([&self.room, &self.due]) {
            waiting.notify_all();
        }
    }
}

/// Poisons the log unless it is forgotten.
struct PoisonOnDrop<'a, L: Storage, R: Storage>(&'a LineLog<L, R>);

impl<L: Storage, R: Storage> Drop for PoisonOnDrop<'_, L, R> {
    fn drop(&mut self) {
        self.0.poison();
    }
}

fn empty_frame() -> Vec<u8> {
    vec![0; FRAME_HEADER_BYTES]
}
