//! One round trip in one system call: SEND linked with RECV on an io_uring, and one `io_uring_enter` until
//! both ended.
//!
//! # Access rules
//!
//! The kernel reads the outgoing bytes and writes the incoming ones behind the compiler's back, from the
//! submission of an operation to its completion. So:
//! - A [`Ring`] belongs to one thread, and nothing is under way on it between two calls of
//!   [`Ring::transfer`].
//! - During a transfer an [`InFlight`] borrows ring, socket and both buffers; nobody else touches them. It is
//!   private to this file and never leaves the stack frame that made it, so it is always dropped.
//! - An `InFlight` does not go away before each of its operations ended: its drop cancels them and waits,
//!   also while unwinding. If the kernel refuses even that, the process aborts, because the buffers could not
//!   be given back.
//! - All that is unsafe is to hand an operation to the queue, in [`InFlight::push`].
//!
//! # What the kernel does
//!
//! - A SEND with `MSG_WAITALL` that takes only a part of its bytes breaks the link (kernel 5.12 and later;
//!   from 6.0 on it tries again by itself first), and so does one that fails. The RECV then ends with
//!   `ECANCELED`, and the caller goes on with the rest. So a RECV never waits for the answer to half a
//!   request.
//! - `io_uring_enter` returns how many operations it took in, even if its wait then ran out of time or was
//!   interrupted by a signal. So its result is not looked at for more than refusals: what counts is which
//!   completions are there.

use super::{Stop, Transfer, UringUnavailable};
use io_uring::{IoUring, opcode, squeue, types};
use std::{
    io,
    marker::PhantomData,
    os::fd::{AsRawFd, BorrowedFd},
    time::{Duration, Instant},
};

/// A SEND, a RECV, and a cancellation of each.
const ENTRIES: u32 = 4;

/// Most bytes that one operation gets, so that its result fits an `i32`.
const OPERATION_BYTES_MAX: usize = 1 << 30;

/// Longest single wait, after which the deadline is looked at again. The kernel adds a wait to its clock;
/// this keeps the sum far from an overflow however far away the deadline is.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How long to wait for cancelled operations before they are cancelled again. A RECV that the kernel was just
/// about to start is not found by the first cancellation.
const CANCEL_ROUND: Duration = Duration::from_millis(10);

/// How long to wait before asking again when the kernel lacks memory for an operation.
const SHORT_OF_MEMORY_PAUSE: Duration = Duration::from_millis(1);

// What an operation's completion is recognised by.
const SEND: u64 = 1;
const RECEIVE: u64 = 2;
const CANCEL: u64 = 3;

/// An io_uring that runs one transfer at a time, for any socket.
pub(super) struct Ring {
    uring: IoUring,
}

impl Ring {
    /// Asks the kernel for a ring that only the calling thread will use.
    pub(super) fn new() -> Result<Ring, UringUnavailable> {
        // Completions are handled by the waiting thread itself, inside its `io_uring_enter` (6.1), rather
        // than whenever the kernel interrupts it. Older kernels answer EINVAL and get a ring without.
        let deferring =
            IoUring::builder().setup_single_issuer().setup_defer_taskrun().dontfork().build(ENTRIES);
        let uring = match deferring {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                IoUring::builder().dontfork().build(ENTRIES)
            }
            result => result,
        };
        let uring = uring.map_err(|error| UringUnavailable::new("io_uring_setup was refused", error))?;
        // The waits need 5.11 (time limits) and breaking links needs 5.12; the second feature came with 5.12.
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_native_workers() {
            let error = io::Error::from(io::ErrorKind::Unsupported);
            return Err(UringUnavailable::new("the kernel is older than 5.12", error));
        }
        Ok(Ring { uring })
    }

    /// Sends `outgoing`, then receives once into `incoming` unless that is empty. May do less without a
    /// reason, and then is to be called again with the rest.
    ///
    /// An error says that nothing was submitted. The ring must be dropped then, for its queue may not be
    /// empty.
    pub(super) fn transfer(
        &mut self,
        socket: BorrowedFd<'_>,
        outgoing: &[u8],
        incoming: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<Transfer, UringUnavailable> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(Transfer { stop: Some(Stop::Deadline), ..Transfer::default() });
        }
        let mut in_flight = InFlight::start(&mut self.uring, socket, outgoing, incoming);
        let all_ended = in_flight
            .wait(deadline)
            .map_err(|error| UringUnavailable::new("io_uring_enter was refused", error))?;
        if !all_ended {
            in_flight.cancel_and_wait();
        }
        Ok(in_flight.result())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Not part of this transfer.
    Absent,
    /// In the submission queue, or with the kernel.
    UnderWay,
    /// The kernel is done with it and its buffer: bytes moved, or a negated error number.
    Ended(i32),
}

