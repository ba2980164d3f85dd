//! Registers of each type, over crashes and under readers, and what they cost.

use super::*;
use crate::{
    sim::Sim,
    types::kit::{Kit, seeds, with_seed},
};

fn round_trip<T: Scalar + std::fmt::Debug>(values: &[T]) {
    let kit = Kit::tiny(1);
    let register = Register::<T>::at(kit.roots[0]);
    let zero = T::from_words([0; 2], 0);
    assert_eq!(register.get(&kit.reader()).unwrap(), zero);
    let mut last = zero;
    for &value in values {
        assert_eq!(kit.run(|tx| register.swap(tx, value)), last);
        assert_eq!(register.get(&kit.reader()).unwrap(), value);
        assert_eq!(kit.run(|tx| register.compare_exchange(tx, value, zero)), Ok(value));
        assert_eq!(kit.run(|tx| register.compare_exchange(tx, value, value)), Err(zero));
        kit.run(|tx| register.set(tx, value));
        last = value;
    }
    kit.check();
    kit.run(|tx| Register::<T>::discard(tx, kit.roots[0]));
    assert_eq!(register.get(&kit.reader()).unwrap(), zero);
    assert!((0..8).all(|i| kit.reader().word(kit.roots[0] + i * WORD) == 0));
}

#[test]
fn each_type_comes_back_as_it_was_stored() {
    round_trip(&[true]);
    round_trip(&[i32::MIN, -1, 7, i32::MAX]);
    round_trip(&[1, u32::MAX]);
    round_trip(&[i64::MIN, -1, 7, i64::MAX]);
    round_trip(&[1, u64::MAX]);
    round_trip(&[1.5, -f64::MIN_POSITIVE, f64::INFINITY]);
    round_trip(&[i128::MIN, -1, i128::MAX]);
    round_trip(&[1, u128::MAX, 1 << 64]);
    round_trip(&[[1, 2], [0, u64::MAX]]);
    round_trip(
        &[&b"a"[..], b"0123456789abcdef", b"12345678", b"123456789"].map(|b| ShortBytes::new(b).unwrap()),
    );
    assert_eq!(ShortBytes::new(&[0; 17]), Err(TypeError::TooLarge { bytes: 17, max: 16 }));
}

#[test]
fn a_float_is_compared_bit_by_bit() {
    let kit = Kit::tiny(1);
    let register = Register::at(kit.roots[0]);
    kit.run(|tx| register.set(tx, -0.0));
    assert_eq!(kit.run(|tx| register.compare_exchange(tx, 0.0, 1.0)), Err(-0.0));
    kit.run(|tx| register.set(tx, f64::NAN));
    assert!(kit.run(|tx| register.compare_exchange(tx, f64::NAN, 1.0)).is_ok());
    assert_eq!(register.get(&kit.reader()).unwrap(), 1.0);
}

#[test]
fn addition_wraps_or_says_that_it_would() {
    let kit = Kit::tiny(1);
    let register = Register::at(kit.roots[0]);
    kit.run(|tx| register.set(tx, i64::MAX));
    assert_eq!(kit.run(|tx| register.checked_add(tx, 1)), None);
    assert_eq!(register.get(&kit.reader()).unwrap(), i64::MAX);
    assert_eq!(kit.run(|tx| register.fetch_add(tx, 2)), i64::MAX);
    assert_eq!(register.get(&kit.reader()).unwrap(), i64::MIN + 1);
    assert_eq!(kit.run(|tx| register.checked_add(tx, 4)), Some(i64::MIN + 1));
    kit.run(|tx| register.fetch_max(tx, 3));
    kit.run(|tx| register.fetch_mul(tx, 5));
    kit.run(|tx| register.fetch_min(tx, 40));
    assert_eq!(register.get(&kit.reader()).unwrap(), 15);
}

#[test]
fn another_type_is_refused_and_keeps_its_value() {
    let kit = Kit::tiny(2);
    let wide = Register::<u128>::at(kit.roots[0]);
    kit.run(|tx| wide.set(tx, 1 << 70));
    let narrow = Register::<u64>::at(kit.roots[0]).get(&kit.reader());
    assert_eq!(narrow, Err(TypeError::TooLarge { bytes: 16, max: 8 }));
    kit.run(|tx| Ok(tx.write(kit.roots[1], Kind::List as u64)?));
    let expected = TypeError::WrongType { found: Kind::List as u64, expected: Kind::Register };
    let other = Register::<u64>::at(kit.roots[1]);
    assert_eq!(other.get(&kit.reader()), Err(expected.clone()));
    assert_eq!(kit.heap.atomically(0, |tx| other.set(tx, 1)), Err(expected.clone()));
    assert_eq!(kit.heap.atomically(0, |tx| Register::<u64>::discard(tx, kit.roots[1])), Err(expected));
}

