//! Each kind of damage: what is not hit is as it was, and what is hit is named.

use super::*;
use crate::{
    layout::{SUPERBLOCK, SUPERBLOCK_BYTES, SUPERBLOCK_COPY, TABLES},
    mem::{LINE, WORD},
    region::OpenError,
};
use std::os::unix::fs::PermissionsExt;

fn kinds(report: &SalvageReport) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}

/// The outcome of the only object that is not whole.
#[track_caller]
fn outcome(report: &SalvageReport, name: &str) -> Outcome {
    assert_eq!((report.lost() + report.partial(), report.is_complete()), (1, false));
    let object = object(report, name);
    assert!(object.damage_count > 0 && !object.damage.is_empty());
    object.outcome
}

fn held<'a>(all: &'a Everything, name: &str) -> Option<&'a Content> {
    all.objects.iter().find(|(key, _)| key.1 == name.as_bytes()).map(|(_, (_, content))| content)
}

#[test]
fn one_superblock_is_enough() {
    let sample = sample(true);
    for at in [SUPERBLOCK, SUPERBLOCK_COPY] {
        let (report, all) = sample.all_but(&[], |bytes| bytes[at as usize..][..SUPERBLOCK_BYTES].fill(0));
        assert_eq!(kinds(&report), [FindingKind::Superblock]);
        assert_eq!(all, sample.all);
        assert!(report.is_complete() && report.is_current);
    }
}

#[test]
fn without_both_superblocks_an_earlier_copy_lends_its_own() {
    let sample = sample(true);
    let mut bytes = sample.bytes.clone();
    flip(&mut bytes, SUPERBLOCK + 40);
    flip(&mut bytes, SUPERBLOCK_COPY + 40);
    let refused = sample.salvage_with(&bytes, &salvage_options()).unwrap_err();
    assert!(matches!(refused, SalvageError::NoSuperblock(_)), "{refused:?}");
    let copy = sample.folder.path().join("copy");
    fs::write(&copy, &sample.bytes).unwrap();
    let options = SalvageOptions { superblock_of: Some(copy.clone()), ..salvage_options() };
    let (report, all) = sample.salvage_with(&bytes, &options).unwrap();
    assert_eq!(all, sample.all);
    assert!(report.is_complete() && report.findings.len() == 2, "{:?}", report.findings);
    // Another region's does not fit.
    fs::write(&copy, &super::sample(true).bytes).unwrap();
    let (report, all) = sample.salvage_with(&bytes, &options).unwrap();
    assert!(all.objects.is_empty() && !report.is_complete());
    // What a later version wrote is not damage.
    let mut bytes = sample.bytes.clone();
    for at in [SUPERBLOCK as usize, SUPERBLOCK_COPY as usize] {
        bytes[at + 8] = 9;
        let crc = crc32c::crc32c(&bytes[at..at + 160]);
        bytes[at + 160..at + 164].copy_from_slice(&crc.to_le_bytes());
    }
    let refused = sample.salvage_with(&bytes, &salvage_options()).unwrap_err();
    assert!(matches!(
        refused,
        SalvageError::Read(OpenError::Superblock(SuperblockError::NewerFormat { .. }))
    ));
}

#[test]
fn state_slots_that_are_damaged_cost_nothing_but_certainty() {
    for is_closed in [false, true] {
        let sample = sample(is_closed);
        for slots in [&[0][..], &[1], &[0, 1]] {
            let (report, all) = sample
                .all_but(&[], |bytes| slots.iter().for_each(|slot| flip(bytes, STATE + slot * LINE + 8)));
            assert_eq!(all, sample.all);
            assert!(kinds(&report) == [FindingKind::State] && !report.is_current, "{:?}", report.findings);
            assert!(report.objects.iter().all(|object| !object.is_verified));
        }
    }
}

