//! Vectors and matrices, against plain arrays.

use super::driver::TestShard;
use abide_net::CallError;
use abide_schema::{
    MergeOp, Number, NumberKind, Numbers,
    types::{
        matrix::{self, *},
        vector::{self, AddAssign, Dot, GetRange, Scale, SetRange},
    },
};
use proptest::prelude::*;

const OPS: [MergeOp; 10] = [
    MergeOp::Sum,
    MergeOp::Product,
    MergeOp::Min,
    MergeOp::Max,
    MergeOp::And,
    MergeOp::Or,
    MergeOp::Xor,
    MergeOp::Concat,
    MergeOp::First,
    MergeOp::Last,
];

/// What an operation makes of two integers, in wide ones; nothing if it is none of integers.
fn wide(op: MergeOp, left: i64, right: i64) -> Option<i128> {
    let (left, right) = (i128::from(left), i128::from(right));
    match op {
        MergeOp::Sum => Some(left + right),
        MergeOp::Product => Some(left * right),
        MergeOp::Min => Some(if right < left { right } else { left }),
        MergeOp::Max => Some(if right > left { right } else { left }),
        MergeOp::And => Some(left & right),
        MergeOp::Or => Some(left | right),
        MergeOp::Xor => Some(left ^ right),
        MergeOp::Concat => None,
        MergeOp::First => Some(left),
        MergeOp::Last => Some(right),
    }
}

/// Joins all or, if one cannot be, none; and says whether it did.
fn join(op: MergeOp, model: &mut [i64], new: &[i64]) -> bool {
    let pairs = model.iter().zip(new);
    let joined: Option<Vec<i64>> = pairs
        .map(|(left, right)| wide(op, *left, *right).and_then(|joined| joined.try_into().ok()))
        .collect();
    if let Some(joined) = &joined {
        model.copy_from_slice(joined);
    }
    joined.is_some()
}

/// Small ones and some that overflow with others.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![6 => -4..5_i64, 1 => Just(i64::MAX), 1 => Just(i64::MIN), 1 => any::<i64>()]
}

fn numbers() -> impl Strategy<Value = Vec<i64>> {
    prop_oneof![
        4 => prop::collection::vec(number(), 6),
        1 => prop::collection::vec(number(), 0..8),
    ]
}

fn checked<T: PartialEq + std::fmt::Debug>(result: Result<T, CallError>, expected: Option<T>, what: &str) {
    match (result, expected) {
        (Ok(result), Some(expected)) => assert_eq!(result, expected, "{what}"),
        (
            Err(CallError::BadArgument { .. } | CallError::WrongType { .. } | CallError::OutOfBounds { .. }),
            None,
        ) => {}
        (result, expected) => panic!("{what}: {result:?}, not {expected:?}"),
    }
}

fn integers(numbers: &[i64]) -> Numbers {
    Numbers::I64(numbers.to_vec())
}

const LEN: u32 = 6;

fn vector(len: u32, kind: NumberKind, fill: impl Into<Number>) -> TestShard {
    TestShard::new::<vector::Type>(vector::Creation { len, kind, fill: fill.into() })
}

fn matrix(rows: u32, cols: u32, kind: NumberKind, fill: impl Into<Number>) -> TestShard {
    TestShard::new::<matrix::Type>(matrix::Creation { rows, cols, kind, fill: fill.into() })
}

