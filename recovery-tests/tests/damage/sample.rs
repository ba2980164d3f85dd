//! A region with a value of each type, in each form that a small region can have; and everything that can be read of one.

use abide_pmem::{
    Geometry, Heap, HeapError, Identity, Mem, Persistence, Region, RegionOptions, Tx, line_log,
    sim::Sim,
    types::{
        Bytes, Kind, List, Map, Persistent, Register, SortedMap, TypeError,
        commands::Commands,
        completions::{Arrival, Completions},
    },
};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    path::{Path, PathBuf},
};

pub(crate) const BYTES: u64 = 160 << 10;
pub(crate) const SHARDS: u32 = 2;
/// The sequence of each client's last call.
const SEQUENCE: u64 = 5;
/// A client whose result stands in its line, and one whose result has a block.
const CLIENTS: [u128; 2] = [7 << 64 | 1, 7 << 64 | 2];

/// The names that are there, their types and their shards.
pub(crate) const NAMES: [(&str, Kind, u32); 8] = [
    ("counter", Kind::Register, 0),
    ("short", Kind::Bytes, 0),
    ("block", Kind::Bytes, 0),
    ("long", Kind::Bytes, 0),
    ("ages", Kind::Map, 1),
    ("queue", Kind::List, 1),
    ("sorted", Kind::SortedMap, 1),
    ("scratch", Kind::Bytes, 0),
];

pub(crate) fn geometry() -> Geometry {
    Geometry { shards: SHARDS, ring_slot_bytes: 2048, ..Geometry::tiny() }
}

/// How a region is made and opened.
pub(crate) fn options(persistence: Persistence) -> RegionOptions {
    RegionOptions {
        geometry: geometry(),
        reserve: 64 << 20,
        // The log of these tests is on a tmpfs, which is quick to sync.
        force_file_system: true,
        log: line_log::Options::new(256 << 10, 64).expect("sizes of a log"),
        ..RegionOptions::new(persistence)
    }
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256 + 1) as u8).collect()
}

fn key(i: u32) -> [u8; 4] {
    i.to_be_bytes()
}

fn root<M: Mem>(heap: &Heap<M>, name: &str) -> u64 {
    let &(_, kind, shard) = NAMES.iter().find(|(known, ..)| *known == name).expect("a name of the sample");
    heap.index().create(kind as u16, name.as_bytes(), shard).expect("an index without damage").root
}

/// Puts the sample's values into an empty heap.
pub(crate) fn fill<M: Mem>(heap: &Heap<M>) {
    let run = |shard, block: &mut dyn FnMut(&mut Tx<'_, M>) -> Result<(), TypeError>| {
        heap.atomically(shard, |tx| block(tx)).expect("room for the sample");
    };
    let counter = Register::<i64>::at(root(heap, "counter"));
    run(0, &mut |tx| counter.set(tx, 41));
    run(0, &mut |tx| Bytes::at(root(heap, "short")).set(tx, b"inside of the root"));
    run(0, &mut |tx| Bytes::at(root(heap, "block")).set(tx, &pattern(200)));
    run(0, &mut |tx| Bytes::at(root(heap, "long")).set(tx, &pattern(1500)));
    let ages = Map::at(root(heap, "ages"));
    let queue = List::at(root(heap, "queue"));
    let sorted = SortedMap::at(root(heap, "sorted"));
    for i in 0..20 {
        run(1, &mut |tx| ages.insert(tx, &key(i), &pattern(i as usize)).map(drop));
        run(1, &mut |tx| queue.push_back(tx, &pattern(i as usize)));
        run(1, &mut |tx| sorted.insert(tx, &key(i * 3), &pattern(i as usize)).map(drop));
    }
    let gone = heap.index().create(Kind::Map as u16, b"gone", 1).expect("a name");
    for i in 0..8 {
        run(1, &mut |tx| Map::at(gone.root).insert(tx, &key(i), b"value").map(drop));
    }
    // Its name goes, and its nodes stand on the garbage list.
    heap.index().remove(Kind::Map as u16, b"gone", Map::discard).expect("a name that is there");
    for (client, result_bytes) in CLIENTS.into_iter().zip([10, 100]) {
        run(0, &mut |tx| {
            let Arrival::New(pending) = Completions::arrive(tx, client, SEQUENCE)? else {
                panic!("a new call")
            };
            counter.fetch_add(tx, 1)?;
            Completions::complete(tx, pending, &pattern(result_bytes))?;
            Ok(())
        });
    }
    run(1, &mut |tx| Ok(Commands::append(tx, b"push 1").map(drop)?));
    run(1, &mut |tx| Ok(Commands::append(tx, b"push 2, a longer one").map(drop)?));
    finish(heap);
}

