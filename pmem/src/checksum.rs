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
}