proptest! {
    #[test]
    fn vectors_of_integers_do_what_a_vec_does(
        fill in number(),
        calls in prop::collection::vec((0..12_u8, numbers(), 0..8_u32, 0..8_u32, prop::sample::select(&OPS[..])), 1..50),
    ) {
        let mut shard = vector(LEN, NumberKind::I64, fill);
        let mut model = vec![fill; LEN as usize];
        for (method, several, a, b, op) in calls {
            let one = several.first().copied().unwrap_or(3);
            let fits = several.len() == model.len();
            let range = (a <= b && b <= LEN).then_some(a as usize..b as usize);
            let what = format!("method {method} of {several:?}, {a}, {b}, {op:?}");
            match method {
                0 => shard.expect(vector::Len {}, LEN),
                1 => shard.expect(vector::Kind {}, NumberKind::I64),
                2 => {
                    let expected = model.get(a as usize).copied().map(Number::I64);
                    checked(shard.call(1, vector::Get { index: a }), expected, &what);
                }
                3 => {
                    let there = model.get_mut(a as usize);
                    let expected = there.map(|there| Number::I64(std::mem::replace(there, one)));
                    checked(shard.call(1, vector::Set { index: a, value: Number::I64(one) }), expected, &what);
                }
                4 => {
                    let expected = range.map(|range| integers(&model[range]));
                    checked(shard.call(1, GetRange { start: a, end: b }), expected, &what);
                }
                5 => {
                    let there = model.get_mut(a as usize..a as usize + several.len());
                    let expected = there.map(|there| there.copy_from_slice(&several));
                    checked(shard.call(1, SetRange { start: a, values: integers(&several) }), expected, &what);
                }
                6 => {
                    let expected = (fits && join(MergeOp::Sum, &mut model, &several)).then_some(());
                    checked(shard.call(1, AddAssign { values: integers(&several) }), expected, &what);
                }
                7 => {
                    let expected = join(MergeOp::Product, &mut model, &[one; LEN as usize]).then_some(());
                    checked(shard.call(1, Scale { factor: Number::I64(one) }), expected, &what);
                }
                8 => {
                    let products = model.iter().zip(&several).map(|(left, right)| i128::from(*left) * i128::from(*right));
                    // Six products of 126 bits can leave 128 bits, but only half of each cannot.
                    let halves: i128 = products.clone().map(|product| product >> 3).sum();
                    let rests: i128 = products.map(|product| product & 7).sum();
                    let sum = halves.checked_mul(8).and_then(|sum| sum.checked_add(rests));
                    let expected = sum.and_then(|sum| i64::try_from(sum).ok()).filter(|_| fits).map(Number::I64);
                    checked(shard.call(1, Dot { values: integers(&several) }), expected, &what);
                }
                9 => {
                    let expected = (fits && join(op, &mut model, &several)).then_some(());
                    checked(shard.call(1, vector::Combine { values: integers(&several), op }), expected, &what);
                }
                10 => {
                    model.fill(one);
                    shard.expect(vector::Fill { value: Number::I64(one) }, ());
                }
                _ => shard.expect(vector::ToVec {}, integers(&model)),
            }
            prop_assert_eq!(shard.get(vector::ToVec {}), integers(&model), "{}", what);
        }
    }

    #[test]
    fn matrices_of_integers_do_what_an_array_of_rows_does(
        cols in 1..4_u32,
        calls in prop::collection::vec((0..12_u8, numbers(), 0..4_u32, 0..4_u32, prop::sample::select(&OPS[..])), 1..50),
    ) {
        let rows = LEN / cols;
        let mut shard = matrix(rows, cols, NumberKind::I64, 0);
        let mut model = vec![0; (rows * cols) as usize];
        for (method, several, i, j, op) in calls {
            let one = several.first().copied().unwrap_or(3);
            let cell = (i < rows && j < cols).then_some((i * cols + j) as usize);
            let row = (i < rows).then_some((i * cols) as usize..((i + 1) * cols) as usize);
            let what = format!("method {method} of {several:?}, {i}, {j}, {op:?}");
            match method {
                0 => shard.expect(Rows {}, rows),
                1 => shard.expect(Cols {}, cols),
                2 => shard.expect(matrix::Kind {}, NumberKind::I64),
                3 => {
                    let expected = cell.map(|cell| Number::I64(model[cell]));
                    checked(shard.call(1, matrix::Get { i, j }), expected, &what);
                }
                4 => {
                    let expected = cell.map(|cell| Number::I64(std::mem::replace(&mut model[cell], one)));
                    checked(shard.call(1, matrix::Set { i, j, value: Number::I64(one) }), expected, &what);
                }
                5 => checked(shard.call(1, Row { i }), row.map(|row| integers(&model[row])), &what),
                6 => {
                    let col: Vec<_> = model.iter().copied().skip(j as usize).step_by(cols as usize).collect();
                    checked(shard.call(1, Col { j }), (j < cols).then(|| integers(&col)), &what);
                }
                7 => {
                    let values = &several[..several.len().min(cols as usize + usize::from(j == 0))];
                    let fits = row.filter(|row| row.len() == values.len());
                    let expected = fits.map(|row| model[row].copy_from_slice(values));
                    checked(shard.call(1, SetRow { i, values: integers(values) }), expected, &what);
                }
                8 => {
                    let expected = cell.and_then(|cell| {
                        join(op, &mut model[cell..=cell], &[one]).then(|| Number::I64(model[cell]))
                    });
                    checked(shard.call(1, Compute { i, j, op, x: Number::I64(one) }), expected, &what);
                }
                9 => {
                    let fits = several.len() == model.len();
                    let expected = (fits && join(op, &mut model, &several)).then_some(());
                    checked(shard.call(1, matrix::Combine { values: integers(&several), op }), expected, &what);
                }
                10 => {
                    model.fill(one);
                    shard.expect(matrix::Fill { value: Number::I64(one) }, ());
                }
                _ => shard.expect(matrix::ToVec {}, integers(&model)),
            }
            prop_assert_eq!(shard.get(matrix::ToVec {}), integers(&model), "{}", what);
        }
    }
}

