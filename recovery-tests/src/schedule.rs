//! Runs simulated threads one at a time, and chooses at each of their steps who goes on.
//!
//! Simulated threads are threads of the operating system that pass a baton. A choice is made before each call to a
//! [`Sim`] (see [`Hook`]), and follows from a seed alone, so a schedule can be had again. Code between two such calls runs
//! without interruption; code that waits must call [`Mem::pause`](abide_pmem::Mem::pause), and must hold no lock of the
//! operating system over a call to the memory: the thread that waits for the lock would keep the baton forever. That
//! is noticed after [`BLOCKED_AFTER`], and ends the process.
//!
//! One switch probability finds only one kind of bug, so each seed has its own: one in 2, 6, 20 or 60 steps, or a
//! schedule by random priorities that change at a few random steps (PCT: Burckhardt et al., ASPLOS 2010).

use crate::quiet;
use abide_pmem::sim::{Hook, Sim, Step, Watch, as_thread, current_thread};
use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::Thread,
    time::Duration,
};

/// A thread that keeps the baton so long without a step is taken to be blocked outside of the memory.
pub const BLOCKED_AFTER: Duration = Duration::from_secs(60);

/// Turns that a thread that waits for the baton spins before it sleeps.
const SPINS: u32 = 200;

/// How to choose who goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Switches to any other thread at one in so many steps.
    OneIn(u32),
    /// The thread of highest priority runs; at this many random steps the running thread gets the lowest.
    Priorities(u32),
}

impl Strategy {
    /// One of the mix.
    pub fn any(rng: &mut fastrand::Rng) -> Self {
        match rng.u32(..6) {
            0 => Strategy::OneIn(2),
            1 => Strategy::OneIn(6),
            2 => Strategy::OneIn(20),
            3 => Strategy::OneIn(60),
            4 => Strategy::Priorities(1),
            _ => Strategy::Priorities(3),
        }
    }
}

/// Whether a run goes on after a step was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The step is made.
    Continue,
    /// The power is cut before the step: all threads are unwound.
    Crash,
}

/// Is told of each step before it is made, by the thread that makes it.
pub trait Observer: Send + Sync {
    /// `sim` is about to make `step`.
    fn before(&self, sim: &Sim, step: Step) -> Verdict;
}

/// A schedule to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many simulated threads.
    pub threads: usize,
    /// What all choices follow from.
    pub seed: u64,
    /// How they are made.
    pub strategy: Strategy,
    /// After so many steps the run counts as one that does not end.
    pub steps_max: u64,
    /// Which steps the observer hears of, and is asked at, where there is only one thread. With more it is all.
    pub watch: Watch,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// All threads returned.
    Finished,
    /// The observer cut the power.
    Crashed,
    /// Too many steps.
    Endless,
    /// A thread panicked, with this message.
    Panicked(String),
}

/// The payload with which threads are unwound when the power is cut.
struct PowerCut;

/// Runs `body(0)` to `body(threads - 1)` over `sim` under one schedule. Thread 0 is the caller.
pub fn run(sim: &Sim, plan: Plan, observer: Arc<dyn Observer>, body: &(dyn Fn(usize) + Sync)) -> Ended {
    assert!(plan.threads > 0, "a run needs a thread");
    let baton = Arc::new(Baton::new(plan, observer));
    let watch = if plan.threads == 1 { plan.watch } else { Watch::Steps };
    sim.watch(watch, Arc::clone(&baton) as Arc<dyn Hook>);
    if plan.threads == 1 {
        baton.take_part(0, body);
    } else {
        std::thread::scope(|scope| {
            for thread in 1..plan.threads {
                let baton = &baton;
                scope.spawn(move || baton.take_part(thread, body));
            }
            baton.take_part(0, body);
        });
    }
    sim.unwatch();
    let mut turn = baton.turn();
    turn.ended.take().unwrap_or(Ended::Finished)
}

/// What the threads of a run share.
struct Baton {
    plan: Plan,
    observer: Arc<dyn Observer>,
    /// Who may run. Only that thread changes anything here.
    holder: AtomicUsize,
    crashed: AtomicBool,
    present: AtomicUsize,
    threads: Vec<OnceLock<Thread>>,
    turn: Mutex<Turn>,
}

