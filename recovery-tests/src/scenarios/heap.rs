//! The heap's failure-atomic blocks in one shard: the redo ring, the allocator, exactly-once and the command ring.
//!
//! Keys have a block each, with contents that never change (the value, over two lines), words that were put with it and
//! change later, and a counter. All but a few blocks of the region are taken when it is formatted, so blocks
//! that are freed are soon used again. Clients set, delete, swap and count, one by one or several in a batch; each call
//! is completed in the table with its result, and leaves a line in the command ring. Readers read one key, or two at one
//! instant.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{
    Geometry, Heap, HeapError, HeapOpenError, Identity, Mem, Tx, View,
    layout::{SUPERBLOCK_BYTES, SUPERBLOCK_COPY, Shutdown, State, Superblock},
    sim::Sim,
    types::{
        TypeError,
        commands::{CommandError, Commands},
        completions::{Arrival, Completions},
    },
};
use fastrand::Rng;
use std::sync::{Arc, OnceLock};

/// Keys.
const KEYS: usize = 3;
/// Bytes of a key's block: the largest class of the tiny geometry.
const BLOCK: u64 = 128;
/// Where in a block the contents are: value, and its complement a line later.
const VALUE: u64 = 8;
const COUNT: u64 = 0;
/// Words that were put with the block and change later.
const MUTABLE: u64 = 96;
const MUTABLE_WORDS: u64 = 3;
/// Blocks that are left for the keys.
const SPARE_BLOCKS: usize = 5;

/// The scenario.
#[derive(Debug, Clone, Copy)]
pub struct HeapBlocks;

/// What the keys hold: value and count of each. And the commands since the last trim.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Keys {
    slots: [Option<(u64, u64)>; KEYS],
    commands: Vec<u64>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Gives the value before, or 0.
    Set(usize, u64),
    /// Gives the value before, or 0.
    Delete(usize),
    /// Exchanges what two keys hold.
    Swap(usize, usize),
    /// Counts one up. Gives the count, or 0 if there is none.
    Count(usize),
    /// Forgets the commands.
    Trim,
    /// Gives the value, or 0, and the count.
    Get(usize),
    /// Both values, at one instant, in one number.
    GetBoth(usize, usize),
}

/// Keys and what is done to them.
#[derive(Debug)]
pub struct KeysModel;

/// One number of two small ones.
fn both(a: u64, b: u64) -> u64 {
    a << 32 | b
}

impl Model for KeysModel {
    type State = Keys;
    type Op = Op;
    type Result = u64;

    fn apply(state: &mut Keys, op: &Op) -> u64 {
        if !matches!(op, Op::Get(_) | Op::GetBoth(..) | Op::Trim) {
            if state.commands.len() >= COMMANDS_MAX {
                state.commands.clear();
            }
            state.commands.push(code(*op));
        }
        let value = |state: &Keys, key: usize| state.slots[key].map_or(0, |(value, _)| value);
        match *op {
            Op::Set(key, to) => {
                let before = value(state, key);
                state.slots[key] = Some((to, 0));
                before
            }
            Op::Delete(key) => {
                let before = value(state, key);
                state.slots[key] = None;
                before
            }
            Op::Swap(a, b) => {
                state.slots.swap(a, b);
                0
            }
            Op::Count(key) => match &mut state.slots[key] {
                None => 0,
                Some((_, count)) => {
                    *count += 1;
                    *count
                }
            },
            Op::Trim => {
                state.commands.clear();
                0
            }
            Op::Get(key) => state.slots[key].map_or(0, |(value, count)| both(value, count)),
            Op::GetBoth(a, b) => both(value(state, a), value(state, b)),
        }
    }
}

/// What an operation leaves in the command ring.
fn code(op: Op) -> u64 {
    let (kind, a, b) = match op {
        Op::Set(key, to) => (1, key as u64, to),
        Op::Delete(key) => (2, key as u64, 0),
        Op::Swap(a, b) => (3, a as u64, b as u64),
        Op::Count(key) => (4, key as u64, 0),
        Op::Trim | Op::Get(_) | Op::GetBoth(..) => unreachable!("leaves nothing"),
    };
    kind << 48 | a << 32 | b
}

/// The heap, opened.
#[derive(Debug)]
pub struct Opened {
    heap: Heap<Arc<Sim>>,
    /// The block with a word for each key, and one for the first ballast block.
    root: u64,
}

/// Word of the root with the first of the blocks that only take up room.
const BALLAST: u64 = 0;
/// Word of the root that says that formatting is done.
const FORMATTED: u64 = 56;

