//! Persistent objects of a node.

use crate::support::{Server, complains, path_of, prints};
use abide::{CallError, Store};
use std::path::Path;

/// Arguments of a node with data, on one core.
fn with_data<'a>(data: &'a str, listen: &'a str) -> Vec<&'a str> {
    vec!["--listen", listen, "--cores", "1", "--data", data]
}

fn survives_sigkill(persistence: &str, shown: &str) {
    let folder = tempfile::tempdir().unwrap();
    // Not there yet, nor is the folder that it is in.
    let data = path_of(folder.path(), "node/data");
    let mut arguments = with_data(&data, "127.0.0.1:0");
    arguments.extend(["--persistence", persistence]);
    let Some(mut server) = Server::start_with(&arguments) else { return };
    let said = server.first_words();
    assert!(said.contains(&format!("persistence {shown}")) && said.contains("objects.region"), "{said}");
    assert!(Path::new(&data).join("objects.region").is_file());
    assert_eq!(server.info("persistence"), shown);
    let epoch = server.info("epoch").as_u64().unwrap();
    let call = |server: &Server, arguments: &[&str]| server.prints(&[&["call"], arguments].concat());
    assert_eq!(call(&server, &["AtomicLong", "kept", "add_and_get", "5", "--persistent"]), "5");
    assert_eq!(
        call(&server, &["Map", "words", "insert", "the", "41", "--persistent", "--replicas", "1"]),
        "null"
    );
    assert_eq!(call(&server, &["AtomicLong", "gone", "add_and_get", "7", "--ephemeral"]), "7");
    assert_eq!(call(&server, &["AtomicLong", "gone too", "add_and_get", "8"]), "8");
    assert!(server.prints(&["info", "AtomicLong", "kept", "--json"]).contains(r#""persistent":true"#));
    assert!(server.prints(&["info", "AtomicLong", "gone", "--json"]).contains(r#""persistent":false"#));
    assert_eq!(server.info("persistent_objects"), 2);
    let store = Store::connect(&server.address).unwrap();
    let lost = store.atomic_long("gone");
    assert_eq!(lost.get(), Ok(7));
    // It is where the caller does not want it.
    let elsewhere = server.complains(&["call", "AtomicLong", "gone", "get", "--persistent"]);
    assert!(elsewhere.contains("exists already") && elsewhere.contains("ephemeral"), "{elsewhere}");

    let address = server.address.clone();
    server.kill();
    arguments[1] = &address;
    let server = Server::start_with(&arguments).unwrap();
    assert!(server.info("epoch").as_u64().unwrap() > epoch);
    assert_eq!(call(&server, &["AtomicLong", "kept", "get"]), "5");
    assert_eq!(call(&server, &["Map", "words", "merge", "the", "1", "sum"]), "42");
    // Who has seen an object that is gone is told so; who has not finds that there is none.
    assert!(matches!(lost.get(), Err(CallError::Lost { .. })), "{:?}", lost.get());
    assert_eq!(call(&server, &["AtomicLong", "gone", "exists"]), "false");
    let absent = server.complains(&["info", "AtomicLong", "gone too"]);
    assert!(absent.contains("no such object"), "{absent}");
    assert_eq!(server.info("objects"), 2);
    // An orderly end, and again.
    server.end_with(libc::SIGTERM);
    let server = Server::start_with(&arguments).unwrap();
    assert_eq!(call(&server, &["AtomicLong", "kept", "add_and_get", "1"]), "6");
    assert_eq!(server.prints(&["ls", "--limit", "1"]).lines().count(), 1);
    let listed = server.prints(&["ls"]);
    let mut lines: Vec<_> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["AtomicLong\tkept", "Map\twords"]);
    assert_eq!(server.prints(&["delete", "AtomicLong", "kept"]), "true");
    assert_eq!(call(&server, &["AtomicLong", "kept", "exists"]), "false");
}

#[test]
fn persistent_objects_survive_the_kill_of_their_node_and_ephemeral_ones_do_not() {
    survives_sigkill("process-crash", "process-crash");
}

#[test]
fn they_do_in_a_node_that_survives_power_failures_too() {
    let folder = tempfile::tempdir().unwrap();
    // On a file system without that promise the node says so instead.
    let magic = file_system_of(folder.path());
    if magic == libc::TMPFS_MAGIC {
        eprintln!("SKIPPED: {} is in memory", folder.path().display());
        return;
    }
    survives_sigkill("power-fail", "power-fail (log and file)");
}

/// The type of the file system that a folder is on.
fn file_system_of(folder: &Path) -> i64 {
    let path = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).unwrap();
    // SAFETY: all zeros is a valid value of this plain struct, which the call fills in; the path ends with a zero byte.
    unsafe {
        let mut facts: libc::statfs = std::mem::zeroed();
        assert_eq!(libc::statfs(path.as_ptr(), &mut facts), 0);
        facts.f_type
    }
}

#[test]
fn a_node_without_data_keeps_no_persistent_objects_and_says_so() {
    let Some(mut server) = Server::start_with(&["--listen", "127.0.0.1:0", "--persistence", "volatile"])
    else {
        return;
    };
    let said = server.first_words();
    assert!(said.contains("persistence volatile, objects in memory"), "{said}");
    assert_eq!(server.info("persistence"), "volatile");
    assert_eq!((server.info("data_bytes"), server.info("data_bytes_max")), (().into(), ().into()));
    let denied = server.complains(&["call", "AtomicLong", "x", "get", "--persistent"]);
    assert!(denied.contains("no persistent objects"), "{denied}");
}

#[test]
fn settings_that_contradict_each_other_are_misuse() {
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--persistence", "process-crash"]);
    let folder = tempfile::tempdir().unwrap();
    let data = path_of(folder.path(), "data");
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--data", &data, "--persistence", "volatile"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--max-data", "1GiB"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--force-file-system"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--max-memory", "much"]);
    complains(2, &["--store", "x", "call", "Counter", "c", "tally", "--persistent", "--ephemeral"]);
    complains(2, &["--store", "x", "call", "Counter", "c", "tally", "--replicas", "2"]);
    complains(2, &["--store", "x", "call", "Counter", "c", "tally", "--persistent", "--replicas", "0"]);
    assert!(!Path::new(&data).exists(), "misuse has made a folder");
}