#[test]
fn a_shard_whose_ring_is_damaged_is_read_without_replay() {
    let sample = sample(false);
    let (slots, lines) = sample.with_heap(|heap| {
        let last = heap.fenced_batch(1);
        let header = heap.layout().shard_header(1);
        ([last, last - 1].map(|batch| heap.layout().ring_slot(1, batch)), [header, header + LINE])
    });
    // The last batch cannot be told from one that was never committed if its only record is damaged.
    for at in lines.into_iter().chain([slots[1] + 5 * WORD]) {
        let (report, all) = sample.all_but(&[], |bytes| flip(bytes, at));
        assert_eq!(all, sample.all);
        let current: Vec<_> = report.shards.iter().map(|shard| shard.is_current).collect();
        assert_eq!(current, [true, false, true], "{at:#x}: {:?}", report.findings);
        assert!(report.objects.iter().all(|object| object.shard != 1 || !object.is_verified));
        assert!(object(&report, "text 0").is_verified && !report.is_complete() && report.is_current);
    }
    // In a region that was closed in order nobody needs it.
    let sample = super::sample(true);
    for at in lines {
        let (report, all) = sample.all_but(&[], |bytes| flip(bytes, at));
        assert!(all == sample.all && report.is_complete() && kinds(&report) == [FindingKind::Watermark]);
    }
}

/// The older of two watermark lines belongs to an earlier run, whose last batch still stands in the ring: replayed, it would put an
/// old value over a newer one.
#[test]
fn an_earlier_run_is_not_replayed_when_the_newest_watermark_is_damaged() {
    let sample = sample(false);
    let root = sample.root("number 0");
    fs::write(&sample.path, &sample.bytes).unwrap();
    let mut header = 0;
    for value in [98u64, 99] {
        let region = Region::open(&sample.path, &options()).unwrap();
        region.heap().atomically(0, |tx| Register::at(root).set(tx, value)).unwrap();
        header = region.heap().layout().shard_header(0);
    }
    let mut bytes = fs::read(&sample.path).unwrap();
    let generation = |at: u64| u64::from_le_bytes(bytes[at as usize..][..8].try_into().unwrap());
    let newest = if generation(header) > generation(header + LINE) { header } else { header + LINE };
    flip(&mut bytes, newest + 2 * WORD);
    let (report, all) = sample.salvage(&bytes);
    assert_eq!(held(&all, "number 0"), Some(&Content::Register(99u64.to_le_bytes().to_vec())));
    assert!(!report.shards[0].is_current && !object(&report, "number 0").is_verified);
}

#[test]
fn a_batch_that_is_half_in_place_is_made_whole() {
    let sample = sample(false);
    let root = sample.root("number 0");
    fs::write(&sample.path, &sample.bytes).unwrap();
    let region = Region::open(&sample.path, &options()).unwrap();
    region.heap().atomically(0, |tx| Register::at(root).set(tx, 99u64)).unwrap();
    drop(region);
    let mut bytes = fs::read(&sample.path).unwrap();
    // The words were not stored in place when the process ended.
    bytes[root as usize..][..64].copy_from_slice(&sample.bytes[root as usize..][..64]);
    let (report, all) = sample.salvage(&bytes);
    assert_eq!(held(&all, "number 0"), Some(&Content::Register(99u64.to_le_bytes().to_vec())));
    assert!(report.is_complete());
}

#[test]
fn bitmaps_and_descriptors_of_values_play_no_part() {
    let sample = sample(true);
    let chunks = sample.with_heap(|heap| {
        let chunk = |root| heap.layout().chunk_of(root).unwrap();
        let block = |name: &str| {
            let mut at = 0;
            let shard = name[name.len() - 1..].parse().unwrap();
            visit_root(&heap.reader(shard), root_of(heap, name), &mut |block| at = block.offset).unwrap();
            at
        };
        ["long 0", "map 1", "list 2", "sorted 0"].map(|name| {
            let chunk = chunk(block(name));
            (heap.layout().descriptor(chunk), heap.layout().bitmap(chunk))
        })
    });
    let (report, all) = sample.all_but(&[], |bytes| {
        for (descriptor, bitmap) in chunks {
            flip(bytes, descriptor);
            bytes[bitmap as usize..][..8].fill(0xff);
        }
    });
    assert!(all == sample.all && report.is_complete());
}

#[test]
fn names_are_found_without_the_list() {
    let sample = sample(true);
    let (head, lane, roots) = sample.with_heap(|heap| {
        let lane = heap.layout().lane(0);
        (heap.layout().directory, lane, ["text 1", "map 0", "sorted 2"].map(|name| root_of(heap, name)))
    });
    let links: Vec<_> = roots.iter().map(|root| root - 4 * WORD).collect();
    for at in [head + 2 * WORD, links[0], links[1], links[2]] {
        let (report, all) = sample.all_but(&[], |bytes| flip(bytes, at));
        assert_eq!(all.objects, sample.all.objects);
        assert!(report.is_complete() && kinds(&report) == [FindingKind::Index], "{:?}", report.findings);
    }
    // With that, the lanes.
    let (report, all) = sample.all_but(&[], |bytes| {
        flip(bytes, head + 2 * WORD);
        flip(bytes, lane + 2 * WORD);
    });
    assert_eq!(all.objects, sample.all.objects);
    assert!(kinds(&report).contains(&FindingKind::Recovery));
}

