//! Plain `send` and `recv` on a blocking socket, with deadlines.
//!
//! The kernel's own time limits of the socket (`SO_SNDTIMEO`, `SO_RCVTIMEO`) end a wait. They are durations,
//! while callers have deadlines, so setting them exactly would cost a system call each time. Instead a limit
//! is the largest power of two in milliseconds that does not go past the deadline: callers with the same time
//! to spare find it set already, and when it runs out too early the wait goes on with a shorter one. A
//! deadline is noticed within one tick of the kernel (1 to 10 ms) after it passed.

use super::{Stop, Transfer};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// Longest wait in the kernel when there is a deadline. Limits how far the time that is set can be from the
/// time that is left.
const WAIT_MS_MAX: u64 = 1 << 16;

/// A connected, blocking TCP socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// What `SO_SNDTIMEO` is set to.
    send_wait: Option<Duration>,
    /// What `SO_RCVTIMEO` is set to.
    receive_wait: Option<Duration>,
}

impl Socket {
    /// `stream` must be fresh: without time limits, and blocking.
    pub(super) fn new(stream: TcpStream) -> Socket {
        Socket { stream, send_wait: None, receive_wait: None }
    }

    /// Sends all of `outgoing`, then receives once into `incoming` unless that is empty.
    pub(super) fn transfer(
        &mut self,
        outgoing: &[u8],
        incoming: &mut [u8],
        deadline: Option<Instant>,
    ) -> Transfer {
        let mut transfer = Transfer::default();
        transfer.stop = self.try_transfer(outgoing, incoming, deadline, &mut transfer).err();
        transfer
    }

    fn try_transfer(
        &mut self,
        outgoing: &[u8],
        incoming: &mut [u8],
        deadline: Option<Instant>,
        transfer: &mut Transfer,
    ) -> Result<(), Stop> {
        while transfer.sent_bytes < outgoing.len() {
            self.limit_send(deadline)?;
            match self.stream.write(&outgoing[transfer.sent_bytes..]) {
                Ok(count) => transfer.sent_bytes += count,
                Err(error) => check_again(error)?,
            }
        }
        while transfer.received_bytes == 0 && !incoming.is_empty() {
            self.limit_receive(deadline)?;
            match self.stream.read(incoming) {
                Ok(0) => return Err(Stop::PeerClosed),
                Ok(count) => transfer.received_bytes = count,
                Err(error) => check_again(error)?,
            }
        }
        Ok(())
    }

    fn limit_send(&mut self, deadline: Option<Instant>) -> Result<(), Stop> {
        let wait = wait_until(deadline)?;
        if self.send_wait != wait {
            self.stream.set_write_timeout(wait).map_err(Stop::Failed)?;
            self.send_wait = wait;
        }
        Ok(())
    }

    fn limit_receive(&mut self, deadline: Option<Instant>) -> Result<(), Stop> {
        let wait = wait_until(deadline)?;
        if self.receive_wait != wait {
            self.stream.set_read_timeout(wait).map_err(Stop::Failed)?;
            self.receive_wait = wait;
        }
        Ok(())
    }

    /// Ends both directions. The peer notices at once; a second time has no effect.
    pub(super) fn shut_down(&self) {
        // Fails only if the connection is gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// How long the kernel may wait now, or that the deadline passed.
fn wait_until(deadline: Option<Instant>) -> Result<Option<Duration>, Stop> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Stop::Deadline);
    }
    let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).clamp(1, WAIT_MS_MAX);
    Ok(Some(Duration::from_millis(1 << left_ms.ilog2())))
}

/// Nothing if the call is to be made again: its time limit ran out, or a signal came.
fn check_again(error: io::Error) -> Result<(), Stop> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(()),
        _ => Err(Stop::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_powers_of_two_that_end_before_the_deadline() {
        for (left_ms, expected_ms) in [(5_000, 4096), (3_000, 2048), (100, 64), (600_000, WAIT_MS_MAX)] {
            let deadline = Instant::now() + Duration::from_millis(left_ms);
            let wait = wait_until(Some(deadline)).unwrap();
            assert_eq!(wait, Some(Duration::from_millis(expected_ms)), "{left_ms} ms left");
        }
        assert_eq!(wait_until(None).unwrap(), None);
        assert!(matches!(wait_until(Some(Instant::now())), Err(Stop::Deadline)));
    }
}