#[test]
fn data_that_is_in_use_or_has_another_number_of_shards_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = path_of(folder.path(), "data");
    let Some(server) = Server::start_with(&with_data(&data, "127.0.0.1:0")) else { return };
    let again = [&["serve"], &with_data(&data, "127.0.0.1:0")[..]].concat();
    let in_use = complains(1, &again);
    assert!(in_use.contains("objects.region") && in_use.contains("in use"), "{in_use}");
    let region = path_of(Path::new(&data), "objects.region");
    let in_use = complains(1, &["--store", &region, "ls"]);
    assert!(in_use.contains("in use"), "{in_use}");
    server.prints(&["call", "AtomicLong", "x", "set", "1", "--persistent"]);
    server.end_with(libc::SIGTERM);
    let other = complains(1, &[&again[..], &["--shards", "2"]].concat());
    assert!(other.contains("has 1 shards") && other.contains("with 2"), "{other}");
    let same =
        Server::start_with(&[&with_data(&data, "127.0.0.1:0")[..], &["--shards", "1"]].concat()).unwrap();
    assert_eq!(same.prints(&["call", "AtomicLong", "x", "get"]), "1");
    same.end_with(libc::SIGTERM);
    // The file is a store like any other.
    assert_eq!(prints(&["--store", &region, "call", "AtomicLong", "x", "get"]), "1");
    assert!(prints(&["check", &region]).starts_with("clean"));
}

#[test]
fn data_that_a_power_loss_may_have_torn_is_refused_with_the_way_out() {
    use abide_pmem::{Persistence, Region, RegionOptions};
    let folder = tempfile::tempdir().unwrap();
    let (data, boot_id) = (path_of(folder.path(), "data"), folder.path().join("boot"));
    let region = path_of(Path::new(&data), "objects.region");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(&boot_id, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        boot_id,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    // Left open in another boot than this one.
    drop(Region::create(&region, 64 << 10, &options).unwrap());
    for arguments in
        [&[&["serve"], &with_data(&data, "127.0.0.1:0")[..]].concat()[..], &["--store", &region, "ls"]]
    {
        let torn = complains(1, arguments);
        assert!(torn.contains(&format!("`abide salvage {region} NEW`")), "{torn}");
    }
}

#[test]
fn data_that_is_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = path_of(folder.path(), "data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(Path::new(&data).join("objects.region"), vec![7; 1 << 20]).unwrap();
    let other = complains(1, &[&["serve"], &with_data(&data, "127.0.0.1:0")[..]].concat());
    assert!(other.contains("not an Abide store"), "{other}");
    let file = path_of(folder.path(), "file");
    std::fs::write(&file, "no folder").unwrap();
    let no_folder = complains(1, &[&["serve"], &with_data(&file, "127.0.0.1:0")[..]].concat());
    assert!(no_folder.contains(&file), "{no_folder}");
}

#[test]
fn objects_of_a_store_in_a_file_are_persistent_unless_asked_for_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let store = path_of(folder.path(), "store");
    let call = |arguments: &[&str]| prints(&[&["--store", &store, "call"], arguments].concat());
    assert_eq!(call(&["AtomicLong", "kept", "increment_and_get"]), "1");
    assert_eq!(call(&["AtomicLong", "kept", "increment_and_get", "--persistent"]), "2");
    assert_eq!(call(&["AtomicLong", "gone", "increment_and_get", "--ephemeral"]), "1");
    assert_eq!(call(&["AtomicLong", "gone", "increment_and_get", "--ephemeral"]), "1");
    assert_eq!(prints(&["--store", &store, "ls", "--json"]), r#"{"key":"kept","type":"AtomicLong"}"#);
    let info = prints(&["--store", &store, "info"]);
    assert!(
        info.lines().any(|line| line.starts_with("persistence ") && line.ends_with(" process-crash")),
        "{info}"
    );
}
