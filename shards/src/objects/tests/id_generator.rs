//! Id generators.

use super::driver::TestShard;
use abide_net::CallError;
use abide_schema::types::id_generator::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_number_is_given_twice_and_none_is_left_out(
        start in prop_oneof![0..9_u64, (u64::MAX - 9)..],
        calls in prop::collection::vec(prop_oneof![Just(None), (0..7_u64).prop_map(Some), Just(Some(u64::MAX))], 1..20),
    ) {
        let mut shard = TestShard::new::<Type>(Creation { start });
        let mut next = u128::from(start);
        for (session, call) in (1..4).cycle().zip(calls) {
            let n = call.unwrap_or(1);
            let result = match call {
                None => shard.call(session, Next {}),
                Some(n) => shard.call(session, NextRange { n }),
            };
            let left = (1 << 64) - next;
            if n == 0 {
                prop_assert!(matches!(result, Err(CallError::BadArgument { .. })), "{:?}", result);
            } else if left < n.into() {
                prop_assert_eq!(result, Err(CallError::OutOfBounds { len: left as u64 }));
            } else {
                prop_assert_eq!(result, Ok(next as u64));
                next += u128::from(n);
            }
        }
    }
}

#[test]
fn numbers_go_on_after_a_restart_and_end_with_the_last() {
    let mut shard = TestShard::new::<Type>(Creation { start: u64::MAX - 1 });
    shard.expect(Next {}, u64::MAX - 1);
    let mut shard = shard.reopen();
    assert_eq!(shard.call(1, NextRange { n: 2 }), Err(CallError::OutOfBounds { len: 1 }));
    shard.expect(Next {}, u64::MAX);
    let mut shard = shard.reopen();
    assert_eq!(shard.call(1, Next {}), Err(CallError::OutOfBounds { len: 0 }));
}
