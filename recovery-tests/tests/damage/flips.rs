//! Bits that are flipped, and worse, in every structure of a region.

use crate::{
    child::{self, Voice},
    places::{Change, Places, changes},
    sample::{self, Contents, Image, VARIANTS, Variant},
};
use abide_pmem::{Persistence, Region, RegionOptions, check::check_file};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// Whether every bit is flipped, and not one of each byte: the size for a night.
pub(crate) fn is_full() -> bool {
    std::env::var_os("ABIDE_DAMAGE_FULL").is_some()
}

fn rng(voice: &Voice) -> fastrand::Rng {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    // A link's check has 14 bits: of many thousand random changes one passes it. So what is random is for long runs.
    let seed = seed.unwrap_or_else(|| if is_full() { fastrand::u64(..1 << 32) } else { 1 });
    voice.note(&format!("seed {seed}"));
    fastrand::Rng::with_seed(seed)
}

/// What became of the cases.
#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    refused: u64,
    errors: u64,
    right: u64,
    excused: BTreeMap<&'static str, u64>,
}

struct Bench<'a> {
    voice: &'a Voice,
    path: &'a Path,
    options: RegionOptions,
    expected: &'a Contents,
    places: &'a Places,
    tally: &'a mut Tally,
    damaged: Image,
    changes: Vec<Change>,
}

impl Bench<'_> {
    /// Opens what is there, reads everything, writes, reads again, and now and then opens it once more.
    fn look(&mut self, again: bool) {
        self.tally.cases += 1;
        if again && let Ok(region) = Region::open_read_only(self.path, &self.options) {
            self.judge(&sample::read(region.heap()), false);
        }
        let Ok(region) = Region::open(self.path, &self.options) else {
            self.tally.refused += 1;
            return;
        };
        let found = sample::read(region.heap());
        let is_whole = found.values().all(Result::is_ok);
        let written = sample::write(region.heap());
        let found_then = sample::read(region.heap());
        *(if is_whole && written.is_ok() { &mut self.tally.right } else { &mut self.tally.errors }) += 1;
        if again {
            let _ = region.close();
            if let Ok(region) = Region::open(self.path, &self.options) {
                self.judge(&sample::read(region.heap()), true);
            }
        } else {
            drop(region);
        }
        self.judge(&found, false);
        self.judge(&found_then, true);
    }

    fn judge(&mut self, found: &Contents, is_written: bool) {
        for item in sample::wrong(self.expected, found, is_written) {
            let excuse = self.places.excuse(&self.changes, &item, is_written);
            let Some((why, must_be_found)) = excuse else {
                let when = if is_written { "after a write " } else { "" };
                let at: BTreeSet<_> =
                    self.changes.iter().map(|change| self.places.describe(change.at)).collect();
                self.voice.wrong(&format!("{when}{item} is {:?} at {at:?}", found.get(&item)));
                continue;
            };
            *self.tally.excused.entry(why).or_default() += 1;
            if must_be_found && !self.is_found() {
                let at: BTreeSet<_> =
                    self.changes.iter().map(|change| self.places.describe(change.at)).collect();
                self.voice.wrong(&format!(
                    "{item} is wrong after a write, and no check finds why: {why} at {at:?}"
                ));
            }
        }
    }

    /// Whether a check of the damaged files, as they were, finds anything.
    fn is_found(&self) -> bool {
        self.damaged.store(self.path);
        check_file(self.path, &self.options, &[]).map_or(true, |report| !report.is_clean())
    }
}

fn expected(image: &Image, path: &Path, variant: Variant) -> (Contents, Places) {
    image.store(path);
    let region = Region::open(path, &variant.options()).expect("a region without damage");
    let contents = sample::read(region.heap());
    assert!(contents.values().all(Result::is_ok), "{contents:?}");
    let places = Places::new(region.heap(), image, variant);
    (contents, places)
}

/// A sample that is damaged in one way after the other.
pub(crate) struct Target<'v> {
    pub(crate) voice: &'v mut Voice,
    pub(crate) variant: Variant,
    _folder: tempfile::TempDir,
    pub(crate) image: Image,
    pub(crate) path: PathBuf,
    pub(crate) expected: Contents,
    pub(crate) places: Places,
    pub(crate) rng: fastrand::Rng,
    tally: Tally,
}

impl<'v> Target<'v> {
    fn new(voice: &'v mut Voice, variant: Variant) -> Self {
        let folder = crate::quick_folder();
        let image = variant.make(folder.path());
        let path = folder.path().join("region");
        let (expected, places) = expected(&image, &path, variant);
        let rng = rng(voice);
        Self { voice, variant, _folder: folder, image, path, expected, places, rng, tally: Tally::default() }
    }

    /// Damages the files, opens what is left, and judges what it gives.
    pub(crate) fn case(&mut self, what: &str, damage: impl FnOnce(&mut Image, &mut fastrand::Rng)) {
        let Self { voice, variant, image, path, expected, places, rng, tally, .. } = self;
        voice.case(&format!("{variant:?}, {what}"), |voice| {
            let mut damaged = image.clone();
            damage(&mut damaged, rng);
            damaged.store(path);
            let (mut options, changes) = (variant.options(), changes(image, &damaged));
            // What was used with a log can be opened without one.
            if rng.u8(..8) == 0 {
                options.persistence = Persistence::ProcessCrash;
            }
            let mut bench = Bench { voice, path, options, expected, places, tally, damaged, changes };
            bench.look(rng.u8(..8) == 0);
        });
    }

