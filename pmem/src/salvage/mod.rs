//! Taking out of a damaged region what is left of it.
//!
//! [`salvage_file`] reads a region that cannot be opened any more, or that `check` finds damaged, and makes a **new region** of all that
//! can be read: each object under its name, in its shard, of its type, so that whoever used the one can go on with the other. It says
//! of each object whether it is there as a whole, in part, or not, and where the damage is. The damaged file is locked for
//! reading, mapped as a private copy, and never written; the new one gets its name when it is whole and durable.
//!
//! ```text
//! damage                              what is done
//! a superblock, or its copy           the other one is used
//! both superblocks                    an earlier copy of the file can lend its own
//! a state slot, or both               the region counts as one that was open; it may be older than what was acknowledged
//! a watermark or the ring of a shard  its last batches are not replayed, and may be missing or half applied
//! the log of a region                 its lines up to the damage count
//! a power loss that it cannot survive what is there is read
//! the end of the file is missing      what stands there is lost
//! pages that cannot be read           are zeros
//! the list of names                   nodes are looked for by their checksums, wherever one can stand
//! a node of a name                    if only the name is damaged, the object gets one of its place; else it is lost
//! bitmaps                             play no part but for names that are not in the list
//! a root                              the object is lost, but for maps of which the list of entries can be found
//! below the root                      entries, elements and extents that can be read are saved
//! ```
//! **What is verified.** Registers, byte arrays, maps and their entries, elements of more than 7 bytes and the keys and values of sorted
//! maps have checksums. Which elements a list has in which order has none, short elements have none, and neither has the word that names
//! a sorted map's tree. So what is damaged there may go unnoticed, and such objects are reported as saved but not verified.
//!
//! **Not saved**: blocks that no name leads to, and values that an application made of words of its own instead of the types of
//! this crate. The new region has an identity of its own, and ring slots of 4 KiB at least.

mod directory;
mod error;
mod memory;
mod report;
mod shards;
mod target;
#[cfg(test)]
mod tests;
mod values;

pub use error::SalvageError;
pub use report::{Damage, Outcome, SalvageReport, SavedBundles, SavedObject, SavedShard};

use crate::{
    Heap, Mapping, Persistence, RegionOptions,
    check::{FindingKind, Report, tables},
    heap::HeapOpenError,
    index::Salvaged,
    layout::{STATE, Shutdown, State, Superblock, SuperblockError},
    mem::Mem,
    region::{DamagedError, OpenError, map_damaged},
    types::{TypeError, place},
};
use memory::Forgiving;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};
use target::Target;

/// How often all of a region may be read in the end, as its own words lead from one place to another. What is not damaged is read
/// once, and what is damaged by chance little more often; bytes that were made for it would be read over and over.
const READS_MAX: u64 = 64;

/// How to salvage.
#[derive(Debug, Clone)]
pub struct SalvageOptions {
    /// A file that begins with the same region's superblock, such as an earlier copy of it: what is used where both superblocks
    /// are damaged. It must be a region that could be opened.
    pub superblock_of: Option<PathBuf>,
    /// How the files are opened. Geometry and promise play no part: the new region has the damaged one's geometry, and is closed in
    /// order, which survives all. Afterwards it can be opened with any promise.
    pub region: RegionOptions,
}

impl Default for SalvageOptions {
    fn default() -> Self {
        Self { superblock_of: None, region: RegionOptions::new(Persistence::ProcessCrash) }
    }
}

