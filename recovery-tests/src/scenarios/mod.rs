//! Structures to crash.
//!
//! [`toys`] are small ones that live here only to show that the harness finds what it should. [`all`] are those
//! that the project stands on.

mod bytes;
mod directory;
mod growth;
mod heap;
mod index;
mod map;
mod ordered;
mod register;
mod toy_redo;
mod toy_stack;
mod values;

pub use growth::Growth;
pub use heap::HeapBlocks;
pub use index::NameIndex;
pub use ordered::Ordered;
pub use toy_redo::ToyRedo;
pub use toy_stack::ToyStack;

use crate::explore::Explorable;
use abide_pmem::{Site, sim::Mutant};
use values::Values;

/// All structures of the project.
#[must_use]
pub fn all() -> Vec<Box<dyn Explorable>> {
    vec![
        Box::new(HeapBlocks),
        Box::new(Growth),
        Box::new(NameIndex::tight()),
        Box::new(NameIndex::growing()),
        Box::new(Values::<register::Pair>::default()),
        Box::new(Values::<bytes::ByteArray>::default()),
        Box::new(Values::<map::HashMap>::default()),
        Box::new(Values::<directory::Objects>::default()),
        Box::new(Ordered),
    ]
}

/// Structures that test the harness.
#[must_use]
pub fn toys() -> Vec<Box<dyn Explorable>> {
    vec![Box::new(ToyRedo::default()), Box::new(ToyStack)]
}

/// Mutants that no scenario of [`all`] has to catch, each with the reason.
pub const NOT_APPLICABLE: &[(Mutant, &str)] = &[
    (
        Mutant::Flush(Site::BucketReadyFlush),
        "only for speed after a restart; a unit test of the index notices",
    ),
    (Mutant::Flush(Site::SizeFlush), "only for speed after a restart; a unit test of the index notices"),
];
