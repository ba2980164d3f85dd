//! The model itself: each image that it allows arises, and none that it forbids.

use super::*;
use crate::mem::{MediaError, Mem, Rule, Site};
use std::collections::BTreeSet;

const FLUSH: Site = Site::RecordFlush;
const FENCE: Site = Site::CommitFence;
/// Words in three different lines, and a second word in the first line.
const A: u64 = 0;
const A2: u64 = 8;
const B: u64 = 64;
const C: u64 = 128;

/// What the images of `sim` hold at `offsets`.
fn images<const N: usize>(sim: &Sim, offsets: [u64; N]) -> BTreeSet<[u64; N]> {
    let mut rng = fastrand::Rng::with_seed(7);
    let all = Limits { exhaustive_max: u64::MAX, samples: 0 };
    sim.crash_images(all, &mut rng).iter().map(|image| offsets.map(|offset| image.load(offset))).collect()
}

fn set<const N: usize>(contents: impl IntoIterator<Item = [u64; N]>) -> BTreeSet<[u64; N]> {
    contents.into_iter().collect()
}

#[test]
fn stores_of_one_line_persist_in_order_and_lines_in_any() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.store(A2, 2);
    sim.store(B, 3);
    let one_line = [[0, 0], [1, 0], [1, 2]];
    assert_eq!(
        images(&sim, [A, A2, B]),
        set(one_line.into_iter().flat_map(|[a, a2]| [[a, a2, 0], [a, a2, 3]]))
    );
}

#[test]
fn each_value_that_a_word_had_since_it_was_durable_can_come_back() {
    let sim = Sim::new(64);
    sim.store(A, 1);
    sim.store(A, 2);
    sim.store(A, 3);
    assert_eq!(images(&sim, [A]), set([[0], [1], [2], [3]]));
    sim.flush(FLUSH, A, 8);
    sim.fence(FENCE);
    sim.store(A, 4);
    assert_eq!(images(&sim, [A]), set([[3], [4]]));
}

#[test]
fn a_flush_without_a_fence_promises_nothing_and_a_fence_without_a_flush_neither() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.flush(FLUSH, A, 8);
    assert_eq!(images(&sim, [A]), set([[0], [1]]));
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.fence(FENCE);
    assert_eq!(images(&sim, [A]), set([[0], [1]]));
}

#[test]
fn a_fence_makes_durable_what_was_stored_before_the_flush_and_no_more() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.flush(FLUSH, A, 8);
    sim.store(A2, 2);
    sim.store(B, 3);
    sim.fence(FENCE);
    assert_eq!(images(&sim, [A, A2, B]), set([[1, 0, 0], [1, 2, 0], [1, 0, 3], [1, 2, 3]]));
}

#[test]
fn an_ordering_stands_between_what_was_flushed_before_and_what_is_stored_after() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.flush(FLUSH, A, 8);
    sim.order(FENCE);
    sim.store(B, 2);
    assert_eq!(images(&sim, [A, B]), set([[1, 0], [1, 2]]));
}

/// A memory in which orderings only order.
fn ordering() -> Sim {
    Sim::with_words(&SimConfig { orders_only: true, ..SimConfig::default() }, vec![0; 32])
}

#[test]
fn an_ordering_that_only_orders_may_be_lost_with_all_that_comes_after_it() {
    let sim = ordering();
    sim.store(A, 1);
    sim.flush(FLUSH, A, 8);
    sim.store(A2, 5); // After the flush: nobody waits for it.
    sim.store(C, 1); // Before the ordering: it waits for nothing.
    sim.order(FENCE);
    assert_eq!(images(&sim, [A]), set([[0], [1]]));
    sim.store(B, 2);
    let with_c = |[a, b, c]: [u64; 3]| [[a, b, c], [a, b, 1]];
    let allowed = [[0, 0, 0], [1, 0, 0], [1, 2, 0]];
    assert_eq!(images(&sim, [A, B, C]), set(allowed.into_iter().flat_map(with_c)));
    // The same line waits too, from there on.
    sim.store(C, 3);
    let late = [[1, 0, 3], [1, 2, 3]];
    assert_eq!(images(&sim, [A, B, C]), set(allowed.into_iter().flat_map(with_c).chain(late)));
    // What is fenced takes along what stands before it.
    sim.flush(FLUSH, B, 8);
    sim.fence(FENCE);
    assert_eq!(images(&sim, [A, B, C]), set([[1, 2, 0], [1, 2, 1], [1, 2, 3]]));
    assert_eq!(images(&sim, [A2]), set([[0], [5]]));
}

