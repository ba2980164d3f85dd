//! A persistence domain that lives in a vector and can be cut at any moment. For tests, and so that structures can be
//! explored before there is a machine that loses its power on request.
//!
//! **Model.** There are two memories: what threads see, and what is durable. Behind the durable one stands for each line
//! the ordered list of stores that have not reached it. A [flush](crate::Mem::flush) remembers the present end of the line's
//! list for the thread that calls it; its next [fence](crate::Mem::fence), or [ordering](crate::Mem::order), makes the list
//! durable up to there. With [`SimConfig::orders_only`] an ordering makes nothing durable. A power cut keeps of each line, independently of all others, any prefix of its list. So a line can
//! be written back at any time without being asked, two lines in either order, but never a later store to a line without
//! the earlier ones; a word is never torn.
//!
//! **Use.** Make a [`Sim`], run code over it, take [`CrashPoint`]s before its fences (through a [`Hook`]) and at its end,
//! and load their images into [`Replicas`]. [`Sim::crash_images`] does so in one call for small tests. Simulated
//! threads tell who they are by [`as_thread`].
//!
//! ```
//! use abide_pmem::{Mem, Site, sim::{Sim, Limits}};
//!
//! let sim = Sim::new(4096);
//! sim.store(0, 7); // data
//! sim.store(64, 1); // "the data is there", in another line, without a fence between them: wrong
//! let images = sim.crash_images(Limits::default(), &mut fastrand::Rng::with_seed(1));
//! assert!(images.iter().any(|image| image.load(64) == 1 && image.load(0) == 0));
//! ```

mod counters;
mod images;
mod line_set;
mod lines;
mod mutant;
mod replica;
#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use images::{CrashPoint, Cut, Images, Limits};
pub use mutant::{Mutant, Seen, UnknownMutant};
pub use replica::Replicas;

use crate::mem::{self, MediaError, Mem, Rule, Site, WORD};
use counters::Counts;
use line_set::LineSet;
use lines::Lines;
use mutant::{Faults, SeenCells};
use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

thread_local! {
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// Which simulated thread the caller is: 0, unless it is inside of [`as_thread`].
#[must_use]
pub fn current_thread() -> usize {
    THREAD.get()
}

/// Runs `f` as simulated thread `thread`. Numbers are small: each memory keeps a list for each number up to the largest.
pub fn as_thread<R>(thread: usize, f: impl FnOnce() -> R) -> R {
    struct Back(usize);
    impl Drop for Back {
        fn drop(&mut self) {
            THREAD.set(self.0);
        }
    }
    let _back = Back(THREAD.replace(thread));
    f()
}

/// What a memory is about to do when it calls its [`Hook`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To load a word.
    Load,
    /// To store a word, or to read, change and store one.
    Store,
    /// To flush lines.
    Flush,
    /// To make durable, or to order, what the thread flushed. A left-out one is not announced.
    Fence,
    /// To do nothing: the thread waits for another one.
    Pause,
}

/// Is called before each step, without any lock held. It may take a [`CrashPoint`], let other threads run, or unwind.
pub trait Hook: Send + Sync {
    /// `sim` is about to make `step`, on the thread that calls.
    fn before(&self, sim: &Sim, step: Step);
}

/// Of which steps a [`Hook`] wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Watch {
    /// Of fences: enough where there is one thread, since between two fences the images only become more.
    Fences = 1,
    /// Of all.
    Steps = 2,
}

/// The payload with which code is unwound that made more loads than [`Sim::set_loads_max`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} loads: it does not end, or its work is not bounded")]
pub struct TooManyLoads(pub u64);

/// How a simulated memory behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SimConfig {
    /// What it does wrong. Empty for a right one.
    pub mutants: Vec<Mutant>,
    /// Whether an ordering makes nothing durable, as where durability costs a system call: a cut may lose what a thread flushed
    /// before it, but then it loses all that was stored after it too, by whatever thread. If not, an ordering is a fence, as
    /// on memory that needs no system call.
    pub orders_only: bool,
}

