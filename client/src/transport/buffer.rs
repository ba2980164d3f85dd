//! Received bytes, cut into frames.

use std::{fmt, ops::Range};

/// Bytes of the length prefix.
pub(super) const PREFIX_BYTES: usize = 4;

/// Size of a new buffer. Holds the answer of a usual call and several that come together.
const INITIAL_BYTES: usize = 16 << 10;

/// A buffer that grew beyond this is given back once answers are small again, so that one large answer does
/// not cost every connection of a process its size for good.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// How many small answers in a row make a large buffer go. More than one, because growing again costs page
/// faults.
const SMALL_FRAMES_BEFORE_SHRINKING: u32 = 32;

/// Received bytes that were not handed out as frames yet.
///
/// Invariant: `start <= end <= bytes.len()`, and `bytes[start..end]` are the received ones.
///
/// The buffer grows because bytes arrived, never because a peer announced them: at most to twice of what is
/// there.
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    small_frames_in_a_row: u32,
    frame_bytes_max: usize,
}

/// The length prefix is over the limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) announced_bytes: u32,
    pub(super) frame_bytes_max: usize,
}

impl FrameBuffer {
    pub(super) fn new(frame_bytes_max: usize) -> FrameBuffer {
        FrameBuffer { bytes: Vec::new(), start: 0, end: 0, small_frames_in_a_row: 0, frame_bytes_max }
    }

    pub(super) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Whether no received byte is left.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The next whole frame, without its prefix, as a range for [`frame`](FrameBuffer::frame). The range
    /// holds until [`spare`](FrameBuffer::spare) is called.
    pub(super) fn next_frame(&mut self) -> Result<Option<Range<usize>>, TooLong> {
        let Some(total_bytes) = self.total_bytes()? else { return Ok(None) };
        if self.end - self.start < total_bytes {
            return Ok(None);
        }
        let frame = self.start + PREFIX_BYTES..self.start + total_bytes;
        self.start = frame.end;
        self.small_frames_in_a_row =
            if total_bytes > KEPT_BYTES_MAX { 0 } else { self.small_frames_in_a_row.saturating_add(1) };
        Ok(Some(frame))
    }

    pub(super) fn frame(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Room for more bytes, never empty. To be called when no whole frame is left: moves what is there of the
    /// next one to the front, which happens at most once to each byte.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }

        let large = self.bytes.len() > KEPT_BYTES_MAX;
        if large && self.end == 0 && self.small_frames_in_a_row >= SMALL_FRAMES_BEFORE_SHRINKING {
            self.bytes = Vec::new();
        }
        if self.end == self.bytes.len() {
            // The prefix was checked by `next_frame`, and it is there if the buffer is full.
            let needed_bytes = self.total_bytes().ok().flatten().unwrap_or(INITIAL_BYTES);
            self.bytes.resize(needed_bytes.min(2 * self.end).max(INITIAL_BYTES), 0);
        }
        assert!(self.end < self.bytes.len(), "no room: {} bytes, all used", self.end);
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were written to the beginning of what `spare` returned.
    pub(super) fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end, "received {count} bytes beyond the buffer");
        self.end += count;
    }

    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Length of the next frame with its prefix, or nothing while the prefix is not there.
    fn total_bytes(&self) -> Result<Option<usize>, TooLong> {
        let Some(prefix) = self.bytes[self.start..self.end].first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let announced_bytes = u32::from_le_bytes(*prefix);
        if announced_bytes as usize > self.frame_bytes_max {
            return Err(TooLong { announced_bytes, frame_bytes_max: self.frame_bytes_max });
        }
        Ok(Some(PREFIX_BYTES + announced_bytes as usize))
    }
}

/// Without the bytes, which are the user's and may be many.
impl fmt::Debug for FrameBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBuffer")
            .field("received_bytes", &(self.end - self.start))
            .field("size_bytes", &self.bytes.len())
            .field("frame_bytes_max", &self.frame_bytes_max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets bytes arrive as a connection does, and returns the whole frames among them.
    fn receive(buffer: &mut FrameBuffer, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        loop {
            while let Some(range) = buffer.next_frame().unwrap() {
                frames.push(buffer.frame(range).to_vec());
            }
            if bytes.is_empty() {
                return frames;
            }
            let spare = buffer.spare();
            let count = spare.len().min(bytes.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            bytes = &bytes[count..];
        }
    }

    fn encode(body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_le_bytes(), body].concat()
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let bodies: Vec<Vec<u8>> = (0..40).map(|n| vec![n as u8; n * n]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| encode(body)).collect();
        for piece_bytes in [1, 2, 3, 5, 7, 64, 1000, stream.len()] {
            let mut buffer = FrameBuffer::new(40 * 40);
            let received: Vec<_> =
                stream.chunks(piece_bytes).flat_map(|piece| receive(&mut buffer, piece)).collect();
            assert_eq!(received, bodies, "pieces of {piece_bytes} bytes");
        }
    }

    #[test]
    fn memory_follows_what_arrived_and_not_what_was_announced() {
        let mut buffer = FrameBuffer::new(32 << 20);
        receive(&mut buffer, &(32u32 << 20).to_le_bytes());
        for arrived_bytes in (4..4 << 20).step_by(1000) {
            assert!(buffer.spare().len() + arrived_bytes <= INITIAL_BYTES.max(2 * arrived_bytes));
            assert!(receive(&mut buffer, &[7; 1000]).is_empty());
        }
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_above_it_does_not() {
        let mut buffer = FrameBuffer::new(10);
        assert_eq!(receive(&mut buffer, &encode(&[1; 10])), [[1; 10]]);
        let too_long = encode(&[1; 11]);
        buffer.spare()[..too_long.len()].copy_from_slice(&too_long);
        buffer.filled(too_long.len());
        assert_eq!(buffer.next_frame(), Err(TooLong { announced_bytes: 11, frame_bytes_max: 10 }));
    }

    #[test]
    fn a_large_answer_does_not_keep_its_memory_for_good() {
        let mut buffer = FrameBuffer::new(32 << 20);
        assert_eq!(receive(&mut buffer, &encode(&vec![1; 20 << 20])).len(), 1);
        for _ in 0..=SMALL_FRAMES_BEFORE_SHRINKING {
            assert!(buffer.allocated_bytes() > 20 << 20);
            assert_eq!(receive(&mut buffer, &encode(b"small")), [b"small"]);
        }
        assert!(buffer.allocated_bytes() <= 2 * INITIAL_BYTES);
    }
}
