//! Objects that expire, and objects that are watched.

use crate::support::{Running, Server, complains, path_of, prints, until};

#[test]
fn an_object_that_expires_is_deleted_unless_that_is_taken_back() {
    let Some(server) = Server::start() else { return };
    let call = |arguments: &[&str]| server.prints(&[&["call"], arguments].concat());
    assert_eq!(call(&["AtomicLong", "short", "set", "1"]), "null");
    assert_eq!(call(&["AtomicLong", "kept", "set", "2"]), "null");
    assert_eq!(server.prints(&["expire", "AtomicLong", "kept", "1h"]), "false");
    assert_eq!(server.prints(&["expire", "AtomicLong", "kept", "2h"]), "true");
    let info = server.prints(&["info", "AtomicLong", "kept"]);
    assert!(info.lines().any(|line| line.starts_with("expires ") && line.ends_with('Z')), "{info}");
    assert_eq!(server.prints(&["persist", "AtomicLong", "kept"]), "true");
    assert_eq!(server.prints(&["persist", "AtomicLong", "kept"]), "false");
    let info = server.prints(&["info", "AtomicLong", "kept"]);
    assert!(info.lines().any(|line| line.starts_with("expires ") && line.ends_with(" -")), "{info}");
    assert_eq!(server.prints(&["expire", "AtomicLong", "short", "1ms"]), "false");
    until("the object is deleted", || call(&["AtomicLong", "short", "exists"]) == "false");
    assert_eq!(call(&["AtomicLong", "kept", "get"]), "2");
    let absent = server.complains(&["expire", "AtomicLong", "short", "1h"]);
    assert!(absent.contains("no such object"), "{absent}");
    complains(2, &["--server", &server.address, "expire", "AtomicLong", "kept", "90"]);
    complains(2, &["--server", &server.address, "expire", "Lamp", "kept", "90s"]);
}

#[test]
fn an_expiry_in_a_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = path_of(folder.path(), "store");
    assert_eq!(prints(&["--store", &store, "call", "AtomicLong", "x", "add_and_get", "3"]), "3");
    assert_eq!(prints(&["--store", &store, "expire", "AtomicLong", "x", "1h"]), "false");
    assert_eq!(prints(&["--store", &store, "persist", "AtomicLong", "x"]), "true");
    assert_eq!(prints(&["--store", &store, "expire", "AtomicLong", "x", "1ms"]), "false");
    until("the object is deleted", || {
        prints(&["--store", &store, "call", "AtomicLong", "x", "exists"]) == "false"
    });
}

#[test]
fn watching_prints_versions_until_the_object_is_deleted() {
    let Some(server) = Server::start() else { return };
    let add = || server.prints(&["call", "AtomicLong", "watched", "add_and_get", "1"]);
    add();
    let mut watch = Running::start(&["--server", &server.address, "watch", "AtomicLong", "watched"]);
    let first: u64 = watch.line().parse().unwrap();
    until("it waits", || server.info("waiting_calls") == 1);
    add();
    let second: u64 = watch.line().parse().unwrap();
    assert!(second > first, "{first}, {second}");
    until("it waits", || server.info("waiting_calls") == 1);
    add();
    let third: u64 = watch.line().parse().unwrap();
    assert!(third > second, "{second}, {third}");
    assert_eq!(server.prints(&["delete", "AtomicLong", "watched"]), "true");
    assert_eq!(watch.line(), "deleted");
    watch.ends_well();
    let absent = server.complains(&["watch", "AtomicLong", "watched"]);
    assert!(absent.contains("no such object"), "{absent}");
}
