//! Two counters and a redo log of four records, with exactly-once calls: the smallest thing that needs run chains
//! and crashes inside of recovery to be tested.
//!
//! ```text
//! line 0, 1   counter a, counter b
//! line 2      last call: sequence, result
//! line 3      run: records of other runs mean nothing
//! from line 4 four records of two lines: {lsn, counter, value, checksum of all and the run} {sequence, result}
//! ```
//! A call writes its record, flushes it, fences (that commits it), and applies it in place; the next call's fence makes
//! that durable. Recovery replays the newest two records, makes that durable, and only then begins a new run.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{Mem, Rule, Site, sim::Sim};
use fastrand::Rng;
use std::sync::{Arc, Mutex};

const COUNTERS: [u64; 2] = [0, 64];
const LAST: u64 = 128;
const RUN: u64 = 192;
const RECORDS: u64 = 256;
const RECORD_BYTES: u64 = 128;
const SLOTS: u64 = 4;

/// The scenario. It has as many bytes behind the log as wanted, to see that they cost nothing.
#[derive(Debug, Clone, Copy)]
pub struct ToyRedo {
    /// Bytes of the region.
    pub bytes: u64,
}

impl Default for ToyRedo {
    fn default() -> Self {
        ToyRedo { bytes: 1024 }
    }
}

/// Two counters.
#[derive(Debug)]
pub struct Counters;

impl Model for Counters {
    type State = [u64; 2];
    /// Adds to a counter.
    type Op = (usize, u64);
    /// The counter after it.
    type Result = u64;

    fn apply(state: &mut [u64; 2], &(counter, number): &(usize, u64)) -> u64 {
        state[counter] += number;
        state[counter]
    }
}

/// The counters, opened.
#[derive(Debug)]
pub struct Opened {
    sim: Arc<Sim>,
    run: u64,
    lsn: Mutex<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    run: u64,
    lsn: u64,
    counter: u64,
    value: u64,
    sequence: u64,
    result: u64,
}

impl Record {
    fn checksum(&self) -> u64 {
        let words = [self.run, self.lsn, self.counter, self.value, self.sequence, self.result];
        let mixed = words
            .iter()
            .fold(1_u64, |sum, word| (sum.rotate_left(13) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed | 1
    }

    fn write(&self, sim: &Sim) {
        let at = RECORDS + self.lsn % SLOTS * RECORD_BYTES;
        for (word, value) in [self.lsn, self.counter, self.value, self.checksum()].into_iter().enumerate() {
            sim.store(at + word as u64 * 8, value);
        }
        sim.store(at + 64, self.sequence);
        sim.store(at + 72, self.result);
    }

    fn read(sim: &Sim, run: u64, slot: u64) -> Option<Record> {
        let at = RECORDS + slot * RECORD_BYTES;
        let [lsn, counter, value, checksum] = [0, 8, 16, 24].map(|word| sim.load(at + word));
        let record =
            Record { run, lsn, counter, value, sequence: sim.load(at + 64), result: sim.load(at + 72) };
        let believed = sim.broken(Rule::R1RecordChecksum) && lsn != 0 && counter < 2;
        (checksum == record.checksum() || believed).then_some(record)
    }

    fn apply(&self, sim: &Sim, flush: Site) {
        sim.store(COUNTERS[self.counter as usize], self.value);
        sim.store(LAST, self.sequence);
        sim.store(LAST + 8, self.result);
        sim.flush(flush, COUNTERS[self.counter as usize], 8);
        sim.flush(flush, LAST, 16);
    }
}

impl Opened {
    fn add(&self, sequence: u64, (counter, number): (usize, u64)) -> u64 {
        let sim = &*self.sim;
        if sim.load(LAST) == sequence {
            return sim.load(LAST + 8);
        }
        let mut lsn = self.lsn.lock().expect("one thread");
        *lsn += 1;
        let value = sim.load(COUNTERS[counter]) + number;
        let record =
            Record { run: self.run, lsn: *lsn, counter: counter as u64, value, sequence, result: value };
        record.write(sim);
        sim.flush(Site::RecordFlush, RECORDS + *lsn % SLOTS * RECORD_BYTES, RECORD_BYTES);
        if sim.broken(Rule::R4ApplyAfterFence) {
            record.apply(sim, Site::ApplyFlush);
        }
        sim.fence(Site::CommitFence);
        if !sim.broken(Rule::R4ApplyAfterFence) {
            record.apply(sim, Site::ApplyFlush);
        }
        value
    }
}

impl Scenario for ToyRedo {
    type Model = Counters;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "toy-redo"
    }

    fn region_bytes(&self) -> u64 {
        self.bytes
    }

    fn format(&self, _: &Arc<Sim>) -> Result<(), String> {
        // Zeros are an empty log and two counters of zero.
        Ok(())
    }

    fn empty(&self) -> [u64; 2] {
        [0; 2]
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let mut run = sim.load(RUN);
        let mut records: Vec<Record> = (0..SLOTS).filter_map(|slot| Record::read(sim, run, slot)).collect();
        records.sort_unstable_by_key(|record| record.lsn);
        if let Some(newest) = records.last().copied() {
            records.retain(|record| record.lsn + 1 >= newest.lsn);
            if sim.broken(Rule::R5ReplayBoth) {
                records = vec![newest];
            }
            for record in &records {
                record.apply(sim, Site::ReplayFlush);
            }
            sim.fence(Site::ReplayFence);
            if !sim.broken(Rule::R8NewRun) {
                run += 1;
                sim.store(RUN, run);
                sim.flush(Site::WatermarkFlush, RUN, 8);
            }
            sim.fence(Site::WatermarkFence);
        }
        Ok(Opened { sim: Arc::clone(sim), run, lsn: Mutex::new(0) })
    }

    fn recovery_loads_max(&self) -> u64 {
        SLOTS * 6 + 1
    }

    fn plan(&self, rng: &mut Rng, _: usize) -> Vec<Vec<(u32, (usize, u64))>> {
        (0..rng.u32(1..10)).map(|_| vec![(0, (rng.usize(..2), rng.u64(1..9)))]).collect()
    }

    fn perform(
        &self,
        instance: &Opened,
        calls: &[Call<Counters>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        for (at, call) in calls.iter().enumerate() {
            respond(at, instance.add(call.sequence, call.op));
        }
        Ok(())
    }

    fn repeat(&self, instance: &Opened, call: &Call<Counters>) -> Result<Option<u64>, String> {
        Ok(Some(instance.add(call.sequence, call.op)))
    }

    fn read(&self, instance: &Opened) -> Result<[u64; 2], String> {
        Ok(COUNTERS.map(|counter| instance.sim.load(counter)))
    }
}
