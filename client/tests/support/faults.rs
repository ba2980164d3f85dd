//! What a test can have the node do wrong, and when.

use abide_net::frame::{Call, RejectReason};
use std::time::Duration;

/// When the node asks what to do.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// A connection was accepted by this core.
    Accepted { core: usize },
    /// HELLO has come; WELCOME was not sent yet.
    Hello { core: usize },
    /// A call has come, and was not made yet.
    BeforeCall { core: usize, call: &'a Call<'a> },
    /// The call was made (it may wait now); its answer was not sent yet.
    AfterCall { core: usize, call: &'a Call<'a> },
    /// The call's answer, if there is one yet, was sent.
    AfterReply { core: usize, call: &'a Call<'a> },
    /// A heartbeat has come.
    Heartbeat,
    /// The client says goodbye.
    Goodbye,
    /// The client cancels a call.
    Cancel,
}

/// What the node then does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// What a node should.
    Go,
    /// Closes the connection.
    Cut,
    /// Sends half of what it has to answer, and closes the connection. As `Cut` where there is no answer.
    CutMidReply,
    /// Turns the connection away.
    Reject(RejectReason, &'static str),
    /// Sends bytes that are no frame.
    Garbage,
    /// Sends whole frames that nobody asked for, and then goes on.
    Noise,
    /// Neither reads nor writes any more, and keeps the connection open.
    FallSilent,
    /// Goes on a little later.
    Delay(Duration),
}

/// The test's choice.
pub type Faults = Box<dyn FnMut(Moment<'_>) -> Act + Send>;
