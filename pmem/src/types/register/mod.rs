//! Registers: one value of up to 16 bytes, in the root itself.
//!
//! ```text
//! word 0   kind (16 bits) | bytes (16) | check of the other words (32)
//!      1   the value, or its first 8 bytes
//!      2   its last 8 bytes, if it has more than 8
//! ```
//! | operation | fences | words of the record, its header of 5 included |
//! |---|---|---|
//! | a read | 0 | |
//! | a write of up to 8 bytes | 1, that of the batch | 8: one line |
//! | a write of up to 16 bytes | 1, that of the batch | 9 |
//!
//! Writes that leave the value as it is write nothing. Nothing is allocated.

use super::{Kind, Owned, Persistent, TypeError, clear_root, is_fresh, link::check32};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
};
use std::marker::PhantomData;

/// A value that a register can hold.
pub trait Scalar: Copy + PartialEq {
    /// How many bytes it has, at most 16.
    fn bytes(&self) -> u32;

    /// The value as two words; those behind its bytes are zero.
    fn to_words(self) -> [u64; 2];

    /// The value from its words. Those of a register in which nothing was stored are zero, with no bytes.
    fn from_words(words: [u64; 2], bytes: u32) -> Self;
}

/// Up to 16 bytes of any meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShortBytes {
    bytes: [u8; 16],
    len: u8,
}

impl ShortBytes {
    /// Greatest number of bytes.
    pub const MAX: usize = 16;

    /// A copy of `bytes`.
    ///
    /// # Errors
    /// [`TypeError::TooLarge`] if there are more than 16.
    pub fn new(bytes: &[u8]) -> Result<Self, TypeError> {
        let mut short = Self { bytes: [0; Self::MAX], len: bytes.len() as u8 };
        let place = short
            .bytes
            .get_mut(..bytes.len())
            .ok_or(TypeError::TooLarge { bytes: bytes.len() as u64, max: Self::MAX as u64 })?;
        place.copy_from_slice(bytes);
        Ok(short)
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Scalar for ShortBytes {
    fn bytes(&self) -> u32 {
        self.len.into()
    }

    fn to_words(self) -> [u64; 2] {
        u128::from_le_bytes(self.bytes).to_words()
    }

    fn from_words(words: [u64; 2], bytes: u32) -> Self {
        Self { bytes: u128::from_words(words, 16).to_le_bytes(), len: bytes.min(16) as u8 }
    }
}

macro_rules! scalars {
    ($($type:ty, $bytes:literal, $to:expr, $from:expr;)*) => {$(
        impl Scalar for $type {
            fn bytes(&self) -> u32 {
                $bytes
            }

            fn to_words(self) -> [u64; 2] {
                ($to)(self)
            }

            fn from_words(words: [u64; 2], _bytes: u32) -> Self {
                ($from)(words)
            }
        }
    )*};
}

scalars! {
    bool, 1, |value| [u64::from(value), 0], |words: [u64; 2]| words[0] != 0;
    i32, 4, |value: i32| [u64::from(value as u32), 0], |words: [u64; 2]| words[0] as i32;
    u32, 4, |value: u32| [value.into(), 0], |words: [u64; 2]| words[0] as u32;
    i64, 8, |value: i64| [value as u64, 0], |words: [u64; 2]| words[0] as i64;
    u64, 8, |value: u64| [value, 0], |words: [u64; 2]| words[0];
    f64, 8, |value: f64| [value.to_bits(), 0], |words: [u64; 2]| f64::from_bits(words[0]);
    i128, 16, |value: i128| (value as u128).to_words(), |words| u128::from_words(words, 16) as i128;
    u128, 16, |value: u128| [value as u64, (value >> 64) as u64],
        |words: [u64; 2]| u128::from(words[0]) | u128::from(words[1]) << 64;
    [u64; 2], 16, |value| value, |words| words;
}

/// An integer that a register can count with.
pub trait Integer: Scalar + Ord {
    /// The sum, modulo two to the number of bits.
    fn wrapping_add(self, other: Self) -> Self;
    /// The sum, if it is one.
    fn checked_add(self, other: Self) -> Option<Self>;
    /// The product, modulo two to the number of bits.
    fn wrapping_mul(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Integer for $type {
            fn wrapping_add(self, other: Self) -> Self {
                <$type>::wrapping_add(self, other)
            }

            fn checked_add(self, other: Self) -> Option<Self> {
                <$type>::checked_add(self, other)
            }

            fn wrapping_mul(self, other: Self) -> Self {
                <$type>::wrapping_mul(self, other)
            }
        }
    )*};
}

integers! { i32 u32 i64 u64 i128 u128 }

/// A register at a root. It holds zero, or no bytes, until something is stored.
///
/// What is stored is read back as the same type: reading more bytes as a type of fewer is an error.
#[derive(Debug)]
pub struct Register<T> {
    root: u64,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Register<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Register<T> {}

impl<T> Persistent for Register<T> {
    const KIND: Kind = Kind::Register;

    fn visit<V: View>(view: &V, root: u64, _visit: &mut dyn FnMut(Owned)) -> Result<(), TypeError> {
        load(view, root).map(drop)
    }

