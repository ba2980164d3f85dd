//! Threads of the operating system, without crashes.

use super::*;
use crate::layout::Geometry;
use std::sync::atomic::AtomicI64;

/// Few lanes, chunks and names, so that threads meet.
const CROWDED: Geometry = Geometry { shards: 2, lanes: 3, ..Geometry::tiny() };

#[test]
fn threads_that_create_and_delete_the_same_names_agree() {
    fight(&heap_of(CROWDED, 64 << 10));
}

#[cfg(not(miri))]
#[test]
fn threads_agree_over_real_memory() {
    let options =
        crate::RegionOptions { geometry: CROWDED, ..crate::RegionOptions::new(crate::Persistence::Volatile) };
    fight(crate::Region::volatile(64 << 10, &options).unwrap().heap());
}

fn fight<M: Mem>(heap: &Heap<M>) {
    const NAMES: usize = 12;
    let (threads, rounds) = if cfg!(miri) { (2, 12) } else { (4, 3000) };
    let there: Vec<AtomicI64> = (0..NAMES).map(|_| AtomicI64::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let there = &there;
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
                                if heap.index().remove(TYPE, name.as_bytes(), |_, _| Ok(())).unwrap() {
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
        let expected = i64::from(heap.index().get(TYPE, format!("{i}").as_bytes()).unwrap().is_some());
        assert_eq!(count.load(Ordering::Relaxed), expected, "{i}");
    }
    let survey = heap.index().check().unwrap();
    assert_eq!(
        survey.nodes - survey.buried,
        there.iter().map(|c| c.load(Ordering::Relaxed) as u64).sum::<u64>()
    );
}
