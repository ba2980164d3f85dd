//! Several threads at once: each object's history has an order that its model explains.
//!
//! Calls that are answered at once take effect at one moment between question and answer. Calls that may wait are made with no
//! time to wait, where it makes no difference to others that they were there for a moment.

mod checker;

use crate::{
    asked::{Asked, Generator, Style},
    model::{
        Answer, CallId, Session,
        world::{World, without_words},
    },
    registered,
    run::new_name,
    seeds::seeds,
    stores::{Envelope, embedded::call_now, raw_client::OneByOne, tcp::start_node},
    wrong::{Altered, Mistake},
};
use abide_net::MethodKind;
use abide_pmem::Persistence;
use abide_recovery_tests::{
    history::{self, Call, Model},
    linearizability::{Admissible, Unexplained},
};
use abide_schema::{
    Method, ObjectType,
    types::{atomic_long, find_type_id, list, map, semaphore, set},
};
use abide_shards::{
    embedded::{EmbeddedOptions, EmbeddedStore},
    regions::DataOptions,
};
use fastrand::Rng;
use std::{
    hash::{Hash, Hasher},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is behind all answers. Two states are equal if they look the same.
#[derive(Clone)]
pub(crate) struct State {
    world: World,
    looks: String,
}

impl State {
    fn new(world: World) -> State {
        State { looks: format!("{world:?}"), world }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.looks)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.looks == other.looks
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.looks.hash(state);
    }
}

/// What a caller was told, without words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Result(String, Vec<u8>),
    Error(String),
}

impl Told {
    fn new(asked: &Asked, answer: &Answer) -> Told {
        match answer {
            Ok(body) => Told::Result(asked.show(body), body.clone()),
            Err(error) => Told::Error(format!("{:?}", without_words(error))),
        }
    }
}

/// An object, as the checker of histories wants it.
#[derive(Debug)]
pub(crate) struct Object;

impl Model for Object {
    type State = State;
    type Op = (Session, Asked);
    type Result = Told;

    fn apply(state: &mut State, (session, asked): &(Session, Asked)) -> Told {
        let call = CallId(0);
        let answers = state.world.call(*session, call, asked);
        state.looks = format!("{:?}", state.world);
        let own = answers.iter().find(|(answered, _)| *answered == call);
        Told::new(asked, &own.expect("no call waits").1)
    }
}

fn check(initial: World, calls: Vec<Call<Object>>) -> Result<(), Unexplained> {
    Admissible::<Object>::new(&State::new(initial), calls).map(drop)
}

const THREADS: usize = 3;
const CALLS: usize = 14;

/// Whether the answer to a call follows from what was called before.
fn is_determined(asked: &Asked) -> bool {
    let pages: &[u16] = match asked.type_id {
        map::Type::ID => &[map::Keys::ID, map::Values::ID, map::Entries::ID],
        set::Type::ID => &[set::GetPage::ID],
        list::Type::ID => &[list::GetPage::ID],
        _ => &[],
    };
    !pages.contains(&asked.method)
}

fn some_call(rng: &mut Rng, type_id: u16) -> Asked {
    loop {
        let asked = Generator { rng, style: Style::Concurrent, hints: Default::default() }.call(type_id);
        if is_determined(&asked) {
            return asked;
        }
    }
}