#[test]
fn orderings_make_one_chain_for_all_threads() {
    const D: u64 = 192;
    let sim = ordering();
    // Before all orderings: it waits for nothing.
    as_thread(2, || sim.store(D, 4));
    for (thread, offset, value) in [(1, A, 1), (2, B, 2), (1, C, 3)] {
        as_thread(thread, || {
            sim.store(offset, value);
            sim.flush(FLUSH, offset, 8);
            sim.order(FENCE);
        });
    }
    let chain = [[0, 0, 0], [1, 0, 0], [1, 2, 0], [1, 2, 3]];
    let all = chain.into_iter().flat_map(|[a, b, c]| [[a, b, c, 0], [a, b, c, 4]]);
    assert_eq!(images(&sim, [A, B, C, D]), set(all));
    // A fence of the link in the middle, by one who did not make it.
    as_thread(3, || {
        sim.flush(FLUSH, B, 8);
        sim.fence(FENCE);
    });
    let rest = [[1, 2, 0, 0], [1, 2, 0, 4], [1, 2, 3, 0], [1, 2, 3, 4]];
    assert_eq!(images(&sim, [A, B, C, D]), set(rest));
    as_thread(1, || sim.fence(FENCE));
    assert_eq!(images(&sim, [A, B, C, D]), set([[1, 2, 3, 0], [1, 2, 3, 4]]));
}

#[test]
fn sampled_images_keep_to_the_orderings_too() {
    let config = SimConfig { orders_only: true, ..SimConfig::default() };
    let sim = Sim::with_words(&config, vec![0; 40 * 8]);
    for line in 0..40 {
        sim.store(line * 64, 1);
        sim.store(line * 64 + 8, 1);
        sim.flush(FLUSH, line * 64, 64);
        sim.order(FENCE);
    }
    let mut rng = fastrand::Rng::with_seed(5);
    let mut lengths = BTreeSet::new();
    for image in sim.crash_images(Limits { exhaustive_max: 600, samples: 300 }, &mut rng) {
        let whole = (0..40).take_while(|line| image.load(line * 64 + 8) == 1).count() as u64;
        lengths.insert(whole);
        assert!((whole + 1..40).all(|line| image.load(line * 64) == 0), "a line after one that is not whole");
    }
    assert!(lengths.len() > 10 && lengths.contains(&0) && lengths.contains(&40), "{lengths:?}");
}

#[test]
fn a_left_out_ordering_orders_nothing() {
    let config = SimConfig { mutants: vec![Mutant::Fence(FENCE)], orders_only: true };
    let sim = Sim::with_words(&config, vec![0; 32]);
    sim.store(A, 1);
    sim.flush(FLUSH, A, 8);
    sim.order(FENCE);
    sim.store(B, 2);
    assert_eq!(images(&sim, [A, B]), set([[0, 0], [0, 2], [1, 0], [1, 2]]));
}

#[test]
fn a_fence_covers_the_flushes_of_its_own_thread_only() {
    let sim = Sim::new(256);
    as_thread(1, || {
        sim.store(A, 1);
        sim.flush(FLUSH, A, 8);
    });
    as_thread(2, || {
        sim.store(B, 2);
        sim.flush(FLUSH, B, 8);
        sim.fence(FENCE);
    });
    assert_eq!(images(&sim, [A, B]), set([[0, 2], [1, 2]]));
    as_thread(1, || sim.fence(FENCE));
    assert_eq!(images(&sim, [A, B]), set([[1, 2]]));
}

#[test]
fn a_thread_may_flush_what_another_one_stored() {
    let sim = Sim::new(256);
    as_thread(1, || sim.store(A, 1));
    as_thread(2, || {
        sim.flush(FLUSH, A, 8);
        as_thread(1, || sim.store(A2, 2));
        sim.fence(FENCE);
    });
    assert_eq!(images(&sim, [A, A2]), set([[1, 0], [1, 2]]));
}

