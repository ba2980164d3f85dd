use super::*;

#[test]
fn what_is_stored_is_there_after_closing_and_after_dropping() {
    for folder in folders() {
        for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
            if persistence == Persistence::PowerFail && !can_log(folder.path()) {
                continue;
            }
            let path = folder.path().join(format!("{persistence:?}"));
            let options = with(persistence);
            let region = Region::create(&path, BYTES, &options).unwrap();
            assert_eq!(region.domain().persistence(), persistence);
            assert_eq!((region.path(), region.bytes()), (Some(path.as_path()), BYTES));
            let block = put_first(&region, 1);
            region.close().unwrap();
            for value in 1..4 {
                let region = Region::open(&path, &options).unwrap();
                assert_eq!(get(region.heap(), block), value);
                put(&region, block, value + 1).unwrap();
                if value == 2 {
                    region.close().unwrap();
                }
            }
            expect(&path, &options, block, 4);
        }
    }
}

#[test]
fn a_name_that_is_taken_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    std::fs::write(&path, "mine").unwrap();
    let refused = Region::create(&path, BYTES, &process_crash());
    assert!(matches!(refused, Err(CreateError::Exists { .. })), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    // One that appears while the region is made.
    let other = folder.path().join("other");
    let (options, faults) = faulty(&process_crash());
    faults.fail(Call::Link, 0, 1, errno(Errno::EXIST));
    assert!(matches!(Region::create(&other, BYTES, &options), Err(CreateError::Exists { .. })));
    assert_eq!(names(folder.path()), ["region"]);
}

#[test]
fn sizes_and_names_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let options = process_crash();
    assert!(matches!(Region::create(&path, 0, &options), Err(CreateError::TooSmall { .. })));
    assert!(matches!(Region::create(&path, 4096, &options), Err(CreateError::TooSmall { .. })));
    assert!(matches!(Region::create(&path, BYTES + 1, &options), Err(CreateError::Map(_))));
    assert!(matches!(
        Region::create(folder.path().join(".."), BYTES, &options),
        Err(CreateError::BadPath { .. })
    ));
    assert!(matches!(Region::create("/", BYTES, &options), Err(CreateError::BadPath { .. })));
    let absent = folder.path().join("absent/region");
    assert!(matches!(Region::create(absent, BYTES, &options), Err(CreateError::Io { .. })));
    let volatile = Region::create(&path, BYTES, &with(Persistence::Volatile));
    assert!(matches!(volatile, Err(CreateError::Open(error)) if matches!(*error, OpenError::Volatile)));
    let geometry = Geometry { shards: 0, ..Geometry::tiny() };
    let refused = Region::create(&path, BYTES, &RegionOptions { geometry, ..options });
    assert!(matches!(refused, Err(CreateError::Format(_))));
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn a_region_in_memory_needs_no_file() {
    let region = Region::volatile(BYTES, &process_crash()).unwrap();
    assert_eq!((region.domain(), region.path()), (Domain::Volatile, None));
    let block = put_first(&region, 5);
    region.grow(2 * BYTES).unwrap();
    assert_eq!((get(region.heap(), block), region.bytes()), (5, 2 * BYTES));
    region.close().unwrap();
}

