//! The `abide` command, as a shell sees it.

mod calls;
mod data;
mod limits;
mod lives;
mod node;
mod regions;
mod support;
mod types;
mod waits;
