//! The explorer finds each kind of wrong that it promises to find, says so, and finds it again by its seed.

use super::*;
use crate::{
    history::{Call, Model},
    scenarios::{ToyRedo, ToyStack},
};
use abide_pmem::{Mem, Site, sim::Sim};
use fastrand::Rng;
use std::sync::Arc;

/// What is wrong with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    AnswersBeforeFence,
    AnswersAfterOrder,
    RepeatsTwice,
    RepeatTellsNonsense,
    CacheIsRightButMemoryWrong,
    RecoveryCountsRuns,
    OpenPanics,
    OpenLoops,
    OpenRefuses,
    OpenLoadsMore,
    ReadFails,
    CheckFails,
    FormatInWrongOrder,
    FormatNotDurable,
    FormatFails,
    CallPanics,
    CallWaitsForever,
    CallFails,
}
use Flaw::*;

const WORD: u64 = 0;
const RUN: u64 = 64;
const MAGIC: u64 = 128;
const FORMATTED: u64 = 0x0BAD_CAFE;
/// The value of a new register.
const NEW: u64 = 7;

/// A register of one word: value, and the number of the last call, so that it changes at once.
struct Register(Flaw);

struct Number;

impl Model for Number {
    type State = u64;
    type Op = u64;
    type Result = u64;

    fn apply(state: &mut u64, op: &u64) -> u64 {
        *state += op;
        *state
    }
}

struct Opened {
    sim: Arc<Sim>,
    cached: Option<u64>,
}

impl Register {
    fn add(&self, sim: &Sim, call: &Call<Number>, respond: impl FnOnce(u64)) {
        let word = sim.load(WORD);
        let (value, sequence) = (word >> 32, word & 0xFFFF_FFFF);
        if sequence == call.sequence && self.0 != RepeatsTwice {
            respond(value);
            return;
        }
        let value = value + call.op;
        sim.store(WORD, value << 32 | call.sequence);
        if self.0 == AnswersBeforeFence {
            respond(value);
            sim.flush(Site::RecordFlush, WORD, 8);
            sim.fence(Site::CommitFence);
        } else {
            sim.flush(Site::RecordFlush, WORD, 8);
            match self.0 {
                AnswersAfterOrder => sim.order(Site::CommitFence),
                _ => sim.fence(Site::CommitFence),
            }
            respond(value);
        }
    }
}

impl Scenario for Register {
    type Model = Number;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "register"
    }

    fn region_bytes(&self) -> u64 {
        256
    }

    fn format(&self, sim: &Arc<Sim>) -> Result<(), String> {
        if self.0 == FormatFails {
            return Err("no space".into());
        }
        let mut steps = [(WORD, NEW << 32), (MAGIC, FORMATTED)];
        if self.0 == FormatInWrongOrder {
            steps.reverse();
        }
        for (offset, word) in steps {
            sim.store(offset, word);
            sim.flush(Site::FormatFlush, offset, 8);
            if self.0 != FormatNotDurable || offset == WORD {
                sim.fence(Site::FormatFence);
            }
        }
        Ok(())
    }

    fn empty(&self) -> u64 {
        NEW
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        if sim.load(MAGIC) != FORMATTED {
            return Err(Refused::NotFormatted);
        }
        let (word, run) = (sim.load(WORD), sim.load(RUN));
        match self.0 {
            OpenPanics => assert!(run < 2, "the third run"),
            OpenLoops => while run > 2 && sim.load(RUN) > 2 {},
            OpenRefuses if run > 2 => return Err(Refused::Other("tired".into())),
            OpenLoadsMore => assert!((0..word >> 32).all(|_| sim.load(WORD) == word)),
            RecoveryCountsRuns if run > 1 => sim.store(WORD, word + (1 << 32)),
            _ => {}
        }
        sim.store(RUN, run + 1);
        sim.flush(Site::WatermarkFlush, RUN, 8);
        sim.fence(Site::WatermarkFence);
        if self.0 == CacheIsRightButMemoryWrong && run == 1 {
            // After all fences: only a crash after recovery finds it.
            sim.store(WORD, word + (1 << 32));
        }
        let cached = (self.0 == CacheIsRightButMemoryWrong).then_some(word >> 32);
        Ok(Opened { sim: Arc::clone(sim), cached })
    }

    fn recovery_loads_max(&self) -> u64 {
        if self.0 == OpenLoops { 1_000 } else { 20 }
    }

    fn plan(&self, rng: &mut Rng, _: usize) -> Vec<Vec<(u32, u64)>> {
        (0..rng.u32(1..8)).map(|_| vec![(3, rng.u64(1..9))]).collect()
    }

    fn perform(
        &self,
        instance: &Opened,
        calls: &[Call<Number>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        match self.0 {
            CallPanics => assert!(instance.sim.load(RUN) < 3, "no more"),
            CallWaitsForever => {
                while instance.sim.load(RUN) > 2 {
                    instance.sim.fence(Site::CommitFence);
                }
            }
            CallFails if instance.sim.load(RUN) > 2 => return Err("refused".into()),
            _ => {}
        }
        self.add(&instance.sim, &calls[0], |value| respond(0, value));
        Ok(())
    }

    fn repeat(&self, instance: &Opened, call: &Call<Number>) -> Result<Option<u64>, String> {
        if self.0 == CacheIsRightButMemoryWrong {
            return Ok(None);
        }
        let mut told = None;
        self.add(&instance.sim, call, |value| told = Some(value));
        Ok(if self.0 == RepeatTellsNonsense { Some(1) } else { told })
    }

    fn read(&self, instance: &Opened) -> Result<u64, String> {
        if self.0 == ReadFails {
            return Err("cannot read".into());
        }
        Ok(instance.cached.unwrap_or_else(|| instance.sim.load(WORD) >> 32))
    }

    fn check(&self, _: &Opened, state: &u64) -> Result<(), String> {
        if self.0 == CheckFails && *state > 40 { Err("a leak".into()) } else { Ok(()) }
    }
}

