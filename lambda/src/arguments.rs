//! The encoded arguments of a function: each as its length (four little-endian bytes) and its bytes.
//!
//! Each is encoded for itself, so that an error can say which of them it was, and so that the code which
//! `#[cloud_function]` leaves needs one bound for each argument, at the place where its type is written.

use crate::{
    error::{JoinError, Part},
    task,
};
use serde::{Serialize, de::DeserializeOwned};

const LENGTH_BYTES: usize = size_of::<u32>();

/// Encodes arguments, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    written: u32,
}

impl Writer {
    pub(crate) fn write<T: Serialize>(&mut self, argument: &T) -> Result<(), JoinError> {
        self.written += 1;
        let begin = self.bytes.len();
        self.bytes.extend([0; LENGTH_BYTES]);
        task::encode_into(argument, &mut self.bytes).map_err(|error| bad(self.written, error))?;
        let length = self.bytes.len() - begin - LENGTH_BYTES;
        let length = u32::try_from(length).expect("encode_into refuses more than FRAME_BYTES_MAX");
        self.bytes[begin..][..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Decodes arguments, one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    read: u32,
}

impl<'a> Reader<'a> {
    /// What a `Writer` made.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, read: 0 }
    }

    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> Result<T, JoinError> {
        self.read += 1;
        let cut = || bad(self.read, "it is missing");
        let (length, rest) = self.rest.split_first_chunk::<LENGTH_BYTES>().ok_or_else(cut)?;
        let (argument, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut)?;
        self.rest = rest;
        task::decode(argument).map_err(|error| bad(self.read, error))
    }
}

fn bad(number: u32, reason: impl std::fmt::Display) -> JoinError {
    JoinError::Codec { part: Part::Arguments, reason: format!("argument {number}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_back_in_order_and_none_is_made_up() {
        let mut writer = Writer::default();
        writer.write(&"first").unwrap();
        writer.write(&()).unwrap();
        writer.write(&(3_u64, true)).unwrap();
        let bytes = writer.finish();
        for cut in 0..=bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            let read = (|| Ok::<_, JoinError>((reader.read()?, reader.read()?, reader.read()?)))();
            match read {
                Ok(read) => assert_eq!((cut, read), (bytes.len(), ("first".to_owned(), (), (3_u64, true)))),
                Err(error) => assert!(cut < bytes.len(), "{error}"),
            }
        }
    }

    #[test]
    fn an_error_says_which_argument_it_was() {
        let mut writer = Writer::default();
        writer.write(&1_u8).unwrap();
        writer.write(&"text").unwrap();
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        reader.read::<u8>().unwrap();
        let error = reader.read::<bool>().unwrap_err().to_string();
        assert!(error.contains("argument 2"), "{error}");
    }
}
