//! Persistent values in a shard: a register, a byte array, a hash map and a directory, with a writer, and with readers beside it.
//!
//! One value hangs below a root in a block of its own. Writers make batches of failure-atomic blocks and answer after the commit;
//! readers read without locks, and what they saw counts in the history like everything else.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{
    Geometry, Heap, HeapError, HeapOpenError, Identity, Tx, View,
    heap::audit,
    layout::SuperblockError,
    sim::{Limits, Sim},
    types::{ROOT_BYTES, TypeError, garbage, visit_root},
};
use fastrand::Rng;
use std::{
    fmt::Debug,
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

/// The memory under the heaps here.
pub(super) type Memory = Arc<Sim>;

/// A type of values: what can be asked of one, and how it answers.
pub(super) trait ValueModel: Model<Op = <Self as ValueModel>::Ask> {
    /// What is asked.
    type Ask: Clone + Debug + Send + Sync + 'static;

    /// The scenario's name.
    const NAME: &'static str;

    /// The state of an empty value.
    fn empty() -> Self::State;

    /// Something to ask. A reader's asks change nothing.
    fn ask(rng: &mut Rng, reads: bool) -> Self::Ask;

    /// Whether it changes nothing.
    fn is_read(ask: &Self::Ask) -> bool;

    /// Does what was asked, if it changes something.
    fn write(tx: &mut Tx<'_, Memory>, root: u64, ask: &Self::Ask) -> Result<Self::Result, TypeError>;

    /// Answers what changes nothing.
    fn read(view: &impl View, root: u64, ask: &Self::Ask) -> Result<Self::Result, TypeError>;

    /// All that the value holds.
    fn state(view: &impl View, root: u64) -> Result<Self::State, TypeError>;
}

/// The scenario of a type of values.
#[derive(Debug)]
pub(super) struct Values<V>(PhantomData<fn() -> V>);

impl<V> Default for Values<V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// A heap with a value in it.
#[derive(Debug)]
pub(super) struct Opened {
    heap: Heap<Memory>,
    root: u64,
}

const REGION_BYTES: u64 = 128 << 10;
/// Behind the root in its block: says that there is one.
const MARK: u64 = ROOT_BYTES;

fn geometry() -> Geometry {
    Geometry { ring_slot_bytes: 2048, ..Geometry::tiny() }
}

fn format_heap(sim: &Memory) -> Result<(), HeapOpenError> {
    let identity = Identity { uuid: [1; 16], hash_key: [2; 16], created_s: 0 };
    Heap::format(sim, identity, geometry())?;
    Heap::finish_format(sim)
}

/// Makes the root's block.
fn make_root(heap: &Heap<Memory>) -> Result<u64, HeapError> {
    heap.atomically(0, |tx| {
        let root = tx.allocate(2 * ROOT_BYTES)?;
        tx.write_all(root, &[0; 8])?;
        tx.write(root + MARK, 1)?;
        Ok(root)
    })
}

/// Where the first block of a heap comes to stand.
fn first_block() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let sim = Arc::new(Sim::new(REGION_BYTES));
        format_heap(&sim).expect("a good geometry");
        let heap = Heap::open(sim, [0; 16]).expect("a new heap");
        make_root(&heap).expect("an empty heap")
    })
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl<V: ValueModel> Scenario for Values<V> {
    type Model = V;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        V::NAME
    }

    fn region_bytes(&self) -> u64 {
        REGION_BYTES
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        format_heap(sim).map_err(text)?;
        self.open(sim).map(drop).map_err(text)
    }

    fn empty(&self) -> V::State {
        V::empty()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let heap = Heap::open(Arc::clone(sim), [0; 16]).map_err(|error| match error {
            HeapOpenError::Superblock(SuperblockError::NotARegion) => Refused::NotFormatted,
            other => Refused::Other(text(other)),
        })?;
        let root = first_block();
        // A cut may have come after the heap was formatted, and before it had a root.
        if heap.reader(0).word(root + MARK) == 0 {
            let made = make_root(&heap).map_err(|error| Refused::Other(text(error)))?;
            assert_eq!(made, root, "the first block of an empty heap");
        }
        Ok(Opened { heap, root })
    }

    fn recovery_loads_max(&self) -> u64 {
        // Two superblocks, and four slots of the ring read twice.
        2 * 512 + 8 * 256 + 200
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        *rng.choice(&[1, 1, 2, 2, 3]).expect("a choice")
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, V::Ask)>> {
        let client = thread as u32;
        (0..rng.u32(1..7))
            .map(|_| {
                // The first writes most of the time, the last only reads.
                if thread == 2 || rng.u32(0..5) < 1 + 2 * client {
                    return vec![(client, V::ask(rng, true))];
                }
                (0..*rng.choice(&[1, 1, 2, 3]).expect("a choice"))
                    .map(|_| (client, V::ask(rng, false)))
                    .collect()
            })
            .collect()
    }

    fn perform(
        &self,
        opened: &Opened,
        calls: &[Call<V>],
        respond: &mut dyn FnMut(usize, V::Result),
    ) -> Result<(), String> {
        let Opened { heap, root } = opened;
        let mut results = Vec::new();
        let mut writer = None;
        for call in calls {
            results.push(if V::is_read(&call.op) {
                V::read(&heap.reader(0), *root, &call.op).map_err(text)?
            } else {
                let writer = writer.get_or_insert_with(|| heap.writer(0));
                writer.run(|tx| V::write(tx, *root, &call.op)).map_err(text)?
            });
        }
        if let Some(mut writer) = writer {
            writer.commit().map_err(text)?;
        }
        results.into_iter().enumerate().for_each(|(at, result)| respond(at, result));
        Ok(())
    }

    fn read(&self, opened: &Opened) -> Result<V::State, String> {
        V::state(&opened.heap.reader(0), opened.root).map_err(text)
    }

    fn check(&self, opened: &Opened, _: &V::State) -> Result<(), String> {
        let view = opened.heap.reader(0);
        let mut owned = vec![(opened.root, 2 * ROOT_BYTES)];
        visit_root(&view, opened.root, &mut |block| owned.push((block.offset, block.bytes))).map_err(text)?;
        garbage::visit(&view, &mut |block| owned.push((block.offset, block.bytes))).map_err(text)?;
        match audit(&view, owned).problems.first() {
            Some(problem) => Err(text(problem)),
            None => Ok(()),
        }
    }

    fn limits(&self, threads: usize) -> Limits {
        if threads == 1 {
            Limits { exhaustive_max: 100, samples: 30 }
        } else {
            Limits { exhaustive_max: 8, samples: 6 }
        }
    }
}
