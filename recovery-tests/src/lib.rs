//! What is left after crashes: of memory whose power is cut, and of processes that are killed.
//!
//! **Crash images.** [`explore`] runs structures of `abide-pmem` over simulated memory, cuts its power in as many ways as a
//! budget allows, and checks what recovery makes of what is left. Read [`explore::Scenario`] first, then
//! [`linearizability`] (what is right), [`schedule`] (how threads are interleaved) and [`mutants`] (how we know that
//! the checks check). [`scenarios`] lists the structures.
//!
//! **Killed processes.** [`kills`] kills a process that uses a region in a file, and checks that what it acknowledged is
//! there once; [`fire`] does so with a node, its clients and what is between them. [`disk`] is a disk that loses what it was not told to keep, for virtual machines whose power is cut (vm/).
//!
//! **Tests from outside.** The binary of this crate is both sides of each test: a node (`serve`) and clients with a role
//! (`add`, `meet`, `hold`). The tests start it, kill it, and look at what is left.

pub mod disk;
pub mod explore;
pub mod fire;
pub mod history;
pub mod kills;
pub mod linearizability;
pub mod mutants;
mod quiet;
pub mod scenarios;
pub mod schedule;
