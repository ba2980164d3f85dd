use std::fs::File;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::*;

const LEN: u64 = 4 * PAGE;
const SITE: Site = Site::FormatFlush;

fn options() -> MapOptions {
    MapOptions { reserve: 1 << 30, ..MapOptions::default() }
}

fn file(len: u64) -> Arc<OwnedFd> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    Arc::new(OwnedFd::from(file))
}

fn contents(file: &Arc<OwnedFd>, offset: u64) -> u64 {
    let mut word = [0; 8];
    assert_eq!(Io::new().read_up_to(io::borrow(file), offset, &mut word), Ok(8));
    u64::from_le_bytes(word)
}

#[track_caller]
fn panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "should have panicked");
}

fn exercise(mem: &Mapping) {
    for offset in [0, 8, PAGE - 8, PAGE, mem.len() - 8] {
        mem.store(offset, 0xF0);
        assert_eq!(mem.load(offset), 0xF0);
        assert_eq!(mem.compare_exchange(offset, 1, 2), Err(0xF0));
        assert_eq!(mem.compare_exchange(offset, 0xF0, 0xFF), Ok(0xF0));
        assert_eq!(mem.fetch_and(offset, 0x3C), 0xFF);
        assert_eq!(mem.fetch_or(offset, 0x01), 0x3C);
        assert_eq!(mem.load(offset), 0x3D);
        mem.flush(SITE, offset, 8);
        mem.order(SITE);
        mem.fence(SITE);
    }
    mem.flush(SITE, 0, mem.len());
    mem.flush(SITE, mem.len(), 0);
    mem.fence(SITE);
    assert_eq!(mem.health(), Ok(()));
}

fn refuse_wild_accesses(mem: &Mapping) {
    let len = mem.len();
    for offset in [len, len + 8, len - 4, 1, 7, 1 << 40, u64::MAX, u64::MAX - 7] {
        panics(|| mem.load(offset));
        panics(|| mem.store(offset, 1));
        panics(|| mem.compare_exchange(offset, 0, 1));
        panics(|| mem.fetch_or(offset, 1));
        panics(|| mem.fetch_and(offset, 1));
    }
    for (offset, bytes) in [(len, 1), (len - 8, 9), (0, len + 1), (8, u64::MAX), (u64::MAX, 1)] {
        panics(|| mem.flush(SITE, offset, bytes));
    }
}

#[test]
fn every_kind_of_mapping_is_memory_and_stays_inside_of_its_bounds() {
    let opened = file(LEN);
    for mem in [
        Mapping::anonymous(LEN, &options()).unwrap(),
        Mapping::shared(Arc::clone(&opened), LEN, Domain::ProcessCrash, &options()).unwrap(),
        Mapping::private_copy(Arc::clone(&opened), LEN, &options()).unwrap(),
    ] {
        exercise(&mem);
        refuse_wild_accesses(&mem);
    }
}

#[test]
fn every_write_back_instruction_of_this_processor_runs() {
    let mut ran = 0;
    for instruction in [Instruction::Clflush, Instruction::ClflushOpt, Instruction::Clwb] {
        let Some(write_back) = WriteBack::with(instruction) else { continue };
        let options = MapOptions { force_flush: true, write_back: Some(write_back), ..options() };
        let mem = Mapping::shared(file(LEN), LEN, Domain::ProcessCrash, &options).unwrap();
        assert_eq!(mem.write_back(), Some(write_back));
        exercise(&mem);
        refuse_wild_accesses(&mem);
        ran += 1;
    }
    assert!(ran > 0 || !cfg!(target_arch = "x86_64"));
}

#[test]
fn the_page_cache_is_not_flushed_by_instruction_unless_forced() {
    let mem = Mapping::shared(file(LEN), LEN, Domain::ProcessCrash, &options()).unwrap();
    assert_eq!(mem.write_back(), None);
}

#[test]
fn stores_to_a_shared_map_reach_the_file_and_to_a_copy_do_not() {
    let opened = file(LEN);
    let shared = Mapping::shared(Arc::clone(&opened), LEN, Domain::ProcessCrash, &options()).unwrap();
    let copy = Mapping::private_copy(Arc::clone(&opened), LEN, &options()).unwrap();
    shared.store(PAGE, 1);
    copy.store(2 * PAGE, 2);
    assert_eq!((contents(&opened, PAGE), contents(&opened, 2 * PAGE)), (1, 0));
    assert_eq!((copy.load(PAGE), copy.load(2 * PAGE), copy.domain()), (1, 2, Domain::Volatile));
}

