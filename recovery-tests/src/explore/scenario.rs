//! What a structure must provide to be explored.

use crate::history::{Call, Model};
use abide_pmem::sim::{Limits, Sim};
use fastrand::Rng;
use std::sync::Arc;

/// Why recovery did not open a region.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It was never formatted to the end. Right only before formatting has returned.
    #[error("the region was not formatted")]
    NotFormatted,
    /// Anything else. Never right: every image is one that a cut can leave.
    #[error("{0}")]
    Other(String),
}

/// A structure over simulated memory, what its clients do, and what recovery must show then.
///
/// # What a run does
///
/// 1. [`format`](Self::format) on zeros; now and then cut itself.
/// 2. [`open`](Self::open), then each of [`threads`](Self::threads) simulated threads [`perform`](Self::perform)s what
///    [`plan`](Self::plan) gave it, until it is done or the power is cut at a random moment.
/// 3. At many moments of that, for many images of each: `open`; [`read`](Self::read) must give a state that the history up to then
///    explains; [`check`](Self::check) must be content; [`repeat`](Self::repeat)ed pending calls must be told, and change, what a
///    single execution would. For some of the images: crashes of `open` itself, before each of its fences, and of what
///    those leave; and the same state again after a crash right after `open`.
/// 4. From one image of the last moment, recovered, it goes on with 2, at least three times.
///
/// All of it follows from one seed. An instance that panics, loads without end, or asks for more than
/// [`recovery_loads_max`](Self::recovery_loads_max) to recover, is a violation like a wrong state.
///
/// # What a scenario must keep to
///
/// - Only [`Mem`](abide_pmem::Mem) changes the region, also in `read` and `check`. Whatever the instance keeps else is
///   lost in a crash: it is dropped, after its threads were unwound in the middle of calls.
/// - Code between two calls to the memory runs without interruption. Code that waits for another thread calls `Mem::pause`.
///   No lock of the operating system is held over a call to the memory where there are several threads: see
///   [`schedule`](crate::schedule).
/// - The same seed gives the same calls to the memory: no clocks, no random hashes (iterate no `HashMap`).
/// - A region of a few KiB and keys that collide find more than large ones: what is explored is how operations meet,
///   not how many there are.
/// - `mutants` has to catch each site and each rule that the structure names. If one survives, either the workload does not
///   reach the moment in which it matters (fill the region, free and reuse, mix threads), or it is not needed.
pub trait Scenario: Send + Sync + 'static {
    /// The sequential meaning of the structure.
    type Model: Model;
    /// The structure, opened.
    type Instance: Send + Sync;

    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Bytes of its region, a multiple of 64.
    fn region_bytes(&self) -> u64;

    /// Writes an empty structure over zeros.
    fn format(&self, sim: &Arc<Sim>) -> Result<(), String>;

    /// What an empty structure shows.
    fn empty(&self) -> State<Self>;

    /// Opens a region, which recovers it. `sim` may be kept by the instance, and by nobody else.
    fn open(&self, sim: &Arc<Sim>) -> Result<Self::Instance, Refused>;

    /// The most words that `open` may load, whatever the region holds.
    fn recovery_loads_max(&self) -> u64;

    /// How many simulated threads the next part of a run has.
    fn threads(&self, _rng: &mut Rng) -> usize {
        1
    }

    /// What simulated thread `thread` does between two crashes: groups of calls, each of a client and its operation. The calls of a
    /// group are made together (a batch); mostly a group is one call. No two threads may name the same client.
    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op<Self>)>>;

    /// Makes the calls of one group, on the caller's thread. `respond` is told the place in the group and the result, once
    /// for each, and not before the call may be acknowledged.
    fn perform(
        &self,
        instance: &Self::Instance,
        calls: &[Call<Self::Model>],
        respond: &mut dyn FnMut(usize, Answer<Self>),
    ) -> Result<(), String>;

    /// Makes a call again that was pending in a crash, with the same client and sequence. `None`: the structure
    /// promises nothing of repeated calls.
    fn repeat(
        &self,
        _instance: &Self::Instance,
        _call: &Call<Self::Model>,
    ) -> Result<Option<Answer<Self>>, String> {
        Ok(None)
    }

    /// Reads all that the structure holds.
    fn read(&self, instance: &Self::Instance) -> Result<State<Self>, String>;

    /// Looks for what the state does not show: blocks that leak, pointers that dangle, order of lists.
    fn check(&self, _instance: &Self::Instance, _state: &State<Self>) -> Result<(), String> {
        Ok(())
    }

    /// How many images to look at for each moment, given the number of threads. With several there are many more moments.
    fn limits(&self, threads: usize) -> Limits {
        if threads == 1 { Limits::default() } else { Limits { exhaustive_max: 16, samples: 10 } }
    }

    /// One in so many images has its recovery crashed: of images of a run (level 0), and of those images' recovery (level
    /// 1). A recovery with many fences has many images; where schedules matter more, look at fewer.
    fn crash_recovery_one_in(&self, level: usize) -> u32 {
        [6, 4][level.min(1)]
    }

    /// How often the power is cut in one run.
    fn crashes(&self, rng: &mut Rng) -> u32 {
        rng.u32(3..6)
    }
}

/// The state of a scenario's model.
pub type State<S> = <<S as Scenario>::Model as Model>::State;
/// An operation of a scenario's model.
pub type Op<S> = <<S as Scenario>::Model as Model>::Op;
/// What a scenario's clients are told.
pub type Answer<S> = <<S as Scenario>::Model as Model>::Result;
