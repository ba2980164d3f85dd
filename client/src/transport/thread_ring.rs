//! The calling thread's ring: made when it is first needed, dropped with the thread.
//!
//! A ring costs a file descriptor and a few pages, and serves every connection that the thread uses. It is
//! never shared, so neither this code nor the kernel locks anything.

use super::{Transfer, UringUnavailable, uring::Ring};
use std::{
    cell::RefCell,
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Instant,
};

enum Slot {
    Untried,
    Ready(Box<Ring>),
    /// Kept, so that a thread without a ring does not ask for one in each round trip.
    Refused(UringUnavailable),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Untried) };
}

/// Makes this thread's ring unless it has one. Asks again if it was refused before.
pub(super) fn prepare() -> Result<(), UringUnavailable> {
    with_slot(|slot| {
        if matches!(slot, Slot::Refused(_)) {
            *slot = Slot::Untried;
        }
        slot.ring().map(|_| ())
    })
}

/// Makes this thread's ring and sees it carry a byte in each direction: a sandbox may permit one call and not
/// the other.
pub(super) fn try_out() -> Result<(), UringUnavailable> {
    prepare()?;
    let socket_pair = UnixStream::pair().and_then(|(this, mut peer)| {
        peer.write_all(b"?")?;
        Ok((this, peer))
    });
    let (this, _peer) =
        socket_pair.map_err(|error| UringUnavailable::new("no socket pair to try it with", error))?;
    let mut incoming = [0];
    let transfer = transfer(this.as_fd(), b"!", &mut incoming, None)?;
    if transfer.sent_bytes == 1 && transfer.received_bytes == 1 {
        return Ok(());
    }
    let error = io::Error::other(format!("{transfer:?}"));
    Err(UringUnavailable::new("it does not carry bytes on a socket pair", error))
}

/// [`Ring::transfer`] on this thread's ring. An error says that nothing was submitted.
pub(super) fn transfer(
    socket: BorrowedFd<'_>,
    outgoing: &[u8],
    incoming: &mut [u8],
    deadline: Option<Instant>,
) -> Result<Transfer, UringUnavailable> {
    with_slot(|slot| {
        let result = slot.ring()?.transfer(socket, outgoing, incoming, deadline);
        result.map_err(|unavailable| slot.refuse(unavailable))
    })
}

impl Slot {
    fn ring(&mut self) -> Result<&mut Ring, UringUnavailable> {
        if let Slot::Untried = self {
            match Ring::new() {
                Ok(ring) => *self = Slot::Ready(Box::new(ring)),
                Err(unavailable) => return Err(self.refuse(unavailable)),
            }
        }
        match self {
            Slot::Ready(ring) => Ok(ring),
            Slot::Refused(unavailable) => Err(unavailable.clone()),
            Slot::Untried => unreachable!("the slot was filled above"),
        }
    }

    fn refuse(&mut self, unavailable: UringUnavailable) -> UringUnavailable {
        tracing::debug!(%unavailable, cause = %unavailable.cause(), "this thread has no io_uring");
        *self = Slot::Refused(unavailable.clone());
        unavailable
    }
}

/// Runs `work` on this thread's slot. A thread that is past the end of its thread-local values has none any
/// more.
fn with_slot<T>(work: impl FnOnce(&mut Slot) -> Result<T, UringUnavailable>) -> Result<T, UringUnavailable> {
    let ran = SLOT.try_with(|slot| match slot.try_borrow_mut() {
        Ok(mut slot) => Some(work(&mut slot)),
        // A subscriber of `tracing` that uses a connection to report on this one.
        Err(_) => None,
    });
    match ran {
        Ok(Some(result)) => result,
        Ok(None) => {
            Err(UringUnavailable::new("the thread's ring is in use", io::ErrorKind::WouldBlock.into()))
        }
        Err(_) => Err(UringUnavailable::new("the thread is ending", io::ErrorKind::Unsupported.into())),
    }
}
