//! Bringing lines from the log into the region's file, so that the log stays within its length.
//!
//! The log is two halves. Frames go to one until it is full, then to the other, while the lines of the first are written
//! into the region's file: from the log, never from memory, which holds what is not committed as well. Committing and that
//! touch different bytes of different files; only for the sync of the new head they take turns, so that an error of
//! write-back reaches the one whose bytes it is about.

use super::format::Head;
use super::replay::sealed_lines;
use super::storage::{sync, write_all};
use super::{LineLog, LogRule, Storage};
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
}

impl Writer {
    pub(super) fn at(head: Head) -> Writer {
        let sequence = head.sequence;
        Writer { head, generation: head.generation, used: 0, sealed_used: 0, start: sequence, sequence }
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
    }
}

impl<L: Storage, R: Storage> LineLog<L, R> {
    /// The writer, in a segment where `bytes` more fit. The caller leads.
    pub(super) fn writer_with_room(&self, bytes: u64) -> io::Result<MutexGuard<'_, Writer>> {
        loop {
            let mut writer = self.lock_writer();
            if writer.used + bytes <= self.sizes.segment_bytes {
                return Ok(writer);
            }
            if writer.generation == writer.head.generation {
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
            if writer.generation == writer.head.generation {
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

    /// Commits all that was appended before the call and brings it into the region's file. Others may append and commit
    /// meanwhile.
    pub fn checkpoint(&self) -> Result<(), MediaError> {
        self.commit_all()?;
        self.checkpoint_oldest()?;
        {
            let mut writer = self.lock_writer();
            if writer.used > 0 && writer.generation == writer.head.generation {
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

    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
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
        {
            let mut shared = log.lock();
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
