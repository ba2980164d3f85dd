//! Verification of a region: everything that can be read is read, nothing is written.
//!
//! [`check_file`] works on a copy of the file's pages, [`check_memory`] on any memory that may be stored to, since recovery
//! replays what a crash left before values are looked at. Any bytes are welcome. What is looked at, in this order:
//!
//! ```text
//! both superblocks, both state slots, watermarks, redo rings     tables.rs, before recovery
//! the name index, and each value below a name                    values.rs
//! garbage, completion tables, command rings                      shards.rs
//! descriptors, bitmaps and lists, against what all these own     heap::audit
//! ```
//! A block that is allocated and that no name, table or registered root leads to is **unattributed**: an application may
//! keep its root somewhere else. It is counted, and is no finding.

mod shards;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
mod values;

use crate::{
    heap::{Heap, HeapOpenError},
    mem::Mem,
    region::{OpenError, RegionOptions, map_copy},
};
use std::{collections::HashSet, path::Path};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FindingKind {
    /// A superblock, or its copy.
    Superblock,
    /// A state slot.
    State,
    /// The file is shorter than the region.
    Truncated,
    /// A power loss may have left the region's pages in any state.
    PowerLoss,
    /// The region's log cannot be used.
    Log,
    /// One of a shard's two watermark lines.
    Watermark,
    /// A shard's redo ring.
    Ring,
    /// The region cannot be recovered, so nothing behind it was checked.
    Recovery,
    /// The name index.
    Index,
    /// A value, below a name or a registered root.
    Value,
    /// A shard's garbage list.
    Garbage,
    /// A shard's completion table.
    Completions,
    /// A shard's command ring.
    Commands,
    /// A chunk's descriptor, bitmap, or place in a list.
    Chunk,
    /// A block that its owner and the bitmaps do not agree on.
    Block,
}

impl FindingKind {
    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Superblock => "superblock",
            Self::State => "state",
            Self::Truncated => "truncated",
            Self::PowerLoss => "power-loss",
            Self::Log => "log",
            Self::Watermark => "watermark",
            Self::Ring => "ring",
            Self::Recovery => "recovery",
            Self::Index => "index",
            Self::Value => "value",
            Self::Garbage => "garbage",
            Self::Completions => "completions",
            Self::Commands => "commands",
            Self::Chunk => "chunk",
            Self::Block => "block",
        }
    }
}

/// Something that cannot be, if nothing was damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Where it stands, in bytes from the start of the region.
    pub offset: u64,
    /// The shard that it is in, if it is in one.
    pub shard: Option<u32>,
    /// What is wrong.
    pub text: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:#x}", self.kind.name(), self.offset)?;
        if let Some(shard) = self.shard {
            write!(f, " of shard {shard}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// A value that an application has without a name: in a block of its own of [`ROOT_BYTES`](crate::types::ROOT_BYTES).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnnamedRoot {
    /// The shard.
    pub shard: u32,
    /// Offset of the block.
    pub offset: u64,
}

/// What a check found and counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Names, without those that were deleted.
    pub names: u64,
    /// Allocated blocks of the shards.
    pub blocks: u64,
    /// Of these, blocks that nothing known to the check leads to.
    pub unattributed: u64,
    known: HashSet<(FindingKind, u64)>,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn add(&mut self, kind: FindingKind, offset: u64, shard: Option<u32>, text: impl ToString) {
        // Each shard's audit sees the descriptors of all.
        if self.known.insert((kind, offset)) {
            self.findings.push(Finding { kind, offset, shard, text: text.to_string() });
        }
    }

    pub(crate) fn add_open_error(&mut self, error: &HeapOpenError) {
        let (kind, shard) = match error {
            HeapOpenError::Superblock(_) | HeapOpenError::Geometry(_) => (FindingKind::Superblock, None),
            HeapOpenError::State(_) => (FindingKind::State, None),
            HeapOpenError::Truncated { .. } => (FindingKind::Truncated, None),
            HeapOpenError::CorruptShard { shard, .. } => (FindingKind::Recovery, Some(*shard)),
            _ => (FindingKind::Recovery, None),
        };
        self.add(kind, 0, shard, error);
    }
}

/// Checks the region in a file. Takes the file's lock for reading, and never writes to it. With
/// [`accept_power_loss`](RegionOptions::accept_power_loss) it looks also into a region that a power loss may have left in any state.
///
/// # Errors
/// If the file cannot be read at all, or is in use. Damage is no error but a finding.
pub fn check_file(
    path: impl AsRef<Path>,
    options: &RegionOptions,
    roots: &[UnnamedRoot],
) -> Result<Report, OpenError> {
    match map_copy(path.as_ref(), options) {
        Ok((mapping, _lock)) => Ok(check_memory(mapping, roots)),
        Err(error) => {
            let kind = match &error {
                OpenError::Superblock(_) => FindingKind::Superblock,
                OpenError::State(_) => FindingKind::State,
                OpenError::Truncated { .. } => FindingKind::Truncated,
                OpenError::UncleanPowerLoss => FindingKind::PowerLoss,
                OpenError::Log(_) => FindingKind::Log,
                _ => return Err(error),
            };
            let mut report = Report::default();
            report.add(kind, 0, None, &error);
            Ok(report)
        }
    }
}

/// Checks the region in some memory, which recovery may store to.
pub fn check_memory<M: Mem>(mem: M, roots: &[UnnamedRoot]) -> Report {
    let mut report = Report::default();
    tables::check(&mem, &mut report);
    match Heap::open_read_only(mem, [0; 16]) {
        Ok(heap) => shards::check(&heap, roots, &mut report),
        Err(error) => report.add_open_error(&error),
    }
    report
}
