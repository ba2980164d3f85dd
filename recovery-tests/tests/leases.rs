//! What a killed client held is given back when its session's lease ends: not before, and not never.

mod support;

use abide::Store;
use std::time::{Duration, Instant};
use support::Server;

#[test]
fn others_get_in_when_the_lease_of_a_killed_holder_ends() {
    let lease_ms = 2_000;
    let Some(server) = Server::start(lease_ms) else { return };
    for round in 0..2 {
        let mut holder = server.client(&["hold"]);
        let held = holder.line().expect("the holder ended early");
        let token: u64 = held.strip_prefix("held ").unwrap().parse().unwrap();
        let store = Store::connect(&server.address).unwrap();
        let (lock, permits) = (store.mutex("lock"), store.semaphore("permits", 3));
        // While it lives it keeps what it holds, for several leases.
        let until = Instant::now() + Duration::from_millis(3 * lease_ms);
        while Instant::now() < until {
            assert!(lock.try_lock().unwrap().is_none(), "round {round}: a living holder lost its lock");
            assert!(!permits.try_acquire(1).unwrap(), "round {round}: a living holder lost a permit");
            std::thread::sleep(Duration::from_millis(100));
        }
        let killed = Instant::now();
        holder.kill();
        // Its last sign of life was at most a third of a lease ago.
        let early = Duration::from_millis(lease_ms / 2);
        let mut looks = 0;
        loop {
            let free = (lock.try_lock().unwrap().is_some(), permits.try_acquire(1).unwrap());
            if killed.elapsed() >= early {
                break;
            }
            assert_eq!(free, (false, false), "round {round}: given back before the lease ended");
            looks += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(looks > 0);
        let never = Duration::from_millis(20 * lease_ms);
        let guard = lock.lock_timeout(never).expect("the lock is never given back");
        assert!(guard.token() > token, "round {round}: the fencing token did not grow");
        permits.acquire_timeout(3, never).expect("the permits are never given back");
        permits.release(3).unwrap();
        guard.unlock().unwrap();
    }
}

/// Heartbeats that arrived while the node did not run are not its holders' fault.
#[test]
fn a_node_that_pauses_longer_than_a_lease_takes_nothing_from_the_living() {
    let lease_ms = 1_000;
    let Some(server) = Server::start(lease_ms) else { return };
    let mut holder = server.client(&["hold"]);
    holder.line().expect("the holder ended early");
    for _ in 0..3 {
        server.process.signal(libc::SIGSTOP);
        std::thread::sleep(Duration::from_millis(2 * lease_ms));
        server.process.signal(libc::SIGCONT);
        let store = Store::connect(&server.address).unwrap();
        for _ in 0..10 {
            assert!(store.mutex("lock").try_lock().unwrap().is_none(), "a living holder lost its lock");
            assert!(!store.semaphore("permits", 3).try_acquire(1).unwrap(), "a living holder lost a permit");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
