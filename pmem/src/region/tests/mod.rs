//! Regions in real files. Each test works in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::io::Errno;

use super::*;
use crate::HeapError;
use crate::heap::View;
use crate::layout::Geometry;
use crate::line_log;
use crate::mapping::{Call, Fault, Faults};
use crate::test_child;

mod create;
mod exclusive;
mod fork;
mod grow;
mod input;
mod log;
mod power;
mod read_only;

const BYTES: u64 = 64 << 10;

fn with(persistence: Persistence) -> RegionOptions {
    RegionOptions {
        geometry: Geometry::tiny(),
        reserve: 64 << 20,
        log: line_log::Options::new(256 << 10, 64).unwrap(),
        ..RegionOptions::new(persistence)
    }
}

/// A folder whose file system is quick to sync, where there is one, and options with which a log can be there.
fn quick_log() -> (tempfile::TempDir, RegionOptions) {
    let options = RegionOptions { force_file_system: true, ..with(Persistence::PowerFail) };
    (folders().pop().unwrap(), options)
}

fn process_crash() -> RegionOptions {
    with(Persistence::ProcessCrash)
}

/// Options whose system calls can be made to fail.
fn faulty(options: &RegionOptions) -> (RegionOptions, Arc<Faults>) {
    let faults = Arc::new(Faults::new());
    (RegionOptions { io: Io::with_faults(Arc::clone(&faults)), ..options.clone() }, faults)
}

fn errno(errno: Errno) -> Fault {
    Fault::Errno(errno.raw_os_error())
}

/// A folder on a disk's file system, and then one on a tmpfs where there is one.
fn folders() -> Vec<tempfile::TempDir> {
    let mut folders = vec![tempfile::tempdir().unwrap()];
    if Path::new("/dev/shm").is_dir() {
        folders.push(tempfile::tempdir_in("/dev/shm").unwrap());
    }
    folders
}

/// Whether the folder's file system has what `PowerFail` on an ordinary file takes.
fn can_log(folder: &Path) -> bool {
    let request = with(Persistence::PowerFail).domain_request();
    let folder = Io::new().open(folder, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    request.admit(&Io::new(), folder.as_fd()).is_ok()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The first block that a new region gives.
fn first_block() -> u64 {
    let region = Region::volatile(BYTES, &process_crash()).unwrap();
    region.heap().atomically::<_, HeapError>(0, |tx| tx.allocate(64)).unwrap()
}

/// Allocates the first block and writes the value into it.
fn put_first(region: &Region, value: u64) -> u64 {
    let block = region.heap().atomically::<_, HeapError>(0, |tx| tx.allocate(64)).unwrap();
    put(region, block, value).unwrap();
    block
}

fn put(region: &Region, block: u64, value: u64) -> Result<(), HeapError> {
    region.heap().atomically(0, |tx| tx.write(block, value))
}

fn get(heap: &Heap<Mapping>, block: u64) -> u64 {
    heap.reader(0).word(block)
}

/// Opens the region, expects the value, closes it.
#[track_caller]
fn expect(path: &Path, options: &RegionOptions, block: u64, value: u64) {
    let region = Region::open(path, options).unwrap();
    assert_eq!(get(region.heap(), block), value);
    region.close().unwrap();
}

/// A tmpfs of a given size; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and a word about it, if this process may not mount.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path());
        let mounted = test_child::output(&mut command).is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: this process may not mount a tmpfs");
            return None;
        }
        Some(Self(folder))
    }

    fn remount(&self, options: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]).arg(self.path());
        assert!(test_child::output(&mut command).unwrap().status.success());
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = test_child::output(Command::new("umount").arg("-l").arg(self.path()));
    }
}

/// A file that says which boot this is, for [`RegionOptions::boot_id`].
fn boot(folder: &Path, number: u8) -> PathBuf {
    let path = folder.join("boot_id");
    std::fs::write(&path, format!("000102030405060708090a0b0c0d0e{number:02x}\n")).unwrap();
    path
}
