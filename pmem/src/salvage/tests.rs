//! What is not damaged is saved as it was, what is damaged is named, and any bytes are read without panic.

use super::*;
use crate::{
    Geometry, Region, Tx, View,
    types::{
        Bundle, Bytes, Directory, Kind, List, Map, Register, ShortBytes, SortedMap,
        commands::Commands,
        completions::{Arrival, CompletionError, Completions},
        visit_root,
    },
};
use std::{collections::BTreeMap, fs};

mod damage;
mod random;

const BYTES: u64 = 416 << 10;
const SHARDS: u32 = 3;

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Empty,
    Register(Vec<u8>),
    Bytes(Vec<u8>),
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
    List(Vec<Vec<u8>>),
    SortedMap(BTreeMap<Vec<u8>, Vec<u8>>),
    Directory(BTreeMap<Vec<u8>, Vec<Content>>),
}

/// All that a region has, by type number and name.
type Objects = BTreeMap<(u16, Vec<u8>), (u32, Content)>;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Everything {
    objects: Objects,
    /// A shard's clients, with sequence and result.
    completions: Vec<BTreeMap<u128, (u64, Vec<u8>)>>,
    /// A shard's commands, by position.
    commands: Vec<BTreeMap<u64, Vec<u8>>>,
}

fn options() -> RegionOptions {
    let geometry = Geometry { shards: SHARDS, ring_slot_bytes: 4096, ..Geometry::tiny() };
    RegionOptions { geometry, reserve: 64 << 20, ..RegionOptions::new(Persistence::ProcessCrash) }
}

fn salvage_options() -> SalvageOptions {
    SalvageOptions { superblock_of: None, region: options() }
}

fn content<V: View>(view: &V, root: u64) -> Content {
    let Some(kind) = Kind::from_number(view.word(root) & 0xffff) else { return Content::Empty };
    match kind {
        Kind::Register => {
            Content::Register(Register::<ShortBytes>::at(root).get(view).unwrap().as_slice().to_vec())
        }
        Kind::Bytes => Content::Bytes(Bytes::at(root).get(view).unwrap()),
        Kind::Map => {
            let mut entries = BTreeMap::new();
            let at_end = Map::at(root).page(view, None, |entry| {
                entries.insert(entry.key.clone(), entry.value.clone());
                Ok(true)
            });
            assert!(at_end.unwrap());
            assert_eq!(Map::at(root).len(view).unwrap(), entries.len() as u64);
            Content::Map(entries)
        }
        Kind::List => Content::List(List::at(root).page(view, 0, u64::MAX).unwrap()),
        Kind::SortedMap => {
            Content::SortedMap(SortedMap::at(root).range(view, ..).unwrap().map(Result::unwrap).collect())
        }
        Kind::Directory => {
            let page = Directory::at(root).page(view, None, usize::MAX).unwrap();
            assert!(page.is_last);
            let held = |bundle: Bundle| bundle.fields().map(|root| content(view, root)).collect();
            Content::Directory(page.entries.into_iter().map(|(name, bundle)| (name, held(bundle))).collect())
        }
        Kind::Bundle => panic!("no root is of this kind"),
    }
}

/// Reads all that a whole region has.
fn everything<M: Mem>(heap: &Heap<M>) -> Everything {
    let mut all = Everything::default();
    heap.index()
        .visit(&mut |node| {
            if !node.is_buried {
                let held = content(&heap.reader(node.entry.shard), node.entry.root);
                let entry = (node.entry.shard, held);
                assert!(all.objects.insert((node.entry.type_number, node.name), entry).is_none());
            }
        })
        .unwrap();
    for shard in 0..heap.shard_count() {
        let view = heap.reader(shard);
        let mut calls = BTreeMap::new();
        Completions::salvage::<_, ()>(&view, &mut |error| panic!("{error}"), |client, sequence, result| {
            calls.insert(client, (sequence, result.to_vec()));
            Ok(())
        })
        .unwrap();
        all.completions.push(calls);
        let mut commands = BTreeMap::new();
        let mut at = Commands::first(&view).unwrap();
        while let Some(command) = Commands::read(&view, at).unwrap() {
            commands.insert(at.0, command.bytes);
            at = command.next;
        }
        all.commands.push(commands);
    }
    all
}

/// A region with some of everything in each shard, and what it has.
struct Sample {
    folder: tempfile::TempDir,
    path: PathBuf,
    all: Everything,
    /// The file.
    bytes: Vec<u8>,
}