/// The operations of one transfer. Borrows what they use until they ended; see the access rules.
struct InFlight<'a> {
    uring: &'a mut IoUring,
    send: Operation,
    /// What a successful SEND returns.
    send_bytes: usize,
    receive: Operation,
    cancellations_under_way: usize,
    uses: PhantomData<(BorrowedFd<'a>, &'a [u8], &'a mut [u8])>,
}

impl<'a> InFlight<'a> {
    /// Queues the operations. The kernel hears of them in the first `enter`.
    fn start(
        uring: &'a mut IoUring,
        socket: BorrowedFd<'a>,
        outgoing: &'a [u8],
        incoming: &'a mut [u8],
    ) -> InFlight<'a> {
        let socket = types::Fd(socket.as_raw_fd());
        let send_bytes = outgoing.len().min(OPERATION_BYTES_MAX);
        let receives = !incoming.is_empty() && send_bytes == outgoing.len();
        let mut this = InFlight {
            uring,
            send: Operation::Absent,
            send_bytes,
            receive: Operation::Absent,
            cancellations_under_way: 0,
            uses: PhantomData,
        };
        if send_bytes > 0 {
            let link = if receives { squeue::Flags::IO_LINK } else { squeue::Flags::empty() };
            let send = opcode::Send::new(socket, outgoing.as_ptr(), send_bytes as u32)
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build();
            // SAFETY: reads `outgoing` through `socket`, both borrowed for 'a.
            unsafe { this.push(send.flags(link).user_data(SEND)) };
            this.send = Operation::UnderWay;
        }
        if receives {
            let receive_bytes_max = incoming.len().min(OPERATION_BYTES_MAX) as u32;
            let receive = opcode::Recv::new(socket, incoming.as_mut_ptr(), receive_bytes_max).build();
            // SAFETY: writes to `incoming` through `socket`, borrowed for 'a, the former exclusively.
            unsafe { this.push(receive.user_data(RECEIVE)) };
            this.receive = Operation::UnderWay;
        }
        this
    }

    /// Queues one operation, whose state becomes `UnderWay`.
    ///
    /// # Safety
    /// The operation must use nothing but what is borrowed for 'a, exclusively where it writes.
    unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller vouches for what the operation uses until 'a ends, and that is not before the
        // operation is: `self` does not outlive 'a, its drop waits for the completion, and nothing in this
        // file skips that drop.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        // The queue was empty at the start, and it has room for one of each kind of operation.
        pushed.expect("the submission queue has room for what one transfer needs");
    }

    /// Submits the operations and waits until they ended. `false` if some did not: the deadline passed, or
    /// the RECV waits in vain because the request did not go out whole. An error if the kernel took in none
    /// of them.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        let queued = self.uring.submission().len();
        // Linked operations end together, so the usual round trip is one call. Any further one is for
        // something unusual (a signal, a kernel short of memory that broke the pair) and looks at each
        // completion.
        let mut wanted = self.under_way();
        while self.under_way() > 0 {
            if matches!(self.send, Operation::Ended(result) if result != self.send_bytes as i32) {
                return Ok(false);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if let Err(error) = self.enter(wanted, left) {
                if self.uring.submission().len() < queued {
                    abort(&error);
                }
                (self.send, self.receive) = (Operation::Absent, Operation::Absent);
                return Err(error);
            }
            if self.under_way() > 0 && left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            wanted = 1;
        }
        Ok(true)
    }

    /// Ends what is under way. Afterwards the kernel uses neither the buffers nor the socket.
    fn cancel_and_wait(&mut self) {
        while self.under_way() + self.cancellations_under_way > 0 {
            // The SEND first: the RECV linked to it ends with it.
            for (operation, user_data) in [(self.send, SEND), (self.receive, RECEIVE)] {
                if operation == Operation::UnderWay && self.cancellations_under_way < 2 {
                    let cancellation = opcode::AsyncCancel::new(user_data).build().user_data(CANCEL);
                    // SAFETY: a cancellation uses no memory.
                    unsafe { self.push(cancellation) };
                    self.cancellations_under_way += 1;
                }
            }
            let wanted = self.under_way() + self.cancellations_under_way;
            if let Err(error) = self.enter(wanted, Some(CANCEL_ROUND)) {
                abort(&error);
            }
        }
    }

    /// Submits what is queued, waits for `wanted` completions or until `wait_max` is over, and takes note of
    /// those that came.
    fn enter(&mut self, wanted: usize, wait_max: Option<Duration>) -> io::Result<()> {
        let timespec = types::Timespec::from(wait_max.unwrap_or_default().min(WAIT_MAX));
        let forever = types::SubmitArgs::new();
        let arguments = if wait_max.is_some() { forever.timespec(&timespec) } else { forever };
        if let Err(error) = self.uring.submitter().submit_with_args(wanted, &arguments) {
            match error.raw_os_error() {
                Some(libc::EINTR | libc::ETIME) => {}
                Some(libc::EAGAIN | libc::EBUSY) => std::thread::sleep(SHORT_OF_MEMORY_PAUSE),
                _ => return Err(error),
            }
        }
        for completion in self.uring.completion() {
            match completion.user_data() {
                SEND => self.send = Operation::Ended(completion.result()),
                RECEIVE => self.receive = Operation::Ended(completion.result()),
                cancellation => {
                    debug_assert_eq!(cancellation, CANCEL);
                    self.cancellations_under_way -= 1;
                }
            }
        }
        Ok(())
    }

    /// What the operations moved. Cancelled ones moved nothing and are no reason to stop: the next step finds
    /// out whether the deadline passed.
    fn result(&self) -> Transfer {
        let mut transfer = Transfer::default();
        match self.receive {
            Operation::Ended(0) => transfer.stop = Some(Stop::PeerClosed),
            Operation::Ended(count) if count > 0 => transfer.received_bytes = count as usize,
            Operation::Ended(error) => transfer.stop = stop_for(error),
            Operation::Absent | Operation::UnderWay => {}
        }
        // Looked at last: if both stopped, the RECV did because the SEND did.
        match self.send {
            Operation::Ended(count) if count >= 0 => transfer.sent_bytes = count as usize,
            Operation::Ended(error) => transfer.stop = stop_for(error),
            Operation::Absent | Operation::UnderWay => {}
        }
        transfer
    }

    fn under_way(&self) -> usize {
        usize::from(self.send == Operation::UnderWay) + usize::from(self.receive == Operation::UnderWay)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.cancel_and_wait();
    }
}