#[test]
fn a_node_of_a_name_that_is_damaged_costs_that_name_only() {
    let sample = sample(true);
    let root = sample.root("text 1");
    let expected = held(&sample.all, "text 1").unwrap().clone();
    let mut without = sample.all.objects.clone();
    without.retain(|key, _| key.1 != b"text 1");
    // Its header.
    let mut bytes = sample.bytes.clone();
    flip(&mut bytes, root - 2 * WORD);
    let (report, all) = sample.salvage(&bytes);
    assert_eq!((&report.lost_names, all.objects), (&vec![root - 4 * WORD], without.clone()));
    assert!(!report.is_complete() && report.lost() == 1);
    // The name: what it named is saved under another.
    let mut bytes = sample.bytes.clone();
    flip(&mut bytes, root + 8 * WORD + 2);
    let (report, mut all) = sample.salvage(&bytes);
    let name = format!("salvaged@{:#x}", root - 4 * WORD);
    assert_eq!(all.objects.remove(&(8, name.clone().into_bytes())), Some((1, expected)));
    assert_eq!(all.objects, without);
    assert!(object(&report, &name).is_renamed && !report.is_complete());
    // The descriptor of a chunk of nodes, when the list is of no use: its nodes are found, but who knows which are not.
    let (descriptor, head) = sample.with_heap(|heap| {
        let layout = heap.layout();
        (layout.descriptor(layout.chunk_of(root).unwrap()), layout.directory + 2 * WORD)
    });
    let mut bytes = sample.bytes.clone();
    flip(&mut bytes, head);
    flip(&mut bytes, descriptor);
    let (report, all) = sample.salvage(&bytes);
    assert!(report.may_miss_names && !report.is_complete());
    // That a name without a value is not one that was being created, the bitmap alone says.
    for (key, expected) in sample.all.objects.iter().filter(|(_, held)| held.1 != Content::Empty) {
        assert_eq!(all.objects.get(key), Some(expected));
    }
}

#[test]
fn a_deleted_name_does_not_come_back() {
    let sample = sample(true);
    let head = sample.with_heap(|heap| heap.layout().directory + 2 * WORD);
    // Its node still stands in its block. Without its link, which is marked as removed, the buried root says so.
    let name = sample.bytes.windows(6).position(|bytes| bytes == b"gone 2").unwrap() as u64;
    let (_, all) = sample.all_but(&[], |bytes| {
        flip(bytes, head);
        flip(bytes, name - 12 * WORD);
    });
    assert!(all.objects.keys().all(|key| !key.1.starts_with(b"gone")));
    assert_eq!(all.objects.len(), sample.all.objects.len());
}

#[test]
fn a_damaged_root_loses_its_object_only() {
    let sample = sample(true);
    for (name, word) in [("number 1", 0), ("number 1", 1), ("short 2", 2), ("text 0", 0), ("text 0", 1)]
        .into_iter()
        .chain([("text 0", 4), ("long 1", 3), ("sorted 1", 0), ("list 1", 0), ("sorted 1", 1), ("list 1", 4)])
    {
        let root = sample.root(name);
        let (report, all) = sample.all_but(&[name], |bytes| flip(bytes, root + word * WORD + 2));
        assert_eq!((outcome(&report, name), held(&all, name)), (Outcome::Lost, None), "{name} {word}");
    }
    // Another type, of which it is not.
    for kind in 0..=255 {
        let root = sample.root("number 2");
        if kind != 1 {
            let (report, _) = sample.all_but(&["number 2"], |bytes| bytes[root as usize] = kind);
            assert_eq!(outcome(&report, "number 2"), Outcome::Lost, "{kind}");
        }
    }
}

