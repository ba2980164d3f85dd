//! Registers other than integers and references: [`AtomicBool`], [`AtomicDouble`], [`Counter`],
//! [`AtomicByteArray`].

use super::handle;
use crate::mode::Mode;
use abide_net::Bytes;
use abide_schema::types::{atomic_bool, atomic_byte_array, atomic_double, counter};

handle! {
    /// A shared truth value, `false` at first unless created with `true`.
    pub struct AtomicBool of atomic_bool, arguments;
}

impl<M: Mode> AtomicBool<M> {
    /// The value.
    pub fn get(&self) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_bool::Get {}), Ok)
    }

    /// Replaces the value.
    pub fn set(&self, value: bool) -> M::Output<()> {
        self.object.call(|| Ok(atomic_bool::Set { value }), Ok)
    }

    /// Replaces the value and returns the one before.
    pub fn swap(&self, value: bool) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_bool::Swap { value }), Ok)
    }

    /// Replaces the value if it is `expected`. `Ok` with the value before, or `Err` with the value that is
    /// there.
    pub fn compare_exchange(&self, expected: bool, value: bool) -> M::Output<Result<bool, bool>> {
        self.object.call(|| Ok(atomic_bool::CompareExchange { expected, value }), Ok)
    }

    /// Logical and; returns the value before.
    pub fn fetch_and(&self, value: bool) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_bool::FetchAnd { value }), Ok)
    }

    /// Logical or; returns the value before.
    pub fn fetch_or(&self, value: bool) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_bool::FetchOr { value }), Ok)
    }

    /// Logical exclusive or; returns the value before.
    pub fn fetch_xor(&self, value: bool) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_bool::FetchXor { value }), Ok)
    }
}

handle! {
    /// A shared 64-bit float, 0.0 at first unless created with another value. Comparison is of bits, so that
    /// NaN equals itself and 0.0 is not -0.0.
    pub struct AtomicDouble of atomic_double, arguments;
}

impl<M: Mode> AtomicDouble<M> {
    /// The value.
    pub fn get(&self) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::Get {}), Ok)
    }

    /// Replaces the value.
    pub fn set(&self, value: f64) -> M::Output<()> {
        self.object.call(|| Ok(atomic_double::Set { value }), Ok)
    }

    /// Replaces the value and returns the one before.
    pub fn swap(&self, value: f64) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::Swap { value }), Ok)
    }

    /// Replaces the value if it is `expected`, bit for bit. `Ok` with the value before, or `Err` with the
    /// value that is there.
    pub fn compare_exchange(&self, expected: f64, value: f64) -> M::Output<Result<f64, f64>> {
        self.object.call(|| Ok(atomic_double::CompareExchange { expected, value }), Ok)
    }

    /// Adds and returns the value after.
    pub fn add_and_get(&self, delta: f64) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::AddAndGet { delta }), Ok)
    }

    /// Multiplies and returns the value after.
    pub fn mul_and_get(&self, factor: f64) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::MulAndGet { factor }), Ok)
    }

    /// Keeps the smaller of the value and this one (NaN loses); returns the value before.
    pub fn fetch_min(&self, value: f64) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::FetchMin { value }), Ok)
    }

    /// Keeps the greater of the value and this one (NaN loses); returns the value before.
    pub fn fetch_max(&self, value: f64) -> M::Output<f64> {
        self.object.call(|| Ok(atomic_double::FetchMax { value }), Ok)
    }
}

handle! {
    /// A shared count that many threads change and few read.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let hits = abide_client::Store::current()?.counter("pi/hits");
    /// hits.increment(7_853)?;
    /// println!("{} so far", hits.tally()?);
    /// # Ok(())
    /// # }
    /// ```
    pub struct Counter of counter, arguments;
}

impl<M: Mode> Counter<M> {
    /// Adds `n`. Overflow wraps.
    pub fn increment(&self, n: i64) -> M::Output<()> {
        self.object.call(|| Ok(counter::Increment { n }), Ok)
    }

    /// Subtracts `n`. Overflow wraps.
    pub fn decrement(&self, n: i64) -> M::Output<()> {
        self.object.call(|| Ok(counter::Decrement { n }), Ok)
    }

    /// The count.
    pub fn tally(&self) -> M::Output<i64> {
        self.object.call(|| Ok(counter::Tally {}), Ok)
    }

    /// Sets the count to 0 and returns the one before.
    pub fn reset(&self) -> M::Output<i64> {
        self.object.call(|| Ok(counter::Reset {}), Ok)
    }
}

handle! {
    /// A shared byte string, read and written whole or in ranges; empty at first unless created with bytes.
    pub struct AtomicByteArray of atomic_byte_array, arguments;
}

impl<M: Mode> AtomicByteArray<M> {
    /// All bytes.
    pub fn get(&self) -> M::Output<Vec<u8>> {
        self.object.call(|| Ok(atomic_byte_array::Get {}), |bytes| Ok(bytes.0))
    }

    /// Replaces all bytes.
    pub fn set(&self, bytes: impl AsRef<[u8]>) -> M::Output<()> {
        self.object.call(|| Ok(atomic_byte_array::Set { bytes: Bytes::from(&bytes) }), Ok)
    }

    /// Replaces all bytes and returns the ones before.
    pub fn swap(&self, bytes: impl AsRef<[u8]>) -> M::Output<Vec<u8>> {
        let make = || Ok(atomic_byte_array::Swap { bytes: Bytes::from(&bytes) });
        self.object.call(make, |bytes| Ok(bytes.0))
    }

    /// Replaces all bytes if they are `expected`. `Ok` with the ones before, or `Err` with the ones that are
    /// there.
    pub fn compare_exchange(
        &self,
        expected: impl AsRef<[u8]>,
        bytes: impl AsRef<[u8]>,
    ) -> M::Output<Result<Vec<u8>, Vec<u8>>> {
        let (expected, bytes) = (Bytes::from(&expected), Bytes::from(&bytes));
        self.object.call(
            || Ok(atomic_byte_array::CompareExchange { expected, bytes }),
            |before| Ok(before.map(|bytes| bytes.0).map_err(|bytes| bytes.0)),
        )
    }

    /// Number of bytes.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(atomic_byte_array::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(atomic_byte_array::Len {}), |len| Ok(len == 0))
    }

    /// `len` bytes from `offset`. `OutOfBounds` if they are not all there.
    pub fn get_range(&self, offset: u64, len: u64) -> M::Output<Vec<u8>> {
        self.object.call(|| Ok(atomic_byte_array::GetRange { offset, len }), |bytes| Ok(bytes.0))
    }

    /// Overwrites bytes from `offset`. `OutOfBounds` if they are not all there.
    pub fn set_range(&self, offset: u64, bytes: impl AsRef<[u8]>) -> M::Output<()> {
        self.object.call(|| Ok(atomic_byte_array::SetRange { offset, bytes: Bytes::from(&bytes) }), Ok)
    }

    /// Adds bytes at the end and returns the new length.
    pub fn append(&self, bytes: impl AsRef<[u8]>) -> M::Output<u64> {
        self.object.call(|| Ok(atomic_byte_array::Append { bytes: Bytes::from(&bytes) }), Ok)
    }

    /// Shortens, or lengthens with zeros. `TooLarge` past the largest value.
    pub fn resize(&self, len: u64) -> M::Output<()> {
        self.object.call(|| Ok(atomic_byte_array::Resize { len }), Ok)
    }
}
