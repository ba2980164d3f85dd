//! Bringing lines from the log into the region's file, so that the log stays within its length.
//!
//! The log is two halves. Frames go to one until it is full, then to the other, while the lines of the first are written
//! into the region's file: from the log, never from memory, which holds what is not committed as well. Committing and that
//! touch different bytes of different files; only for the sync of the new head they take turns, so that an error of
//! write-back reaches the one whose bytes it is about.
//!
//! A half is full when its bytes are, or when its lines are in [`PAGES_MAX`](super::PAGES_MAX) pages of the region. The
//! first bounds what opening has to read, the second what it has to store: a page of a private map that is stored to for the
//! first time costs microseconds. Neither depends on how much the region holds. Who writes to ever new pages faster than the
//! disk can take them waits for it, and would with any other length of the log, if later.

use super::format::{ENTRY_BYTES, FRAME_HEADER_BYTES, Head, u64_at};
use super::pages::Pages;
use super::replay::sealed_lines;
use super::storage::{sync, write_all};
use super::{LineLog, LogRule, Replay, Storage};
use crate::mem::MediaError;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Where the next frame goes, and where the log begins.
///
/// Invariant: `head.generation <= generation <= head.generation + 1`, so each segment has the frames of one generation
/// that may count. What is behind `used` in the segment counts not.
#[derive(Debug)]
pub(super) struct Writer {
    /// As it stands durable in the log's file.
    head: Head,
    /// Generation of the next frame.
    pub(super) generation: u64,
    /// Bytes of its segment that hold frames.
    used: u64,
    /// The same of the generation before, if the head is still there.
    sealed_used: u64,
    /// Sequence of the first line of `generation`.
    start: u64,
    /// Sequence behind the last line that was written: of the next frame's first one.
    sequence: u64,
    /// Where in the region the lines of `generation` are.
    pub(super) pages: Pages,
}

impl Writer {
    /// Behind all that counts in the log.
    pub(super) fn behind(replay: &Replay) -> Writer {
        let Replay { head, oldest, newest, .. } = replay;
        let mut writer = Writer {
            head: *head,
            generation: head.generation,
            used: oldest.used as u64,
            sealed_used: 0,
            start: head.sequence,
            sequence: oldest.end,
            pages: Pages::default(),
        };
        let mut current = oldest;
        if newest.used > 0 {
            writer.next_generation();
            writer.used = newest.used as u64;
            writer.sequence = newest.end;
            current = newest;
        }
        writer.pages.add(current.entries().map(|entry| u64_at(entry, 0)));
        writer
    }

    /// Whether there is a segment that takes no more frames, and whose lines may be missing in the region's file.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        self.generation > self.head.generation
    }

    /// Where in the file the next frame goes.
    pub(super) fn frame_at(&self) -> u64 {
        self.head.segment_at(self.generation) + self.used
    }

    /// Sequence of the next frame's first line.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Counts a frame that is durable.
    pub(super) fn advance(&mut self, bytes: u64, lines: u64) {
        self.used += bytes;
        self.sequence += lines;
    }

    /// Ends a generation.
    fn next_generation(&mut self) {
        self.sealed_used = self.used;
        self.generation += 1;
        self.used = 0;
        self.start = self.sequence;
        self.pages.clear();
    }
}