#[test]
fn an_old_flush_does_not_cover_stores_that_came_after_the_line_was_clean() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    as_thread(1, || sim.flush(FLUSH, A, 8));
    as_thread(2, || {
        sim.flush(FLUSH, A, 8);
        sim.fence(FENCE);
    });
    sim.store(A, 2);
    as_thread(1, || sim.fence(FENCE));
    assert_eq!(images(&sim, [A]), set([[1], [2]]));
}

#[test]
fn a_flush_covers_each_line_that_its_range_touches() {
    let sim = Sim::new(256);
    for offset in [A, B, C] {
        sim.store(offset, 1);
    }
    sim.flush(FLUSH, 56, 16);
    sim.fence(FENCE);
    assert_eq!(images(&sim, [A, B, C]), set([[1, 1, 0], [1, 1, 1]]));
}

#[test]
fn what_is_durable_is_durable_at_its_place_and_can_be_seen_there() {
    let sim = Sim::new(256);
    for word in 0..32 {
        sim.store(word * 8, word + 1);
    }
    sim.flush(FLUSH, B, 64);
    sim.fence(FENCE);
    let durable = |word: u64| if (8..16).contains(&word) { word + 1 } else { 0 };
    assert_eq!(sim.durable_words(), (0..32).map(durable).collect::<Vec<_>>());
    assert_eq!(sim.load(248), 32);
}

#[test]
fn a_memory_that_takes_on_an_image_has_forgotten_what_was_flushed_before() {
    let mut sim = Sim::new(256);
    let mut replicas = Replicas::new(&SimConfig::default(), &sim.durable_words(), 1);
    for value in 1..4 {
        let point = sim.crash_point();
        replicas.advance(0, &point);
        let image = replicas.enter(0, &point, &point.nothing_survives());
        replicas.leave(0);
        image.store(A, value);
        // What an earlier life of this memory flushed and did not fence would make this store durable.
        image.fence(FENCE);
        assert_eq!(images(&image, [A]), set([[0], [value]]));
        image.flush(FLUSH, A, 8);
        (0..10).for_each(|_| image.store(B, 1));
        image.flush(FLUSH, A, 128);
        sim = Sim::new(256);
    }
}

#[test]
fn changes_that_read_are_stores_too() {
    let sim = Sim::new(256);
    assert_eq!(sim.compare_exchange(A, 0, 6), Ok(0));
    assert_eq!(sim.compare_exchange(A, 5, 9), Err(6));
    assert_eq!(sim.fetch_or(A, 9), 6);
    assert_eq!(sim.fetch_and(A, 3), 15);
    assert_eq!(sim.load(A), 3);
    assert_eq!(images(&sim, [A]), set([[0], [6], [15], [3]]));
}

#[test]
fn an_image_holds_nothing_pending_and_can_be_cut_itself() {
    let sim = Sim::new(256);
    sim.store(A, 1);
    sim.store(B, 2);
    let mut rng = fastrand::Rng::with_seed(7);
    for image in sim.crash_images(Limits::default(), &mut rng) {
        let (a, b) = (image.load(A), image.load(B));
        assert_eq!(images(&image, [A, B]), set([[a, b]]));
        image.store(A, 5);
        assert_eq!(images(&image, [A, B]), set([[a, b], [5, b]]));
    }
}

#[test]
fn a_left_out_flush_or_fence_does_nothing_and_all_others_work() {
    let program = |mutants: &[Mutant]| {
        let sim =
            Sim::with_words(&SimConfig { mutants: mutants.to_vec(), ..SimConfig::default() }, vec![0; 32]);
        sim.store(A, 1);
        sim.flush(Site::ContentFlush, A, 8);
        sim.order(Site::LargeContentOrder);
        sim.store(B, 2);
        sim.flush(Site::RecordFlush, B, 8);
        sim.fence(Site::CommitFence);
        images(&sim, [A, B])
    };
    assert_eq!(program(&[]), set([[1, 2]]));
    assert_eq!(program(&[Mutant::Flush(Site::ContentFlush)]), set([[0, 2], [1, 2]]));
    assert_eq!(program(&[Mutant::Flush(Site::RecordFlush)]), set([[1, 0], [1, 2]]));
    assert_eq!(program(&[Mutant::Fence(Site::CommitFence)]), set([[1, 0], [1, 2]]));
    // The later fence covers the earlier flush; only between the two it would be missed.
    assert_eq!(program(&[Mutant::Fence(Site::LargeContentOrder)]), set([[1, 2]]));
}

