//! Calls at random.

use crate::model::Hints;
use abide_net::{Bytes, MethodKind, Value, codec, limits::PAGE_ENTRIES_MAX};
use abide_schema::{
    MergeOp, Method, Number, NumberKind, Numbers, ObjectType, TypeInfo,
    types::{
        atomic_bool, atomic_byte_array, atomic_double, atomic_int, atomic_long, atomic_ref, blob, condition,
        count_down_latch, counter, cyclic_barrier, election, event, exchanger, find_type_id, future,
        id_generator, list, map, matrix, mutex, object, phaser, priority_queue, queue, rate_limiter, reducer,
        rendezvous, rw_lock, semaphore, set, sorted_map, topic, vector,
    },
};
use fastrand::Rng;
use serde::Serialize;
use std::fmt::Debug;

/// A call, without its caller.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) type_id: u16,
    pub(crate) method: u16,
    pub(crate) kind: MethodKind,
    pub(crate) arguments: Vec<u8>,
    pub(crate) text: String,
}

impl Asked {
    pub(crate) fn of<M: Method + Debug>(method: M) -> Asked {
        Asked {
            type_id: M::Object::ID,
            method: M::ID,
            kind: M::KIND,
            arguments: codec::encode(&method).expect("arguments can be encoded"),
            text: format!("{method:?}"),
        }
    }

    /// A call that every object answers.
    fn about<M: Method + Debug>(type_id: u16, method: M) -> Asked {
        Asked { type_id, ..Asked::of(method) }
    }

    /// A result, readable.
    pub(crate) fn show(&self, body: &[u8]) -> String {
        let info: &TypeInfo = if self.method >= 0xff00 {
            object::Type::info()
        } else {
            find_type_id(self.type_id).expect("built in")
        };
        let method = info.method_by_id(self.method).expect("it was asked for");
        match (method.output_to_json)(body) {
            Ok(json) => json.to_string(),
            Err(error) => format!("{body:?}, which is no result: {error}"),
        }
    }
}

/// What kind of calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// By a clock that the test has in its hand: any time-out.
    Exact,
    /// In real time: a call waits for ever, or not at all.
    Real,
    /// Several at once: a call is answered at once, and what it leaves behind is not seen by others.
    Concurrent,
}

pub(crate) struct Generator<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) style: Style,
    pub(crate) hints: Hints,
}

fn encode<T: Serialize>(creation: T) -> Vec<u8> {
    codec::encode(&creation).expect("creation arguments can be encoded")
}

/// One of several expressions, each as likely.
macro_rules! one_of {
    ($self:ident; $($choice:expr),+ $(,)?) => {{
        let choices = [$({ let _ = stringify!($choice); () }),+].len();
        let chosen = $self.rng.usize(..choices);
        let mut at = 0;
        $(
            if chosen == at {
                return Asked::of($choice);
            }
            at += 1;
        )+
        let _ = at;
        unreachable!("one of them was chosen")
    }};
}

