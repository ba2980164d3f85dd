//! A heap that grows while threads write to its shards.
//!
//! It stands in a part of the simulated memory, as a region stands in a file that may be longer: behind the part there are zeros,
//! and growing makes the part larger before the heap is told. Blocks are whole chunks and small ones. More keys may be set
//! the larger the heap is, and most of them only fit what was added.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{
    Geometry, Heap, HeapError, HeapOpenError, Identity, MediaError, Mem, Rule, Site, Tx, View,
    layout::{SUPERBLOCK_BYTES, SUPERBLOCK_COPY, State as RegionState, Superblock, SuperblockError},
    sim::{Limits, Sim},
};
use fastrand::Rng;
use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Chunks of the heap as it is formatted and after each growth. The zones of eight chunks are full, cut in the middle, and
/// cut right behind their descriptors.
const SIZES: [u64; 8] = [8, 9, 10, 11, 12, 16, 18, 20];
/// How many keys there may be at each of these sizes. All of them, and the roots, leave few chunks or one, so that threads wait for
/// chunks while another one grows.
const KEYS: [usize; 8] = [4, 4, 5, 7, 8, 13, 14, 16];
const KEYS_MAX: usize = KEYS[7];
const SHARDS: u32 = 2;
const CHUNK: u64 = 1024;
/// Chunks that only deletions of names may take.
const RESERVE: u32 = 1;
/// Attempts to allocate while others hold the last chunks.
const ATTEMPTS: u32 = 2_000;
/// Bytes of a root: a word for each key.
const ROOT_BYTES: u64 = 128;

/// The scenario.
#[derive(Debug, Clone, Copy)]
pub struct Growth;

/// How large the heap is, and what the keys hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Contents {
    /// Which of [`SIZES`].
    size: usize,
    keys: [Option<u64>; KEYS_MAX],
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Makes the heap as large as this one of [`SIZES`], if it is not.
    Grow(usize),
    /// Gives the value before, or 0.
    Set(usize, u64),
    /// Gives the value before, or 0.
    Delete(usize),
    /// Gives the value, or 0.
    Get(usize),
}

/// A heap with its size.
#[derive(Debug)]
pub struct GrowthModel;

impl Model for GrowthModel {
    type State = Contents;
    type Op = Op;
    type Result = u64;

    fn apply(state: &mut Contents, op: &Op) -> u64 {
        match *op {
            Op::Grow(size) => {
                state.size = state.size.max(size);
                0
            }
            Op::Set(key, value) => state.keys[key].replace(value).unwrap_or(0),
            Op::Delete(key) => state.keys[key].take().unwrap_or(0),
            Op::Get(key) => state.keys[key].unwrap_or(0),
        }
    }
}

/// The first bytes of a simulated memory. All else may not be touched.
#[derive(Debug)]
pub(super) struct Part {
    sim: Arc<Sim>,
    bytes: AtomicU64,
}

impl Part {
    fn new(sim: &Arc<Sim>, bytes: u64) -> Self {
        Part { sim: Arc::clone(sim), bytes: AtomicU64::new(bytes) }
    }

    fn expect_inside(&self, offset: u64, bytes: u64) {
        let len = self.len();
        assert!(offset + bytes <= len, "access to {bytes} bytes at {offset:#x} of {len:#x}");
    }
}

impl Mem for Part {
    const SLEEPS: bool = Sim::SLEEPS;

