//! What was saved, and what was not.

use crate::{
    check::Finding,
    types::{Kind, salvage::Counts},
};

pub use crate::types::salvage::Damage;

/// How much of an object is in the new region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it.
    Whole,
    /// A part: so many entries, elements or bytes, and how many are missing if that is known. Bytes that are missing are zeros in the
    /// new region, elements and entries are left out.
    Part {
        /// How many are there.
        saved: u64,
        /// How many are not.
        missing: Option<u64>,
    },
    /// Nothing: there is no object of its name in the new region.
    Lost,
}

impl Outcome {
    /// A word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Part { .. } => "part",
            Self::Lost => "lost",
        }
    }

    pub(super) fn of(counts: Counts, damage: u64) -> Self {
        let missing = counts.expected.and_then(|expected| expected.checked_sub(counts.saved));
        match (counts.saved, missing) {
            (_, Some(0)) if damage == 0 => Self::Whole,
            (0, missing) if missing != Some(0) => Self::Lost,
            (saved, missing) => Self::Part { saved, missing },
        }
    }
}

/// How much of a directory's bundles is in the new region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SavedBundles {
    /// Those of which all values are whole.
    pub whole: u64,
    /// Those of which some values are missing, or are there in part.
    pub partial: u64,
    /// Names whose bundle cannot be found: they are not in the new region.
    pub lost: u64,
    /// Values that are missing, or are there in part. They are empty in the new region if nothing was saved.
    pub values_damaged: u64,
}

/// An object that the damaged region has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedObject {
    /// Its name in the new region.
    pub name: Vec<u8>,
    /// Whether that is made up from its place, since its own is damaged.
    pub is_renamed: bool,
    /// Its type number.
    pub type_number: u16,
    /// Its shard.
    pub shard: u32,
    /// Offset of its root in the damaged region.
    pub root: u64,
    /// What its value is made of. `None` if nothing was ever stored in it, or if its root is damaged.
    pub kind: Option<Kind>,
    /// How much of it was saved. Of a directory, the entries are its names, those included whose values were saved in part.
    pub outcome: Outcome,
    /// Of a directory: what became of its bundles.
    pub bundles: Option<SavedBundles>,
    /// Whether checksums say that what was saved is what was stored last. Where not, either the format has no checksum for all of it:
    /// lists, and which tree a sorted map's root names, and objects that are empty; or the region as a whole may be older than what was
    /// acknowledged, see [`SalvageReport::is_current`] and [`SavedShard::is_current`].
    pub is_verified: bool,
    /// What is damaged, the first of it.
    pub damage: Vec<Damage>,
    /// How much is damaged.
    pub damage_count: u64,
}

/// What a shard has besides objects.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedShard {
    /// Which.
    pub shard: u32,
    /// Whether the last batches are in the new region as far as they were acknowledged. If not, their record is damaged: they
    /// were not replayed, and may be missing or half applied. Values of which they changed a part only do not pass their checksums,
    /// and count as damaged.
    pub is_current: bool,
    /// Clients whose last calls and results were saved.
    pub completions: u64,
    /// Commands that were saved. The words that say where the ring begins and ends carry no checksum: should they have been
    /// damaged to others that can be, commands at the ends are missing and nothing tells.
    pub commands: u64,
    /// Whether commands have other positions in the new region, since some between them are missing. They begin then where the
    /// damaged ring ended, so that whoever had read up to a position before is told that what follows was trimmed.
    pub commands_moved: bool,
    /// What is damaged of both.
    pub damage: Vec<Damage>,
    /// How much is damaged of both.
    pub damage_count: u64,
}

/// What was saved of a region, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SalvageReport {
    /// What is wrong with the region's tables, with its names as a whole, and with its file.
    pub findings: Vec<Finding>,
    /// Whether the region is known to be no older than what was acknowledged last. Not so if its state is damaged, if a log that
    /// it needs is damaged or missing, if a power loss came that it does not survive, or if pages of the file could not be read.
    pub is_current: bool,
    /// All objects that were found, in no order that means anything.
    pub objects: Vec<SavedObject>,
    /// Offsets of allocated blocks of the name index that hold no readable object: each had a name that is lost.
    pub lost_names: Vec<u64>,
    /// Whether there may be more lost names, whose places are not known.
    pub may_miss_names: bool,
    /// All shards.
    pub shards: Vec<SavedShard>,
}

impl SalvageReport {
    /// Whether all is in the new region: nothing is known to be missing, nor that something may be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_current
            && !self.may_miss_names
            && self.lost_names.is_empty()
            && self.objects.iter().all(|object| object.outcome == Outcome::Whole && !object.is_renamed)
            && self.shards.iter().all(|shard| shard.is_current && shard.damage_count == 0)
    }

    /// How many objects were saved as a whole.
    #[must_use]
    pub fn whole(&self) -> u64 {
        self.count(|object| object.outcome == Outcome::Whole)
    }

    /// How many objects were saved in part.
    #[must_use]
    pub fn partial(&self) -> u64 {
        self.count(|object| matches!(object.outcome, Outcome::Part { .. }))
    }

    /// How many objects were lost, those whose names are lost included.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.count(|object| object.outcome == Outcome::Lost) + self.lost_names.len() as u64
    }

    /// How many objects were saved without being verified.
    #[must_use]
    pub fn unverified(&self) -> u64 {
        self.count(|object| object.outcome != Outcome::Lost && !object.is_verified)
    }

    fn count(&self, counts: impl Fn(&SavedObject) -> bool) -> u64 {
        self.objects.iter().filter(|object| counts(object)).count() as u64
    }
}