/// The last batches. What the very last one of each shard changes is known: [`LAST`].
pub(crate) fn finish<M: Mem>(heap: &Heap<M>) {
    let counter = Register::<i64>::at(root(heap, "counter"));
    let scratch = Bytes::at(root(heap, "scratch"));
    let (ages, queue) = (Map::at(root(heap, "ages")), List::at(root(heap, "queue")));
    let run = |shard, block: &mut dyn FnMut(&mut Tx<'_, M>) -> Result<(), TypeError>| {
        heap.atomically(shard, |tx| block(tx)).expect("room for the last batches");
    };
    run(0, &mut |tx| counter.fetch_add(tx, 1).map(drop));
    run(0, &mut |tx| {
        let bytes = scratch.get(tx)?;
        scratch.set(tx, &[&bytes[..], b"last"].concat())
    });
    run(1, &mut |tx| queue.push_back(tx, b"last"));
    run(1, &mut |tx| {
        let next = 20 + u32::from(ages.contains_key(tx, &key(20))?);
        ages.insert(tx, &key(next), b"twenty").map(drop)
    });
}

/// The values that the last batch of each shard changes.
pub(crate) const LAST: [&str; SHARDS as usize] = ["scratch", "ages"];
/// And the values that the one before changes.
pub(crate) const BEFORE_LAST: [&str; SHARDS as usize] = ["counter", "queue"];

/// What was read: what it is called, and its text or that it gave an error.
pub(crate) type Contents = BTreeMap<String, Result<String, String>>;

fn note(contents: &mut Contents, item: impl Into<String>, read: Result<impl Debug, impl std::error::Error>) {
    let text = read.map(|read| format!("{read:?}")).map_err(|error| error.to_string());
    contents.insert(item.into(), text);
}