fn stop_for(negated_error: i32) -> Option<Stop> {
    match -negated_error {
        libc::ECANCELED | libc::EINTR | libc::EAGAIN => None,
        error => Some(Stop::Failed(io::Error::from_raw_os_error(error))),
    }
}

/// The kernel may still write into memory that would be reused after a return.
fn abort(error: &io::Error) -> ! {
    eprintln!(
        "abide: io_uring_enter fails ({error}) while operations are under way; aborting to keep memory intact"
    );
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    };

    /// What this kernel gives, and what an older one would. None where io_uring is forbidden.
    fn rings() -> Vec<Ring> {
        let older = || Some(Ring { uring: IoUring::new(ENTRIES).ok()? });
        let rings: Vec<_> = [Ring::new().ok(), older()].into_iter().flatten().collect();
        if rings.is_empty() {
            eprintln!("SKIPPED: io_uring is forbidden here");
        }
        rings
    }

    fn soon(milliseconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    /// A new transfer on `ring` works, and the kernel does not write into `given_up` any more.
    fn assert_settled(ring: &mut Ring, given_up: &[u8], given_up_peer: &mut UnixStream) {
        given_up_peer.write_all(&[0xEE; 100]).unwrap();
        let (socket, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"answer").unwrap();
        let mut incoming = [0; 100];
        let transfer = ring.transfer(socket.as_fd(), b"request", &mut incoming, soon(5_000)).unwrap();
        assert_eq!((transfer.sent_bytes, transfer.received_bytes), (7, 6), "{transfer:?}");
        assert_eq!(&incoming[..6], b"answer");
        assert!(given_up.iter().all(|byte| *byte == 0xAA));
        assert!(ring.uring.submission().is_empty() && ring.uring.completion().is_empty());
    }

    #[test]
    fn a_transfer_that_is_given_up_leaves_its_memory_alone() {
        for mut ring in rings() {
            for submitted in [true, false] {
                let (socket, mut peer) = UnixStream::pair().unwrap();
                let mut incoming = [0xAA; 1000];
                let mut in_flight = InFlight::start(&mut ring.uring, socket.as_fd(), b"?", &mut incoming);
                if submitted {
                    in_flight.enter(0, None).unwrap();
                }
                drop(in_flight);
                assert_settled(&mut ring, &incoming, &mut peer);
            }
        }
    }

    #[test]
    fn a_thread_that_unwinds_leaves_nothing_under_way() {
        for mut ring in rings() {
            let (socket, mut peer) = UnixStream::pair().unwrap();
            let mut incoming = [0xAA; 1000];
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let mut in_flight = InFlight::start(&mut ring.uring, socket.as_fd(), b"?", &mut incoming);
                in_flight.enter(0, None).unwrap();
                resume_unwind(Box::new("on purpose"));
            }));
            assert!(unwound.is_err());
            assert_settled(&mut ring, &incoming, &mut peer);
        }
    }

    #[test]
    fn a_blocked_send_ends_together_with_its_linked_receive() {
        for mut ring in rings() {
            let (socket, mut peer) = UnixStream::pair().unwrap();
            let outgoing = vec![1; 4 << 20];
            let mut incoming = [0xAA; 1000];
            let begin = Instant::now();
            let transfer = ring.transfer(socket.as_fd(), &outgoing, &mut incoming, soon(50)).unwrap();
            assert!(begin.elapsed() >= Duration::from_millis(50));
            assert!(transfer.sent_bytes > 0 && transfer.sent_bytes < outgoing.len(), "{transfer:?}");
            assert!(transfer.received_bytes == 0 && transfer.stop.is_none(), "{transfer:?}");

            // Exactly the bytes that were reported as sent are there.
            peer.set_nonblocking(true).unwrap();
            let mut arrived = Vec::new();
            peer.read_to_end(&mut arrived).unwrap_err();
            assert_eq!(arrived.len(), transfer.sent_bytes);
            peer.set_nonblocking(false).unwrap();
            assert_settled(&mut ring, &incoming, &mut peer);
        }
    }

    #[test]
    fn a_receive_that_waits_for_the_answer_to_half_a_request_is_ended() {
        for mut ring in rings() {
            let (socket, mut peer) = UnixStream::pair().unwrap();
            let mut incoming = [0xAA; 1000];
            let mut in_flight = InFlight::start(&mut ring.uring, socket.as_fd(), b"half", &mut incoming);
            // As if the kernel had taken in the SEND alone, for want of memory, and had then sent a part of
            // it.
            in_flight.enter(0, None).unwrap();
            in_flight.send_bytes = 8;
            let begin = Instant::now();
            assert!(!in_flight.wait(soon(5_000)).unwrap());
            assert!(begin.elapsed() < Duration::from_secs(4));
            in_flight.cancel_and_wait();
            assert_eq!(in_flight.result().sent_bytes, 4);
            drop(in_flight);
            assert_settled(&mut ring, &incoming, &mut peer);
        }
    }
}
