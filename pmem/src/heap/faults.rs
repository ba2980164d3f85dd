//! What a check sees of a shard's watermarks and ring before recovery.

use super::{
    record::Record,
    recovery::{first_places, last_batch, records_of},
    watermark::Watermark,
};
use crate::{
    layout::Layout,
    mem::{LINE, Mem, WORD},
};

/// Something that no crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardFault {
    pub(crate) offset: u64,
    pub(crate) in_ring: bool,
    pub(crate) what: &'static str,
}

/// Looks at both watermark lines and at the ring of a shard. A torn record is what a crash leaves; so it counts as damage only where
/// a later batch was begun, or where the region was closed in order.
pub(crate) fn shard_faults(
    mem: &impl Mem,
    layout: &Layout,
    seed: u32,
    shard: u32,
    is_clean: bool,
) -> Vec<ShardFault> {
    let mut faults = Vec::new();
    let header = layout.shard_header(shard);
    for at in [header, header + LINE] {
        let is_whole = Watermark::load_line(mem, seed, at).is_some();
        let other = Watermark::load_line(mem, seed, if at == header { header + LINE } else { header });
        let is_unused = (0..LINE / WORD).all(|i| mem.load(at + i * WORD) == 0)
            && other.is_some_and(Watermark::is_initial);
        if !is_whole && !is_unused {
            faults.push(ShardFault { offset: at, in_ring: false, what: "the watermark is damaged" });
        }
    }
    let Some(watermark) = Watermark::load(mem, seed, header) else { return faults };
    let in_ring = |offset, what| ShardFault { offset, in_ring: true, what };
    if let Some((run_id, last)) = last_batch(mem, &first_places(mem, layout, seed, shard), watermark) {
        let records = records_of(mem, layout, seed, shard, run_id, last);
        let mut seen = records.iter().collect::<Vec<_>>();
        let before = if last - 1 > watermark.batch {
            records_of(mem, layout, seed, shard, run_id, last - 1)
        } else {
            Vec::new()
        };
        let expected = records.first().map_or(0, |record| usize::from(record.place.records_before));
        if last - 1 > watermark.batch && before.len() != expected {
            faults.push(in_ring(layout.ring_slot(shard, last - 1), "an acknowledged batch is not whole"));
        }
        seen.extend(&before);
        if seen.iter().any(|record| !record.stays_within(mem.len())) {
            faults.push(in_ring(layout.ring_slot(shard, last), "a record names words outside of the region"));
        }
    }
    if is_clean {
        let room = layout.geometry().ring_slot_bytes as usize / 8;
        for slot in 0..4 {
            let at = layout.ring_slot(shard, slot);
            let batch = mem.load(at + 2 * WORD);
            let is_of_run =
                mem.load(at + WORD) == watermark.run_id && batch > watermark.batch && batch % 4 == slot;
            if is_of_run && Record::read(mem, seed, at, room, false).is_none() {
                faults.push(in_ring(at, "a batch of a region that was closed in order is not whole"));
            }
        }
    }
    faults
}
