//! A node for tests, which does on purpose what networks and nodes do by accident; and what the tests share.
#![allow(dead_code, unreachable_pub, unused_imports)] // each test program uses its part

mod connection;
pub mod faults;
mod node;

pub use faults::{Act, Moment};
pub use node::{NodeOptions, TestNode};

use abide_client::RemoteOptions;
use std::time::{Duration, Instant};

/// Options for tests: impatient where the defaults would cost minutes, and never from the environment.
pub fn options() -> RemoteOptions {
    RemoteOptions { retry_for: Duration::from_secs(20), ..RemoteOptions::default() }
}

/// Waits until `condition` holds. The time is only there for a test that fails.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "it never happened that {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A seed for a random test: from SEED, or a new one; printed, so that a failing run can be repeated.
pub fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("rerun with SEED={seed}");
    seed
}
