//! One connection's output: what waits, and how much of what was handed to the kernel is gone.
//!
//! Two buffers take turns. Callers append to the one, the queue. The other, the front, is with the kernel,
//! which owns it until the send has completed. When all of it was sent, the queue becomes the front.

/// The output of one connection. Bytes leave in the order in which they were appended.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Where callers append.
    queued: Vec<u8>,
    front: Front,
    /// There was more than `RingConfig::backlog_bytes` since the output was last empty.
    backlogged: bool,
}

/// The buffer that is sent before the queue.
#[derive(Debug, Default)]
enum Front {
    #[default]
    None,
    /// The kernel took a part of it. It is sent on with the next turn.
    Unsent(ToSend),
    /// The kernel has it; `unsent` of its bytes have not gone out.
    InFlight { unsent: usize },
}

/// What the kernel is asked to send: `bytes[from..]`.
#[derive(Debug)]
pub(super) struct ToSend {
    pub(super) bytes: Vec<u8>,
    pub(super) from: usize,
}

impl ToSend {
    fn unsent(&self) -> usize {
        self.bytes.len() - self.from
    }
}

impl Output {
    /// Where to append. The spare buffers are asked when the first byte of a batch comes.
    pub(super) fn queue(&mut self, spares: &mut Spares) -> &mut Vec<u8> {
        if self.queued.capacity() == 0 {
            self.queued = spares.take();
        }
        &mut self.queued
    }

    /// Bytes that were appended and have not gone out.
    pub(super) fn bytes(&self) -> usize {
        let front = match &self.front {
            Front::None => 0,
            Front::Unsent(send) => send.unsent(),
            Front::InFlight { unsent } => *unsent,
        };
        front + self.queued.len()
    }

    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.front, Front::InFlight { .. })
    }

    /// Remembers that the backlog was longer than it should be; see `RingConfig::backlog_bytes`.
    pub(super) fn note_backlog(&mut self, backlog_bytes: usize) {
        self.backlogged |= self.bytes() > backlog_bytes;
    }

    /// Whether the backlog that was noted is gone now. True once.
    pub(super) fn take_drained(&mut self) -> bool {
        self.backlogged && self.bytes() == 0 && std::mem::take(&mut self.backlogged)
    }

    /// What to hand to the kernel now, if anything: one send at a time.
    pub(super) fn start_send(&mut self) -> Option<ToSend> {
        let send = match std::mem::take(&mut self.front) {
            Front::Unsent(send) => send,
            Front::None if !self.queued.is_empty() => {
                ToSend { bytes: std::mem::take(&mut self.queued), from: 0 }
            }
            other => {
                self.front = other;
                return None;
            }
        };
        self.front = Front::InFlight { unsent: send.unsent() };
        Some(send)
    }

    /// The send in flight ended, after `sent` bytes of `rest`.
    pub(super) fn on_sent(&mut self, sent: usize, rest: ToSend, spares: &mut Spares) {
        let Front::InFlight { unsent } = self.front else { panic!("a send ended that was not in flight") };
        assert_eq!(unsent, rest.unsent(), "another buffer came back than was sent");
        assert!(sent <= unsent, "more was sent than queued: {sent} of {unsent} bytes");
        let rest = ToSend { from: rest.from + sent, ..rest };
        if rest.unsent() > 0 {
            self.front = Front::Unsent(rest);
        } else {
            self.front = Front::None;
            spares.put(rest.bytes);
        }
    }

    /// Drops what has not gone out; the connection is lost. What is in flight stays until it completes.
    pub(super) fn abandon(&mut self, spares: &mut Spares) {
        spares.put(std::mem::take(&mut self.queued));
        if !self.is_in_flight() {
            self.front = Front::None;
        }
    }
}

/// Empty buffers that idle connections do not hold. The last one put is the next one taken: it is still in
/// the processor's cache.
#[derive(Debug)]
pub(super) struct Spares {
    buffers: Vec<Vec<u8>>,
    count_max: usize,
    bytes_max: usize,
}

impl Spares {
    /// Keeps at most `count_max` buffers of at most `bytes_max` bytes.
    pub(super) fn new(count_max: usize, bytes_max: usize) -> Spares {
        Spares { buffers: Vec::with_capacity(count_max), count_max, bytes_max }
    }

    fn take(&mut self) -> Vec<u8> {
        self.buffers.pop().unwrap_or_default()
    }

    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        if (1..=self.bytes_max).contains(&buffer.capacity()) && self.buffers.len() < self.count_max {
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order_whatever_the_kernel_takes() {
        let mut spares = Spares::new(2, 1 << 20);
        let mut output = Output::default();
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        let mut in_kernel: Option<ToSend> = None;
        for step in 0..20_000usize {
            if step < 10_000 {
                let piece: Vec<u8> = (0..step % 7).map(|byte| (step + byte) as u8).collect();
                output.queue(&mut spares).extend_from_slice(&piece);
                expected.extend_from_slice(&piece);
            }
            if let Some(send) = in_kernel.take() {
                let taken = (step % 11).min(send.unsent());
                wire.extend_from_slice(&send.bytes[send.from..send.from + taken]);
                output.on_sent(taken, send, &mut spares);
            }
            in_kernel = output.start_send();
            assert!(output.start_send().is_none(), "one at a time");
            assert_eq!(output.bytes(), expected.len() - wire.len());
        }
        assert_eq!(wire, expected);
    }

    #[test]
    fn drained_is_told_once_after_a_backlog() {
        let mut spares = Spares::new(2, 1 << 20);
        let mut output = Output::default();
        output.queue(&mut spares).extend_from_slice(&[0; 100]);
        output.note_backlog(100);
        assert!(!output.take_drained(), "not longer than allowed");
        output.note_backlog(99);
        assert!(!output.take_drained(), "not empty yet");
        let send = output.start_send().expect("something to send");
        output.on_sent(100, send, &mut spares);
        assert!(output.take_drained());
        assert!(!output.take_drained(), "once");
    }

    #[test]
    fn only_small_buffers_are_kept() {
        let mut spares = Spares::new(1, 1024);
        spares.put(Vec::with_capacity(4096));
        assert_eq!(spares.take().capacity(), 0);
        spares.put(Vec::with_capacity(512));
        spares.put(Vec::with_capacity(512));
        assert_eq!(spares.take().capacity(), 512);
        assert_eq!(spares.take().capacity(), 0);
    }
}
