//! Values that wait for somebody to take them.

use crate::{TopicPage, object_type};
use abide_net::Value;

object_type! {
    /// A queue of values, first in, first out, with a bound or without. Those who wait to put and those who wait to take
    /// have their turn in the order of asking. A bound is at least 1.
    pub mod queue = 20, "Queue";
    creation { capacity: Option<u64> = None }
    methods {
        /// Adds a value at the end if there is room and nobody waits to put one. Says whether it did.
        0 Write Offer = offer(value: Value) -> bool;
        /// Adds a value at the end, waiting for room.
        1 Wait Put = put(value: Value, timeout_ms: Option<u64>);
        /// Removes and returns the first value, if there is one.
        2 Write Poll = poll() -> Option<Value>;
        /// Removes and returns the first value, waiting for one.
        3 Wait Take = take(timeout_ms: Option<u64>) -> Value;
        /// The first value.
        4 Read Peek = peek() -> Option<Value>;
        /// How many values there are.
        5 Read Len = len() -> u64;
        /// Whether there are none.
        6 Read IsEmpty = is_empty() -> bool;
        /// How many values there may be, if that is bounded.
        7 Read Capacity = capacity() -> Option<u64>;
        /// Removes and returns up to `n` values (at most 1,000 at once, and as many as a frame can carry).
        8 Write Drain = drain(n: u32) -> Vec<Value>;
    }
}

object_type! {
    /// A queue of values with priorities: the smallest goes first, and of equal ones the first that came.
    pub mod priority_queue = 21, "PriorityQueue";
    creation {}
    methods {
        /// Adds a value.
        0 Write Push = push(priority: i64, value: Value);
        /// Removes and returns the first value with its priority, if there is one.
        1 Write Pop = pop() -> Option<(i64, Value)>;
        /// Removes and returns the first value with its priority, waiting for one.
        2 Wait Take = take(timeout_ms: Option<u64>) -> (i64, Value);
        /// The first value with its priority.
        3 Read Peek = peek() -> Option<(i64, Value)>;
        /// How many values there are.
        4 Read Len = len() -> u64;
        /// Whether there are none.
        5 Read IsEmpty = is_empty() -> bool;
        /// Removes everything.
        6 Write Clear = clear();
    }
}

object_type! {
    /// A log of values that any number of readers follow, each with a cursor of its own. It keeps the last `retain` values,
    /// at least one.
    pub mod topic = 22, "Topic";
    creation { retain: u64 = 10_000 }
    methods {
        /// Adds a value, and returns its position. Positions begin at 0 and have no gaps.
        0 Write Publish = publish(value: Value) -> u64;
        /// At most `limit` values from the position `cursor` on. If there is none yet it waits for the first, also for one far ahead.
        1 Wait Subscribe = subscribe(cursor: u64, limit: u32, timeout_ms: Option<u64>) -> TopicPage;
        /// The last `n` values with their positions, ascending, as many as are kept. `TooLarge` past the frame's limit.
        2 Read Last = last(n: u32) -> Vec<(u64, Value)>;
        /// The position that the next value gets.
        3 Read NextPosition = next_position() -> u64;
        /// How many values are kept.
        4 Read Len = len() -> u64;
    }
}