#[test]
fn extents_that_can_be_read_are_saved() {
    let sample = sample(true);
    let Some(Content::Bytes(expected)) = held(&sample.all, "long 1") else { panic!("bytes") };
    // One with a block of its own.
    let extent = sample.blocks("long 1")[0];
    let (report, all) = sample.all_but(&["long 1"], |bytes| flip(bytes, extent + 3));
    assert_eq!(outcome(&report, "long 1"), Outcome::Part { saved: 1500 - 128, missing: Some(128) });
    assert!(report.objects.iter().any(|object| object.damage.iter().any(|damage| damage.offset == extent)));
    let Some(Content::Bytes(saved)) = held(&all, "long 1") else { panic!("bytes") };
    assert_eq!(saved.len(), expected.len());
    let hole = saved.chunks(128).zip(expected.chunks(128)).filter(|(saved, expected)| saved != expected);
    let holes: Vec<_> = hole.map(|(saved, _)| saved).collect();
    assert_eq!(holes, [&[0; 128][..]]);
}

#[test]
fn entries_of_a_map_that_can_be_read_are_saved() {
    let sample = sample(true);
    let Some(Content::Map(expected)) = held(&sample.all, "map 1") else { panic!("a map") };
    let root = sample.root("map 1");
    let blocks = sample.blocks("map 1");
    let nodes = &blocks[..40];
    // Header, key and value of a node: that entry is missing.
    for (node, at) in [(nodes[0], 2 * WORD), (nodes[20], WORD), (nodes[39], 3 * WORD), (nodes[7], 4 * WORD)] {
        let (report, all) = sample.all_but(&["map 1"], |bytes| flip(bytes, node + at));
        assert_eq!(outcome(&report, "map 1"), Outcome::Part { saved: 39, missing: Some(1) });
        let Some(Content::Map(saved)) = held(&all, "map 1") else { panic!("a map") };
        assert!(saved.len() == 39 && saved.iter().all(|(key, value)| expected.get(key) == Some(value)));
    }
    // A link: what follows is found from the next bucket on.
    let mut least = 40;
    for &node in nodes {
        let (report, all) = sample.all_but(&["map 1"], |bytes| flip(bytes, node));
        let Outcome::Part { saved, missing } = outcome(&report, "map 1") else { panic!("{report:?}") };
        assert_eq!(missing, Some(40 - saved));
        let Some(Content::Map(found)) = held(&all, "map 1") else { panic!("a map") };
        assert!(found.len() as u64 == saved && found.iter().all(|(key, value)| expected[key] == *value));
        least = least.min(saved);
    }
    // Without buckets all would be missing behind the first. How long a stretch between two is, the region's hash key decides.
    assert!(least > 20, "{least}");
    // The root's words: all entries are there, but what else may have been nobody knows.
    for word in 0..4 {
        let (report, all) = sample.all_but(&["map 1"], |bytes| flip(bytes, root + word * WORD + 3));
        let missing = if word == 1 { None } else { Some(0) };
        if word == 2 {
            // The first bucket's entries hang on that word alone.
            assert!(matches!(outcome(&report, "map 1"), Outcome::Part { saved: 34.., .. }));
        } else {
            assert_eq!(outcome(&report, "map 1"), Outcome::Part { saved: 40, missing }, "{word}");
            assert_eq!(held(&all, "map 1"), held(&sample.all, "map 1"));
        }
    }
}

