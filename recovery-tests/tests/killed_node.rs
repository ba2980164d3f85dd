//! What clients see when the node itself is killed.

mod support;

use abide::{
    CallError,
    client::{RemoteOptions, Store},
};
use std::time::Duration;
use support::Server;

#[test]
fn a_call_to_a_node_that_is_gone_ends_with_a_typed_error() {
    let Some(server) = Server::start(10_000) else { return };
    let impatient = RemoteOptions { retry_for: Duration::from_millis(500), ..RemoteOptions::default() };
    let store = Store::connect_with(&server.address, &impatient).unwrap();
    let counter = store.atomic_long("x");
    counter.increment_and_get().unwrap();
    server.process.kill();
    let refused = counter.increment_and_get();
    assert!(matches!(refused, Err(CallError::Unavailable { .. } | CallError::Unknown { .. })), "{refused:?}");
}

/// What was in the memory of a killed node is gone. A handle that has seen it says so; it does not begin anew.
#[test]
fn an_object_that_was_lost_with_its_node_is_lost_until_it_is_created_on_purpose() {
    let Some(server) = Server::start(10_000) else { return };
    let store = Store::connect(&server.address).unwrap();
    let counter = store.atomic_long("x");
    counter.add_and_get(41).unwrap();
    let address = server.address.clone();
    server.process.kill();
    let _second = support::Process::start(&["serve", "--listen", &address, "--cores", "1"]);
    // The first call learns that its session is gone, or already that the object is.
    let first = counter.increment_and_get();
    assert!(
        matches!(first, Err(CallError::SessionExpired | CallError::Lost { .. } | CallError::Unknown { .. })),
        "{first:?}"
    );
    assert!(matches!(counter.increment_and_get(), Err(CallError::Lost { .. })));
    assert!(matches!(counter.get(), Err(CallError::Lost { .. })));
    assert!(counter.create().unwrap());
    assert_eq!(counter.increment_and_get(), Ok(1));
}