#[test]
fn a_read_only_map_reads_and_refuses_to_store() {
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), [7; LEN as usize]).unwrap();
    let opened = Arc::new(OwnedFd::from(File::open(path.path()).unwrap()));
    let mem = Mapping::read_only(opened, LEN, &options()).unwrap();
    assert!(mem.is_read_only());
    assert_eq!(mem.load(LEN - 8), 0x0707_0707_0707_0707);
    panics(|| mem.store(0, 1));
    panics(|| mem.compare_exchange(0, 0, 1));
    panics(|| mem.fetch_or(0, 0));
    panics(|| mem.fetch_and(0, 0));
    mem.flush(SITE, 0, 8);
    mem.fence(SITE);
}

#[test]
fn a_length_that_no_page_ends_at_is_refused() {
    for len in [0, 1, PAGE - 1, PAGE + 8, u64::MAX] {
        assert!(matches!(Mapping::anonymous(len, &options()), Err(MapError::BadLength { .. })), "{len}");
    }
    let mem = Mapping::anonymous(PAGE, &options()).unwrap();
    assert!(matches!(mem.grow(PAGE + 1), Err(MapError::BadLength { .. })));
    assert!(matches!(Mapping::anonymous(1 << 62, &options()), Err(MapError::NoAddresses { .. })));
}

#[test]
fn growing_neither_moves_nor_disturbs_what_is_there() {
    let opened = file(LEN);
    let mem = Mapping::shared(Arc::clone(&opened), PAGE, Domain::ProcessCrash, &options()).unwrap();
    let base = mem.base;
    mem.store(0, 42);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(mem.load(0), 42);
                // The last word of whatever length is seen can be loaded and stored.
                let last = mem.len() - 8;
                mem.store(last, mem.load(last));
            }
        });
        for pages in 2..=4 {
            panics(|| mem.load((pages - 1) * PAGE));
            mem.grow(pages * PAGE).unwrap();
            mem.store(pages * PAGE - 8, pages);
        }
        stop.store(true, Ordering::SeqCst);
    });
    mem.grow(PAGE).unwrap();
    assert_eq!((mem.base, mem.len()), (base, LEN));
    assert_eq!(contents(&opened, LEN - 8), 4);
}

#[test]
fn growth_ends_at_the_reserve() {
    let mem = Mapping::anonymous(PAGE, &MapOptions { reserve: 4 << 20, ..options() }).unwrap();
    mem.grow(4 << 20).unwrap();
    mem.store((4 << 20) - 8, 1);
    assert!(
        matches!(mem.grow((4 << 20) + PAGE), Err(MapError::OutOfReserve { reserved, .. }) if reserved == 4 << 20)
    );
}

#[test]
fn a_refused_map_is_an_error_and_growing_can_be_tried_again() {
    let faults = Arc::new(Faults::new());
    let options = MapOptions { io: Io::with_faults(Arc::clone(&faults)), ..options() };
    faults.fail(Call::Map, 0, 1, Fault::Errno(Errno::NOMEM.raw_os_error()));
    assert!(matches!(Mapping::anonymous(LEN, &options), Err(MapError::Refused { .. })));
    faults.fail(Call::Reserve, 0, 1000, Fault::Errno(Errno::NOMEM.raw_os_error()));
    assert!(matches!(Mapping::anonymous(LEN, &options), Err(MapError::NoAddresses { .. })));
    faults.clear();

    let mem = Mapping::anonymous(PAGE, &options).unwrap();
    faults.fail(Call::Map, 0, 1, Fault::Errno(Errno::NOMEM.raw_os_error()));
    assert!(matches!(mem.grow(LEN), Err(MapError::Refused { .. })));
    assert_eq!((mem.len(), mem.load(0), mem.health()), (PAGE, 0, Ok(())));
    mem.grow(LEN).unwrap();
    assert_eq!(mem.load(LEN - 8), 0);
}

#[test]
fn a_map_that_the_kernel_refuses_costs_no_memory_of_others() {
    // A file that is not open for writing cannot be mapped shared and writable: the kernel itself refuses.
    let path = tempfile::NamedTempFile::new().unwrap();
    path.as_file().set_len(LEN).unwrap();
    let opened = Arc::new(OwnedFd::from(File::open(path.path()).unwrap()));
    let refused = Mapping::shared(opened, LEN, Domain::ProcessCrash, &options());
    assert!(matches!(refused, Err(MapError::Refused { .. })), "{refused:?}");
}

