//! Random sequences of calls, compared with the models call by call.

use crate::{
    asked::Style,
    registered,
    run::{Plan, Restarts, Run},
    seeds::seeds,
    stores::{
        Store,
        embedded::Embedded,
        shard::{InHand, START_US},
        tcp::Tcp,
    },
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
        for seed in seeds(12) {
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
