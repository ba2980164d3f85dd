//! Recovery of the lanes: two intents and a claim each, whatever the region holds.
//!
//! For each intent the bit of its node is made what the list says: set if the node can be reached. That is right at any
//! time at which nobody changes the list, also for an intent of long ago whose block holds another name now; so it may be
//! done twice, in any order, and again after a crash in its middle. A removed node that is still linked is one whose
//! removal did not end; it is taken out.

use super::{
    lane::{CHUNKS, CLAIM, Claim, HIGH, LaneState, Written},
    link::{Link, seal, unseal},
    tables::{Item, Tables, Walk},
};
use crate::{
    heap::{
        HeapError, HeapOpenError,
        descriptor::{Descriptor, NEXT, PREVIOUS, Use},
    },
    mem::{LINE, Mem, Site, WORD},
};

/// What recovery found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(super) lanes: Vec<LaneState>,
    /// One more than the highest chunk that a lane ever took.
    pub(crate) high_chunk: u64,
}

impl Recovered {
    /// What is known of lanes that cannot be recovered.
    pub(crate) fn unknown(lanes: u32) -> Self {
        Self { lanes: (0..lanes).map(|_| LaneState::default()).collect(), high_chunk: 0 }
    }
}

/// Recovers all lanes. One fence if there was anything to do, and one ordering for each chunk whose claim did not end.
pub(crate) fn recover<M: Mem>(tables: Tables<'_, M>) -> Result<Recovered, HeapOpenError> {
    let mem = tables.mem;
    let mut recovered = Recovered::default();
    let mut changed = false;
    for lane in 0..tables.layout.geometry().lanes {
        let corrupt = |what| HeapOpenError::CorruptLane { lane, what };
        let header = tables.layout.lane(lane);
        let high = unseal(mem.load(header + HIGH)).ok_or(corrupt("high chunk"))?;
        recovered.high_chunk = recovered.high_chunk.max(high);
        let claim = unseal(mem.load(header + CLAIM)).ok_or(corrupt("claim"))?;
        if claim != 0 {
            settle_claim(tables, lane, Claim::from_number(claim)).map_err(|_| corrupt("claim"))?;
            changed = true;
        }
    }
    // Chunks first: nodes stand in them.
    for lane in 0..tables.layout.geometry().lanes {
        let intents = [0, 1].map(|slot| Written::load(tables, lane, slot));
        let mut state = LaneState::default();
        for written in intents.into_iter().flatten() {
            if written.sequence > state.sequence {
                state.sequence = written.sequence;
                state.names = written.names;
            }
            match settle_bit(tables, written.node) {
                Ok(change) => changed |= change,
                // The damage is near, but need not concern this node. A block that stays allocated harms nobody.
                Err(error) => {
                    tracing::warn!(lane, node = written.node, %error, "an intent cannot be settled")
                }
            }
        }
        recovered.lanes.push(state);
    }
    if changed {
        mem.fence(Site::LaneRecoverFence);
        mem.health()?;
    }
    Ok(recovered)
}

/// Finishes the claim of a chunk if its descriptor is whole, or else undoes it.
fn settle_claim<M: Mem>(tables: Tables<'_, M>, lane: u32, claim: Claim) -> Result<(), HeapError> {
    let (mem, header) = (tables.mem, tables.layout.lane(lane));
    let corrupt = HeapError::Corrupt { offset: header };
    let chunk = tables.chunk_number(claim.chunk).ok().flatten().ok_or(corrupt.clone())?;
    let at = tables.layout.descriptor(chunk);
    match (Descriptor::load(mem, tables.layout, chunk).map(Descriptor::used_for), claim.page) {
        (Ok(Use::LaneBlocks { lane: owner, .. }), None) if u32::from(owner) == lane => {
            let head = unseal(mem.load(header + CHUNKS)).ok_or(corrupt.clone())?;
            if head != claim.chunk {
                if mem.load(at + NEXT) != head {
                    return Err(corrupt);
                }
                mem.store(header + CHUNKS, seal(claim.chunk));
            }
        }
        (Ok(Use::DirectoryPage { page: owner }), Some(page)) if u32::from(owner) == page => {
            if page >= tables.layout.geometry().directory_pages {
                return Err(corrupt);
            }
            let word = tables.page_word(page);
            match unseal(mem.load(word)) {
                Some(number) if number == claim.chunk => {}
                Some(0) => {
                    mem.store(word, seal(claim.chunk));
                    mem.flush(Site::LaneRecoverFlush, word, WORD);
                    mem.order(Site::LaneRecoverOrder);
                }
                _ => return Err(corrupt),
            }
        }
        (Ok(Use::Free) | Err(_), _) => {
            for word in [0, NEXT, PREVIOUS, Descriptor::CHECK] {
                if mem.load(at + word) != 0 {
                    mem.store(at + word, 0);
                }
            }
            mem.flush(Site::LaneRecoverFlush, at, LINE);
            mem.order(Site::LaneRecoverOrder);
        }
        _ => return Err(corrupt),
    }
    mem.store(header + CLAIM, 0);
    mem.flush(Site::LaneRecoverFlush, header, LINE);
    Ok(())
}

/// Makes the bit of a node what the list says. Says whether anything was changed.
fn settle_bit<M: Mem>(tables: Tables<'_, M>, offset: u64) -> Result<bool, HeapError> {
    let mem = tables.mem;
    let block = tables.block_at(offset)?;
    let mut changed = false;
    let is_linked = match find_node(tables, offset)? {
        Some((from, link, onward)) if onward.is_marked() => {
            mem.store(from, link.retarget(onward).word());
            mem.flush(Site::LaneRecoverFlush, from, WORD);
            changed = true;
            false
        }
        found => found.is_some(),
    };
    let bits = mem.load(block.word);
    if (bits & block.bit != 0) != is_linked {
        mem.store(block.word, bits ^ block.bit);
        mem.flush(Site::LaneRecoverFlush, block.word, WORD);
        changed = true;
    }
    Ok(changed)
}

/// Finds the link to a node by the node's own order: what leads to it, that link, and the one that leads on.
fn find_node<M: Mem>(tables: Tables<'_, M>, offset: u64) -> Result<Option<(u64, Link, Link)>, HeapError> {
    // If the node is not whole this is any number, and the node is in no list.
    let order = tables.mem.load(offset + super::node::ORDER);
    let mut walk = Walk::new(tables, tables.start(order)?)?;
    while let Some(item) = walk.peek()? {
        match item {
            Item::Bucket { order: bucket, .. } if bucket > order => return Ok(None),
            Item::Node { node, onward } if node.offset == offset => {
                return Ok(Some((walk.from, walk.link, onward)));
            }
            Item::Node { node, .. } if node.order > order => return Ok(None),
            _ => walk.pass()?,
        }
    }
    Ok(None)
}