/// Commands that the ring holds before it is trimmed by whoever appends.
const COMMANDS_MAX: usize = 8;
/// Bytes of a command in the ring.
const COMMAND_BYTES: u64 = 16;

fn geometry() -> Geometry {
    // A client for each call of a batch of each thread.
    Geometry { completions: 12, ..Geometry::tiny() }
}

/// Formats a heap, with a root, and takes all but a few blocks. Gives the root.
fn format(sim: &Arc<Sim>) -> Result<u64, Box<dyn std::error::Error>> {
    let identity = Identity { uuid: [5; 16], hash_key: [6; 16], created_s: 0 };
    Heap::format(sim, identity, geometry())?;
    Heap::<Arc<Sim>>::finish_format(sim)?;
    let heap = Heap::open(Arc::clone(sim), [0; 16])?;
    let root = heap.atomically::<_, HeapError>(0, |tx| {
        let root = tx.allocate(64)?;
        tx.write_all(root, &[0; 8])?;
        Ok(root)
    })?;
    let mut ballast = Vec::new();
    while let Ok(block) = heap.atomically(0, |tx| tx.allocate(BLOCK)) {
        ballast.push(block);
    }
    for block in ballast.split_off(ballast.len() - SPARE_BLOCKS) {
        heap.atomically(0, |tx| tx.free(block))?;
    }
    for block in ballast {
        heap.atomically::<_, HeapError>(0, |tx| {
            tx.write(block, tx.word(root + BALLAST))?;
            tx.write(root + BALLAST, block)
        })?;
    }
    heap.atomically::<_, HeapError>(0, |tx| tx.write(root + FORMATTED, 1))?;
    heap.mark_clean()?;
    Ok(root)
}

/// Where the root is: formatting gives the same each time.
fn root() -> u64 {
    static ROOT: OnceLock<u64> = OnceLock::new();
    *ROOT.get_or_init(|| format(&Arc::new(Sim::new(HeapBlocks.region_bytes()))).expect("a good geometry"))
}

/// Whether a region says that it was opened once and closed in order, which is the end of formatting.
fn was_closed(sim: &Arc<Sim>) -> bool {
    let mut bytes = [0; SUPERBLOCK_BYTES];
    sim.read(SUPERBLOCK_COPY, &mut bytes);
    let state =
        Superblock::decode(&bytes).ok().and_then(|block| State::load(sim, block.checksum_seed()).ok());
    state.is_some_and(|state| state.shutdown == Shutdown::Clean && state.generation > 2)
}

fn slot(root: u64, key: usize) -> u64 {
    root + 8 + key as u64 * 8
}

/// Reads a block that a key holds. `None` if it is not whole.
fn read_block<V: View>(view: &V, at: u64) -> Result<(u64, u64), HeapError> {
    view.check(at, BLOCK)?;
    let (value, complement) = (view.content_word(at + VALUE), view.content_word(at + VALUE + 64));
    let count = view.word(at + COUNT);
    let mutable: Vec<u64> = (0..MUTABLE_WORDS).map(|i| view.word(at + MUTABLE + i * 8)).collect();
    let is_whole = complement == !value && mutable.iter().all(|&word| word == value.wrapping_add(count));
    if is_whole { Ok((value, count)) } else { Err(HeapError::Corrupt { offset: at }) }
}

fn change(tx: &mut Tx<'_, Arc<Sim>>, root: u64, op: Op) -> Result<u64, TypeError> {
    let result = match op {
        Op::Set(key, to) => {
            let old = tx.word(slot(root, key));
            let at = tx.allocate(BLOCK)?;
            let mut contents = [0; 64 + 8];
            contents[..8].copy_from_slice(&to.to_le_bytes());
            contents[64..].copy_from_slice(&(!to).to_le_bytes());
            tx.put(at + VALUE, &contents)?;
            let mutable: Vec<u8> = (0..MUTABLE_WORDS).flat_map(|_| to.to_le_bytes()).collect();
            tx.put_mutable(at + MUTABLE, &mutable)?;
            tx.write(at + COUNT, 0)?;
            tx.write(slot(root, key), at)?;
            free_block(tx, old)?
        }
        Op::Delete(key) => {
            let old = tx.word(slot(root, key));
            tx.write(slot(root, key), 0)?;
            free_block(tx, old)?
        }
        Op::Swap(a, b) => {
            let (at_a, at_b) = (tx.word(slot(root, a)), tx.word(slot(root, b)));
            tx.write(slot(root, a), at_b)?;
            tx.write(slot(root, b), at_a)?;
            0
        }
        Op::Count(key) => match tx.word(slot(root, key)) {
            0 => 0,
            at => {
                let (value, count) = read_block(tx, at)?;
                tx.write(at + COUNT, count + 1)?;
                for i in 0..MUTABLE_WORDS {
                    tx.write(at + MUTABLE + i * 8, value.wrapping_add(count + 1))?;
                }
                count + 1
            }
        },
        Op::Trim => {
            let end = Commands::end(tx)?;
            Commands::trim(tx, end)?;
            return Ok(0);
        }
        Op::Get(_) | Op::GetBoth(..) => unreachable!("readers do it"),
    };
    let (first, end) = (Commands::first(tx)?, Commands::end(tx)?);
    if (end.0 - first.0) / COMMAND_BYTES >= COMMANDS_MAX as u64 {
        Commands::trim(tx, end)?;
    }
    Commands::append(tx, &code(op).to_le_bytes())?;
    Ok(result)
}