/// Reads everything, each value in every way.
pub(crate) fn read<M: Mem>(heap: &Heap<M>) -> Contents {
    let mut contents = Contents::new();
    let all = &mut contents;
    let index = heap.index();
    note(all, "names", names(heap));
    for (name, kind, shard) in NAMES {
        let found = index.get(kind as u16, name.as_bytes());
        let known = found.as_ref().map(|found| found.map(|entry| (entry.shard, entry.type_number)));
        note(all, format!("{name}: found"), known.map_err(|error| Text(error.to_string())));
        let Ok(Some(entry)) = found else { continue };
        if entry.shard != shard {
            continue;
        }
        let view = &heap.reader(shard);
        match kind {
            Kind::Register => note(all, format!("{name}: get"), Register::<i64>::at(entry.root).get(view)),
            Kind::Bytes => {
                note(all, format!("{name}: len"), Bytes::at(entry.root).len(view));
                note(all, format!("{name}: get"), Bytes::at(entry.root).get(view));
            }
            Kind::Map => read_map(all, name, view, Map::at(entry.root)),
            Kind::List => {
                let list = List::at(entry.root);
                note(all, format!("{name}: len"), list.len(view));
                note(all, format!("{name}: page"), list.page(view, 0, 1000));
                note(all, format!("{name}: back"), list.back(view));
                for i in 0..22 {
                    note(all, format!("{name}: get {i}"), list.get(view, i));
                }
            }
            Kind::SortedMap => {
                let map = SortedMap::at(entry.root);
                note(all, format!("{name}: len"), map.len(view));
                let range =
                    map.range(view, ..).and_then(|range| range.take(1000).collect::<Result<Vec<_>, _>>());
                note(all, format!("{name}: range"), range);
                for i in 0..21 {
                    note(all, format!("{name}: get {i}"), map.get(view, &key(i * 3)));
                    note(all, format!("{name}: nth {i}"), map.nth(view, i.into()));
                }
            }
            _ => unreachable!("the sample has no other type"),
        }
    }
    for shard in 0..SHARDS {
        let view = &heap.reader(shard);
        note(all, format!("clients {shard}"), Completions::clients(view));
        note(all, format!("commands {shard}"), commands(view));
    }
    for client in CLIENTS {
        let arrived =
            heap.atomically(0, |tx| Completions::arrive(tx, client, SEQUENCE).map_err(TypeError::from));
        note(all, format!("client {}", client as u64), arrived);
    }
    contents
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Text(String);

fn names<M: Mem>(heap: &Heap<M>) -> Result<Vec<String>, HeapError> {
    let mut names = Vec::new();
    heap.index().visit(&mut |node| {
        if !node.is_buried {
            names.push(String::from_utf8_lossy(&node.name).into_owned());
        }
    })?;
    names.sort();
    Ok(names)
}

fn read_map<M: Mem>(all: &mut Contents, name: &str, view: &abide_pmem::Reader<'_, M>, map: Map) {
    note(all, format!("{name}: len"), map.len(view));
    let mut entries = Vec::new();
    let page = map.page(view, None, |entry| {
        entries.push((entry.key.clone(), entry.value.clone()));
        Ok(entries.len() < 1000)
    });
    entries.sort();
    note(all, format!("{name}: page"), page.map(|_| entries));
    for i in 0..22 {
        note(all, format!("{name}: get {i}"), map.get(view, &key(i)));
    }
}

fn commands<M: Mem>(view: &abide_pmem::Reader<'_, M>) -> Result<Vec<Vec<u8>>, TypeError> {
    let mut commands = Vec::new();
    let mut at = Commands::first(view).map_err(TypeError::from)?;
    // No ring of these tests holds as many.
    while let Some(command) = Commands::read(view, at).map_err(TypeError::from)?
        && commands.len() < 1000
    {
        commands.push(command.bytes);
        at = command.next;
    }
    Ok(commands)
}

/// What [`write`] changes, by the beginnings of the items' names.
const WRITTEN: [&str; 4] = ["names", "counter", "queue", "commands"];

/// Changes a value of each shard, and the index.
pub(crate) fn write<M: Mem>(heap: &Heap<M>) -> Result<(), TypeError> {
    if let Ok(Some(entry)) = heap.index().get(Kind::Register as u16, b"counter")
        && entry.shard == 0
    {
        heap.atomically(0, |tx| Register::<i64>::at(entry.root).fetch_add(tx, 1))?;
    }
    if let Ok(Some(entry)) = heap.index().get(Kind::List as u16, b"queue")
        && entry.shard == 1
    {
        heap.atomically(1, |tx| List::at(entry.root).push_back(tx, &pattern(40)))?;
    }
    heap.atomically(1, |tx| Ok::<_, TypeError>(Commands::append(tx, b"push 3").map(drop)?))?;
    // Errors of the index are errors of the heap.
    if let Ok(entry) = heap.index().create(Kind::Bytes as u16, b"one more", 0) {
        heap.atomically(0, |tx| Bytes::at(entry.root).set(tx, &pattern(100)))?;
    }
    Ok(())
}

/// The items that are neither as they were nor an error.
pub(crate) fn wrong(expected: &Contents, found: &Contents, is_written: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (item, text) in expected {
        if is_written && WRITTEN.iter().any(|written| item.starts_with(written)) {
            continue;
        }
        match found.get(item) {
            // What is below a name that gave an error was not asked for.
            None | Some(Err(_)) => {}
            Some(Ok(found)) if Ok(found) == text.as_ref() => {}
            Some(Ok(_)) => wrong.push(item.clone()),
        }
    }
    wrong
}

/// A region's files as they lie on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) region: Vec<u8>,
    pub(crate) log: Option<Vec<u8>>,
}