#[test]
fn bundles_of_a_directory_that_can_be_read_are_saved() {
    let sample = sample(true);
    let name = "objects 1";
    let Some(Content::Directory(expected)) = held(&sample.all, name) else { panic!("a directory") };
    let object_4 = b"object 4".as_slice();
    let root = sample.root(name);
    let (node, bundle) = sample.with_heap(|heap| {
        let mut node = 0;
        let mut last = 0;
        let found = Directory::at(root).find(&heap.reader(1), object_4).unwrap().unwrap();
        visit_root(&heap.reader(1), root, &mut |block| {
            if block.offset == found.at() {
                node = last;
            }
            last = block.offset;
        })
        .unwrap();
        (node, found)
    });
    let saved = |report: &SalvageReport| object(report, name).bundles.expect("those of a directory");
    let (report, _) = sample.all_but(&[], |_| {});
    assert_eq!(saved(&report), SavedBundles { whole: 9, ..SavedBundles::default() });
    // A value: all others of its bundle are there.
    let element = sample.with_heap(|heap| heap.mem().load(bundle.root(1) + 3 * WORD) & 0xffff_ffff_fff8);
    for at in [bundle.root(0) + 1, bundle.root(1) + 2 * WORD, element + 7, bundle.root(2) + 4 * WORD] {
        let (report, all) = sample.all_but(&[name], |bytes| flip(bytes, at));
        assert_eq!(outcome(&report, name), Outcome::Part { saved: 9, missing: Some(0) }, "{at:#x}");
        let one = SavedBundles { whole: 8, partial: 1, lost: 0, values_damaged: 1 };
        assert_eq!(saved(&report), one);
        let Some(Content::Directory(found)) = held(&all, name) else { panic!("a directory") };
        let differ = |(key, fields): (_, &Vec<_>)| {
            let same = fields.iter().zip(&expected[key]).filter(|(found, expected)| found == expected);
            assert_eq!(same.count(), if key == object_4 { 3 } else { 4 });
        };
        found.iter().for_each(differ);
        assert_eq!(found.len(), 9);
    }
    // A name, and what its entry and the block itself say of the bundle.
    for at in [node + WORD, node + 6 * WORD, node + 5 * WORD, bundle.at() + 2 * WORD] {
        let (report, all) = sample.all_but(&[name], |bytes| flip(bytes, at));
        assert_eq!(outcome(&report, name), Outcome::Part { saved: 8, missing: Some(1) }, "{at:#x}");
        assert_eq!((saved(&report).whole, saved(&report).partial), (8, 0));
        let Some(Content::Directory(found)) = held(&all, name) else { panic!("a directory") };
        assert!(found.len() == 8 && found.iter().all(|(key, fields)| expected[key] == *fields));
    }
}

#[test]
fn elements_of_a_list_that_can_be_read_are_saved() {
    let sample = sample(true);
    let Some(Content::List(expected)) = held(&sample.all, "list 1") else { panic!("a list") };
    let (element, directory) = sample.with_heap(|heap| {
        let root = root_of(heap, "list 1");
        let directory = heap.mem().load(root + 3 * WORD);
        // Element 8, the first of the second segment, is the first that does not stand in its slot.
        (heap.mem().load(heap.mem().load(directory + 6 * WORD)), directory)
    });
    let (report, all) = sample.all_but(&["list 1"], |bytes| flip(bytes, element + 9));
    assert_eq!(outcome(&report, "list 1"), Outcome::Part { saved: 39, missing: Some(1) });
    let mut without = expected.clone();
    without.remove(8);
    assert_eq!(held(&all, "list 1"), Some(&Content::List(without)));
    // A whole segment.
    let (report, all) = sample.all_but(&["list 1"], |bytes| bytes[directory as usize + 48..][..8].fill(0xff));
    let Outcome::Part { saved, missing: Some(missing) } = outcome(&report, "list 1") else { panic!("part") };
    let mut without = expected.clone();
    without.drain(missing as usize..2 * missing as usize);
    assert!(saved + missing == 40 && held(&all, "list 1") == Some(&Content::List(without)));
    // The same segment twice.
    let (report, _) = sample.all_but(&["list 1"], |bytes| {
        bytes.copy_within(directory as usize + 40..directory as usize + 48, directory as usize + 48);
    });
    assert_eq!(outcome(&report, "list 1"), Outcome::Part { saved, missing: Some(missing) });
}

#[test]
fn keys_of_a_sorted_map_that_can_be_read_are_saved() {
    let sample = sample(true);
    let Some(Content::SortedMap(expected)) = held(&sample.all, "sorted 1") else { panic!("a map") };
    let blocks = sample.blocks("sorted 1");
    let mut parts = 0;
    for &block in &blocks {
        let (report, all) = sample.all_but(&["sorted 1"], |bytes| flip(bytes, block + 17));
        match (outcome(&report, "sorted 1"), held(&all, "sorted 1")) {
            (Outcome::Part { saved, missing: Some(missing) }, Some(Content::SortedMap(found))) => {
                assert!(saved + missing == 40 && found.len() as u64 == saved && missing > 0);
                assert!(found.iter().all(|(key, value)| expected[key] == *value));
                parts += 1;
            }
            (Outcome::Lost, None) => assert_eq!(block, blocks[0], "only the root node holds all"),
            other => panic!("{other:?}"),
        }
    }
    assert!(parts > 5, "{parts}");
}

