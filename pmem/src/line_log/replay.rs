//! Reading a log: which lines count, and writing those of a full segment into the region's file.

use super::format::{
    ENTRY_BYTES, FRAME_HEADER_BYTES, FrameHeader, HEAD_BYTES, HEAD_STRIDE, Head, u32_at, u64_at,
};
use super::storage::{read_all, write_all};
use super::{LogError, LogKey, LogRule, Storage};
use crate::mem::LINE;
use std::io;

/// Read in steps of this many bytes, so that a short log in a long file costs little.
const READ_BYTES: usize = 1 << 20;
/// Neighbouring lines are written to the region together, at most this many bytes at once.
const RUN_BYTES_MAX: usize = 256 << 10;

/// The lines of a log that count, in memory: what the region's file may lack.
#[derive(Debug)]
pub struct Replay {
    pub(super) head: Head,
    /// The generation of the head, as it stands in the log.
    pub(super) oldest: Segment,
    /// The one behind it. It has no frame unless the oldest is at its end.
    pub(super) newest: Segment,
    /// Place and bytes of the last frame that counts: the only one that may be in the page cache alone.
    pub(super) last_frame: Option<(u64, u64)>,
}

impl Replay {
    /// Reads the log of the region that `key` names and that is `region_bytes` long.
    pub fn read<L: Storage>(log: &L, region_bytes: u64, key: &LogKey) -> Result<Replay, LogError> {
        let head = read_head(log, key)?;
        let mut reader = Reader { log, key, head: &head, region_bytes, last_frame: None };
        let mut oldest = reader.segment(head.generation, head.sequence)?;
        // The next generation follows where the oldest ended. Whether it exists, only its first frame says.
        let mut newest = reader.segment(head.generation + 1, oldest.end)?;
        if !log.broken(LogRule::NoticeHole) {
            let end = newest.end;
            reader.look_for_later_frames(&mut oldest, end)?;
            reader.look_for_later_frames(&mut newest, end)?;
        }
        let last_frame = reader.last_frame;
        oldest.bytes.truncate(oldest.used);
        newest.bytes.truncate(newest.used);
        Ok(Replay { head, oldest, newest, last_frame })
    }

    /// Reads what can be read of a log that may be damaged: the newest image of each of its lines up to the damage, and what is
    /// wrong. Lines outside of the region are left out; bytes behind the end of a log that was cut short count as zeros.
    ///
    /// Without a usable head there are no lines, and without it [`read`](Self::read) would not have told where they start.
    pub(crate) fn read_prefix<L: Storage>(
        log: &L,
        region_bytes: u64,
        key: &LogKey,
    ) -> (Vec<(u64, [u8; LINE as usize])>, Option<LogError>) {
        let why = match Self::read(log, region_bytes, key) {
            Ok(replay) => return (replay.newest_lines(), None),
            Err(why) => why,
        };
        let log = Padded(log);
        let Ok(head) = read_head(&log, key) else { return (Vec::new(), Some(why)) };
        let mut reader = Reader { log: &log, key, head: &head, region_bytes: u64::MAX, last_frame: None };
        let mut oldest = Segment::new(&head, head.generation, head.sequence);
        // A segment that breaks off gives its frames up to there, and the next one then does not follow.
        let is_whole = reader.fill(&mut oldest).is_ok();
        let mut newest = Segment::new(&head, head.generation + 1, oldest.end);
        if is_whole {
            let _ = reader.fill(&mut newest);
        }
        let mut lines = Self { head, oldest, newest, last_frame: None }.newest_lines();
        lines.retain(|(offset, _)| offset.checked_add(LINE).is_some_and(|line_end| line_end <= region_bytes));
        (lines, Some(why))
    }

    /// Lines that were logged and may be missing in the region's file, counting repetitions.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.newest.end - self.oldest.start).expect("lines in memory")
    }

    /// Whether the region's file needs nothing of the log.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the next frame may be written: behind the oldest generation's, or as the next one's first; or behind that one's.
    pub(super) fn next_frame_segments(&self) -> impl Iterator<Item = &Segment> {
        let oldest = (self.newest.used == 0).then_some(&self.oldest);
        oldest.into_iter().chain([&self.newest])
    }

    /// Gives each line that counts, in the order of the log, with its offset in the region: whoever puts them there in
    /// that order has the region as it was.
    pub fn each_line(&self, mut put: impl FnMut(u64, &[u8; LINE as usize])) {
        for segment in [&self.oldest, &self.newest] {
            for entry in segment.entries() {
                put(u64_at(entry, 0), entry[8..].try_into().expect("the rest of an entry is a line"));
            }
        }
    }

    /// The newest image of each line that counts, by ascending offset.
    #[must_use]
    pub fn newest_lines(&self) -> Vec<(u64, [u8; LINE as usize])> {
        let mut lines = Lines::default();
        self.each_line(|offset, image| lines.0.push((offset, *image)));
        lines.newest(false)
    }
}

/// A log that may have been cut short, with zeros behind its end.
struct Padded<'l, L>(&'l L);