impl Image {
    fn load(path: &Path) -> Self {
        let log = log_of(path);
        Self {
            region: std::fs::read(path).expect("the region's file"),
            log: log.exists().then(|| std::fs::read(log).expect("the log")),
        }
    }

    pub(crate) fn store(&self, path: &Path) {
        std::fs::write(path, &self.region).expect("the region's file can be written");
        let log = log_of(path);
        match &self.log {
            Some(bytes) => std::fs::write(log, bytes).expect("the log can be written"),
            None => drop(std::fs::remove_file(log)),
        }
    }
}

/// Where a region's log stands.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".log");
    name.into()
}

/// How a region was made and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Durable against the end of its process; closed in order.
    Closed,
    /// The same, left as a killed process does: its last batches are in their rings and in place.
    Dropped,
    /// That one was opened again, and left again after two batches: two more are those of the run before.
    DroppedTwice,
    /// What a power cut leaves at the worst: all that was not fenced is missing, and the last batches stand in their rings alone.
    Cut,
    /// The same, after the region had been closed in order once.
    ClosedAndCut,
    /// With a log beside it; closed in order.
    LogClosed,
    /// With a log beside it, left as a killed process does: what it acknowledged may be in the log alone.
    LogDropped,
}

pub(crate) const VARIANTS: [Variant; 7] = [
    Variant::Closed,
    Variant::Dropped,
    Variant::DroppedTwice,
    Variant::Cut,
    Variant::ClosedAndCut,
    Variant::LogClosed,
    Variant::LogDropped,
];

impl Variant {
    pub(crate) fn options(self) -> RegionOptions {
        options(match self {
            Self::LogClosed | Self::LogDropped => Persistence::PowerFail,
            _ => Persistence::ProcessCrash,
        })
    }

    /// Whether the last batches may stand in the rings alone.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, Self::Cut | Self::ClosedAndCut)
    }

    /// Makes the region in a folder, and gives what is left of it there.
    pub(crate) fn make(self, folder: &Path) -> Image {
        if self.is_cut() {
            return Image { region: cut(self == Self::ClosedAndCut), log: None };
        }
        let path = folder.join("sample");
        let region = Region::create(&path, BYTES, &self.options()).expect("a new region");
        fill(region.heap());
        match self {
            Self::Closed | Self::LogClosed => region.close().expect("a region without damage"),
            _ => drop(region),
        }
        if self == Self::DroppedTwice {
            finish(Region::open(&path, &self.options()).expect("a region without damage").heap());
        }
        Image::load(&path)
    }
}

fn cut(was_closed: bool) -> Vec<u8> {
    let sim = Sim::new(BYTES);
    let identity = Identity { uuid: *b"a damaged region", hash_key: [9; 16], created_s: 1_700_000_000 };
    Heap::format(&sim, identity, geometry()).expect("memory for the tables");
    Heap::<Sim>::finish_format(&sim).expect("memory that does not fail");
    let mut heap = Heap::open(sim, [0; 16]).expect("a new heap");
    fill(&heap);
    if was_closed {
        heap.mark_clean().expect("memory that does not fail");
        let durable = Sim::with_words(heap.mem().config(), heap.mem().durable_words());
        heap = Heap::open(durable, [0; 16]).expect("a heap that was closed");
        finish(&heap);
    }
    heap.mem().durable_words().iter().flat_map(|word| word.to_le_bytes()).collect()
}
