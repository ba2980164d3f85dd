//! The buckets of a map: words that point into its list.
//!
//! Bucket b covers the keys whose hash ends in the bits of b, which is one stretch of the list, since the list is in the order
//! of bit-reversed hashes. The bucket's word is the first element of that stretch: whatever comes before it links to the word, and
//! the word links to what follows. Doubling the number of buckets moves nothing; it halves stretches.
//!
//! **Invariant.** A bucket is put into the list only after its parent, the bucket whose number lacks its highest bit.
//! So all buckets inside of a bucket's stretch have more bits than it, and the first that has not lies behind it.
//!
//! Words are made on the way: one that is zero is of a bucket that is not in the list, and a search begins at the nearest
//! ancestor instead. Bucket 0 is in the map's root, buckets 1 to 7 in the directory, and segment s = 3, 4, .. has the 2^s
//! buckets from 2^s on: in one page if they fit, otherwise in pages that an index block links to.
//!
//! ```text
//! directory   word 0, 1   of the garbage list
//!                  2      link to the first node, when the map is garbage
//!                  3      pages of the first segment that are free already, when the map is garbage
//!                  5..12  buckets 1 to 7
//!                  12..   links to the segments 3 to 27
//! ```

use super::{Shape, walk};
use crate::{
    heap::{HeapError, Tx, View},
    mem::{Mem, WORD},
    types::{
        Owned,
        link::{Link, seal, unseal},
        unit_bytes,
    },
};

/// The first segment.
const FIRST: u32 = 3;
/// The greatest number of bits that a bucket's number has.
pub(super) const LEVEL_MAX: u32 = 28;
/// Entries of a map that needs no directory.
pub(super) const SMALL_MAX: u64 = 4;
const GARBAGE_LIST: u64 = 2 * WORD;
const GARBAGE_FREED: u64 = 3 * WORD;
const BUCKETS: u64 = 4 * WORD;
const SEGMENTS: u64 = 12 * WORD;
/// Bytes of a directory.
pub(super) const DIRECTORY_BYTES: u64 = SEGMENTS + (LEVEL_MAX - FIRST) as u64 * WORD;

/// Where a search begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// Offset of the bucket's word.
    pub(super) at: u64,
    /// How many bits of the hash the bucket stands for. Every bucket of the list with no more bits that comes after it
    /// lies behind its stretch.
    pub(super) depth: u32,
    /// The next bucket on the way to the hash, which is not in the list.
    pub(super) missing: Option<u32>,
}

/// Bits of a bucket's number.
fn level(bucket: u32) -> u32 {
    32 - bucket.leading_zeros()
}

/// The bucket of a hash when there are 2^depth.
fn bucket_of(hash: u64, depth: u32) -> u32 {
    (hash & ((1 << depth) - 1)) as u32
}

/// Buckets of a page, as a power of two.
fn page_bits<V: View>(view: &V) -> u32 {
    (unit_bytes(view) / WORD).trailing_zeros()
}

/// The link to a segment, and the link's offset.
#[inline]
fn segment<V: View>(view: &V, directory: u64, segment: u32) -> Result<(u64, Option<u64>), HeapError> {
    let at = directory + SEGMENTS + u64::from(segment - FIRST) * WORD;
    let block = Link::decode_block(view.word(at), at)?;
    let bits = page_bits(view);
    let bytes = if segment <= bits { WORD << segment } else { WORD << (segment - bits) };
    Ok((at, block.map(|block| view.check(block, bytes)).transpose()?))
}

/// The offset of a bucket's word, if there is one. Not for bucket 0.
#[inline]
fn word_of<V: View>(view: &V, directory: u64, bucket: u32) -> Result<Option<u64>, HeapError> {
    if bucket < 1 << FIRST {
        return Ok(Some(directory + BUCKETS + u64::from(bucket) * WORD));
    }
    let number = level(bucket) - 1;
    let inside = u64::from(bucket - (1 << number));
    let (_, Some(block)) = segment(view, directory, number)? else { return Ok(None) };
    let bits = page_bits(view);
    if number <= bits {
        return Ok(Some(block + inside * WORD));
    }
    let at = block + (inside >> bits) * WORD;
    let Some(page) = Link::decode_block(view.word(at), at)? else { return Ok(None) };
    view.check(page, WORD << bits)?;
    Ok(Some(page + (inside & ((1 << bits) - 1)) * WORD))
}

/// Where the search for a hash begins.
#[inline]
pub(super) fn start<V: View>(view: &V, shape: &Shape, hash: u64) -> Result<Start, HeapError> {
    let mut missing = None;
    let mut depth = shape.level;
    if let Some(directory) = shape.directory {
        loop {
            let bucket = bucket_of(hash, depth);
            if bucket == 0 {
                break;
            }
            if let Some(at) = word_of(view, directory, bucket)?
                && view.word(at) != 0
            {
                return Ok(Start { at, depth, missing });
            }
            missing = Some(bucket);
            depth = level(bucket) - 1;
        }
    }
    Ok(Start { at: shape.bucket_zero(), depth, missing })
}

/// Puts the missing bucket into the list. Leaves it if there is no room for its page: it is there for speed alone.
/// Gives where the search begins then.
pub(super) fn add_missing<M: Mem>(
    tx: &mut Tx<'_, M>,
    shape: &Shape,
    hash: u64,
    start: Start,
) -> Result<Start, HeapError> {
    let (Some(bucket), Some(directory)) = (start.missing, shape.directory) else { return Ok(start) };
    let Some(at) = make_word(tx, directory, bucket)? else { return Ok(start) };
    let order = u64::from(bucket).reverse_bits();
    let parent = Start { depth: level(bucket) - 1, ..start };
    let place = walk::find_first(tx, parent, order)?;
    tx.write(at, place.link)?;
    tx.write(place.link_at, Link::Bucket { at, level: level(bucket) }.encode())?;
    // The bucket may stand for more bits than its number has: all up to the next one that the hash has set.
    let mut depth = level(bucket);
    while depth < shape.level && hash >> depth & 1 == 0 {
        depth += 1;
    }
    let missing = (depth < shape.level).then(|| bucket_of(hash, depth + 1));
    Ok(Start { at, depth, missing })
}

