//! What a call costs inside of one process: the shard alone, and an embedded store with and without handles.
//!
//! `cargo bench -p abide-benches`; with `-- --test` each runs once, to see that it does. The shard's own cost
//! is what is left of a call over the network when sockets and the kernel are taken away.

use abide_client::Store;
use abide_net::{
    Bytes, Caller, Creation, Request, Value, codec,
    frame::{Call, Frame},
};
use abide_schema::{
    Method, ObjectType,
    types::{atomic_byte_array, atomic_long, map},
};
use abide_shards::{
    Event, Outbox, Registry, Shard,
    embedded::{EmbeddedOptions, EmbeddedStore},
    regions::Regions,
    shard::{Limits, Origin, SessionId, SessionTerms, ShardConfig},
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{
    hint::black_box,
    sync::{Arc, Barrier},
    time::{Duration, Instant},
};

/// Entries of the map, and byte arrays.
const KEYS: usize = 1_000;

/// Encoded arguments of a method, and of the creation of its object.
struct Encoded {
    type_id: u16,
    method: u16,
    creation: Vec<u8>,
    arguments: Vec<u8>,
}

impl Encoded {
    fn new<M: Method>(method: &M) -> Encoded {
        let creation = M::Object::info().default_creation.expect("created by default")();
        let arguments = codec::encode(method).expect("arguments can be encoded");
        Encoded { type_id: M::Object::ID, method: M::ID, creation, arguments }
    }

    fn call<'a>(&'a self, key: &'a str, sequence: u64) -> Call<'a> {
        Call {
            retry: false,
            first: true,
            type_id: self.type_id,
            method: self.method,
            shard: 0,
            slot: 0,
            sequence,
            epoch: 0,
            replicas: None,
            key,
            creation: Some((&self.creation, false)),
            arguments: &self.arguments,
        }
    }

    fn request<'a>(&'a self, key: &'a str) -> Request<'a> {
        Request {
            type_id: self.type_id,
            key,
            shard: None,
            method: self.method,
            kind: abide_net::MethodKind::Write,
            creation: Creation::IfAbsent(&self.creation),
            epoch: 0,
            replicas: None,
            arguments: &self.arguments,
        }
    }
}

/// A shard that is given calls of one session, as a core's loop gives them, and whose answers are dropped.
struct Bare {
    shard: Shard,
    out: Outbox,
    sequence: u64,
}

impl Bare {
    fn new() -> Bare {
        let regions =
            Regions::open(None, Some(1), 1, 1 << 30, 1).expect("memory needs nothing but addresses");
        let shard = Shard::open(ShardConfig {
            shard: 0,
            epoch: 1,
            registry: Registry::built_in(),
            started_us: 0,
            ephemeral: regions.ephemeral(0),
            persistent: None,
            persistent_by_default: false,
            persistence: regions.persistence(),
            limits: Limits::default(),
        });
        Bare { shard: shard.expect("an empty shard opens"), out: Outbox::default(), sequence: 0 }
    }

    fn apply(&mut self, key: &str, method: &Encoded) {
        self.sequence += 1;
        let (origin, session) = (Origin::default(), SessionId(1));
        let terms = SessionTerms { lease_us: 10_000_000, is_seeded: false };
        let call = black_box(method.call(key, self.sequence));
        // Time passes, as it does for a core: a microsecond a call.
        self.shard.apply(self.sequence, Event::Call { origin, session, terms, call }, &mut self.out);
        assert!(black_box(&self.out).replies()[0].ok);
        self.out.clear();
    }
}

fn shard_apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("shard_apply");
    let keys: Vec<String> = (0..KEYS).map(|key| format!("key:{key:05}")).collect();

    let add = Encoded::new(&atomic_long::AddAndGet { delta: 1 });
    let mut bare = Bare::new();
    group.bench_function("atomic_long_add", |bencher| bencher.iter(|| bare.apply("visits", &add)));

    let entry = |key: &String| map::Insert { key: Value::text(key), value: Value::bytes(&[7; 100]) };
    let inserts: Vec<Encoded> = keys.iter().map(|key| Encoded::new(&entry(key))).collect();
    let (mut bare, mut next) = (Bare::new(), (0..KEYS).cycle());
    group.bench_function("map_insert_100_bytes", |bencher| {
        bencher.iter(|| bare.apply("map", &inserts[next.next().expect("it goes round")]));
    });

    let set = Encoded::new(&atomic_byte_array::Set { bytes: Bytes(vec![7; 1_024]) });
    let (mut bare, mut next) = (Bare::new(), (0..KEYS).cycle());
    group.bench_function("byte_array_set_1_kib", |bencher| {
        bencher.iter(|| bare.apply(&keys[next.next().expect("it goes round")], &set));
    });

    let get = Encoded::new(&atomic_byte_array::Get {});
    group.bench_function("byte_array_get_1_kib", |bencher| {
        bencher.iter(|| bare.apply(&keys[next.next().expect("it goes round")], &get));
    });
    group.finish();
}

