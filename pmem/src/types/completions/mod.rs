//! The completion table: exactly once. It remembers of each client its last call and that call's result.
//!
//! A call's completion is written in the failure-atomic block that has its effect, so they commit with the same fence: no
//! crash leaves one without the other. A client numbers its calls upwards and has one under way at a time; whoever wants
//! more at once takes more client numbers, one a slot (as the slot table of RFC 8881, section 2.10.6).
//!
//! ```text
//! word 0..1  client
//!      2     sequence of its last call
//!      3     form of the result (8 bits) | bytes of the result (32 bits, from bit 32); zero for a free line
//!      4..6  the result, if it fits; or the offset of its block, and the crc32c of its bytes
//!      7     crc32c of words 0 to 6, seeded with the region and the line's offset
//! ```
//! The table is of fixed size, one line a client. Where a client's line is, is known in ordinary memory only: from one pass
//! over the table at the first call after an opening.
//!
//! Fences: none of its own. Words of a record: 10 for a completion, 2 and its bitmap's more if the result has a block.

use super::{Owned, TypeError};
use crate::{
    checksum::{checksum, checksum_bytes},
    heap::{HeapError, Tx, View},
    mem::{LINE, Mem, WORD},
};

mod hints;

pub(crate) use hints::CompletionHints;

/// Longest result that stands in the line itself, in bytes.
const INLINE_MAX: usize = 24;
/// Longest result, in bytes: an answer with two values of the greatest length, and what is said of them.
pub const RESULT_BYTES_MAX: usize = (32 << 20) + (64 << 10);
const INLINE: u64 = 1;
const IN_BLOCK: u64 = 2;

/// Names a client, or one slot of a client.
pub type ClientId = u128;

/// The right to complete a call, in the block in which it arrived.
#[derive(Debug, PartialEq, Eq)]
pub struct Pending {
    client: ClientId,
    sequence: u64,
    at: u64,
    /// The block of the result before.
    former: Option<u64>,
}

/// What a table knows of a call that arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It was not made yet.
    New(Pending),
    /// It was made, with this result.
    Done(Vec<u8>),
}

/// Why a table does not take a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompletionError {
    /// The client has made a later call since, so the result of this one is gone.
    #[error("sequence {sequence} is older than the client's last, {last}")]
    StaleSequence {
        /// The call's.
        sequence: u64,
        /// The client's last.
        last: u64,
    },
    /// The table has no line left. Forgetting a client makes room.
    #[error("the completion table is full: {clients} clients")]
    SessionsFull {
        /// How many it holds.
        clients: u32,
    },
    /// The result is too long.
    #[error("a result of {bytes} bytes; at most {RESULT_BYTES_MAX} fit")]
    ResultTooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// The heap could not do it.
    #[error(transparent)]
    Heap(#[from] HeapError),
}

impl From<CompletionError> for TypeError {
    fn from(error: CompletionError) -> Self {
        match error {
            CompletionError::Heap(error) => Self::Heap(error),
            other => Self::Completion(other),
        }
    }
}

/// A line as it stands in the table.
#[derive(Debug, Clone, Copy)]
struct Line {
    at: u64,
    words: [u64; 8],
}

impl Line {
    fn load<V: View>(view: &V, at: u64) -> Result<Self, HeapError> {
        let words = view.words(std::array::from_fn(|i| at + i as u64 * WORD));
        let line = Self { at, words };
        let is_good = line.is_free() || words[7] == line.crc(view);
        if is_good { Ok(line) } else { Err(HeapError::Corrupt { offset: at }) }
    }

    fn is_free(&self) -> bool {
        self.words == [0; 8]
    }

    fn crc<V: View>(&self, view: &V) -> u64 {
        self.crc_of(view.heap().seed())
    }

    fn crc_of(&self, seed: u32) -> u64 {
        checksum(checksum(seed, &[self.at]), &self.words[..7]).into()
    }

    fn client(&self) -> ClientId {
        u128::from(self.words[0]) | u128::from(self.words[1]) << 64
    }

    fn sequence(&self) -> u64 {
        self.words[2]
    }

    fn result_bytes(&self) -> usize {
        (self.words[3] >> 32) as usize
    }

    /// The block that holds the result, if one does.
    fn block(&self) -> Option<Owned> {
        (self.words[3] & 0xff == IN_BLOCK)
            .then_some(Owned { offset: self.words[4], bytes: self.result_bytes() as u64 })
    }