fn fill(region: &Region, shard: u32) {
    let heap = region.heap();
    let create = |name: &str| {
        let name = format!("{name} {shard}");
        heap.index().create(7 + shard as u16, name.as_bytes(), shard).unwrap().root
    };
    let (number, short, text, long) = (create("number"), create("short"), create("text"), create("long"));
    let (map, list, sorted) = (create("map"), create("list"), create("sorted"));
    create("empty");
    fill_directory(region, shard, create("objects"));
    heap.atomically(shard, |tx| Register::at(number).set(tx, 1u64 << 40 | u64::from(shard))).unwrap();
    let bytes = ShortBytes::new(b"thirteen of 16").unwrap();
    heap.atomically(shard, |tx| Register::at(short).set(tx, bytes)).unwrap();
    heap.atomically(shard, |tx| Bytes::at(text).set(tx, b"up to 40 bytes stand in the root")).unwrap();
    let content: Vec<u8> = (0..1500u32).map(|i| (i * 7 + shard) as u8).collect();
    heap.atomically(shard, |tx| Bytes::at(long).set(tx, &content)).unwrap();
    heap.atomically(shard, |tx| Bytes::at(long).set_range(tx, 300, &[shard as u8; 70])).unwrap();
    for i in 0..40u32 {
        let (key, value) = (format!("key {i}"), vec![i as u8; i as usize * 3]);
        heap.atomically(shard, |tx| Map::at(map).insert(tx, key.as_bytes(), &value)).unwrap();
        heap.atomically(shard, |tx| List::at(list).push_back(tx, &value[..i as usize % 30])).unwrap();
        heap.atomically(shard, |tx| SortedMap::at(sorted).insert(tx, key.as_bytes(), &value)).unwrap();
    }
    let emptied = create("emptied");
    heap.atomically(shard, |tx| List::at(emptied).push_back(tx, &[1])).unwrap();
    heap.atomically(shard, |tx| List::at(emptied).pop_back(tx)).unwrap();
    create("gone");
    let name = format!("gone {shard}");
    heap.index().remove(7 + shard as u16, name.as_bytes(), |_, _| Ok(())).unwrap();
    for (client, len) in [(1, 3), (2, 24), (3, 90)] {
        heap.atomically::<_, CompletionError>(shard, |tx| {
            let Arrival::New(pending) = Completions::arrive(tx, client, 5)? else { unreachable!("new") };
            Completions::complete(tx, pending, &vec![shard as u8; len])
        })
        .unwrap();
    }
    for i in 0..12u64 {
        // The ring has had more than it holds.
        let appended = heap.atomically(shard, |tx| Commands::append(tx, &[i as u8; 40]));
        if appended.is_err() {
            for _ in 0..3 {
                heap.atomically(shard, |tx| {
                    let second = Commands::read(tx, Commands::first(tx)?)?.expect("one").next;
                    Commands::trim(tx, second)
                })
                .unwrap();
            }
        }
    }
}

/// Nine names, each with a number, bytes, a list and a map.
fn fill_directory(region: &Region, shard: u32, root: u64) {
    let directory = Directory::at(root);
    for i in 0..9u8 {
        let run = |block: &mut dyn FnMut(&mut Tx<'_, Mapping>) -> Result<(), TypeError>| {
            region.heap().atomically(shard, |tx| block(tx)).unwrap();
        };
        let mut bundle = None;
        run(&mut |tx| {
            bundle = directory.create(tx, format!("object {i}").as_bytes(), 4)?;
            Ok(())
        });
        let bundle = bundle.expect("a new name");
        run(&mut |tx| Register::at(bundle.root(0)).set(tx, u64::from(i)));
        run(&mut |tx| Bytes::at(bundle.root(1)).set(tx, &[i; 100]));
        for element in 0..6 {
            run(&mut |tx| List::at(bundle.root(2)).push_back(tx, &[element; 20]));
            run(&mut |tx| Map::at(bundle.root(3)).insert(tx, &[i, element], &[element; 20]).map(drop));
        }
    }
}

fn sample(is_closed: bool) -> Sample {
    // Where a sync costs nothing, if there is such a place.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &options()).unwrap();
    (0..SHARDS).for_each(|shard| fill(&region, shard));
    let all = everything(region.heap());
    assert!(all.commands.iter().all(|commands| commands.len() > 3), "{:?}", all.commands);
    if is_closed {
        region.close().unwrap();
    } else {
        drop(region);
    }
    let bytes = fs::read(&path).unwrap();
    Sample { folder, path, all, bytes }
}

