//! Opens one image, and looks at everything that it must be.

use super::{
    moments::RecoveryNotes,
    report::Report,
    scenario::{Answer, Refused, Scenario, State},
};
use crate::{
    history::{Call, Model},
    linearizability::{Admissible, Explanations},
    quiet,
};
use abide_pmem::sim::{CrashPoint, Cut, Hook, Limits, Replicas, Sim, Watch};
use fastrand::Rng;
use std::{panic::AssertUnwindSafe, sync::Arc};

/// Loads after which reading and checking count as endless.
const LOADS_MAX: u64 = 10_000_000;

/// What an image may show.
pub(super) enum Expected<'a, M: Model> {
    /// Formatting had not returned: an empty structure, or none.
    UnfinishedFormat(&'a M::State),
    /// What the history explains.
    History(&'a Admissible<M>),
    /// What somebody has seen already.
    Exactly(&'a M::State),
}

/// Something wrong with an image, and the images that lead to it.
pub(super) struct Wrong {
    pub(super) why: String,
    pub(super) place: Vec<String>,
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Wrong { why, place: Vec::new() }
    }
}

/// An image that was opened and found right.
pub(super) struct Opened<S: Scenario> {
    pub(super) sim: Arc<Sim>,
    pub(super) instance: S::Instance,
    /// What it showed when everything was looked at.
    pub(super) state: State<S>,
}

/// Opens images of one part of a run.
pub(super) struct Images<'a, S: Scenario> {
    pub(super) scenario: &'a S,
    pub(super) replicas: &'a mut Replicas,
    pub(super) rng: &'a mut Rng,
    pub(super) report: &'a mut Report,
}

impl<S: Scenario> Images<'_, S> {
    /// Looks at images of `point`, which `level` has been advanced to.
    pub(super) fn look_at_all(
        &mut self,
        level: usize,
        point: &CrashPoint,
        limits: Limits,
        expected: &Expected<'_, S::Model>,
    ) -> Result<(), Wrong> {
        let mut images = point.images(limits);
        while let Some(cut) = images.next(self.rng) {
            self.look_at(level, point, cut, expected)?;
        }
        Ok(())
    }

    /// Looks at one image.
    pub(super) fn look_at(
        &mut self,
        level: usize,
        point: &CrashPoint,
        cut: &Cut,
        expected: &Expected<'_, S::Model>,
    ) -> Result<Option<Opened<S>>, Wrong> {
        if level == 0 {
            self.report.images += 1;
        } else {
            self.report.nested += 1;
        }
        let sim = self.replicas.enter(level, point, cut);
        let found = self.open(level, sim, expected);
        self.replicas.leave(level);
        found.map_err(|mut wrong| {
            wrong.place.insert(0, format!("image at level {level}:\n{}", point.describe(cut)));
            wrong
        })
    }

    fn open(
        &mut self,
        level: usize,
        sim: Arc<Sim>,
        expected: &Expected<'_, S::Model>,
    ) -> Result<Option<Opened<S>>, Wrong> {
        let scenario = self.scenario;
        // Crashes of recovery are looked at for some images only; there would be too many.
        let one_in = scenario.crash_recovery_one_in(level);
        let notes = (level + 1 < self.replicas.depth() && self.rng.u32(..one_in) == 0)
            .then(|| Arc::new(RecoveryNotes::default()));
        if let Some(notes) = &notes {
            sim.watch(Watch::Fences, Arc::clone(notes) as Arc<dyn Hook>);
        }

        sim.set_loads_max(scenario.recovery_loads_max());
        let instance = match caught("open", || Ok(scenario.open(&sim)))? {
            Ok(instance) => instance,
            Err(Refused::NotFormatted) if matches!(expected, Expected::UnfinishedFormat(_)) => {
                return Ok(None);
            }
            Err(refused) => return Err(Wrong::from(format!("open refused: {refused}"))),
        };
        sim.set_loads_max(LOADS_MAX);
        let mut state = caught("read", || scenario.read(&instance))?;
        caught("check", || scenario.check(&instance, &state))?;
        let explanations = match expected {
            Expected::UnfinishedFormat(empty) | Expected::Exactly(empty) => {
                if state != **empty {
                    return Err(Wrong::from(format!("recovered {state:?}, but it was {empty:?}")));
                }
                None
            }
            Expected::History(admissible) => {
                admissible.allows(&state).map_err(|why| why.to_string())?;
                // Repeating is asked of all images where calls are pending, since it is what clients will do.
                let pending = admissible.calls().iter().any(|call| call.response.is_none());
                if pending { admissible.explanations(&state) } else { None }
            }
        };
        if let Some(notes) = notes {
            sim.unwatch();
            let mut points = notes.take();
            points.push(sim.crash_point());
            self.crash_recovery(level + 1, &points, expected, &state)?;
        }
        if let (Some(explanations), Expected::History(admissible)) = (explanations, expected)
            && self.rng.u32(..4) != 0
        {
            state = self.repeat(&instance, admissible.calls(), explanations)?;
        }
        self.report.seen.join(&sim.seen());
        Ok(Some(Opened { sim, instance, state }))
    }

    /// Looks at images of a recovery's own crashes. The last point is right after it: there the state has been shown.
    fn crash_recovery(
        &mut self,
        level: usize,
        points: &[CrashPoint],
        expected: &Expected<'_, S::Model>,
        shown: &State<S>,
    ) -> Result<(), Wrong> {
        let limits = Limits { exhaustive_max: 12, samples: 8 };
        for (at, point) in points.iter().enumerate() {
            self.replicas.advance(level, point);
            let after = Expected::Exactly(shown);
            let expected = if at + 1 == points.len() { &after } else { expected };
            self.look_at_all(level, point, limits, expected).map_err(|mut wrong| {
                wrong.place.insert(0, format!("crash {at} of {} of that image's recovery:", points.len()));
                wrong
            })?;
        }
        Ok(())
    }

    /// Repeats pending calls, if the structure promises to execute them once. Gives the state after them.
    fn repeat(
        &mut self,
        instance: &S::Instance,
        calls: &[Call<S::Model>],
        mut explanations: Explanations<'_, S::Model>,
    ) -> Result<State<S>, Wrong> {
        for at in explanations.pending() {
            let told: Option<Answer<S>> = caught("repeat", || self.scenario.repeat(instance, &calls[at]))?;
            let Some(told) = told else { continue };
            self.report.repeated += 1;
            explanations.repeated(at, &told).map_err(|why| why.to_string())?;
        }
        let state = caught("read", || self.scenario.read(instance))?;
        explanations.allows(&state).map_err(|why| format!("after repeated calls: {why}"))?;
        caught("check", || self.scenario.check(instance, &state))?;
        Ok(state)
    }
}

/// Runs a part of a scenario; what it says or throws is a finding.
fn caught<R>(what: &str, f: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    match quiet::catch(AssertUnwindSafe(f)) {
        Ok(result) => result.map_err(|why| format!("{what}: {why}")),
        Err(panic) => Err(format!("{what}: {}", panic.message)),
    }
}
