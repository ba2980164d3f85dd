//! Every system call of a region's life fails once. What was acknowledged is there, or is there when it is opened again.

use crate::{
    child::{self, Voice},
    sample::{self, log_of, options},
};
use abide_pmem::{
    Persistence, Region, RegionOptions,
    mapping::{Call, Fault, Faults, io::Io},
    types::{Kind, List, Register, TypeError},
};
use std::{ops::RangeInclusive, path::Path, sync::Arc};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What was acknowledged.
#[derive(Debug, Default)]
struct Told {
    created: bool,
    /// How often the counter was raised: at least, and at most.
    count: Option<RangeInclusive<u64>>,
    errors: Vec<String>,
}

impl Told {
    fn keep<T>(&mut self, what: &str, result: Result<T, impl std::fmt::Display>) -> Option<T> {
        result.map_err(|error| self.errors.push(format!("{what}: {error}"))).ok()
    }

    fn raise(&mut self, region: &Region, times: u64, bytes: usize) {
        for _ in 0..times {
            let (least, most) = self.count.clone().map_or((0, 0), RangeInclusive::into_inner);
            let done = raise(region, bytes);
            self.count = Some(least + u64::from(done.is_ok())..=most + 1);
            self.keep("a change", done);
        }
    }
}

/// Raises the counter and adds an element, together.
fn raise(region: &Region, bytes: usize) -> Result<(), TypeError> {
    let heap = region.heap();
    let create = |kind: Kind, name: &str| {
        heap.index().create(kind as u16, name.as_bytes(), 0).map_err(|error| match error {
            abide_pmem::IndexError::Heap(error) => TypeError::Heap(error),
            error => panic!("{error}"),
        })
    };
    let (counter, queue) = (create(Kind::Register, "count")?, create(Kind::List, "elements")?);
    heap.atomically(0, |tx| {
        Register::<u64>::at(counter.root).fetch_add(tx, 1)?;
        List::at(queue.root).push_back(tx, &sample::pattern(bytes))
    })
}

/// The whole life of a region. Goes on after every error that leaves something to go on with.
fn live(path: &Path, options: &RegionOptions) -> Told {
    let mut told = Told::default();
    let Some(region) = told.keep("create", Region::create(path, sample::BYTES, options)) else { return told };
    told.created = true;
    told.raise(&region, 20, 30);
    told.keep("grow", region.grow(2 * sample::BYTES));
    told.raise(&region, 20, 100);
    told.keep("close", region.close());
    for is_closed in [false, true] {
        let Some(region) = told.keep("open", Region::open(path, options)) else { continue };
        // A log that is nearly full, so that a checkpoint comes.
        told.raise(&region, 60, 100);
        if is_closed {
            told.keep("close", region.close());
        }
    }
    told
}

fn check(voice: &Voice, path: &Path, options: &RegionOptions, told: &Told) {
    if !told.created {
        if path.exists() || log_of(path).exists() {
            voice.wrong(&format!("it was not created, and is there: {told:?}"));
        }
        if let Err(error) = Region::create(path, sample::BYTES, options) {
            voice.wrong(&format!("it cannot be created again: {error:?}"));
        }
        return;
    }
    let region = match Region::open(path, options) {
        Ok(region) => region,
        Err(error) => return voice.wrong(&format!("it does not open again: {error:?}, {told:?}")),
    };
    let heap = region.heap();
    let root = |kind: Kind, name: &str| {
        heap.index().get(kind as u16, name.as_bytes()).expect("an index").map(|entry| entry.root)
    };
    let view = heap.reader(0);
    let count = root(Kind::Register, "count").map_or(Ok(0), |root| Register::<u64>::at(root).get(&view));
    let elements = root(Kind::List, "elements").map_or(Ok(0), |root| List::at(root).len(&view));
    let expected = told.count.clone().unwrap_or(0..=0);
    match (count, elements) {
        (Ok(count), Ok(elements)) if expected.contains(&count) && elements == count => {}
        found => voice.wrong(&format!("{found:?}, and not {expected:?}: {told:?}")),
    }
    drop(view);
    if let Err(error) = raise(&region, 50) {
        voice.wrong(&format!("it takes nothing any more: {error:?}"));
    }
    if let Err(error) = region.close() {
        voice.wrong(&format!("it cannot be closed: {error:?}"));
    }
}

#[test]
fn whichever_call_fails_the_error_is_told_and_nothing_acknowledged_is_lost() {
    let name = "failpoints::whichever_call_fails_the_error_is_told_and_nothing_acknowledged_is_lost";
    child::expect_right(child::run(name, |voice| {
        for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
            for errno in [EIO, ENOSPC] {
                let calls = each_call(voice, persistence, errno);
                voice.note(&format!("{persistence:?}, errno {errno}: {calls} calls"));
            }
        }
    }));
}

fn each_call(voice: &mut Voice, persistence: Persistence, errno: i32) -> u64 {
    let clean = options(persistence);
    for nth in 0.. {
        let folder = crate::quick_folder();
        let path = folder.path().join("region");
        let mut calls = 0;
        voice.case(&format!("{persistence:?}, errno {errno}, call {nth}"), |voice| {
            let faults = Arc::new(Faults::new());
            faults.fail_any(nth, Fault::Errno(errno));
            let told =
                live(&path, &RegionOptions { io: Io::with_faults(Arc::clone(&faults)), ..clean.clone() });
            let made = faults.made();
            calls = made.len() as u64;
            let failed = made.get(nth as usize);
            // A lock that cannot be given back is given back by the kernel; a name that is left over is whole.
            let may_be_silent = matches!(failed, None | Some(Call::Lock | Call::Unlink | Call::Reserve));
            if told.errors.is_empty() && !may_be_silent {
                voice.wrong(&format!("{failed:?} failed, and nobody was told"));
            }
            check(voice, &path, &clean, &told);
        });
        if nth >= calls {
            return nth;
        }
    }
    unreachable!("a region's life ends")
}

/// From some write or sync on, each fails.
#[test]
fn a_disk_that_has_failed_for_good_loses_nothing_that_was_acknowledged() {
    let name = "failpoints::a_disk_that_has_failed_for_good_loses_nothing_that_was_acknowledged";
    child::expect_right(child::run(name, |voice| {
        for call in [Call::Write, Call::SyncData, Call::Sync, Call::SyncMap, Call::Allocate, Call::Map] {
            for nth in (0..200).step_by(7) {
                let folder = crate::quick_folder();
                let path = folder.path().join("region");
                for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
                    voice.case(&format!("{persistence:?}, {call:?} from {nth} on"), |voice| {
                        let faults = Arc::new(Faults::new());
                        faults.fail(call, nth, u64::MAX, Fault::Errno(EIO));
                        let clean = options(persistence);
                        let told =
                            live(&path, &RegionOptions { io: Io::with_faults(faults), ..clean.clone() });
                        check(voice, &path, &clean, &told);
                    });
                    let _ = std::fs::remove_file(&path);
                    let _ = std::fs::remove_file(log_of(&path));
                }
            }
        }
    }));
}
