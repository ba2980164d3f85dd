//! Serde to bytes and back: the only module that names bincode.
//!
//! The format is bincode 2 with its standard configuration: little-endian, variable-length integers,
//! lengths before sequences, no field names. Decoding is bounded by [`FRAME_BYTES_MAX`] and refuses
//! bytes that are left over.

use crate::limits::FRAME_BYTES_MAX;
use bincode::config::{Config, Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

const CONFIG: Configuration<LittleEndian, Varint, Limit<FRAME_BYTES_MAX>> =
    bincode::config::standard().with_limit::<FRAME_BYTES_MAX>();

/// Why bytes could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value refused to be serialised.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are not such a value.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// The value ended before its bytes did.
    #[error("{left} bytes are left over after the value")]
    LeftOver {
        /// How many.
        left: usize,
    },
}

/// Appends the encoding of `value` to `out`. On an error `out` is as it was.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let before = out.len();
    match bincode::serde::encode_into_std_write(value, out, CONFIG) {
        Ok(_) => Ok(()),
        Err(error) => {
            out.truncate(before);
            Err(CodecError::Encode(error.to_string()))
        }
    }
}

/// The encoding of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Reads a value from exactly these bytes, which may come from anyone.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_with(bytes, CONFIG)
}

/// Reads a value from the front of these bytes, which may come from anyone, and returns the bytes after it.
pub fn decode_prefix<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, &[u8]), CodecError> {
    prefix_with(bytes, CONFIG)
}

/// Reads a value of any size from exactly these bytes, which this program wrote and whose checksum is good.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_with(bytes, CONFIG.with_no_limit())
}

fn decode_with<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, CodecError> {
    match prefix_with(bytes, config)? {
        (value, []) => Ok(value),
        (_, left) => Err(CodecError::LeftOver { left: left.len() }),
    }
}

fn prefix_with<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<(T, &[u8]), CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Decode(error.to_string()))?;
    Ok((value, &bytes[used..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn a_value_is_read_from_exactly_its_bytes(number in any::<i64>(), text in "\\PC{0,9}", after in vec(any::<u8>(), 0..9)) {
            let value = (number, text);
            let mut bytes = encode(&value).unwrap();
            let length = bytes.len();
            bytes.extend_from_slice(&after);
            prop_assert_eq!(decode_prefix(&bytes), Ok((value.clone(), &after[..])));
            match decode::<(i64, String)>(&bytes) {
                Ok(read) => prop_assert!(after.is_empty() && read == value),
                Err(error) => prop_assert_eq!(error, CodecError::LeftOver { left: after.len() }),
            }
            for cut in 0..length {
                let read = decode_prefix::<(i64, String)>(&bytes[..cut]);
                prop_assert!(matches!(read, Err(CodecError::Decode(_))), "{:?} of {} bytes", read, cut);
            }
        }
    }

    #[test]
    fn a_length_that_no_frame_has_allocates_nothing() {
        let mut bytes = vec![253];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u64>>(&bytes), Err(CodecError::Decode(_))));
        assert!(matches!(decode_prefix::<String>(&bytes), Err(CodecError::Decode(_))));
    }
}
