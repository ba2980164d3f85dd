use super::*;

fn at_boot(folder: &Path, number: u8) -> RegionOptions {
    RegionOptions { boot_id: boot(folder, number), ..process_crash() }
}

#[test]
fn a_region_that_was_open_when_the_machine_stopped_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &at_boot(folder.path(), 1)).unwrap();
    let block = put_first(&region, 1);
    drop(region);
    // Only the process ended.
    let region = Region::open(&path, &at_boot(folder.path(), 1)).unwrap();
    put(&region, block, 2).unwrap();
    drop(region);
    // The machine did.
    let options = at_boot(folder.path(), 2);
    assert!(matches!(Region::open(&path, &options), Err(OpenError::UncleanPowerLoss)));
    assert!(matches!(Region::open_read_only(&path, &options), Err(OpenError::UncleanPowerLoss)));
    if can_log(folder.path()) {
        let options = RegionOptions { boot_id: boot(folder.path(), 2), ..with(Persistence::PowerFail) };
        assert!(matches!(Region::open(&path, &options), Err(OpenError::UncleanPowerLoss)));
    }
    let salvage = RegionOptions { accept_power_loss: true, ..options };
    assert!(matches!(Region::open(&path, &salvage), Err(OpenError::UncleanPowerLoss)));
    assert_eq!(get(Region::open_read_only(&path, &salvage).unwrap().heap(), block), 2);
}

#[test]
fn a_region_that_was_closed_opens_in_any_boot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &at_boot(folder.path(), 1)).unwrap();
    let block = put_first(&region, 1);
    region.close().unwrap();
    expect(&path, &at_boot(folder.path(), 2), block, 1);
    expect(&path, &at_boot(folder.path(), 3), block, 1);
}

#[test]
fn without_a_boot_id_no_such_promise_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let options = RegionOptions { boot_id: folder.path().join("absent"), ..process_crash() };
    assert!(Region::create(&path, BYTES, &options).is_err());
    assert_eq!(names(folder.path()), [""; 0]);
    std::fs::write(folder.path().join("absent"), "0").unwrap();
    assert!(Region::create(&path, BYTES, &options).is_err());
}

/// What reaches the disk, and when: the file's state slot as it is at each sync of the file.
fn states_at_syncs(path: &Path, work: impl FnOnce(&RegionOptions)) -> Vec<Call> {
    let (options, faults) = faulty(&process_crash());
    work(&options);
    assert!(path.exists());
    faults.made()
}

#[test]
fn that_a_region_is_open_is_durable_before_it_is_used_and_costs_nothing_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    Region::create(&path, BYTES, &process_crash()).unwrap().close().unwrap();
    let open = |options: &RegionOptions| drop(Region::open(&path, options).unwrap());
    let syncs = |calls: Vec<Call>| {
        calls.into_iter().filter(|call| matches!(call, Call::Sync | Call::SyncMap)).count()
    };
    assert_eq!(syncs(states_at_syncs(&path, open)), 2, "opened after a close");
    assert_eq!(
        syncs(states_at_syncs(&path, open)),
        0,
        "opened after a kill: all that was dirty would be written"
    );
}

#[test]
fn if_that_cannot_be_made_durable_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 1);
    region.close().unwrap();
    for call in [Call::Sync, Call::SyncMap] {
        let (options, faults) = faulty(&process_crash());
        faults.fail(call, 0, 1, errno(Errno::IO));
        assert!(matches!(Region::open(&path, &options), Err(OpenError::Media(MediaError::IoPoisoned))));
    }
    expect(&path, &process_crash(), block, 1);
}

#[test]
fn closing_makes_the_data_durable_before_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let (options, faults) = faulty(&process_crash());
    let region = Region::create(&path, BYTES, &options).unwrap();
    let block = put_first(&region, 1);
    faults.clear();
    region.close().unwrap();
    let syncs: Vec<_> = faults.made().into_iter().filter(|call| *call != Call::Lock).collect();
    assert_eq!(syncs, [Call::SyncMap, Call::Sync, Call::SyncMap, Call::Sync]);
    // Whichever of them fails, the region is not closed, and says so.
    for (call, nth) in [(Call::SyncMap, 0), (Call::Sync, 0), (Call::SyncMap, 1), (Call::Sync, 1)] {
        let (options, faults) = faulty(&process_crash());
        let region = Region::open(&path, &options).unwrap();
        faults.fail(call, nth, 1, errno(Errno::IO));
        let closed = region.close();
        assert!(
            matches!(closed, Err(CloseError::Media(MediaError::IoPoisoned))),
            "{call:?} {nth}: {closed:?}"
        );
        if nth == 0 {
            let file = std::fs::File::open(&path).unwrap();
            let state = Header::read(&Io::new(), file.as_fd()).unwrap().state;
            assert_eq!(state.shutdown, Shutdown::Open, "{call:?}: said before the data was durable");
        }
        let region = Region::open(&path, &process_crash()).unwrap();
        assert_eq!(get(region.heap(), block), 1);
    }
}

#[test]
fn a_region_without_a_fence_that_works_acknowledges_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let region = Region::create(folder.path().join("region"), BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 1);
    region.heap().mem().poison(MediaError::IoPoisoned);
    assert_eq!(put(&region, block, 2), Err(HeapError::Media(MediaError::IoPoisoned)));
    assert!(matches!(region.grow(2 * BYTES), Err(GrowError::Media(MediaError::IoPoisoned))));
    assert!(matches!(region.close(), Err(CloseError::Media(MediaError::IoPoisoned))));
}

#[test]
fn a_region_whose_file_is_cut_short_acknowledges_nothing_more() {
    for folder in folders() {
        let path = folder.path().join("region");
        let region = Region::create(&path, BYTES, &process_crash()).unwrap();
        let block = put_first(&region, 1);
        std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        assert_eq!(put(&region, block, 2), Err(HeapError::Media(MediaError::RegionLost)));
        assert!(matches!(region.close(), Err(CloseError::Media(MediaError::RegionLost))));
        assert!(Region::open(&path, &process_crash()).is_err());
    }
}
