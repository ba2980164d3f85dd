//! A disk that is full: a small tmpfs, in a mount namespace of the test's own.

use crate::{
    child,
    sample::{self, options},
};
use abide_pmem::{
    HeapError, Persistence, Region,
    region::{CreateError, GrowError, OpenError},
    types::{Bytes, Kind, Persistent as _, TypeError, garbage},
};
use std::path::Path;

#[test]
fn on_a_full_disk_errors_are_told_and_nothing_is_lost() {
    let name = "full::on_a_full_disk_errors_are_told_and_nothing_is_lost";
    let folder = crate::quick_folder();
    child::expect_right(child::run_on_small_disk(name, folder.path(), 1 << 20, |voice, disk| {
        for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
            voice.case(&format!("{persistence:?}"), |_| on_small_disk(disk, persistence));
        }
    }));
}

/// Every assertion that fails is a panic, which is wrong.
fn on_small_disk(disk: &Path, persistence: Persistence) {
    let options = options(persistence);
    let (path, other) = (disk.join("region"), disk.join("other"));
    let names = || std::fs::read_dir(disk).expect("a folder").count();
    // More than there is.
    let error = Region::create(&path, 2 << 20, &options).expect_err("no room");
    assert!(matches!(error, CreateError::NoSpace { .. }), "{error:?}");
    assert_eq!(names(), 0);
    let region = Region::create(&path, sample::BYTES, &options).expect("room for a small one");
    sample::fill(region.heap());
    let before = sample::read(region.heap());
    let grown = region.grow(4 << 20).expect_err("no room");
    assert!(matches!(grown, GrowError::NoSpace { .. }), "{grown:?}");
    // The rest of the disk is somebody else's.
    fill_up(&other);
    let grown = region.grow(2 * sample::BYTES).expect_err("no room");
    assert!(matches!(grown, GrowError::NoSpace { .. }), "{grown:?}");
    assert_eq!(sample::read(region.heap()), before);
    // What is allocated already can be used: until the region itself is full.
    let mut count = 0;
    let full = loop {
        match put(&region, count) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, TypeError::Heap(HeapError::NoSpace)), "{full:?}");
    assert!(count > 10, "{count}");
    assert_eq!(sample::wrong(&before, &sample::read(region.heap()), true), Vec::<String>::new());
    // Space is given back in a full region, too.
    region
        .heap()
        .index()
        .remove(Kind::Bytes as u16, b"fill 3", Bytes::discard)
        .expect("to delete needs no space");
    // What is large is given back in parts.
    let collect = |shard| region.heap().atomically(shard, |tx| garbage::collect(tx, 8));
    for _ in 0..100 {
        let more = collect(0).expect("to collect needs no space");
        if !more {
            break;
        }
    }
    // What one batch frees can be used two batches later.
    let again = (0..4).find_map(|_| put(&region, 3).ok());
    assert!(again.is_some(), "there is room where something was deleted");
    drop(region);
    // Opening needs no space that it does not have.
    let region = Region::open(&path, &options).expect("a full disk can be read");
    assert_eq!(sample::wrong(&before, &sample::read(region.heap()), true), Vec::<String>::new());
    region.close().expect("a full disk can be closed on");
    if persistence == Persistence::PowerFail {
        // A log that is gone cannot be made anew; the region is as it was, and is opened when it can.
        std::fs::remove_file(sample::log_of(&path)).expect("a log");
        fill_up(&disk.join("more"));
        let error = Region::open(&path, &options).expect_err("no room for a log");
        assert!(
            matches!(&error, OpenError::MakeLog(error) if matches!(**error, CreateError::NoSpace { .. })),
            "{error:?}"
        );
        std::fs::remove_file(disk.join("more")).expect("it is there");
    }
    std::fs::remove_file(&other).expect("it is there");
    let region = Region::open(&path, &options).expect("there is room again");
    assert_eq!(sample::wrong(&before, &sample::read(region.heap()), true), Vec::<String>::new());
    region.grow(2 * sample::BYTES).expect("there is room again");
    put(&region, count).expect("there is room in what was added");
    region.close().expect("there is room again");
    std::fs::remove_file(&path).expect("it is there");
    let _ = std::fs::remove_file(sample::log_of(&path));
}

fn put(region: &Region, number: u32) -> Result<(), TypeError> {
    let name = format!("fill {number}");
    let entry =
        region.heap().index().create(Kind::Bytes as u16, name.as_bytes(), 0).map_err(
            |error| match error {
                abide_pmem::IndexError::Heap(error) => TypeError::Heap(error),
                error => panic!("{error}"),
            },
        )?;
    region.heap().atomically(0, |tx| Bytes::at(entry.root).set(tx, &sample::pattern(1000)))
}

/// Writes a file until there is no room.
fn fill_up(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a name costs no block here");
    for bytes in [64 << 10, 4096, 512, 1] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
}