    fn result<V: View>(&self, view: &V) -> Result<Vec<u8>, HeapError> {
        let corrupt = HeapError::Corrupt { offset: self.at };
        let bytes = self.result_bytes();
        if bytes > RESULT_BYTES_MAX || (self.block().is_none() && bytes > INLINE_MAX) {
            return Err(corrupt);
        }
        if let Some(block) = self.block() {
            view.check(block.offset, block.bytes)?;
        }
        let mut result = vec![0; bytes];
        match self.block() {
            None => {
                let words: Vec<u8> = self.words[4..7].iter().flat_map(|word| word.to_le_bytes()).collect();
                result.copy_from_slice(&words[..bytes]);
            }
            Some(block) => {
                view.contents(block.offset, &mut result);
                if u64::from(checksum_bytes(view.heap().seed(), &result)) != self.words[5] {
                    return Err(HeapError::Corrupt { offset: block.offset });
                }
            }
        }
        Ok(result)
    }
}

/// The completion table of a shard.
#[derive(Debug, Clone, Copy)]
pub struct Completions;

impl Completions {
    /// Looks a call up. Sequences start at 1.
    ///
    /// # Errors
    /// [`CompletionError::StaleSequence`]; [`CompletionError::SessionsFull`] for a client that has no line and gets none.
    pub fn arrive<M: Mem>(
        tx: &mut Tx<'_, M>,
        client: ClientId,
        sequence: u64,
    ) -> Result<Arrival, CompletionError> {
        let pending = |at, former| Arrival::New(Pending { client, sequence, at, former });
        match Self::find(tx, client)? {
            None => {
                let number = Self::free_line(tx)?;
                tx.completion_hints().insert(client, number);
                Ok(pending(Self::at(tx, number), None))
            }
            Some(line) if line.sequence() < sequence => {
                Ok(pending(line.at, line.block().map(|block| block.offset)))
            }
            Some(line) if line.sequence() == sequence => Ok(Arrival::Done(line.result(tx)?)),
            Some(line) => Err(CompletionError::StaleSequence { sequence, last: line.sequence() }),
        }
    }

