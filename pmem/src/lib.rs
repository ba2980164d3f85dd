//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions.

pub mod mapping;
pub mod mem;

pub use mapping::{Domain, Mapping, Persistence};
pub use mem::{MediaError, Mem, Rule, Site};
