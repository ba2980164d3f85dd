//! Golden files: regions and a log of format 1.0, byte by byte.
//!
//! tests/golden holds what this format's first version wrote. Every later version must open these files and find every
//! value; and as long as the format is 1.0, doing the same again must give the same bytes, so nobody changes the
//! format without noticing. A new format gets files of its own beside these.
//!
//! The files are text: the length, and then each line of 64 bytes that is not zero, its offset first.
//! `cargo test -p abide-pmem --test golden -- --ignored` writes them anew.

use abide_pmem::{
    Geometry, Heap, HeapError, Identity, Mem, Persistence, Region, RegionOptions,
    check::check_memory,
    line_log::{FileStorage, LineLog, LogKey, Options, Replay},
    sim::{Sim, SimConfig, as_thread},
    types::{
        Bytes, Directory, Kind, List, Map, Persistent as _, Register, SortedMap, TypeError,
        commands::Commands,
        completions::{Arrival, Completions},
        garbage,
    },
};
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

const REGION_BYTES: u64 = 160 << 10;
const IDENTITY: Identity =
    Identity { uuid: *b"golden region 1.", hash_key: *b"golden hash key.", created_s: 1_700_000_000 };
/// The names, and the shards that they are in.
const COUNTER: (&[u8], u32) = (b"counter", 0);
const SHORT: (&[u8], u32) = (b"short", 0);
const BLOCK: (&[u8], u32) = (b"block", 0);
const LONG: (&[u8], u32) = (b"long", 0);
const AGES: (&[u8], u32) = (b"ages", 1);
const QUEUE: (&[u8], u32) = (b"queue", 1);
const SORTED: (&[u8], u32) = (b"sorted", 1);
const GONE: (&[u8], u32) = (b"gone", 1);
/// A client whose result stands in its line, and one whose result has a block.
const CLIENTS: [u128; 2] = [7 << 64 | 1, 7 << 64 | 2];

fn geometry() -> Geometry {
    Geometry { shards: 2, ring_slot_bytes: 2048, ..Geometry::tiny() }
}

fn root<M: Mem>(heap: &Heap<M>, kind: Kind, (name, shard): (&[u8], u32)) -> u64 {
    let entry = heap.index().create(kind as u16, name, shard).unwrap();
    assert_eq!(entry.shard, shard);
    entry.root
}

fn existing<M: Mem>(heap: &Heap<M>, kind: Kind, (name, shard): (&[u8], u32)) -> u64 {
    let entry = heap.index().get(kind as u16, name).unwrap().expect("a name of the golden region");
    assert_eq!((entry.shard, entry.type_number), (shard, kind as u16));
    entry.root
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 256) as u8).collect()
}

fn key(i: u32) -> [u8; 4] {
    i.to_be_bytes()
}