#[test]
fn what_cannot_be_synced_poisons() {
    for call in [Call::SyncMap, Call::Sync] {
        let faults = Arc::new(Faults::new());
        let options = MapOptions { io: Io::with_faults(Arc::clone(&faults)), ..options() };
        let mem = Mapping::shared(file(LEN), LEN, Domain::ProcessCrash, &options).unwrap();
        mem.store(0, 1);
        assert_eq!(mem.sync(), Ok(()));
        faults.fail(call, 0, 1, Fault::Errno(Errno::IO.raw_os_error()));
        assert_eq!(mem.sync(), Err(MediaError::IoPoisoned));
        // It may not be tried again with success: the kernel has forgotten the pages.
        assert_eq!((mem.sync(), mem.health()), (Err(MediaError::IoPoisoned), Err(MediaError::IoPoisoned)));
        mem.poison(MediaError::RegionLost);
        assert_eq!(mem.health(), Err(MediaError::IoPoisoned));
    }
}

#[derive(Debug, Default)]
struct RecordingLog {
    lines: Mutex<Vec<(u64, [u64; 8])>>,
    commits: Mutex<Vec<usize>>,
    failed: AtomicBool,
}

impl LineSink for Arc<RecordingLog> {
    fn append(&self, offset: u64, lines: u64, collect: &mut dyn FnMut(u64) -> [u64; 8]) {
        let images = (0..lines).map(|line| offset + line * LINE).map(|at| (at, collect(at)));
        self.lines.lock().unwrap().extend(images);
    }

    fn commit(&self) {
        self.commits.lock().unwrap().push(self.lines.lock().unwrap().len());
    }

    fn health(&self) -> Result<(), MediaError> {
        if self.failed.load(Ordering::SeqCst) { Err(MediaError::IoPoisoned) } else { Ok(()) }
    }
}

#[test]
fn a_logged_mapping_gives_every_flushed_line_to_its_log_and_none_to_the_file() {
    let opened = file(LEN);
    let log = Arc::new(RecordingLog::default());
    let mem = Mapping::logged(Arc::clone(&opened), LEN, Box::new(Arc::clone(&log)), &options()).unwrap();
    assert_eq!((mem.domain(), mem.domain().persistence()), (Domain::File, Persistence::PowerFail));
    for word in 0..24 {
        mem.store(word * 8, word + 1);
    }
    mem.flush(SITE, 120, 16);
    mem.order(SITE);
    assert!(log.commits.lock().unwrap().is_empty(), "order must not wait");
    mem.fence(SITE);
    let line = |first: u64| std::array::from_fn(|i| first + i as u64);
    assert_eq!(*log.lines.lock().unwrap(), [(64, line(9)), (128, line(17))]);
    assert_eq!(*log.commits.lock().unwrap(), [2]);
    assert_eq!(contents(&opened, 64), 0);
    assert_eq!(mem.health(), Ok(()));
    log.failed.store(true, Ordering::SeqCst);
    assert_eq!(mem.health(), Err(MediaError::IoPoisoned));
}

/// Ends as a test does that was run in a child: with 0 if it succeeded.
fn in_forked_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: this process runs one test, whose thread holds no lock; the child goes on with that thread alone.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let good = catch_unwind(AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: ends this process.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for the call.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status == 0
}

#[test]
fn a_forked_child_can_neither_close_nor_unlock_its_parents_region() {
    let name = "mapping::tests::a_forked_child_can_neither_close_nor_unlock_its_parents_region";
    let status = crate::test_child::run(name, "child", |_| {
        let folder = tempfile::tempdir().unwrap();
        for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
            let path = folder.path().join(format!("{persistence:?}"));
            let options = crate::RegionOptions {
                geometry: crate::Geometry::tiny(),
                force_file_system: true,
                ..crate::RegionOptions::new(persistence)
            };
            let open = || crate::Region::create(&path, 64 << 10, &options).unwrap();
            let is_locked = || {
                let again = crate::Region::open(&path, &options);
                matches!(again, Err(crate::region::OpenError::InUse(_)))
            };
            let mut region = Some(open());
            assert!(in_forked_child(|| {
                let closed = region.take().unwrap().close();
                matches!(closed, Err(crate::region::CloseError::NotOurs))
            }));
            assert!(in_forked_child(|| {
                drop(region.take());
                true
            }));
            // By another process, since the list of this one says no before the lock is asked.
            let path_locked =
                std::process::Command::new("flock").args(["-n", "-x"]).arg(&path).arg("true").status();
            assert!(is_locked() && path_locked.is_ok_and(|status| !status.success()));
            region.unwrap().close().unwrap();
        }
    });
    assert!(status.is_none_or(|status| status.success()), "{status:?}");
}