impl<L: Storage> Storage for Padded<'_, L> {
    fn pread(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        match self.0.pread(offset, out)? {
            0 => {
                out.fill(0);
                Ok(out.len())
            }
            read => Ok(read),
        }
    }

    fn pwrite(&self, _offset: u64, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn fdatasync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

/// Line images in the order of the log.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<(u64, [u8; LINE as usize])>);

impl Lines {
    /// Adds the lines of a frame.
    pub(super) fn push_all(&mut self, entries: &[u8]) {
        for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
            let image = entry[8..].try_into().expect("the rest of an entry is a line");
            self.0.push((u64_at(entry, 0), image));
        }
    }

    fn newest(&self, oldest_instead: bool) -> Vec<(u64, [u8; LINE as usize])> {
        // Sorting is stable, so the images of one line stay in the order of the log.
        let mut order: Vec<u32> = (0..u32::try_from(self.0.len()).expect("a log is bounded")).collect();
        order.sort_by_key(|&at| self.0[at as usize].0);
        let mut newest: Vec<(u64, [u8; LINE as usize])> = Vec::new();
        for at in order {
            let line = &self.0[at as usize];
            match newest.last_mut() {
                Some(last) if last.0 == line.0 => {
                    if !oldest_instead {
                        *last = *line;
                    }
                }
                _ => newest.push(*line),
            }
        }
        newest
    }

    /// Writes the newest image of each line, neighbours together.
    pub(super) fn write_to<R: Storage>(&self, region: &R) -> io::Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut run_at = 0;
        for (offset, image) in self.newest(region.broken(LogRule::NewestLine)) {
            if offset != run_at + run.len() as u64 || run.len() >= RUN_BYTES_MAX {
                write_all(region, run_at, &run)?;
                run.clear();
                run_at = offset;
            }
            run.extend_from_slice(&image);
        }
        write_all(region, run_at, &run)
    }
}

/// Reads the newer valid head. One that is damaged is what a cut while writing it leaves, and the other counts.
fn read_head<L: Storage>(log: &L, key: &LogKey) -> Result<Head, LogError> {
    let have = log.len()?;
    if have < HEAD_STRIDE + HEAD_BYTES as u64 {
        return Err(if have == 0 {
            LogError::NotALog
        } else {
            LogError::Truncated { have, need: HEAD_STRIDE + HEAD_BYTES as u64 }
        });
    }
    let mut found: [Result<Head, LogError>; 2] = [Err(LogError::NotALog), Err(LogError::NotALog)];
    for slot in 0..2 {
        let mut bytes = [0; HEAD_BYTES];
        read_all(log, slot * HEAD_STRIDE, &mut bytes)?;
        found[slot as usize] = Head::decode(&bytes, slot, key);
    }
    let head = match found {
        [Ok(a), Ok(b)] => {
            if (a.segment_bytes, a.frame_bytes_max) != (b.segment_bytes, b.frame_bytes_max) {
                return Err(LogError::Corrupt { offset: 0 });
            }
            if a.turn > b.turn { a } else { b }
        }
        // A cut leaves one damaged, never one of another format or of another region.
        [Ok(head), Err(LogError::NotALog | LogError::Corrupt { .. })]
        | [Err(LogError::NotALog | LogError::Corrupt { .. }), Ok(head)] => head,
        [Err(LogError::NotALog), Err(error)] | [Err(error), _] | [_, Err(error)] => return Err(error),
    };
    if have < head.file_bytes() {
        return Err(LogError::Truncated { have, need: head.file_bytes() });
    }
    Ok(head)
}

/// A segment as far as it was read, and where its frames ended.
#[derive(Debug)]
pub(super) struct Segment {
    generation: u64,
    file_at: u64,
    /// At least all frames that count.
    bytes: Vec<u8>,
    /// Bytes of frames that count.
    pub(super) used: usize,
    /// Sequence of their first line.
    pub(super) start: u64,
    /// Sequence behind them.
    pub(super) end: u64,
}

impl Segment {
    /// Without frames, the first of which must be that of the line `sequence`.
    fn new(head: &Head, generation: u64, sequence: u64) -> Self {
        let file_at = head.segment_at(generation);
        Self { generation, file_at, bytes: Vec::new(), used: 0, start: sequence, end: sequence }
    }

    /// Where in the log's file the next frame would stand.
    pub(super) fn end_at(&self) -> u64 {
        self.file_at + self.used as u64
    }

    /// Each line with its offset, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8; ENTRY_BYTES]> {
        let mut rest = &self.bytes[..self.used];
        let frames = std::iter::from_fn(move || {
            let lines = u64::from(u32_at(rest.get(..FRAME_HEADER_BYTES)?, 4));
            let bytes = FRAME_HEADER_BYTES + usize::try_from(lines).expect("in memory") * ENTRY_BYTES;
            let (frame, behind) = rest.split_at(bytes);
            rest = behind;
            Some(frame[FRAME_HEADER_BYTES..].as_chunks::<ENTRY_BYTES>().0)
        });
        frames.flatten()
    }
}