/// Makes a region with a value of each type, in each of its forms that a small region can have. What is durable then is what
/// a power cut leaves at the worst: the last batch of each shard stands in its ring alone.
fn make() -> Heap<Sim> {
    let sim = Sim::new(REGION_BYTES);
    Heap::format(&sim, IDENTITY, geometry()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    let heap = Heap::open(sim, [0; 16]).unwrap();
    let run = |shard, block: &mut dyn FnMut(&mut abide_pmem::Tx<'_, Sim>) -> Result<(), TypeError>| {
        heap.atomically(shard, |tx| block(tx)).unwrap();
    };
    let counter = Register::<i64>::at(root(&heap, Kind::Register, COUNTER));
    let short = Bytes::at(root(&heap, Kind::Bytes, SHORT));
    let block = Bytes::at(root(&heap, Kind::Bytes, BLOCK));
    let long = Bytes::at(root(&heap, Kind::Bytes, LONG));
    run(0, &mut |tx| counter.set(tx, 41));
    run(0, &mut |tx| short.set(tx, b"inside of the root"));
    run(0, &mut |tx| block.set(tx, &pattern(200)));
    run(0, &mut |tx| long.set(tx, &pattern(1500)));
    let ages = Map::at(root(&heap, Kind::Map, AGES));
    let queue = List::at(root(&heap, Kind::List, QUEUE));
    let sorted = SortedMap::at(root(&heap, Kind::SortedMap, SORTED));
    for i in 0..20 {
        run(1, &mut |tx| ages.insert(tx, &key(i), &pattern(i as usize)).map(drop));
        run(1, &mut |tx| queue.push_back(tx, &pattern(i as usize)));
        run(1, &mut |tx| sorted.insert(tx, &key(i * 3), &pattern(i as usize)).map(drop));
    }
    let gone = Map::at(root(&heap, Kind::Map, GONE));
    for i in 0..8 {
        run(1, &mut |tx| gone.insert(tx, &key(i), b"value").map(drop));
    }
    // Its name goes, and its nodes stand on the garbage list.
    heap.index().remove(Kind::Map as u16, GONE.0, Map::discard).unwrap();
    for (client, result_bytes) in CLIENTS.into_iter().zip([10, 100]) {
        run(0, &mut |tx| {
            let Arrival::New(pending) = Completions::arrive(tx, client, 5)? else { panic!("a new call") };
            counter.fetch_add(tx, 1)?;
            Completions::complete(tx, pending, &pattern(result_bytes))?;
            Ok(())
        });
    }
    run(1, &mut |tx| Ok(Commands::append(tx, b"push 1").map(drop)?));
    run(1, &mut |tx| {
        Commands::append(tx, b"push 2, a longer one")?;
        queue.push_back(tx, b"last")
    });
    // The last batches, each by a thread of its own, so that no later fence makes them durable in place. One of them has two
    // records, with new contents.
    let count = || as_thread(1, || heap.atomically(0, |tx| counter.fetch_add(tx, 1))).unwrap();
    std::thread::scope(|scope| scope.spawn(count).join()).unwrap();
    let mut writer = heap.writer(1);
    writer.run::<_, TypeError>(|tx| queue.push_back(tx, &pattern(40))).unwrap();
    writer.run::<_, TypeError>(|tx| ages.insert(tx, &key(20), b"twenty")).unwrap();
    writer.commit().unwrap();
    drop(writer);
    heap
}

/// Checks every value of [`make`], and that the heap takes writes.
fn check<M: Mem>(heap: &Heap<M>) {
    assert_eq!(heap.superblock().identity, IDENTITY);
    assert_eq!(*heap.layout().geometry(), geometry());
    assert_eq!(heap.index().len(), 7);
    assert_eq!(heap.index().get(Kind::Map as u16, GONE.0).unwrap(), None);
    let reader = heap.reader(0);
    let counter = Register::<i64>::at(existing(heap, Kind::Register, COUNTER));
    assert_eq!(counter.get(&reader).unwrap(), 44);
    for (name, bytes) in
        [(SHORT, b"inside of the root".to_vec()), (BLOCK, pattern(200)), (LONG, pattern(1500))]
    {
        assert_eq!(Bytes::at(existing(heap, Kind::Bytes, name)).get(&reader).unwrap(), bytes);
    }
    let reader = heap.reader(1);
    let ages = Map::at(existing(heap, Kind::Map, AGES));
    let queue = List::at(existing(heap, Kind::List, QUEUE));
    let sorted = SortedMap::at(existing(heap, Kind::SortedMap, SORTED));
    assert_eq!((ages.len(&reader).unwrap(), queue.len(&reader).unwrap()), (21, 22));
    assert_eq!(ages.get(&reader, &key(20)).unwrap().as_deref(), Some(&b"twenty"[..]));
    assert_eq!(sorted.len(&reader).unwrap(), 20);
    for i in 0..20 {
        let value = Some(pattern(i as usize));
        assert_eq!(ages.get(&reader, &key(i)).unwrap(), value);
        assert_eq!(queue.get(&reader, i.into()).unwrap(), value);
        assert_eq!(sorted.get(&reader, &key(i * 3)).unwrap(), value);
        assert_eq!(sorted.nth(&reader, i.into()).unwrap(), Some((key(i * 3).to_vec(), pattern(i as usize))));
    }
    assert_eq!(queue.get(&reader, 20).unwrap().as_deref(), Some(&b"last"[..]));
    assert_eq!(queue.back(&reader).unwrap(), Some(pattern(40)));
    let first = Commands::first(&reader).unwrap();
    let command = Commands::read(&reader, first).unwrap().unwrap();
    assert_eq!(command.bytes, b"push 1");
    let command = Commands::read(&reader, command.next).unwrap().unwrap();
    assert_eq!(command.bytes, b"push 2, a longer one");
    assert_eq!(Commands::end(&reader).unwrap(), command.next);
    assert!(garbage::is_pending(&reader));
    drop(reader);
    for (client, result_bytes) in CLIENTS.into_iter().zip([10, 100]) {
        heap.atomically::<(), TypeError>(0, |tx| {
            assert_eq!(Completions::arrive(tx, client, 5)?, Arrival::Done(pattern(result_bytes)));
            Ok(())
        })
        .unwrap();
    }
    // It can be written too.
    for _ in 0..100 {
        if !heap.atomically(1, |tx| garbage::collect(tx, 4)).unwrap() {
            break;
        }
    }
    assert!(!garbage::is_pending(&heap.reader(1)));
    heap.atomically(0, |tx| counter.fetch_add(tx, 1)).unwrap();
    assert_eq!(heap.atomically::<_, TypeError>(0, |tx| counter.get(tx)).unwrap(), 45);
    heap.atomically::<_, HeapError>(1, |tx| tx.allocate(64)).unwrap();
    root(heap, Kind::List, (b"one more", 0));
}

/// The directory, and how many names it has.
const OBJECTS: (&[u8], u32) = (b"objects", 1);
const NAMES: u32 = 12;

fn name(i: u32) -> String {
    format!("object {i}")
}

/// Makes a region with a directory of bundles with values of several types. One bundle stands on the garbage list.
fn make_directory() -> Heap<Sim> {
    let sim = Sim::new(REGION_BYTES);
    Heap::format(&sim, IDENTITY, geometry()).unwrap();
    Heap::<Sim>::finish_format(&sim).unwrap();
    let heap = Heap::open(sim, [0; 16]).unwrap();
    let directory = Directory::at(root(&heap, Kind::Directory, OBJECTS));
    for i in 0..NAMES {
        let fields = 1 + i % 3;
        let create = |tx: &mut abide_pmem::Tx<'_, Sim>| {
            let bundle = directory.create(tx, name(i).as_bytes(), fields)?.expect("a new name");
            Register::<u64>::at(bundle.root(0)).set(tx, i.into())?;
            Ok::<_, TypeError>(bundle)
        };
        let bundle = heap.atomically(1, create).unwrap();
        if fields > 1 {
            heap.atomically(1, |tx| Bytes::at(bundle.root(1)).set(tx, &pattern(i as usize * 20))).unwrap();
        }
        if fields > 2 {
            for element in 0..6 {
                heap.atomically(1, |tx| List::at(bundle.root(2)).push_back(tx, &pattern(element))).unwrap();
            }
        }
    }
    // One that goes at once, and one whose values take more words than a record of so small a region has for them.
    for i in [0, 11] {
        assert!(heap.atomically(1, |tx| directory.remove(tx, name(i).as_bytes())).unwrap());
    }
    heap
}

