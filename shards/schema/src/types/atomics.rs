//! Registers: one value, changed in one step.

use crate::object_type;
use abide_net::{Bytes, Value};

object_type! {
    /// A truth value.
    pub mod atomic_bool = 1, "AtomicBool";
    creation { initial: bool = false }
    methods {
        /// The value.
        0 Read Get = get() -> bool;
        /// Replaces the value.
        1 Write Set = set(value: bool);
        /// Replaces the value and returns the one before.
        2 Write Swap = swap(value: bool) -> bool;
        /// Replaces the value if it is `expected`. Ok with the value before, or Err with the value that is there.
        3 Write CompareExchange = compare_exchange(expected: bool, value: bool) -> Result<bool, bool>;
        /// Logical and; returns the value before.
        4 Write FetchAnd = fetch_and(value: bool) -> bool;
        /// Logical or; returns the value before.
        5 Write FetchOr = fetch_or(value: bool) -> bool;
        /// Logical exclusive or; returns the value before.
        6 Write FetchXor = fetch_xor(value: bool) -> bool;
    }
}

macro_rules! atomic_integer {
    ($(#[doc = $doc:literal])* $module:ident = $id:literal, $name:literal, $integer:ty) => {
        object_type! {
            $(#[doc = $doc])*
            pub mod $module = $id, $name;
            creation { initial: $integer = 0 }
            methods {
                /// The value.
                0 Read Get = get() -> $integer;
                /// Replaces the value.
                1 Write Set = set(value: $integer);
                /// Replaces the value and returns the one before.
                2 Write Swap = swap(value: $integer) -> $integer;
                /// Replaces the value if it is `expected`. Ok with the value before, or Err with the value that is there.
                3 Write CompareExchange = compare_exchange(expected: $integer, value: $integer) -> Result<$integer, $integer>;
                /// Adds and returns the value after. Overflow wraps, as in Java.
                4 Write AddAndGet = add_and_get(delta: $integer) -> $integer;
                /// Adds and returns the value before. Overflow wraps, as in Java.
                5 Write GetAndAdd = get_and_add(delta: $integer) -> $integer;
                /// Adds 1 and returns the value after.
                6 Write IncrementAndGet = increment_and_get() -> $integer;
                /// Subtracts 1 and returns the value after.
                7 Write DecrementAndGet = decrement_and_get() -> $integer;
                /// Adds 1 and returns the value before.
                8 Write GetAndIncrement = get_and_increment() -> $integer;
                /// Subtracts 1 and returns the value before.
                9 Write GetAndDecrement = get_and_decrement() -> $integer;
                /// Keeps the smaller of the value and this one; returns the value before.
                10 Write FetchMin = fetch_min(value: $integer) -> $integer;
                /// Keeps the greater of the value and this one; returns the value before.
                11 Write FetchMax = fetch_max(value: $integer) -> $integer;
                /// Multiplies, wrapping, and returns the value before.
                12 Write FetchMul = fetch_mul(factor: $integer) -> $integer;
                /// Bitwise and; returns the value before.
                13 Write FetchAnd = fetch_and(value: $integer) -> $integer;
                /// Bitwise or; returns the value before.
                14 Write FetchOr = fetch_or(value: $integer) -> $integer;
                /// Bitwise exclusive or; returns the value before.
                15 Write FetchXor = fetch_xor(value: $integer) -> $integer;
                /// Adds and returns the value after, or nothing, changing nothing, if the sum overflows.
                16 Write CheckedAdd = checked_add(delta: $integer) -> Option<$integer>;
            }
        }
    };
}

atomic_integer! {
    /// A 32-bit signed integer.
    atomic_int = 2, "AtomicInt", i32
}
atomic_integer! {
    /// A 64-bit signed integer.
    atomic_long = 3, "AtomicLong", i64
}

object_type! {
    /// A 64-bit float. Comparison is of bits, so that NaN equals itself and 0.0 is not -0.0.
    pub mod atomic_double = 4, "AtomicDouble";
    creation { initial: f64 = 0.0 }
    methods {
        /// The value.
        0 Read Get = get() -> f64;
        /// Replaces the value.
        1 Write Set = set(value: f64);
        /// Replaces the value and returns the one before.
        2 Write Swap = swap(value: f64) -> f64;
        /// Replaces the value if it is `expected`. Ok with the value before, or Err with the value that is there.
        3 Write CompareExchange = compare_exchange(expected: f64, value: f64) -> Result<f64, f64>;
        /// Adds and returns the value after.
        4 Write AddAndGet = add_and_get(delta: f64) -> f64;
        /// Multiplies and returns the value after.
        5 Write MulAndGet = mul_and_get(factor: f64) -> f64;
        /// Keeps the smaller of the value and this one (NaN loses); returns the value before.
        6 Write FetchMin = fetch_min(value: f64) -> f64;
        /// Keeps the greater of the value and this one (NaN loses); returns the value before.
        7 Write FetchMax = fetch_max(value: f64) -> f64;
    }
}

object_type! {
    /// A count that many threads change and few read.
    pub mod counter = 5, "Counter";
    creation { initial: i64 = 0 }
    methods {
        /// Adds `n`. Overflow wraps.
        0 Write Increment = increment(n: i64);
        /// Subtracts `n`. Overflow wraps.
        1 Write Decrement = decrement(n: i64);
        /// The count.
        2 Read Tally = tally() -> i64;
        /// Sets the count to 0 and returns the one before.
        3 Write Reset = reset() -> i64;
    }
}

object_type! {
    /// A byte string, read and written whole or in ranges.
    pub mod atomic_byte_array = 6, "AtomicByteArray";
    creation { initial: Bytes = Bytes::default() }
    methods {
        /// All bytes.
        0 Read Get = get() -> Bytes;
        /// Replaces all bytes.
        1 Write Set = set(bytes: Bytes);
        /// Replaces all bytes and returns the ones before.
        2 Write Swap = swap(bytes: Bytes) -> Bytes;
        /// Replaces all bytes if they are `expected`. Ok with the ones before, or Err with the ones that are there.
        3 Write CompareExchange = compare_exchange(expected: Bytes, bytes: Bytes) -> Result<Bytes, Bytes>;
        /// Number of bytes.
        4 Read Len = len() -> u64;
        /// `len` bytes from `offset`. `OutOfBounds` if they are not all there.
        5 Read GetRange = get_range(offset: u64, len: u64) -> Bytes;
        /// Overwrites bytes from `offset`. `OutOfBounds` if they are not all there.
        6 Write SetRange = set_range(offset: u64, bytes: Bytes);
        /// Adds bytes at the end and returns the new length.
        7 Write Append = append(bytes: Bytes) -> u64;
        /// Shortens, or lengthens with zeros.
        8 Write Resize = resize(len: u64);
    }
}

object_type! {
    /// A reference to a value of a user's type, or to nothing.
    pub mod atomic_ref = 7, "AtomicRef";
    creation { initial: Option<Value> = None }
    methods {
        /// The value.
        0 Read Get = get() -> Option<Value>;
        /// Replaces the value.
        1 Write Set = set(value: Option<Value>);
        /// Replaces the value and returns the one before.
        2 Write Swap = swap(value: Option<Value>) -> Option<Value>;
        /// Replaces the value if it is `expected`. Ok with the value before, or Err with the value that is there.
        3 Write CompareExchange = compare_exchange(
            expected: Option<Value>, value: Option<Value>,
        ) -> Result<Option<Value>, Option<Value>>;
        /// Takes the value out, leaving nothing.
        4 Write Take = take() -> Option<Value>;
        /// The value with its version, which grows with each change.
        5 Read GetVersioned = get_versioned() -> (u64, Option<Value>);
        /// Replaces the value if its version is `version`. Ok with the new version, or Err with the one that is there.
        6 Write SetIfVersion = set_if_version(version: u64, value: Option<Value>) -> Result<u64, u64>;
    }
}