/// A memory whose power can be cut. See the module's text for the model.
pub struct Sim {
    /// What threads see.
    words: Box<[AtomicU64]>,
    /// What is durable, and what is pending. All stores are made under this lock, so that the order of a line's stores
    /// is the order in which threads saw them.
    lines: Mutex<Lines>,
    config: SimConfig,
    faults: Faults,
    seen: SeenCells,
    counts: Counts,
    loads_max: AtomicU64,
    watch: AtomicU8,
    hook: Mutex<Option<Arc<dyn Hook>>>,
    failed: AtomicU8,
}

impl Sim {
    /// A memory of `len` zero bytes, all durable, that does nothing wrong. `len` is a multiple of 64.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Sim::with_words(&SimConfig::default(), vec![0; (len / WORD) as usize])
    }

    /// A memory that holds `words`, all durable. Their number is a multiple of 8.
    #[must_use]
    pub fn with_words(config: &SimConfig, words: Vec<u64>) -> Self {
        Sim {
            words: words.iter().map(|&word| AtomicU64::new(word)).collect(),
            lines: Mutex::new(Lines::new(words)),
            faults: Faults::new(&config.mutants),
            config: config.clone(),
            seen: SeenCells::default(),
            counts: Counts::default(),
            loads_max: AtomicU64::new(u64::MAX),
            watch: AtomicU8::new(0),
            hook: Mutex::new(None),
            failed: AtomicU8::new(0),
        }
    }

    /// How it behaves.
    #[must_use]
    pub fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The words that are surely durable.
    #[must_use]
    pub fn durable_words(&self) -> Vec<u64> {
        self.lines().durable().to_vec()
    }

    /// What a cut now could leave. See [`CrashPoint`] for what holds between two of them.
    #[must_use]
    pub fn crash_point(&self) -> CrashPoint {
        self.lines().crash_point()
    }

    /// The memories that a cut now could leave, as many as `limits` say. For tests; a harness uses [`Replicas`].
    #[must_use]
    pub fn crash_images(&self, limits: Limits, rng: &mut fastrand::Rng) -> Vec<Sim> {
        let (point, durable) = {
            let mut lines = self.lines();
            (lines.crash_point(), lines.durable().to_vec())
        };
        let mut found = Vec::new();
        let mut images = point.images(limits);
        while let Some(cut) = images.next(rng) {
            let image = Sim::with_words(&self.config, durable.clone());
            point.overlay(cut, &durable, |line, words| image.overlay(line, words));
            found.push(image);
        }
        found
    }

    /// Calls `hook` before each step that `watch` names, in place of an earlier hook.
    pub fn watch(&self, watch: Watch, hook: Arc<dyn Hook>) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
        self.watch.store(watch as u8, Ordering::Release);
    }

    /// Calls no hook any more.
    pub fn unwatch(&self) {
        self.watch.store(0, Ordering::Release);
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was done so far, exact as long as one thread runs at a time.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counts.copy()
    }

    /// Which rules were asked for, and which sites came by.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.copy()
    }

    /// Unwinds with [`TooManyLoads`] whoever makes more than `more` loads from here on.
    pub fn set_loads_max(&self, more: u64) {
        self.loads_max.store(self.counts.loads().saturating_add(more), Ordering::Relaxed);
    }

    /// Lets [`health`](Mem::health) report a failure, as a file whose disk failed would.
    pub fn fail_media(&self, error: MediaError) {
        let code = match error {
            MediaError::RegionLost => 1,
            MediaError::IoPoisoned => 2,
        };
        self.failed.store(code, Ordering::Release);
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        // A thread that is unwound by a hook holds no lock, and one that fails an assertion below leaves a
        // memory that is thrown away.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As new, with the words of `base`, given that it was last restored to the same words but for the lines in `stale`.
    fn restore(&self, base: &[u64], stale: &LineSet) {
        self.unwatch();
        self.counts.reset();
        self.loads_max.store(u64::MAX, Ordering::Relaxed);
        self.failed.store(0, Ordering::Relaxed);
        self.lines().restore(base, stale, |start, words| self.set_visible(start, words));
    }

    fn overlay(&self, line: u32, words: &[u64; lines::LINE_WORDS]) {
        self.lines().overlay(line, words);
        self.set_visible(line as usize * lines::LINE_WORDS, words);
    }

    fn set_visible(&self, start: usize, words: &[u64]) {
        for (cell, &word) in self.words[start..].iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    #[inline]
    fn word(&self, offset: u64) -> usize {
        assert!(offset.is_multiple_of(WORD), "access at {offset:#x} is not aligned");
        (offset / WORD) as usize
    }

    #[inline]
    fn before(&self, step: Step) {
        let watch = self.watch.load(Ordering::Acquire);
        if watch == Watch::Steps as u8 || (watch == Watch::Fences as u8 && step == Step::Fence) {
            self.call_hook(step);
        }
    }

    #[cold]
    fn call_hook(&self, step: Step) {
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook.before(self, step);
        }
    }

    #[inline]
    fn count_load(&self) {
        if self.counts.load() > self.loads_max.load(Ordering::Relaxed) && !std::thread::panicking() {
            std::panic::resume_unwind(Box::new(TooManyLoads(self.loads_max.load(Ordering::Relaxed))));
        }
    }

    /// Changes a word as `f` says; `None` leaves it. Gives the word as it was.
    fn update(&self, offset: u64, f: impl FnOnce(u64) -> Option<u64>) -> u64 {
        self.before(Step::Store);
        self.count_load();
        let word = self.word(offset);
        let mut lines = self.lines();
        let old = self.words[word].load(Ordering::Acquire);
        if let Some(new) = f(old) {
            self.counts.store();
            self.words[word].store(new, Ordering::Release);
            lines.store(word, new);
        }
        old
    }

    fn stand_between(&self, site: Site, orders_only: bool) {
        self.seen.fence(site);
        if self.faults.drops_fence(site) {
            return;
        }
        self.before(Step::Fence);
        let mut lines = self.lines();
        let thread = current_thread();
        let any = if orders_only { lines.order(thread) } else { lines.fence(thread) };
        self.counts.fence(any);
    }
}