/// Checks every value of [`make_directory`], and that the directory takes writes.
fn check_directory<M: Mem>(heap: &Heap<M>) {
    let directory = Directory::at(existing(heap, Kind::Directory, OBJECTS));
    let reader = heap.reader(1);
    assert_eq!(directory.len(&reader).unwrap(), u64::from(NAMES) - 2);
    assert!(directory.find(&reader, name(0).as_bytes()).unwrap().is_none());
    for i in 1..NAMES - 1 {
        let bundle = directory.find(&reader, name(i).as_bytes()).unwrap().expect("a name");
        assert_eq!(bundle.count(), 1 + i % 3);
        assert_eq!(Register::<u64>::at(bundle.root(0)).get(&reader).unwrap(), u64::from(i));
        if i % 3 > 0 {
            assert_eq!(Bytes::at(bundle.root(1)).get(&reader).unwrap(), pattern(i as usize * 20));
        }
        if i % 3 > 1 {
            let elements: Vec<_> = (0..6).map(pattern).collect();
            assert_eq!(List::at(bundle.root(2)).page(&reader, 0, 9).unwrap(), elements);
        }
    }
    assert!(garbage::is_pending(&reader));
    drop(reader);
    while heap.atomically(1, |tx| garbage::collect(tx, 4)).unwrap() {}
    assert!(heap.atomically(1, |tx| directory.create(tx, name(0).as_bytes(), 64)).unwrap().is_some());
    assert!(heap.atomically(1, |tx| directory.remove(tx, name(1).as_bytes())).unwrap());
}