#[test]
fn completions_and_commands_that_can_be_read_are_saved() {
    let sample = sample(true);
    let (line, ring, header) = sample.with_heap(|heap| {
        let table = heap.layout().completion_table(2);
        let line = (0..4).map(|i| table + i * LINE).find(|&at| heap.mem().load(at) == 2).unwrap();
        let second = {
            let view = heap.reader(0);
            Commands::read(&view, Commands::first(&view).unwrap()).unwrap().unwrap().next
        };
        let ring = heap.layout().command_ring(0) + second.0 % 512;
        (line, ring, heap.layout().shard_header(0) + 2 * LINE + WORD)
    });
    let (report, all) = sample.all_but(&[], |bytes| flip(bytes, line + 2 * WORD));
    let mut expected = sample.all.clone();
    assert!(expected.completions[2].remove(&2).is_some());
    assert_eq!(all, expected);
    assert_eq!((report.shards[2].completions, report.shards[2].damage[0].offset), (2, line));
    assert!(!report.is_complete());

    for at in [ring, ring + 4, ring + 9] {
        let (report, all) = sample.all_but(&[], |bytes| flip(bytes, at));
        let shard = &report.shards[0];
        let mut left: Vec<_> = sample.all.commands[0].values().cloned().collect();
        left.remove(1);
        assert_eq!(all.commands[0].values().cloned().collect::<Vec<_>>(), left, "{at:#x}");
        assert!(shard.commands_moved && shard.damage_count == 1 && !report.is_complete());
        // Who knows a position of before is not given another command.
        let last = *sample.all.commands[0].last_key_value().unwrap().0;
        assert!(all.commands[0].keys().all(|&position| position > last));
        assert_eq!(all.commands[1..], sample.all.commands[1..]);
    }
    // Without its ends nothing of the ring can be told.
    let (report, all) = sample.all_but(&[], |bytes| flip(bytes, header + 4));
    assert!(all.commands[0].is_empty() && report.shards[0].damage[0].offset == header);
}

#[test]
fn what_lies_beyond_the_end_of_a_file_is_lost_and_nothing_else() {
    let sample = sample(true);
    let zones = sample.with_heap(|heap| heap.layout().zones);
    let mut saved = Vec::new();
    for len in (zones + 1..BYTES).step_by(7777).chain([BYTES - 1, BYTES - 4096]) {
        let (report, all) = sample.salvage(&sample.bytes[..len as usize]);
        assert!(report.findings.iter().any(|finding| finding.kind == FindingKind::Truncated));
        check_claims(&sample, &report, &all);
        let has_all_names = report.objects.len() == sample.all.objects.len();
        assert!(has_all_names || report.may_miss_names || !report.lost_names.is_empty(), "cut to {len}");
        saved.push(report.whole());
    }
    assert!(
        saved[0] == 0 && saved.last() > Some(&20) && saved.is_sorted_by_key(|&whole| whole / 8),
        "{saved:?}"
    );
    for len in [0, 1, 4096, TABLES - 1, TABLES, zones] {
        let refused = sample.salvage_with(&sample.bytes[..len as usize], &salvage_options()).unwrap_err();
        assert!(matches!(refused, SalvageError::Read(OpenError::Truncated { have, .. }) if have == len));
    }
}

/// Whatever is reported as whole and verified is as it was; so is each part of what is reported in part.
pub(super) fn check_claims(sample: &Sample, report: &SalvageReport, all: &Everything) {
    for object in &report.objects {
        let key = (object.type_number, object.name.clone());
        let found = all.objects.get(&key).map(|found| &found.1);
        assert_eq!(found.is_some(), object.outcome != Outcome::Lost, "{object:?}");
        if object.is_renamed {
            continue;
        }
        let expected = &sample.all.objects.get(&key).expect("no name comes from nowhere").1;
        if object.outcome == Outcome::Whole && object.is_verified {
            assert_eq!(found, Some(expected), "{object:?}");
        }
        match (found, expected) {
            (Some(Content::Map(found)), Content::Map(expected))
            | (Some(Content::SortedMap(found)), Content::SortedMap(expected)) => {
                assert!(found.iter().all(|(key, value)| expected.get(key) == Some(value)), "{object:?}");
            }
            (Some(Content::Directory(found)), Content::Directory(expected)) => {
                let is_known = |(name, fields): (&Vec<u8>, &Vec<Content>)| {
                    expected.get(name).is_some_and(|expected| expected.len() == fields.len())
                };
                assert!(found.iter().all(is_known), "{object:?}");
            }
            (Some(Content::Bytes(found)), Content::Bytes(expected)) => {
                assert_eq!(found.len(), expected.len());
                let is_right = |(&found, &expected)| found == expected || found == 0;
                assert!(found.iter().zip(expected).all(is_right), "{object:?}");
            }
            _ => {}
        }
    }
    // What is in no report is lost with its name.
    let named = report.objects.len() + report.lost_names.len();
    let is_told = named >= sample.all.objects.len()
        || report
            .findings
            .iter()
            .any(|finding| matches!(finding.kind, FindingKind::Index | FindingKind::Truncated));
    assert!(is_told, "{named} of {}: {:?}", sample.all.objects.len(), report.findings);
    for (calls, expected) in all.completions.iter().zip(&sample.all.completions) {
        assert!(calls.iter().all(|(client, call)| expected.get(client) == Some(call)));
    }
}

