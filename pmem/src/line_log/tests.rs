//! Each check runs the log on a [`SimDisk`] and says what is wrong; the tests at the end run them, and once more for
//! each rule of [`LogRule`] broken, where some check has to say something.

use super::pages::Pages;
use super::sim::{Faults, Image, SimDisk, SimFile};
use super::*;
use crate::MediaError;
use fastrand::Rng;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

type SimLog = LineLog<SimFile, SimFile>;
type Check = Result<u64, String>;

const KEY: LogKey = LogKey { region: [7; 16], log: [9; 16] };
const REGION_LINES: u64 = 40;

/// Room for about five frames in each half.
fn tiny() -> Options {
    Options::new(format::SEGMENTS_AT + 2 * 1000, 4).expect("it fits")
}

/// An image is right if it is what the lines up to some point make of the region, and none that was acknowledged is missing.
#[derive(Clone, Default)]
struct Oracle {
    /// Offset and value of each line, in order. A value is never used twice.
    lines: Vec<(u64, u64)>,
    acknowledged: usize,
    values: u64,
}

fn words(value: u64) -> [u64; 8] {
    std::array::from_fn(|word| value * 8 + word as u64)
}

impl Oracle {
    /// A line that is about to be appended.
    fn next(&mut self, offset: u64) -> [u64; 8] {
        self.values += 1;
        self.lines.push((offset, self.values));
        words(self.values)
    }

    /// How many lines are in the image, or what is wrong with it.
    fn prefix(&self, region: &[u8]) -> Result<usize, String> {
        if region.len() as u64 != REGION_LINES * LINE {
            return Err(format!("the region has {} bytes", region.len()));
        }
        let places: HashMap<u64, usize> =
            self.lines.iter().enumerate().map(|(at, line)| (line.1, at)).collect();
        let mut end = 0;
        for image in region.as_chunks::<64>().0 {
            let first = format::u64_at(image, 0);
            if first != 0 {
                let place = places.get(&(first / 8)).ok_or(format!("value {} of no line", first / 8))?;
                end = end.max(place + 1);
            }
        }
        let mut expected = vec![0; region.len()];
        for &(offset, value) in &self.lines[..end] {
            for (word, bytes) in words(value).iter().zip(expected[offset as usize..].as_chunks_mut::<8>().0) {
                *bytes = word.to_le_bytes();
            }
        }
        if expected != region {
            return Err(format!("not what {end} of {} lines make", self.lines.len()));
        }
        if end < self.acknowledged {
            return Err(format!("{end} lines, and {} were acknowledged", self.acknowledged));
        }
        Ok(end)
    }
}

fn new_image(broken: Option<LogRule>) -> Image {
    let disk = SimDisk::new(
        Image::new(Vec::new(), vec![0; (REGION_LINES * LINE) as usize]),
        Faults { broken, ..Faults::default() },
        false,
    );
    format(&disk.log(), &KEY, &tiny()).expect("a sound disk");
    disk.image()
}

fn open(disk: &SimDisk) -> Result<SimLog, String> {
    Ok(open_and_see(disk)?.0)
}

/// Opens the log, and gives what its opener has in memory then. The region's file must not have been written.
fn open_and_see(disk: &SimDisk) -> Result<(SimLog, Vec<u8>), String> {
    let mut memory = disk.image().region().to_vec();
    let (log, lines) =
        LineLog::open(disk.log(), disk.region(), KEY).map_err(|error| format!("open: {error}"))?;
    if disk.image().region() != memory {
        return Err("opening has written the region's file".into());
    }
    put_into(&lines, &mut memory);
    Ok((log, memory))
}

fn put_into(lines: &Replay, memory: &mut [u8]) {
    lines.each_line(|offset, line| memory[offset as usize..][..line.len()].copy_from_slice(line));
}

