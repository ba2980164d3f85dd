//! What Abide's benchmarks share.
//!
//! - [`machine`]: what the machine is, which processors it has for us, and how long threads had to wait for them;
//! - [`spread`]: a number over several rounds, and how two contenders compare round by round;
//! - [`table`]: tables that people read and that are Markdown too, and how numbers are written in them.
//!
//! Nothing here knows what is measured. It is a crate so that the stores which Abide is compared with
//! (`benches/engines`, a workspace of its own) can use it without building a node.

pub mod machine;
pub mod spread;
pub mod table;

use anyhow::Context as _;
use serde::Serialize;
use std::io::Write as _;

/// The finaliser of SplitMix64: every bit of the result depends on every bit of the input, and no two inputs have
/// one result.
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// Prints a line, but does not panic if nobody reads it any more.
pub fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("printing")
}

/// Prints one line of JSON.
pub fn print_json(line: &impl Serialize) -> anyhow::Result<()> {
    print(&serde_json::to_string(line)?)
}
