use super::*;
use crate::line_log::LogError;
use crate::region::log::path_of;

#[test]
fn what_is_stored_reaches_the_file_through_the_log_alone() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    assert_eq!(region.domain(), Domain::File);
    let before = std::fs::read(&path).unwrap();
    let block = put_first(&region, 1);
    assert!(std::fs::read(&path).unwrap() == before, "the file was changed before a checkpoint");
    region.close().unwrap();
    assert!(std::fs::read(&path).unwrap() != before);
    expect(&path, &power_fail, block, 1);
}

#[test]
fn far_more_than_the_log_holds_can_be_stored() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 0);
    for value in 1..3000 {
        put(&region, block, value).unwrap();
    }
    drop(region);
    expect(&path, &power_fail, block, 2999);
}

#[test]
fn a_region_that_was_open_does_not_open_without_its_log() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 1);
    drop(region);
    let aside = folder.path().join("aside");
    std::fs::rename(path_of(&path), &aside).unwrap();
    for options in [power_fail.clone(), process_crash()] {
        assert!(matches!(Region::open(&path, &options), Err(OpenError::Log(LogError::Missing))));
        assert!(matches!(Region::open_read_only(&path, &options), Err(OpenError::Log(LogError::Missing))));
    }
    // Nor with that of another region.
    let other = folder.path().join("other");
    drop(Region::create(&other, BYTES, &power_fail).unwrap());
    std::fs::copy(path_of(&other), path_of(&path)).unwrap();
    assert!(matches!(Region::open(&path, &power_fail), Err(OpenError::Log(LogError::Foreign))));
    std::fs::rename(&aside, path_of(&path)).unwrap();
    expect(&path, &power_fail, block, 1);
}

#[test]
fn a_region_that_was_closed_gets_a_new_log() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 1);
    region.close().unwrap();
    std::fs::remove_file(path_of(&path)).unwrap();
    expect(&path, &power_fail, block, 1);
    assert!(path_of(&path).exists());
}

#[test]
fn a_log_that_is_in_the_way_is_not_replaced() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    std::fs::write(path_of(&path), "mine").unwrap();
    let refused = Region::create(&path, BYTES, &power_fail);
    assert!(matches!(refused, Err(CreateError::Exists { .. })), "{refused:?}");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    region.close().unwrap();
    for _ in 0..2 {
        let refused = Region::open(&path, &power_fail);
        assert!(matches!(refused, Err(OpenError::MakeLog(_))), "{refused:?}");
    }
    assert_eq!(std::fs::read(path_of(&path)).unwrap(), b"mine");
    Region::open(&path, &process_crash()).unwrap().close().unwrap();
}

#[test]
fn a_region_goes_from_one_domain_to_another_closed_or_killed() {
    let (folder, power_fail) = quick_log();
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let path = folder.path().join(format!("region{seed}"));
        let pick =
            |random: &mut fastrand::Rng| if random.bool() { power_fail.clone() } else { process_crash() };
        let region = Region::create(&path, BYTES, &pick(&mut random)).unwrap();
        let block = put_first(&region, 0);
        drop(region);
        for step in 1..12 {
            let options = pick(&mut random);
            let region =
                Region::open(&path, &options).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            assert_eq!(get(region.heap(), block), step - 1, "seed {seed}");
            put(&region, block, step).unwrap();
            if random.bool() {
                region.close().unwrap();
            }
        }
    }
}

#[test]
fn a_log_that_cannot_be_written_poisons() {
    let (folder, power_fail) = quick_log();
    for (call, failure) in [(Call::SyncData, Errno::IO), (Call::Write, Errno::NOSPC)] {
        let path = folder.path().join(format!("{call:?}"));
        let (options, faults) = faulty(&power_fail);
        let region = Region::create(&path, BYTES, &options).unwrap();
        let block = put_first(&region, 1);
        faults.fail(call, 0, 1, errno(failure));
        let poisoned = Err(HeapError::Media(MediaError::IoPoisoned));
        assert_eq!(put(&region, block, 2), poisoned);
        assert_eq!(put(&region, block, 3), poisoned);
        assert!(region.close().is_err());
        let region = Region::open(&path, &power_fail).unwrap();
        let value = get(region.heap(), block);
        assert!(value == 1 || value == 2, "{value}");
        region.close().unwrap();
    }
}

#[test]
fn whichever_call_of_opening_or_closing_fails_nothing_is_lost() {
    // Where unlocking is what fails.
    let _none = test_child::start_none();
    let (folder, power_fail) = quick_log();
    for killed in [false, true] {
        let path = folder.path().join(format!("killed {killed}"));
        let region = Region::create(&path, BYTES, &power_fail).unwrap();
        let block = put_first(&region, 0);
        region.close().unwrap();
        for nth in 0..500 {
            let region = Region::open(&path, &power_fail).unwrap();
            put(&region, block, nth).unwrap();
            if killed {
                drop(region);
            } else {
                region.close().unwrap();
            }
            let (options, faults) = faulty(&power_fail);
            faults.fail_any(nth, errno(Errno::IO));
            let result =
                Region::open(&path, &options).map_err(drop).and_then(|region| region.close().map_err(drop));
            let calls = faults.made();
            let done = nth as usize >= calls.len();
            assert!(
                done || result.is_err() || calls[nth as usize] == Call::Lock,
                "{:?} was ignored",
                calls[nth as usize]
            );
            expect(&path, &power_fail, block, nth);
            if done {
                assert!(nth > 20, "{nth} calls");
                break;
            }
        }
    }
}