fn free_block(tx: &mut Tx<'_, Arc<Sim>>, at: u64) -> Result<u64, TypeError> {
    if at == 0 {
        return Ok(0);
    }
    let (value, _) = read_block(tx, at)?;
    tx.free(at)?;
    Ok(value)
}

/// Whether the call only has to wait for space to come back.
fn is_full(error: &TypeError) -> bool {
    matches!(error, TypeError::Heap(HeapError::NoSpace) | TypeError::Command(CommandError::RingFull { .. }))
}

impl Opened {
    fn call(
        &self,
        writer: &mut abide_pmem::Writer<'_, Arc<Sim>>,
        call: &Call<KeysModel>,
    ) -> Result<u64, TypeError> {
        let client = u128::from(call.client) + 1;
        let root = self.root;
        let once = |tx: &mut Tx<'_, Arc<Sim>>| match Completions::arrive(tx, client, call.sequence)? {
            Arrival::Done(result) => {
                Ok(u64::from_le_bytes(result.try_into().expect("a result of eight bytes")))
            }
            Arrival::New(pending) => {
                let result = change(tx, root, call.op)?;
                Completions::complete(tx, pending, &result.to_le_bytes())?;
                Ok(result)
            }
        };
        let mut attempts = 0;
        loop {
            match writer.run(once) {
                // Space comes back with batches, and when readers are gone.
                Err(error) if is_full(&error) && attempts < 200 => {
                    attempts += 1;
                    writer.reclaim()?;
                    self.heap.mem().pause();
                }
                other => return other,
            }
        }
    }

    fn get(&self, op: Op) -> Result<u64, TypeError> {
        let reader = self.heap.reader(0);
        let value =
            |view: &abide_pmem::Reader<'_, Arc<Sim>>, key: usize| match view.word(slot(self.root, key)) {
                0 => Ok((0, 0)),
                at => read_block(view, at),
            };
        Ok(match op {
            Op::Get(key) => {
                let (value, count) = reader.snapshot(|view| value(view, key))?;
                both(value, count)
            }
            Op::GetBoth(a, b) => {
                let (a, b) = reader.snapshot(|view| (value(view, a), value(view, b)));
                both(a?.0, b?.0)
            }
            _ => unreachable!("the writer does it"),
        })
    }

    fn commands(&self) -> Result<Vec<u64>, TypeError> {
        let reader = self.heap.reader(0);
        let (mut at, mut commands) = (Commands::first(&reader)?, Vec::new());
        while let Some(command) = Commands::read(&reader, at)? {
            let bytes = command.bytes.try_into().map_err(|_| HeapError::Corrupt { offset: at.0 })?;
            commands.push(u64::from_le_bytes(bytes));
            at = command.next;
        }
        Ok(commands)
    }
}