#[test]
fn what_was_reached_is_told_also_of_what_was_left_out() {
    let mutants = vec![Mutant::Flush(FLUSH), Mutant::Fence(FENCE), Mutant::Rule(Rule::R4ApplyAfterFence)];
    let sim = Sim::with_words(&SimConfig { mutants: mutants.clone(), ..SimConfig::default() }, vec![0; 8]);
    assert!(mutants.iter().all(|&mutant| !sim.seen().reached(mutant)));
    sim.flush(FLUSH, 0, 8);
    sim.fence(FENCE);
    assert!(sim.broken(Rule::R4ApplyAfterFence) && !sim.broken(Rule::R8Watermark));
    let reached: Vec<_> = Mutant::all().filter(|&mutant| sim.seen().reached(mutant)).collect();
    let asked = Mutant::Rule(Rule::R8Watermark);
    assert_eq!(reached.len(), 4);
    assert!(mutants.iter().chain([&asked]).all(|mutant| reached.contains(mutant)));
}

#[test]
fn flushes_and_fences_for_nothing_are_counted() {
    let sim = Sim::new(256);
    sim.fence(FENCE);
    sim.store(A, 1);
    sim.flush(FLUSH, A, 65);
    sim.fence(FENCE);
    let before = sim.counters();
    sim.fence(FENCE);
    let _ = (sim.load(A), sim.compare_exchange(A, 0, 0));
    let counters = sim.counters();
    assert_eq!((counters.loads, counters.stores), (2, 1));
    assert_eq!((counters.flushes, counters.flushes_clean), (2, 1));
    assert_eq!((counters.fences, counters.fences_empty), (3, 2));
    let since = counters.since(before);
    assert_eq!(since, Counters { loads: 2, fences: 1, fences_empty: 1, ..Counters::default() });
}

#[test]
fn sampled_images_are_allowed_ones_and_include_the_extremes() {
    let sim = Sim::new(64 * 64);
    for line in 0..64 {
        sim.store(line * 64, 1);
        sim.store(line * 64, 2);
        sim.store(line * 64 + 8, 3);
    }
    let point = sim.crash_point();
    assert_eq!(point.combinations(), None);
    let mut rng = fastrand::Rng::with_seed(3);
    let limits = Limits { exhaustive_max: 600, samples: 200 };
    let (mut found, mut images) = (Vec::new(), point.images(limits));
    while let Some(cut) = images.next(&mut rng) {
        found.push(cut.survivors().to_vec());
    }
    assert_eq!(found.len(), 200);
    assert!(found.iter().flatten().all(|&survivors| survivors <= 3));
    let count = |survivors: u32| move |cut: &&Vec<u32>| cut.iter().filter(|&&s| s == survivors).count();
    assert!(found.iter().any(|cut| count(0)(&cut) == 64) && found.iter().any(|cut| count(3)(&cut) == 64));
    assert!(found.iter().any(|cut| count(0)(&cut) == 63), "one line ahead of all others");
    assert!(found.iter().any(|cut| count(3)(&cut) == 63), "one line behind all others");
}

#[test]
fn stores_that_change_nothing_give_no_images_of_their_own() {
    let sim = Sim::new(256);
    sim.store(A, 0);
    sim.store(A, 1);
    sim.store(A, 1);
    sim.store(B, 0);
    assert_eq!(sim.crash_point().combinations(), Some(2));
}