struct Reader<'a, L> {
    log: &'a L,
    key: &'a LogKey,
    head: &'a Head,
    region_bytes: u64,
    last_frame: Option<(u64, u64)>,
}

impl<L: Storage> Reader<'_, L> {
    /// Reads on until `bytes` of the segment are in memory, or all of it. Says whether they are.
    fn load(&self, segment: &mut Segment, bytes: usize) -> io::Result<bool> {
        let all = usize::try_from(self.head.segment_bytes).expect("a bounded segment");
        while segment.bytes.len() < bytes.min(all) {
            let start = segment.bytes.len();
            segment.bytes.resize((start + READ_BYTES).min(all), 0);
            read_all(self.log, segment.file_at + start as u64, &mut segment.bytes[start..])?;
        }
        Ok(segment.bytes.len() >= bytes)
    }

    /// Takes the frames of a generation whose first line must be `sequence`, up to the first that does not count.
    fn segment(&mut self, generation: u64, sequence: u64) -> Result<Segment, LogError> {
        let mut segment = Segment::new(self.head, generation, sequence);
        self.fill(&mut segment)?;
        Ok(segment)
    }

    /// As [`segment`](Self::segment). The segment has the frames up to an error.
    fn fill(&mut self, segment: &mut Segment) -> Result<(), LogError> {
        let (generation, file_at) = (segment.generation, segment.file_at);
        loop {
            let header_end = segment.used + FRAME_HEADER_BYTES;
            if !self.load(segment, header_end)? {
                break;
            }
            let Some(header) = FrameHeader::decode(&segment.bytes[segment.used..], self.key) else { break };
            let expected = header.generation == generation && header.sequence == segment.end;
            if !expected && !self.log.broken(LogRule::FrameInOrder) {
                break;
            }
            let at = file_at + segment.used as u64;
            if header.lines == 0 || header.frame_bytes() > self.head.frame_bytes_max {
                return Err(LogError::Corrupt { offset: at });
            }
            let frame_end = segment.used + usize::try_from(header.frame_bytes()).expect("a bounded frame");
            if !self.load(segment, frame_end)? {
                return Err(LogError::Corrupt { offset: at });
            }
            let frame = &segment.bytes[segment.used..frame_end];
            let entries = &frame[FRAME_HEADER_BYTES..];
            if !header.covers(self.key, entries) && !self.log.broken(LogRule::FrameChecksum) {
                break;
            }
            for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
                let offset = u64_at(entry, 0);
                let inside = offset.is_multiple_of(LINE)
                    && offset.checked_add(LINE).is_some_and(|line_end| line_end <= self.region_bytes);
                if !inside && !self.log.broken(LogRule::LineInRegion) {
                    return Err(LogError::LineOutside { offset, region_bytes: self.region_bytes });
                }
            }
            self.last_frame = Some((at, header.frame_bytes()));
            segment.used = frame_end;
            segment.end += u64::from(header.lines);
        }
        Ok(())
    }

    /// No frame is written before the one ahead of it is durable. So one that stands behind the end says that a
    /// durable frame, or the newer head, is damaged, and not that a cut tore the last frame.
    ///
    /// Only headers are looked for, in the next `frame_bytes_max` bytes and at least [`READ_BYTES`]: a frame that
    /// follows damage that is no larger than that begins there.
    fn look_for_later_frames(&self, segment: &mut Segment, end: u64) -> Result<(), LogError> {
        let window = usize::try_from(self.head.frame_bytes_max).expect("a bounded frame").max(READ_BYTES);
        self.load(segment, segment.used + window + FRAME_HEADER_BYTES)?;
        let mut at = segment.used;
        while at + FRAME_HEADER_BYTES <= segment.bytes.len() {
            if let Some(header) = FrameHeader::decode(&segment.bytes[at..], self.key) {
                let later = header.generation > self.head.generation + 1
                    || header.generation == segment.generation && header.sequence > end;
                if later {
                    return Err(LogError::Corrupt { offset: segment.file_at + segment.used as u64 });
                }
            }
            at += 8;
        }
        Ok(())
    }
}

/// The lines of a generation that was written to its end, read back to be put into the region's file.
pub(super) fn sealed_lines<L: Storage>(
    log: &L,
    key: &LogKey,
    head: &Head,
    generation: u64,
    used: u64,
) -> io::Result<Lines> {
    let mut bytes = vec![0; usize::try_from(used).expect("a bounded segment")];
    read_all(log, head.segment_at(generation), &mut bytes)?;
    let mut lines = Lines::default();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let frame = FrameHeader::decode(rest, key)
            .filter(|header| header.generation == generation)
            .and_then(|header| Some((header, rest.split_at_checked(header.frame_bytes() as usize)?)))
            .filter(|(header, (frame, _))| header.covers(key, &frame[FRAME_HEADER_BYTES..]));
        let Some((_, (frame, behind))) = frame else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the log reads otherwise than it was written",
            ));
        };
        lines.push_all(&frame[FRAME_HEADER_BYTES..]);
        rest = behind;
    }
    Ok(lines)
}