/// Reads the damaged region at `path` and makes a region at `out` of what can be read.
///
/// The time grows with the file's length, and so does the memory, with the number of objects. Any bytes are welcome.
///
/// # Errors
/// See [`SalvageError`]. Damage is no error if anything is left to be read.
pub fn salvage_file(
    path: impl AsRef<Path>,
    out: impl AsRef<Path>,
    options: &SalvageOptions,
) -> Result<SalvageReport, SalvageError> {
    let region = RegionOptions { persistence: Persistence::ProcessCrash, ..options.region.clone() };
    let damaged =
        map_damaged(path.as_ref(), options.superblock_of.as_deref(), &region).map_err(
            |error| match error {
                DamagedError::Region(
                    error @ OpenError::Superblock(SuperblockError::NotARegion | SuperblockError::Corrupt),
                ) => SalvageError::NoSuperblock(error),
                DamagedError::Region(error) => SalvageError::Read(error),
                DamagedError::Lender(error) => SalvageError::Lender(error),
            },
        )?;
    let geometry = *damaged.superblock.layout.geometry();
    let target = Target::create(out.as_ref(), damaged.mapping.len(), geometry, &region)?;
    let mut found = Report::default();
    let is_state_known = look_at_state(&damaged.mapping, &damaged.superblock, &mut found);
    let mut is_current = is_state_known;
    if damaged.had_power_loss {
        found.add(FindingKind::PowerLoss, STATE, None, OpenError::UncleanPowerLoss);
        is_current = false;
    }
    if let Some(error) = &damaged.log_error {
        found.add(FindingKind::Log, 0, None, error);
        is_current = false;
    }
    let state = damaged.state.unwrap_or(State::new(damaged.mapping.len()));
    if state.region_bytes > damaged.file_bytes && damaged.state.is_some() {
        let text =
            format!("the region has {} bytes, but only {} are there", state.region_bytes, damaged.file_bytes);
        found.add(FindingKind::Truncated, damaged.file_bytes, None, text);
    }
    // Of a clean region nothing needs to be replayed, but which slot was the newest is not known if one is damaged.
    let shutdown = if is_state_known { state.shutdown } else { Shutdown::Open };
    let mut faulty: HashSet<u32> = found
        .findings
        .iter()
        .filter(|finding| is_of_ring(finding.kind))
        .filter_map(|finding| finding.shard)
        .collect();
    let mem = Forgiving(damaged.mapping);
    let (heap, errors) = Heap::open_damaged(mem, damaged.superblock, State { shutdown, ..state }, |shard| {
        !faulty.contains(&shard)
    });
    for error in errors {
        if let HeapOpenError::CorruptShard { shard, .. } = error {
            faulty.insert(shard);
        }
        found.add_open_error(&error);
    }
    // In a region that was closed in order the rings are of no use any more.
    if shutdown == Shutdown::Clean {
        faulty.clear();
    }
    let mut report = SalvageReport::default();
    save_objects(&heap, is_current, &faulty, &target, &mut found, &mut report)?;
    for shard in 0..heap.shard_count() {
        report.shards.push(shards::save(&heap.reader(shard), !faulty.contains(&shard), &target)?);
    }
    if let Err(error) = heap.mem().0.health() {
        found.add(
            FindingKind::Truncated,
            0,
            None,
            format_args!("{error}; pages that cannot be read count as zeros"),
        );
        is_current = false;
        report.objects.iter_mut().for_each(|object| object.is_verified = false);
    }
    report.is_current = is_current;
    report.findings = found.findings;
    target.publish()?;
    Ok(report)
}

fn is_of_ring(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::Ring | FindingKind::Watermark)
}

/// Looks at superblocks, state slots, watermarks and rings. Says whether the state is known.
fn look_at_state(mapping: &Mapping, superblock: &Superblock, found: &mut Report) -> bool {
    tables::check_superblocks(mapping, found);
    tables::check_states(mapping, superblock.checksum_seed(), found);
    tables::check_shards(mapping, superblock, found);
    !found.findings.iter().any(|finding| finding.kind == FindingKind::State)
}

/// Copies all objects that are found.
fn save_objects(
    heap: &Heap<Forgiving<Mapping>>,
    is_current: bool,
    faulty: &HashSet<u32>,
    target: &Target,
    found: &mut Report,
    report: &mut SalvageReport,
) -> Result<(), SalvageError> {
    let Salvaged { named, nameless, lost, unknown, error } = heap.index().salvage();
    let is_list_torn = error.is_some();
    if let Some(error) = error {
        let offset = place(&TypeError::Heap(error.clone()), 0);
        found.add(FindingKind::Index, offset, None, format_args!("the list of names: {error}"));
    }
    for &offset in &lost {
        found.add(FindingKind::Index, offset, None, "a name is lost: its node is damaged");
    }
    for &offset in &unknown {
        found.add(
            FindingKind::Chunk,
            offset,
            None,
            "the descriptor is damaged, so names in its chunk may be lost",
        );
    }
    // A file that was cut short may have had chunks of names behind its end, and if the list is whole no name stood there.
    let is_cut = found.findings.iter().any(|finding| finding.kind == FindingKind::Truncated);
    report.may_miss_names = !unknown.is_empty() || is_list_torn && is_cut;
    report.lost_names = lost;
    let mut budget = heap.mem().len().saturating_mul(READS_MAX);
    let renamed =
        nameless.into_iter().map(|(node, entry)| (format!("salvaged@{node:#x}").into_bytes(), entry, true));
    let all = named.into_iter().map(|node| (node.name, node.entry, false)).chain(renamed);
    for (name, entry, is_renamed) in all {
        let view = heap.reader(entry.shard);
        let mut object = values::save(&view, entry, name, is_renamed, &mut budget, target)?;
        object.is_verified &= is_current && !faulty.contains(&entry.shard);
        report.objects.push(object);
    }
    Ok(())
}