fn bits(numbers: Numbers) -> Vec<u64> {
    numbers.floats().unwrap().into_iter().map(f64::to_bits).collect()
}

#[test]
fn floats_are_joined_as_those_of_an_atomic_double() {
    let there = vec![1.5, -0.0, f64::NAN, f64::INFINITY];
    let new = vec![0.25, 0.0, 1.0, f64::NEG_INFINITY];
    let cases = [
        (MergeOp::Sum, vec![1.75, 0.0, f64::NAN, f64::NAN]),
        (MergeOp::Product, vec![0.375, -0.0, f64::NAN, f64::NEG_INFINITY]),
        (MergeOp::Min, vec![0.25, -0.0, 1.0, f64::NEG_INFINITY]),
        (MergeOp::Max, vec![1.5, 0.0, 1.0, f64::INFINITY]),
        (MergeOp::First, there.clone()),
        (MergeOp::Last, new.clone()),
    ];
    let mut shard = vector(4, NumberKind::F64, 0.0);
    for (op, expected) in cases {
        shard.get(SetRange { start: 0, values: there.clone().into() });
        shard.expect(vector::Combine { values: new.clone().into(), op }, ());
        assert_eq!(bits(shard.get(vector::ToVec {})), bits(expected.into()), "{op:?}");
    }
    for op in [MergeOp::And, MergeOp::Or, MergeOp::Xor, MergeOp::Concat] {
        let result = shard.call(1, vector::Combine { values: new.clone().into(), op });
        assert!(matches!(result, Err(CallError::WrongType { .. })), "{op:?}: {result:?}");
    }
    // Any NaN comes out as the one that arithmetic gives everywhere.
    shard.get(vector::Fill { value: Number::F64(-f64::NAN) });
    shard.get(Scale { factor: Number::F64(1.0) });
    assert_eq!(bits(shard.get(vector::ToVec {})), [f64::NAN.to_bits(); 4]);
    shard.get(SetRange { start: 0, values: vec![1e300, 1.0, 2.0, -1e300].into() });
    shard.expect(Dot { values: vec![1.0, 3.0, 4.0, 1.0].into() }, Number::F64(0.0));
}