impl Generator<'_> {
    fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.rng.bool() { Some(value(self)) } else { None }
    }

    fn some<T>(&mut self, value: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.rng.usize(..4)).map(|_| value(self)).collect()
    }

    fn timeout(&mut self) -> Option<u64> {
        match (self.style, self.rng.u32(..10)) {
            (Style::Concurrent, _) => Some(0),
            (_, 0..4) => None,
            (Style::Real, 4..7) => Some(3_600_000),
            (Style::Exact, 4) => Some(u64::MAX),
            (Style::Exact, 5..9) => Some(self.rng.u64(1..40)),
            _ => Some(0),
        }
    }

    /// A small number, or rarely a large one.
    fn long(&mut self) -> i64 {
        match self.rng.u32(..20) {
            0 => i64::MAX,
            1 => i64::MIN,
            2 => i64::from(i32::MAX),
            _ => self.rng.i64(-3..4),
        }
    }

    fn int(&mut self) -> i32 {
        match self.rng.u32(..20) {
            0 => i32::MAX,
            1 => i32::MIN,
            _ => self.rng.i32(-3..4),
        }
    }

    fn double(&mut self) -> f64 {
        let choices = [0.0, -0.0, 1.0, -1.5, 2.5, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        choices[self.rng.usize(..choices.len())]
    }

    fn bytes(&mut self) -> Bytes {
        let len = if self.chance(5) { self.rng.usize(..3_000) } else { self.rng.usize(..6) };
        Bytes((0..len).map(|_| self.rng.u8(..4)).collect())
    }

    fn index(&mut self) -> u64 {
        if self.chance(4) { self.rng.u64(..) } else { self.rng.u64(..8) }
    }

    fn small(&mut self) -> u32 {
        self.rng.u32(1..5)
    }

    fn limit(&mut self) -> u32 {
        if self.chance(20) { PAGE_ENTRIES_MAX } else { self.rng.u32(1..5) }
    }

    /// A number that the object gave out, or any.
    fn number(&mut self) -> u64 {
        let known = &self.hints.numbers;
        if known.is_empty() || self.rng.u32(..5) == 0 {
            self.rng.u64(..4)
        } else {
            known[self.rng.usize(..known.len())]
        }
    }

    fn cursor(&mut self) -> Option<Value> {
        let known = &self.hints.after;
        match self.rng.u32(..10) {
            0 => Some(self.value()),
            1..4 => None,
            _ if known.is_empty() => None,
            _ => Some(known[self.rng.usize(..known.len())].clone()),
        }
    }

    fn value(&mut self) -> Value {
        let json = |text: &str| {
            Value::from_json(&serde_json::from_str(text).expect("it is JSON")).expect("it is a value")
        };
        match self.rng.u32(..24) {
            0 => Value::null(),
            1 => Value::bool(false),
            2 => Value::bool(true),
            3 => Value::float(1.5),
            4 => Value::float(-2.0),
            5 => Value::text(""),
            6 => Value::text("a"),
            7 => Value::text("ab"),
            8 => Value::text("b"),
            9 => Value::bytes(b"a"),
            10 => Value::bytes(b""),
            11 => json("[]"),
            12 => json("[1,\"x\"]"),
            13 => json("{\"k\":[1]}"),
            14 => Value::integer(u64::MAX.into()).expect("it fits"),
            15 => Value::integer(i64::MIN.into()).expect("it fits"),
            16 => Value::encode(&vec![1_u8, 2]).expect("it can be encoded"),
            17 if self.chance(20) => Value::text(&"long ".repeat(100)),
            _ => Value::integer(self.rng.i128(-2..6)).expect("it fits"),
        }
    }

    fn pair(&mut self) -> (Value, Value) {
        (self.value(), self.value())
    }

    fn op(&mut self) -> MergeOp {
        use MergeOp::*;
        let all = [Sum, Product, Min, Max, And, Or, Xor, Concat, First, Last];
        all[self.rng.usize(..all.len())]
    }

    fn name(&mut self) -> String {
        ["a", "b", "c"][self.rng.usize(..3)].to_owned()
    }

    fn candidate(&mut self) -> String {
        ["x", "y", ""][self.rng.usize(..3)].to_owned()
    }

    fn real(&mut self) -> Number {
        let floats = [0.0, 1.0, -2.0, 0.5, 3.0];
        match self.rng.u32(..10) {
            0 => Number::I64(self.long()),
            1..4 => Number::F64(floats[self.rng.usize(..floats.len())]),
            _ => Number::I64(self.rng.i64(-3..4)),
        }
    }

    fn reals(&mut self, len: usize) -> Numbers {
        let len = if self.chance(5) { self.rng.usize(..7) } else { len };
        if self.rng.bool() {
            let integer = |n: &mut Self| if n.chance(2) { n.long() } else { n.rng.i64(-3..4) };
            Numbers::I64((0..len).map(|_| integer(self)).collect())
        } else {
            let halves = |n: &mut Self| f64::from(n.rng.i32(-4..5)) / if n.chance(20) { 2.0 } else { 1.0 };
            Numbers::F64((0..len).map(|_| halves(self)).collect())
        }
    }

    fn kind(&mut self) -> NumberKind {
        if self.rng.bool() { NumberKind::I64 } else { NumberKind::F64 }
    }

    /// Arguments to create an object of a type with.
    pub(crate) fn creation(&mut self, type_id: u16) -> Vec<u8> {
        match type_id {
            atomic_bool::Type::ID => encode(atomic_bool::Creation { initial: self.rng.bool() }),
            atomic_int::Type::ID => encode(atomic_int::Creation { initial: self.int() }),
            atomic_long::Type::ID => encode(atomic_long::Creation { initial: self.long() }),
            atomic_double::Type::ID => encode(atomic_double::Creation { initial: self.double() }),
            counter::Type::ID => encode(counter::Creation { initial: self.long() }),
            atomic_byte_array::Type::ID => encode(atomic_byte_array::Creation { initial: self.bytes() }),
            atomic_ref::Type::ID => encode(atomic_ref::Creation { initial: self.maybe(Self::value) }),
            cyclic_barrier::Type::ID => encode(cyclic_barrier::Creation { parties: self.small() }),
            count_down_latch::Type::ID => encode(count_down_latch::Creation { count: self.rng.u64(..12) }),
            semaphore::Type::ID => {
                encode(semaphore::Creation { permits: self.rng.u64(..6), unowned: self.chance(30) })
            }
            matrix::Type::ID => {
                let fill = Number::I64(self.rng.i64(-2..3));
                encode(matrix::Creation { rows: MATRIX.0, cols: MATRIX.1, kind: self.kind(), fill })
            }
            vector::Type::ID => {
                let fill = Number::I64(self.rng.i64(-2..3));
                encode(vector::Creation { len: VECTOR, kind: self.kind(), fill })
            }
            queue::Type::ID => encode(queue::Creation { capacity: self.maybe(|g| g.rng.u64(1..4)) }),
            topic::Type::ID => encode(topic::Creation { retain: self.rng.u64(1..6) }),
            id_generator::Type::ID => {
                let start = if self.chance(20) { u64::MAX - self.rng.u64(..20) } else { self.rng.u64(..10) };
                encode(id_generator::Creation { start })
            }
            rate_limiter::Type::ID => {
                let period_ms = if self.style == Style::Exact { self.rng.u64(1..20) } else { HOUR_MS };
                let permits = if self.style == Style::Exact { self.rng.u64(1..5) } else { 1 };
                encode(rate_limiter::Creation { permits, period_ms, burst: self.rng.u64(1..6) })
            }
            phaser::Type::ID => encode(phaser::Creation { parties: self.rng.u32(..3) }),
            event::Type::ID => encode(event::Creation { initially_set: self.rng.bool() }),
            reducer::Type::ID => {
                let ops = [
                    MergeOp::Sum,
                    MergeOp::Product,
                    MergeOp::Min,
                    MergeOp::Max,
                    MergeOp::First,
                    MergeOp::Last,
                ];
                let op = ops[self.rng.usize(..ops.len())];
                encode(reducer::Creation { parties: self.small(), len: REDUCER, kind: self.kind(), op })
            }
            // Types without arguments.
            _ => encode(()),
        }
    }

    /// A call on an object of a type.
    pub(crate) fn call(&mut self, type_id: u16) -> Asked {
        if self.style != Style::Concurrent && self.chance(3) {
            return match self.rng.u32(..6) {
                0 => Asked::about(type_id, object::Delete {}),
                1 => Asked::about(type_id, object::Create {}),
                _ => Asked::about(type_id, object::Exists {}),
            };
        }
        match type_id {
            atomic_bool::Type::ID => self.atomic_bool(),
            atomic_int::Type::ID => self.atomic_int(),
            atomic_long::Type::ID => self.atomic_long(),
            atomic_double::Type::ID => self.atomic_double(),
            counter::Type::ID => self.counter(),
            atomic_byte_array::Type::ID => self.byte_array(),
            atomic_ref::Type::ID => self.atomic_ref(),
            list::Type::ID => self.list(),
            map::Type::ID => self.map(),
            cyclic_barrier::Type::ID => self.barrier(),
            count_down_latch::Type::ID => self.latch(),
            semaphore::Type::ID => self.semaphore(),
            future::Type::ID => self.future(),
            mutex::Type::ID => self.mutex(),
            sorted_map::Type::ID => self.sorted_map(),
            set::Type::ID => self.set(),
            matrix::Type::ID => self.matrix(),
            vector::Type::ID => self.vector(),
            blob::Type::ID => self.blob(),
            queue::Type::ID => self.queue(),
            priority_queue::Type::ID => self.priority_queue(),
            topic::Type::ID => self.topic(),
            id_generator::Type::ID => self.id_generator(),
            rate_limiter::Type::ID => self.rate_limiter(),
            rw_lock::Type::ID => self.rw_lock(),
            condition::Type::ID => self.condition(),
            election::Type::ID => self.election(),
            phaser::Type::ID => self.phaser(),
            exchanger::Type::ID => self.exchanger(),
            event::Type::ID => self.event(),
            rendezvous::Type::ID => self.rendezvous(),
            reducer::Type::ID => self.reducer(),
            other => panic!("no calls for type {other}"),
        }
    }

    fn atomic_bool(&mut self) -> Asked {
        use atomic_bool::*;
        let (value, expected) = (self.rng.bool(), self.rng.bool());
        one_of!(self; Get {}, Set { value }, Swap { value }, CompareExchange { expected, value }, FetchAnd { value },
            FetchOr { value }, FetchXor { value })
    }

    fn atomic_double(&mut self) -> Asked {
        use atomic_double::*;
        let (value, expected) = (self.double(), self.double());
        one_of!(self; Get {}, Set { value }, Swap { value }, CompareExchange { expected, value },
            AddAndGet { delta: value }, MulAndGet { factor: value }, FetchMin { value }, FetchMax { value })
    }

    fn counter(&mut self) -> Asked {
        use counter::*;
        let n = self.long();
        one_of!(self; Increment { n }, Increment { n: 1 }, Decrement { n }, Tally {}, Reset {})
    }

    fn byte_array(&mut self) -> Asked {
        use atomic_byte_array::*;
        let (bytes, expected, offset, len) = (self.bytes(), self.bytes(), self.index(), self.rng.u64(..8));
        one_of!(self; Get {}, Set { bytes: bytes.clone() }, Swap { bytes: bytes.clone() },
            CompareExchange { expected, bytes: bytes.clone() }, Len {}, GetRange { offset, len },
            SetRange { offset, bytes: bytes.clone() }, Append { bytes: bytes.clone() }, Resize { len })
    }

    fn atomic_ref(&mut self) -> Asked {
        use atomic_ref::*;
        let (value, expected, version) = (self.maybe(Self::value), self.maybe(Self::value), self.number());
        one_of!(self; Get {}, Set { value: value.clone() }, Swap { value: value.clone() },
            CompareExchange { expected, value: value.clone() }, Take {}, GetVersioned {},
            SetIfVersion { version, value: value.clone() })
    }

    fn list(&mut self) -> Asked {
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

    fn set(&mut self) -> Asked {
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

    fn barrier(&mut self) -> Asked {
        use cyclic_barrier::*;
        if self.chance(70) {
            return Asked::of(Await { timeout_ms: self.timeout() });
        }
        one_of!(self; Waiting {}, Parties {}, Reset {}, IsBroken {})
    }

    fn latch(&mut self) -> Asked {
        use count_down_latch::*;
        let (n, timeout_ms) = (self.rng.u64(..3), self.timeout());
        one_of!(self; CountDown { n }, Await { timeout_ms }, Count {})
    }

    fn semaphore(&mut self) -> Asked {
        use semaphore::*;
        let (n, timeout_ms) = (self.rng.u64(..4), self.timeout());
        if self.style == Style::Concurrent {
            one_of!(self; TryAcquire { n }, Release { n }, Available {}, Drain {})
        }
        if self.rng.bool() {
            one_of!(self; Acquire { n, timeout_ms }, Release { n })
        }
        one_of!(self; TryAcquire { n }, Available {}, Drain {})
    }

    fn future(&mut self) -> Asked {
        use future::*;
        if self.chance(60) {
            return Asked::of(Get { timeout_ms: self.timeout() });
        }
        let value = self.value();
        one_of!(self; Set { value: value.clone() }, SetError { message: "no".to_owned() }, IsDone {}, Cancel {})
    }

    fn mutex(&mut self) -> Asked {
        use mutex::*;
        let (owner, timeout_ms, token) = (self.rng.u64(..2), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryLock { owner }, Unlock { owner, token }, IsLocked {})
        }
        one_of!(self; Lock { owner, timeout_ms }, Lock { owner, timeout_ms }, TryLock { owner }, Unlock { owner, token },
            Unlock { owner, token: None }, IsLocked {}, GetHolder {})
    }

    fn condition(&mut self) -> Asked {
        use condition::*;
        let (owner, timeout_ms, token) = (self.rng.u64(..2), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryLock { owner }, Unlock { owner, token }, NotifyOne { owner }, Waiting {})
        }
        one_of!(self; Lock { owner, timeout_ms }, Lock { owner, timeout_ms }, TryLock { owner }, Unlock { owner, token },
            Unlock { owner, token: None }, Await { owner, timeout_ms }, Await { owner, timeout_ms },
            NotifyOne { owner }, NotifyOne { owner }, NotifyAll { owner }, Waiting {}, GetHolder {})
    }

    fn rw_lock(&mut self) -> Asked {
        use rw_lock::*;
        let (owner, timeout_ms, token) = (self.rng.u64(..2), self.timeout(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; TryRead { owner }, TryWrite { owner }, UnlockRead { owner }, UnlockWrite { owner, token },
                Downgrade { owner }, IsWriteLocked {}, Readers {})
        }
        one_of!(self; Read { owner, timeout_ms }, Write { owner, timeout_ms }, Read { owner, timeout_ms },
            Write { owner, timeout_ms }, TryRead { owner }, TryWrite { owner }, UnlockRead { owner }, UnlockRead { owner },
            UnlockWrite { owner, token }, UnlockWrite { owner, token: None }, Downgrade { owner }, IsWriteLocked {},
            Readers {}, GetHolders {})
    }

    fn election(&mut self) -> Asked {
        use election::*;
        let (candidate, timeout_ms) = (self.candidate(), self.timeout());
        let (token, given) = (self.number(), self.maybe(Self::number));
        if self.style == Style::Concurrent {
            one_of!(self; Resign { token: given }, Resign { token: None })
        }
        one_of!(self; Campaign { candidate: candidate.clone(), timeout_ms }, Campaign { candidate: candidate.clone(), timeout_ms },
            Resign { token: given }, Resign { token: None }, GetLeader {}, Observe { token, timeout_ms })
    }

    fn matrix(&mut self) -> Asked {
        use matrix::*;
        let (i, j) = (self.rng.u32(..MATRIX.0 + 1), self.rng.u32(..MATRIX.1 + 1));
        let (i, j) = if self.chance(70) { (i % MATRIX.0, j % MATRIX.1) } else { (i, j) };
        let (value, op, x) = (self.real(), self.op(), self.real());
        let (row, all) = (self.reals(MATRIX.1 as usize), self.reals((MATRIX.0 * MATRIX.1) as usize));
        one_of!(self; Rows {}, Cols {}, Kind {}, Get { i, j }, Set { i, j, value }, Row { i }, Col { j },
            SetRow { i, values: row.clone() }, Compute { i, j, op, x }, Combine { values: all.clone(), op },
            Fill { value }, ToVec {})
    }

    fn vector(&mut self) -> Asked {
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

    fn blob(&mut self) -> Asked {
        use blob::*;
        let (bytes, offset, len) = (self.bytes(), self.index(), self.index());
        one_of!(self; Len {}, Write { bytes: bytes.clone() }, Read {}, GetRange { offset, len },
            SetRange { offset, bytes: bytes.clone() }, Append { bytes: bytes.clone() }, Truncate { len: len % 8 }, Digest {})
    }

    fn queue(&mut self) -> Asked {
        use queue::*;
        let (value, timeout_ms, n) = (self.value(), self.timeout(), self.small());
        if self.style == Style::Concurrent {
            one_of!(self; Offer { value: value.clone() }, Offer { value: value.clone() }, Poll {}, Peek {}, Len {},
                IsEmpty {}, Drain { n })
        }
        one_of!(self; Offer { value: value.clone() }, Put { value: value.clone(), timeout_ms }, Put { value: value.clone(), timeout_ms },
            Poll {}, Take { timeout_ms }, Take { timeout_ms }, Peek {}, Len {}, IsEmpty {}, Capacity {}, Drain { n })
    }

    fn priority_queue(&mut self) -> Asked {
        use priority_queue::*;
        let (value, timeout_ms, priority) = (self.value(), self.timeout(), self.long());
        if self.chance(40) {
            return Asked::of(Push { priority, value });
        }
        if self.style == Style::Concurrent {
            one_of!(self; Pop {}, Peek {}, Len {}, IsEmpty {}, Clear {})
        }
        one_of!(self; Pop {}, Take { timeout_ms }, Take { timeout_ms }, Peek {}, Len {}, IsEmpty {}, Clear {})
    }

    fn topic(&mut self) -> Asked {
        use topic::*;
        let (value, cursor, limit, timeout_ms, n) =
            (self.value(), self.number(), self.limit(), self.timeout(), self.small());
        one_of!(self; Publish { value: value.clone() }, Publish { value: value.clone() },
            Subscribe { cursor, limit, timeout_ms }, Subscribe { cursor, limit, timeout_ms }, Last { n }, NextPosition {},
            Len {})
    }

    fn id_generator(&mut self) -> Asked {
        use id_generator::*;
        let n = self.rng.u64(1..5);
        one_of!(self; Next {}, NextRange { n })
    }

    fn rate_limiter(&mut self) -> Asked {
        use rate_limiter::*;
        let (n, timeout_ms, burst) = (self.rng.u64(..4), self.timeout(), self.rng.u64(1..6));
        let exact = self.style == Style::Exact;
        let (permits, period_ms) =
            if exact { (self.rng.u64(1..5), self.rng.u64(1..20)) } else { (1, HOUR_MS) };
        if self.style == Style::Concurrent {
            one_of!(self; TryAcquire { n }, Available {})
        }
        if self.chance(10) {
            return Asked::of(SetRate { permits, period_ms, burst });
        }
        // In real time a permit that comes in an hour is one too many to wait for just so long.
        let timeout_ms = if exact || timeout_ms == Some(0) { timeout_ms } else { None };
        one_of!(self; TryAcquire { n }, Acquire { n, timeout_ms }, Acquire { n, timeout_ms }, Available {})
    }

    fn phaser(&mut self) -> Asked {
        use phaser::*;
        let (n, phase, timeout_ms) = (self.rng.u32(..3), self.rng.u64(..6), self.timeout());
        if self.style == Style::Concurrent {
            one_of!(self; Register {}, BulkRegister { n }, Arrive {}, Arrive {}, GetPhase {}, Registered {}, Arrived {})
        }
        if self.chance(50) {
            one_of!(self; Register {}, Arrive {}, ArriveAndWait { timeout_ms }, ArriveAndWait { timeout_ms })
        }
        one_of!(self; BulkRegister { n }, ArriveAndDeregister {}, AwaitPhase { phase, timeout_ms }, GetPhase {},
            Registered {}, Arrived {}, IsTerminated {})
    }

    fn exchanger(&mut self) -> Asked {
        use exchanger::*;
        let (value, timeout_ms) = (self.value(), self.timeout());
        if self.style == Style::Concurrent || self.chance(30) {
            return Asked::of(Waiting {});
        }
        Asked::of(Exchange { value, timeout_ms })
    }

    fn event(&mut self) -> Asked {
        use event::*;
        let timeout_ms = self.timeout();
        one_of!(self; Set {}, Clear {}, Await { timeout_ms }, Await { timeout_ms }, IsSet {})
    }

    fn rendezvous(&mut self) -> Asked {
        use rendezvous::*;
        let (name, address, timeout_ms) = (self.name(), self.candidate(), self.timeout());
        let (after, limit) = (self.maybe(Self::name), self.limit());
        one_of!(self; Publish { name: name.clone(), address: address.clone() }, Withdraw { name: name.clone() },
            Lookup { name: name.clone(), timeout_ms }, Lookup { name: name.clone(), timeout_ms },
            Names { after: after.clone(), limit })
    }

    fn reducer(&mut self) -> Asked {
        use reducer::*;
        if self.style != Style::Concurrent && self.chance(70) {
            let (values, timeout_ms) = (self.reals(REDUCER as usize), self.timeout());
            return Asked::of(Contribute { values, timeout_ms });
        }
        one_of!(self; Waiting {}, Parties {}, Reset {}, IsBroken {}, Generation {})
    }
}

const MATRIX: (u32, u32) = (3, 2);
const VECTOR: u32 = 4;
const REDUCER: u32 = 2;
const HOUR_MS: u64 = 3_600_000;

macro_rules! atomic_integers {
    ($($method:ident, $module:ident, $number:ident;)*) => {
        impl Generator<'_> {
            $(fn $method(&mut self) -> Asked {
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
            $(fn $method(&mut self) -> Asked {
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
