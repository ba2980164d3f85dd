//! The io_uring itself: what is submitted, what completes, and who owns the memory meanwhile.
//!
//! Access rules. All system calls on the ring come from the thread that opened it (the kernel enforces that).
//! The kernel may read or write memory from the moment an operation is pushed until its last completion was
//! reaped. So every operation that names memory names memory that this type owns, and gives it back only
//! with that completion:
//!
//! | operation     | memory                            | is given back                              |
//! |---------------|-----------------------------------|--------------------------------------------|
//! | send          | `flights[index]`, a moved-in `Vec`| as `Completion::Sent { rest, .. }`         |
//! | receive       | `buffers`                         | as `ReceivedBuffer`, one for each message  |
//! | accept retry  | `retry_after`                     | never: it lives as long as this            |
//!
//! A descriptor that an operation names must stay open until the operation has been submitted; connections
//! keep theirs until all of their operations have ended.

use super::{
    buffers::{Buffers, ReceivedBuffer},
    config::{RingConfig, RingError},
    output::ToSend,
    token::{Operation, Token},
};
use io_uring::{
    EnterFlags, IoUring, cqueue, opcode, squeue,
    types::{CancelBuilder, Fd, SubmitArgs, Timespec},
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    rc::Rc,
    time::{Duration, Instant},
};

/// The one group of provided buffers.
const BUFFER_GROUP: u16 = 0;

/// For how long dropping a ring waits for the kernel to end what was cancelled. It does so at once; the
/// bound keeps a fault from hanging a node that stops.
const QUIESCE_MAX: Duration = Duration::from_secs(5);

/// What the kernel has done.
#[derive(Debug)]
pub(super) enum Completion {
    /// The listener accepted, or stopped accepting (not `armed`).
    Accept { result: io::Result<OwnedFd>, armed: bool },
    /// The timer of `Kernel::accept_retry` fired.
    AcceptRetry,
    /// Bytes, or `None`: the peer will send no more. Not `armed`: the multishot receive has ended.
    Receive { index: u32, result: io::Result<Option<ReceivedBuffer>>, armed: bool },
    /// A send ended, after so many bytes of `rest`.
    Sent { index: u32, result: io::Result<usize>, rest: ToSend },
}

/// The submission queue is full, and the kernel takes nothing from it now.
#[derive(Debug)]
pub(super) struct QueueFull;

/// One io_uring, its listener and the memory that the kernel uses.
pub(super) struct Kernel {
    ring: IoUring,
    listener: TcpListener,
    buffers: Rc<Buffers>,
    /// The send in flight of the connection at each place.
    flights: Vec<Option<ToSend>>,
    retry_after: Box<Timespec>,
    send_bytes_max: u32,
    /// Operations of which the last completion was not reaped yet.
    outstanding: usize,
    /// System calls made so far.
    enters: u64,
}

