use std::io::{BufRead, BufReader, Read, Write};

use super::*;

#[track_caller]
fn in_use<T: std::fmt::Debug>(result: Result<T, OpenError>, by: u32) {
    match result {
        Err(OpenError::InUse(InUse { pid })) => assert_eq!(pid, Some(by)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_process_opens_a_region_once() {
    for folder in folders() {
        let path = folder.path().join("region");
        let me = std::process::id();
        let region = Region::create(&path, BYTES, &process_crash()).unwrap();
        in_use(Region::open(&path, &process_crash()), me);
        in_use(Region::open_read_only(&path, &process_crash()), me);
        // By another name too.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        in_use(Region::open(&link, &process_crash()), me);
        std::fs::hard_link(&path, folder.path().join("hard")).unwrap();
        in_use(Region::open(folder.path().join("hard"), &process_crash()), me);
        drop(region);
        let region = Region::open(&path, &process_crash()).unwrap();
        in_use(Region::open(&path, &process_crash()), me);
        region.close().unwrap();
        Region::open(&path, &process_crash()).unwrap();
    }
}

#[test]
fn many_read_or_one_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let me = std::process::id();
    Region::create(&path, BYTES, &process_crash()).unwrap().close().unwrap();
    let readers = [(); 2].map(|()| Region::open_read_only(&path, &process_crash()).unwrap());
    in_use(Region::open(&path, &process_crash()), me);
    let [first, second] = readers;
    drop(first);
    in_use(Region::open(&path, &process_crash()), me);
    drop(second);
    Region::open(&path, &process_crash()).unwrap();
}

#[test]
fn a_failed_open_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    Region::create(&path, BYTES, &process_crash()).unwrap().close().unwrap();
    for call in [Call::Read, Call::Map, Call::Reserve, Call::Stat, Call::Lock, Call::SyncMap] {
        let (options, faults) = faulty(&process_crash());
        faults.fail(call, 0, 1000, errno(Errno::NOMEM));
        Region::open(&path, &options).expect_err("a call failed");
        Region::open(&path, &process_crash()).unwrap().close().unwrap();
    }
}

#[test]
fn a_copy_is_refused_while_the_original_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("region"), folder.path().join("copy"));
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 1);
    region.close().unwrap();
    std::fs::copy(&path, &copy).unwrap();
    let region = Region::open(&path, &process_crash()).unwrap();
    assert!(matches!(Region::open(&copy, &process_crash()), Err(OpenError::CopyIsOpen)));
    let read = Region::open_read_only(&copy, &process_crash()).unwrap();
    assert_eq!(get(read.heap(), block), 1);
    drop((region, read));
    expect(&copy, &process_crash(), block, 1);
}

#[test]
fn an_inherited_descriptor_keeps_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    // The same open file description, as a forked child has it.
    let inherited = region.file.as_ref().unwrap().file.try_clone().unwrap();
    region.close().unwrap();
    Region::open(&path, &process_crash()).unwrap();
    drop(inherited);
}

#[test]
fn a_region_can_lose_its_name_while_it_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let block = put_first(&region, 4);
    region.grow(2 * BYTES).unwrap();
    assert_eq!(get(region.heap(), block), 4);
    let other = Region::create(&path, BYTES, &process_crash()).unwrap();
    region.close().unwrap();
    other.close().unwrap();
}

const OTHER: &str = "region::tests::exclusive::two_processes_exclude_each_other_and_know_by_whom";

#[test]
fn two_processes_exclude_each_other_and_know_by_whom() {
    if let Some(path) = test_child::argument() {
        // First the parent has it, and then we, until our input ends.
        in_use(Region::open(&path, &process_crash()), std::os::unix::process::parent_id());
        println!("\nrefused");
        std::io::stdin().read_exact(&mut [0]).unwrap();
        let region = Region::open(&path, &process_crash()).unwrap();
        println!("\nopen");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        drop(region);
        return;
    }
    for folder in folders() {
        let path = folder.path().join("region");
        let region = Region::create(&path, BYTES, &process_crash()).unwrap();
        let mut child = test_child::start(OTHER, &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wait_for =
            |word| assert!(lines.any(|line| line.unwrap() == word), "the child never said {word}");
        wait_for("refused");
        region.close().unwrap();
        child.stdin.as_ref().unwrap().write_all(b"x").unwrap();
        wait_for("open");
        in_use(Region::open(&path, &process_crash()), child.id());
        in_use(Region::open_read_only(&path, &process_crash()), child.id());
        // A killed process leaves no lock.
        child.kill().unwrap();
        child.wait().unwrap();
        Region::open(&path, &process_crash()).unwrap();
    }
}
