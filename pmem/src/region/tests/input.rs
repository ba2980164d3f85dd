use super::*;
use crate::layout::{STATE, SUPERBLOCK_COPY, SuperblockError};
use crate::types::{Kind, Register};

fn open_bytes(bytes: &[u8]) -> Result<Region, OpenError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    std::fs::write(&path, bytes).unwrap();
    let read = Region::open_read_only(&path, &process_crash()).is_ok();
    let opened = Region::open(&path, &process_crash());
    assert_eq!(read, opened.is_ok());
    if opened.is_err() {
        assert!(std::fs::read(&path).unwrap() == bytes, "a file that was refused was changed");
    }
    opened
}

fn sample() -> (Vec<u8>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 0x5A);
    region.close().unwrap();
    (std::fs::read(&path).unwrap(), block)
}

#[test]
fn files_that_are_no_regions_are_refused() {
    let program = std::fs::read("/proc/self/exe").unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = vec![0; BYTES as usize];
    random.fill(&mut noise);
    for bytes in [
        &b""[..],
        b"x",
        b"#!/bin/sh\n",
        &[0; 4096],
        &[0; BYTES as usize],
        &[0xFF; 5000],
        &program[..100_000],
        &noise,
    ] {
        let refused = open_bytes(bytes);
        assert!(
            matches!(refused, Err(OpenError::Superblock(SuperblockError::NotARegion))),
            "{} bytes: {refused:?}",
            bytes.len()
        );
    }
}

#[test]
fn a_region_that_was_cut_short_is_refused() {
    let (bytes, _) = sample();
    for len in (0..bytes.len()).step_by(997).chain([4095, 4096, 0x2FFF, 0x3000, bytes.len() - 1]) {
        match open_bytes(&bytes[..len]) {
            Err(OpenError::Truncated { have, need }) => assert!(have == len as u64 && need > have),
            Err(OpenError::Superblock(_)) if len < 4096 => {}
            other => panic!("{len}: {other:?}"),
        }
    }
}

#[test]
fn a_region_whose_file_is_longer_opens() {
    let (mut bytes, block) = sample();
    for more in [1, 4096, 100_000] {
        bytes.resize(BYTES as usize + more, 0xEE);
        let region = open_bytes(&bytes).unwrap();
        assert_eq!((region.bytes(), get(region.heap(), block)), (BYTES, 0x5A));
    }
}

#[test]
fn a_region_that_was_never_finished_is_none() {
    let (mut bytes, _) = sample();
    bytes[..8].fill(0);
    assert!(matches!(open_bytes(&bytes), Err(OpenError::Superblock(SuperblockError::NotARegion))));
}

#[test]
fn one_damaged_superblock_or_state_slot_is_survived_and_two_are_told() {
    let (bytes, block) = sample();
    let damaged = |places: &[u64]| {
        let mut bytes = bytes.clone();
        for place in places {
            bytes[*place as usize] ^= 0x10;
        }
        open_bytes(&bytes).map(|region| get(region.heap(), block))
    };
    for place in [0, 9, 40, SUPERBLOCK_COPY, SUPERBLOCK_COPY + 40] {
        assert_eq!(damaged(&[place]).unwrap(), 0x5A, "{place:#x}");
    }
    assert!(matches!(
        damaged(&[40, SUPERBLOCK_COPY + 40]),
        Err(OpenError::Superblock(SuperblockError::Corrupt))
    ));
    // With the newest slot gone the one before says that the region is open, and it is recovered.
    for place in [STATE, STATE + 64] {
        assert_eq!(damaged(&[place]).unwrap(), 0x5A, "{place:#x}");
    }
    assert!(matches!(damaged(&[STATE, STATE + 64]), Err(OpenError::State(_))));
}

#[test]
fn every_flipped_bit_of_the_header_gives_the_data_or_an_error() {
    let (bytes, block) = sample();
    // The last folder is the faster one.
    let folder = folders().pop().unwrap();
    let path = folder.path().join("region");
    for at in (0..176)
        .chain(STATE as usize..STATE as usize + 128)
        .chain(SUPERBLOCK_COPY as usize..SUPERBLOCK_COPY as usize + 176)
    {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(region) = Region::open(&path, &process_crash()) {
                assert_eq!(get(region.heap(), block), 0x5A, "bit {bit} of {at:#x}");
                region.close().unwrap();
            }
        }
    }
}

