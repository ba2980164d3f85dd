//! Threads of the operating system, without crashes.

use super::*;
use crate::layout::Geometry;
use std::sync::atomic::AtomicI64;

#[test]
fn threads_that_create_and_delete_the_same_names_agree() {
    const NAMES: usize = 12;
    let (threads, rounds) = if cfg!(miri) { (2, 12) } else { (4, 3000) };
    let geometry = Geometry { shards: 2, lanes: 3, ..Geometry::tiny() };
    let heap = heap_of(geometry, 64 << 10);
    let there: Vec<AtomicI64> = (0..NAMES).map(|_| AtomicI64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (heap, there) = (&heap, &there);
            scope.spawn(move || {
                crate::sim::as_thread(thread, || {
                    let mut rng = fastrand::Rng::with_seed(thread as u64);
                    for _ in 0..rounds {
                        let i = rng.usize(..NAMES);
                        let name = format!("{i}");
                        match rng.u32(..3) {
                            0 => match heap.index().create(TYPE, name.as_bytes(), rng.u32(..2)) {
                                Ok(entry) if entry.created => {
                                    there[i].fetch_add(1, Ordering::Relaxed);
                                }
                                Ok(_) | Err(IndexError::Heap(HeapError::NoSpace)) => {}
                                Err(error) => panic!("{name}: {error}"),
                            },
                            1 => {
                                if remove(heap, &name).unwrap() {
                                    there[i].fetch_sub(1, Ordering::Relaxed);
                                }
                            }
                            _ => {
                                heap.index().get(TYPE, name.as_bytes()).unwrap();
                            }
                        }
                    }
                });
            });
        }
    });
    // Each name was created as often as it was deleted, or once more.
    for (i, count) in there.iter().enumerate() {
        let expected = i64::from(has(&heap, &format!("{i}")));
        assert_eq!(count.load(Ordering::Relaxed), expected, "{i}");
    }
    let survey = heap.index().check().unwrap();
    assert_eq!(
        survey.nodes - survey.buried,
        there.iter().map(|c| c.load(Ordering::Relaxed) as u64).sum::<u64>()
    );
}
