//! One run: work, crash, recover, and on, at least three times.

use super::{
    image::{Expected, Images, Opened, Wrong},
    moments::{Choice, Moment, Notes},
    report::{Report, Violation},
    scenario::{Refused, Scenario, State},
};
use crate::{
    history::{self, Call},
    linearizability::Admissible,
    quiet,
    schedule::{self, Ended, Observer, Plan, Strategy},
};
use abide_pmem::sim::{Limits, Replicas, Seen, Sim, SimConfig, Watch};
use fastrand::Rng;
use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

/// Levels of images: of a run, of crashes of its recovery, of crashes of those images' recovery.
pub(super) const DEPTH: usize = 3;
/// Steps after which a part of a run counts as endless: fences where there is one thread, otherwise all steps.
const STEPS_MAX: [u64; 2] = [10_000, 200_000];
/// One run in so many has its formatting cut.
const FORMATS_ONE_IN: u64 = 16;

/// Formats a region. Gives its words, all durable.
pub(super) fn format<S: Scenario>(
    scenario: &S,
    config: &SimConfig,
    seen: &mut Seen,
) -> Result<Vec<u64>, String> {
    let sim = Arc::new(Sim::with_words(config, zeros(scenario)));
    let formatted = quiet::catch(AssertUnwindSafe(|| scenario.format(&sim)));
    formatted
        .map_err(|panic| panic.message)
        .and_then(|formatted| formatted)
        .map_err(|why| format!("format: {why}"))?;
    seen.join(&sim.seen());
    let point = sim.crash_point();
    let mut replicas = Replicas::new(config, &sim.durable_words(), 1);
    Ok(replicas.enter(0, &point, &point.everything_survives()).durable_words())
}

fn zeros<S: Scenario>(scenario: &S) -> Vec<u64> {
    vec![0; (scenario.region_bytes() / 8) as usize]
}

/// A run while it is made.
pub(super) struct Run<'a, S: Scenario> {
    scenario: &'a S,
    config: &'a SimConfig,
    seed: u64,
    rng: Rng,
    report: &'a mut Report,
    replicas: &'a mut Replicas,
    crashes: u32,
    /// By client: the number of its last call.
    sequences: HashMap<u32, u64>,
}

impl<'a, S: Scenario> Run<'a, S> {
    /// `replicas` are of [`DEPTH`] levels.
    pub(super) fn new(
        scenario: &'a S,
        config: &'a SimConfig,
        seed: u64,
        report: &'a mut Report,
        replicas: &'a mut Replicas,
    ) -> Self {
        let rng = Rng::with_seed(seed);
        Run { scenario, config, seed, rng, report, replicas, crashes: 0, sequences: HashMap::new() }
    }

    /// Makes the run, over a region that was formatted to `words`.
    pub(super) fn go(mut self, words: &[u64]) -> Result<(), Box<Violation>> {
        self.chain(words).map_err(|wrong| {
            let mut violation =
                Violation::of(Scenario::name(self.scenario), self.config, self.seed, wrong.why);
            violation.crashes = self.crashes;
            violation.place = wrong.place;
            if self.config.orders_only {
                violation.place.push("orderings make nothing durable in this run".into());
            }
            Box::new(violation)
        })
    }

    fn chain(&mut self, words: &[u64]) -> Result<(), Wrong> {
        if self.seed.is_multiple_of(FORMATS_ONE_IN) {
            self.cut_format()?;
        }
        let sim = Arc::new(Sim::with_words(self.config, words.to_vec()));
        let opened = quiet::catch(AssertUnwindSafe(|| self.scenario.open(&sim)));
        let instance = opened
            .map_err(|panic| format!("open of a new region: {}", panic.message))?
            .map_err(|refused| format!("open of a new region refused: {refused}"))?;
        let mut opened = Opened { sim, instance, state: self.scenario.empty() };
        let crashes = self.scenario.crashes(&mut self.rng).max(1);
        for _ in 0..crashes {
            opened = self.part(opened)?;
            self.crashes += 1;
            self.report.crashes += 1;
        }
        Ok(())
    }

    /// Cuts the power before each fence of formatting, and after it.
    fn cut_format(&mut self) -> Result<(), Wrong> {
        let sim = Arc::new(Sim::with_words(self.config, zeros(self.scenario)));
        let choice = Choice { fences_one_in: 1, others_one_in: 1, cut_at: u64::MAX };
        let notes = Arc::new(Notes::<S::Model>::new(choice, self.rng.fork()));
        let plan = self.plan(1);
        let failed = Mutex::new(None);
        let observer = Arc::clone(&notes) as Arc<dyn Observer>;
        let ended = schedule::run(&sim, plan, observer, &|_| {
            *failed.lock().expect("no panics here") = self.scenario.format(&sim).err();
        });
        if let (Ended::Finished, None) = (&ended, failed.into_inner().expect("no panics here")) {
            notes.note(&sim);
        } else {
            return Err(Wrong::from(format!("format: {ended:?}")));
        }
        let moments = notes.take_moments();
        self.replicas.restart(&zeros(self.scenario));
        let empty = self.scenario.empty();
        let mut images = Images {
            scenario: self.scenario,
            replicas: self.replicas,
            rng: &mut self.rng,
            report: self.report,
        };
        for (at, moment) in moments.iter().enumerate() {
            images.replicas.advance(0, &moment.point);
            images.report.moments += 1;
            let last = at + 1 == moments.len();
            let expected = if last { Expected::Exactly(&empty) } else { Expected::UnfinishedFormat(&empty) };
            images.look_at_all(0, &moment.point, Limits::default(), &expected).map_err(|mut wrong| {
                wrong.place.insert(0, format!("crash {at} of {} of formatting:", moments.len()));
                wrong
            })?;
        }
        Ok(())
    }

