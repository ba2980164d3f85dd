//! Everything that goes between a program and one of its children, on one thread and without blocking on any of it.

use super::{stderr::Lines, wire};
use crate::task::Header;
use abide_net::codec;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    io::{self, Read, Write},
    os::{fd::BorrowedFd, unix::net::UnixStream},
    process::ChildStderr,
};

/// Most bytes that one source may deliver before the others get a turn. More than a pipe or a socket can hold
/// when its writer has ended, so that the last turn reads all there is.
const TURN_BYTES: usize = 1 << 20;

/// The conversation with one child: sends its task, and collects its reply and its standard error.
///
/// Waits for the child's end rather than for the end of the streams: a process that the function left behind
/// may keep those open for as long as it likes.
pub(super) struct Exchange<'a> {
    channel: Option<UnixStream>,
    stderr: Option<ChildStderr>,
    /// What is still to be sent, the next part last.
    outgoing: Vec<Outgoing<'a>>,
    received: Vec<u8>,
    lines: Lines<io::Stderr>,
}

/// Part of what is sent, without a copy of the arguments.
struct Outgoing<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    sent: usize,
}

/// What the child left.
pub(super) struct Exchanged {
    pub(super) received: Vec<u8>,
    pub(super) stderr_tail: String,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        channel: UnixStream,
        stderr: ChildStderr,
        header: &Header,
        arguments: &'a [u8],
    ) -> io::Result<Self> {
        channel.set_nonblocking(true)?;
        rustix::io::ioctl_fionbio(&stderr, true)?;
        let mut head = Vec::new();
        let header = codec::encode(header).map_err(io::Error::other)?;
        head.extend_from_slice(&wire::length(&header));
        head.extend_from_slice(&header);
        head.extend_from_slice(&wire::length(arguments));
        let outgoing =
            vec![Outgoing { bytes: arguments.into(), sent: 0 }, Outgoing { bytes: head.into(), sent: 0 }];
        Ok(Exchange {
            channel: Some(channel),
            stderr: Some(stderr),
            outgoing,
            received: Vec::new(),
            lines: Lines::to_stderr(),
        })
    }

    /// Talks until the child has ended, which `ended` shows by becoming readable.
    pub(super) fn run(mut self, ended: BorrowedFd<'_>) -> io::Result<Exchanged> {
        loop {
            // The sources say only that there is something to do; each is then asked without blocking. If the
            // child had ended before that, then that was the last of it.
            let over = self.wait(ended)?;
            self.send();
            self.receive();
            self.read_stderr();
            if over {
                return Ok(Exchanged { received: self.received, stderr_tail: self.lines.finish() });
            }
        }
    }

    fn wait(&self, ended: BorrowedFd<'_>) -> io::Result<bool> {
        let mut sources = vec![PollFd::from_borrowed_fd(ended, PollFlags::IN)];
        if let Some(channel) = &self.channel {
            let send = if self.outgoing.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            sources.push(PollFd::new(channel, PollFlags::IN | send));
        }
        sources.extend(self.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        match poll(&mut sources, None) {
            Ok(_) => Ok(!sources[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self) {
        while let (Some(channel), Some(part)) = (&mut self.channel, self.outgoing.last_mut()) {
            if part.sent == part.bytes.len() {
                self.outgoing.pop();
                continue;
            }
            match channel.write(&part.bytes[part.sent..]) {
                Ok(count) => part.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The child does not listen any more. What it says, or how it ends, tells why.
                Err(_) => self.outgoing.clear(),
            }
        }
    }

    fn receive(&mut self) {
        let received = &mut self.received;
        drain(&mut self.channel, |bytes| received.extend_from_slice(bytes));
    }

    fn read_stderr(&mut self) {
        let lines = &mut self.lines;
        drain(&mut self.stderr, |bytes| lines.push(bytes));
    }
}

/// Reads what is there. Closes the source at its end.
fn drain(source: &mut Option<impl Read>, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 << 10];
    let mut left = TURN_BYTES;
    while let Some(open) = source
        && left > 0
    {
        match open.read(&mut buffer) {
            Ok(0) => *source = None,
            Ok(count) => {
                take(&buffer[..count]);
                left = left.saturating_sub(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(_) => *source = None,
        }
    }
}