#[test]
fn a_power_loss_that_the_region_does_not_survive_is_read_and_told() {
    let sample = sample(false);
    let other = sample.folder.path().join("boot_id");
    fs::write(&other, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    let options =
        SalvageOptions { region: RegionOptions { boot_id: other, ..options() }, ..salvage_options() };
    let (report, all) = sample.salvage_with(&sample.bytes, &options).unwrap();
    assert_eq!(all, sample.all);
    assert!(kinds(&report) == [FindingKind::PowerLoss] && !report.is_current && !report.is_complete());
    assert!(report.objects.iter().all(|object| !object.is_verified));
}

#[test]
fn a_log_is_read_though_the_state_that_says_so_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("region"), folder.path().join("out"));
    let options = RegionOptions { persistence: Persistence::PowerFail, force_file_system: true, ..options() };
    let region = match Region::create(&path, BYTES, &options) {
        Ok(region) if region.domain() == crate::Domain::File => region,
        other => return eprintln!("skipped: the file is no ordinary one: {other:?}"),
    };
    let root = region.heap().index().create(7, b"number", 0).unwrap().root;
    region.close().unwrap();
    // The log's lines are not in the file: from here on they are in it alone.
    let region = Region::open(&path, &options).unwrap();
    region.heap().atomically(0, |tx| Register::at(root).set(tx, 5u64)).unwrap();
    drop(region);
    let mut bytes = fs::read(&path).unwrap();
    let generation =
        |slot: u64| u64::from_le_bytes(bytes[(STATE + slot * LINE) as usize..][..8].try_into().unwrap());
    let newest = STATE + u64::from(generation(1) > generation(0)) * LINE;
    bytes[newest as usize..][..LINE as usize].fill(0xee);
    fs::write(&path, &bytes).unwrap();
    let report = salvage_file(&path, &out, &salvage_options()).unwrap();
    assert!(!report.is_current && report.lost() == 0, "{report:?}");
    let region = Region::open(&out, &self::options()).unwrap();
    let entry = region.heap().index().get(7, b"number").unwrap().unwrap();
    assert_eq!(Register::<u64>::at(entry.root).get(&region.heap().reader(0)), Ok(5));
}

