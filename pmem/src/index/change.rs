//! Inserting and removing names.

use super::{
    Entry, Index, IndexError, TOMBSTONE,
    blocks::Block,
    lane::{CheckedOut, Intent},
    link::Link,
    list::{Found, Position},
    node::{Key, Node, Target},
};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, Rule, Site},
    types::TypeError,
};

/// What came of an attempt to create a name.
enum Attempt {
    Done(Entry),
    /// Something else was changed at that place.
    Again,
    /// There is no block at hand, and one cannot be waited for with the epoch pinned.
    NeedsBlock,
}

impl<M: Mem> Index<'_, M> {
    /// Finds an object, or creates it with an empty value in a shard. Two fences where it creates one; one more for each time
    /// that another thread changes the same place meanwhile, two more if a deleted object of that name must be taken out.
    ///
    /// # Errors
    /// Those of the heap; [`IndexError::NameLength`].
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn create(&self, type_number: u16, name: &[u8], shard: u32) -> Result<Entry, IndexError> {
        assert!(shard < self.heap.shard_count(), "shard {shard} of {}", self.heap.shard_count());
        if let Some(entry) = self.get(type_number, name)? {
            return Ok(entry);
        }
        self.heap.expect_writable()?;
        let key = self.key(type_number, name)?;
        let class = self.tables().layout.class_of(key.node_bytes()).ok_or(HeapError::NoSpace)?;
        let mut lane = self.check_out();
        let mut spare = None;
        let result = loop {
            match self.try_create(&mut lane, &mut spare, &key, class, shard as u16) {
                Ok(Attempt::Done(entry)) => break Ok(entry),
                Ok(Attempt::Again) => {}
                Ok(Attempt::NeedsBlock) => match lane.allocate(class) {
                    Ok(block) => spare = Some(block),
                    Err(error) => break Err(error.into()),
                },
                Err(error) => break Err(error.into()),
            }
        };
        if let Some(block) = spare {
            self.put_back(block);
        }
        result
    }

    fn try_create(
        &self,
        lane: &mut CheckedOut<'_, M>,
        spare: &mut Option<Block>,
        key: &Key<'_>,
        class: usize,
        shard: u16,
    ) -> Result<Attempt, HeapError> {
        let _guard = self.heap.epochs.pin();
        let start = self.start_for_change(lane, key.order)?;
        let position = self.find(start, &Target::Name(*key))?;
        if let Some(Found::Node(node)) = position.found {
            if !self.is_buried(&node) {
                return Ok(Attempt::Done(Self::entry(&node, false)));
            }
            self.remove_node(lane, start, key, &position, &node)?;
            return Ok(Attempt::Again);
        }
        let Some(block) = spare.take().or_else(|| lane.take(class)) else {
            return Ok(Attempt::NeedsBlock);
        };
        if !self.insert(lane, key, &position, block, shard)? {
            *spare = Some(block);
            return Ok(Attempt::Again);
        }
        self.grow(lane)?;
        Ok(Attempt::Done(Self::entry(&self.tables().node(block.offset)?, true)))
    }

    /// Links a new node at a position. False if that is not what it was; then the block is free as before.
    fn insert(
        &self,
        lane: &mut CheckedOut<'_, M>,
        key: &Key<'_>,
        position: &Position,
        block: Block,
        shard: u16,
    ) -> Result<bool, HeapError> {
        let tables = self.tables();
        let mem = tables.mem;
        Node::write(mem, tables.seed, block.offset, position.link.target().word(), key, shard);
        mem.flush(Site::NodeFlush, block.offset, key.node_bytes());
        // Rule I2: between the fence and the link.
        let early = mem.broken(Rule::I2BitAfterIntent);
        let late = !early && mem.broken(Rule::I2BitBeforeLink);
        if early {
            lane.set_bit(&block)?;
        }
        lane.begin(Intent::Insert, block.offset)?;
        if !early && !late {
            lane.set_bit(&block)?;
        }
        let link = position.link.retarget(Link::to_node(block.offset)).dirty(self.run());
        if mem.compare_exchange(position.from, position.link.word(), link.word()).is_err() {
            if !late {
                lane.clear_bit(&block)?;
            }
            return Ok(false);
        }
        self.settle((Site::LinkFlush, Site::LinkFence), position.from, link)?;
        if late {
            lane.set_bit(&block)?;
        }
        lane.count(1);
        Ok(true)
    }

    /// Deletes an object. `discard` gets its root and frees its value, in the failure-atomic block of its shard that takes its
    /// name away. Says whether it was there. Three fences.
    ///
    /// # Errors
    /// Those of the heap and of `discard`, and then nothing was changed; [`IndexError::NameLength`].
    pub fn remove(
        &self,
        type_number: u16,
        name: &[u8],
        discard: impl FnOnce(&mut Tx<'_, M>, u64) -> Result<(), TypeError>,
    ) -> Result<bool, IndexError> {
        let key = self.key(type_number, name)?;
        let removed = {
            // So that the root is not another object's when the block runs.
            let _guard = self.heap.epochs.pin();
            let Some(node) = self.look_up(&key)? else { return Ok(false) };
            self.heap.atomically(node.shard.into(), |tx| {
                if tx.word(node.root()) == TOMBSTONE {
                    return Ok::<bool, IndexError>(false);
                }
                discard(tx, node.root())?;
                Self::bury(tx, node.root())?;
                Ok(true)
            })?
        };
        if removed {
            self.take_out(type_number, name)?;
        }
        Ok(removed)
    }

    /// Gives back the space of a deleted object that was [buried](Self::bury). Says whether there was one of that name.
    /// Two fences.
    ///
    /// # Errors
    /// Those of the heap; [`IndexError::NameLength`].
    pub fn take_out(&self, type_number: u16, name: &[u8]) -> Result<bool, IndexError> {
        self.heap.expect_writable()?;
        let key = self.key(type_number, name)?;
        let mut lane = self.check_out();
        let _guard = self.heap.epochs.pin();
        let start = self.start_for_change(&mut lane, key.order)?;
        let position = self.find(start, &Target::Name(key))?;
        match position.found {
            Some(Found::Node(node)) if self.is_buried(&node) => {
                self.remove_node(&mut lane, start, &key, &position, &node)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes a buried node out of the list, and frees its block if no other thread does. When it returns, the node is out
    /// for good. Two fences.
    fn remove_node(
        &self,
        lane: &mut CheckedOut<'_, M>,
        start: u64,
        key: &Key<'_>,
        position: &Position,
        node: &Node,
    ) -> Result<(), HeapError> {
        let batch = self.batch_of_reuse(node.shard);
        lane.begin(Intent::Remove, node.offset)?;
        let (onward, won) = loop {
            let link = self.durable_link(node.offset)?;
            if link.is_marked() {
                break (link, false);
            }
            let marked = link.marked();
            if self.mem().compare_exchange(node.offset, link.word(), marked.word()).is_ok() {
                break (marked, true);
            }
        };
        let helpers_retire = self.mem().broken(Rule::I1WinnerRetires);
        if helpers_retire || self.unlink(position.from, position.link, onward)?.is_none() {
            // Whoever passes takes it out, this search at the latest.
            self.find(start, &Target::Name(*key))?;
        }
        // Rule I1.
        if won && !helpers_retire {
            let block = self.tables().block_at(node.offset)?;
            self.ensure_listed(&block)?;
            lane.clear_bit(&block)?;
            self.retire(block, node, batch);
        }
        if won {
            lane.count(-1);
        }
        Ok(())
    }

    /// Frees the block of a node because this thread took it out, whoever removed it. Against rule I1.
    pub(super) fn release_as_helper(&self, node: &Node) -> Result<(), HeapError> {
        let block = self.tables().block_at(node.offset)?;
        self.ensure_listed(&block)?;
        self.mem().fetch_and(block.word, !block.bit);
        self.mem().flush(Site::BitClearFlush, block.word, crate::mem::WORD);
        self.retire(block, node, self.batch_of_reuse(node.shard));
        Ok(())
    }
}
