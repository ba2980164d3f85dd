//! The receive buffers that all connections of a ring share, and the ring in which they are offered to the
//! kernel (a "provided buffer ring").
//!
//! Access rules. A buffer has one owner at a time:
//!
//! | owner  | from                              | until                                      | may     |
//! |--------|-----------------------------------|--------------------------------------------|---------|
//! | kernel | its entry was published (`offer`) | the completion that carries its id         | write   |
//! | Rust   | that completion (`lend`)          | its `ReceivedBuffer` is dropped (`offer`)  | read    |
//!
//! The entries and the tail are written by this thread alone and read by the kernel. An entry is written only
//! while it is outside of `head..tail`: there are as many entries as buffers, and each buffer that Rust owns
//! leaves one entry free. All memory lives until both the ring and the last `ReceivedBuffer` are gone.

use io_uring::types::BufRingEntry;
use std::{
    cell::Cell,
    io,
    ops::Deref,
    ptr::NonNull,
    rc::Rc,
    slice,
    sync::atomic::{AtomicU16, Ordering},
};

/// All receive buffers of one ring.
#[derive(Debug)]
pub(super) struct Buffers {
    /// `count` entries, at the start of the mapping: the kernel requires that they start a page.
    entries: NonNull<BufRingEntry>,
    /// `count` buffers, behind the entries.
    memory: NonNull<u8>,
    count: u16,
    buffer_bytes: u32,
    /// The next entry to publish, as the kernel counts: it wraps at 2^16, not at `count`.
    tail: Cell<u16>,
    /// How many buffers Rust owns.
    lent: Cell<u16>,
}

impl Buffers {
    /// `count` must be a power of two. All buffers are offered to the kernel already; it sees them once the
    /// ring of entries is registered.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> io::Result<Rc<Buffers>> {
        assert!(count.is_power_of_two() && buffer_bytes > 0);
        let mapping = map(mapping_bytes(count, buffer_bytes))?;
        // SAFETY: the mapping holds the entries and, behind them, the buffers.
        let memory = unsafe { mapping.add(entries_bytes(count)) };
        let entries = mapping.cast();
        let (tail, lent) = (Cell::new(0), Cell::new(count));
        let buffers = Rc::new(Buffers { entries, memory, count, buffer_bytes, tail, lent });
        for id in 0..count {
            buffers.offer(id);
        }
        Ok(buffers)
    }

    pub(super) fn entries_address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Buffers that Rust does not own. Some of them may wait in the completion queue.
    pub(super) fn free(&self) -> u16 {
        self.count - self.lent.get()
    }

    /// Takes over the buffer that a completion carries, filled with `length` bytes.
    ///
    /// # Safety
    /// A completion of the ring in which these buffers are registered carried `id` and `length`, and was not
    /// used for another call.
    pub(super) unsafe fn lend(self: &Rc<Self>, id: u16, length: u32) -> ReceivedBuffer {
        assert!(
            id < self.count && length <= self.buffer_bytes,
            "the kernel filled buffer {id} with {length} bytes"
        );
        self.lent.set(self.lent.get() + 1);
        ReceivedBuffer { buffers: Rc::clone(self), id, length }
    }

    /// Gives a buffer that Rust owns to the kernel.
    fn offer(&self, id: u16) {
        let tail = self.tail.get();
        let entry = usize::from(tail & (self.count - 1));
        // SAFETY: the entry is in the array, and not the kernel's: Rust owns a buffer, so fewer than `count`
        // entries are published. Its fields are set one by one because the first entry overlaps the tail.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(entry);
            entry.set_addr(self.start(id) as u64);
            entry.set_len(self.buffer_bytes);
            entry.set_bid(id);
        }
        self.lent.set(self.lent.get() - 1);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: `entries` is the start of the array, and zeroed or written by us. The tail is shared with
        // the kernel, hence atomic; the release makes the entry visible before it.
        unsafe {
            let shared = BufRingEntry::tail(self.entries.as_ptr()).cast_mut();
            AtomicU16::from_ptr(shared).store(tail.wrapping_add(1), Ordering::Release);
        }
    }

    fn start(&self, id: u16) -> *mut u8 {
        // SAFETY: `id` is below `count` (it came from `new` or through `lend`), so the result is inside of
        // the mapping.
        unsafe { self.memory.as_ptr().add(usize::from(id) * self.buffer_bytes as usize) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it with this length. The kernel no longer writes to it: the ring holds a
        // reference to this value until its last operation has ended. No `ReceivedBuffer` is left either.
        let answer = unsafe {
            libc::munmap(self.entries.as_ptr().cast(), mapping_bytes(self.count, self.buffer_bytes))
        };
        debug_assert_eq!(answer, 0, "munmap of what was mapped cannot fail");
    }
}

fn entries_bytes(count: u16) -> usize {
    usize::from(count) * size_of::<BufRingEntry>()
}

fn mapping_bytes(count: u16, buffer_bytes: u32) -> usize {
    entries_bytes(count) + usize::from(count) * buffer_bytes as usize
}

/// Anonymous zeroed memory that costs nothing until it is written.
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(address.cast()).expect("the kernel maps nothing at address zero"))
}

/// Bytes that were received, in the buffer that the kernel wrote them to. Dropping it gives the buffer back
/// to the kernel. Hold it no longer than it takes to parse it: with none left, no connection receives, and
/// those that wait only notice that one came back when the ring is served the next time.
#[derive(Debug)]
pub struct ReceivedBuffer {
    buffers: Rc<Buffers>,
    id: u16,
    length: u32,
}

impl Deref for ReceivedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel wrote the first `length` bytes, and writes no more until this value, which the
        // slice borrows, is dropped. Nobody else has the same id.
        unsafe { slice::from_raw_parts(self.buffers.start(self.id), self.length as usize) }
    }
}

impl Drop for ReceivedBuffer {
    fn drop(&mut self) {
        self.buffers.offer(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_it_is_dropped_and_the_tail_wraps() {
        let buffers = Buffers::new(4, 64).expect("maps");
        for round in 0..100_000u32 {
            let id = (round % 4) as u16;
            // SAFETY: no kernel is involved; each id is lent once at a time.
            let buffer = unsafe { buffers.lend(id, 64) };
            assert_eq!(buffer.len(), 64);
            assert_eq!(buffers.free(), 3);
        }
        assert_eq!(buffers.free(), 4);
    }

    #[test]
    fn bytes_outlive_the_ring() {
        let buffers = Buffers::new(1, 8).expect("maps");
        // SAFETY: no kernel is involved.
        let buffer = unsafe { buffers.lend(0, 8) };
        drop(buffers);
        assert_eq!(&*buffer, &[0; 8]);
    }
}