/// Appends and commits at random. Gives the acknowledged lines by the number of calls at the time; stops at an
/// error, which the oracle then has nothing acknowledged behind.
fn work(disk: &SimDisk, log: &SimLog, oracle: &mut Oracle, rng: &mut Rng, steps: u32) -> Vec<(u64, usize)> {
    let mut acknowledged = vec![(0, oracle.acknowledged)];
    // Sometimes as with a checkpointer that never gets to run: who leads has to make room.
    log.lock().checkpointer = rng.bool();
    // Sometimes a half is full of pages, of four lines, before it is full of bytes.
    log.lock_writer().pages = Pages::new(rng.usize(1..20), 4 * LINE);
    for _ in 0..steps {
        let lines = rng.u64(1..=3);
        let offset = rng.u64(0..=REGION_LINES - lines) * LINE;
        let sequence = log.append(offset, lines, |at| oracle.next(at));
        let result = match rng.u32(0..12) {
            0..7 => log.commit(sequence),
            7 => log.checkpoint(),
            _ => continue,
        };
        if result.is_err() {
            break;
        }
        oracle.acknowledged = oracle.lines.len();
        acknowledged.push((disk.calls(), oracle.acknowledged));
    }
    acknowledged
}

/// The images that a cut at this instant can leave: all if they are few, else some.
fn cuts(image: &Image, rng: &mut Rng, most: u64) -> Vec<Image> {
    let all = image.cuts();
    let mut images = Vec::new();
    if all <= most {
        for number in 0..all {
            let mut rest = number as usize;
            images.push(image.cut(false, |n| {
                let choice = rest % n;
                rest /= n;
                choice
            }));
        }
    }
    let sampled = if all <= most { 2 } else { most };
    for _ in 0..sampled {
        images.push(image.cut(true, |n| rng.usize(0..n)));
    }
    images
}

/// Runs, cuts at every call, recovers, cuts inside of the recovery, recovers, and goes on from one of the images:
/// `depth` crashes one after the other.
fn check_cuts(seed: u64, broken: Option<LogRule>, depth: u32) -> Check {
    let mut rng = Rng::with_seed(seed);
    let mut image = new_image(broken);
    let mut oracle = Oracle::default();
    let mut images = 0;
    for _ in 0..depth {
        // Kept, not cut: a process that was killed leaves what it has written and not synced.
        let short = rng.u32(0..4) == 0;
        let disk = SimDisk::new(image.clone(), Faults { broken, short, ..Faults::default() }, true);
        let (log, memory) = open_and_see(&disk)?;
        let from = oracle.prefix(&memory)?;
        oracle.lines.truncate(from);
        oracle.acknowledged = from;
        let opened = disk.calls();
        let acknowledged = work(&disk, &log, &mut oracle, &mut rng, 14);
        drop(log);
        let recorded = disk.recorded();
        // Cuts inside of that opening were looked at when its image was one of the last round.
        let mut next = (disk.image(), oracle.acknowledged);
        for (call, at_call) in recorded.iter().enumerate().skip(opened as usize) {
            let known = acknowledged.iter().filter(|(calls, _)| *calls <= call as u64).map(|ack| ack.1).max();
            let mut expected = oracle.clone();
            expected.acknowledged = known.expect("what was there at opening");
            for cut in cuts(at_call, &mut rng, 6) {
                images += check_recovery(&cut, &expected, broken, &mut rng)?;
                if rng.u32(0..8) == 0 {
                    next = (cut, expected.acknowledged);
                }
            }
            images += check_recovery(at_call, &expected, broken, &mut rng)?;
            if rng.u32(0..8) == 0 {
                next = (at_call.clone(), expected.acknowledged);
            }
        }
        (image, oracle.acknowledged) = next;
    }
    Ok(images)
}

/// Recovers from an image and makes a checkpoint, cuts at each call of that, and recovers from there: always a prefix with
/// all that was acknowledged, and what an opener has seen once stays.
fn check_recovery(crashed: &Image, oracle: &Oracle, broken: Option<LogRule>, rng: &mut Rng) -> Check {
    let disk = SimDisk::new(crashed.clone(), Faults { broken, ..Faults::default() }, true);
    let (log, memory) = open_and_see(&disk)?;
    let mut seen = oracle.clone();
    seen.acknowledged = oracle.prefix(&memory)?;
    let opened = disk.calls();
    log.checkpoint().map_err(|error| format!("checkpoint: {error}"))?;
    if disk.image().region() != memory {
        return Err("a checkpoint brings something else into the file than the opener has in memory".into());
    }
    let mut images = 1;
    let recorded = disk.recorded();
    for _ in 0..2 {
        let call = rng.usize(0..recorded.len());
        let expected = if call as u64 >= opened { &seen } else { oracle };
        let cut = recorded[call].cut(rng.bool(), |n| rng.usize(0..n));
        let disk = SimDisk::new(cut, Faults { broken, ..Faults::default() }, false);
        expected.prefix(&open_and_see(&disk)?.1)?;
        images += 1;
    }
    Ok(images)
}