impl Mem for Sim {
    const SLEEPS: bool = false;

    fn len(&self) -> u64 {
        self.words.len() as u64 * WORD
    }

    #[inline]
    fn load(&self, offset: u64) -> u64 {
        self.before(Step::Load);
        self.count_load();
        self.words[self.word(offset)].load(Ordering::Acquire)
    }

    fn store(&self, offset: u64, value: u64) {
        self.before(Step::Store);
        self.counts.store();
        let word = self.word(offset);
        let mut lines = self.lines();
        self.words[word].store(value, Ordering::Release);
        lines.store(word, value);
    }

    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64> {
        let old = self.update(offset, |old| (old == current).then_some(new));
        if old == current { Ok(old) } else { Err(old) }
    }

    fn fetch_or(&self, offset: u64, bits: u64) -> u64 {
        self.update(offset, |old| Some(old | bits))
    }

    fn fetch_and(&self, offset: u64, bits: u64) -> u64 {
        self.update(offset, |old| Some(old & bits))
    }

    fn flush(&self, site: Site, offset: u64, len: u64) {
        self.seen.flush(site);
        if self.faults.drops_flush(site) {
            return;
        }
        self.before(Step::Flush);
        assert!(offset + len <= self.len(), "flush of {offset:#x} + {len:#x} past the end");
        let thread = current_thread();
        let mut lines = self.lines();
        mem::for_each_line(offset, len, |at| {
            let pending = lines.flush(thread, (at / mem::LINE) as u32);
            self.counts.flush(pending);
        });
    }

    fn order(&self, site: Site) {
        self.stand_between(site, self.config.orders_only);
    }

    fn fence(&self, site: Site) {
        self.stand_between(site, false);
    }

    fn health(&self) -> Result<(), MediaError> {
        match self.failed.load(Ordering::Acquire) {
            0 => Ok(()),
            1 => Err(MediaError::RegionLost),
            _ => Err(MediaError::IoPoisoned),
        }
    }

    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        loop {
            match mutex.try_lock() {
                Ok(guard) => return guard,
                Err(TryLockError::Poisoned(error)) => return error.into_inner(),
                Err(TryLockError::WouldBlock) => self.pause(),
            }
        }
    }

    fn pause(&self) {
        self.before(Step::Pause);
        // Where nobody watches, the thread that is waited for runs beside this one.
        std::hint::spin_loop();
    }

    fn broken(&self, rule: Rule) -> bool {
        self.seen.rule(rule);
        self.faults.breaks(rule)
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("len", &self.len())
            .field("config", &self.config)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