/// Makes the word of a bucket and whatever has to be there for it, unless the region is full.
fn make_word<M: Mem>(tx: &mut Tx<'_, M>, directory: u64, bucket: u32) -> Result<Option<u64>, HeapError> {
    if let Some(at) = word_of(tx, directory, bucket)? {
        return Ok(Some(at));
    }
    let number = level(bucket) - 1;
    let bits = page_bits(tx);
    let (at, block) = segment(tx, directory, number)?;
    let block = match block {
        Some(block) => block,
        None => {
            let bytes = if number <= bits { WORD << number } else { WORD << (number - bits) };
            let Some(block) = make_block(tx, at, bytes)? else { return Ok(None) };
            block
        }
    };
    if number > bits {
        let inside = u64::from(bucket - (1 << number));
        if make_block(tx, block + (inside >> bits) * WORD, WORD << bits)?.is_none() {
            return Ok(None);
        }
    }
    word_of(tx, directory, bucket)
}

/// Makes a block of zeros that the word at `link_at` links to, unless the region is full.
fn make_block<M: Mem>(tx: &mut Tx<'_, M>, link_at: u64, bytes: u64) -> Result<Option<u64>, HeapError> {
    let block = match tx.allocate(bytes) {
        Ok(block) => block,
        Err(HeapError::NoSpace) => return Ok(None),
        Err(error) => return Err(error),
    };
    tx.put_zeros(block, bytes)?;
    tx.write(link_at, Link::Block(block).encode())?;
    Ok(Some(block))
}

/// Makes a directory without segments.
pub(super) fn make_directory<M: Mem>(tx: &mut Tx<'_, M>) -> Result<u64, HeapError> {
    let directory = tx.allocate(DIRECTORY_BYTES)?;
    tx.put_zeros(directory, DIRECTORY_BYTES)?;
    Ok(directory)
}

/// Visits the directory's blocks: segments from `freed` pages of the first on, and the directory itself.
pub(super) fn visit<V: View>(
    view: &V,
    directory: u64,
    mut freed: u64,
    visit: &mut dyn FnMut(Owned),
) -> Result<(), HeapError> {
    let bits = page_bits(view);
    for number in FIRST..LEVEL_MAX {
        let (_, Some(block)) = segment(view, directory, number)? else { continue };
        if number <= bits {
            visit(Owned { offset: block, bytes: WORD << number });
            continue;
        }
        let pages = 1 << (number - bits);
        visit(Owned { offset: block, bytes: pages * WORD });
        for page in freed.min(pages)..pages {
            let at = block + page * WORD;
            if let Some(offset) = Link::decode_block(view.word(at), at)? {
                visit(Owned { offset, bytes: WORD << bits });
            }
        }
        freed = 0;
    }
    visit(Owned { offset: directory, bytes: DIRECTORY_BYTES });
    Ok(())
}

/// Makes a directory one that is garbage, with this link to the first node.
pub(super) fn begin_garbage<M: Mem>(tx: &mut Tx<'_, M>, directory: u64, list: u64) -> Result<(), HeapError> {
    tx.write(directory + GARBAGE_LIST, list)
}

/// Where the link to the first node of a directory that is garbage stands.
pub(super) fn garbage_list(directory: u64) -> u64 {
    directory + GARBAGE_LIST
}

/// The link to the first node of a directory that is garbage, and how many pages of its first segment are free.
pub(super) fn garbage<V: View>(view: &V, directory: u64) -> Result<(u64, u64), HeapError> {
    view.check(directory, DIRECTORY_BYTES)?;
    let at = directory + GARBAGE_FREED;
    Ok((view.word(directory + GARBAGE_LIST), unseal(view.word(at), at)?))
}

/// Frees up to `left` blocks of a directory without nodes that is garbage. Says whether it is gone.
pub(super) fn free_some<M: Mem>(
    tx: &mut Tx<'_, M>,
    directory: u64,
    mut left: u32,
) -> Result<bool, HeapError> {
    let bits = page_bits(tx);
    let (_, mut freed) = garbage(tx, directory)?;
    for number in FIRST..LEVEL_MAX {
        let (at, Some(block)) = segment(tx, directory, number)? else { continue };
        if number > bits {
            let pages = 1 << (number - bits);
            // Empty places cost a look each; so many are worth a block.
            let mut looks = 0;
            while freed < pages && left > 0 {
                let link_at = block + freed * WORD;
                if let Some(page) = Link::decode_block(tx.word(link_at), link_at)? {
                    tx.free(page)?;
                    left -= 1;
                }
                looks += 1;
                if looks % 256 == 0 {
                    left = left.saturating_sub(1);
                }
                freed += 1;
            }
            if freed < pages {
                tx.write(directory + GARBAGE_FREED, seal(freed))?;
                return Ok(false);
            }
        }
        if left == 0 {
            if number > bits {
                tx.write(directory + GARBAGE_FREED, seal(freed))?;
            }
            return Ok(false);
        }
        tx.free(block)?;
        tx.write(at, 0)?;
        if tx.word(directory + GARBAGE_FREED) != 0 {
            tx.write(directory + GARBAGE_FREED, 0)?;
        }
        freed = 0;
        left -= 1;
    }
    if left == 0 {
        return Ok(false);
    }
    tx.free(directory)?;
    Ok(true)
}