impl Sample {
    /// The region's heap as it is, to find where things stand.
    fn with_heap<R>(&self, look: impl FnOnce(&Heap<Mapping>) -> R) -> R {
        fs::write(&self.path, &self.bytes).unwrap();
        look(Region::open_read_only(&self.path, &options()).unwrap().heap())
    }

    fn root(&self, name: &str) -> u64 {
        self.with_heap(|heap| root_of(heap, name))
    }

    /// Blocks below the root of an object.
    fn blocks(&self, name: &str) -> Vec<u64> {
        self.with_heap(|heap| {
            let mut blocks = Vec::new();
            let root = root_of(heap, name);
            let shard = name[name.len() - 1..].parse().unwrap();
            visit_root(&heap.reader(shard), root, &mut |block| blocks.push(block.offset)).unwrap();
            blocks
        })
    }

    /// Salvages the file with these bytes. Gives the report, and all that the new region has.
    fn salvage(&self, bytes: &[u8]) -> (SalvageReport, Everything) {
        self.salvage_with(bytes, &salvage_options()).unwrap()
    }

    fn salvage_with(
        &self,
        bytes: &[u8],
        options: &SalvageOptions,
    ) -> Result<(SalvageReport, Everything), SalvageError> {
        fs::write(&self.path, bytes).unwrap();
        let out = self.folder.path().join("out");
        let salvaged = salvage_file(&self.path, &out, options);
        assert!(fs::read(&self.path).unwrap() == bytes, "salvaging has written");
        assert!(!self.folder.path().join("out.unfinished").exists());
        let report = match salvaged {
            Ok(report) => report,
            Err(error) => {
                assert!(!out.exists(), "{error}: and yet there is a region");
                return Err(error);
            }
        };
        assert_eq!(crate::check::check_file(&out, &self::options(), &[]).unwrap().findings, []);
        let region = Region::open(&out, &self::options()).unwrap();
        let all = everything(region.heap());
        drop(region);
        fs::remove_file(&out).unwrap();
        Ok((report, all))
    }

    /// Salvages after damage, and expects all but these objects as they were. Gives the report and what became of the others.
    #[track_caller]
    fn all_but(&self, names: &[&str], damage: impl FnOnce(&mut Vec<u8>)) -> (SalvageReport, Everything) {
        let mut bytes = self.bytes.clone();
        damage(&mut bytes);
        let (report, all) = self.salvage(&bytes);
        let is_named = |name: &[u8]| names.iter().any(|known| known.as_bytes() == name);
        for (key, expected) in &self.all.objects {
            if !is_named(&key.1) {
                let name = String::from_utf8_lossy(&key.1);
                assert_eq!(all.objects.get(key), Some(expected), "{name}: {:?}", report.findings);
            }
        }
        for object in &report.objects {
            assert_eq!(object.outcome == Outcome::Whole, !is_named(&object.name), "{object:?}");
        }
        (report, all)
    }
}

fn root_of(heap: &Heap<Mapping>, name: &str) -> u64 {
    let shard: u16 = name[name.len() - 1..].parse().unwrap();
    heap.index().get(7 + shard, name.as_bytes()).unwrap().unwrap().root
}

fn flip(bytes: &mut [u8], at: u64) {
    bytes[at as usize] ^= 0x10;
}

fn object<'r>(report: &'r SalvageReport, name: &str) -> &'r SavedObject {
    report.objects.iter().find(|object| object.name == name.as_bytes()).expect(name)
}

#[test]
fn all_of_a_region_without_damage_is_saved_whether_or_not_it_was_closed() {
    for is_closed in [false, true] {
        let sample = sample(is_closed);
        let (report, all) = sample.salvage(&sample.bytes);
        assert_eq!(report.findings, []);
        assert_eq!(all, sample.all);
        assert!(report.is_complete() && report.is_current, "{report:?}");
        assert_eq!(report.whole(), sample.all.objects.len() as u64);
        // Empty objects, lists and sorted maps, and directories with lists.
        assert_eq!(report.unverified(), 5 * u64::from(SHARDS));
        assert!(report.shards.iter().all(|shard| !shard.commands_moved && shard.is_current));
    }
}