/// Creates with faults and names each system call in turn, until creating needs no more of them. `prepare` plans what
/// is to fail besides.
fn every_call(folder: &Path, options: &RegionOptions, prepare: impl Fn(&Faults), fault: Fault) -> usize {
    // Where unlocking is what fails.
    let _none = test_child::start_none();
    let path = folder.join("region");
    for nth in 0.. {
        let (options, faults) = faulty(options);
        prepare(&faults);
        faults.fail_any(nth, fault);
        let result = Region::create(&path, BYTES, &options);
        let made = faults.made();
        if nth as usize >= made.len() {
            result.unwrap();
            return made.len();
        }
        let call = made[nth as usize];
        match result {
            // Only what does not matter any more may fail without an error: removing a temporary name, unlocking; and where
            // there are few addresses, fewer are reserved.
            Ok(region) => {
                let few = call == Call::Reserve && fault == errno(Errno::NOMEM);
                assert!(few || matches!(call, Call::Unlink | Call::Lock), "{call:?} {nth} was ignored");
                drop(region);
            }
            Err(error) => {
                assert!(
                    names(folder).iter().all(|name| name.ends_with(".tmp")),
                    "{call:?} {nth}: {error} {:?}",
                    names(folder)
                );
            }
        }
        faults.clear();
        // Whatever it was, the next try works: no lock was left behind.
        for name in names(folder) {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        let region = Region::create(&path, BYTES, &options)
            .unwrap_or_else(|error| panic!("{call:?} {nth}: {error:?}"));
        drop(region);
        for name in names(folder) {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
    }
    unreachable!()
}

#[test]
fn whichever_call_fails_there_is_no_file_and_an_error() {
    let (folder, logged) = quick_log();
    let region = folder.path().join("region");
    for failure in [Errno::IO, Errno::NOSPC, Errno::NOMEM] {
        let calls = every_call(folder.path(), &process_crash(), |_| {}, errno(failure));
        assert!(calls > 15, "{calls} calls");
        std::fs::remove_file(&region).unwrap();
        // On a file system that has no files without a name.
        let no_unnamed = |faults: &Faults| faults.fail(Call::OpenUnnamed, 0, 9, errno(Errno::OPNOTSUPP));
        every_call(folder.path(), &process_crash(), no_unnamed, errno(failure));
        std::fs::remove_file(&region).unwrap();
    }
    let calls = every_call(folder.path(), &logged, |_| {}, errno(Errno::IO));
    assert!(calls > 30, "{calls} calls");
}

#[test]
fn interruptions_and_short_writes_change_nothing() {
    let (folder, options) = quick_log();
    let path = folder.path().join("region");
    for fault in [errno(Errno::INTR), Fault::Short(100)] {
        for nth in 0..200 {
            let (options, faults) = faulty(&options);
            faults.fail_any(nth, fault);
            let region = Region::create(&path, BYTES, &options).unwrap();
            region.close().unwrap();
            let last = nth as usize >= faults.made().len();
            for name in names(folder.path()) {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
            if last {
                break;
            }
        }
    }
}

#[test]
fn a_file_system_without_allocation_gets_zeros_instead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let (options, faults) = faulty(&process_crash());
    faults.fail(Call::Allocate, 0, 1, errno(Errno::OPNOTSUPP));
    let region = Region::create(&path, BYTES, &options).unwrap();
    let block = put_first(&region, 3);
    drop(region);
    expect(&path, &process_crash(), block, 3);
}

const KILLED: &str = "region::tests::create::killed_at_any_call_there_is_no_region_or_a_whole_one";

/// What the child is to do: in which folder, at which call it ends, with which options.
fn killed_child(argument: &Path) {
    let job = argument.to_str().unwrap().to_owned();
    let [folder, nth, named, persistence] = job.split('|').collect::<Vec<_>>().try_into().unwrap();
    let options = if persistence == "log" { quick_log().1 } else { process_crash() };
    let (options, faults) = faulty(&options);
    if named == "named" {
        faults.fail(Call::OpenUnnamed, 0, 9, errno(Errno::OPNOTSUPP));
    }
    faults.fail_any(nth.parse().unwrap(), Fault::Kill);
    let region = Region::create(Path::new(folder).join("region"), BYTES, &options).unwrap();
    put_first(&region, 9);
}

#[test]
fn killed_at_any_call_there_is_no_region_or_a_whole_one() {
    if let Some(argument) = test_child::argument() {
        return killed_child(&argument);
    }
    let block = first_block();
    for (named, log) in [("unnamed", "none"), ("named", "none"), ("unnamed", "log")] {
        let (folder, logged) = quick_log();
        let path = folder.path().join("region");
        let options = if log == "log" { logged } else { process_crash() };
        let (mut absent, mut whole) = (0, 0);
        for nth in 0.. {
            let job = format!("{}|{nth}|{named}|{log}", folder.path().display());
            let status = test_child::start(KILLED, job).wait_with_output().unwrap().status;
            let found = names(folder.path());
            if path.exists() {
                let region = Region::open(&path, &options)
                    .unwrap_or_else(|error| panic!("{nth} {found:?}: {error:?}"));
                let value = get(region.heap(), block);
                // Killed at its very end it has stored its value already.
                assert!(value == 9 || (value == 0 && !status.success()), "{nth}: {value}");
                region.close().unwrap();
                whole += 1;
            } else {
                assert!(found.iter().all(|name| name.ends_with(".tmp")), "{nth} {found:?}");
                // What is under a temporary name is no region until it is whole.
                for name in &found {
                    match Region::open(folder.path().join(name), &options) {
                        Ok(region) => assert_eq!(get(region.heap(), block), 0),
                        Err(OpenError::Superblock(_)) => {}
                        Err(error) => panic!("{nth} {name}: {error:?}"),
                    }
                }
                absent += 1;
            }
            for name in names(folder.path()) {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
            if status.success() {
                break;
            }
            assert!(nth < 500, "creating takes ever more calls");
        }
        assert!(absent > 10 && whole > 1, "{named} {log}: {absent} absent, {whole} whole");
    }
}

#[test]
fn everything_is_durable_before_the_name_and_the_name_before_anyone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (options, faults) = faulty(&process_crash());
    drop(Region::create(folder.path().join("region"), BYTES, &options).unwrap());
    let order: Vec<_> = faults
        .made()
        .into_iter()
        .filter(|call| matches!(call, Call::Lock | Call::Allocate | Call::SyncMap | Call::Sync | Call::Link))
        .collect();
    let (sync_map, sync) = (Call::SyncMap, Call::Sync);
    // Of everything, of the first word, of the folder; then opening says that the region is open.
    let made = [Call::Lock, Call::Allocate, sync_map, sync, sync_map, sync, Call::Link, sync];
    assert_eq!(order[..made.len()], made);
    assert_eq!(order[made.len()..], [sync_map, sync, Call::Lock]);
}

#[test]
fn a_full_disk_leaves_no_file() {
    let Some(disk) = SmallDisk::mount("size=256k") else { return };
    let path = disk.path().join("region");
    let refused = Region::create(&path, 1 << 20, &process_crash());
    assert!(matches!(refused, Err(CreateError::NoSpace { bytes, .. }) if bytes == 1 << 20), "{refused:?}");
    assert_eq!(names(disk.path()), [""; 0]);
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 1);
    let refused = region.grow(1 << 20);
    assert!(matches!(refused, Err(GrowError::NoSpace { .. })), "{refused:?}");
    // It works on, and grows when there is room.
    put(&region, block, 2).unwrap();
    region.grow(2 * BYTES).unwrap();
    put(&region, block, 3).unwrap();
    region.close().unwrap();
    expect(&path, &process_crash(), block, 3);
}

#[test]
fn a_folder_on_the_wrong_file_system_is_refused_before_anything_is_made() {
    if !Path::new("/dev/shm").is_dir() {
        return eprintln!("skipped: no tmpfs");
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("region");
    let (options, faults) = faulty(&with(Persistence::PowerFail));
    assert!(matches!(Region::create(&path, BYTES, &options), Err(CreateError::Domain(_))));
    assert!(!faults.made().contains(&Call::OpenUnnamed));
    let forced = RegionOptions { force_file_system: true, ..with(Persistence::PowerFail) };
    let region = Region::create(&path, BYTES, &forced).unwrap();
    assert_eq!(region.domain(), Domain::File);
    region.close().unwrap();
    assert!(matches!(Region::open(&path, &with(Persistence::PowerFail)), Err(OpenError::Domain(_))));
    Region::open(&path, &process_crash()).unwrap().close().unwrap();
}

#[test]
fn a_region_is_created_once_and_opened_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let first = Region::open_or_create(&path, BYTES, &process_crash()).unwrap();
    let uuid = first.heap().superblock().identity.uuid;
    drop(first);
    let second = Region::open_or_create(&path, 2 * BYTES, &process_crash()).unwrap();
    assert_eq!(second.heap().superblock().identity.uuid, uuid);
    assert_eq!(second.bytes(), BYTES);
    drop(second);
    // Whatever else is there is not replaced.
    std::fs::write(&path, b"no region").unwrap();
    let refused = Region::open_or_create(&path, BYTES, &process_crash());
    assert!(matches!(refused, Err(CreateError::Open(_))), "{refused:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"no region");
}

#[test]
fn a_log_without_its_region_is_not_replaced() {
    let (folder, options) = quick_log();
    let path = folder.path().join("region");
    std::fs::write(crate::region::log::path_of(&path), b"what is left").unwrap();
    let refused = Region::open_or_create(&path, BYTES, &options);
    assert!(matches!(refused, Err(CreateError::Exists { .. })), "{refused:?}");
    assert!(!path.exists());
}
