//! Calls, listings and misuse.

use crate::support::{Server, abide, complains, prints, text};

#[test]
fn a_node_serves_calls_from_the_shell() {
    let Some(server) = Server::start() else { return };
    let call = |arguments: &[&str]| prints(&[&["--server", &server.address, "call"], arguments].concat());
    assert_eq!(call(&["AtomicLong", "visits", "add_and_get", "5"]), "5");
    assert_eq!(call(&["AtomicLong", "visits", "add_and_get", "-2"]), "3");
    assert_eq!(call(&["Map", "words", "insert", "the", "1"]), "null");
    assert_eq!(call(&["Map", "words", "merge", "the", "41", "sum"]), "42");
    assert_eq!(call(&["Map", "words", "insert", "doc", r#"{"b": [1, 2], "a": null}"#]), "null");
    assert_eq!(call(&["Map", "words", "get", "doc"]), r#"{"a":null,"b":[1,2]}"#);
    assert_eq!(call(&["CountDownLatch", "latch", "count_down", "1", "--create", "2"]), "1");
    assert_eq!(call(&["CyclicBarrier", "alone", "wait", "--create", "[1]"]), "0");
    let listed = prints(&["--server", &server.address, "ls"]);
    let mut lines: Vec<_> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["AtomicLong\tvisits", "CountDownLatch\tlatch", "CyclicBarrier\talone", "Map\twords"]);
    assert_eq!(prints(&["--server", &server.address, "ls", "--type", "Map"]), "Map\twords");
    assert_eq!(
        prints(&["--server", &server.address, "ls", "vis", "--json"]),
        r#"{"key":"visits","type":"AtomicLong"}"#
    );
    assert!(prints(&["--server", &server.address, "info"]).contains("objects              4"));
    assert!(prints(&["--server", &server.address, "info", "--json"]).contains(r#""objects":4"#));
    assert!(
        prints(&["--server", &server.address, "info", "Map", "words", "--json"]).contains(r#""version":3"#)
    );
    assert_eq!(prints(&["--server", &server.address, "delete", "Map", "words"]), "true");
    assert_eq!(prints(&["--server", &server.address, "delete", "Map", "words"]), "false");
    assert_eq!(call(&["Map", "words", "exists"]), "false");
}

#[test]
fn the_environment_names_the_store() {
    let Some(server) = Server::start() else { return };
    let output = abide(&["call", "Counter", "c", "tally"]).env("ABIDE", &server.address).output().unwrap();
    assert_eq!(text(&output.stdout), "0\n");
}

#[test]
fn a_store_in_a_file_keeps_objects_between_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store").into_os_string().into_string().unwrap();
    for round in 1..=3 {
        let arguments = ["--store", &path, "call", "AtomicLong", "visits", "increment_and_get"];
        assert_eq!(prints(&arguments), round.to_string());
    }
    assert_eq!(prints(&["--store", &path, "ls"]), "AtomicLong\tvisits");
}

#[test]
fn errors_are_on_standard_error_with_status_1() {
    let nobody = complains(1, &["--server", "127.0.0.1:1", "ls"]);
    assert!(nobody.contains("unavailable"), "{nobody}");
    let gone = complains(1, &["--store", "/nonexistent/folder/store", "ls"]);
    assert!(gone.contains("/nonexistent/folder/store"), "{gone}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store").into_os_string().into_string().unwrap();
    let absent = complains(1, &["--store", &path, "call", "Semaphore", "s", "available"]);
    assert!(absent.contains("--create"), "{absent}");
    let bounds = complains(1, &["--store", &path, "call", "List", "l", "remove_at", "7"]);
    assert!(bounds.contains("out of bounds"), "{bounds}");
}

#[test]
fn misuse_is_status_2() {
    let types = complains(2, &["--store", "x", "call", "AtomicLnog", "k", "get"]);
    assert!(types.contains("AtomicLong"), "{types}");
    let methods = complains(2, &["--store", "x", "call", "AtomicLong", "k", "put"]);
    assert!(methods.contains("add_and_get"), "{methods}");
    let argument = complains(2, &["--store", "x", "call", "AtomicLong", "k", "set", "many"]);
    assert!(argument.contains("set(value: i64)"), "{argument}");
    complains(2, &["--store", "x", "call", "Map", "k", "insert", "{\"broken\":", "1"]);
    complains(2, &["--store", "x", "call", "AtomicLong", "k", "get", "1", "2"]);
    complains(2, &["call", "AtomicLong", "k", "get"]);
    complains(2, &["serve", "--server", "127.0.0.1:1"]);
    complains(2, &["serve", "--listen", "nowhere"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--cores", "99999"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--lease-ms", "5"]);
    complains(2, &["--server", "localhost", "ls"]);
    complains(2, &["--store", "x", "call", "AtomicLong", "", "get"]);
    let missing = complains(2, &["--store", "x", "call", "Map", "k", "entries"]);
    assert!(missing.contains("limit"), "{missing}");
    complains(2, &["juggle"]);
}