/// Makes calls from several threads, and checks the history. `connect` gives each its way to call, with its session.
fn judge<C: FnMut(&Envelope) -> Answer + Send>(
    type_id: u16,
    seed: u64,
    persistent: bool,
    connect: impl Fn(Session) -> C,
    alter: impl Fn(World) -> World,
) -> Result<(), String> {
    let mut rng = Rng::with_seed(seed);
    let creation =
        Generator { rng: &mut rng, style: Style::Concurrent, hints: Default::default() }.creation(type_id);
    let key = format!("key {}", new_name());
    let clock = AtomicU64::new(1);
    let now = || clock.fetch_add(1, Ordering::SeqCst);
    let make = |client: usize, session: Session, sequence: u64, asked: Asked, way: &mut C| {
        let envelope = Envelope {
            call: CallId(sequence),
            session,
            slot: 0,
            sequence,
            key: key.clone(),
            creation: creation.clone(),
            replicas: u8::from(persistent),
            asked: asked.clone(),
        };
        let invoked = now();
        let told = Told::new(&asked, &way(&envelope));
        let response = Some((told, now()));
        Call::<Object> { client: client as u32, sequence, op: (session, asked), invoked, response }
    };
    let start = Barrier::new(THREADS);
    // Sessions live on until all was looked at: what they hold stays theirs.
    let (calls, _ways): (Vec<Vec<Call<Object>>>, Vec<C>) = std::thread::scope(|scope| {
        let threads = (0..THREADS).map(|client| {
            let asked: Vec<Asked> = (0..CALLS).map(|_| some_call(&mut rng, type_id)).collect();
            let session = new_name();
            let mut way = connect(session);
            let (start, make) = (&start, &make);
            scope.spawn(move || {
                start.wait();
                let calls = (1..).zip(asked);
                let made = calls.map(|(sequence, asked)| make(client, session, sequence, asked, &mut way));
                (made.collect(), way)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().expect("a client ends")).unzip()
    });
    let mut calls: Vec<Call<Object>> = calls.into_iter().flatten().collect();
    // What is left is looked at as well.
    let session = new_name();
    let mut way = connect(session);
    let mut sequence = 0;
    for _ in 0..40 {
        let asked = some_call(&mut rng, type_id);
        if asked.kind == MethodKind::Read {
            sequence += 1;
            calls.push(make(THREADS, session, sequence, asked, &mut way));
        }
    }
    calls.sort_by_key(|call| call.invoked);
    let described = history::describe(&calls);
    check(alter(World::new(type_id, &creation, 0)), calls).map_err(|error| {
        let name = find_type_id(type_id).expect("built in").name;
        format!("{name}: {error}\nABIDE_MODEL_SEED={seed} makes the same calls (their order is another each time)\n{described}")
    })
}

fn judge_all<C: FnMut(&Envelope) -> Answer + Send>(
    count: u64,
    persistent: bool,
    connect: impl Fn(Session) -> C,
) {
    for type_id in registered() {
        for seed in seeds(count) {
            if let Err(error) = judge(type_id, seed, persistent, &connect, |world| world) {
                panic!("{error}");
            }
        }
    }
}

fn session_of(store: &EmbeddedStore) -> impl FnMut(&Envelope) -> Answer + Send + use<> {
    let session = store.session();
    move |envelope| call_now(&session, envelope)
}

#[test]
fn threads_of_one_process_see_one_order() {
    let store = EmbeddedStore::in_memory(&EmbeddedOptions { shards: Some(2), ..EmbeddedOptions::default() });
    judge_all(10, false, |_| session_of(&store));
}

#[test]
fn threads_of_one_process_see_one_order_in_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = EmbeddedOptions { shards: Some(2), ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(&directory.path().join("data"), &options).expect("the store opens");
    judge_all(5, true, |_| session_of(&store));
}

#[test]
fn clients_of_a_node_see_one_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = DataOptions {
        force_file_system: true,
        ..DataOptions::new(directory.path().join("data"), Persistence::ProcessCrash)
    };
    let Some(node) = start_node(Some(&data)) else { return };
    for persistent in [false, true] {
        judge_all(3, persistent, |session| {
            let addresses = node.addresses();
            let mut client = OneByOne::connect(addresses[session as usize % addresses.len()], session);
            move |envelope: &Envelope| client.call(envelope)
        });
    }
    node.stop().expect("it stops in order");
}

/// Histories of right objects are wrong ones of a wrong model.
#[test]
fn histories_that_a_wrong_model_explains_not_are_rejected() {
    let store = EmbeddedStore::in_memory(&EmbeddedOptions { shards: Some(1), ..EmbeddedOptions::default() });
    for (type_id, mistake) in [
        (atomic_long::Type::ID, Mistake::Lost(atomic_long::IncrementAndGet::ID)),
        (map::Type::ID, Mistake::Lost(map::Insert::ID)),
        (semaphore::Type::ID, Mistake::Twice(semaphore::TryAcquire::ID)),
    ] {
        let wrong = |world: World| world.altered(move |model| Box::new(Altered { model, mistake }));
        let is_found = |seed| judge(type_id, seed, false, |_| session_of(&store), wrong).is_err();
        assert!((0..20).any(is_found), "{mistake:?} is not found");
    }
}