    /// Flips every bit of these bytes, or one of each.
    fn flip(&mut self, bytes: &[u64]) {
        for &at in bytes {
            let bit = self.rng.u8(..8);
            for bit in if is_full() { 0..8 } else { bit..bit + 1 } {
                self.case(&format!("{at:#x} bit {bit}"), |image, _| {
                    image.region[at as usize] ^= 1 << bit;
                });
            }
        }
    }

    fn finish(self) {
        self.voice.note(&format!("{:?}: {:?}", self.variant, self.tally));
    }
}

pub(crate) fn each_variant(name: &str, variants: &[Variant], work: impl Fn(&mut Target<'_>)) {
    child::expect_right(child::run(name, |voice| {
        for &variant in variants {
            let mut target = Target::new(voice, variant);
            work(&mut target);
            target.finish();
        }
    }));
}

#[test]
fn every_flipped_bit_of_metadata_gives_the_data_or_an_error() {
    let name = "flips::every_flipped_bit_of_metadata_gives_the_data_or_an_error";
    each_variant(name, &[Variant::Closed], |target| {
        let bytes = target.places.metadata(&target.image.region);
        target.flip(&bytes);
    });
}

#[test]
fn every_flipped_bit_of_metadata_that_needs_recovery_gives_the_data_or_an_error() {
    let name = "flips::every_flipped_bit_of_metadata_that_needs_recovery_gives_the_data_or_an_error";
    each_variant(name, &VARIANTS[1..], |target| {
        let image = &target.image.region;
        let mut bytes = if target.variant == Variant::Cut || is_full() {
            target.places.metadata(image)
        } else {
            target.places.tables(image)
        };
        if target.variant != Variant::Cut && !is_full() {
            // The others differ in little.
            bytes.retain(|_| target.rng.u8(..6) == 0);
        }
        target.flip(&bytes);
    });
}

#[test]
fn flipped_bits_of_values_give_the_data_or_an_error() {
    let name = "flips::flipped_bits_of_values_give_the_data_or_an_error";
    each_variant(name, &[Variant::Closed, Variant::Cut], |target| {
        let mut bytes = target.places.zones(&target.image.region);
        if !is_full() {
            target.rng.shuffle(&mut bytes);
            bytes.truncate(1500);
        }
        target.flip(&bytes);
    });
}

#[test]
fn a_flipped_bit_of_the_log_gives_the_data_or_an_error() {
    let name = "flips::a_flipped_bit_of_the_log_gives_the_data_or_an_error";
    each_variant(name, &[Variant::LogClosed, Variant::LogDropped], |target| {
        let log = target.image.log.clone().expect("a log");
        let lines = log.chunks(64).zip(0..).filter(|(line, _)| line.iter().any(|&byte| byte != 0));
        let mut bytes: Vec<u64> = lines.flat_map(|(_, line)| line * 64..line * 64 + 64).collect();
        if !is_full() {
            target.rng.shuffle(&mut bytes);
            bytes.truncate(1000);
        }
        for at in bytes {
            let bit = target.rng.u8(..8);
            target.case(&format!("log {at:#x} bit {bit}"), |image, _| {
                image.log.as_mut().expect("a log")[at as usize] ^= 1 << bit;
            });
        }
    });
}

#[test]
fn smears_and_holes_and_swaps_give_the_data_or_an_error() {
    let name = "flips::smears_and_holes_and_swaps_give_the_data_or_an_error";
    each_variant(name, &VARIANTS, |target| {
        let cases = if is_full() { 20_000 } else { 60 };
        for case in 0..cases {
            target.case(&format!("case {case}"), |image, rng| {
                let is_log = image.log.is_some() && rng.bool();
                match &mut image.log {
                    Some(log) if is_log => wound(log, rng),
                    _ => wound(&mut image.region, rng),
                }
            });
        }
    });
}

/// Damages a part of a file: zeros, noise, two parts swapped, or some bytes here and there.
fn wound(bytes: &mut [u8], rng: &mut fastrand::Rng) {
    let before = bytes.to_vec();
    let unit = [8, 64, 512, 4096][rng.usize(..4)];
    // Most of a file is empty.
    let start = |rng: &mut fastrand::Rng| {
        for _ in 0..100 {
            let at = rng.usize(..before.len() / unit) * unit;
            if before[at..at + unit].iter().any(|&byte| byte != 0) {
                return at;
            }
        }
        0
    };
    let at = start(rng);
    match rng.u8(..4) {
        0 => bytes[at..at + unit].fill(0),
        1 => bytes[at..at + unit].fill_with(|| rng.u8(..)),
        2 => {
            let other = start(rng);
            let (one, two) = (before[at..at + unit].to_vec(), before[other..other + unit].to_vec());
            bytes[at..at + unit].copy_from_slice(&two);
            bytes[other..other + unit].copy_from_slice(&one);
        }
        _ => {
            for _ in 0..rng.usize(2..9) {
                bytes[start(rng) + rng.usize(..unit)] = rng.u8(..);
            }
        }
    }
}
