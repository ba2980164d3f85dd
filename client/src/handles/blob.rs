//! [`Blob`].

use super::handle;
use crate::mode::Mode;
use abide_net::Bytes;
use abide_schema::types::blob;

handle! {
    /// Shared bytes as of a file, read and written in ranges; none at first, and at most 16 MiB.
    pub struct Blob of blob;
}

impl<M: Mode> Blob<M> {
    /// Number of bytes.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(blob::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(blob::Len {}), |len| Ok(len == 0))
    }

    /// Replaces all bytes.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> M::Output<()> {
        self.object.call(|| Ok(blob::Write { bytes: Bytes::from(&bytes) }), Ok)
    }

    /// All bytes.
    pub fn read(&self) -> M::Output<Vec<u8>> {
        self.object.call(|| Ok(blob::Read {}), |bytes| Ok(bytes.0))
    }

    /// Up to `len` bytes from `offset`, as many as there are. `OutOfBounds` past the end.
    pub fn get_range(&self, offset: u64, len: u64) -> M::Output<Vec<u8>> {
        self.object.call(|| Ok(blob::GetRange { offset, len }), |bytes| Ok(bytes.0))
    }

    /// Writes bytes from `offset` on, also past the end, to which there must be no gap. Returns the length after.
    pub fn set_range(&self, offset: u64, bytes: impl AsRef<[u8]>) -> M::Output<u64> {
        self.object.call(|| Ok(blob::SetRange { offset, bytes: Bytes::from(&bytes) }), Ok)
    }

    /// Adds bytes at the end, and returns the length after.
    pub fn append(&self, bytes: impl AsRef<[u8]>) -> M::Output<u64> {
        self.object.call(|| Ok(blob::Append { bytes: Bytes::from(&bytes) }), Ok)
    }

    /// Shortens to `len` bytes. `OutOfBounds` if there are not so many.
    pub fn truncate(&self, len: u64) -> M::Output<()> {
        self.object.call(|| Ok(blob::Truncate { len }), Ok)
    }

    /// The SHA-256 of all bytes (FIPS 180-4), in hexadecimal.
    pub fn digest(&self) -> M::Output<String> {
        self.object.call(|| Ok(blob::Digest {}), Ok)
    }
}