#[test]
fn numbers_of_the_other_kind_are_taken_where_they_mean_the_same() {
    let mut shard = vector(2, NumberKind::I64, 2.0);
    shard.expect(vector::ToVec {}, integers(&[2, 2]));
    shard.expect(AddAssign { values: vec![1.0, -1.0].into() }, ());
    shard.expect(vector::ToVec {}, integers(&[3, 1]));
    for bad in [0.5, 1e300, f64::NAN] {
        let result = shard.call(1, SetRange { start: 0, values: vec![1.0, bad].into() });
        assert!(matches!(result, Err(CallError::BadArgument { .. })), "{bad}: {result:?}");
        assert!(shard.call(1, vector::Set { index: 0, value: Number::F64(bad) }).is_err());
        assert!(shard.call(1, vector::Fill { value: Number::F64(bad) }).is_err());
        assert!(shard.call(1, Scale { factor: Number::F64(bad) }).is_err());
    }
    shard.expect(vector::ToVec {}, integers(&[3, 1]));

    let mut shard = matrix(1, 2, NumberKind::F64, 1);
    shard.expect(SetRow { i: 0, values: integers(&[1, 2]) }, ());
    let inexact = Numbers::I64(vec![1, (1 << 53) + 1]);
    assert!(shard.call(1, SetRow { i: 0, values: inexact.clone() }).is_err());
    assert!(shard.call(1, matrix::Combine { values: inexact, op: MergeOp::Last }).is_err());
    assert!(shard.call(1, Compute { i: 0, j: 0, op: MergeOp::First, x: Number::I64(i64::MAX) }).is_err());
    shard.expect(matrix::ToVec {}, Numbers::F64(vec![1.0, 2.0]));
    // What is put there comes back bit by bit.
    shard.get(matrix::Set { i: 0, j: 1, value: Number::F64(-0.0) });
    assert_eq!(bits(shard.get(Row { i: 0 })), [1.0_f64.to_bits(), (-0.0_f64).to_bits()]);
}

#[test]
fn an_error_in_the_last_number_leaves_the_first_as_it_was() {
    let mut shard = vector(2_000, NumberKind::I64, 1);
    let mut values = vec![1; 2_000];
    values[1_999] = i64::MAX;
    for op in [MergeOp::Sum, MergeOp::Concat] {
        assert!(shard.call(1, vector::Combine { values: integers(&values), op }).is_err());
    }
    shard.expect(vector::ToVec {}, integers(&[1; 2_000]));
}

#[test]
fn nothing_and_too_much_are_refused_and_the_most_works() {
    const MAX: u32 = 1 << 21;
    for (rows, cols, bad) in
        [(0, 1, 0), (1, 0, 0), (MAX, 2, 1), (u32::MAX, u32::MAX, 1), ((1 << 16) + 1, 32, 1)]
    {
        let result = matrix(rows, cols, NumberKind::F64, 0).call(1, Rows {});
        match bad {
            0 => assert!(matches!(result, Err(CallError::BadArgument { .. })), "{rows} x {cols}: {result:?}"),
            _ => assert_eq!(result, Err(CallError::TooLarge { max: MAX.into() }), "{rows} x {cols}"),
        }
    }
    assert!(vector(0, NumberKind::F64, 0).call(1, vector::Len {}).is_err());
    assert!(vector(1, NumberKind::I64, 0.5).call(1, vector::Len {}).is_err());

    let mut shard = vector(MAX, NumberKind::I64, 0);
    shard.expect(vector::Len {}, MAX);
    assert!(shard.info().bytes < 1 << 20, "zeros that were never written take no space");
    shard.expect(vector::Set { index: MAX - 1, value: Number::I64(i64::MIN) }, Number::I64(0));
    shard.expect(vector::Combine { values: Numbers::I64(vec![-1; MAX as usize]), op: MergeOp::Xor }, ());
    let numbers = shard.get(vector::ToVec {}).integers().unwrap();
    assert_eq!(numbers.len(), MAX as usize);
    assert_eq!((numbers[0], numbers[MAX as usize - 1]), (-1, i64::MAX));
}

/// Rows that are longer than what is read at once, and columns across them.
#[test]
fn a_column_of_long_rows_has_a_number_of_each() {
    let mut shard = matrix(3, 2_000, NumberKind::I64, 0);
    for i in 0..3_i64 {
        let row: Vec<_> = (0..2_000).map(|j| 10_000 * i + j).collect();
        shard.get(SetRow { i: i as u32, values: integers(&row) });
    }
    for j in [0, 1, 512, 1_999] {
        shard.expect(Col { j: j as u32 }, integers(&[j, 10_000 + j, 20_000 + j]));
    }
    shard.expect(matrix::Get { i: 2, j: 1_999 }, Number::I64(21_999));
    assert_eq!(shard.call(1, Col { j: 2_000 }), Err(CallError::OutOfBounds { len: 2_000 }));
    assert_eq!(shard.call(1, Row { i: 3 }), Err(CallError::OutOfBounds { len: 3 }));
}
