//! Whatever is done to a region's files, what is read is right or a typed error: never a panic, a hang, an access to memory that is
//! not the region's, or wrong data.
//!
//! Each test runs its cases in a process of its own (child.rs) on regions with a value of each type (sample.rs), which were closed, left
//! as by a kill, or cut off from their power. Then bits are flipped and more (flips.rs), files cut short (truncation.rs), replaced by others
//! (foreign.rs), disks filled (full.rs), and system calls fail (failpoints.rs). What the format does not check, and so what may
//! be read wrongly after which damage, stands in places.rs, byte by byte; nothing else is excused.
//!
//! `ABIDE_DAMAGE_FULL=1` flips every bit, and takes more samples. `SEED=...` repeats a run.

use abide as _;
use abide_recovery_tests as _;

mod child;
mod failpoints;
mod flips;
mod foreign;
mod full;
mod places;
mod sample;
mod truncation;

/// A folder on a tmpfs where there is one, which is quick to sync.
fn quick_folder() -> tempfile::TempDir {
    match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => folder,
        Err(_) => tempfile::tempdir().expect("a folder for temporary files"),
    }
}