/// Random programs: the replicas, which copy changed lines only, hold at each of three levels what whole copies would.
#[test]
fn replicas_hold_what_whole_copies_would() {
    const LINES: u64 = 12;
    let step = |sim: &Sim, rng: &mut fastrand::Rng| match rng.u32(..20) {
        0..12 => sim.store(rng.u64(..LINES * 8) * 8, rng.u64(..)),
        12..18 => sim.flush(FLUSH, rng.u64(..LINES) * 64, 64),
        18 => sim.fence(FENCE),
        _ => sim.order(FENCE),
    };
    let words = |sim: &Sim| (0..LINES * 8).map(|word| sim.load(word * 8)).collect::<Vec<_>>();
    fn descend(
        replicas: &mut Replicas,
        level: usize,
        sim: &Sim,
        rng: &mut fastrand::Rng,
        step: &dyn Fn(&Sim, &mut fastrand::Rng),
        words: &dyn Fn(&Sim) -> Vec<u64>,
    ) {
        if level == replicas.depth() {
            return;
        }
        for _ in 0..rng.u32(1..4) {
            (0..rng.u32(..12)).for_each(|_| step(sim, rng));
            let point = sim.crash_point();
            replicas.advance(level, &point);
            for _ in 0..rng.u32(..3) {
                let cut = point.any(rng);
                let whole = Sim::with_words(&SimConfig::default(), sim.durable_words());
                point.overlay(&cut, &sim.durable_words(), |line, words| whole.overlay(line, words));
                let image = replicas.enter(level, &point, &cut);
                assert_eq!(words(&image), words(&whole));
                assert_eq!(image.durable_words(), whole.durable_words());
                assert_eq!(image.counters().stores, 0);
                descend(replicas, level + 1, &image, rng, step, words);
                // Sometimes the memory is kept, and must be left alone.
                let kept = rng.u32(..8) == 0;
                let before = words(&image);
                replicas.leave(level);
                if kept {
                    drop(replicas.enter(level, &point, &point.nothing_survives()));
                    replicas.leave(level);
                    assert_eq!(words(&image), before);
                }
            }
        }
    }
    for seed in 0..if cfg!(miri) { 4 } else { 400 } {
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = SimConfig { orders_only: seed % 2 == 1, ..SimConfig::default() };
        let mut replicas = Replicas::new(&config, &[0; LINES as usize * 8], 3);
        for _ in 0..3 {
            let start = (0..LINES * 8).map(|_| if rng.bool() { 0 } else { rng.u64(..) }).collect();
            let sim = Sim::with_words(&config, start);
            replicas.restart(&sim.durable_words());
            descend(&mut replicas, 0, &sim, &mut rng, &step, &words);
        }
    }
}

#[test]
fn hooks_are_called_before_the_step_and_only_for_what_they_watch() {
    #[derive(Default)]
    struct Notes(Mutex<Vec<(Step, u64)>>);
    impl Hook for Notes {
        fn before(&self, sim: &Sim, step: Step) {
            self.0.lock().unwrap().push((step, sim.words[0].load(Ordering::Relaxed)));
        }
    }
    let run = |watch| {
        let (sim, notes) = (Sim::new(64), Arc::new(Notes::default()));
        sim.watch(watch, Arc::clone(&notes) as Arc<dyn Hook>);
        sim.store(A, 1);
        sim.flush(FLUSH, A, 8);
        sim.fence(FENCE);
        sim.load(A);
        sim.pause();
        sim.unwatch();
        sim.store(A, 2);
        let notes = notes.0.lock().unwrap();
        notes.clone()
    };
    assert_eq!(run(Watch::Fences), [(Step::Fence, 1)]);
    let all = [(Step::Store, 0), (Step::Flush, 1), (Step::Fence, 1), (Step::Load, 1), (Step::Pause, 1)];
    assert_eq!(run(Watch::Steps), all);
}

#[test]
fn code_that_loads_without_end_is_stopped() {
    let sim = Sim::new(64);
    sim.set_loads_max(100);
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| while sim.load(A) == 0 {}));
    assert!(stopped.unwrap_err().is::<TooManyLoads>());
    assert_eq!(sim.counters().loads, 101);
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_load_past_the_end_panics() {
    Sim::new(64).load(64);
}

#[test]
#[should_panic(expected = "not aligned")]
fn an_unaligned_store_panics() {
    Sim::new(64).store(4, 1);
}

#[test]
fn failed_media_are_told() {
    let sim = Sim::new(64);
    assert_eq!(sim.health(), Ok(()));
    sim.fail_media(MediaError::IoPoisoned);
    assert_eq!(sim.health(), Err(MediaError::IoPoisoned));
}