    fn discard<M: Mem>(tx: &mut Tx<'_, M>, root: u64) -> Result<(), TypeError> {
        is_fresh(tx, root, Kind::Register)?;
        clear_root(tx, root)
    }
}

/// The words of a register and how many bytes of them count.
fn load<V: View>(view: &V, root: u64) -> Result<([u64; 2], u32), TypeError> {
    let [head, first, second] = view.words([root, root + WORD, root + 2 * WORD]);
    let words = [first, if (head >> 16) as u16 > 8 { second } else { 0 }];
    if head == 0 {
        return if words == [0, 0] {
            Ok(([0, 0], 0))
        } else {
            Err(HeapError::Corrupt { offset: root }.into())
        };
    }
    let bytes = u32::from((head >> 16) as u16);
    if head as u32 & 0xffff != Kind::Register as u32 {
        return Err(TypeError::WrongType { found: head & 0xffff, expected: Kind::Register });
    }
    if bytes > 16 || head != seal(view, root, words, bytes) {
        return Err(HeapError::Corrupt { offset: root }.into());
    }
    Ok((words, bytes))
}

/// The first word of a register with this value.
fn seal<V: View>(view: &V, root: u64, words: [u64; 2], bytes: u32) -> u64 {
    let low = Kind::Register as u64 | u64::from(bytes) << 16;
    low | u64::from(check32(view.heap().seed(), root, &[low, words[0], words[1]])) << 32
}

impl<T: Scalar> Register<T> {
    /// The register at this root.
    #[must_use]
    pub fn at(root: u64) -> Self {
        Self { root, value: PhantomData }
    }

    /// The value.
    ///
    /// # Errors
    /// [`TypeError::WrongType`], [`TypeError::TooLarge`] if what is stored has more bytes than the type,
    /// [`HeapError::Corrupt`].
    pub fn get<V: View>(&self, view: &V) -> Result<T, TypeError> {
        let (words, bytes) = load(view, self.root)?;
        let value = T::from_words(words, bytes);
        let max = value.bytes().max(T::from_words([0; 2], 16).bytes());
        if bytes > max {
            return Err(TypeError::TooLarge { bytes: bytes.into(), max: max.into() });
        }
        Ok(value)
    }

    /// Stores a value.
    ///
    /// # Errors
    /// [`TypeError::WrongType`], and those of the heap.
    pub fn set<M: Mem>(&self, tx: &mut Tx<'_, M>, value: T) -> Result<(), TypeError> {
        let head = tx.word(self.root);
        if head != 0 && head & 0xffff != Kind::Register as u64 {
            return Err(TypeError::WrongType { found: head & 0xffff, expected: Kind::Register });
        }
        let (words, bytes) = (value.to_words(), value.bytes());
        let sealed = seal(tx, self.root, words, bytes);
        tx.write(self.root, sealed)?;
        tx.write(self.root + WORD, words[0])?;
        if bytes > 8 {
            tx.write(self.root + 2 * WORD, words[1])?;
        }
        Ok(())
    }

    /// Replaces the value by what `change` makes of it; gives the old one.
    ///
    /// # Errors
    /// As [`get`](Self::get) and [`set`](Self::set).
    pub fn update<M: Mem>(&self, tx: &mut Tx<'_, M>, change: impl FnOnce(T) -> T) -> Result<T, TypeError> {
        let old = self.get(tx)?;
        let new = change(old);
        // A first store counts even if it stores what was read from nothing. Bits are compared, not values: a NaN
        // is the same as itself, and zero is not the same as minus zero.
        if (new.to_words(), new.bytes()) != (old.to_words(), old.bytes()) || tx.word(self.root) == 0 {
            self.set(tx, new)?;
        }
        Ok(old)
    }

    /// Stores a value; gives the old one.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn swap<M: Mem>(&self, tx: &mut Tx<'_, M>, value: T) -> Result<T, TypeError> {
        self.update(tx, |_| value)
    }

    /// Stores `new` if the value is `current`, bit by bit; `Ok` if so. Gives the value as it was.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn compare_exchange<M: Mem>(
        &self,
        tx: &mut Tx<'_, M>,
        current: T,
        new: T,
    ) -> Result<Result<T, T>, TypeError> {
        let mut same = false;
        let old = self.update(tx, |old| {
            same = (old.to_words(), old.bytes()) == (current.to_words(), current.bytes());
            if same { new } else { old }
        })?;
        Ok(if same { Ok(old) } else { Err(old) })
    }
}

impl<T: Integer> Register<T> {
    /// Adds, wrapping around at the ends; gives the old value.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn fetch_add<M: Mem>(&self, tx: &mut Tx<'_, M>, other: T) -> Result<T, TypeError> {
        self.update(tx, |old| old.wrapping_add(other))
    }

    /// Multiplies, wrapping around at the ends; gives the old value.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn fetch_mul<M: Mem>(&self, tx: &mut Tx<'_, M>, other: T) -> Result<T, TypeError> {
        self.update(tx, |old| old.wrapping_mul(other))
    }

    /// Stores the smaller of the two; gives the old value.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn fetch_min<M: Mem>(&self, tx: &mut Tx<'_, M>, other: T) -> Result<T, TypeError> {
        self.update(tx, |old| old.min(other))
    }

    /// Stores the greater of the two; gives the old value.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn fetch_max<M: Mem>(&self, tx: &mut Tx<'_, M>, other: T) -> Result<T, TypeError> {
        self.update(tx, |old| old.max(other))
    }

    /// Adds if the sum can be represented; gives the old value. `None`, and nothing changed, if it cannot.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn checked_add<M: Mem>(&self, tx: &mut Tx<'_, M>, other: T) -> Result<Option<T>, TypeError> {
        let old = self.get(tx)?;
        match old.checked_add(other) {
            Some(_) => self.fetch_add(tx, other).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
