//! Notes the moments of a run at which the power may be cut, while it runs.

use crate::{
    history::{History, Model},
    schedule::{Observer, Verdict},
};
use abide_pmem::sim::{CrashPoint, Hook, Sim, Step};
use fastrand::Rng;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A moment, and how much of the history had happened.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) point: CrashPoint,
    pub(super) time: u64,
}

/// Of a run's steps, at which to note a moment, and at which to cut the power.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// Notes one in so many steps that are fences.
    pub(super) fences_one_in: u32,
    /// Notes one in so many other steps.
    pub(super) others_one_in: u32,
    /// Cuts the power at this step of those that are heard of, from 0.
    pub(super) cut_at: u64,
}

/// The history of one part of a run, and its moments.
#[derive(Debug)]
pub(super) struct Notes<M: Model> {
    inner: Mutex<Inner<M>>,
}

#[derive(Debug)]
struct Inner<M: Model> {
    history: History<M>,
    moments: Vec<Moment>,
    choice: Choice,
    steps: u64,
    rng: Rng,
}

impl<M: Model> Notes<M> {
    pub(super) fn new(choice: Choice, rng: Rng) -> Self {
        let inner = Inner { history: History::default(), moments: Vec::new(), choice, steps: 0, rng };
        Notes { inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn history<R>(&self, f: impl FnOnce(&mut History<M>) -> R) -> R {
        f(&mut self.inner().history)
    }

    /// Notes this moment.
    pub(super) fn note(&self, sim: &Sim) {
        let mut inner = self.inner();
        let time = inner.history.now();
        inner.moments.push(Moment { point: sim.crash_point(), time });
    }

    /// The moments so far; the history stays.
    pub(super) fn take_moments(&self) -> Vec<Moment> {
        std::mem::take(&mut self.inner().moments)
    }
}

impl<M: Model> Observer for Notes<M> {
    fn before(&self, sim: &Sim, step: Step) -> Verdict {
        let mut inner = self.inner();
        let cut = inner.steps == inner.choice.cut_at;
        inner.steps += 1;
        let one_in =
            if step == Step::Fence { inner.choice.fences_one_in } else { inner.choice.others_one_in };
        if cut || one_in == 1 || inner.rng.u32(..one_in) == 0 {
            drop(inner);
            self.note(sim);
        }
        if cut { Verdict::Crash } else { Verdict::Continue }
    }
}

/// Notes the moments of a recovery: before each of its fences.
#[derive(Debug, Default)]
pub(super) struct RecoveryNotes {
    points: Mutex<Vec<CrashPoint>>,
}

impl RecoveryNotes {
    pub(super) fn take(&self) -> Vec<CrashPoint> {
        std::mem::take(&mut self.points.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hook for RecoveryNotes {
    fn before(&self, sim: &Sim, _: Step) {
        self.points.lock().unwrap_or_else(PoisonError::into_inner).push(sim.crash_point());
    }
}
