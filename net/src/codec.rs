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

/// Reads a value of any size from exactly these bytes, which this program wrote and whose checksum is good.
pub fn decode_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_with(bytes, CONFIG.with_no_limit())
}

fn decode_with<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Decode(error.to_string()))?;
    if used != bytes.len() {
        return Err(CodecError::LeftOver { left: bytes.len() - used });
    }
    Ok(value)
}
