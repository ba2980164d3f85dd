//! The checker of histories rejects what no object may do, and takes what looks odd and is right.

use super::{Object, Told, check};
use crate::{
    asked::Asked,
    model::{Answer, world::World},
};
use abide_net::{Value, codec};
use abide_recovery_tests::history::Call;
use abide_schema::{
    Method, ObjectType,
    types::{atomic_long, id_generator, map, mutex, queue, semaphore, topic},
};
use serde::Serialize;
use std::fmt::Debug;

/// A history of one object.
struct History {
    world: World,
    calls: Vec<Call<Object>>,
}

impl History {
    fn of<T: ObjectType>(creation: &T::Creation) -> History {
        let creation = codec::encode(creation).expect("it can be encoded");
        History { world: World::new(T::ID, &creation, 0), calls: Vec::new() }
    }

    /// A session asked at one time and was told at another.
    fn call<M: Method<Output: Serialize> + Debug>(
        mut self,
        session: u64,
        from: u64,
        to: u64,
        method: M,
        result: M::Output,
    ) -> History {
        let asked = Asked::of(method);
        let answer: Answer = Ok(codec::encode(&result).expect("it can be encoded"));
        let told = Told::new(&asked, &answer);
        self.calls.push(Call {
            client: session as u32,
            sequence: from,
            op: (session, asked),
            invoked: from,
            response: Some((told, to)),
        });
        self
    }

    fn explained(mut self) -> bool {
        self.calls.sort_by_key(|call| call.invoked);
        check(self.world, self.calls).is_ok()
    }
}

fn value(n: i128) -> Value {
    Value::integer(n).expect("it fits")
}

#[test]
fn a_lost_update_is_rejected() {
    let history = || History::of::<atomic_long::Type>(&atomic_long::Creation { initial: 0 });
    let add = || atomic_long::IncrementAndGet {};
    assert!(history().call(1, 1, 4, add(), 1).call(2, 2, 3, add(), 2).explained());
    assert!(history().call(1, 1, 4, add(), 2).call(2, 2, 3, add(), 1).explained());
    assert!(!history().call(1, 1, 4, add(), 1).call(2, 2, 3, add(), 1).explained());
}

#[test]
fn an_update_that_was_made_twice_is_rejected() {
    let history = || History::of::<atomic_long::Type>(&atomic_long::Creation { initial: 0 });
    let add = || atomic_long::AddAndGet { delta: 5 };
    let get = || atomic_long::Get {};
    assert!(history().call(1, 1, 2, add(), 5).call(2, 3, 4, get(), 5).explained());
    assert!(!history().call(1, 1, 2, add(), 5).call(2, 3, 4, get(), 10).explained());
}

#[test]
fn a_stale_read_is_rejected() {
    let history = || History::of::<map::Type>(&map::Creation {});
    let insert = || map::Insert { key: value(1), value: value(2) };
    let get = || map::Get { key: value(1) };
    // During the insertion a reader may see either, but after it only what was inserted.
    assert!(history().call(1, 1, 4, insert(), None).call(2, 2, 3, get(), None).explained());
    assert!(history().call(1, 1, 4, insert(), None).call(2, 2, 3, get(), Some(value(2))).explained());
    assert!(!history().call(1, 1, 2, insert(), None).call(2, 3, 4, get(), None).explained());
    // Who has seen it does not lose it again.
    let seen = history().call(1, 1, 8, insert(), None).call(2, 2, 3, get(), Some(value(2)));
    assert!(!seen.call(3, 4, 5, get(), None).explained());
}

#[test]
fn an_id_that_is_given_out_twice_is_rejected() {
    let history = || History::of::<id_generator::Type>(&id_generator::Creation { start: 7 });
    let next = || id_generator::Next {};
    let range = || id_generator::NextRange { n: 3 };
    assert!(history().call(1, 1, 4, next(), 10).call(2, 2, 3, range(), 7).explained());
    assert!(!history().call(1, 1, 4, next(), 7).call(2, 2, 3, next(), 7).explained());
    assert!(!history().call(1, 1, 4, next(), 8).call(2, 2, 3, range(), 7).explained());
}

#[test]
fn a_queue_out_of_order_is_rejected() {
    let history = || History::of::<queue::Type>(&queue::Creation { capacity: None });
    let offer = |n| queue::Offer { value: value(n) };
    let poll = || queue::Poll {};
    let one_after_the_other = || history().call(1, 1, 2, offer(1), true).call(2, 3, 4, offer(2), true);
    let first = |history: History, n| history.call(3, 5, 6, poll(), Some(value(n))).explained();
    assert!(first(one_after_the_other(), 1));
    assert!(!first(one_after_the_other(), 2));
    // At the same time either may be the first.
    assert!(first(history().call(1, 1, 4, offer(1), true).call(2, 2, 3, offer(2), true), 2));
    // Two that take at once do not take the same, though there be two.
    let taken = one_after_the_other().call(3, 5, 8, poll(), Some(value(1)));
    assert!(!taken.call(4, 6, 7, poll(), Some(value(1))).explained());
}

#[test]
fn a_lock_of_two_and_a_permit_too_many_are_rejected() {
    let history = || History::of::<mutex::Type>(&mutex::Creation {});
    let lock = || mutex::TryLock { owner: 0 };
    assert!(history().call(1, 1, 4, lock(), Some(1)).call(2, 2, 3, lock(), None).explained());
    assert!(!history().call(1, 1, 4, lock(), Some(1)).call(2, 2, 3, lock(), Some(1)).explained());
    assert!(!history().call(1, 1, 4, lock(), Some(1)).call(2, 2, 3, lock(), Some(2)).explained());
    let history = || History::of::<semaphore::Type>(&semaphore::Creation { permits: 3, unowned: false });
    let acquire = || semaphore::TryAcquire { n: 2 };
    assert!(history().call(1, 1, 4, acquire(), false).call(2, 2, 3, acquire(), true).explained());
    assert!(!history().call(1, 1, 4, acquire(), true).call(2, 2, 3, acquire(), true).explained());
    assert!(!history().call(1, 1, 4, acquire(), false).call(2, 2, 3, acquire(), false).explained());
}

#[test]
fn a_position_of_a_topic_that_is_used_twice_is_rejected() {
    let history = || History::of::<topic::Type>(&topic::Creation { retain: 9 });
    let publish = |n| topic::Publish { value: value(n) };
    let both = |first, second| history().call(1, 1, 4, publish(1), first).call(2, 2, 3, publish(2), second);
    assert!(both(1, 0).explained());
    assert!(!both(0, 0).explained());
    assert!(!both(0, 2).explained());
}