/// A process is killed while it writes a frame, and the next one writes another frame to that place, which is the same from
/// the second sector on. No cut may make the first one whole.
fn check_torn_frame(broken: Option<LogRule>) -> Check {
    // In the log's file, inside of its second line: where the sector ends.
    const SECTOR_END: usize = 19 * 512;
    let faults = Faults { broken, ..Faults::default() };
    let mut oracle = Oracle::default();
    let disk = SimDisk::new(new_image(broken), faults, false);
    let log = open(&disk)?;
    // So that the next frame begins in one sector and ends in another.
    for (offset, lines) in [(0, 1), (LINE, 3)] {
        let sequence = log.append(offset, lines, |at| oracle.next(at));
        log.commit(sequence).map_err(|error| error.to_string())?;
    }
    oracle.acknowledged = oracle.lines.len();
    let before = disk.image();
    let values = |first: u64| move |at: u64| words(if at == 5 * LINE { first } else { 100 + at / LINE });
    let sequence = log.append(5 * LINE, 4, values(50));
    log.commit(sequence).map_err(|error| error.to_string())?;
    let differ: Vec<_> =
        (0..before.log().len()).filter(|&at| before.log()[at] != disk.image().log()[at]).collect();
    assert!(differ[0] + 32 + 72 < SECTOR_END && SECTOR_END < *differ.last().expect("a frame"));
    let mut killed = before.log().to_vec();
    killed[..SECTOR_END].copy_from_slice(&disk.image().log()[..SECTOR_END]);

    let disk = SimDisk::new(Image::new(killed, before.region().to_vec()), faults, true);
    let (log, memory) = open_and_see(&disk)?;
    oracle.prefix(&memory)?;
    let opened = disk.calls();
    let sequence = log.append(5 * LINE, 4, values(60));
    log.commit(sequence).map_err(|error| error.to_string())?;
    oracle.lines.push((5 * LINE, 60));
    oracle.lines.extend((6..9).map(|line| (line * LINE, 100 + line)));
    let mut images = 0;
    let mut rng = Rng::with_seed(0);
    for at_call in &disk.recorded()[opened as usize..] {
        for cut in cuts(at_call, &mut rng, 64) {
            images += check_recovery(&cut, &oracle, broken, &mut rng)?;
        }
    }
    Ok(images)
}

/// However many lines are committed: those that opening has to store are in few pages.
fn check_pages(seed: u64) -> Check {
    const LINES: u64 = 2000;
    const PAGES: usize = 8;
    let mut rng = Rng::with_seed(seed);
    let region = vec![0; (LINES * LINE) as usize];
    let disk = SimDisk::new(Image::new(Vec::new(), region), Faults::default(), false);
    let options = Options::new(64 << 10, 16).expect("it fits");
    format(&disk.log(), &KEY, &options).expect("a sound disk");
    let mut most = 0;
    for _ in 0..4 {
        let mut log = open(&disk)?;
        // Which pages there are already it has counted in larger ones.
        log.checkpoint().map_err(|error| error.to_string())?;
        log.lock().checkpointer = rng.bool();
        log.lock_writer().pages = Pages::new(PAGES, LINE);
        for _ in 0..rng.u64(1..60) {
            // As hot as it may be, or all over the region.
            let lines = if rng.bool() { LINES } else { 4 };
            let mut sequence = 0;
            let frame_lines = if rng.u32(0..8) == 0 { 16 } else { rng.u64(1..5) };
            for _ in 0..frame_lines {
                sequence = log.append(rng.u64(0..lines) * LINE, 1, words);
            }
            log.commit(sequence).map_err(|error| error.to_string())?;
            let replay = Replay::read(&disk.log(), LINES * LINE, &KEY).map_err(|error| error.to_string())?;
            for segment in [&replay.oldest, &replay.newest] {
                let mut pages = Pages::new(usize::MAX, LINE);
                pages.add(segment.entries().map(|entry| format::u64_at(entry, 0)));
                // A frame that is in more pages has a half for itself.
                if pages.len() > PAGES && segment.end - segment.start > 16 {
                    return Err(format!("{} pages in {} lines", pages.len(), segment.end - segment.start));
                }
                most = most.max(pages.len());
            }
            if rng.u32(0..20) == 0 {
                log = open(&disk)?;
                log.lock_writer().pages.limit(PAGES);
                let again =
                    Replay::read(&disk.log(), LINES * LINE, &KEY).map_err(|error| error.to_string())?;
                let current = if again.newest.used > 0 { &again.newest } else { &again.oldest };
                let mut pages = Pages::new(usize::MAX, crate::mapping::PAGE);
                pages.add(current.entries().map(|entry| format::u64_at(entry, 0)));
                if log.lock_writer().pages.len() != pages.len() {
                    return Err("opening has counted other pages".into());
                }
                break;
            }
        }
    }
    if most < PAGES / 2 { Err(format!("never more than {most} pages")) } else { Ok(1) }
}