fn words_of(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What a power cut at the worst moment leaves, and what closing in order does. Directories came later than all else.
fn images() -> [(&'static str, Vec<u8>); 3] {
    let heap = make();
    let open = bytes_of(&heap.mem().durable_words());
    heap.mark_clean().unwrap();
    let directory = bytes_of(&make_directory().mem().durable_words());
    [
        ("region-1.0-open", open),
        ("region-1.0-clean", bytes_of(&heap.mem().durable_words())),
        ("region-1.0-directory", directory),
    ]
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"))
}

fn to_text(bytes: &[u8]) -> String {
    let mut text = format!("bytes {}\n", bytes.len());
    for (i, line) in bytes.chunks(64).enumerate().filter(|(_, line)| line.iter().any(|&byte| byte != 0)) {
        write!(text, "{:06x} ", i * 64).unwrap();
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn golden(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(path(name)).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    let mut bytes = vec![0; head.strip_prefix("bytes ").unwrap().parse().unwrap()];
    for line in lines.lines() {
        let (offset, hex) = line.split_once(' ').unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for i in 0..hex.len() / 2 {
            bytes[offset + i] = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        }
    }
    bytes
}

/// Tells where bytes differ, which is of more use than all of them.
#[track_caller]
fn assert_same(name: &str, made: &[u8], golden: &[u8]) {
    assert_eq!(made.len(), golden.len(), "{name}: another length");
    let differ = made.chunks(8).zip(golden.chunks(8)).position(|(made, golden)| made != golden);
    assert_eq!(
        differ.map(|word| format!("{:#x}", word * 8)),
        None,
        "{name}: other bytes, first at this offset"
    );
}

const LOG_KEY: LogKey = LogKey { region: IDENTITY.uuid, log: *b"golden log 1.0.." };

fn log_line(line: u64) -> [u64; 8] {
    std::array::from_fn(|word| line << 8 | word as u64)
}

/// Makes a log in a folder: a line that is in the region's file already, so that nothing of the head is zero; then three
/// lines in one commit, and a newer image of one of them in another.
fn make_log(folder: &Path) -> Vec<u8> {
    let (log, region) = (folder.join("region.log"), folder.join("region"));
    std::fs::write(&region, vec![0; 64 << 10]).unwrap();
    let options = Options::new(16 << 10, 8).unwrap();
    let storage = FileStorage::create_log(&log, &LOG_KEY, &options).unwrap();
    let open = |storage| LineLog::open(storage, FileStorage::open(&region).unwrap(), LOG_KEY).unwrap().0;
    let line_log = open(storage);
    line_log.append(0x2000, 1, |_| log_line(1));
    line_log.checkpoint().unwrap();
    drop(line_log);
    let line_log = open(FileStorage::open(&log).unwrap());
    line_log.append(0x1000, 3, |offset| log_line(offset / 64));
    line_log.commit_all().unwrap();
    line_log.append(0x1040, 1, |_| log_line(999));
    line_log.commit_all().unwrap();
    std::fs::read(log).unwrap()
}

#[test]
fn a_region_of_format_1_0_is_opened_after_a_power_cut_and_after_a_close() {
    for name in ["region-1.0-open", "region-1.0-clean"] {
        let memory = || Sim::with_words(&SimConfig::default(), words_of(&golden(name)));
        let report = check_memory(memory(), &[]);
        assert!(report.is_clean() && report.unattributed == 0, "{name}: {report:#?}");
        check(&Heap::open(memory(), [0; 16]).unwrap());
    }
}

#[test]
fn a_directory_of_format_1_0_is_read_after_a_power_cut() {
    let memory = || Sim::with_words(&SimConfig::default(), words_of(&golden("region-1.0-directory")));
    let report = check_memory(memory(), &[]);
    assert!(report.is_clean() && report.unattributed == 0, "{report:#?}");
    check_directory(&Heap::open(memory(), [0; 16]).unwrap());
}

#[test]
fn a_file_of_format_1_0_is_a_region() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["region-1.0-open", "region-1.0-clean"] {
        let path = folder.path().join(name);
        std::fs::write(&path, golden(name)).unwrap();
        let region = Region::open(&path, &RegionOptions::new(Persistence::ProcessCrash)).unwrap();
        check(region.heap());
        region.close().unwrap();
    }
}

#[test]
fn format_1_0_is_written_as_it_always_was() {
    for (name, made) in images() {
        assert_same(name, &made, &golden(name));
    }
}

#[test]
fn a_log_of_format_1_is_read_and_written_as_it_always_was() {
    let folder = tempfile::tempdir().unwrap();
    assert_same("log-1", &make_log(folder.path()), &golden("log-1"));
    let log = folder.path().join("golden.log");
    std::fs::write(&log, golden("log-1")).unwrap();
    let replay = Replay::read(&FileStorage::open(&log).unwrap(), 64 << 10, &LOG_KEY).unwrap();
    let expected = [(0x1000, 64), (0x1040, 999), (0x1080, 66)]
        .map(|(offset, line)| (offset, <[u8; 64]>::try_from(bytes_of(&log_line(line))).unwrap()));
    assert_eq!(replay.newest_lines(), expected);
}

#[test]
#[ignore = "writes the golden files anew"]
fn write_golden_files() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in images().into_iter().chain([("log-1", make_log(folder.path()))]) {
        std::fs::write(path(name), to_text(&bytes)).unwrap();
    }
}
