//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions.

pub mod line_log;
pub mod mem;

pub use mem::{MediaError, Mem, Rule, Site};

/// What survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Nothing.
    Volatile,
}
