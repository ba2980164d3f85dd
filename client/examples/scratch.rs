//! Temporary.
use abide_client::{RemoteOptions, Store, transport::TransportKind};
use std::time::{Duration, Instant};
fn main() {
    let address = std::env::args().nth(1).unwrap();
    let kind: TransportKind = std::env::args().nth(2).unwrap().parse().unwrap();
    let options = RemoteOptions {
        transport: kind,
        lease: Some(Duration::from_millis(500)),
        ..RemoteOptions::default()
    };
    let began = Instant::now();
    let store = Store::connect_with(&address, &options).unwrap();
    println!("connect {:?}", began.elapsed());
    let n = store.atomic_long("n");
    let began = Instant::now();
    n.get().unwrap();
    println!("first call {:?}", began.elapsed());
    let calls = 20_000;
    let began = Instant::now();
    for _ in 0..calls {
        n.increment_and_get().unwrap();
    }
    println!("{kind}: {:?} a call", began.elapsed() / calls);
    let before = n.get().unwrap();
    let began = Instant::now();
    std::thread::scope(|s| {
        for t in 0..64 {
            let store = store.clone();
            s.spawn(move || {
                for _ in 0..500 {
                    store.atomic_long("n").increment_and_get().unwrap();
                    store.atomic_long(&format!("k{t}")).increment_and_get().unwrap();
                }
            });
        }
    });
    println!("64 threads: {:?} a call", began.elapsed() / 64_000);
    assert_eq!(n.get().unwrap() - before, 32_000);
    // idle, holding
    let own = store.new_session().unwrap();
    own.semaphore("s", 1).acquire(1).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(store.semaphore("s", 1).try_acquire(1), Ok(false));
    drop(own);
    assert_eq!(store.semaphore("s", 1).try_acquire(1), Ok(true));
    let began = Instant::now();
    drop((n, store));
    println!("goodbye {:?}", began.elapsed());
}
