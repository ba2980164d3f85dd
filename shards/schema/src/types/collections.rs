//! Collections of values.

use crate::{MergeOp, Page, object_type};
use abide_net::Value;

object_type! {
    /// A sequence of values.
    pub mod list = 8, "List";
    creation {}
    methods {
        /// Number of values.
        0 Read Len = len() -> u64;
        /// Whether there are none.
        1 Read IsEmpty = is_empty() -> bool;
        /// The value at `index`, or nothing past the end.
        2 Read Get = get(index: u64) -> Option<Value>;
        /// Replaces the value at `index` and returns the one before.
        3 Write Set = set(index: u64, value: Value) -> Value;
        /// Adds a value at the end and returns the new length.
        4 Write Push = push(value: Value) -> u64;
        /// Inserts a value in front of `index`, which may be the length.
        5 Write Insert = insert(index: u64, value: Value);
        /// Removes and returns the value at `index`.
        6 Write RemoveAt = remove_at(index: u64) -> Value;
        /// Removes the first value equal to this one. Says whether there was one.
        7 Write Remove = remove(value: Value) -> bool;
        /// Removes and returns the first value.
        8 Write PopFront = pop_front() -> Option<Value>;
        /// Removes and returns the last value.
        9 Write PopBack = pop_back() -> Option<Value>;
        /// Adds a value at the front and returns the new length.
        10 Write PushFront = push_front(value: Value) -> u64;
        /// Whether a value equal to this one is there.
        11 Read Contains = contains(value: Value) -> bool;
        /// Whether each of these is there.
        12 Read ContainsAll = contains_all(values: Vec<Value>) -> bool;
        /// Adds all of these at the end, in order, and returns the new length.
        13 Write Extend = extend(values: Vec<Value>) -> u64;
        /// Removes every value equal to one of these, and returns how many.
        14 Write RemoveAll = remove_all(values: Vec<Value>) -> u64;
        /// Removes every value equal to none of these, and returns how many.
        15 Write RetainAll = retain_all(values: Vec<Value>) -> u64;
        /// Removes everything.
        16 Write Clear = clear();
        /// The index of the first value equal to this one.
        17 Read IndexOf = index_of(value: Value) -> Option<u64>;
        /// The index of the last value equal to this one.
        18 Read LastIndexOf = last_index_of(value: Value) -> Option<u64>;
        /// The values from `start` to before `end`, as many as there are. `TooLarge` past the frame's limit.
        19 Read Slice = slice(start: u64, end: u64) -> Vec<Value>;
        /// At most `limit` values from a cursor (0 at first). Values that are there during the whole
        /// iteration come once, also while the front is popped; inserting or removing before the cursor moves it.
        20 Read GetPage = page(cursor: u64, limit: u32) -> Page<Value, u64>;
    }
}

object_type! {
    /// A map from values to values, iterated in no particular order. A key may have up to 64 KiB.
    pub mod map = 9, "Map";
    creation {}
    methods {
        /// Number of entries.
        0 Read Len = len() -> u64;
        /// Whether there are none.
        1 Read IsEmpty = is_empty() -> bool;
        /// The value of a key.
        2 Read Get = get(key: Value) -> Option<Value>;
        /// Whether the key is there.
        3 Read ContainsKey = contains_key(key: Value) -> bool;
        /// Whether some key has this value. Looks at all.
        4 Read ContainsValue = contains_value(value: Value) -> bool;
        /// Sets a key's value and returns the one before.
        5 Write Insert = insert(key: Value, value: Value) -> Option<Value>;
        /// Sets a key's value if it has none; returns the one that is there otherwise.
        6 Write InsertIfAbsent = insert_if_absent(key: Value, value: Value) -> Option<Value>;
        /// Sets a key's value if it has one, and returns the one before.
        7 Write Replace = replace(key: Value, value: Value) -> Option<Value>;
        /// Sets a key's value if it is `expected`. Says whether it was.
        8 Write ReplaceIf = replace_if(key: Value, expected: Value, value: Value) -> bool;
        /// Removes a key and returns its value.
        9 Write Remove = remove(key: Value) -> Option<Value>;
        /// Removes a key if its value is `expected`. Says whether it was.
        10 Write RemoveIf = remove_if(key: Value, expected: Value) -> bool;
        /// The values of these keys, in order.
        11 Read GetMany = get_many(keys: Vec<Value>) -> Vec<Option<Value>>;
        /// Sets all of these and returns how many keys are new.
        12 Write InsertMany = insert_many(entries: Vec<(Value, Value)>) -> u64;
        /// Removes all of these and returns how many were there.
        13 Write RemoveMany = remove_many(keys: Vec<Value>) -> u64;
        /// Removes everything.
        14 Write Clear = clear();
        /// At most `limit` keys after the cursor.
        15 Read Keys = keys(after: Option<Value>, limit: u32) -> Page<Value, Value>;
        /// The values of at most `limit` keys after the cursor, which is a key.
        16 Read Values = values(after: Option<Value>, limit: u32) -> Page<Value, Value>;
        /// At most `limit` entries after the cursor, which is a key. Entries that are there during the whole
        /// iteration come exactly once.
        17 Read Entries = entries(after: Option<Value>, limit: u32) -> Page<(Value, Value), Value>;
        /// Sets the value if the key has none, else joins the two with `op`. Returns the value after.
        18 Write Merge = merge(key: Value, value: Value, op: MergeOp) -> Value;
        /// Merges all of these, all or (on an error) none, and returns how many keys are new.
        19 Write MergeMany = merge_many(entries: Vec<(Value, Value)>, op: MergeOp) -> u64;
        /// Joins the value of a key that has one with `operand`. Returns the value after, or nothing if the key is absent.
        20 Write Compute = compute(key: Value, op: MergeOp, operand: Value) -> Option<Value>;
    }
}
