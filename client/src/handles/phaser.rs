//! [`Phaser`].

use super::{handle, millis};
use crate::mode::Mode;
use abide_schema::types::phaser;
use std::time::Duration;

handle! {
    /// A barrier whose parties come and go: each phase ends when all that are registered have arrived.
    ///
    /// A party belongs to the session that registered it, and is deregistered when that ends; those of the creation belong to
    /// nobody.
    ///
    /// ```no_run
    /// # fn step() -> bool { true }
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let phaser = abide_client::Store::current()?.phaser("steps");
    /// phaser.register()?;
    /// while step() {
    ///     phaser.arrive_and_wait()?;
    /// }
    /// phaser.arrive_and_deregister()?; // the others go on without this one
    /// # Ok(())
    /// # }
    /// ```
    pub struct Phaser of phaser, arguments;
}

impl<M: Mode> Phaser<M> {
    /// Adds a party. Returns the phase.
    pub fn register(&self) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::Register {}), Ok)
    }

    /// Adds `n` parties. Returns the phase.
    pub fn bulk_register(&self, n: u32) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::BulkRegister { n }), Ok)
    }

    /// One party arrives, without waiting. Returns the phase that it arrives in. `Denied` if all have arrived or none are there.
    pub fn arrive(&self) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::Arrive {}), Ok)
    }

    /// One party arrives and waits for the phase to end. Returns the next one. `Broken` if the phaser is deleted meanwhile.
    pub fn arrive_and_wait(&self) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::ArriveAndWait { timeout_ms: None }), Ok)
    }

    /// As [`arrive_and_wait`](Self::arrive_and_wait), for so long at most. `TimedOut` then.
    pub fn arrive_and_wait_timeout(&self, timeout: Duration) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::ArriveAndWait { timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// One party arrives and is no party any more. Returns the phase that it arrives in.
    pub fn arrive_and_deregister(&self) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::ArriveAndDeregister {}), Ok)
    }

    /// Waits until the phase is another than this one. Returns the one that is then.
    pub fn await_phase(&self, phase: u64) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::AwaitPhase { phase, timeout_ms: None }), Ok)
    }

    /// As [`await_phase`](Self::await_phase), for so long at most. `TimedOut` then.
    pub fn await_phase_timeout(&self, phase: u64, timeout: Duration) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::AwaitPhase { phase, timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// The phase: 0 at first.
    pub fn phase(&self) -> M::Output<u64> {
        self.object.call(|| Ok(phaser::GetPhase {}), Ok)
    }

    /// How many parties there are.
    pub fn registered(&self) -> M::Output<u32> {
        self.object.call(|| Ok(phaser::Registered {}), Ok)
    }

    /// How many of them have arrived in this phase.
    pub fn arrived(&self) -> M::Output<u32> {
        self.object.call(|| Ok(phaser::Arrived {}), Ok)
    }

    /// Whether the last party has left. A phaser that is over takes no parties, and nobody waits in it: calls end as `Denied`.
    pub fn is_terminated(&self) -> M::Output<bool> {
        self.object.call(|| Ok(phaser::IsTerminated {}), Ok)
    }
}
