//! CRC32C of words and bytes.
//!
//! Access rules of the `unsafe` here: an intrinsic is called only after the CPU was asked whether it has it.
//!
//! Long runs of bytes go to the `crc32c` crate. For the few words of a record or a line its set-up costs several times what
//! the checksum does (20 against 4 ns for eight words), so those are taken one instruction a word right here.

/// CRC32C over words, as they stand in memory.
#[must_use]
#[inline]
pub(crate) fn checksum(seed: u32, words: &[u64]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the CPU has SSE 4.2.
        return unsafe { words_sse42(seed, words) };
    }
    words.iter().fold(seed, |crc, word| crc32c::crc32c_append(crc, &word.to_le_bytes()))
}

/// CRC32C over bytes. The same as [`checksum`] over the words that they make.
#[must_use]
#[inline]
pub(crate) fn checksum_bytes(seed: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= 256 && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the CPU has SSE 4.2.
        return unsafe { bytes_sse42(seed, bytes) };
    }
    crc32c::crc32c_append(seed, bytes)
}

/// CRC32C over a word and then bytes.
#[must_use]
#[inline]
pub(crate) fn checksum_bytes_at(seed: u32, at: u64, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() <= 256 && std::arch::is_x86_feature_detected!("sse4.2") {
        // SAFETY: the CPU has SSE 4.2.
        return unsafe { bytes_sse42(words_sse42(seed, &[at]), bytes) };
    }
    checksum_bytes(checksum(seed, &[at]), bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn words_sse42(seed: u32, words: &[u64]) -> u32 {
    use std::arch::x86_64::_mm_crc32_u64;
    !(words.iter().fold(u64::from(!seed), |crc, &word| _mm_crc32_u64(crc, word)) as u32)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn bytes_sse42(seed: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(u64::from(!seed), |crc, &word| _mm_crc32_u64(crc, u64::from_le_bytes(word)));
    !rest.iter().fold(crc as u32, |crc, &byte| _mm_crc32_u8(crc, byte))
}

/// Odd, so that no two words become one.
const SEAL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The checksum of what holds other checksums: CRC32C over the words, each multiplied by an odd constant first.
///
/// A plain CRC cannot serve there. It is linear, and a run of words that ends with its own CRC adds the same to an
/// outer CRC whatever the words are: a line of a torn record that kept its old contents, checksum and all, would pass.
/// Multiplication is not linear in that sense.
#[must_use]
#[inline]
pub(crate) fn sealed(seed: u32, words: impl IntoIterator<Item = u64>) -> u32 {
    let mut crc = seed;
    let mut buffer = [0; 16];
    let mut used = 0;
    for word in words {
        buffer[used] = word.wrapping_mul(SEAL);
        used += 1;
        if used == buffer.len() {
            crc = checksum(crc, &buffer);
            used = 0;
        }
    }
    checksum(crc, &buffer[..used])
}

/// [`sealed`] over bytes, of which the last word is filled up with zeros.
#[must_use]
#[inline]
pub(crate) fn sealed_bytes(seed: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let rest = (!rest.is_empty()).then(|| u64::from_le_bytes(last));
    sealed(seed, words.iter().map(|&word| u64::from_le_bytes(word)).chain(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_the_crc32c_of_the_bytes() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        for len in 0..bytes.len() {
            for seed in [0, 1, 0xdead_beef] {
                let expected = crc32c::crc32c_append(seed, &bytes[..len]);
                assert_eq!(checksum_bytes(seed, &bytes[..len]), expected, "{len}");
                if len % 8 == 0 {
                    let words: Vec<u64> = bytes[..len]
                        .as_chunks::<8>()
                        .0
                        .iter()
                        .map(|&word| u64::from_le_bytes(word))
                        .collect();
                    assert_eq!(checksum(seed, &words), expected, "{len}");
                }
            }
        }
    }

    /// A record's line was lost in a cut, and what stood there before was the same client's completion line, with a
    /// checksum of its own. The record passed, so a call took effect without being remembered.
    #[test]
    fn a_stale_part_with_a_checksum_of_its_own_is_noticed() {
        let record = |sequence: u64| {
            let line = [7, 8, sequence];
            [1, 2, 3, line[0], line[1], line[2], checksum(9, &line).into(), 4]
        };
        let outer = |sequence| sealed(5, record(sequence));
        assert_eq!(checksum(5, &record(1)), checksum(5, &record(2)), "why a plain CRC does not serve");
        for sequence in 1..1000 {
            assert_ne!(outer(sequence), outer(sequence + 1), "{sequence}");
        }
    }

    #[test]
    fn sealed_bytes_are_the_words_that_they_make() {
        let words: Vec<u64> = (0..100).map(|i| i * 0x0123_4567_89ab).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for len in 0..words.len() {
            assert_eq!(sealed(3, words[..len].iter().copied()), sealed_bytes(3, &bytes[..len * 8]));
        }
        assert_eq!(sealed_bytes(3, &[1]), sealed(3, [1]));
    }
}
