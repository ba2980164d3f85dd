//! Keys and values: each value tells which key and which version it is of.

use abide_bench_common::mix;
use anyhow::ensure;

/// The nth key. Hashed, so that stores which sort keys find no order in the load.
pub(crate) fn key(nth: usize) -> u64 {
    mix(nth as u64 + 1)
}

/// Writes the value of a key and version over all of `out`: both, then words that follow from both.
pub(crate) fn write(key: u64, version: u32, out: &mut [u8]) {
    let seed = key ^ u64::from(version).rotate_left(32);
    for (nth, piece) in out.chunks_mut(8).enumerate() {
        let word = match nth {
            0 => key,
            1 => u64::from(version),
            _ => seed.wrapping_mul(2 * nth as u64 + 1),
        };
        piece.copy_from_slice(&word.to_le_bytes()[..piece.len()]);
    }
}

/// Whether all bytes are that value.
pub(crate) fn check(key: u64, version: u32, length: usize, bytes: &[u8]) -> anyhow::Result<()> {
    let mut expected = vec![0; length];
    write(key, version, &mut expected);
    ensure!(bytes == expected, "key {key:#x}, version {version}: found {bytes:x?}");
    Ok(())
}

/// All words of a value together, so that reading it is work that counts.
pub(crate) fn fold(bytes: &[u8]) -> u64 {
    let mut pieces = bytes.chunks_exact(8);
    let mut sum = 0_u64;
    for piece in &mut pieces {
        sum = sum.rotate_left(5) ^ u64::from_le_bytes(piece.try_into().unwrap_or_default());
    }
    pieces.remainder().iter().fold(sum, |sum, byte| sum.rotate_left(5) ^ u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_of_its_own_key_and_version_alone() {
        for length in [32, 100] {
            let mut bytes = vec![0; length];
            write(7, 3, &mut bytes);
            check(7, 3, length, &bytes).unwrap();
            check(7, 4, length, &bytes).unwrap_err();
            check(8, 3, length, &bytes).unwrap_err();
            let folded = fold(&bytes);
            bytes[length - 1] ^= 1;
            check(7, 3, length, &bytes).unwrap_err();
            assert_ne!(fold(&bytes), folded);
        }
    }
}
