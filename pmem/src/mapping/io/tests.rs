use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::*;
use crate::mapping::faults::Fault;

fn errno(errno: Errno) -> Fault {
    Fault::Errno(errno.raw_os_error())
}

fn with_faults() -> (Io, Arc<Faults>, OwnedFd) {
    let faults = Arc::new(Faults::new());
    (Io::with_faults(Arc::clone(&faults)), faults, tempfile::tempfile().unwrap().into())
}

#[test]
fn an_interrupted_call_is_made_again() {
    let (io, faults, file) = with_faults();
    let file = borrow(&file);
    for call in [
        Call::Write,
        Call::Read,
        Call::Allocate,
        Call::Sync,
        Call::SyncData,
        Call::Truncate,
        Call::Lock,
        Call::Stat,
    ] {
        faults.fail(call, 0, 3, errno(Errno::INTR));
    }
    assert_eq!(io.allocate(file, 0, 4096), Ok(()));
    assert_eq!(io.write_all(file, 10, b"abide"), Ok(()));
    let mut out = [0; 5];
    assert_eq!(io.read_up_to(file, 10, &mut out), Ok(5));
    assert_eq!(&out, b"abide");
    assert_eq!(io.sync(file), Ok(()));
    assert_eq!(io.sync_data(file), Ok(()));
    assert_eq!(io.truncate(file, 100), Ok(()));
    assert_eq!(io.lock(file, LockOperation::Exclusive), Ok(()));
    assert_eq!(io.stat(file).unwrap().len, 100);
    assert_eq!(faults.made().len(), 8 * 4);
}

#[test]
fn short_transfers_go_on_where_they_stopped() {
    let (io, faults, file) = with_faults();
    let file = borrow(&file);
    let bytes: Vec<u8> = (0..100).collect();
    faults.fail(Call::Write, 0, 3, Fault::Short(7));
    assert_eq!(io.write_all(file, 3, &bytes), Ok(()));
    assert_eq!(faults.made(), [Call::Write; 4]);
    faults.fail(Call::Read, 0, 3, Fault::Short(9));
    let mut out = [0; 110];
    assert_eq!(io.read_up_to(file, 3, &mut out), Ok(100));
    assert_eq!(out[..100], bytes);
}

#[test]
fn a_write_that_moves_nothing_is_an_error_and_no_hang() {
    let (io, faults, file) = with_faults();
    faults.fail(Call::Write, 0, 1, Fault::Short(0));
    assert_eq!(io.write_all(borrow(&file), 0, b"x"), Err(Errno::IO));
}

#[test]
fn a_full_disk_is_told_by_every_call_that_needs_blocks() {
    let (io, faults, file) = with_faults();
    let file = borrow(&file);
    for full in [Errno::NOSPC, Errno::DQUOT] {
        faults.fail(Call::Allocate, 0, 1, errno(full));
        assert_eq!(io.allocate(file, 0, 4096), Err(full));
        // The second write of the fallback.
        faults.fail(Call::Allocate, 0, 1, errno(Errno::OPNOTSUPP));
        faults.fail(Call::Write, 1, 1, errno(full));
        assert_eq!(io.allocate(file, 0, 1 << 20), Err(full));
        assert_eq!(io.truncate(file, 0), Ok(()));
    }
}

#[test]
fn where_the_file_system_cannot_allocate_zeros_are_written_and_no_data_is_touched() {
    let (io, faults, file) = with_faults();
    let file = borrow(&file);
    io.write_all(file, 0, &[7; 5000]).unwrap();
    faults.fail(Call::Allocate, 0, 1, errno(Errno::OPNOTSUPP));
    assert_eq!(io.allocate(file, 4096, 200_000), Ok(()));
    let mut all = vec![1; 300_000];
    assert_eq!(io.read_up_to(file, 0, &mut all), Ok(204_096));
    assert!(all[..5000].iter().all(|byte| *byte == 7) && all[5000..204_096].iter().all(|byte| *byte == 0));
    let stat = rustix::fs::fstat(file).unwrap();
    assert!(stat.st_blocks as u64 * 512 >= 204_096, "holes are left: {} blocks", stat.st_blocks);
}

#[test]
fn a_file_without_a_name_gets_one_only_if_it_is_free() {
    let io = Io::new();
    let folder = tempfile::tempdir().unwrap();
    let folder_fd = io.open(folder.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let file = match io.open_unnamed(borrow(&folder_fd), Mode::from(0o600)) {
        Ok(file) => file,
        Err(errno) => return eprintln!("skipped: this file system has no files without a name ({errno})"),
    };
    assert!(!io.stat(borrow(&file)).unwrap().named);
    assert_eq!(io.link(borrow(&file), borrow(&folder_fd), OsStr::new("a")), Ok(()));
    assert_eq!(io.link(borrow(&file), borrow(&folder_fd), OsStr::new("a")), Err(Errno::EXIST));
    let named = io.stat_at(borrow(&folder_fd), OsStr::new("a")).unwrap();
    assert_eq!((named, named.named), (io.stat(borrow(&file)).unwrap(), true));
}

#[test]
fn faults_meet_the_call_that_they_were_planned_for() {
    let (io, faults, file) = with_faults();
    let file = borrow(&file);
    faults.fail_any(2, errno(Errno::IO));
    assert_eq!((io.sync(file), io.sync_data(file), io.truncate(file, 1)), (Ok(()), Ok(()), Err(Errno::IO)));
    assert_eq!(io.truncate(file, 1), Ok(()));
    faults.fail(Call::Sync, 1, 2, errno(Errno::IO));
    let synced: Vec<_> = (0..4).map(|_| io.sync(file).is_ok()).collect();
    assert_eq!(synced, [true, false, false, true]);
    faults.fail(Call::Sync, 0, 1, errno(Errno::IO));
    faults.clear();
    assert_eq!((io.sync(file), faults.made()), (Ok(()), vec![Call::Sync]));
}
