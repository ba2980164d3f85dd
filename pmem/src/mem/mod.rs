//! The one way in which every structure of this crate touches memory.
//!
//! [`Mem`] names memory by byte offsets from the start of a region, never by addresses, and has no access that is
//! not an atomic one of an aligned 8-byte word. So the same code runs over a mapped file, over a simulated
//! persistence domain that can crash between any two of its calls ([`crate::sim`]), and under Miri; a reader that races
//! a writer is never undefined behaviour; and nothing above this trait needs `unsafe`.
//!
//! **Order.** A load acquires, a store releases, compare-and-exchange and the fetch operations do both. Stores of one
//! 64-byte line reach the media in the order in which they were made. Stores of different lines reach it in any order,
//! unless [`flush`](Mem::flush) and then [`order`](Mem::order) or [`fence`](Mem::fence) stand between them.

mod site;

pub use site::{Rule, Site};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes in a cache line: what one write-back covers.
pub const LINE: u64 = 64;
/// Bytes in a word: what is stored atomically, also by a power cut.
pub const WORD: u64 = 8;

/// Why the memory of a region cannot be relied upon any more. It stays so until the region is opened anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The file was cut short while it was mapped; what stood there reads as words that mean nothing.
    #[error("the region's file was truncated while it was open")]
    RegionLost,
    /// Writing to the file, or making it durable, failed. What the file holds now is what recovery will find, and nothing
    /// that was not acknowledged before is promised.
    #[error("the region's file could not be made durable; reopen it")]
    IoPoisoned,
}

/// Words of persistent memory, and the instructions that make them durable.
///
/// Offsets are multiples of [`WORD`] and below [`len`](Self::len); an access elsewhere panics, since whoever follows
/// an offset that was read from the media has checked it before. Implementations differ in what
/// [`fence`](Self::fence) promises: see [`Domain`](crate::Domain).
pub trait Mem: Send + Sync {
    /// Whether a thread that waits for another one may be put to sleep. Not where threads are run one at a time.
    const SLEEPS: bool = true;

    /// Bytes that can be accessed. Only grows.
    fn len(&self) -> u64;

    /// Whether there is nothing to access.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Loads a word, with acquire order.
    fn load(&self, offset: u64) -> u64;

    /// Stores a word, with release order.
    fn store(&self, offset: u64, value: u64);

    /// Stores `new` if the word is `current`. Gives the word as it was: `Ok` if it was stored.
    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64>;

    /// Sets the bits of `bits`. Gives the word as it was.
    fn fetch_or(&self, offset: u64, bits: u64) -> u64;

    /// Clears the bits that are not in `bits`. Gives the word as it was.
    fn fetch_and(&self, offset: u64, bits: u64) -> u64;

    /// Stores consecutive words.
    #[inline]
    fn store_all(&self, offset: u64, words: &[u64]) {
        for (i, &word) in words.iter().enumerate() {
            self.store(offset + i as u64 * WORD, word);
        }
    }

    /// Copies bytes out, word by word. Only `offset` need be aligned.
    fn read(&self, offset: u64, out: &mut [u8]) {
        let (words, rest) = out.as_chunks_mut::<8>();
        let mut at = offset;
        for word in words {
            *word = self.load(at).to_le_bytes();
            at += WORD;
        }
        if !rest.is_empty() {
            rest.copy_from_slice(&self.load(at).to_le_bytes()[..rest.len()]);
        }
    }

    /// Copies bytes in, word by word; the last word is filled up with zeros. Only `offset` need be aligned.
    fn write(&self, offset: u64, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut at = offset;
        for word in words {
            self.store(at, u64::from_le_bytes(*word));
            at += WORD;
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.store(at, u64::from_le_bytes(word));
        }
    }

    /// Starts writing back every line that `offset .. offset + len` touches. They are durable only after this thread's
    /// next [`fence`](Self::fence).
    fn flush(&self, site: Site, offset: u64, len: u64);

    /// Nothing that is stored from here on, by any thread, becomes durable before what this thread flushed so far. So others may
    /// use what they see after it without a fence of this thread: on persistent memory an ordering is a fence, and a log has
    /// one order for all. Cheaper than [`fence`](Self::fence) where durability costs a system call.
    fn order(&self, site: Site);

    /// Returns once all that this thread has flushed is durable, if the domain makes anything durable. Where it could
    /// not be, [`health`](Self::health) says so from here on.
    fn fence(&self, site: Site);

    /// Whether what was stored and fenced so far can be relied upon. To be asked after the fence and before
    /// anything is acknowledged.
    fn health(&self) -> Result<(), MediaError>;

    /// Takes a lock in ordinary memory. Simulated memory lets its other threads run while it waits.
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called in each turn of a loop that waits for another thread. Simulated memory lets that thread run.
    ///
    /// Code over this trait must not block in any other way while it holds something that another thread waits for: the
    /// schedule explorer runs one thread at a time, and knows of a wait only what is said here.
    #[inline(always)]
    fn pause(&self) {
        std::hint::spin_loop();
    }

    /// Whether this memory wants a rule of the protocol broken, to see whether the checks notice. Real memory never
    /// does, and the compiler removes the question.
    #[inline(always)]
    fn broken(&self, _rule: Rule) -> bool {
        false
    }
}

/// Memory that several own is memory.
impl<M: Mem> Mem for Arc<M> {
    const SLEEPS: bool = M::SLEEPS;

    fn len(&self) -> u64 {
        (**self).len()
    }

    #[inline]
    fn load(&self, offset: u64) -> u64 {
        (**self).load(offset)
    }

    #[inline]
    fn store(&self, offset: u64, value: u64) {
        (**self).store(offset, value);
    }

    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64> {
        (**self).compare_exchange(offset, current, new)
    }

    fn fetch_or(&self, offset: u64, bits: u64) -> u64 {
        (**self).fetch_or(offset, bits)
    }

    fn fetch_and(&self, offset: u64, bits: u64) -> u64 {
        (**self).fetch_and(offset, bits)
    }

    fn store_all(&self, offset: u64, words: &[u64]) {
        (**self).store_all(offset, words);
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        (**self).read(offset, out);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        (**self).write(offset, bytes);
    }

    fn flush(&self, site: Site, offset: u64, len: u64) {
        (**self).flush(site, offset, len);
    }

    fn order(&self, site: Site) {
        (**self).order(site);
    }

    fn fence(&self, site: Site) {
        (**self).fence(site);
    }

    fn health(&self) -> Result<(), MediaError> {
        (**self).health()
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        (**self).lock(mutex)
    }

    fn pause(&self) {
        (**self).pause();
    }

    fn broken(&self, rule: Rule) -> bool {
        (**self).broken(rule)
    }
}

/// Gives `f` each line's offset that the range touches.
#[inline]
pub fn for_each_line(offset: u64, len: u64, mut f: impl FnMut(u64)) {
    if len == 0 {
        return;
    }
    let mut line = offset & !(LINE - 1);
    while line < offset + len {
        f(line);
        line += LINE;
    }
}
