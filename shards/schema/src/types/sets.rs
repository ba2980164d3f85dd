//! Sets, and maps with an order.

use crate::{MergeOp, Page, object_type};
use abide_net::Value;

object_type! {
    /// A map from values to values, in the order of its keys: null, bools, integers, floats, texts, bytes, and then all
    /// others by their bytes; numbers by their size, texts and bytes as a dictionary has them. A key may have up to
    /// about a thousand bytes (`TooLarge` says how many).
    pub mod sorted_map = 15, "SortedMap";
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
        /// At most `limit` keys after the cursor, ascending.
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
        /// At most `limit` entries from the key `from` on (from the first without one) to before `to` (to the last without
        /// one), ascending. `next` is the key to go on from.
        21 Read Range = range(from: Option<Value>, to: Option<Value>, limit: u32) -> Page<(Value, Value), Value>;
        /// At most `limit` entries before the key `to`, ascending from the first.
        22 Read Head = head(to: Value, limit: u32) -> Page<(Value, Value), Value>;
        /// At most `limit` entries from the key `from` on, ascending.
        23 Read Tail = tail(from: Value, limit: u32) -> Page<(Value, Value), Value>;
        /// The entry of the smallest key.
        24 Read First = first() -> Option<(Value, Value)>;
        /// The entry of the greatest key.
        25 Read Last = last() -> Option<(Value, Value)>;
        /// The entry of the greatest key that is not greater than this one.
        26 Read Floor = floor(key: Value) -> Option<(Value, Value)>;
        /// The entry of the smallest key that is not smaller than this one.
        27 Read Ceiling = ceiling(key: Value) -> Option<(Value, Value)>;
        /// The entry of the greatest key that is smaller than this one.
        28 Read Lower = lower(key: Value) -> Option<(Value, Value)>;
        /// The entry of the smallest key that is greater than this one.
        29 Read Higher = higher(key: Value) -> Option<(Value, Value)>;
        /// The entries of the `k` greatest keys, descending. `TooLarge` past the frame's limit.
        30 Read Top = top(k: u32) -> Vec<(Value, Value)>;
        /// Removes and returns the entry of the smallest key.
        31 Write PopFirst = pop_first() -> Option<(Value, Value)>;
        /// Removes and returns the entry of the greatest key.
        32 Write PopLast = pop_last() -> Option<(Value, Value)>;
        /// How many keys are smaller than this one, which need not be there.
        33 Read Rank = rank(key: Value) -> u64;
    }
}

object_type! {
    /// A set of values, each of up to 64 KiB.
    pub mod set = 16, "Set";
    creation {}
    methods {
        /// Number of values.
        0 Read Len = len() -> u64;
        /// Whether there are none.
        1 Read IsEmpty = is_empty() -> bool;
        /// Whether the value is there.
        2 Read Contains = contains(value: Value) -> bool;
        /// Whether each of these is there.
        3 Read ContainsAll = contains_all(values: Vec<Value>) -> bool;
        /// Adds a value. Says whether it is new.
        4 Write Insert = insert(value: Value) -> bool;
        /// Removes a value. Says whether it was there.
        5 Write Remove = remove(value: Value) -> bool;
        /// Adds all of these, and returns how many are new.
        6 Write Extend = extend(values: Vec<Value>) -> u64;
        /// Removes all of these, and returns how many were there.
        7 Write RemoveAll = remove_all(values: Vec<Value>) -> u64;
        /// Removes all but these, and returns how many went. `TooLarge` if these are so many that one call cannot put them anew.
        8 Write RetainAll = retain_all(values: Vec<Value>) -> u64;
        /// Removes everything.
        9 Write Clear = clear();
        /// At most `limit` values after the cursor, which is a value, in no particular order. Values that are there during the
        /// whole iteration come exactly once.
        10 Read GetPage = page(after: Option<Value>, limit: u32) -> Page<Value, Value>;
    }
}