#[test]
fn what_the_page_cache_may_hold_alone_is_synced_before_a_line_is_logged() {
    // Nothing of it is known to be durable; and: that it is open may not be.
    for in_page_cache in [true, false] {
        let (folder, power_fail) = quick_log();
        let path = folder.path().join("region");
        if in_page_cache {
            drop(Region::create(&path, BYTES, &process_crash()).unwrap());
        } else {
            Region::create(&path, BYTES, &power_fail).unwrap().close().unwrap();
            change_state(&path, |state| {
                state.shutdown = Shutdown::Open;
                state.boot_id = NO_BOOT;
            });
        }
        let (options, faults) = faulty(&power_fail);
        Region::open(&path, &options).unwrap();
        let made = faults.made();
        let synced = made.iter().position(|made| *made == Call::Sync).unwrap();
        // To the log's head, and to two places where a frame may begin.
        let writes = made[..synced].iter().filter(|call| **call == Call::Write).count();
        assert!(writes <= if in_page_cache { 0 } else { 3 }, "{made:?}");
        // Before any page of it is mapped, so that what is synced is what the process before has left.
        assert!(made[..synced].iter().filter(|call| **call == Call::Map).count() <= 1, "{made:?}");
    }
}

#[test]
fn after_a_kill_opening_neither_syncs_nor_writes_the_file() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 1);
    drop(region);
    for value in 2..6 {
        let before = std::fs::read(&path).unwrap();
        let (options, faults) = faulty(&power_fail);
        let region = Region::open(&path, &options).unwrap();
        assert!(!faults.made().contains(&Call::Sync), "{:?}", faults.made());
        assert!(std::fs::read(&path).unwrap() == before, "the file was changed");
        assert_eq!(get(region.heap(), block), value - 1);
        put(&region, block, value).unwrap();
    }
    expect(&path, &power_fail, block, 5);
}

#[test]
fn a_region_that_has_grown_is_as_long_when_its_log_alone_says_so() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 1);
    region.grow(2 * BYTES).unwrap();
    drop(region);
    let of_file = Header::read(&Io::new(), std::fs::File::open(&path).unwrap().as_fd()).unwrap();
    assert_eq!(of_file.state.region_bytes, BYTES, "a checkpoint has told the file");
    let region = Region::open(&path, &power_fail).unwrap();
    assert_eq!(region.bytes(), 2 * BYTES);
    assert_eq!(get(region.heap(), block), 1);
    region.close().unwrap();
}

const KILLED: &str = "region::tests::log::killed_while_its_log_is_made_a_region_opens_in_any_domain";

/// Makes it a region that was left open in a domain that survives power losses, without a log.
fn forget_boot(path: &Path) {
    change_state(path, |state| state.boot_id = NO_BOOT);
}

/// Writes the next state into the file.
fn change_state(path: &Path, change: impl FnOnce(&mut State)) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut header = Header::read(&Io::new(), file.as_fd()).unwrap();
    let mapping =
        Mapping::shared(Arc::new(file.into()), BYTES, Domain::ProcessCrash, &process_crash().map_options())
            .unwrap();
    change(&mut header.state);
    header.state.store_next(&mapping, header.superblock.checksum_seed());
}

#[test]
fn killed_while_its_log_is_made_a_region_opens_in_any_domain() {
    if let Some(job) = test_child::argument() {
        let job = job.to_str().unwrap().to_owned();
        let (path, nth) = job.split_once('|').unwrap();
        let (options, faults) = faulty(&quick_log().1);
        faults.fail_any(nth.parse().unwrap(), Fault::Kill);
        Region::open(path, &options).unwrap().close().unwrap();
        return;
    }
    let (folder, power_fail) = quick_log();
    for left in ["closed", "open", "open on persistent memory"] {
        for nth in 0..300 {
            let path = folder.path().join("region");
            let region = Region::create(&path, BYTES, &process_crash()).unwrap();
            let block = put_first(&region, nth);
            match left {
                "closed" => region.close().unwrap(),
                "open" => drop(region),
                _ => {
                    drop(region);
                    forget_boot(&path);
                }
            }
            let job = format!("{}|{nth}", path.display());
            let status = test_child::start(KILLED, job).wait_with_output().unwrap().status;
            let options = if nth % 2 == 0 { &power_fail } else { &process_crash() };
            expect(&path, options, block, nth);
            for name in names(folder.path()) {
                std::fs::remove_file(folder.path().join(name)).unwrap();
            }
            if status.success() {
                assert!(nth > 20, "{nth} calls");
                break;
            }
        }
    }
}

/// A head that was overwritten by a newer one counts again if that is damaged, and with it lines that were in the file long ago.
#[test]
fn old_lines_do_not_come_back_into_a_region_that_was_closed() {
    let (folder, power_fail) = quick_log();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &power_fail).unwrap();
    let block = put_first(&region, 0);
    for value in 1..9 {
        put(&region, block, value).unwrap();
        // Of each checkpoint the lines stay in the log, for the head before.
        region.file.as_ref().unwrap().log.as_ref().unwrap().checkpoint();
    }
    region.close().unwrap();
    let (file, log) = (std::fs::read(&path).unwrap(), std::fs::read(path_of(&path)).unwrap());
    let mut refused = 0;
    for head in [0, 0x1000] {
        let mut damaged = log.clone();
        damaged[head + 20] ^= 4;
        std::fs::write(&path, &file).unwrap();
        std::fs::write(path_of(&path), &damaged).unwrap();
        match Region::open(&path, &power_fail) {
            Ok(region) => drop(region),
            Err(error) => {
                assert!(matches!(error, OpenError::Log(LogError::Corrupt { .. })), "{error:?}");
                assert!(std::fs::read(&path).unwrap() == file, "a region that was refused was changed");
                // It needs no log.
                std::fs::remove_file(path_of(&path)).unwrap();
                refused += 1;
            }
        }
        expect(&path, &power_fail, block, 8);
    }
    assert_eq!(refused, 1);
}