/// Fails each write and sync in turn: nothing is acknowledged behind it, and all that was is there, whether the process
/// starts again or the power is cut as well.
fn check_failures(seed: u64, broken: Option<LogRule>) -> Check {
    let mut images = 0;
    for fail_at in 0.. {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults { broken, fail_at: Some(fail_at), ..Faults::default() };
        let disk = SimDisk::new(new_image(broken), faults, false);
        let mut oracle = Oracle::default();
        match LineLog::open(disk.log(), disk.region(), KEY) {
            Ok((log, _)) => {
                work(&disk, &log, &mut oracle, &mut rng, 20);
                if disk.calls() <= fail_at {
                    return Ok(images);
                }
                let calls = disk.calls();
                let sequence = log.append(0, 1, |_| words(u64::MAX / 16));
                if log.commit(sequence).is_ok() || log.commit(0).is_ok() || log.checkpoint().is_ok() {
                    return Err(format!("call {fail_at} failed, and something was acknowledged behind it"));
                }
                if log.health() != Err(MediaError::IoPoisoned) || disk.calls() != calls {
                    return Err(format!("call {fail_at} failed, and the log goes on"));
                }
            }
            Err(LogError::Io(_)) => {}
            Err(error) => return Err(format!("call {fail_at} of opening failed: {error}")),
        }
        let failed = disk.image();
        images += check_recovery(&failed, &oracle, broken, &mut rng)?;
        for cut in cuts(&failed, &mut rng, 4) {
            images += check_recovery(&cut, &oracle, broken, &mut rng)?;
        }
    }
    unreachable!("the run has an end")
}

/// A log with frames in both halves whose lines are all acknowledged, and how many its last frame has.
fn committed_log(broken: Option<LogRule>) -> (Image, Oracle, usize) {
    let disk = SimDisk::new(new_image(broken), Faults { broken, ..Faults::default() }, false);
    let log = open(&disk).expect("a sound disk");
    // The test is the one that would make the checkpoint, and does not.
    log.lock().checkpointer = true;
    let mut oracle = Oracle::default();
    for frame in 0..8 {
        let sequence = log.append(frame * 3 * LINE, 3, |at| oracle.next(at));
        log.commit(sequence).expect("a sound disk");
    }
    oracle.acknowledged = oracle.lines.len();
    (disk.image(), oracle, 3)
}

/// Damages the log in one place: the region is what it was, or lacks the last frame, or there is an error that says why.
fn check_damage(broken: Option<LogRule>, damage: impl Fn(&mut Vec<u8>)) -> Result<&'static str, String> {
    let (image, mut oracle, last) = committed_log(broken);
    let mut log = image.log().to_vec();
    damage(&mut log);
    let image = Image::new(log, image.region().to_vec());
    let disk = SimDisk::new(image.clone(), Faults { broken, ..Faults::default() }, false);
    match LineLog::open(disk.log(), disk.region(), KEY) {
        Ok((_, lines)) => {
            oracle.acknowledged -= last;
            let mut memory = disk.image().region().to_vec();
            put_into(&lines, &mut memory);
            let found = oracle.prefix(&memory)?;
            Ok(if found == oracle.lines.len() { "all" } else { "all but the last" })
        }
        Err(_) if disk.image().region() != image.region() => {
            Err("an error, and the region was changed".into())
        }
        Err(LogError::Io(error)) => Err(format!("damage is not an error of the disk: {error}")),
        Err(_) => Ok("error"),
    }
}