#[test]
fn what_is_not_a_file_is_refused_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let options = process_crash();
    assert!(matches!(Region::open(folder.path(), &options), Err(OpenError::NotAFile { .. })));
    assert!(matches!(Region::open_read_only(folder.path(), &options), Err(OpenError::NotAFile { .. })));
    let pipe = folder.path().join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(Region::open(&pipe, &options), Err(OpenError::NotAFile { .. })));
    assert!(matches!(Region::open_read_only(&pipe, &options), Err(OpenError::NotAFile { .. })));
    assert!(matches!(Region::open("/dev/null", &options), Err(OpenError::NotAFile { .. })));
    assert!(matches!(Region::open(folder.path().join("absent"), &options), Err(OpenError::NotFound { .. })));
    let volatile = Region::open(folder.path(), &with(Persistence::Volatile));
    assert!(matches!(volatile, Err(OpenError::Volatile)));
}

#[test]
fn errors_of_reading_are_told() {
    let (bytes, _) = sample();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    std::fs::write(&path, bytes).unwrap();
    let (options, faults) = faulty(&process_crash());
    faults.fail(Call::Read, 0, 1, errno(Errno::IO));
    let refused = Region::open(&path, &options);
    assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
}

/// Its batches are all in place. To replay one would put back what was there before, if a later one is not whole.
#[test]
fn a_region_that_was_closed_in_order_replays_nothing() {
    for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let options = RegionOptions { persistence, force_file_system: true, ..process_crash() };
        let region = Region::create(&path, BYTES, &options).unwrap();
        let root = region.heap().index().create(Kind::Register as u16, b"number", 0).unwrap().root;
        let number = Register::<u64>::at(root);
        for value in 1..=5 {
            region.heap().atomically(0, |tx| number.set(tx, value)).unwrap();
        }
        let ring = |batch| region.heap().layout().ring_slot(0, batch) as usize;
        let (last, slots) = (region.heap().fenced_batch(0), [0, 1, 2, 3].map(ring));
        region.close().unwrap();
        let (bytes, log) = (std::fs::read(&path).unwrap(), std::fs::read(log_path(&path)).ok());
        for lost in 1..4 {
            let mut damaged = bytes.clone();
            for batch in last + 1 - lost..=last {
                damaged[slots[(batch % 4) as usize]..][..64].fill(0xee);
            }
            std::fs::write(&path, &damaged).unwrap();
            if let Some(log) = &log {
                std::fs::write(log_path(&path), log).unwrap();
            }
            let region = Region::open(&path, &options).unwrap();
            assert_eq!(number.get(&region.heap().reader(0)), Ok(5), "{persistence:?}, {lost} lost");
            region.heap().atomically(0, |tx| number.set(tx, 6)).unwrap();
            drop(region);
            let region = Region::open(&path, &options).unwrap();
            assert_eq!(number.get(&region.heap().reader(0)), Ok(6), "{persistence:?}, {lost} lost");
            drop(region);
        }
    }
}

/// What is torn by a crash is one slot of the ring. Were two taken for torn, older batches would be replayed over newer ones.
#[test]
fn a_ring_that_no_crash_leaves_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let root = region.heap().index().create(Kind::Register as u16, b"number", 0).unwrap().root;
    let number = Register::<u64>::at(root);
    for value in 1..=9 {
        region.heap().atomically(0, |tx| number.set(tx, value)).unwrap();
    }
    let last = region.heap().fenced_batch(0);
    let slots = [0, 1, 2, 3].map(|batch| region.heap().layout().ring_slot(0, batch) as usize);
    drop(region);
    let bytes = std::fs::read(&path).unwrap();
    for lost in 2..4 {
        let mut damaged = bytes.clone();
        for batch in last + 1 - lost..=last {
            damaged[slots[(batch % 4) as usize]..][..64].fill(0xee);
        }
        std::fs::write(&path, &damaged).unwrap();
        let refused = Region::open(&path, &process_crash());
        assert!(
            matches!(refused, Err(OpenError::Heap(crate::HeapOpenError::CorruptShard { shard: 0, .. }))),
            "{lost} lost: {refused:?}"
        );
    }
}