struct Turn {
    rng: fastrand::Rng,
    steps: u64,
    runnable: Vec<usize>,
    ended: Option<Ended>,
    /// By thread; the highest runs.
    priorities: Vec<i64>,
    lowest: i64,
    /// Steps at which priorities change, the next one last.
    changes: Vec<u64>,
}

impl Baton {
    fn new(plan: Plan, observer: Arc<dyn Observer>) -> Self {
        let mut rng = fastrand::Rng::with_seed(plan.seed);
        let mut priorities: Vec<i64> = (0..plan.threads as i64).collect();
        rng.shuffle(&mut priorities);
        let mut changes = Vec::new();
        if let Strategy::Priorities(count) = plan.strategy {
            let within = 1 << rng.u32(4..9);
            changes = (0..count).map(|_| rng.u64(..within)).collect();
            changes.sort_unstable_by_key(|&step| std::cmp::Reverse(step));
        }
        let first = rng.usize(..plan.threads);
        Baton {
            plan,
            observer,
            holder: AtomicUsize::new(first),
            crashed: AtomicBool::new(false),
            present: AtomicUsize::new(0),
            threads: (0..plan.threads).map(|_| OnceLock::new()).collect(),
            turn: Mutex::new(Turn {
                rng,
                steps: 0,
                runnable: (0..plan.threads).collect(),
                ended: None,
                priorities,
                lowest: 0,
                changes,
            }),
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a simulated thread.
    fn take_part(&self, me: usize, body: &(dyn Fn(usize) + Sync)) {
        self.threads[me].get_or_init(std::thread::current);
        self.present.fetch_add(1, Ordering::AcqRel);
        // Whoever starts must find all others registered.
        while self.present.load(Ordering::Acquire) < self.plan.threads {
            std::thread::yield_now();
        }
        self.await_turn(me);
        let ended = quiet::catch(AssertUnwindSafe(|| {
            if !self.crashed.load(Ordering::Acquire) {
                as_thread(me, || body(me));
            }
        }));
        let mut turn = self.turn();
        if let Err(panic) = ended
            && !panic.payload.is::<PowerCut>()
        {
            turn.ended = Some(Ended::Panicked(panic.message));
            self.crashed.store(true, Ordering::Release);
        }
        turn.runnable.retain(|&thread| thread != me);
        let next = match self.plan.strategy {
            Strategy::OneIn(_) if turn.runnable.is_empty() => None,
            Strategy::OneIn(_) => {
                let count = turn.runnable.len();
                let at = turn.rng.usize(..count);
                Some(turn.runnable[at])
            }
            Strategy::Priorities(_) => {
                turn.runnable.iter().copied().max_by_key(|&thread| turn.priorities[thread])
            }
        };
        drop(turn);
        if let Some(next) = next {
            self.pass_to(next);
        }
    }

    fn pass_to(&self, next: usize) {
        self.holder.store(next, Ordering::Release);
        self.threads[next].get().expect("all threads are registered").unpark();
    }

    fn await_turn(&self, me: usize) {
        for _ in 0..SPINS {
            if self.holder.load(Ordering::Acquire) == me {
                return;
            }
            std::hint::spin_loop();
        }
        while self.holder.load(Ordering::Acquire) != me {
            let steps = self.turn().steps;
            let since = std::time::Instant::now();
            std::thread::park_timeout(BLOCKED_AFTER);
            if since.elapsed() >= BLOCKED_AFTER && self.turn().steps == steps {
                let holder = self.holder.load(Ordering::Acquire);
                eprintln!(
                    "simulated thread {holder} blocks outside of the simulated memory; {:?}",
                    self.plan
                );
                std::process::abort();
            }
        }
    }

    /// Who goes on after this step of `me`.
    fn choose(&self, turn: &mut Turn, me: usize, step: Step) -> usize {
        if turn.runnable.len() < 2 {
            return me;
        }
        let waits = step == Step::Pause;
        match self.plan.strategy {
            Strategy::OneIn(steps) => {
                if !waits && turn.rng.u32(..steps) != 0 {
                    return me;
                }
                let others = turn.runnable.len() - 1;
                let at = turn.rng.usize(..others);
                // The others, in their order: the last one stands in for `me`.
                match turn.runnable[at] {
                    thread if thread == me => turn.runnable[turn.runnable.len() - 1],
                    thread => thread,
                }
            }
            Strategy::Priorities(_) => {
                if waits || turn.changes.last().is_some_and(|&change| change <= turn.steps) {
                    if !waits {
                        turn.changes.pop();
                    }
                    turn.lowest -= 1;
                    turn.priorities[me] = turn.lowest;
                }
                let highest = turn.runnable.iter().copied().max_by_key(|&thread| turn.priorities[thread]);
                highest.expect("there are two")
            }
        }
    }
}

impl Hook for Baton {
    fn before(&self, sim: &Sim, step: Step) {
        if std::thread::panicking() {
            // Destructors of a thread that is unwound.
            return;
        }
        if self.crashed.load(Ordering::Acquire) {
            std::panic::resume_unwind(Box::new(PowerCut));
        }
        let me = current_thread();
        let ended = {
            let mut turn = self.turn();
            turn.steps += 1;
            if turn.steps > self.plan.steps_max { Some(Ended::Endless) } else { None }
        };
        let ended = ended.or_else(|| match self.observer.before(sim, step) {
            Verdict::Continue => None,
            Verdict::Crash => Some(Ended::Crashed),
        });
        if let Some(ended) = ended {
            self.turn().ended.get_or_insert(ended);
            self.crashed.store(true, Ordering::Release);
            std::panic::resume_unwind(Box::new(PowerCut));
        }
        if self.plan.threads == 1 {
            return;
        }
        let next = {
            let mut turn = self.turn();
            self.choose(&mut turn, me, step)
        };
        if next != me {
            self.pass_to(next);
            self.await_turn(me);
            if self.crashed.load(Ordering::Acquire) {
                std::panic::resume_unwind(Box::new(PowerCut));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide_pmem::Mem;
    use std::{collections::HashSet, time::Instant};

    struct Nothing;
    impl Observer for Nothing {
        fn before(&self, _: &Sim, _: Step) -> Verdict {
            Verdict::Continue
        }
    }

    struct CutAt(AtomicUsize);
    impl Observer for CutAt {
        fn before(&self, _: &Sim, _: Step) -> Verdict {
            if self.0.fetch_sub(1, Ordering::Relaxed) == 1 { Verdict::Crash } else { Verdict::Continue }
        }
    }

    fn plan(threads: usize, seed: u64, strategy: Strategy) -> Plan {
        Plan { threads, seed, strategy, steps_max: 100_000, watch: Watch::Steps }
    }

    /// The order in which three threads made four stores each.
    fn order(seed: u64, strategy: Strategy) -> Vec<usize> {
        let (sim, order) = (Sim::new(64), Mutex::new(Vec::new()));
        let ended = run(&sim, plan(3, seed, strategy), Arc::new(Nothing), &|me| {
            for _ in 0..4 {
                sim.store(0, me as u64);
                order.lock().unwrap().push(me);
            }
        });
        assert_eq!(ended, Ended::Finished);
        order.into_inner().unwrap()
    }

    #[test]
    fn a_seed_gives_one_schedule_and_seeds_give_many() {
        for strategy in [Strategy::OneIn(2), Strategy::OneIn(6), Strategy::Priorities(3)] {
            let seeds = if cfg!(miri) { 4 } else { 40 };
            let orders: Vec<_> = (0..seeds).map(|seed| order(seed, strategy)).collect();
            let again: Vec<_> = (0..seeds).map(|seed| order(seed, strategy)).collect();
            assert_eq!(orders, again);
            let different: HashSet<_> = orders.iter().collect();
            assert!(different.len() > seeds as usize / 2, "{strategy:?}: {}", different.len());
        }
    }

    #[test]
    fn a_read_and_a_later_store_are_torn_apart_by_some_schedule() {
        let mut rng = fastrand::Rng::with_seed(0);
        let lost = |seed: u64, strategy| {
            let sim = Sim::new(64);
            run(&sim, plan(2, seed, strategy), Arc::new(Nothing), &|_| sim.store(0, sim.load(0) + 1));
            sim.load(0) == 1
        };
        let found = (0..40).filter(|&seed| lost(seed, Strategy::any(&mut rng))).count();
        assert!(found > 0 && found < 40, "lost in {found} of 40");
    }

    #[test]
    fn a_thread_that_waits_lets_the_other_one_run() {
        for strategy in [Strategy::OneIn(1_000_000), Strategy::Priorities(0)] {
            for seed in 0..4 {
                let (sim, ready) = (Sim::new(64), AtomicBool::new(false));
                let ended = run(&sim, plan(2, seed, strategy), Arc::new(Nothing), &|me| {
                    if me == 0 {
                        sim.load(0);
                        ready.store(true, Ordering::Release);
                    } else {
                        while !ready.load(Ordering::Acquire) {
                            sim.pause();
                        }
                    }
                });
                assert_eq!(ended, Ended::Finished);
            }
        }
    }

    #[test]
    fn a_power_cut_unwinds_all_threads_and_leaves_the_next_run_alone() {
        for cut in 1..12 {
            let sim = Sim::new(64);
            let returned = AtomicUsize::new(0);
            let ended = run(
                &sim,
                plan(3, cut as u64, Strategy::OneIn(2)),
                Arc::new(CutAt(AtomicUsize::new(cut))),
                &|_| {
                    (0..4).for_each(|value| sim.store(0, value));
                    returned.fetch_add(1, Ordering::Relaxed);
                },
            );
            assert_eq!(ended, Ended::Crashed);
            assert!(returned.into_inner() < 3);
            // A thread that was switched away from before its store does not make it.
            assert!(sim.counters().stores < cut as u64);
            sim.store(0, 1);
            assert_eq!(order(cut as u64, Strategy::OneIn(2)).len(), 12);
        }
    }

    #[test]
    fn destructors_of_unwound_threads_may_touch_the_memory() {
        struct Closes<'a>(&'a Sim);
        impl Drop for Closes<'_> {
            fn drop(&mut self) {
                self.0.store(8, 1);
            }
        }
        let sim = Sim::new(64);
        let cut = Arc::new(CutAt(AtomicUsize::new(2)));
        let ended = run(&sim, plan(2, 1, Strategy::OneIn(2)), cut, &|_| {
            let _closes = Closes(&sim);
            (0..4).for_each(|value| sim.store(0, value));
        });
        assert_eq!(ended, Ended::Crashed);
    }

    #[test]
    fn a_panic_is_told_and_an_endless_run_is_ended() {
        let sim = Sim::new(64);
        let ended = run(&sim, plan(2, 1, Strategy::OneIn(2)), Arc::new(Nothing), &|me| {
            sim.store(0, 1);
            assert!(me == 0, "thread {me} is unhappy");
        });
        assert!(matches!(ended, Ended::Panicked(message) if message.contains("thread 1 is unhappy")));
        let ended = run(&sim, plan(2, 1, Strategy::OneIn(2)), Arc::new(Nothing), &|_| {
            loop {
                sim.pause();
            }
        });
        assert_eq!(ended, Ended::Endless);
    }

    #[test]
    fn one_thread_runs_on_the_callers() {
        let sim = Sim::new(64);
        let caller = std::thread::current().id();
        let ended = run(&sim, plan(1, 1, Strategy::OneIn(2)), Arc::new(Nothing), &|_| {
            assert_eq!(std::thread::current().id(), caller);
        });
        assert_eq!(ended, Ended::Finished);
    }

    /// Prints what a switch costs. Run with `--ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    fn cost_of_a_switch() {
        for (name, strategy) in [("no switches", 1_000_000), ("a switch at each second step", 2)] {
            let (sim, since) = (Sim::new(64), Instant::now());
            let steps = 200_000;
            let plan = Plan { steps_max: u64::MAX, ..plan(2, 1, Strategy::OneIn(strategy)) };
            run(&sim, plan, Arc::new(Nothing), &|_| (0..steps / 2).for_each(|value| sim.store(0, value)));
            println!("{name}: {:.0} ns a step", since.elapsed().as_nanos() as f64 / steps as f64);
        }
        let since = Instant::now();
        for seed in 0..1_000 {
            let sim = Sim::new(64);
            run(&sim, plan(3, seed, Strategy::OneIn(2)), Arc::new(Nothing), &|_| ());
        }
        println!("{:.1} us for a run of three idle threads", since.elapsed().as_micros() as f64 / 1_000.0);
    }
}
