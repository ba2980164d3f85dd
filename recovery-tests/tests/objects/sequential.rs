//! Random sequences of calls, compared with the models call by call.

use crate::{
    asked::{Asked, Style},
    model::CallId,
    registered,
    run::{Plan, Restarts, Run},
    seeds::seeds,
    stores::{
        Envelope, Store,
        embedded::Embedded,
        shard::{InHand, START_US},
        tcp::Tcp,
    },
};
use abide_net::{CallError, codec};
use abide_schema::{
    ObjectType,
    types::{count_down_latch, object},
};

fn plan(types: &[u16]) -> Plan<'_> {
    Plan {
        types,
        steps: 60,
        style: Style::Real,
        persistent: false,
        restarts: Restarts::Never,
        start_us: 0,
        slots: 5,
    }
}

fn check(plan: Plan<'_>, count: u64, store: impl Fn() -> Option<Box<dyn Store>>) {
    for seed in seeds(count) {
        let Some(mut store) = store() else { return };
        if let Err(difference) = Run::new(seed, plan, &mut *store, |world| world).run() {
            panic!("rerun with ABIDE_MODEL_SEED={seed}: {difference}");
        }
    }
}

/// One type at a time, so that each is judged whatever becomes of the others.
fn check_each(plan: Plan<'_>, count: u64, store: impl Fn() -> Option<Box<dyn Store>>) {
    let Some(mut shared) = store() else { return };
    let mut wrong = Vec::new();
    for type_id in plan.types {
        for seed in seeds(count) {
            let plan = Plan { types: &[*type_id], ..plan };
            if let Err(difference) = Run::new(seed, plan, &mut *shared, |world| world).run() {
                wrong.push(format!("rerun with ABIDE_MODEL_SEED={seed}: {difference}"));
                // What a failed run left behind is none of the next one's business.
                shared = store().expect("it was there before");
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_type_in_a_shard_by_the_clock() {
    let types = registered();
    let plan = Plan { style: Style::Exact, start_us: START_US, steps: 120, ..plan(&types) };
    let mut wrong = Vec::new();
    for type_id in &types {
        for seed in seeds(30) {
            let plan = Plan { types: &[*type_id], ..plan };
            let mut store = InHand::new(false);
            if let Err(difference) = Run::new(seed, plan, &mut store, |world| world).run() {
                wrong.push(format!("rerun with ABIDE_MODEL_SEED={seed}: {difference}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn persistent_objects_and_waiting_calls_survive_the_end_of_a_shard() {
    let types = registered();
    let plan = Plan {
        style: Style::Exact,
        start_us: START_US,
        persistent: true,
        restarts: Restarts::GoOn,
        ..plan(&types)
    };
    check(plan, 8, || Some(Box::new(InHand::new(true))));
}

#[test]
fn each_type_in_an_embedded_store_in_memory() {
    check_each(plan(&registered()), 6, || Some(Box::new(Embedded::new(false))));
}

#[test]
fn persistent_objects_survive_the_end_of_an_embedded_store() {
    let types = registered();
    let plan = Plan { persistent: true, restarts: Restarts::End, ..plan(&types) };
    check(plan, 6, || Some(Box::new(Embedded::new(true))));
}

#[test]
fn each_type_on_a_node() {
    check_each(plan(&registered()), 3, || Some(Box::new(Tcp::new(false)?)));
}

#[test]
fn persistent_objects_and_waiting_calls_survive_the_end_of_a_node() {
    let types = registered();
    let plan = Plan { persistent: true, restarts: Restarts::GoOn, ..plan(&types) };
    check(plan, 4, || Some(Box::new(Tcp::new(true)?)));
}

/// A call that does not wait brings a deadline forward, and nobody who waits is told of it.
#[test]
#[ignore = "an embedded store looks at its deadlines only when a call begins to wait"]
fn those_who_wait_in_an_embedded_store_see_that_their_object_expires() {
    let mut store = Embedded::new(false);
    store.begin(1);
    let type_id = count_down_latch::Type::ID;
    let creation = codec::encode(&count_down_latch::Creation { count: 1 }).expect("it can be encoded");
    let mut call = |number: u64, asked: Asked| {
        store.start(&Envelope {
            call: CallId(number),
            session: 1,
            slot: 0,
            sequence: number,
            key: "latch".to_owned(),
            creation: creation.clone(),
            replicas: 0,
            asked,
        });
    };
    call(1, Asked::of(count_down_latch::Await { timeout_ms: None }));
    // Calls of even numbers block. Meanwhile whoever lets time pass for the waiting call has gone to sleep.
    (1..2_000).for_each(|n| call(2 * n, Asked::of(count_down_latch::Count {})));
    call(4_000, Asked::about(type_id, object::ExpireIn { ms: 0 }));
    let answers = store.answers(2_001);
    assert!(answers.contains(&(CallId(1), Err(CallError::Broken))), "the waiting call is not answered");
}
