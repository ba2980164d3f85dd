//! Files that are cut short or made longer, before they are opened and while they are mapped.

use crate::{
    child,
    flips::{Target, each_variant, is_full},
    places::Change,
    sample::{self, Image, VARIANTS, Variant, log_of},
};
use abide_pmem::{MediaError, Mem as _, Region, mapping::PAGE};
use std::fs::File;

/// Lengths at which something begins or ends, and some between.
fn lengths(target: &mut Target<'_>, bytes: u64) -> Vec<u64> {
    let mut lengths = vec![0, 1, 7, 8, 63, 64, bytes - 1, bytes - 64, bytes - PAGE, bytes];
    lengths.extend([0x1000, 0x1040, 0x1080, 0x2000, 0x3000].into_iter().flat_map(|at| [at - 1, at, at + 1]));
    lengths.extend(target.places.starts().into_iter().flat_map(|at| [at, at + 8]));
    let more = if is_full() { 2_000 } else { 30 };
    lengths.extend((0..more).map(|_| target.rng.u64(..bytes)));
    lengths.retain(|&at| at <= bytes);
    lengths
}

#[test]
fn a_file_of_another_length_gives_the_data_or_an_error() {
    let name = "truncation::a_file_of_another_length_gives_the_data_or_an_error";
    each_variant(name, &VARIANTS, |target| {
        let bytes = target.image.region.len() as u64;
        for len in lengths(target, bytes).into_iter().chain([bytes + 1, bytes + PAGE, 4 * bytes]) {
            target.case(&format!("length {len:#x}"), |image, _| image.region.resize(len as usize, 0));
        }
        let Some(log_bytes) = target.image.log.as_ref().map(Vec::len) else { return };
        let some: Vec<usize> = (0..40).map(|_| target.rng.usize(..log_bytes)).collect();
        for len in [0, 1, 127, 128, 0x1000, 0x1080, 0x2000, 0x2020, log_bytes - 1].into_iter().chain(some) {
            target.case(&format!("log of length {len:#x}"), |image, _| {
                image.log.as_mut().expect("a log").truncate(len);
            });
        }
        target.case("no log", |image, _| image.log = None);
    });
}

#[test]
fn a_file_that_is_cut_short_while_it_is_mapped_gives_the_data_or_an_error() {
    let name = "truncation::a_file_that_is_cut_short_while_it_is_mapped_gives_the_data_or_an_error";
    let variants = [Variant::Closed, Variant::Dropped, Variant::LogClosed, Variant::LogDropped];
    each_variant(name, &variants, |target| {
        let bytes = target.image.region.len() as u64;
        for len in lengths(target, bytes) {
            for is_read_only in [false, true] {
                cut_while_mapped(target, len, is_read_only);
            }
        }
    });
}

/// Cuts the file while it is open. The rest of the last page reads as zeros then, without any signal: there, what zeros
/// mean may be read.
fn cut_while_mapped(target: &mut Target<'_>, len: u64, is_read_only: bool) {
    let Target { voice, variant, image, path, expected, places, .. } = target;
    image.store(path);
    let page_end = len.next_multiple_of(PAGE).min(image.region.len() as u64);
    let zeros: Vec<Change> = (len / 8 * 8..page_end).step_by(8).map(|at| Change { at, after: 0 }).collect();
    voice.case(&format!("{variant:?}, cut to {len:#x}, for reading {is_read_only}"), |voice| {
        let judge = |found: &sample::Contents, is_written| {
            for item in sample::wrong(expected, found, is_written) {
                if places.excuse(&zeros, &item, is_written).is_none() {
                    voice.wrong(&format!("written {is_written}: {item} is {:?}", found.get(&item)));
                }
            }
        };
        let cut = || {
            File::options().write(true).open(&path).and_then(|file| file.set_len(len)).expect("it can be cut")
        };
        if is_read_only {
            let region = Region::open_read_only(&path, &variant.options()).expect("a region without damage");
            cut();
            judge(&sample::read(region.heap()), false);
            return;
        }
        let region = Region::open(&path, &variant.options()).expect("a region without damage");
        cut();
        judge(&sample::read(region.heap()), false);
        let written = sample::write(region.heap());
        let lost = region.heap().mem().health() == Err(MediaError::RegionLost);
        if lost && written.is_ok() {
            voice.wrong("a write was acknowledged after the region was lost");
        }
        judge(&sample::read(region.heap()), true);
        let grown = region.grow(2 * sample::BYTES);
        if lost && grown.is_ok() {
            voice.wrong("it grew after the region was lost");
        }
        if lost && region.close().is_ok() {
            voice.wrong("it was closed in order after the region was lost");
        }
    });
}

/// The log may be cut under a region that uses it, too.
#[test]
fn a_log_that_is_cut_short_or_gone_while_it_is_used_loses_nothing_that_was_acknowledged_in_silence() {
    let name = "truncation::a_log_that_is_cut_short_or_gone_while_it_is_used_loses_nothing_that_was_acknowledged_in_silence";
    child::expect_right(child::run(name, |voice| {
        let folder = crate::quick_folder();
        let image: Image = Variant::LogClosed.make(folder.path());
        let path = folder.path().join("region");
        for len in [0, 64, 0x1000, 0x2000, 0x2100, 0x3000].map(Some).into_iter().chain([None]) {
            image.store(&path);
            voice.case(&format!("log cut to {len:x?}, gone for none"), |voice| {
                let options = Variant::LogClosed.options();
                let region = Region::open(&path, &options).expect("a region without damage");
                let before = sample::read(region.heap());
                let log = log_of(&path);
                match len {
                    Some(len) => File::options().write(true).open(log).and_then(|file| file.set_len(len)),
                    None => std::fs::remove_file(log),
                }
                .expect("it can be damaged");
                let written = sample::write(region.heap());
                // What was acknowledged counts as well as what was there.
                let acknowledged = written.is_ok().then(|| sample::read(region.heap()));
                let closed = region.close();
                // What is opened then has all, or nothing is.
                if let Ok(region) = Region::open(&path, &options) {
                    let found = sample::read(region.heap());
                    let wrong = match &acknowledged {
                        Some(acknowledged) => sample::wrong(acknowledged, &found, false),
                        None => sample::wrong(&before, &found, true),
                    };
                    if !wrong.is_empty() || closed.is_err() {
                        voice.wrong(&format!("{wrong:?}, written {written:?}, closed {closed:?}"));
                    }
                }
            });
        }
    }));
}
