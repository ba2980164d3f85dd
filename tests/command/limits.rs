//! What a node refuses to take on, and how it says so.

use crate::support::{Running, Server, complains, path_of, until};
use abide::{CallError, Store};
use serde_json::{Value, json};

#[test]
fn a_call_too_many_in_one_object_is_refused() {
    let Some(server) = Server::start_with(&["--listen", "127.0.0.1:0", "--waiters-max", "1"]) else { return };
    let wait = ["--server", &server.address, "call", "CountDownLatch", "go", "wait", "--create", "1"];
    let first = Running::start(&wait);
    until("the first waits", || server.info("waiting_calls") == 1);
    let refused = complains(1, &wait);
    assert!(refused.contains("as many calls wait in the object as may (1)"), "{refused}");
    // In another object there is room.
    let other = Running::start(&[
        "--server",
        &server.address,
        "call",
        "CountDownLatch",
        "other",
        "wait",
        "--create",
        "1",
    ]);
    until("the other waits", || server.info("waiting_calls") == 2);
    drop(other);
    assert_eq!(server.prints(&["call", "CountDownLatch", "go", "count_down", "1"]), "0");
    first.ends_well();
}

#[test]
fn a_session_too_many_is_refused() {
    let Some(server) =
        Server::start_with(&["--listen", "127.0.0.1:0", "--cores", "1", "--sessions-max", "2"])
    else {
        return;
    };
    let stores = [(); 3].map(|()| Store::connect(&server.address).unwrap());
    assert_eq!(stores[0].counter("c").tally(), Ok(0));
    assert_eq!(stores[1].counter("c").tally(), Ok(0));
    assert_eq!(stores[2].counter("c").tally(), Err(CallError::SessionsFull { max: 2 }));
    let [first, ..] = stores;
    drop(first);
    until("there is room again", || Store::connect(&server.address).unwrap().counter("c").tally() == Ok(0));
}

/// Fills a node until nothing goes in any more; then deletes, by a caller that it has never heard of.
fn is_full_without_harm(server: &Server, replicas: Option<u8>, used: &str, max: &str) {
    let store = Store::connect(&server.address).unwrap();
    let call = |type_name, key: &str, method, arguments: Vec<Value>| {
        store.call_json(type_name, key, method, arguments, None, replicas)
    };
    // Not zeros, which take no room.
    let set = |key: &str, bytes: usize| {
        call("AtomicByteArray", key, "set", vec![json!({"$bytes": "a7".repeat(bytes)})])
    };
    assert_eq!(call("AtomicLong", "count", "add_and_get", vec![41.into()]), Ok(json!(41)));
    let mut kept = Vec::new();
    for bytes in [1_000_000, 100_000, 10_000, 1_000, 100] {
        loop {
            let key = format!("{bytes} bytes, {}", kept.len());
            match set(&key, bytes) {
                Ok(_) => kept.push((key, bytes)),
                Err(CallError::NoSpace) => {
                    // Nothing of it is there.
                    assert_eq!(call("AtomicByteArray", &key, "exists", vec![]), Ok(json!(false)), "{key}");
                    break;
                }
                Err(error) => panic!("{key}: {error}"),
            }
        }
    }
    assert!(kept.iter().any(|(_, bytes)| *bytes == 1_000_000), "not even one went in: {kept:?}");
    assert!(server.info(used).as_u64().unwrap() <= server.info(max).as_u64().unwrap());
    // All that was acknowledged is there.
    for (key, bytes) in &kept {
        assert_eq!(call("AtomicByteArray", key, "len", vec![]), Ok(json!(bytes)), "{key}");
    }
    assert_eq!(call("AtomicLong", "count", "get", vec![]), Ok(json!(41)));
    let (large, _) = &kept[0];
    let refused = set(large, 2_000_000);
    assert_eq!(refused, Err(CallError::NoSpace));
    assert_eq!(call("AtomicByteArray", large, "len", vec![]), Ok(json!(1_000_000)));
    assert_eq!(server.prints(&["delete", "AtomicByteArray", large]), "true");
    assert_eq!(server.prints(&["delete", "AtomicByteArray", large]), "false");
    assert_eq!(set("after", 500_000), Ok(Value::Null));
    assert_eq!(call("AtomicLong", "count", "add_and_get", vec![1.into()]), Ok(json!(42)));
}

#[test]
fn a_node_whose_memory_is_full_says_so_before_anything_is_written_and_deletes() {
    let arguments = ["--listen", "127.0.0.1:0", "--cores", "1", "--max-memory", "24MiB"];
    let Some(server) = Server::start_with(&arguments) else { return };
    assert_eq!(server.info("memory_bytes_max"), 24 << 20);
    is_full_without_harm(&server, None, "memory_bytes", "memory_bytes_max");
}

#[test]
fn a_node_whose_data_is_full_says_so_before_anything_is_written_and_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let data = path_of(folder.path(), "data");
    let arguments = ["--listen", "127.0.0.1:0", "--cores", "1", "--data", &data, "--max-data", "24MiB"];
    let Some(server) = Server::start_with(&arguments) else { return };
    assert_eq!(server.info("data_bytes_max"), 24 << 20);
    is_full_without_harm(&server, Some(1), "data_bytes", "data_bytes_max");
    // Memory for ephemeral objects is another matter.
    let store = Store::connect(&server.address).unwrap();
    let bytes = vec![json!({"$bytes": "a7".repeat(5_000_000)})];
    assert_eq!(store.call_json("AtomicByteArray", "in memory", "set", bytes, None, Some(0)), Ok(Value::Null));
}

#[test]
fn a_bound_that_an_empty_node_does_not_keep_is_refused() {
    let refused = complains(1, &["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--max-memory", "1MiB"]);
    assert!(refused.contains("at most 1048576 bytes"), "{refused}");
    let folder = tempfile::tempdir().unwrap();
    let data = path_of(folder.path(), "data");
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data", &data, "--max-data", "1MiB"];
    let refused = complains(1, &arguments);
    assert!(refused.contains("at most 1048576 bytes"), "{refused}");
}
