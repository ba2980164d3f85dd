//! Shards for tests, in regions without files.

use super::{Home, Limits, Shard, ShardConfig};
use crate::Registry;
use abide_pmem::{Geometry, Persistence, Region, RegionOptions};
use std::sync::Arc;

/// The incarnation of a test's store.
pub(crate) const EPOCH: u64 = 7;

fn options() -> RegionOptions {
    RegionOptions {
        geometry: Geometry {
            shards: 1,
            lanes: 1,
            ring_slot_bytes: 512 << 10,
            completions: 1,
            command_ring_bytes: 0,
            directory_pages: 1,
            ..Geometry::default()
        },
        // Many shards of many tests at once: a process has 128 TiB of addresses.
        reserve: 4 << 30,
        // Two shards iterate their maps in the same order.
        hash_key: Some([9; 16]),
        ..RegionOptions::new(Persistence::Volatile)
    }
}

const BYTES: u64 = 8 << 20;

/// The most that a test's region grows to.
pub(crate) const BYTES_MAX: u64 = 512 << 20;

/// Where ephemeral objects live.
pub(crate) fn ephemeral_home() -> Home {
    let region = Region::unshared(BYTES, &options()).expect("addresses");
    Home { region: Arc::new(region), shard: 0, bytes_max: BYTES_MAX }
}

/// Where persistent objects live, for as long as this is kept.
pub(crate) fn persistent_home() -> Home {
    let region = Region::volatile(BYTES, &options()).expect("addresses");
    Home { region: Arc::new(region), shard: 0, bytes_max: BYTES_MAX }
}

/// A shard with the built-in types. Objects are persistent by default if there is a home for them.
pub(crate) fn config(persistent: Option<Home>) -> ShardConfig {
    ShardConfig {
        shard: 0,
        epoch: EPOCH,
        registry: Registry::built_in(),
        started_us: 0,
        ephemeral: ephemeral_home(),
        persistent_by_default: persistent.is_some(),
        persistent,
        persistence: "test".to_owned(),
        limits: Limits::default(),
    }
}

/// A shard with the built-in types and no persistent objects.
pub(crate) fn ephemeral_shard() -> Shard {
    Shard::open(config(None)).expect("an empty shard opens")
}