    /// Notes that a call was made. To be done in the block that has its effect, which is also the one in which it arrived.
    ///
    /// # Errors
    /// [`CompletionError::ResultTooLarge`], and those of the heap.
    pub fn complete<M: Mem>(
        tx: &mut Tx<'_, M>,
        pending: Pending,
        result: &[u8],
    ) -> Result<(), CompletionError> {
        if result.len() > RESULT_BYTES_MAX {
            return Err(CompletionError::ResultTooLarge { bytes: result.len() });
        }
        let Pending { client, sequence, at, former } = pending;
        if let Some(block) = former {
            tx.free(block)?;
        }
        let mut line = Line { at, words: [client as u64, (client >> 64) as u64, sequence, 0, 0, 0, 0, 0] };
        if result.len() <= INLINE_MAX {
            line.words[3] = INLINE | (result.len() as u64) << 32;
            let mut bytes = [0; INLINE_MAX];
            bytes[..result.len()].copy_from_slice(result);
            for (word, bytes) in line.words[4..7].iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*bytes);
            }
        } else {
            let block = tx.allocate(result.len() as u64)?;
            tx.put(block, result)?;
            line.words[3] = IN_BLOCK | (result.len() as u64) << 32;
            line.words[4] = block;
            line.words[5] = checksum_bytes(tx.heap().seed(), result).into();
        }
        line.words[7] = line.crc(tx);
        Ok(tx.write_all(at, &line.words)?)
    }

    /// Forgets a client: its lease has ended. Says whether it was known.
    ///
    /// # Errors
    /// Those of the heap.
    pub fn forget<M: Mem>(tx: &mut Tx<'_, M>, client: ClientId) -> Result<bool, HeapError> {
        let Some(line) = Self::find(tx, client)? else { return Ok(false) };
        tx.set_urgent();
        if let Some(block) = line.block() {
            tx.free(block.offset)?;
        }
        tx.write_all(line.at, &[0; 8])?;
        let number = ((line.at - Self::at(tx, 0)) / LINE) as u32;
        tx.completion_hints().free.push(number);
        Ok(true)
    }

    /// The clients that the table knows, with their last sequences. One pass over the table.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] for a damaged line.
    pub fn clients<V: View>(view: &V) -> Result<Vec<(ClientId, u64)>, HeapError> {
        let mut clients = Vec::new();
        for number in 0..Self::capacity(view) {
            let line = Line::load(view, Self::at(view, number))?;
            if !line.is_free() {
                clients.push((line.client(), line.sequence()));
            }
        }
        Ok(clients)
    }

    /// Visits the blocks of results, for checks.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] for a damaged line.
    pub fn visit<V: View>(view: &V, visit: &mut dyn FnMut(Owned)) -> Result<(), HeapError> {
        for number in 0..Self::capacity(view) {
            if let Some(block) = Line::load(view, Self::at(view, number))?.block() {
                visit(block);
            }
        }
        Ok(())
    }

    /// Visits the blocks of results and reads all results, also behind a damaged line. Gives what is damaged.
    pub(crate) fn verify<V: View>(view: &V, visit: &mut dyn FnMut(Owned)) -> Vec<HeapError> {
        let mut errors = Vec::new();
        for number in 0..Self::capacity(view) {
            let verified = Line::load(view, Self::at(view, number)).and_then(|line| {
                if let Some(block) = line.block() {
                    visit(block);
                }
                line.result(view).map(drop)
            });
            errors.extend(verified.err());
        }
        errors
    }

    /// Gives `each` the last call of each client and its result, and `damaged` what cannot be read.
    ///
    /// # Errors
    /// Those of `each`.
    pub(crate) fn salvage<V: View, E>(
        view: &V,
        damaged: &mut dyn FnMut(HeapError),
        mut each: impl FnMut(ClientId, u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..Self::capacity(view) {
            match Line::load(view, Self::at(view, number)) {
                Ok(line) if line.is_free() => {}
                Ok(line) => match line.result(view) {
                    Ok(result) => each(line.client(), line.sequence(), &result)?,
                    Err(error) => damaged(error),
                },
                Err(error) => damaged(error),
            }
        }
        Ok(())
    }

    fn capacity<V: View>(view: &V) -> u32 {
        view.heap().layout().geometry().completions
    }

    fn at<V: View>(view: &V, number: u32) -> u64 {
        view.heap().layout().completion_table(view.shard()) + u64::from(number) * LINE
    }

    fn find<M: Mem>(tx: &mut Tx<'_, M>, client: ClientId) -> Result<Option<Line>, HeapError> {
        Self::make_hints(tx)?;
        for number in tx.known_completions().lines(client) {
            let line = Line::load(tx, Self::at(tx, number))?;
            if !line.is_free() && line.client() == client {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    /// A line that is free.
    fn free_line<M: Mem>(tx: &mut Tx<'_, M>) -> Result<u32, CompletionError> {
        while let Some(&number) = tx.completion_hints().free.last() {
            // The line stays in the list until it is seen to be taken: the block that takes it may be taken back.
            if Line::load(tx, Self::at(tx, number))?.is_free() {
                return Ok(number);
            }
            tx.completion_hints().free.pop();
        }
        Err(CompletionError::SessionsFull { clients: Self::capacity(tx) })
    }

    /// Looks through the table, once in a run and whenever forgotten clients have made the hints too many.
    fn make_hints<M: Mem>(tx: &mut Tx<'_, M>) -> Result<(), HeapError> {
        if !tx.known_completions().are_to_be_made() {
            return Ok(());
        }
        let capacity = Self::capacity(tx);
        let (first, seed) = (Self::at(tx, 0), tx.heap().seed());
        let fresh = match tx.glance(|mem| CompletionHints::read(seed, first, capacity, |at| mem.load(at))) {
            Some(fresh) => fresh?,
            None => CompletionHints::read(seed, first, capacity, |at| tx.word(at))?,
        };
        *tx.completion_hints() = fresh;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Heap,
        heap::testing::{heap, reopen},
        sim::Sim,
    };

    const CLIENT: ClientId = 7 << 64 | 8;

    /// Makes a call that does nothing but complete. Says whether it was new.
    fn call(
        heap: &Heap<Sim>,
        client: ClientId,
        sequence: u64,
        result: &[u8],
    ) -> Result<bool, CompletionError> {
        heap.atomically(0, |tx| match Completions::arrive(tx, client, sequence)? {
            Arrival::New(pending) => Completions::complete(tx, pending, result).map(|()| true),
            Arrival::Done(first) => {
                assert_eq!(first, result);
                Ok(false)
            }
        })
    }

    #[test]
    fn a_call_is_new_once_and_then_has_its_result_for_ever() {
        for len in [0, 1, 24, 25, 100, 900] {
            let result: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut heap = heap();
            assert_eq!(call(&heap, CLIENT, 1, &result), Ok(true));
            for _ in 0..2 {
                assert_eq!(call(&heap, CLIENT, 1, &result), Ok(false), "{len}");
                heap = reopen(&heap);
            }
        }
    }

    #[test]
    fn an_older_sequence_is_stale_and_a_full_table_says_so() {
        let heap = heap();
        for client in 1..=4 {
            assert_eq!(call(&heap, client, 5, &[9; 64]), Ok(true));
        }
        let stale = call(&heap, 1, 4, &[]);
        assert_eq!(stale, Err(CompletionError::StaleSequence { sequence: 4, last: 5 }));
        assert_eq!(call(&heap, 5, 1, &[]), Err(CompletionError::SessionsFull { clients: 4 }));
        assert_eq!(call(&heap, 4, 6, &[9; 30]), Ok(true));
        assert_eq!(heap.atomically(0, |tx| Completions::forget(tx, 2)), Ok(true));
        assert_eq!(heap.atomically(0, |tx| Completions::forget(tx, 2)), Ok(false));
        assert_eq!(call(&heap, 5, 1, &[]), Ok(true));
        assert_eq!(Completions::clients(&heap.reader(0)).unwrap().len(), 4);
    }

    #[test]
    fn a_block_that_is_taken_back_leaves_hints_that_do_no_harm() {
        let heap = heap();
        for client in 1..=20 {
            heap.atomically::<(), CompletionError>(0, |tx| {
                let Arrival::New(pending) = Completions::arrive(tx, client, 1)? else { panic!("new") };
                Completions::complete(tx, pending, &[])?;
                Err(HeapError::NoSpace.into())
            })
            .unwrap_err();
        }
        for client in 1..=4 {
            assert_eq!(call(&heap, client, 1, &[]), Ok(true));
        }
        // Forgetting that is taken back keeps the client known.
        heap.atomically::<(), CompletionError>(0, |tx| {
            Completions::forget(tx, 1)?;
            Err(HeapError::NoSpace.into())
        })
        .unwrap_err();
        assert_eq!(call(&heap, 1, 1, &[]), Ok(false));
    }

    #[test]
    fn a_damaged_line_is_an_error_and_not_a_new_client() {
        let heap = heap();
        call(&heap, CLIENT, 1, &[1, 2, 3]).unwrap();
        let at = heap.layout().completion_table(0);
        for line in 0..4 {
            for word in 0..8 {
                let offset = at + line * LINE + word * WORD;
                let before = heap.mem().load(offset);
                heap.mem().store(offset, before ^ 0x10);
                let arrival = heap.atomically(0, |tx| Completions::arrive(tx, CLIENT, 1));
                if let Ok(arrival) = arrival {
                    assert_eq!(arrival, Arrival::Done(vec![1, 2, 3]), "another line's damage");
                }
                heap.mem().store(offset, before);
            }
        }
    }

    /// `cargo test --release -p abide-pmem --lib cost_of_the_first_call -- --ignored --nocapture`
    #[test]
    #[ignore = "prints what the first call after an opening costs"]
    fn cost_of_the_first_call() {
        use crate::{Geometry, Persistence, Region, RegionOptions};
        const LINES: u32 = 16_384;
        let geometry = Geometry { shards: 4, completions: LINES, ..Geometry::default() };
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = folder.path().join("region");
        let options = RegionOptions { geometry, ..RegionOptions::new(Persistence::ProcessCrash) };
        let region = Region::create(&path, 128 << 20, &options).unwrap();
        let complete = |region: &Region, shard, client: u128, sequence| {
            let client = client << 64 | client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            region.heap().atomically(shard, |tx| match Completions::arrive(tx, client, sequence)? {
                Arrival::New(pending) => Completions::complete(tx, pending, &[7; 20]),
                Arrival::Done(_) => Ok(()),
            })
        };
        // One shard full, one half full, one with one client; the last one is empty.
        for (shard, clients) in [(0, LINES), (1, LINES / 2), (2, 1)] {
            (0..clients).for_each(|client| complete(&region, shard, client.into(), 1).unwrap());
        }
        drop(region);
        for _ in 0..3 {
            let region = Region::open(&path, &options).unwrap();
            for shard in 0..4 {
                let start = std::time::Instant::now();
                complete(&region, shard, 0, 1).unwrap();
                let first = start.elapsed();
                let start = std::time::Instant::now();
                complete(&region, shard, 0, 1).unwrap();
                println!("shard {shard}: the first call {first:?}, the second {:?}", start.elapsed());
            }
        }
    }
}