#[test]
fn sums_hold_over_any_chain_of_cuts() {
    for seed in seeds(20) {
        with_seed(seed, |rng| {
            let mut kit = Kit::tiny(3);
            let [a, b, c] = [0, 1, 2].map(|i| kit.roots[i]);
            let (a, b, c) = (Register::<i64>::at(a), Register::<i64>::at(b), Register::<[u64; 2]>::at(c));
            let mut acknowledged = 0;
            for _ in 0..60 {
                let mut writer = kit.heap.writer(0);
                let mut started = acknowledged;
                for _ in 0..rng.u32(0..4) {
                    let amount = rng.i64(-100..100);
                    writer
                        .run::<_, TypeError>(|tx| {
                            a.fetch_add(tx, amount)?;
                            b.fetch_add(tx, -amount)?;
                            c.update(tx, |[n, m]| [n + 1, m + 2]).map(drop)
                        })
                        .unwrap();
                    started += 1;
                }
                if rng.bool() {
                    writer.commit().unwrap();
                    acknowledged = started;
                }
                drop(writer);
                kit.cut(rng);
                let reader = kit.reader();
                assert_eq!(a.get(&reader).unwrap() + b.get(&reader).unwrap(), 0);
                let [n, m] = c.get(&reader).unwrap();
                assert!((acknowledged..=started).contains(&n) && m == 2 * n, "{n} {m}");
                acknowledged = n;
                drop(reader);
                kit.check();
            }
        });
    }
}

#[test]
fn an_update_is_a_record_of_one_line_and_a_read_changes_nothing() {
    let kit = Kit::tiny(1);
    let register = Register::<u64>::at(kit.roots[0]);
    kit.run(|tx| register.set(tx, 1));
    // 8 words of the record, 2 in place: a line each.
    let cost = kit.cost(|tx| register.fetch_add(tx, 1).map(drop));
    assert_eq!((cost.stores, cost.flushes, cost.fences), (10, 2, 1), "{cost:?}");
    assert_eq!((cost.flushes_clean, cost.fences_empty), (0, 0), "{cost:?}");
    let wide = Register::<u128>::at(kit.roots[0]);
    let cost = kit.cost(|tx| wide.set(tx, 1 << 100));
    assert_eq!((cost.stores, cost.flushes, cost.fences), (12, 3, 1), "{cost:?}");
    let cost = kit.cost(|tx| wide.swap(tx, 1 << 100).map(drop));
    assert_eq!((cost.stores, cost.flushes, cost.fences), (0, 0, 0), "{cost:?}");
}

#[test]
fn readers_never_see_half_of_a_wide_value_or_half_of_a_block() {
    let kit = Kit::tiny(2);
    let wide = Register::<[u64; 2]>::at(kit.roots[0]);
    let counter = Register::<u64>::at(kit.roots[1]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_done.load(order) {
                    let view = kit.reader();
                    let [a, b] = wide.get(&view).unwrap();
                    assert_eq!(a.wrapping_mul(3), b);
                    let (count, [a, _]) =
                        view.snapshot(|view| (counter.get(view).unwrap(), wide.get(view).unwrap()));
                    assert_eq!(count, a);
                    assert!(count >= last);
                    last = count;
                }
            });
        }
        for i in 1..6_000 {
            kit.run(|tx| {
                counter.set(tx, i)?;
                wide.set(tx, [i, i.wrapping_mul(3)])
            });
        }
        is_done.store(true, order);
    });
}

#[test]
fn each_flipped_bit_is_found() {
    let kit = Kit::tiny(1);
    let register = Register::<u128>::at(kit.roots[0]);
    kit.run(|tx| register.set(tx, u128::MAX / 3));
    kit.heap.mark_clean().unwrap();
    let words = kit.heap.mem().durable_words();
    for word in 0..3 {
        for bit in 0..64 {
            let mut words = words.clone();
            words[(kit.roots[0] / WORD + word) as usize] ^= 1 << bit;
            let heap = crate::Heap::open(Sim::with_words(&Default::default(), words), [0; 16]).unwrap();
            let found = register.get(&heap.reader(0));
            assert!(found.is_err(), "bit {bit} of word {word}: {found:?}");
        }
    }
}
