//! Reading: by a shard's writer in the middle of a block, or by anybody else.

use super::{Heap, HeapError, Writer, shard::Visible};
use crate::mem::{Mem, WORD};
use crossbeam_epoch::Guard;

/// A way to see a shard's words. Structures read through this, so the same code serves their writer and their readers.
pub trait View {
    /// The memory underneath.
    type Mem: Mem;

    /// The heap that is read.
    fn heap(&self) -> &Heap<Self::Mem>;

    /// The shard whose words are seen.
    fn shard(&self) -> u32;

    /// A word that may change. `offset` must have been checked.
    fn word(&self, offset: u64) -> u64;

    /// Runs `read` so that all words it sees are of one instant. It may run more than once.
    fn snapshot<R>(&self, read: impl FnMut(&Self) -> R) -> R
    where
        Self: Sized;

    /// Runs `read` over the memory itself, which then is what the view sees. `None`, and nothing that was read counts, if it is
    /// not just now: some words are being changed, or were meanwhile.
    fn glance<R>(&self, read: impl FnOnce(&Self::Mem) -> R) -> Option<R>
    where
        Self: Sized;

    /// Words of one instant.
    #[inline(always)]
    fn words<const N: usize>(&self, offsets: [u64; N]) -> [u64; N]
    where
        Self: Sized,
    {
        // A loop of its own: `map` of an array is not always made part of its caller.
        self.glance(|mem| each(&offsets, |offset| mem.load(offset)))
            .unwrap_or_else(|| self.snapshot(|view| each(&offsets, |offset| view.word(offset))))
    }

    /// Copies contents that never change while they can be reached.
    fn contents(&self, offset: u64, out: &mut [u8]) {
        self.heap().mem().read(offset, out);
    }

    /// One word of contents that never change while they can be reached.
    fn content_word(&self, offset: u64) -> u64 {
        self.heap().mem().load(offset)
    }

    /// Checks an offset that was read from the region before it is followed: aligned, and all `bytes` from there on
    /// inside of the zones.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] with the offset.
    fn check(&self, offset: u64, bytes: u64) -> Result<u64, HeapError> {
        let heap = self.heap();
        let end = offset.checked_add(bytes);
        if offset.is_multiple_of(WORD)
            && offset >= heap.layout().zones
            && end.is_some_and(|end| end <= heap.mem().len())
        {
            Ok(offset)
        } else {
            Err(HeapError::Corrupt { offset })
        }
    }
}

/// What `load` gives for each offset.
#[inline(always)]
fn each<const N: usize>(offsets: &[u64; N], load: impl Fn(u64) -> u64) -> [u64; N] {
    let mut words = [0; N];
    for (word, &offset) in words.iter_mut().zip(offsets) {
        *word = load(offset);
    }
    words
}

/// Reads one shard, from any thread, without locks. What it has seen stays readable until it is dropped, and space that
/// is freed meanwhile is not used again: keep it for a call, not for a day.
pub struct Reader<'h, M: Mem> {
    heap: &'h Heap<M>,
    shard: u32,
    visible: &'h Visible,
    _hold: Hold<'h, M>,
}

/// What keeps the words that a reader looks at from being used for something else.
enum Hold<'h, M: Mem> {
    Epoch(#[expect(dead_code, reason = "held until it is dropped")] Guard),
    Writer(#[expect(dead_code, reason = "held until it is dropped")] Writer<'h, M>),
}

impl<M: Mem> std::fmt::Debug for Reader<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("shard", &self.shard).finish_non_exhaustive()
    }
}

impl<'h, M: Mem> Reader<'h, M> {
    pub(super) fn new(heap: &'h Heap<M>, shard: u32, visible: &'h Visible) -> Self {
        Self { heap, shard, visible, _hold: Hold::Epoch(heap.epochs.pin()) }
    }

    /// Of an unshared heap: nobody changes the shard meanwhile.
    pub(super) fn of_writer(
        heap: &'h Heap<M>,
        shard: u32,
        visible: &'h Visible,
        writer: Writer<'h, M>,
    ) -> Self {
        Self { heap, shard, visible, _hold: Hold::Writer(writer) }
    }
}

impl<M: Mem> View for Reader<'_, M> {
    type Mem = M;

    fn heap(&self) -> &Heap<M> {
        self.heap
    }

    fn shard(&self) -> u32 {
        self.shard
    }

    #[inline(always)]
    fn word(&self, offset: u64) -> u64 {
        self.visible.word(self.heap.mem(), offset)
    }

    #[inline(always)]
    fn glance<R>(&self, read: impl FnOnce(&M) -> R) -> Option<R> {
        let sequence = self.visible.sequence();
        if sequence & 1 == 1 {
            return None;
        }
        let seen = read(self.heap.mem());
        self.visible.is_still(sequence).then_some(seen)
    }

    fn snapshot<R>(&self, mut read: impl FnMut(&Self) -> R) -> R {
        loop {
            let sequence = self.visible.sequence();
            let seen = read(self);
            if self.visible.is_still(sequence) {
                return seen;
            }
        }
    }
}
