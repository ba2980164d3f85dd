//! Topics.

use super::{
    driver::TestShard,
    waiting::{Ends, Model, compare, steps, timeout},
};
use crate::objects::sizes::ANSWER_BYTES_MAX;
use abide_net::{
    CallError, Value,
    limits::{PAGE_ENTRIES_MAX, VALUE_BYTES_MAX},
};
use abide_schema::{TopicPage, types::topic::*};
use proptest::prelude::*;

fn value(n: u64) -> Value {
    Value::encode(&n).unwrap()
}

fn entries(positions: impl IntoIterator<Item = u64>) -> Vec<(u64, Value)> {
    positions.into_iter().map(|position| (position, value(position))).collect()
}

/// A log whose value at each position is that position.
struct Log {
    retain: u64,
    next: u64,
    waiting: Vec<(usize, Subscribe)>,
}

impl Log {
    fn first(&self) -> u64 {
        self.next.saturating_sub(self.retain)
    }

    fn settle(&mut self, ends: &mut Ends<TopicPage>) {
        let (first, next) = (self.first(), self.next);
        self.waiting.retain(|(id, asked)| {
            if asked.cursor >= next {
                return true;
            }
            let start = asked.cursor.max(first);
            let end = next.min(start + u64::from(asked.limit.max(1)));
            let page = TopicPage { entries: entries(start..end), next: end, missed: start - asked.cursor };
            ends.insert(*id, Ok(page));
            false
        });
    }
}

#[derive(Debug, Clone)]
enum Call {
    Publish,
    Last(u32),
    Look,
}

impl Model for Log {
    type Wait = Subscribe;
    type Other = Call;

    fn timeout_ms(wait: &Subscribe) -> Option<u64> {
        wait.timeout_ms
    }

    fn wait(&mut self, id: usize, _: u128, wait: Subscribe, ends: &mut Ends<TopicPage>) {
        self.waiting.push((id, wait));
        self.settle(ends);
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<TopicPage>) {
        match call {
            Call::Publish => {
                assert_eq!(shard.call(session, Publish { value: value(self.next) }), Ok(self.next));
                self.next += 1;
            }
            Call::Last(n) => {
                let first = self.next.saturating_sub(n.into()).max(self.first());
                assert_eq!(shard.call(session, Last { n }), Ok(entries(first..self.next)));
            }
            Call::Look => {
                assert_eq!(shard.call(session, NextPosition {}), Ok(self.next));
                assert_eq!(shard.call(session, Len {}), Ok(self.next - self.first()));
            }
        }
        self.settle(ends);
    }

    fn gone(&mut self, id: usize, _: &mut Ends<TopicPage>) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
    }

    fn session_ended(&mut self, _: u128, _: &mut Ends<TopicPage>) {}
}

proptest! {
    #[test]
    fn topics_agree_with_a_slow_model(
        retain in 1..6_u64,
        steps in steps(
            (0..12_u64, 0..4_u32, timeout()).prop_map(|(cursor, limit, timeout_ms)| Subscribe { cursor, limit, timeout_ms }),
            prop_oneof![
                5 => Just(Call::Publish),
                1 => (0..8_u32).prop_map(Call::Last),
                1 => Just(Call::Look),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation { retain }), Log { retain, next: 0, waiting: Vec::new() }, steps);
    }
}

fn subscribe(cursor: u64, timeout_ms: Option<u64>) -> Subscribe {
    Subscribe { cursor, limit: 10, timeout_ms }
}

#[test]
fn a_thousand_subscribers_hear_of_one_value_at_once_and_those_who_are_ahead_of_theirs() {
    let mut shard = TestShard::new::<Type>(Creation { retain: 2 });
    let now: Vec<_> = (0..1_000).map(|n| shard.begin(n % 7 + 2, subscribe(0, None))).collect();
    let ahead: Vec<_> =
        (0..1_000).map(|n| shard.begin(n % 7 + 2, subscribe(n as u64 % 2 + 1, None))).collect();
    for position in 0..3 {
        shard.expect(Publish { value: value(position) }, position);
        let page = TopicPage { entries: entries([position]), next: position + 1, missed: 0 };
        let theirs = ahead.iter().enumerate().filter(|(n, _)| *n as u64 % 2 + 1 == position);
        let calls: Vec<_> =
            if position == 0 { now.iter().collect() } else { theirs.map(|(_, call)| call).collect() };
        for call in calls {
            assert_eq!(shard.take_answer(call), Some(Ok(page.clone())));
        }
        let answered = now.len() + position as usize * ahead.len() / 2;
        assert_eq!(shard.info().waiters as usize, now.len() + ahead.len() - answered);
    }
}

