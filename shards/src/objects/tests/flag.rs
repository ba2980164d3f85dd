//! Events: flags that callers wait for.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout},
};
use abide_net::CallError;
use abide_schema::types::event::*;
use proptest::prelude::*;

struct Flag {
    is_set: bool,
    waiting: Vec<usize>,
}

impl Model for Flag {
    type Wait = Await;
    /// Set, clear, or look.
    type Other = Option<bool>;

    fn timeout_ms(wait: &Await) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, _: Await, ends: &mut Ends<()>) {
        if self.is_set {
            ends.insert(id, Ok(()));
        } else {
            self.waiting.push(id);
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Option<bool>, ends: &mut Ends<()>) {
        match call {
            Some(true) => assert_eq!(shard.call(session, Set {}), Ok(!self.is_set)),
            Some(false) => assert_eq!(shard.call(session, Clear {}), Ok(self.is_set)),
            None => assert_eq!(shard.call(session, IsSet {}), Ok(self.is_set)),
        }
        self.is_set = call.unwrap_or(self.is_set);
        if self.is_set {
            ends.extend(self.waiting.drain(..).map(|id| (id, Ok(()))));
        }
    }

    fn gone(&mut self, id: usize, _: &mut Ends<()>) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<()>) {}
}

proptest! {
    #[test]
    fn events_agree_with_a_slow_model(
        initially_set: bool,
        steps in steps(
            timeout().prop_map(|timeout_ms| Await { timeout_ms }),
            prop_oneof![1 => Just(Some(true)), 3 => Just(Some(false)), 3 => Just(None)],
        ),
    ) {
        let model = Flag { is_set: initially_set, waiting: Vec::new() };
        compare(TestShard::new::<Type>(Creation { initially_set }), model, steps);
    }
}

/// Unlike a latch, it can be shut again; who has waited is through all the same.
#[test]
fn setting_lets_all_go_and_clearing_keeps_only_later_ones_out() {
    const WAITERS: u128 = 1_000;
    let mut shard = TestShard::new::<Type>(Creation { initially_set: false });
    let calls: Vec<_> = (0..WAITERS).map(|n| shard.begin(n % 7 + 2, Await { timeout_ms: None })).collect();
    assert!(calls.iter().all(|call| shard.waits(call)));
    shard.expect(Set {}, true);
    shard.expect(Set {}, false);
    shard.expect(Clear {}, true);
    shard.expect(Clear {}, false);
    for call in &calls {
        assert_eq!(shard.take_answer(call), Some(Ok(())));
    }
    let late = shard.begin(2, Await { timeout_ms: Some(5) });
    assert!(shard.waits(&late));
    shard.pass_ms(5);
    assert_eq!(shard.take_answer(&late), Some(Err(CallError::TimedOut)));
}

#[test]
fn the_flag_is_as_it_was_after_a_store_was_closed() {
    let mut shard = TestShard::new::<Type>(Creation { initially_set: false });
    shard.begin(2, Await { timeout_ms: None });
    let mut shard = shard.reopen();
    shard.expect(Set {}, true);
    shard.reopen().expect(Await { timeout_ms: None }, ());
}