impl<L: Storage, R: Storage> LineLog<L, R> {
    /// The writer, in a segment that has room for a frame of these lines, with their pages counted. The caller leads.
    pub(super) fn writer_with_room(&self, entries: &[u8]) -> io::Result<MutexGuard<'_, Writer>> {
        let bytes = (FRAME_HEADER_BYTES + entries.len()) as u64;
        let offsets = || entries.as_chunks::<ENTRY_BYTES>().0.iter().map(|entry| u64_at(entry, 0));
        loop {
            let mut writer = self.lock_writer();
            // One frame always fits into an empty segment, in however many pages its lines are.
            let empty = writer.used == 0;
            if writer.used + bytes <= self.sizes.segment_bytes
                && (writer.pages.add_within_limit(offsets()) || empty)
            {
                if empty {
                    writer.pages.add(offsets());
                }
                return Ok(writer);
            }
            if !writer.is_checkpoint_due() {
                writer.next_generation();
                self.lock().checkpoint_due = true;
                self.due.notify_all();
            } else if self.log.broken(LogRule::EnterFreeSegment) {
                writer.next_generation();
            } else {
                drop(writer);
                self.checkpoint_oldest().map_err(io::Error::other)?;
            }
        }
    }

    /// Brings the lines of the sealed segment into the region's file, if there is one. An error poisons the log.
    pub(super) fn checkpoint_oldest(&self) -> Result<(), MediaError> {
        self.try_checkpoint_oldest().map_err(|error| {
            tracing::error!(%error, "a checkpoint failed; the region accepts nothing any more");
            self.poison();
            MediaError::IoPoisoned
        })
    }

    fn try_checkpoint_oldest(&self) -> io::Result<()> {
        let _alone = self.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let (head, sealed_used, sequence) = {
            let writer = self.lock_writer();
            if !writer.is_checkpoint_due() {
                return Ok(());
            }
            (writer.head, writer.sealed_used, writer.start)
        };
        // The sealed segment is written by nobody until the head has left it.
        let lines = sealed_lines(&self.log, &self.key, &head, head.generation, sealed_used)?;
        let next = Head { turn: head.turn + 1, generation: head.generation + 1, sequence, ..head };
        let next_at = if self.log.broken(LogRule::AlternateHeads) { head.slot_at() } else { next.slot_at() };
        if self.log.broken(LogRule::CheckpointHeadLast) {
            write_all(&self.log, next_at, &next.encode(&self.key))?;
            sync(&self.log)?;
        }
        lines.write_to(&self.region)?;
        if !self.log.broken(LogRule::CheckpointRegionSync) {
            sync(&self.region)?;
        }
        let mut writer = self.lock_writer();
        write_all(&self.log, next_at, &next.encode(&self.key))?;
        if !self.log.broken(LogRule::CheckpointHeadSync) {
            sync(&self.log)?;
        }
        writer.head = next;
        Ok(())
    }

    /// How many pages of the region the lines between two checkpoints may be in; [`PAGES_MAX`](super::PAGES_MAX) unless told
    /// otherwise.
    pub fn limit_pages(&self, most: usize) {
        self.lock_writer().pages.limit(most);
    }

    /// Commits all that was appended before the call and brings it into the region's file. Others may append and commit
    /// meanwhile.
    pub fn checkpoint(&self) -> Result<(), MediaError> {
        self.commit_all()?;
        self.checkpoint_oldest()?;
        {
            let mut writer = self.lock_writer();
            if writer.used > 0 && !writer.is_checkpoint_due() {
                writer.next_generation();
            }
        }
        self.checkpoint_oldest()?;
        self.health()
    }

    /// The orderly end: all that was appended is in the region's file, durable, and opening finds an empty log. Gives the
    /// two files back.
    pub fn close(self) -> Result<(L, R), MediaError> {
        self.checkpoint()?;
        Ok((self.log, self.region))
    }

    pub(super) fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that makes checkpoints, so that no thread that commits has to. Ends when it is dropped.
#[derive(Debug)]
pub struct Checkpointer<L: Storage + 'static, R: Storage + 'static> {
    log: Arc<LineLog<L, R>>,
    thread: Option<JoinHandle<()>>,
}

impl<L: Storage + 'static, R: Storage + 'static> Checkpointer<L, R> {
    /// Starts the thread. At most one for a log.
    pub fn start(log: Arc<LineLog<L, R>>) -> io::Result<Self> {
        let due = log.lock_writer().is_checkpoint_due();
        {
            let mut shared = log.lock();
            shared.checkpoint_due |= due;
            assert!(!shared.checkpointer, "a log has one checkpointer");
            shared.checkpointer = true;
            shared.stop_checkpointer = false;
        }
        let own = Arc::clone(&log);
        let thread =
            std::thread::Builder::new().name("abide-checkpoint".into()).spawn(move || own.run_checkpoints());
        if thread.is_err() {
            log.lock().checkpointer = false;
        }
        Ok(Checkpointer { log, thread: Some(thread?) })
    }
}

impl<L: Storage + 'static, R: Storage + 'static> Drop for Checkpointer<L, R> {
    fn drop(&mut self) {
        self.log.lock().stop_checkpointer = true;
        self.log.due.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has poisoned the log, which is how everybody learns of it.
            let _ = thread.join();
        }
        self.log.lock().checkpointer = false;
    }
}

impl<L: Storage, R: Storage> LineLog<L, R> {
    fn run_checkpoints(&self) {
        loop {
            let mut shared = self.lock();
            while !shared.checkpoint_due && !shared.stop_checkpointer {
                shared = self.due.wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            if shared.stop_checkpointer {
                return;
            }
            shared.checkpoint_due = false;
            drop(shared);
            if self.checkpoint_oldest().is_err() {
                return;
            }
        }
    }
}
