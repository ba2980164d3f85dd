//! Recovery of a shard: replays the last two batches of its ring.
//!
//! Reads four records and those of two batches, whatever the region holds. Every word is stored as
//! the records say, so doing it twice, or after a crash in its middle, gives the same.

use super::{
    HeapOpenError,
    record::{self, Place, Record},
    watermark::Watermark,
};
use crate::{
    layout::Layout,
    mem::{Mem, Rule, Site, WORD},
};

/// Where a shard goes on after recovery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recovered {
    /// The run that its new records carry.
    pub(super) run_id: u64,
    /// The last batch that is in place.
    pub(super) batch: u64,
}

/// Recovers one shard, or, if it is `clean`, only begins a new run, whose records need nothing of what stands in the ring.
/// Two fences.
pub(super) fn recover_shard(
    mem: &impl Mem,
    layout: &Layout,
    seed: u32,
    shard: u32,
    run_id: u64,
    clean: bool,
) -> Result<Recovered, HeapOpenError> {
    let corrupt = |what| HeapOpenError::CorruptShard { shard, what };
    let header = layout.shard_header(shard);
    let watermark = Watermark::load(mem, seed, header).ok_or(corrupt("watermark"))?;
    let first_places = first_places(mem, layout, seed, shard);
    // A run's records are written after its watermark is durable. One of a run that the watermark does not know of says that the
    // newest watermark is damaged, and that the records are stale which this older one lets count.
    if first_places.iter().flatten().any(|place| place.run_id > watermark.run_id) {
        return Err(corrupt("watermark"));
    }
    let mut replayed = watermark.batch;
    let last = last_batch(mem, &first_places, watermark);
    if clean {
        replayed = last.map_or(replayed, |(_, batch)| batch);
    } else if let Some((run_id, last)) = last {
        let records = records_of(mem, layout, seed, shard, run_id, last);
        // A crash tears no slot but the one behind the last batch's. If the one after that does not hold what it must still hold,
        // later batches than this one are lost, and to replay it would put back what stood there before them.
        if last > watermark.batch + 2 {
            let older = first_places[record::ring_slot(mem, last - 2) as usize];
            if older.is_none_or(|place| (place.run_id, place.batch) != (run_id, last - 2)) {
                return Err(corrupt("redo ring"));
            }
        }
        let before = last - 1;
        if before > watermark.batch && !mem.broken(Rule::R5ReplayBoth) {
            // The last batch was begun after the fence of this one: all of it was acknowledged.
            let count = records[0].place.records_before;
            let acknowledged = records_of(mem, layout, seed, shard, run_id, before);
            if acknowledged.len() != usize::from(count) {
                return Err(corrupt("redo ring"));
            }
            replay_older(mem, layout, seed, shard, watermark, before);
            acknowledged
                .iter()
                .try_for_each(|record| replay(mem, record))
                .map_err(|()| corrupt("redo ring"))?;
            replayed = before;
        }
        let check_contents = !mem.broken(Rule::R2ContentChecksum);
        for record in &records {
            if !record.stays_within(mem.len()) {
                return Err(corrupt("redo ring"));
            }
            if check_contents && !record.contents_are_whole(mem, seed) {
                break;
            }
            replay(mem, record).map_err(|()| corrupt("redo ring"))?;
            replayed = last;
        }
    }
    mem.fence(Site::ReplayFence);
    let run_id = if mem.broken(Rule::R8NewRun) { watermark.run_id } else { run_id };
    watermark.next(run_id, replayed).store(mem, seed, header, Site::WatermarkFlush);
    mem.fence(Site::WatermarkFence);
    mem.health()?;
    Ok(Recovered { run_id, batch: replayed })
}

/// The first records of the four slots of a shard's ring, as far as they are whole.
pub(super) fn first_places(mem: &impl Mem, layout: &Layout, seed: u32, shard: u32) -> [Option<Place>; 4] {
    let room = layout.geometry().ring_slot_bytes as usize / 8;
    [0, 1, 2, 3].map(|slot| {
        let at = layout.ring_slot(shard, slot);
        let record = Record::read(mem, seed, at, room, mem.broken(Rule::R1RecordChecksum))?;
        Some(record.place)
    })
}

/// The last batch after the watermark of which there is a first record, and its run, which is the watermark's.
pub(super) fn last_batch(
    mem: &impl Mem,
    first_places: &[Option<Place>; 4],
    watermark: Watermark,
) -> Option<(u64, u64)> {
    (0..)
        .zip(first_places)
        .filter_map(|(slot, place)| {
            let place = place.as_ref()?;
            // A later run begins with a later watermark, so what is of this run lies behind it.
            let is_new = place.run_id == watermark.run_id && place.batch > watermark.batch;
            let counts = place.index == 0
                && record::ring_slot(mem, place.batch) == slot
                && (is_new || mem.broken(Rule::R8Watermark));
            counts.then_some((place.run_id, place.batch))
        })
        .max_by_key(|&(_, batch)| batch)
}

/// The records of a batch, from the first to the first hole.
pub(super) fn records_of(
    mem: &impl Mem,
    layout: &Layout,
    seed: u32,
    shard: u32,
    run_id: u64,
    batch: u64,
) -> Vec<Record> {
    let slot = layout.ring_slot(shard, record::ring_slot(mem, batch));
    let room = layout.geometry().ring_slot_bytes as usize / 8;
    let mut records: Vec<Record> = Vec::new();
    let mut at = 0;
    while at < room {
        let read =
            Record::read(mem, seed, slot + at as u64 * WORD, room - at, mem.broken(Rule::R1RecordChecksum));
        match read {
            Some(record)
                if record.place.run_id == run_id
                    && record.place.batch == batch
                    && (usize::from(record.place.index) == records.len()
                        || mem.broken(Rule::R3StopAtHole)) =>
            {
                at += record.stride;
                records.push(record);
            }
            // Rule R3: what lies behind a hole was never acknowledged and may need what is missing.
            _ if mem.broken(Rule::R3StopAtHole) => at += 8,
            _ => break,
        }
    }
    records
}

/// Replays the batch before the last two, which rule R5 forbids.
fn replay_older(mem: &impl Mem, layout: &Layout, seed: u32, shard: u32, watermark: Watermark, before: u64) {
    if mem.broken(Rule::R5ReplayTwoOnly) && before > watermark.batch + 1 {
        for record in records_of(mem, layout, seed, shard, watermark.run_id, before - 1) {
            let _ = replay(mem, &record);
        }
    }
}

/// Stores a record's words in place and flushes them.
fn replay(mem: &impl Mem, record: &Record) -> Result<(), ()> {
    if !record.stays_within(mem.len()) {
        return Err(());
    }
    for (offset, values) in record.entries() {
        for (i, &value) in values.iter().enumerate() {
            mem.store(offset + i as u64 * WORD, value);
        }
        mem.flush(Site::ReplayFlush, offset, values.len() as u64 * WORD);
    }
    Ok(())
}