    fn len(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    fn load(&self, offset: u64) -> u64 {
        self.expect_inside(offset, 8);
        self.sim.load(offset)
    }

    fn store(&self, offset: u64, value: u64) {
        self.expect_inside(offset, 8);
        self.sim.store(offset, value);
    }

    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64> {
        self.expect_inside(offset, 8);
        self.sim.compare_exchange(offset, current, new)
    }

    fn fetch_or(&self, offset: u64, bits: u64) -> u64 {
        self.expect_inside(offset, 8);
        self.sim.fetch_or(offset, bits)
    }

    fn fetch_and(&self, offset: u64, bits: u64) -> u64 {
        self.expect_inside(offset, 8);
        self.sim.fetch_and(offset, bits)
    }

    fn flush(&self, site: Site, offset: u64, len: u64) {
        self.expect_inside(offset, len);
        self.sim.flush(site, offset, len);
    }

    fn order(&self, site: Site) {
        self.sim.order(site);
    }

    fn fence(&self, site: Site) {
        self.sim.fence(site);
    }

    fn health(&self) -> Result<(), MediaError> {
        self.sim.health()
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        self.sim.lock(mutex)
    }

    fn pause(&self) {
        self.sim.pause();
    }

    fn broken(&self, rule: Rule) -> bool {
        self.sim.broken(rule)
    }
}

/// The heap, opened.
#[derive(Debug)]
pub struct Opened {
    heap: Heap<Part>,
    /// By shard.
    roots: [u64; SHARDS as usize],
    /// Held by who grows.
    growing: Mutex<()>,
}

fn geometry() -> Geometry {
    Geometry { shards: SHARDS, zone_chunks: 8, command_ring_bytes: 0, ..Geometry::tiny() }
}

/// Bytes of a heap of one of [`SIZES`].
fn bytes_of(size: usize) -> u64 {
    let layout = geometry().layout().expect("a good geometry");
    // The smallest one has five chunks.
    layout.bytes_min() + (SIZES[size] - 5) * CHUNK
}

/// Bytes of a key's block. Every third is small, and has room beside a root.
fn block_bytes(key: usize) -> u64 {
    if key % 3 == 2 { ROOT_BYTES } else { 600 }
}

fn shard_of(key: usize) -> u32 {
    key as u32 % SHARDS
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Formats a heap with a root in each shard. Gives the roots.
fn format(sim: &Arc<Sim>) -> Result<[u64; SHARDS as usize], String> {
    let identity = Identity { uuid: [5; 16], hash_key: [6; 16], created_s: 0 };
    Heap::format(&Part::new(sim, bytes_of(0)), identity, geometry()).map_err(text)?;
    // The roots belong to what is formatted: nobody may open it before they are there.
    let words: Vec<u64> = (0..sim.len()).step_by(8).map(|at| sim.load(at)).collect();
    let copy = Arc::new(Sim::with_words(sim.config(), words));
    let part = Part::new(&copy, bytes_of(0));
    Heap::<Part>::finish_format(&part).map_err(text)?;
    let heap = Heap::open(part, [0; 16]).map_err(text)?;
    let mut roots = [0; SHARDS as usize];
    for (shard, root) in (0..).zip(&mut roots) {
        *root = heap
            .atomically::<_, HeapError>(shard, |tx| {
                let root = tx.allocate(ROOT_BYTES)?;
                tx.write_all(root, &[0; ROOT_BYTES as usize / 8])?;
                Ok(root)
            })
            .map_err(text)?;
    }
    drop(heap);
    for at in (8..copy.len()).step_by(8) {
        if sim.load(at) != copy.load(at) {
            sim.store(at, copy.load(at));
        }
    }
    sim.flush(Site::FormatFlush, 0, sim.len());
    sim.fence(Site::FormatFence);
    Heap::<Arc<Sim>>::finish_format(sim).map_err(text)?;
    Ok(roots)
}

/// Where the roots are: formatting gives the same each time.
fn roots() -> [u64; SHARDS as usize] {
    static ROOTS: OnceLock<[u64; SHARDS as usize]> = OnceLock::new();
    *ROOTS.get_or_init(|| format(&Arc::new(Sim::new(Growth.region_bytes()))).expect("a good geometry"))
}

/// How long the region says that it is. `None` if it says nothing.
fn region_bytes(sim: &Arc<Sim>) -> Option<u64> {
    let mut bytes = [0; SUPERBLOCK_BYTES];
    sim.read(SUPERBLOCK_COPY, &mut bytes);
    let superblock = Superblock::decode(&bytes).ok()?;
    Some(RegionState::load(sim, superblock.checksum_seed()).ok()?.region_bytes)
}

/// Reads a block that a key holds: the value, and its complement at the end.
fn read_block<V: View>(view: &V, key: usize, at: u64) -> Result<u64, HeapError> {
    view.check(at, block_bytes(key))?;
    let (value, complement) = (view.content_word(at), view.content_word(at + block_bytes(key) - 8));
    if complement == !value { Ok(value) } else { Err(HeapError::Corrupt { offset: at }) }
}

impl Opened {
    fn slot(&self, key: usize) -> u64 {
        self.roots[shard_of(key) as usize] + key as u64 * 8
    }

    /// As a region grows: first what is underneath, then the heap.
    fn grow(&self, size: usize) -> Result<(), HeapError> {
        let part = self.heap.mem();
        let _growing = part.lock(&self.growing);
        if bytes_of(size) > part.len() {
            part.bytes.store(bytes_of(size), Ordering::Release);
            self.heap.extend()?;
        }
        Ok(())
    }

    fn change(&self, tx: &mut Tx<'_, Part>, key: usize, value: Option<u64>) -> Result<u64, HeapError> {
        let old = tx.word(self.slot(key));
        let mut new = 0;
        if let Some(value) = value {
            new = tx.allocate(block_bytes(key))?;
            let mut contents = vec![0; block_bytes(key) as usize];
            contents[..8].copy_from_slice(&value.to_le_bytes());
            let end = contents.len() - 8;
            contents[end..].copy_from_slice(&(!value).to_le_bytes());
            tx.put(new, &contents)?;
        }
        tx.write(self.slot(key), new)?;
        if old == 0 {
            return Ok(0);
        }
        let before = read_block(tx, key, old)?;
        tx.free(old)?;
        Ok(before)
    }

    fn set(&self, key: usize, value: Option<u64>) -> Result<u64, HeapError> {
        for _ in 0..ATTEMPTS {
            match self.heap.atomically(shard_of(key), |tx| self.change(tx, key, value)) {
                // Others have the last chunks in their hands, or they come back with later batches of either shard.
                Err(HeapError::NoSpace) => {
                    for shard in 0..SHARDS {
                        self.heap.writer(shard).reclaim()?;
                        self.recycle(shard);
                    }
                    self.heap.mem().pause();
                }
                result => return result,
            }
        }
        Err(HeapError::NoSpace)
    }

    /// Lets a shard give back the chunks that it freed, which it does when it looks for one itself.
    fn recycle(&self, shard: u32) {
        let looks = |tx: &mut Tx<'_, Part>| tx.allocate(CHUNK).and(Err::<(), _>(HeapError::NoSpace));
        assert_eq!(self.heap.atomically(shard, looks), Err(HeapError::NoSpace));
    }

    fn get(&self, key: usize) -> Result<u64, HeapError> {
        let reader = self.heap.reader(shard_of(key));
        reader.snapshot(|view| match view.word(self.slot(key)) {
            0 => Ok(0),
            at => read_block(view, key, at),
        })
    }

    /// How many chunks can be allocated, without taking any.
    fn chunks_to_be_had(&self) -> u32 {
        let mut chunks = 0;
        let full = self.heap.atomically::<(), HeapError>(0, |tx| {
            loop {
                tx.allocate(CHUNK)?;
                chunks += 1;
            }
        });
        assert_eq!(full, Err(HeapError::NoSpace));
        chunks
    }
}

impl Scenario for Growth {
    type Model = GrowthModel;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "growth"
    }

    fn region_bytes(&self) -> u64 {
        bytes_of(SIZES.len() - 1)
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        format(sim).map(drop)
    }

    fn empty(&self) -> Contents {
        Contents::default()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let part = Part::new(sim, region_bytes(sim).unwrap_or_else(|| bytes_of(0)));
        match Heap::open(part, [0; 16]) {
            Ok(heap) => Ok(Opened { heap, roots: roots(), growing: Mutex::new(()) }),
            Err(HeapOpenError::Superblock(SuperblockError::NotARegion)) => Err(Refused::NotFormatted),
            Err(error) => Err(Refused::Other(error.to_string())),
        }
    }

    fn recovery_loads_max(&self) -> u64 {
        // Superblock and state, twice; of two shards watermarks, four headers, two slots of the ring twice over, and contents.
        5_000
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        *rng.choice(&[1, 2, 2, 3, 3]).expect("a choice")
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op)>> {
        // A thread uses the keys for which it has seen the heap grow.
        let mut size = 0;
        let mut ops = Vec::new();
        for _ in 0..rng.u32(2..9) {
            let key = rng.usize(..KEYS[size]);
            match rng.u32(..12) {
                0..3 => {
                    let before = size;
                    size = (size + rng.usize(1..3)).min(SIZES.len() - 1);
                    ops.push(Op::Grow(size));
                    if rng.bool() {
                        // All that fits now and did not before.
                        ops.extend((KEYS[before]..KEYS[size]).map(|key| Op::Set(key, rng.u64(1..100))));
                    }
                }
                3..9 => ops.push(Op::Set(key, rng.u64(1..100))),
                9..11 => ops.push(Op::Delete(key)),
                _ => ops.push(Op::Get(key)),
            }
        }
        ops.into_iter().map(|op| vec![(thread as u32, op)]).collect()
    }

    fn perform(
        &self,
        opened: &Opened,
        calls: &[Call<GrowthModel>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        for (at, call) in calls.iter().enumerate() {
            let result = match call.op {
                Op::Grow(size) => opened.grow(size).map(|()| 0),
                Op::Set(key, value) => opened.set(key, Some(value)),
                Op::Delete(key) => opened.set(key, None),
                Op::Get(key) => opened.get(key),
            };
            respond(at, result.map_err(text)?);
        }
        Ok(())
    }

    fn read(&self, opened: &Opened) -> Result<Contents, String> {
        let bytes = opened.heap.mem().len();
        let size = (0..SIZES.len()).find(|&size| bytes_of(size) == bytes);
        let mut contents = Contents { size: size.ok_or(format!("{bytes} bytes"))?, ..Contents::default() };
        for (key, value) in contents.keys.iter_mut().enumerate() {
            *value = Some(opened.get(key).map_err(text)?).filter(|&value| value != 0);
        }
        Ok(contents)
    }

    fn check(&self, opened: &Opened, _: &Contents) -> Result<(), String> {
        let mut free = 0;
        for shard in 0..SHARDS {
            let view = opened.heap.reader(shard);
            let keys = (0..KEYS_MAX).filter(|&key| shard_of(key) == shard);
            let blocks = keys.map(|key| (view.word(opened.slot(key)), block_bytes(key)));
            let mut owned: Vec<_> = blocks.filter(|&(at, _)| at != 0).collect();
            owned.push((opened.roots[shard as usize], ROOT_BYTES));
            let audit = abide_pmem::heap::audit(&view, owned);
            if let Some(problem) = audit.problems.first() {
                return Err(format!("shard {shard}: {problem}"));
            }
            free = audit.free;
        }
        // What was added can be allocated, to the last chunk.
        let found = opened.chunks_to_be_had();
        if found + RESERVE != free {
            return Err(format!("{found} chunks can be allocated, and {free} are free"));
        }
        // Nothing is written to what is not the heap's.
        let sim = &opened.heap.mem().sim;
        match (opened.heap.mem().len()..sim.len()).step_by(8).find(|&at| sim.load(at) != 0) {
            Some(at) => Err(format!("behind the heap, at {at:#x}, is {:#x}", sim.load(at))),
            None => Ok(()),
        }
    }

    fn limits(&self, threads: usize) -> Limits {
        if threads == 1 {
            Limits { exhaustive_max: 32, samples: 12 }
        } else {
            Limits { exhaustive_max: 4, samples: 4 }
        }
    }

    fn crash_recovery_one_in(&self, level: usize) -> u32 {
        // A run grows a few times only, so there have to be many.
        [200, 12][level.min(1)]
    }
}
