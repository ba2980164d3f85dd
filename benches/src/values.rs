//! The values that are written and read: each tells which key and which version it is of.

use abide_bench_common::mix;

/// Bytes of a value: the 1 KB of the CRUCIAL paper's table 2.
pub(crate) const VALUE_BYTES: usize = 1_024;

const HEAD_BYTES: usize = 16;
const BODY_BYTES: usize = VALUE_BYTES - HEAD_BYTES;

/// Where the bodies come from. Small enough to stay in the processor's cache, so that making and checking
/// values costs the generator little.
const POOL_BYTES: usize = 32 << 10;

/// Makes values and recognises them.
///
/// A value is the key, the version and a hash of both, then a piece of a random pool that the hash chooses.
#[derive(Debug)]
pub(crate) struct Values {
    pool: Vec<u8>,
}

impl Values {
    pub(crate) fn new() -> Values {
        let mut random = fastrand::Rng::with_seed(0xAB1DE);
        Values { pool: (0..POOL_BYTES).map(|_| random.u8(..)).collect() }
    }

    fn parts(&self, key: u32, version: u32) -> ([u8; HEAD_BYTES], &[u8]) {
        let mark = mix(u64::from(version) << 32 | u64::from(key));
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&key.to_le_bytes());
        head[4..8].copy_from_slice(&version.to_le_bytes());
        head[8..].copy_from_slice(&mark.to_le_bytes());
        let from = mark as usize % (POOL_BYTES - BODY_BYTES);
        (head, &self.pool[from..from + BODY_BYTES])
    }

    /// Appends a value.
    pub(crate) fn write(&self, key: u32, version: u32, out: &mut Vec<u8>) {
        let (head, body) = self.parts(key, version);
        out.extend_from_slice(&head);
        out.extend_from_slice(body);
    }

    /// Whether these bytes are that value, all of them.
    pub(crate) fn matches(&self, key: u32, version: u32, bytes: &[u8]) -> bool {
        let (head, body) = self.parts(key, version);
        bytes.len() == VALUE_BYTES && bytes[..HEAD_BYTES] == head && &bytes[HEAD_BYTES..] == body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_matches_its_own_key_and_version_alone() {
        let values = Values::new();
        let mut bytes = Vec::new();
        values.write(7, 3, &mut bytes);
        assert_eq!(bytes.len(), VALUE_BYTES);
        assert!(values.matches(7, 3, &bytes));
        assert!(!values.matches(7, 4, &bytes) && !values.matches(8, 3, &bytes));
        assert!(!values.matches(7, 3, &bytes[1..]));
        bytes[VALUE_BYTES - 1] ^= 1;
        assert!(!values.matches(7, 3, &bytes));
    }
}