    fn plan(&mut self, threads: usize) -> Plan {
        Plan {
            threads,
            seed: self.rng.u64(..),
            strategy: Strategy::any(&mut self.rng),
            steps_max: STEPS_MAX[usize::from(threads > 1)],
            watch: Watch::Fences,
        }
    }

    /// Which moments to look at. Long parts and short ones, cut early and late or not at all.
    fn choice(&mut self, threads: usize) -> Choice {
        let (doublings, others_one_in) =
            if threads == 1 { (1..7, 1) } else { (5..12, 4 << self.rng.u32(..4)) };
        let within = 1 << self.rng.u32(doublings);
        let cut_at = if self.rng.u32(..4) == 0 { u64::MAX } else { self.rng.u64(..within) };
        Choice { fences_one_in: (others_one_in / 4).max(1), others_one_in, cut_at }
    }

    /// Works until the power is cut, looks at the images, and recovers from one of them.
    fn part(&mut self, opened: Opened<S>) -> Result<Opened<S>, Wrong> {
        let Opened { sim, instance, state } = opened;
        let threads = self.scenario.threads(&mut self.rng);
        let calls: Vec<_> = (0..threads).map(|thread| self.number_calls(thread)).collect();
        let choice = self.choice(threads);
        let notes = Arc::new(Notes::<S::Model>::new(choice, self.rng.fork()));
        let plan = self.plan(threads);

        // The moments begin with what is durable now. What recovery left pending is pending in them too.
        let words = sim.durable_words();
        let failed = Mutex::new(None);
        let observer = Arc::clone(&notes) as Arc<dyn Observer>;
        let scenario = self.scenario;
        let ended = schedule::run(&sim, plan, observer, &|thread| {
            for group in &calls[thread] {
                if let Err(why) = perform(scenario, &instance, group, &notes) {
                    *failed.lock().expect("no panics here") = Some(why);
                    return;
                }
            }
        });
        self.report.seen.join(&sim.seen());
        let history = |wrong: String| Wrong {
            why: wrong,
            place: vec![format!("{plan:?}"), notes.history(|history| history::describe(history.calls()))],
        };
        if let Some(why) = failed.into_inner().expect("no panics here") {
            return Err(history(format!("a call failed: {why}")));
        }
        match ended {
            Ended::Finished => notes.note(&sim),
            Ended::Crashed => {}
            Ended::Endless => return Err(history("the run does not end".into())),
            Ended::Panicked(message) => return Err(history(message)),
        }
        drop((instance, sim));
        self.look_back(&state, &words, threads, &notes).map_err(|mut wrong| {
            wrong.place.push(format!("{plan:?}"));
            wrong
        })
    }

    fn number_calls(&mut self, thread: usize) -> Vec<Vec<Call<S::Model>>> {
        let groups = self.scenario.plan(&mut self.rng, thread);
        let number = |(client, op)| {
            let sequence = self.sequences.entry(client).or_default();
            *sequence += 1;
            Call { client, sequence: *sequence, op, invoked: 0, response: None }
        };
        let mut number = number;
        groups.into_iter().map(|group| group.into_iter().map(&mut number).collect()).collect()
    }

    /// Looks at images of all moments, and goes on from one of the last.
    fn look_back(
        &mut self,
        initial: &State<S>,
        words: &[u64],
        threads: usize,
        notes: &Notes<S::Model>,
    ) -> Result<Opened<S>, Wrong> {
        let moments = notes.take_moments();
        let limits = self.scenario.limits(threads);
        self.replicas.restart(words);
        let mut images = Images {
            scenario: self.scenario,
            replicas: self.replicas,
            rng: &mut self.rng,
            report: self.report,
        };
        let mut last = None;
        for (at, Moment { point, time }) in moments.iter().enumerate() {
            images.report.moments += 1;
            images.replicas.advance(0, point);
            let calls = notes.history(|history| history.at(*time));
            let describe = |mut wrong: Wrong| {
                let calls = notes.history(|history| history.at(*time));
                wrong.place.insert(0, format!("moment {at} of {}, time {time}:", moments.len()));
                wrong.place.push(format!("from {initial:?}\n{}", history::describe(&calls)));
                wrong
            };
            let admissible =
                Admissible::new(initial, calls).map_err(|why| describe(Wrong::from(why.to_string())))?;
            let expected = Expected::History(&admissible);
            images.look_at_all(0, point, limits, &expected).map_err(describe)?;
            if at + 1 == moments.len() {
                let cut = point.any(images.rng);
                last = images.look_at(0, point, &cut, &expected).map_err(describe)?;
            }
        }
        Ok(last.expect("a run ends with a moment, and what was formatted opens"))
    }
}

/// Makes the calls of a group and notes them.
fn perform<S: Scenario>(
    scenario: &S,
    instance: &S::Instance,
    group: &[Call<S::Model>],
    notes: &Notes<S::Model>,
) -> Result<(), String> {
    let places: Vec<usize> = notes.history(|history| {
        group.iter().map(|call| history.invoke(call.client, call.sequence, call.op.clone())).collect()
    });
    scenario.perform(instance, group, &mut |at, result| {
        notes.history(|history| history.respond(places[at], result))
    })
}

impl From<Refused> for Wrong {
    fn from(refused: Refused) -> Self {
        Wrong::from(refused.to_string())
    }
}
