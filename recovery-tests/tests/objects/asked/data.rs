//! Calls on registers, collections and arrays.

use super::{Asked, Generator, MATRIX, VECTOR};
use abide_schema::types::{
    atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, blob, counter, list,
    map, matrix, set, sorted_map, vector,
};

impl Generator<'_> {
    pub(super) fn atomic_bool(&mut self) -> Asked {
        use atomic_bool::*;
        let (value, expected) = (self.rng.bool(), self.rng.bool());
        one_of!(self; Get {}, Set { value }, Swap { value }, CompareExchange { expected, value }, FetchAnd { value },
            FetchOr { value }, FetchXor { value })
    }

    pub(super) fn atomic_double(&mut self) -> Asked {
        use atomic_double::*;
        let (value, expected) = (self.double(), self.double());
        one_of!(self; Get {}, Set { value }, Swap { value }, CompareExchange { expected, value },
            AddAndGet { delta: value }, MulAndGet { factor: value }, FetchMin { value }, FetchMax { value })
    }

    pub(super) fn counter(&mut self) -> Asked {
        use counter::*;
        let n = self.long();
        one_of!(self; Increment { n }, Increment { n: 1 }, Decrement { n }, Tally {}, Reset {})
    }

    pub(super) fn byte_array(&mut self) -> Asked {
        use atomic_byte_array::*;
        let (bytes, expected, offset, len) = (self.bytes(), self.bytes(), self.index(), self.rng.u64(..8));
        one_of!(self; Get {}, Set { bytes: bytes.clone() }, Swap { bytes: bytes.clone() },
            CompareExchange { expected, bytes: bytes.clone() }, Len {}, GetRange { offset, len },
            SetRange { offset, bytes: bytes.clone() }, Append { bytes: bytes.clone() }, Resize { len })
    }

    pub(super) fn atomic_ref(&mut self) -> Asked {
        use atomic_ref::*;
        let (value, expected, version) = (self.maybe(Self::value), self.maybe(Self::value), self.number());
        one_of!(self; Get {}, Set { value: value.clone() }, Swap { value: value.clone() },
            CompareExchange { expected, value: value.clone() }, Take {}, GetVersioned {},
            SetIfVersion { version, value: value.clone() })
    }

    pub(super) fn list(&mut self) -> Asked {
        use list::*;
        let (value, values, index) = (self.value(), self.some(Self::value), self.index());
        let (start, end) = (self.index(), self.index());
        let (cursor, limit) = (if self.chance(30) { 0 } else { self.number() }, self.limit());
        // A cursor that nobody was given means nothing.
        let cursor = if self.hints.numbers.contains(&cursor) { cursor } else { 0 };
        if self.rng.bool() {
            one_of!(self; Push { value: value.clone() }, PushFront { value: value.clone() }, Extend { values: values.clone() },
                PopFront {}, GetPage { cursor, limit })
        }
        one_of!(self; Len {}, IsEmpty {}, Get { index }, Set { index, value: value.clone() }, Insert { index, value: value.clone() },
            RemoveAt { index }, Remove { value: value.clone() }, PopBack {}, Contains { value: value.clone() },
            ContainsAll { values: values.clone() }, RemoveAll { values: values.clone() },
            RetainAll { values: values.clone() }, Clear {}, IndexOf { value: value.clone() },
            LastIndexOf { value: value.clone() }, Slice { start, end })
    }

    pub(super) fn set(&mut self) -> Asked {
        use set::*;
        let (value, values, after, limit) =
            (self.value(), self.some(Self::value), self.cursor(), self.limit());
        if self.rng.bool() {
            one_of!(self; Insert { value: value.clone() }, Extend { values: values.clone() },
                GetPage { after: after.clone(), limit })
        }
        one_of!(self; Len {}, IsEmpty {}, Contains { value: value.clone() }, ContainsAll { values: values.clone() },
            Remove { value: value.clone() }, RemoveAll { values: values.clone() }, RetainAll { values: values.clone() },
            Clear {})
    }

    pub(super) fn matrix(&mut self) -> Asked {
        use matrix::*;
        let (i, j) = (self.rng.u32(..MATRIX.0 + 1), self.rng.u32(..MATRIX.1 + 1));
        let (i, j) = if self.chance(70) { (i % MATRIX.0, j % MATRIX.1) } else { (i, j) };
        let (value, op, x) = (self.real(), self.op(), self.real());
        let (row, all) = (self.reals(MATRIX.1 as usize), self.reals((MATRIX.0 * MATRIX.1) as usize));
        one_of!(self; Rows {}, Cols {}, Kind {}, Get { i, j }, Set { i, j, value }, Row { i }, Col { j },
            SetRow { i, values: row.clone() }, Compute { i, j, op, x }, Combine { values: all.clone(), op },
            Fill { value }, ToVec {})
    }

    pub(super) fn vector(&mut self) -> Asked {
        use vector::*;
        let (index, start, end) =
            (self.rng.u32(..VECTOR + 1), self.rng.u32(..VECTOR + 1), self.rng.u32(..VECTOR + 2));
        let (value, op, all) = (self.real(), self.op(), self.reals(VECTOR as usize));
        let count = self.rng.usize(..3);
        let few = self.reals(count);
        one_of!(self; Len {}, Kind {}, Get { index }, Set { index, value }, GetRange { start, end },
            SetRange { start, values: few.clone() }, AddAssign { values: all.clone() }, Scale { factor: value },
            Dot { values: all.clone() }, Combine { values: all.clone(), op }, Fill { value }, ToVec {})
    }

    pub(super) fn blob(&mut self) -> Asked {
        use blob::*;
        let (bytes, offset, len) = (self.bytes(), self.index(), self.index());
        one_of!(self; Len {}, Write { bytes: bytes.clone() }, Read {}, GetRange { offset, len },
            SetRange { offset, bytes: bytes.clone() }, Append { bytes: bytes.clone() }, Truncate { len: len % 8 }, Digest {})
    }
}