impl Scenario for HeapBlocks {
    type Model = KeysModel;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "heap"
    }

    fn region_bytes(&self) -> u64 {
        geometry().layout().expect("a good geometry").bytes_min()
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        root();
        format(sim).map(drop).map_err(|error| error.to_string())
    }

    fn empty(&self) -> Keys {
        Keys::default()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let closed = was_closed(sim);
        let heap = Heap::open(Arc::clone(sim), [0; 16]).map_err(|error| match error {
            HeapOpenError::Superblock(abide_pmem::layout::SuperblockError::NotARegion) => {
                Refused::NotFormatted
            }
            other => Refused::Other(other.to_string()),
        })?;
        let opened = Opened { heap, root: root() };
        if closed && opened.heap.reader(0).word(opened.root + FORMATTED) == 0 {
            return Err(Refused::Other("it was closed in order, but its last block is not there".into()));
        }
        Ok(opened)
    }

    fn recovery_loads_max(&self) -> u64 {
        // Superblock, state, watermarks, four headers and two slots of the ring twice over, and contents.
        2500
    }

    fn crash_recovery_one_in(&self, level: usize) -> u32 {
        if level == 0 { 48 } else { 12 }
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        if rng.u8(..4) == 0 { rng.usize(2..4) } else { 1 }
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op)>> {
        let client = |at: usize| (thread * 4 + at) as u32;
        let reads_only = thread > 0 && rng.bool();
        let op = |rng: &mut Rng| {
            let key = rng.usize(..KEYS);
            match rng.u8(..16) {
                0..6 => Op::Set(key, rng.u64(1..100)),
                6..8 => Op::Delete(key),
                8..10 => Op::Swap(key, (key + 1) % KEYS),
                10..14 => Op::Count(key),
                14 => Op::Trim,
                _ => Op::Get(key),
            }
        };
        let groups = 1 << rng.u32(..5);
        (0..groups)
            .map(|_| {
                if reads_only || rng.u8(..8) == 0 {
                    let key = rng.usize(..KEYS);
                    let read = if rng.bool() { Op::Get(key) } else { Op::GetBoth(key, (key + 1) % KEYS) };
                    return vec![(client(0), read)];
                }
                let len = if rng.bool() { 1 } else { rng.usize(1..4) };
                let mut group: Vec<_> = (0..len).map(|at| (client(at), op(rng))).collect();
                if let [(_, first), (_, second), ..] = &mut group[..]
                    && rng.bool()
                {
                    // Words of a block that the same batch frees.
                    let key = rng.usize(..KEYS);
                    (*first, *second) = (Op::Count(key), Op::Set(key, rng.u64(1..100)));
                }
                if group.iter().any(|(_, op)| matches!(op, Op::Get(_))) {
                    group.truncate(1);
                }
                group
            })
            .filter(|group| {
                group.len() == 1 || !group.iter().any(|(_, op)| matches!(op, Op::Get(_) | Op::GetBoth(..)))
            })
            .collect()
    }

    fn check(&self, instance: &Opened, _: &Keys) -> Result<(), String> {
        let reader = instance.heap.reader(0);
        let mut owned = vec![(instance.root, 64)];
        owned.extend(
            (0..KEYS).map(|key| (reader.word(slot(instance.root, key)), BLOCK)).filter(|&(at, _)| at != 0),
        );
        let mut ballast = reader.word(instance.root + BALLAST);
        while ballast != 0 && owned.len() < 64 {
            owned.push((ballast, BLOCK));
            ballast = reader.word(ballast);
        }
        Completions::visit(&reader, &mut |block| owned.push((block.offset, block.bytes)))
            .map_err(|error| error.to_string())?;
        if reader.word(instance.root + FORMATTED) == 0 {
            return Ok(()); // It was cut.
        }
        match abide_pmem::heap::audit(&reader, owned).problems.first() {
            None => Ok(()),
            Some(problem) => Err(problem.to_string()),
        }
    }

    fn perform(
        &self,
        instance: &Opened,
        calls: &[Call<KeysModel>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        if let [Call { op: op @ (Op::Get(_) | Op::GetBoth(..)), .. }] = calls {
            respond(0, instance.get(*op).map_err(|error| error.to_string())?);
            return Ok(());
        }
        let mut writer = instance.heap.writer(0);
        let results: Result<Vec<u64>, TypeError> =
            calls.iter().map(|call| instance.call(&mut writer, call)).collect();
        let results = results.map_err(|error| error.to_string())?;
        writer.commit().map_err(|error| error.to_string())?;
        results.into_iter().enumerate().for_each(|(at, result)| respond(at, result));
        Ok(())
    }

    fn repeat(&self, instance: &Opened, call: &Call<KeysModel>) -> Result<Option<u64>, String> {
        if matches!(call.op, Op::Get(_) | Op::GetBoth(..)) {
            return Ok(None);
        }
        let mut writer = instance.heap.writer(0);
        let result = instance.call(&mut writer, call).map_err(|error| error.to_string())?;
        writer.commit().map_err(|error| error.to_string())?;
        Ok(Some(result))
    }

    fn read(&self, instance: &Opened) -> Result<Keys, String> {
        let reader = instance.heap.reader(0);
        let mut keys = Keys::default();
        for key in 0..KEYS {
            let at = reader.word(slot(instance.root, key));
            if at != 0 {
                keys.slots[key] = Some(read_block(&reader, at).map_err(|error| error.to_string())?);
            }
        }
        keys.commands = instance.commands().map_err(|error| error.to_string())?;
        Ok(keys)
    }
}