#[test]
fn the_good_prefix_of_a_damaged_log_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("region"), folder.path().join("out"));
    let log = crate::line_log::Options::new(256 << 10, 64).unwrap();
    let options =
        RegionOptions { persistence: Persistence::PowerFail, log, force_file_system: true, ..options() };
    let region = match Region::create(&path, BYTES, &options) {
        Ok(region) => region,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    if region.domain() != crate::Domain::File {
        return eprintln!("skipped: the file is no ordinary one");
    }
    let heap = region.heap();
    let root = heap.index().create(7, b"number 0", 0).unwrap().root;
    for value in 1..=9u64 {
        heap.atomically(0, |tx| Register::at(root).set(tx, value)).unwrap();
    }
    drop(region);
    let log_path = crate::region::log_path(&path);
    let (file, log) = (fs::read(&path).unwrap(), fs::read(&log_path).unwrap());
    let value = |log: Option<&[u8]>| {
        match log {
            Some(log) => fs::write(&log_path, log).unwrap(),
            None => fs::remove_file(&log_path).unwrap(),
        }
        let report = salvage_file(&path, &out, &salvage_options()).unwrap();
        assert!(
            fs::read(&path).unwrap() == file && log.is_none_or(|log| fs::read(&log_path).unwrap() == log)
        );
        let region = Region::open(&out, &self::options()).unwrap();
        let found = region.heap().index().get(7, b"number 0").unwrap();
        let found = found.map(|entry| Register::<u64>::at(entry.root).get(&region.heap().reader(0)).unwrap());
        drop(region);
        fs::remove_file(&out).unwrap();
        assert_eq!(report.is_current, kinds(&report).is_empty());
        (report.is_current, found)
    };
    assert_eq!(value(Some(&log)), (true, Some(9)));
    let end = log.iter().rposition(|&byte| byte != 0).unwrap();
    let frames = 0x2000 + log[0x2000..].iter().position(|&byte| byte != 0).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for at in (frames..end).step_by(97) {
        let mut damaged = log.clone();
        damaged[at] ^= 0x20;
        let (is_current, found) = value(Some(&damaged));
        // The last frame cannot be told from one that a cut has torn.
        assert!(!is_current || end - at < 4096, "{at:#x} of {end:#x}");
        seen.insert(found);
    }
    assert!(seen.len() > 4, "values of several moments: {seen:?}");
    let (is_current, found) = value(Some(&log[..frames + (end - frames) / 2]));
    assert!(!is_current && found < Some(9));
    let mut headless = log.clone();
    headless[..0x2000].fill(0);
    assert!(!value(Some(&headless)).0 && !value(None).0);
}

#[test]
fn what_is_made_to_loop_or_to_be_endless_ends() {
    let sample = sample(true);
    // Links that are valid in themselves, and lead back.
    let nodes = sample.blocks("map 1")[..40].to_vec();
    for (from, to) in [(9, 3), (30, 0), (39, 39)] {
        let (report, _) = sample.all_but(&["map 1"], |bytes| {
            let link = crate::types::testing_link(nodes[to]);
            bytes[nodes[from] as usize..][..8].copy_from_slice(&link.to_le_bytes());
        });
        assert!(matches!(outcome(&report, "map 1"), Outcome::Part { saved: 30.., .. }), "{from} to {to}");
    }
    // A list of more elements than there are words, in segments that are one.
    let root = sample.root("list 1") as usize;
    let (report, _) = sample.all_but(&["list 1"], |bytes| {
        bytes[root + 16..][..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    });
    assert_eq!(outcome(&report, "list 1"), Outcome::Lost);
    // Tables that no file could hold.
    let geometry = Geometry {
        shards: 4096,
        lanes: 4096,
        ring_slot_bytes: 512 << 10,
        completions: 1 << 20,
        command_ring_bytes: 1 << 32,
        ..Geometry::tiny()
    };
    let identity = crate::Identity { uuid: [1; 16], hash_key: [2; 16], created_s: 3 };
    let superblock = Superblock::new(identity, geometry).unwrap().encode();
    let mut bytes = sample.bytes.clone();
    bytes[..superblock.len()].copy_from_slice(&superblock);
    let refused = sample.salvage_with(&bytes, &salvage_options()).unwrap_err();
    assert!(matches!(refused, SalvageError::Read(OpenError::Truncated { .. })), "{refused}");
}

#[test]
fn a_region_in_use_and_a_name_in_use_are_refused() {
    let sample = sample(true);
    let out = sample.folder.path().join("out");
    let region = Region::open(&sample.path, &options()).unwrap();
    let refused = salvage_file(&sample.path, &out, &salvage_options()).unwrap_err();
    assert!(matches!(refused, SalvageError::Read(OpenError::InUse(_))), "{refused}");
    region.close().unwrap();
    for name in ["out", "out.log", "out.unfinished"] {
        let taken = sample.folder.path().join(name);
        fs::write(&taken, "mine").unwrap();
        let refused = salvage_file(&sample.path, &out, &salvage_options()).unwrap_err();
        assert!(matches!(&refused, SalvageError::Exists { path } if *path == taken), "{refused}");
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
        fs::remove_file(&taken).unwrap();
    }
    let refused = salvage_file(&sample.path, &sample.path, &salvage_options()).unwrap_err();
    assert!(matches!(refused, SalvageError::Exists { .. }), "{refused}");
    // One that may only be read is one that can be salvaged.
    fs::set_permissions(&sample.path, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(salvage_file(&sample.path, &out, &salvage_options()).unwrap().is_complete());
}