macro_rules! atomic_integers {
    ($($method:ident, $module:ident, $number:ident;)*) => {
        impl Generator<'_> {
            $(pub(super) fn $method(&mut self) -> Asked {
                use $module::*;
                let (value, expected) = (self.$number(), self.$number());
                one_of!(self; Get {}, Set { value }, Swap { value }, CompareExchange { expected, value },
                    AddAndGet { delta: value }, GetAndAdd { delta: value }, IncrementAndGet {}, DecrementAndGet {},
                    GetAndIncrement {}, GetAndDecrement {}, FetchMin { value }, FetchMax { value },
                    FetchMul { factor: value }, FetchAnd { value }, FetchOr { value }, FetchXor { value },
                    CheckedAdd { delta: value })
            })*
        }
    };
}
atomic_integers! {
    atomic_int, atomic_int, int;
    atomic_long, atomic_long, long;
}

macro_rules! maps {
    ($($method:ident, $module:ident;)*) => {
        impl Generator<'_> {
            $(pub(super) fn $method(&mut self) -> Asked {
                use $module::*;
                let (key, value, expected, op) = (self.value(), self.value(), self.value(), self.op());
                let (keys, entries) = (self.some(Self::value), self.some(Self::pair));
                let (after, limit) = (self.cursor(), self.limit());
                if self.chance(40) {
                    one_of!(self; Insert { key: key.clone(), value: value.clone() },
                        InsertMany { entries: entries.clone() }, Keys { after: after.clone(), limit },
                        Entries { after: after.clone(), limit })
                }
                if stringify!($module) == "sorted_map" && self.chance(50) {
                    return self.sorted();
                }
                one_of!(self; Len {}, IsEmpty {}, Get { key: key.clone() }, ContainsKey { key: key.clone() },
                    ContainsValue { value: value.clone() },
                    InsertIfAbsent { key: key.clone(), value: value.clone() },
                    Replace { key: key.clone(), value: value.clone() },
                    ReplaceIf { key: key.clone(), expected: expected.clone(), value: value.clone() },
                    Remove { key: key.clone() }, RemoveIf { key: key.clone(), expected: expected.clone() },
                    GetMany { keys: keys.clone() }, RemoveMany { keys: keys.clone() }, Clear {},
                    Values { after: after.clone(), limit }, Merge { key: key.clone(), value: value.clone(), op },
                    MergeMany { entries: entries.clone(), op }, Compute { key: key.clone(), op, operand: value.clone() })
            })*
        }
    };
}
maps! {
    map, map;
    sorted_map, sorted_map;
}

impl Generator<'_> {
    fn sorted(&mut self) -> Asked {
        use sorted_map::*;
        let (from, to) = (self.maybe(Self::value), self.maybe(Self::value));
        let (key, limit, k) = (self.value(), self.limit(), self.rng.u32(..5));
        one_of!(self; Range { from: from.clone(), to: to.clone(), limit }, Head { to: key.clone(), limit },
            Tail { from: key.clone(), limit }, First {}, Last {}, Floor { key: key.clone() }, Ceiling { key: key.clone() },
            Lower { key: key.clone() }, Higher { key: key.clone() }, Top { k }, PopFirst {}, PopLast {}, Rank { key: key.clone() })
    }
}
