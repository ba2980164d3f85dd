//! Persistent regions: objects in mapped non-volatile memory that survive crashes.
//!
//! Nothing is here yet. What will be, in the order in which it will come:
//! - the trait through which every structure loads, stores, flushes and fences, over a real mapping or over a
//!   simulated one that can crash at any instant;
//! - region files: creation, locking, growth, and opening in a time that does not depend on the data;
//! - a redo ring that commits a batch of changes with one fence, a bitmap allocator, and reclamation by epochs;
//! - a lock-free index of names, and the persistent data types that objects are made of.
//!
//! This crate knows no object and no network, and is alone in naming CPU instructions. Until it is there,
//! objects live in memory, and a store that is opened on a file writes them there when it closes.
