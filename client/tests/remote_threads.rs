//! The client's own thread. Alone in its program, for it counts the threads of the process.

mod support;

use abide_client::{RemoteOptions, Store};
use std::time::Duration;
use support::{TestNode, eventually, options};

fn heartbeat_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "abide-heartbeat").count()
}

#[test]
fn one_thread_keeps_all_sessions_of_a_store_alive_and_ends_with_the_last() {
    let node = TestNode::small();
    let leased = RemoteOptions { lease: Some(Duration::from_millis(300)), ..options() };
    let store = Store::connect_with(&node.address(), &leased).unwrap();
    assert_eq!(heartbeat_threads(), 0, "no thread before the first call");
    let sessions: Vec<Store> = (0..5).map(|_| store.new_session().unwrap()).collect();
    for (n, session) in sessions.iter().enumerate() {
        assert_eq!(session.atomic_long("n").increment_and_get(), Ok(n as i64 + 1));
    }
    eventually("all have sent a heartbeat", || node.seen().heartbeats >= 2 * sessions.len());
    // A listing of /proc can miss an entry while others come and go.
    eventually("there is one thread", || heartbeat_threads() == 1);
    drop(store);
    drop(sessions);
    eventually("the thread ends", || heartbeat_threads() == 0);

    // And comes again when it is needed again.
    let store = Store::connect_with(&node.address(), &options()).unwrap();
    store.atomic_long("n").get().unwrap();
    eventually("there is one thread again", || heartbeat_threads() == 1);
}