#[test]
fn who_waits_for_a_value_can_give_up_die_or_time_out() {
    let mut shard = TestShard::new::<Type>(Creation { retain: 9 });
    let mut calls = Vec::new();
    for cursor in [0, 1, 5] {
        calls.push(shard.begin(2, subscribe(cursor, Some(10))));
        calls.push(shard.begin(3, subscribe(cursor, None)));
        calls.push(shard.begin(4, subscribe(cursor, None)));
        calls.push(shard.begin(5, subscribe(cursor, None)));
    }
    shard.pass_ms(10);
    shard.goodbye(3);
    for each in calls.chunks(4) {
        shard.cancel(&each[2]);
        assert_eq!(shard.take_answer(&each[0]), Some(Err(CallError::TimedOut)));
        assert_eq!(shard.take_answer(&each[1]), Some(Err(CallError::SessionExpired)));
        assert_eq!(shard.take_answer(&each[2]), Some(Err(CallError::Cancelled)));
    }
    for position in 0..6 {
        shard.expect(Publish { value: value(position) }, position);
    }
    for (each, cursor) in calls.chunks(4).zip([0, 1, 5]) {
        let page = TopicPage { entries: entries([cursor]), next: cursor + 1, missed: 0 };
        assert_eq!(shard.take_answer(&each[3]), Some(Ok(page)));
    }
    assert_eq!(shard.answers_left(), 0);
}

#[test]
fn positions_go_on_after_a_restart_and_pages_are_bounded() {
    let mut shard = TestShard::new::<Type>(Creation { retain: 20_000 });
    shard.expect(Publish { value: Value::bytes(&vec![1; VALUE_BYTES_MAX]) }, 0);
    shard.expect(Publish { value: Value::bytes(&vec![2; VALUE_BYTES_MAX]) }, 1);
    let page = shard.get(subscribe(0, None));
    assert_eq!((page.entries.len(), page.next, page.missed), (1, 1, 0));
    assert_eq!(shard.get(Last { n: 1 }).len(), 1);
    assert_eq!(shard.call(1, Last { n: 9 }), Err(CallError::TooLarge { max: ANSWER_BYTES_MAX as u64 }));
    let larger = Value::bytes(&vec![0; VALUE_BYTES_MAX + 1]);
    let too_large = CallError::TooLarge { max: VALUE_BYTES_MAX as u64 };
    assert_eq!(shard.call(1, Publish { value: larger }), Err(too_large));
    let mut shard = shard.reopen();
    let many = u64::from(PAGE_ENTRIES_MAX) + 1;
    (2..many + 2).for_each(|position| shard.expect(Publish { value: value(position) }, position));
    let page = shard.get(Subscribe { cursor: 2, limit: u32::MAX, timeout_ms: None });
    assert_eq!((page.entries.len() as u64, page.next), (many - 1, many + 1));
    let none = TestShard::new::<Type>(Creation { retain: 0 }).call(1, Len {});
    assert!(matches!(none, Err(CallError::BadArgument { .. })), "{none:?}");
}

#[test]
fn a_reader_that_came_too_late_is_told_how_many_values_it_missed() {
    let mut shard = TestShard::new::<Type>(Creation { retain: 3 });
    (0..10).for_each(|position| shard.expect(Publish { value: value(position) }, position));
    shard.expect(subscribe(2, None), TopicPage { entries: entries(7..10), next: 10, missed: 5 });
    shard.expect(subscribe(8, None), TopicPage { entries: entries(8..10), next: 10, missed: 0 });
    shard.expect(Len {}, 3);
}
