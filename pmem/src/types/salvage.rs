//! What reading a damaged value part by part has in common for all types.
//!
//! Each type has a function that gives every part that can be read to a sink, and goes on behind what cannot. Any bytes are welcome:
//! nothing is read twice because a word says so, and all values of a region together are read only up to a multiple of its length.

use super::{TypeError, place};

/// Damages of one value that are kept; more are counted.
const DAMAGE_MAX: usize = 16;

/// A part of a value, or of a table, that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where the damage is, in bytes from the start of the region, as far as that is known.
    pub offset: u64,
    /// What is wrong, or missing because of it.
    pub text: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:#x}: {}", self.offset, self.text)
    }
}

/// The reading of one value.
#[derive(Debug)]
pub(crate) struct Salvage<'b> {
    pub(crate) damage: Vec<Damage>,
    pub(crate) damage_count: u64,
    /// Bytes that may still be read, of all values. What was not damaged never needs more than the region has.
    budget: &'b mut u64,
}

impl<'b> Salvage<'b> {
    pub(crate) fn new(budget: &'b mut u64) -> Self {
        Self { damage: Vec::new(), damage_count: 0, budget }
    }

    /// Takes note of damage.
    pub(crate) fn damaged(&mut self, offset: u64, text: impl ToString) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(Damage { offset, text: text.to_string() });
        }
    }

    /// Takes note of an error that came from what stands at `at`, if it does not know better.
    pub(crate) fn failed(&mut self, error: &TypeError, at: u64, what: &str) {
        self.damaged(place(error, at), format_args!("{what}: {error}"));
    }

    /// Allows for so many bytes to be read. If not, the value must not be read on.
    #[must_use]
    pub(crate) fn allow(&mut self, at: u64, bytes: u64) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                *self.budget = left;
                true
            }
            None => {
                *self.budget = 0;
                self.damaged(at, "the region names more bytes than it can hold");
                false
            }
        }
    }
}

/// How much of a value was read, in its own unit: entries, elements or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) saved: u64,
    /// How much there was, if that is known.
    pub(crate) expected: Option<u64>,
}
