//! Many callers wait in one object and leave together: more than one step of a shard answers.

use crate::{
    asked::{Asked, Style},
    registered,
    run::{Plan, Restarts, Run},
    stores::shard::{InHand, START_US},
};
use abide_net::{Value, codec};
use abide_schema::{
    MergeOp, NumberKind, Numbers, ObjectType,
    types::{
        condition, count_down_latch, cyclic_barrier, election, event, find_type_id, future, mutex, phaser,
        queue, rate_limiter, reducer, rendezvous, rw_lock, semaphore, topic,
    },
};

/// Beyond what one block answers, of those that are answered alike and of those that are not.
const CROWD: u64 = 600;

/// Calls that gather a crowd, and calls that let it go.
struct Scene {
    type_id: u16,
    creation: Vec<u8>,
    gather: Vec<Asked>,
    release: Vec<Asked>,
}

fn scene<T: ObjectType>(creation: T::Creation, gather: Vec<Asked>, release: Vec<Asked>) -> Scene {
    let creation = codec::encode(&creation).expect("it can be encoded");
    Scene { type_id: T::ID, creation, gather, release }
}

fn crowd<M: abide_schema::Method + std::fmt::Debug>(call: impl Fn(u64) -> M) -> Vec<Asked> {
    (0..CROWD).map(|n| Asked::of(call(n))).collect()
}

fn value(n: u64) -> Value {
    Value::integer(n.into()).expect("it fits")
}

