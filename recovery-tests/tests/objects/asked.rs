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
    pub(crate) fn about<M: Method + Debug>(type_id: u16, method: M) -> Asked {
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
        let choices = [$(stringify!($choice)),+].len();
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

mod data;
mod waiting;

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

    /// As whom the caller calls within its session.
    fn owner(&mut self) -> u64 {
        let holder = self.hints.holder.map(|(_, owner)| owner);
        holder.unwrap_or_else(|| self.rng.u64(..2))
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
        if self.style != Style::Concurrent && self.chance(5) {
            return match self.rng.u32(..10) {
                0 => Asked::about(type_id, object::Delete {}),
                1 => Asked::about(type_id, object::Create {}),
                2 | 3 => Asked::about(type_id, object::Info {}),
                4 => {
                    // In real time an object that expires at once is a test of its own (in `sequential`).
                    let at_once = self.style == Style::Exact;
                    let ms = self.timeout().filter(|ms| at_once || *ms > 0).unwrap_or(HOUR_MS);
                    Asked::about(type_id, object::ExpireIn { ms })
                }
                5 => Asked::about(type_id, object::Persist {}),
                6 | 7 => {
                    let (version, timeout_ms) = (self.rng.u64(..60), self.timeout());
                    Asked::about(type_id, object::Watch { version, timeout_ms })
                }
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
}

const MATRIX: (u32, u32) = (3, 2);
const VECTOR: u32 = 4;
const REDUCER: u32 = 2;
const HOUR_MS: u64 = 3_600_000;