fn check_bit_flips(broken: Option<LogRule>) -> Check {
    let (image, ..) = committed_log(broken);
    let mut seen: HashMap<&str, u64> = HashMap::new();
    for at in 0..image.log().len() {
        // Between the heads nothing is written; a bit of each byte elsewhere.
        if (128..4096).contains(&at) || (4224..8192).contains(&at) {
            continue;
        }
        let bit = at % 8;
        let result = check_damage(broken, |log| log[at] ^= 1 << bit);
        *seen.entry(result.map_err(|error| format!("bit {bit} of byte {at}: {error}"))?).or_default() += 1;
    }
    for expected in ["all", "all but the last", "error"] {
        if !seen.contains_key(expected) {
            return Err(format!("no flip led to {expected}: {seen:?}"));
        }
    }
    Ok(seen.values().sum())
}

/// A frame of an earlier lap, or of another place, in the place of a frame.
fn check_misplaced_frames(broken: Option<LogRule>) -> Check {
    let frame_bytes = format::FRAME_HEADER_BYTES + 3 * format::ENTRY_BYTES;
    let start = format::SEGMENTS_AT as usize;
    let mut checked = 0;
    for from in 0..3 {
        for to in 0..3 {
            for segments in [(0, 0), (1, 1), (0, 1), (1, 0)] {
                let from = start + segments.0 * 1000 + from * frame_bytes;
                let to = start + segments.1 * 1000 + to * frame_bytes;
                let result = check_damage(broken, |log| log.copy_within(from..from + frame_bytes, to));
                result.map_err(|error| format!("the frame at {from} copied to {to}: {error}"))?;
                checked += 1;
            }
        }
    }
    Ok(checked)
}

/// The region's file is shorter than a logged line's place.
fn check_short_region(broken: Option<LogRule>) -> Check {
    let (image, ..) = committed_log(broken);
    let short = Image::new(image.log().to_vec(), image.region()[..640].to_vec());
    let disk = SimDisk::new(short, Faults { broken, ..Faults::default() }, false);
    match LineLog::open(disk.log(), disk.region(), KEY) {
        Err(LogError::LineOutside { region_bytes: 640, .. }) => Ok(1),
        other => Err(format!("a region that is too short: {:?}", other.map(|(_, recovered)| recovered))),
    }
}

/// Threads append and commit until the disk fails or all is done. The order of their lines is what the log calls
/// back in.
fn check_threads(seed: u64) -> Check {
    let mut rng = Rng::with_seed(seed);
    let mut faults = Faults::default();
    match seed % 3 {
        0 => faults.power_off_at = Some(rng.u64(6..120)),
        1 => faults.fail_at = Some(rng.u64(6..120)),
        _ => {}
    }
    let disk = SimDisk::new(new_image(None), faults, false);
    let log = Arc::new(open(&disk)?);
    let checkpointer =
        seed.is_multiple_of(2).then(|| Checkpointer::start(Arc::clone(&log)).expect("a thread"));
    let oracle = Mutex::new(Oracle::default());
    let acknowledged = AtomicU64::new(0);
    let healthy = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut rng = rng.fork();
                let (log, oracle, acknowledged) = (&log, &oracle, &acknowledged);
                scope.spawn(move || {
                    for _ in 0..30 {
                        let lines = rng.u64(1..=6);
                        let offset = rng.u64(0..=REGION_LINES - lines) * LINE;
                        let sequence =
                            log.append(offset, lines, |at| oracle.lock().expect("no panic").next(at));
                        match rng.u32(0..10) {
                            0 => continue,
                            1 if log.checkpoint().is_ok() => {}
                            1 => return false,
                            _ if log.commit(sequence).is_ok() => {}
                            _ => return false,
                        }
                        acknowledged.fetch_max(sequence, Ordering::Relaxed);
                    }
                    true
                })
            })
            .collect();
        workers.into_iter().all(|worker| worker.join().expect("no panic"))
    });
    drop(checkpointer);
    let failed =
        disk.calls() > faults.fail_at.unwrap_or(u64::MAX) || faults.power_off_at == Some(disk.calls());
    if failed && log.health().is_ok() {
        return Err("the disk failed, and the log is in good health".into());
    }
    if !failed && !healthy {
        return Err("the disk is sound, and the log is not".into());
    }
    let mut oracle = oracle.into_inner().expect("no panic");
    oracle.acknowledged = acknowledged.into_inner() as usize;
    let mut images = 0;
    for cut in cuts(&disk.image(), &mut rng, 20) {
        images += check_recovery(&cut, &oracle, None, &mut rng)?;
    }
    Ok(images)
}