fn scenes() -> Vec<Scene> {
    let timeout_ms = None;
    let parties = CROWD as u32;
    let mut locks_and_waits = Vec::new();
    for owner in 0..CROWD / 2 {
        locks_and_waits.push(Asked::of(condition::TryLock { owner }));
        locks_and_waits.push(Asked::of(condition::Await { owner, timeout_ms }));
    }
    let unlock_all = (0..CROWD).map(|n| Asked::of(mutex::Unlock { owner: n % 4, token: None })).collect();
    let barrier = cyclic_barrier::Creation { parties: parties + 1 };
    let reducer = reducer::Creation { parties: parties + 1, len: 1, kind: NumberKind::I64, op: MergeOp::Sum };
    let bring = |n: u64| reducer::Contribute { values: Numbers::I64(vec![n as i64]), timeout_ms };
    let rate = rate_limiter::Creation { permits: 1, period_ms: 3_600_000, burst: 1 };
    let fast = rate_limiter::SetRate { permits: 1_000_000, period_ms: 1, burst: 1_000 };
    let readers =
        [vec![Asked::of(rw_lock::TryWrite { owner: 0 })], crowd(|n| rw_lock::Read { owner: n, timeout_ms })];
    vec![
        scene::<cyclic_barrier::Type>(
            barrier.clone(),
            crowd(|_| cyclic_barrier::Await { timeout_ms }),
            vec![Asked::of(cyclic_barrier::Await { timeout_ms }), Asked::of(cyclic_barrier::Waiting {})],
        ),
        scene::<cyclic_barrier::Type>(
            barrier,
            crowd(|_| cyclic_barrier::Await { timeout_ms }),
            vec![Asked::of(cyclic_barrier::Reset {}), Asked::of(cyclic_barrier::IsBroken {})],
        ),
        scene::<count_down_latch::Type>(
            count_down_latch::Creation { count: 1 },
            crowd(|_| count_down_latch::Await { timeout_ms }),
            vec![Asked::of(count_down_latch::CountDown { n: 1 })],
        ),
        scene::<semaphore::Type>(
            semaphore::Creation { permits: 0, unowned: true },
            crowd(|_| semaphore::Acquire { n: 1, timeout_ms }),
            vec![Asked::of(semaphore::Release { n: CROWD - 7 }), Asked::of(semaphore::Available {})],
        ),
        scene::<future::Type>(
            future::Creation {},
            crowd(|_| future::Get { timeout_ms }),
            vec![Asked::of(future::Set { value: value(5) })],
        ),
        scene::<mutex::Type>(
            mutex::Creation {},
            crowd(|n| mutex::Lock { owner: n % 4, timeout_ms }),
            unlock_all,
        ),
        scene::<rw_lock::Type>(
            rw_lock::Creation {},
            readers.concat(),
            vec![Asked::of(rw_lock::UnlockWrite { owner: 0, token: None }); 30],
        ),
        scene::<condition::Type>(
            condition::Creation {},
            locks_and_waits,
            vec![
                [Asked::of(condition::TryLock { owner: 0 }), Asked::of(condition::NotifyAll { owner: 0 })];
                20
            ]
            .concat(),
        ),
        scene::<event::Type>(
            event::Creation { initially_set: false },
            crowd(|_| event::Await { timeout_ms }),
            vec![Asked::of(event::Set {})],
        ),
        scene::<topic::Type>(
            topic::Creation { retain: 3 },
            crowd(|n| topic::Subscribe { cursor: n % 2, limit: 9, timeout_ms }),
            (0..3).map(|n| Asked::of(topic::Publish { value: value(n) })).collect(),
        ),
        scene::<queue::Type>(
            queue::Creation { capacity: Some(1) },
            crowd(|n| queue::Put { value: value(n), timeout_ms }),
            vec![[Asked::of(queue::Drain { n: 1_000 }), Asked::of(queue::Take { timeout_ms })]; 50].concat(),
        ),
        scene::<phaser::Type>(
            phaser::Creation { parties: parties + 1 },
            crowd(|_| phaser::ArriveAndWait { timeout_ms }),
            vec![Asked::of(phaser::Arrive {}), Asked::of(phaser::GetPhase {})],
        ),
        scene::<reducer::Type>(
            reducer,
            crowd(bring),
            vec![Asked::of(bring(1)), Asked::of(reducer::Generation {})],
        ),
        scene::<election::Type>(
            election::Creation {},
            crowd(|_| election::Observe { token: 0, timeout_ms }),
            vec![Asked::of(election::Campaign { candidate: "x".to_owned(), timeout_ms })],
        ),
        scene::<rendezvous::Type>(
            rendezvous::Creation {},
            crowd(|n| rendezvous::Lookup { name: if n % 3 == 0 { "b" } else { "a" }.to_owned(), timeout_ms }),
            vec![Asked::of(rendezvous::Publish { name: "a".to_owned(), address: "here".to_owned() })],
        ),
        scene::<rate_limiter::Type>(
            rate,
            crowd(|_| rate_limiter::Acquire { n: 1, timeout_ms }),
            vec![Asked::of(fast), Asked::of(rate_limiter::Available {})],
        ),
    ]
}

fn judge(persistent: bool, restarts: Restarts) {
    let types = registered();
    for (number, scene) in scenes().into_iter().filter(|scene| types.contains(&scene.type_id)).enumerate() {
        let plan = Plan {
            types: &[scene.type_id],
            steps: 0,
            style: Style::Exact,
            persistent,
            restarts,
            start_us: START_US,
            slots: CROWD as usize + 1,
        };
        let mut store = InHand::new(persistent);
        let run = Run::new(number as u64, plan, &mut store, |world| world).created_with(scene.creation);
        let name = find_type_id(scene.type_id).expect("built in").name;
        match run.script(scene.gather, scene.release) {
            Ok(gathered) => assert!(gathered as u64 >= CROWD / 2 - 1, "{name}: {gathered} are no crowd"),
            Err(difference) => {
                let end: Vec<&str> = difference.lines().rev().take(12).collect();
                panic!("{name}: {}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

#[test]
fn a_crowd_is_let_go_at_one_moment() {
    judge(false, Restarts::Never);
}

#[test]
fn a_crowd_in_a_persistent_object_is_let_go_after_the_end_of_its_shard() {
    judge(true, Restarts::GoOn);
}
