//! Handlers of signals belong to a process, so most of these run in a process of their own.

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;

use super::*;
use crate::mapping::io::{Io, borrow};
use crate::mapping::{Domain, MapError, MapOptions, Mapping, PAGE};
use crate::mem::Mem;
use crate::test_child;

const LEN: u64 = 16 * PAGE;
/// What a child's own handler ends with.
const HANDLED: c_int = 42;

/// Runs this test in a process of its own, which does `work`.
fn in_child(test: &str, work: impl FnOnce()) -> Option<ExitStatus> {
    test_child::run(&format!("mapping::sigbus::tests::{test}"), "child", |_| work())
}

fn options() -> MapOptions {
    MapOptions { reserve: 64 << 20, ..MapOptions::default() }
}

/// A mapped file, and the file.
fn map(folder: &Path, options: &MapOptions) -> (Mapping, Arc<OwnedFd>) {
    let file = Arc::new(OwnedFd::from(tempfile::tempfile_in(folder).unwrap()));
    Io::new().allocate(borrow(&file), 0, LEN).unwrap();
    (Mapping::shared(Arc::clone(&file), LEN, Domain::ProcessCrash, options).unwrap(), file)
}

/// A folder on a disk's file system, and one on a tmpfs where there is one.
fn folders() -> Vec<PathBuf> {
    let mut folders = vec![std::env::temp_dir()];
    folders.extend(Path::new("/dev/shm").is_dir().then(|| PathBuf::from("/dev/shm")));
    folders
}

/// Touches a page of a file that has none, in a mapping that is no region's.
fn fault_elsewhere() {
    let file = tempfile::tempfile().unwrap();
    // SAFETY: the kernel chooses the addresses.
    let page = unsafe {
        rustix::mm::mmap(ptr::null_mut(), 4096, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap()
    };
    // SAFETY: mapped and aligned; that the access faults is what is being tested.
    unsafe { page.cast::<u8>().read_volatile() };
}

fn handle_with(handler: usize, flags: c_int) {
    // SAFETY: all zeros is a valid `sigaction`, and the handlers given here only end the process.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()), 0);
    }
}

extern "C" fn end_by_signal(signal: c_int) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(if signal == libc::SIGBUS { HANDLED } else { 1 }) }
}

extern "C" fn end_by_info(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passed a valid `siginfo_t`.
    let hole = unsafe { (*info).si_code } == libc::BUS_ADRERR;
    end_by_signal(if hole && !context.is_null() { signal } else { 0 });
}

#[test]
fn a_truncated_file_poisons_its_region_and_no_other() {
    for folder in folders() {
        let (other, _file) = map(&folder, &options());
        let (mem, file) = map(&folder, &options());
        for page in 0..16 {
            mem.store(page * PAGE, page + 1);
        }
        Io::new().truncate(borrow(&file), 4 * PAGE).unwrap();
        assert_eq!((mem.load(3 * PAGE), mem.health()), (4, Ok(())));
        assert_eq!((mem.load(4 * PAGE), mem.health()), (LOST, Err(MediaError::RegionLost)), "{folder:?}");
        mem.store(9 * PAGE, 5);
        assert_eq!((mem.load(9 * PAGE), mem.load(0)), (5, 1));
        assert_eq!(mem.sync(), Err(MediaError::RegionLost));
        other.store(8, 1);
        assert_eq!((other.load(8), other.health()), (1, Ok(())));
    }
}

#[test]
fn many_threads_may_fall_into_the_hole_at_once() {
    for folder in folders() {
        let (mem, file) = map(&folder, &options());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let mem = &mem;
                scope.spawn(move || {
                    // Far more rounds than it takes to truncate; the bound is for the case that nothing poisons.
                    let mut rounds = 0..1_000_000;
                    while mem.health().is_ok() && rounds.next().is_some() {
                        for page in 0..16 {
                            mem.fetch_or(page * PAGE + thread * 8, 1);
                        }
                    }
                });
            }
            Io::new().truncate(borrow(&file), 0).unwrap();
        });
        assert_eq!(mem.health(), Err(MediaError::RegionLost));
    }
}

#[test]
fn a_grown_part_is_guarded_too() {
    let (mem, file) = map(&std::env::temp_dir(), &options());
    Io::new().allocate(borrow(&file), LEN, LEN).unwrap();
    mem.grow(2 * LEN).unwrap();
    Io::new().truncate(borrow(&file), LEN).unwrap();
    assert_eq!((mem.load(LEN - 8), mem.health()), (0, Ok(())));
    assert_eq!((mem.load(2 * LEN - 8), mem.health()), (LOST, Err(MediaError::RegionLost)));
}

#[test]
fn without_the_guard_the_process_ends() {
    let status = in_child("without_the_guard_the_process_ends", || {
        let (mem, file) = map(&std::env::temp_dir(), &MapOptions { guard_truncation: false, ..options() });
        Io::new().truncate(borrow(&file), 0).unwrap();
        mem.load(0);
    });
    assert!(status.is_none_or(|status| status.signal() == Some(libc::SIGBUS)), "{status:?}");
}

