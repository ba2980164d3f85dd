//! `abide waits`: who waits for whom.

use crate::support::{Running, Server, path_of, prints, until};
use abide::{CallError, Store};
use serde_json::Value;
use std::{
    sync::{Arc, Barrier},
    thread,
};

fn waits(server: &Server) -> Value {
    serde_json::from_str(&server.prints(&["waits", "--json"])).unwrap()
}

fn count(server: &Server) -> usize {
    waits(server)["waits"].as_array().unwrap().len()
}

#[test]
fn a_call_that_waits_is_shown_with_its_object_its_method_and_its_time() {
    let Some(server) = Server::start() else { return };
    assert_eq!(server.prints(&["waits"]), "no call waits");
    let place = ["--server", &server.address];
    let call = ["call", "CountDownLatch", "go \"on\"", "wait", "3600000", "--create", "1"];
    let waiting = Running::start(&[&place[..], &call].concat());
    until("the call waits", || count(&server) == 1);
    let told = waits(&server);
    let wait = &told["waits"][0];
    assert_eq!((&wait["type"], &wait["key"]), (&"CountDownLatch".into(), &"go \"on\"".into()));
    assert_eq!((&wait["method"], &wait["holders"]), (&"wait".into(), &Value::Array(vec![])));
    let (since, until_ms) =
        (wait["since_unix_ms"].as_u64().unwrap(), wait["deadline_unix_ms"].as_u64().unwrap());
    assert_eq!(until_ms - since, 3_600_000);
    assert_eq!(told["cycles"], Value::Array(vec![]));
    let line = server.prints(&["waits"]);
    assert!(line.starts_with(r#"CountDownLatch "go \"on\"": wait by "#), "{line}");
    assert!(line.contains(", since 2") && line.contains(", until 2"), "{line}");
    server.prints(&["call", "CountDownLatch", "go \"on\"", "count_down", "1"]);
    waiting.ends_well();
    assert_eq!(count(&server), 0);
}

#[test]
fn a_deadlock_of_two_mutexes_is_told_in_words_and_once() {
    let Some(server) = Server::start() else { return };
    let both_hold = Arc::new(Barrier::new(2));
    let lock_both = |first: &'static str, second: &'static str| {
        let (address, both_hold) = (server.address.clone(), both_hold.clone());
        thread::spawn(move || {
            let store = Store::connect(&address).unwrap();
            let _first = store.mutex(first).lock().unwrap();
            both_hold.wait();
            store.mutex(second).lock().map(drop)
        })
    };
    let (one, two) = (lock_both("x", "y"), lock_both("y", "x"));
    until("both wait", || count(&server) == 2);
    // This one only waits behind them.
    let address = server.address.clone();
    let third = thread::spawn(move || Store::connect(&address).unwrap().mutex("y").lock().map(drop));
    until("all wait", || count(&server) == 3);

    let told = waits(&server);
    let cycles = told["cycles"].as_array().unwrap();
    assert_eq!((cycles.len(), &cycles[0]["certain"]), (1, &true.into()), "{told}");
    let calls = cycles[0]["calls"].as_array().unwrap();
    let keys: Vec<_> = calls.iter().map(|call| call["key"].as_str().unwrap()).collect();
    assert!(keys == ["x", "y"] || keys == ["y", "x"], "{told}");
    for (call, next) in [(0, 1), (1, 0)] {
        assert_eq!(calls[call]["held_by"]["session"], calls[next]["session"], "{told}");
        assert_eq!(calls[call]["held_by"]["owner"], calls[next]["owner"], "{told}");
    }
    let words = server.prints(&["waits"]);
    let lines: Vec<_> = words.lines().collect();
    assert_eq!(lines.len(), 4, "{words}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("Mutex \"y\": lock by ")).count(), 2, "{words}");
    let told: Vec<_> = lines[3].split(' ').collect();
    let [
        _,
        a,
        "waits",
        "for",
        "Mutex",
        x,
        "held",
        "by",
        b,
        "who",
        "waits",
        "for",
        "Mutex",
        y,
        "held",
        "by",
        again,
    ] = told[..]
    else {
        panic!("{words}");
    };
    assert!(lines[3].starts_with("deadlock: ") && a == again && b.ends_with(',') && x != y, "{words}");

    // What breaks it: the one who waits in x gives up, and with its end y is free.
    assert_eq!(server.prints(&["delete", "Mutex", "x"]), "true");
    assert!(matches!(two.join().unwrap(), Err(CallError::Broken)));
    one.join().unwrap().unwrap();
    third.join().unwrap().unwrap();
    assert_eq!(server.prints(&["waits"]), "no call waits");
}

#[test]
fn a_cycle_of_sessions_is_a_possible_deadlock() {
    let Some(server) = Server::start() else { return };
    let stores = [(); 2].map(|()| Store::connect(&server.address).unwrap());
    let permits: Vec<_> = ["s", "t"]
        .iter()
        .zip(&stores)
        .map(|(key, store)| store.semaphore(key, 1).permit(1).unwrap())
        .collect();
    let [one, two] = stores.clone();
    let waiting = [(one, "t"), (two, "s")]
        .map(|(store, key)| thread::spawn(move || store.semaphore(key, 1).permit(1).map(drop)));
    until("both wait", || count(&server) == 2);
    let told = waits(&server);
    assert_eq!(
        (told["cycles"].as_array().unwrap().len(), &told["cycles"][0]["certain"]),
        (1, &false.into()),
        "{told}"
    );
    let words = server.prints(&["waits"]);
    assert!(words.contains("(1 permits)") && words.contains("\npossible deadlock: "), "{words}");
    drop(permits);
    waiting.into_iter().for_each(|end| end.join().unwrap().unwrap());
}

#[test]
fn in_a_file_that_nobody_has_open_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = path_of(folder.path(), "store");
    assert_eq!(prints(&["--store", &store, "waits"]), "no call waits");
    assert_eq!(prints(&["--store", &store, "waits", "--json"]), r#"{"cycles":[],"waits":[]}"#);
}
