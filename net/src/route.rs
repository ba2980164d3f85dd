//! Where an object lives: from its name to a shard, from a shard to a core, from a core to a port.

use crate::{error::CallError, limits::KEY_BYTES_MAX};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// The number of a shard within the store.
pub type ShardId = u32;

/// The shard that owns the object `(type_id, key)`.
///
/// XXH3 (64 bits, seeded with the type) and then the jump consistent hash of Lamping and Veach (2014,
/// arXiv 1406.2294): going from n to n+1 shards moves one object in n+1, all of them to the new shard.
/// `shards` must not be 0.
pub fn shard_of(type_id: u16, key: &str, shards: u32) -> ShardId {
    assert!(shards > 0, "a store has at least one shard");
    let mut hash = xxh3_64_with_seed(key.as_bytes(), u64::from(type_id));
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < i64::from(shards) {
        bucket = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((hash >> 33) + 1) as f64)) as i64;
    }
    bucket as ShardId
}

/// XXH3 of any bytes, in 128 bits: what a seed of a user's becomes when it names a session.
pub fn hash_128(bytes: &[u8]) -> u128 {
    xxh3_128(bytes)
}

/// Checks the rule for keys: UTF-8 of 1 to [`KEY_BYTES_MAX`] bytes.
pub fn check_key(key: &str) -> Result<(), CallError> {
    match key.len() {
        0 => Err(CallError::bad_argument("a key has at least one byte")),
        1..=KEY_BYTES_MAX => Ok(()),
        _ => Err(CallError::TooLarge { max: KEY_BYTES_MAX as u64 }),
    }
}

/// What a client must know of a node to reach the owner of each object directly.
///
/// Invariant: `shards >= 1` and `ports` is not empty; shard `s` is owned by core `s % ports.len()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeMap {
    /// The node's incarnation. Greater in each later one. What was in memory in an earlier one is lost.
    pub epoch: u64,
    /// Number of shards.
    pub shards: u32,
    /// The TCP port of each core, in the order of the cores.
    pub ports: Vec<u16>,
}

impl NodeMap {
    /// The core that owns a shard.
    pub fn core_of(&self, shard: ShardId) -> usize {
        shard as usize % self.ports.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_shard_takes_its_share_and_nothing_else_moves() {
        let mut moved = 0;
        for n in 0..20_000 {
            let key = format!("key-{n}");
            let (before, after) = (shard_of(3, &key, 7), shard_of(3, &key, 8));
            if before != after {
                assert_eq!(after, 7, "{key} moved between old shards");
                moved += 1;
            }
        }
        assert!((2_000..3_000).contains(&moved), "an eighth should move, but {moved} of 20000 did");
    }

    #[test]
    fn placement_never_changes_between_builds() {
        assert_eq!(shard_of(3, "visits", 64), 45);
        assert_eq!(shard_of(4, "visits", 64), 42);
    }
}