#[test]
fn a_fault_elsewhere_ends_the_process_as_ever() {
    let status = in_child("a_fault_elsewhere_ends_the_process_as_ever", || {
        let (_mem, _file) = map(&std::env::temp_dir(), &options());
        fault_elsewhere();
    });
    assert!(status.is_none_or(|status| status.signal() == Some(libc::SIGBUS)), "{status:?}");
}

#[test]
fn a_fault_in_what_was_a_region_ends_the_process_as_ever() {
    let status = in_child("a_fault_in_what_was_a_region_ends_the_process_as_ever", || {
        let (mem, _file) = map(&std::env::temp_dir(), &options());
        let base = mem.base;
        drop(mem);
        let file = tempfile::tempfile().unwrap();
        let flags = MapFlags::SHARED | MapFlags::FIXED_NOREPLACE;
        // SAFETY: nothing is mapped there any more, and NOREPLACE would fail if there were. That the access faults is
        // what is being tested.
        unsafe {
            let page = rustix::mm::mmap(base.cast(), 4096, ProtFlags::READ, flags, &file, 0).unwrap();
            page.cast::<u8>().read_volatile();
        }
    });
    assert!(status.is_none_or(|status| status.signal() == Some(libc::SIGBUS)), "{status:?}");
}

#[test]
fn a_signal_that_was_sent_ends_a_process_that_handled_none() {
    let status = in_child("a_signal_that_was_sent_ends_a_process_that_handled_none", || {
        // The standard library has a handler, which lets one that was sent pass.
        handle_with(libc::SIG_DFL, 0);
        let (_mem, _file) = map(&std::env::temp_dir(), &options());
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
    });
    assert!(status.is_none_or(|status| status.signal() == Some(libc::SIGBUS)), "{status:?}");
}

#[test]
fn a_fault_elsewhere_goes_to_the_handler_before() {
    let status = in_child("a_fault_elsewhere_goes_to_the_handler_before", || {
        handle_with(end_by_signal as extern "C" fn(c_int) as usize, 0);
        let (mem, file) = map(&std::env::temp_dir(), &options());
        Io::new().truncate(borrow(&file), 0).unwrap();
        mem.load(0);
        assert_eq!(mem.health(), Err(MediaError::RegionLost));
        fault_elsewhere();
    });
    assert!(status.is_none_or(|status| status.code() == Some(HANDLED)), "{status:?}");
}

#[test]
fn a_fault_elsewhere_goes_to_the_handler_before_with_its_address() {
    let status = in_child("a_fault_elsewhere_goes_to_the_handler_before_with_its_address", || {
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = end_by_info;
        handle_with(handler as usize, libc::SA_SIGINFO);
        let (_mem, _file) = map(&std::env::temp_dir(), &options());
        fault_elsewhere();
    });
    assert!(status.is_none_or(|status| status.code() == Some(HANDLED)), "{status:?}");
}

#[test]
fn more_mappings_than_can_be_guarded_are_refused_until_one_ends() {
    let status = in_child("more_mappings_than_can_be_guarded_are_refused_until_one_ends", || {
        let file = Arc::new(OwnedFd::from(tempfile::tempfile().unwrap()));
        Io::new().allocate(borrow(&file), 0, PAGE).unwrap();
        let open = || Mapping::read_only(Arc::clone(&file), PAGE, &MapOptions { reserve: 0, ..options() });
        let mut all: Vec<_> = (0..SLOTS).map(|_| open().unwrap()).collect();
        assert!(matches!(open(), Err(MapError::Sigbus(SigbusError::TooMany))));
        all.swap_remove(SLOTS / 2);
        all.push(open().unwrap());
        assert!(open().is_err());
    });
    assert!(status.is_none_or(|status| status.success()), "{status:?}");
}

#[test]
fn a_forked_child_neither_sees_the_mapping_nor_unmaps_anything() {
    let status = in_child("a_forked_child_neither_sees_the_mapping_nor_unmaps_anything", || {
        let (mem, _file) = map(&std::env::temp_dir(), &options());
        mem.store(0, 7);
        // SAFETY: the child goes on with this one thread, as the tests here leave no lock taken.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let here = !mem.belongs_to_this_process();
            let flags = MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE;
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: NOREPLACE: this fails if the parent's mapping were here.
            let own = unsafe { mmap_anonymous(mem.base.cast(), LEN as usize, protection, flags) };
            let own = own.map_or(ptr::null_mut(), |own| own.cast::<u8>());
            drop(mem);
            // SAFETY: mapped just now if it is not null; if the drop unmapped it, this fails the test by a signal.
            let untouched = !own.is_null() && unsafe { own.read_volatile() } == 0;
            // SAFETY: ends this process.
            unsafe { libc::_exit(if here && untouched { HANDLED } else { 1 }) }
        }
        let mut status = 0;
        // SAFETY: `status` is valid for the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(ExitStatus::from_raw(status).code(), Some(HANDLED));
        assert_eq!(mem.load(0), 7);
    });
    assert!(status.is_none_or(|status| status.success()), "{status:?}");
}
