//! The standard error of a child: passed on line by line, its end kept for the error message.

use std::io::{self, Write};

/// How much of the end is kept: about a screen.
const TAIL_BYTES: usize = 4 << 10;

/// A line longer than this is passed on in pieces.
const LINE_BYTES: usize = 8 << 10;

/// Passes bytes on in whole lines, so that the lines of several children do not mix.
#[derive(Debug)]
pub(super) struct Lines<W> {
    out: W,
    /// What came after the last end of line.
    pending: Vec<u8>,
    /// The last bytes, up to twice as many as are wanted, so that they are rarely moved.
    tail: Vec<u8>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Lines { out, pending: Vec::new(), tail: Vec::new() }
    }

    /// Takes what the child wrote.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
        self.pending.extend_from_slice(bytes);
        let whole = match self.pending.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.pending.len() > LINE_BYTES => self.pending.len(),
            None => 0,
        };
        self.pass_on(whole);
    }

    fn pass_on(&mut self, count: usize) {
        // Nobody can be told that standard error is closed.
        let _ = self.out.write_all(&self.pending[..count]);
        self.pending.drain(..count);
    }

    /// Passes on what is left, and gives the last lines as text.
    pub(super) fn finish(mut self) -> String {
        self.pass_on(self.pending.len());
        let mut tail = &self.tail[self.tail.len().saturating_sub(TAIL_BYTES)..];
        if self.tail.len() > TAIL_BYTES {
            // Begin with a whole line, if the tail has one.
            let newline = tail.iter().position(|&byte| byte == b'\n');
            tail = newline.map_or(tail, |newline| &tail[newline + 1..]);
        }
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }
}

impl Lines<io::Stderr> {
    /// To this program's own standard error.
    pub(super) fn to_stderr() -> Self {
        Lines::new(io::stderr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_whole() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.push(b"one\ntw");
        assert_eq!(lines.out.as_slice(), b"one\n");
        lines.push(b"o\nthree");
        assert_eq!(lines.finish(), "one\ntwo\nthree");
        assert_eq!(out, b"one\ntwo\nthree");
    }

    #[test]
    fn the_tail_is_bounded_and_begins_with_a_whole_line() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for number in 0..10_000 {
            lines.push(format!("line {number}\n").as_bytes());
        }
        let tail = lines.finish();
        assert!(tail.len() <= TAIL_BYTES && tail.len() > TAIL_BYTES - 20, "{}", tail.len());
        assert!(tail.starts_with("line ") && tail.ends_with("line 9999"), "{tail}");
    }

    #[test]
    fn a_line_without_end_needs_no_unbounded_memory() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for _ in 0..100 {
            lines.push(&[b'x'; 1000]);
            assert!(lines.pending.len() <= LINE_BYTES);
        }
        assert_eq!(lines.finish().len(), TAIL_BYTES);
        assert_eq!(out.len(), 100_000);
    }
}