/// Each thread counts in a word of its own; all words are in one line. What a thread was acknowledged must not be
/// replaced by an older image of the line that another thread appends.
fn check_shared_line(seed: u64) -> Check {
    let disk = SimDisk::new(new_image(None), Faults::default(), false);
    let log = open(&disk)?;
    let line: [AtomicU64; 8] = Default::default();
    std::thread::scope(|scope| {
        for mine in 0..4 {
            let (log, line) = (&log, &line);
            scope.spawn(move || {
                for count in 1..=100 {
                    line[mine].store(count, Ordering::Release);
                    let collect = |_| std::array::from_fn(|word| line[word].load(Ordering::Acquire));
                    let sequence = log.append(0, 1, collect);
                    log.commit(sequence).expect("a sound disk");
                }
            });
        }
    });
    let mut rng = Rng::with_seed(seed);
    let disk = SimDisk::new(disk.image().cut(true, |n| rng.usize(0..n)), Faults::default(), false);
    let (_, memory) = open_and_see(&disk)?;
    let words: Vec<u64> = (0..4).map(|word| format::u64_at(&memory, word * 8)).collect();
    if words != [100; 4] { Err(format!("acknowledged 100 each, and there is {words:?}")) } else { Ok(1) }
}

/// Every check with a rule broken, or with none.
fn run_all(broken: Option<LogRule>, seeds: u64) -> Result<u64, (&'static str, String)> {
    let mut images = 0;
    images += check_short_region(broken).map_err(|error| ("short region", error))?;
    images += check_torn_frame(broken).map_err(|error| ("torn frame", error))?;
    images += check_misplaced_frames(broken).map_err(|error| ("misplaced frames", error))?;
    for seed in 0..seeds {
        images +=
            check_failures(seed, broken).map_err(|error| ("failures", format!("SEED={seed}: {error}")))?;
        images += check_cuts(seed, broken, 3).map_err(|error| ("cuts", format!("SEED={seed}: {error}")))?;
    }
    images += check_bit_flips(broken).map_err(|error| ("bit flips", error))?;
    Ok(images)
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(default),
    }
}

#[test]
fn what_was_acknowledged_survives_any_cut_and_what_is_found_is_a_prefix() {
    let mut images = 0;
    for seed in seeds(8) {
        images += check_cuts(seed, None, 4).unwrap_or_else(|error| panic!("rerun with SEED={seed}: {error}"));
    }
    println!("{images} images");
    assert!(images > 1000);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_acknowledged_and_nothing_is_lost() {
    for seed in seeds(3) {
        check_failures(seed, None).unwrap_or_else(|error| panic!("rerun with SEED={seed}: {error}"));
    }
}

#[test]
fn a_flipped_bit_gives_the_right_lines_or_an_error() {
    check_bit_flips(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_frame_in_the_place_of_another_gives_the_right_lines_or_an_error() {
    check_misplaced_frames(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_frame_that_a_kill_has_torn_never_becomes_whole() {
    assert!(check_torn_frame(None).unwrap_or_else(|error| panic!("{error}")) > 20);
}

#[test]
fn what_opening_has_to_store_is_in_few_pages() {
    for seed in seeds(40) {
        check_pages(seed).unwrap_or_else(|error| panic!("rerun with SEED={seed}: {error}"));
    }
}

#[test]
fn a_region_that_is_too_short_for_its_log_is_an_error() {
    check_short_region(None).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn threads_lose_nothing_and_all_of_them_learn_of_an_error() {
    for seed in seeds(60) {
        check_threads(seed).unwrap_or_else(|error| panic!("rerun with SEED={seed}: {error}"));
    }
}

#[test]
fn a_line_that_threads_share_never_goes_back() {
    for seed in seeds(5) {
        check_shared_line(seed).unwrap_or_else(|error| panic!("rerun with SEED={seed}: {error}"));
    }
}

/// The checks are worth something only if each rule is missed when it is broken.
#[test]
fn every_rule_that_is_broken_is_noticed() {
    println!("{:<22} noticed by", "rule broken");
    let mut unnoticed = Vec::new();
    for &rule in LogRule::ALL {
        match run_all(Some(rule), 300) {
            Ok(images) => {
                println!("{:<22} NOBODY, in {images} images", format!("{rule:?}"));
                unnoticed.push(rule);
            }
            Err((check, error)) => println!("{:<22} {check}: {error}", format!("{rule:?}")),
        }
    }
    assert!(unnoticed.is_empty(), "unnoticed: {unnoticed:?}");
}