impl Kernel {
    /// Opens the ring. `bell` is the eventfd that `set_bell` switches on; it is off at first.
    pub(super) fn new(
        listener: TcpListener,
        config: &RingConfig,
        bell: BorrowedFd<'_>,
    ) -> Result<Kernel, RingError> {
        let ring = IoUring::builder()
            .setup_cqsize(config.completion_entries)
            .setup_clamp()
            .setup_submit_all()
            // Completions are posted only during our own calls, from this thread: batched, and no interrupt
            // in between. The flag tells without a call that there is something to post.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(config.submission_entries)
            .map_err(|error| RingError::from_setup("io_uring_setup", error))?;
        let buffers = Buffers::new(config.receive_buffer_count, config.receive_buffer_bytes)
            .map_err(|source| RingError::System { action: "mapping the receive buffers", source })?;
        // SAFETY: the address is of `count` entries, which live until `buffers` is dropped. `Drop` for
        // `Kernel` keeps a reference until the ring has no operation left that could use them.
        unsafe {
            let submitter = ring.submitter();
            submitter.register_buf_ring_with_flags(
                buffers.entries_address(),
                buffers.count(),
                BUFFER_GROUP,
                0,
            )
        }
        .map_err(|error| RingError::from_setup("registering the receive buffers", error))?;
        let mut kernel = Kernel {
            ring,
            listener,
            buffers,
            flights: Vec::new(),
            retry_after: Box::new(Timespec::from(config.accept_retry)),
            send_bytes_max: config.send_bytes_max,
            outstanding: 0,
            enters: 0,
        };
        kernel.set_bell(false);
        let registered = kernel.ring.submitter().register_eventfd(bell.as_raw_fd());
        registered.map_err(|error| RingError::from_setup("registering the eventfd", error))?;
        Ok(kernel)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    pub(super) fn free_buffers(&self) -> u16 {
        self.buffers.free()
    }

    /// Whether the kernel signals the eventfd when there is something to reap. What was there before is not
    /// signalled: after switching it on, `enter` once before relying on it.
    pub(super) fn set_bell(&mut self, on: bool) {
        let completions = self.ring.completion();
        if on { completions.enable_eventfd() } else { completions.disable_eventfd() }
    }

    // ---- submitting -------------------------------------------------------------------------------------

    /// Makes room for `operations`, by a call to the kernel if need be. What follows can count on it.
    pub(super) fn reserve(&mut self, operations: usize) -> Result<(), QueueFull> {
        if self.room() < operations
            && let Err(error) = self.enter()
        {
            tracing::warn!(%error, "the kernel takes no further operations for now");
        }
        if self.room() < operations { Err(QueueFull) } else { Ok(()) }
    }

    fn room(&mut self) -> usize {
        let submissions = self.ring.submission();
        submissions.capacity() - submissions.len()
    }

    /// Starts the multishot accept, of which there is none.
    pub(super) fn accept(&mut self) {
        let entry = opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: the operation names no memory, and the listener is open as long as `self`.
        unsafe { self.push(Token::new(Operation::Accept, 0), entry) }
    }

    /// Starts the timer after which accepting is tried again.
    pub(super) fn accept_retry(&mut self) {
        let entry = opcode::Timeout::new(&*self.retry_after).build();
        // SAFETY: the time is on the heap, never changes, and lives until no operation is outstanding.
        unsafe { self.push(Token::new(Operation::AcceptRetry, 0), entry) }
    }

    /// Starts a multishot receive for the connection at `index`, which has none.
    pub(super) fn receive(&mut self, index: u32, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), BUFFER_GROUP).build();
        // SAFETY: the operation writes to the buffers of the group alone, which live until no operation is
        // outstanding. The caller keeps the socket open until this operation has ended.
        unsafe { self.push(Token::new(Operation::Receive, index), entry) }
    }

    /// Starts a send for the connection at `index`, which has none.
    pub(super) fn send(&mut self, index: u32, socket: BorrowedFd<'_>, send: ToSend) {
        let place = index as usize;
        if self.flights.len() <= place {
            self.flights.resize_with(place + 1, || None);
        }
        assert!(self.flights[place].is_none(), "connection {index} has a send in flight already");
        let send = self.flights[place].insert(send);
        let part = &send.bytes[send.from..];
        let length = part.len().min(self.send_bytes_max as usize) as u32;
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), part.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the bytes are on the heap and stay there unchanged: `flights` owns the buffer until the
        // completion of this operation is reaped, or until `Drop` knows that there is none left. The caller
        // keeps the socket open until this operation has ended.
        unsafe { self.push(Token::new(Operation::Send, index), entry) }
    }

    /// Asks the kernel to end an operation. It completes as usual, with what it has done so far.
    pub(super) fn cancel(&mut self, operation: Operation, index: u32) {
        let target = Token::new(operation, index).to_user_data();
        let entry = opcode::AsyncCancel::new(target).build().flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the operation names no memory and no descriptor.
        unsafe { self.push(Token::new(Operation::Cancel, index), entry) }
    }

    /// Appends to the submission queue, in which there is room.
    ///
    /// # Safety
    /// Memory that the operation names must stay valid, and its descriptor open, until its last completion
    /// was reaped.
    unsafe fn push(&mut self, token: Token, entry: squeue::Entry) {
        let entry = entry.user_data(token.to_user_data());
        // SAFETY: the caller's promise.
        unsafe { self.ring.submission().push(&entry) }.expect("room was reserved");
        if token.operation != Operation::Cancel {
            self.outstanding += 1;
        }
    }

    /// Whether something was pushed that the kernel has not taken.
    pub(super) fn has_submissions(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// Whether `enter` would find something to do.
    pub(super) fn needs_enter(&mut self) -> bool {
        let submissions = self.ring.submission();
        !submissions.is_empty() || submissions.taskrun() || submissions.cq_overflow()
    }

    /// Hands everything that was pushed to the kernel and posts what has completed: one system call.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        let to_submit = self.ring.submission().len() as u32;
        let flags = EnterFlags::GETEVENTS.bits();
        loop {
            self.enters += 1;
            // SAFETY: no argument is passed. What the pushed operations name is valid, as promised to `push`.
            let entered = unsafe { self.ring.submitter().enter::<libc::sigset_t>(to_submit, 0, flags, None) };
            match entered {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Short of memory, or completions must be reaped first. What was pushed stays pushed.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY)) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    // ---- completing -------------------------------------------------------------------------------------

    pub(super) fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// The next thing that the kernel has done, without a system call.
    pub(super) fn reap(&mut self) -> Option<Completion> {
        loop {
            let completion = self.ring.completion().next()?;
            let token = Token::from_user_data(completion.user_data());
            let (result, flags) = (completion.result(), completion.flags());
            let armed = cqueue::more(flags);
            if !armed && token.operation != Operation::Cancel {
                self.outstanding -= 1;
            }
            return Some(match token.operation {
                Operation::Cancel => continue, // only failures arrive here: the operation had ended already
                Operation::AcceptRetry => Completion::AcceptRetry,
                Operation::Accept => {
                    // SAFETY: a non-negative result of an accept is a descriptor that nobody else has.
                    let socket = outcome(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) });
                    Completion::Accept { result: socket, armed }
                }
                Operation::Receive => {
                    let buffer = cqueue::buffer_select(flags).map(|id| {
                        // SAFETY: this completion carries the buffer, and is consumed here. It is of our ring,
                        // in which these buffers are the only group.
                        unsafe { self.buffers.lend(id, result.max(0) as u32) }
                    });
                    let result = outcome(result).map(|length| buffer.filter(|_| length > 0));
                    Completion::Receive { index: token.index, result, armed }
                }
                Operation::Send => {
                    let flight = self.flights.get_mut(token.index as usize).and_then(Option::take);
                    let rest = flight.expect("a send that completes was in flight");
                    Completion::Sent { index: token.index, result: outcome(result).map(|n| n as usize), rest }
                }
            });
        }
    }

    // ---- the end ----------------------------------------------------------------------------------------

    /// Cancels everything and waits until the kernel is done with our memory. Answers whether it is.
    fn quiesce(&mut self) -> bool {
        let deadline = Instant::now() + QUIESCE_MAX;
        let step = Timespec::from(Duration::from_millis(100));
        while self.outstanding > 0 && Instant::now() < deadline {
            // What was only pushed has to be submitted first, or it could not be cancelled.
            if self.enter().is_err() {
                return false;
            }
            let _ = self.ring.submitter().register_sync_cancel(Some(step), CancelBuilder::any());
            while self.reap().is_some() {}
            if self.outstanding > 0 {
                let wait = SubmitArgs::new().timespec(&step);
                let _ = self.ring.submitter().submit_with_args(1, &wait);
                while self.reap().is_some() {}
            }
        }
        self.outstanding == 0
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if !self.quiesce() {
            // Memory that the kernel may still write to or read from must not be used for anything else.
            tracing::error!(
                operations = self.outstanding,
                "io_uring did not end its operations; leaking their buffers"
            );
            std::mem::forget(std::mem::take(&mut self.flights));
            std::mem::forget(Rc::clone(&self.buffers));
        }
    }
}

/// A completion's result as Rust has it.
fn outcome(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}