/// The frame of a call with 1 KiB of arguments, read where it lies.
fn frame_parse(criterion: &mut Criterion) {
    let set = Encoded::new(&atomic_byte_array::Set { bytes: Bytes(vec![7; 1_024]) });
    let mut bytes = Vec::new();
    Frame::Call(set.call("key:00042", 1)).encode(&mut bytes);
    criterion.bench_function("frame/parse_call_1_kib", |bencher| {
        bencher.iter(|| abide_net::frame::next_frame(black_box(&bytes), 1 << 20).expect("a good frame"));
    });
}

fn store() -> EmbeddedStore {
    EmbeddedStore::in_memory(&EmbeddedOptions { shards: Some(2), ..EmbeddedOptions::default() })
}

/// Two keys that different shards own.
fn apart() -> [String; 2] {
    let owner = |key: &String| abide_net::route::shard_of(atomic_long::Type::ID, key, 2);
    let key = |shard| {
        (0..).map(|n| format!("key {n}")).find(|key| owner(key) == shard).expect("each shard owns some")
    };
    [key(0), key(1)]
}

/// Lets one thread for each key make `calls` calls, all at once. Answers how long the slowest took.
fn contend(keys: &[&str], calls: u64, call: impl Fn(&str) + Sync) -> Duration {
    let start = Barrier::new(keys.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = keys
            .iter()
            .map(|key| {
                let (start, call) = (&start, &call);
                scope.spawn(move || {
                    start.wait();
                    let begun = Instant::now();
                    (0..calls).for_each(|_| call(key));
                    begun.elapsed()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("calls succeed"))
            .max()
            .expect("there are threads")
    })
}

fn embedded(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("embedded");
    let store = Arc::new(store());
    let add = Encoded::new(&atomic_long::AddAndGet { delta: 1 });
    let caller: &dyn Caller = &*store;
    let raw = |key: &str| {
        let answer = caller.call(&add.request(key), &mut |bytes| assert!(!black_box(bytes).is_empty()));
        answer.expect("nothing is in the way");
    };
    let handles = Store::from_caller(store.clone());
    let [here, there] = apart();

    group.bench_function("caller_add", |bencher| bencher.iter(|| raw(&here)));
    let long = handles.atomic_long(&here);
    group.bench_function("handle_add", |bencher| {
        bencher.iter(|| black_box(long.add_and_get(1)).expect("nothing is in the way"));
    });
    // Time for one call of each of two threads.
    group.bench_function("caller_add_2_threads_1_object", |bencher| {
        bencher.iter_custom(|calls| contend(&[&here, &here], calls, raw));
    });
    group.bench_function("caller_add_2_threads_2_shards", |bencher| {
        bencher.iter_custom(|calls| contend(&[&here, &there], calls, raw));
    });
    group.bench_function("handle_add_2_threads_1_object", |bencher| {
        let long = |_: &str| assert!(black_box(long.add_and_get(1)).is_ok());
        bencher.iter_custom(|calls| contend(&[&here, &here], calls, long));
    });
    group.finish();
}

fn short() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = shard_apply, frame_parse, embedded }
criterion_main!(benches);
