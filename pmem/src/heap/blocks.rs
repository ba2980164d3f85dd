//! Allocation and freeing in a failure-atomic block.
//!
//! The bit of a block, the descriptor of a chunk and the lists of chunks with room are words like any other: they
//! change with the record that links or unlinks the block, so no crash can come between. Nothing leaks, and there is
//! nothing to collect.

use super::{
    HeapError, SHARD_HIGH_CHUNK, SHARD_LISTS, Tx,
    allocator::{Cursor, Freed},
    descriptor::{Descriptor, NEXT, PREVIOUS, Use, block_bytes},
    tx::Undo,
    view::View,
};
use crate::mem::{Mem, Rule, WORD};

impl<M: Mem> Tx<'_, M> {
    /// Allocates a block of at least so many bytes, aligned to 16. What stands in it is arbitrary.
    /// Above an eighth of a chunk it is a run of whole chunks.
    ///
    /// # Errors
    /// [`HeapError::NoSpace`].
    pub fn allocate(&mut self, bytes: u64) -> Result<u64, HeapError> {
        match self.heap.layout().class_of(bytes) {
            Some(class) => self.allocate_block(class),
            None => self.allocate_run(bytes),
        }
    }

    /// Bytes of the block that [`allocate`](Self::allocate) would give for so many.
    #[must_use]
    pub fn block_bytes(&self, bytes: u64) -> u64 {
        let layout = self.heap.layout();
        match layout.class_of(bytes) {
            Some(class) => block_bytes(class),
            None => bytes.next_multiple_of(layout.geometry().chunk_bytes.into()),
        }
    }

    fn allocate_block(&mut self, class: usize) -> Result<u64, HeapError> {
        loop {
            if let Some(&index) = self.state.allocator.classes[class].ready.last() {
                let mirror = self.state.allocator.mirror(index);
                let block = mirror.find().expect("a ready chunk has a block to give");
                let chunk = mirror.chunk;
                mirror.used += 1;
                let is_full = mirror.used == mirror.capacity;
                self.state.allocator.take(index, block);
                self.state.block.undo.push(Undo::Took { mirror: index, block });
                let word = self.heap.layout().bitmap(chunk) + u64::from(block / 64) * WORD;
                let bits = self.word(word);
                let bit = 1 << (block % 64);
                if bits & bit != 0 {
                    return Err(HeapError::Corrupt { offset: word });
                }
                self.write(word, bits | bit)?;
                if is_full {
                    self.unlink_chunk(class, chunk)?;
                }
                return Ok(self.heap.layout().chunk(chunk) + u64::from(block) * block_bytes(class));
            }
            self.refill(class)?;
        }
    }

    /// Finds a chunk with blocks of a class to hand out.
    fn refill(&mut self, class: usize) -> Result<(), HeapError> {
        self.recycle();
        if self.has_ready(class) || self.load_next(class)? {
            return Ok(());
        }
        self.recycle_all();
        if self.has_ready(class) {
            return Ok(());
        }
        let chunk = self.claim(1).ok_or_else(|| self.no_space())?;
        let layout = self.heap.layout();
        let bitmap = layout.bitmap(chunk);
        let words = layout.blocks(class).div_ceil(64);
        let bits = (0..u64::from(words)).map(|i| self.word(bitmap + i * WORD)).collect::<Box<[u64]>>();
        if let Some(i) = bits.iter().position(|&word| word != 0) {
            self.give_back(chunk, 1);
            return Err(HeapError::Corrupt { offset: bitmap + i as u64 * WORD });
        }
        let index = self.state.allocator.add_mirror(layout, chunk, class, bits);
        self.state.block.undo.push(Undo::Claimed { mirror: index, chunk });
        self.raise_high_chunk(chunk + 1)?;
        let shard = self.shard as u16;
        self.write_descriptor(chunk, Descriptor::new(Use::ShardBlocks { class, shard }, 1))?;
        self.link_chunk(class, chunk)
    }

    /// Notes that there would be room if what was freed could be used.
    fn no_space(&mut self) -> HeapError {
        let allocator = &self.state.allocator;
        let waits = !allocator.limbo.is_empty() || !allocator.unsent.is_empty() || allocator.under_eyes > 0;
        self.state.is_tight = waits || !self.state.freed.is_empty();
        HeapError::NoSpace
    }

    fn has_ready(&self, class: usize) -> bool {
        !self.state.allocator.classes[class].ready.is_empty()
    }

    /// Walks along the class's list of chunks with room to the first that this run has not looked at.
    fn load_next(&mut self, class: usize) -> Result<bool, HeapError> {
        let cursor = self.state.allocator.classes[class].cursor;
        let mut next = match cursor {
            Cursor::Done => return Ok(false),
            Cursor::At(chunk) => u64::from(chunk) + 1,
            Cursor::NotStarted => self.word(self.list_head(class)),
        };
        self.state.block.undo.push(Undo::Moved { class, cursor });
        while let Some(chunk) = self.listed(next, self.list_head(class))? {
            let at = self.heap.layout().descriptor(chunk);
            next = self.word(at + NEXT);
            let after = self.listed(next, at + NEXT)?;
            self.state.allocator.classes[class].cursor = after.map_or(Cursor::Done, Cursor::At);
            if self.state.allocator.mirror_index(chunk).is_none() {
                let index = self.load_mirror(chunk)?;
                if self.state.allocator.mirror(index).class != class {
                    return Err(HeapError::Corrupt { offset: at });
                }
                if self.has_ready(class) {
                    return Ok(true);
                }
            }
        }
        self.state.allocator.classes[class].cursor = Cursor::Done;
        Ok(false)
    }

    /// The chunk that a list link names.
    fn listed(&self, link: u64, at: u64) -> Result<Option<u32>, HeapError> {
        let Some(chunk) = link.checked_sub(1) else { return Ok(None) };
        let layout = self.heap.layout();
        let count = layout.chunk_count(self.heap.mem().len());
        match u32::try_from(chunk) {
            Ok(chunk) if chunk < count && layout.is_data_chunk(chunk) => Ok(Some(chunk)),
            _ => Err(HeapError::Corrupt { offset: at }),
        }
    }

    /// Makes the mirror of a chunk of this shard.
    fn load_mirror(&mut self, chunk: u32) -> Result<u32, HeapError> {
        let layout = self.heap.layout();
        let at = layout.descriptor(chunk);
        let Use::ShardBlocks { class, shard } = self.descriptor(chunk)?.used_for() else {
            return Err(HeapError::Corrupt { offset: at });
        };
        if u32::from(shard) != self.shard {
            return Err(HeapError::Corrupt { offset: at });
        }
        let bitmap = layout.bitmap(chunk);
        let words = layout.blocks(class).div_ceil(64);
        let bits: Box<[u64]> = (0..u64::from(words)).map(|i| self.word(bitmap + i * WORD)).collect();
        let behind = layout.blocks(class) % 64;
        if behind != 0 && bits[bits.len() - 1] >> behind != 0 {
            return Err(HeapError::Corrupt { offset: bitmap });
        }
        Ok(self.state.allocator.add_mirror(layout, chunk, class, bits))
    }

    fn descriptor(&self, chunk: u32) -> Result<Descriptor, HeapError> {
        let layout = self.heap.layout();
        let at = layout.descriptor(chunk);
        Descriptor::from_words(layout, chunk, self.word(at), self.word(at + Descriptor::CHECK))
    }

    fn write_descriptor(&mut self, chunk: u32, descriptor: Descriptor) -> Result<(), HeapError> {
        let at = self.heap.layout().descriptor(chunk);
        let (word, check) = descriptor.words(chunk);
        self.write(at, word)?;
        self.write(at + Descriptor::CHECK, check)
    }

    fn list_head(&self, class: usize) -> u64 {
        self.heap.layout().shard_header(self.shard) + SHARD_LISTS + class as u64 * WORD
    }

    /// Puts a chunk at the head of its class's list of chunks with room.
    fn link_chunk(&mut self, class: usize, chunk: u32) -> Result<(), HeapError> {
        let (head, at) = (self.list_head(class), self.heap.layout().descriptor(chunk));
        let first = self.word(head);
        if let Some(next) = self.listed(first, head)? {
            let next_at = self.heap.layout().descriptor(next);
            self.write(next_at + PREVIOUS, u64::from(chunk) + 1)?;
        }
        self.write(at + NEXT, first)?;
        self.write(at + PREVIOUS, 0)?;
        self.write(head, u64::from(chunk) + 1)
    }

    /// Takes a chunk out of its class's list of chunks with room.
    fn unlink_chunk(&mut self, class: usize, chunk: u32) -> Result<(), HeapError> {
        let at = self.heap.layout().descriptor(chunk);
        let next = self.listed(self.word(at + NEXT), at + NEXT)?;
        let previous = self.listed(self.word(at + PREVIOUS), at + PREVIOUS)?;
        let cursor = self.state.allocator.classes[class].cursor;
        if cursor == Cursor::At(chunk) {
            self.state.block.undo.push(Undo::Moved { class, cursor });
            self.state.allocator.classes[class].cursor = next.map_or(Cursor::Done, Cursor::At);
        }
        let link = |chunk: Option<u32>| chunk.map_or(0, |chunk| u64::from(chunk) + 1);
        let from = previous.map_or(self.list_head(class), |p| self.heap.layout().descriptor(p) + NEXT);
        if self.word(from) != u64::from(chunk) + 1 {
            return Err(HeapError::Corrupt { offset: from });
        }
        self.write(from, link(next))?;
        if let Some(next) = next {
            self.write(self.heap.layout().descriptor(next) + PREVIOUS, link(previous))?;
        }
        self.write(at + NEXT, 0)?;
        self.write(at + PREVIOUS, 0)
    }

    /// Takes chunks from the pool.
    fn claim(&mut self, len: u32) -> Option<u32> {
        let mem = self.heap.mem();
        mem.lock(&self.heap.pool).claim(mem, self.heap.layout(), len, self.is_urgent)
    }

    fn give_back(&self, first: u32, len: u32) {
        self.heap.mem().lock(&self.heap.pool).give_back(self.heap.layout(), first, len);
    }

    /// Notes how far into the region the shard has gone.
    fn raise_high_chunk(&mut self, end: u32) -> Result<(), HeapError> {
        let high = self.heap.layout().shard_header(self.shard) + SHARD_HIGH_CHUNK;
        if self.word(high) < u64::from(end) { self.write(high, end.into()) } else { Ok(()) }
    }

    fn allocate_run(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let layout = self.heap.layout();
        let len = bytes.div_ceil(layout.geometry().chunk_bytes.into());
        let max = layout.geometry().zone_chunks - layout.descriptor_chunks;
        let len = u32::try_from(len).ok().filter(|&len| len <= max).ok_or(HeapError::NoSpace)?;
        self.recycle();
        let first = match self.claim(len) {
            Some(first) => first,
            None => {
                self.recycle_all();
                self.claim(len).ok_or_else(|| self.no_space())?
            }
        };
        self.state.block.undo.push(Undo::ClaimedRun { first, len });
        self.raise_high_chunk(first + len)?;
        let shard = self.shard as u16;
        self.write_descriptor(first, Descriptor::new(Use::Run { shard }, len))?;
        Ok(layout.chunk(first))
    }

    /// Frees a block that [`allocate`](Self::allocate) gave, now or long ago. Readers may still look at it for a while, and
    /// it is not used again until they are gone and no crash can bring the block's last words back.
    ///
    /// # Errors
    /// [`HeapError::Corrupt`] if no allocated block of this shard begins there.
    pub fn free(&mut self, offset: u64) -> Result<(), HeapError> {
        let corrupt = HeapError::Corrupt { offset };
        self.check(offset, WORD)?;
        let layout = self.heap.layout();
        let chunk =
            layout.chunk_of(offset).filter(|&chunk| layout.is_data_chunk(chunk)).ok_or(corrupt.clone())?;
        match self.descriptor(chunk)?.used_for() {
            Use::ShardBlocks { class, shard } if u32::from(shard) == self.shard => {
                let index = match self.state.allocator.mirror_index(chunk) {
                    Some(index) => index,
                    None => self.load_mirror(chunk)?,
                };
                let inside = offset - layout.chunk(chunk);
                let block = inside / block_bytes(class);
                if !inside.is_multiple_of(block_bytes(class)) || block >= u64::from(layout.blocks(class)) {
                    return Err(corrupt);
                }
                let word = layout.bitmap(chunk) + block / 64 * WORD;
                let (bits, bit) = (self.word(word), 1 << (block % 64));
                if bits & bit == 0 {
                    return Err(corrupt);
                }
                self.write(word, bits & !bit)?;
                let mirror = self.state.allocator.mirror(index);
                let was_full = mirror.used == mirror.capacity;
                mirror.used -= 1;
                self.state.block.undo.push(Undo::Freed { mirror: index });
                if was_full {
                    self.link_chunk(class, chunk)?;
                }
                if self.heap.mem().broken(Rule::R6ReuseInBatch) {
                    self.state.allocator.put_back(index, block as u32);
                } else {
                    self.state.block.freed.push(Freed::Block(offset));
                }
                Ok(())
            }
            Use::Run { shard } if u32::from(shard) == self.shard && offset == layout.chunk(chunk) => {
                let len = self.descriptor(chunk)?.chunks();
                self.heap.mem().lock(&self.heap.pool).announce(chunk, len);
                self.write_descriptor(chunk, Descriptor::new(Use::Free, 1))?;
                self.state.block.freed.push(Freed::Chunks { first: chunk, len });
                Ok(())
            }
            _ => Err(corrupt),
        }
    }

    /// Takes back what was freed and can be used again now.
    fn recycle(&mut self) {
        let mem = self.heap.mem();
        let allocator = &mut self.state.allocator;
        while let Some(freed) = allocator.unread.pop() {
            allocator.under_eyes -= freed.len();
            allocator.limbo.extend(freed);
        }
        // Rule R6: as long as recovery may replay batch b, its words may land in what it freed. A chunk goes to other
        // shards, whose batches have other numbers: for that, the batch after must be committed too.
        let delay = if mem.broken(Rule::R6ReuseDelay) { 0 } else { 2 };
        while let Some(&(batch, freed)) = self.state.allocator.limbo.front() {
            let must_wait = match freed {
                Freed::Block(_) => batch + delay > self.state.batch,
                Freed::Chunks { .. } => batch + delay >= self.state.batch,
            };
            if must_wait {
                break;
            }
            self.state.allocator.limbo.pop_front();
            self.reuse(freed);
        }
    }

    /// Lets what was freed be handed out again.
    pub(super) fn reuse(&mut self, freed: Freed) {
        let layout = self.heap.layout();
        match freed {
            Freed::Block(offset) => {
                let allocator = &mut self.state.allocator;
                let chunk = layout.chunk_of(offset).expect("a block that was freed");
                let index = allocator.mirror_index(chunk).expect("the mirror of a freed block");
                let class = allocator.mirror(index).class;
                let block = (offset - layout.chunk(chunk)) / block_bytes(class);
                allocator.put_back(index, block as u32);
            }
            Freed::Chunks { first, len } => self.give_back(first, len),
        }
    }

    /// Takes back all that is free by now, also what waits only for epochs to pass.
    fn recycle_all(&mut self) {
        self.heap.send_freed(&mut self.state.allocator);
        if self.state.allocator.under_eyes > 0 {
            self.heap.epochs.advance();
        }
        self.recycle();
    }

    /// Gives one chunk back whose blocks are all free, if its class has another one to go on with.
    pub(super) fn release_empty_chunk(&mut self) -> Result<(), HeapError> {
        while let Some(index) = self.state.allocator.empty.pop() {
            let mirror = self.state.allocator.mirror(index);
            let (chunk, class) = (mirror.chunk, mirror.class);
            let is_empty = mirror.used == 0 && mirror.free == mirror.capacity;
            if !is_empty || self.state.allocator.classes[class].ready.len() < 2 {
                continue;
            }
            self.heap.mem().lock(&self.heap.pool).announce(chunk, 1);
            self.unlink_chunk(class, chunk)?;
            self.write_descriptor(chunk, Descriptor::new(Use::Free, 1))?;
            self.state.allocator.remove_mirror(index);
            self.state.block.freed.push(Freed::Chunks { first: chunk, len: 1 });
            return Ok(());
        }
        Ok(())
    }
}