const BUDGET: u64 = if cfg!(miri) { 100 } else { 20_000 };

#[test]
fn a_register_without_a_flaw_has_no_violation_and_all_was_looked_at() {
    let report = explore(&Register(Nothing), &SimConfig::default(), &Budget::images(BUDGET));
    assert!(report.violations.is_empty(), "{}", report.violations[0]);
    assert!(report.images + report.nested >= BUDGET);
    assert!(report.nested > 0 && report.repeated > 0 && report.moments > 0);
    assert!(report.crashes >= 3 * report.runs);
}

#[test]
fn each_flaw_is_found_named_and_found_again_by_its_seed() {
    let flaws = [
        (AnswersBeforeFence, "but the calls allow only"),
        (RepeatsTwice, "the repeated call"),
        (RepeatTellsNonsense, "the repeated call"),
        (CacheIsRightButMemoryWrong, ""),
        (RecoveryCountsRuns, "recovered"),
        (OpenPanics, "the third run"),
        (OpenLoops, "more than"),
        (OpenRefuses, "open refused: tired"),
        (OpenLoadsMore, "more than"),
        (ReadFails, "read: cannot read"),
        (CheckFails, "check: a leak"),
        (FormatInWrongOrder, "but it was 7"),
        (FormatNotDurable, "not formatted"),
        (FormatFails, "format: no space"),
        (CallPanics, "no more"),
        (CallWaitsForever, "does not end"),
        (CallFails, "a call failed: refused"),
    ];
    for (flaw, says) in flaws {
        let config = SimConfig::default();
        let report = explore(&Register(flaw), &config, &Budget::images(10 * BUDGET));
        let found = report.violations.first().unwrap_or_else(|| panic!("{flaw:?} was not found"));
        assert!(found.why.contains(says), "{flaw:?}: {found}");
        let again = explore(&Register(flaw), &config, &Budget::one_run(found.seed));
        assert_eq!(again.violations.as_slice(), std::slice::from_ref(found), "{flaw:?}");
    }
}

#[test]
fn what_somebody_saw_after_recovery_must_survive_the_next_crash() {
    let mut budget = Budget::images(10 * BUDGET);
    budget.violations_max = 20;
    let report = explore(&Register(CacheIsRightButMemoryWrong), &SimConfig::default(), &budget);
    // Not those of formatting, where everybody knows what an empty structure shows.
    let shown = |violation: &Violation| {
        violation.why.contains("but it was")
            && !violation.place.iter().any(|place| place.contains("formatting"))
    };
    assert!(report.violations.iter().any(shown), "{:?}", report.violations);
}

#[test]
fn a_violation_says_how_to_have_it_again() {
    let config = SimConfig { mutants: vec!["fence:CommitFence".parse().unwrap()], ..SimConfig::default() };
    let report = explore(&Register(Nothing), &config, &Budget::images(BUDGET));
    let text = report.violations[0].to_string();
    let seed = report.violations[0].seed;
    let command = format!("replay --scenario register --seed {seed} --mutant fence:CommitFence");
    assert!(text.contains(&command), "{text}");
    assert!(text.contains("line 0x0: 0 of") && text.contains("client 3 #1"), "{text}");
}

#[test]
fn an_ordering_in_place_of_a_fence_is_caught_where_orderings_only_order() {
    let mut budget = Budget::images(BUDGET);
    budget.violations_max = 20;
    let report = explore(&Register(AnswersAfterOrder), &SimConfig::default(), &budget);
    assert!(!report.violations.is_empty());
    for violation in &report.violations {
        assert!(orders_only(violation.seed), "{violation}");
        let again =
            explore(&Register(AnswersAfterOrder), &SimConfig::default(), &Budget::one_run(violation.seed));
        assert_eq!(again.violations[0].why, violation.why);
    }
    // The runs in which an ordering is a fence go on without it.
    assert!(report.runs > 2 * report.violations.len() as u64, "{report}");
}

#[test]
fn toys_have_no_violation() {
    for toy in crate::scenarios::toys() {
        let report = toy.explore(&SimConfig::default(), &Budget::images(BUDGET));
        println!("{report}");
        assert!(report.violations.is_empty(), "{}", report.violations[0]);
    }
}

#[test]
fn runs_follow_from_their_seed_also_with_threads() {
    let explored = |seed| {
        let report = explore(&ToyStack, &SimConfig::default(), &Budget::one_run(seed));
        (report.images, report.nested, report.moments, report.crashes)
    };
    for seed in 0..if cfg!(miri) { 1 } else { 20 } {
        assert_eq!(explored(seed), explored(seed));
    }
}

#[test]
fn bytes_that_nobody_touches_change_nothing_that_is_found() {
    let explored = |bytes| {
        let report = explore(&ToyRedo { bytes }, &SimConfig::default(), &Budget::images(BUDGET / 10));
        (report.runs, report.images, report.nested, report.repeated)
    };
    assert_eq!(explored(1024), explored(if cfg!(miri) { 2048 } else { 4 << 20 }));
}
