//! [`CyclicBarrier`] and [`CountDownLatch`].

use super::{handle, millis};
use crate::mode::Mode;
use abide_schema::types::{count_down_latch, cyclic_barrier};
use std::time::Duration;

handle! {
    /// Parties that meet again and again: each generation is released when the last one arrives.
    ///
    /// ```no_run
    /// # fn step() {}
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let barrier = abide_client::Store::current()?.cyclic_barrier("step", 8);
    /// for _ in 0..100 {
    ///     step();
    ///     if barrier.wait()? == 0 {
    ///         println!("all eight have finished the step");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct CyclicBarrier of cyclic_barrier, parties;
}

impl<M: Mode> CyclicBarrier<M> {
    /// Arrives and waits for the others. The arrival index: parties - 1 for the first, 0 for the last.
    ///
    /// `Broken` if another party timed out or its session ended, if the barrier was reset or deleted, or if
    /// it was broken before. A future of it that is dropped while it waits is a party that leaves: the
    /// barrier is broken.
    pub fn wait(&self) -> M::Output<u32> {
        self.object.call(|| Ok(cyclic_barrier::Await { timeout_ms: None }), Ok)
    }

    /// As [`wait`](Self::wait), for so long at most. `TimedOut` then, and the barrier is broken.
    pub fn wait_timeout(&self, timeout: Duration) -> M::Output<u32> {
        self.object.call(|| Ok(cyclic_barrier::Await { timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// How many parties wait now.
    pub fn waiting(&self) -> M::Output<u32> {
        self.object.call(|| Ok(cyclic_barrier::Waiting {}), Ok)
    }

    /// How many parties make a generation.
    pub fn parties(&self) -> M::Output<u32> {
        self.object.call(|| Ok(cyclic_barrier::Parties {}), Ok)
    }

    /// Begins a new generation. Calls that wait end as `Broken`.
    pub fn reset(&self) -> M::Output<()> {
        self.object.call(|| Ok(cyclic_barrier::Reset {}), Ok)
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> M::Output<bool> {
        self.object.call(|| Ok(cyclic_barrier::IsBroken {}), Ok)
    }
}

handle! {
    /// Waits until a count reaches 0. It never counts up again, and waiting never counts down.
    pub struct CountDownLatch of count_down_latch, count;
}

impl<M: Mode> CountDownLatch<M> {
    /// Counts down by `n`, not below 0, and returns what is left.
    pub fn count_down(&self, n: u64) -> M::Output<u64> {
        self.object.call(|| Ok(count_down_latch::CountDown { n }), Ok)
    }

    /// Waits for the count to be 0. `Broken` if the latch is deleted meanwhile.
    pub fn wait(&self) -> M::Output<()> {
        self.object.call(|| Ok(count_down_latch::Await { timeout_ms: None }), Ok)
    }

    /// As [`wait`](Self::wait), for so long at most. `TimedOut` then.
    pub fn wait_timeout(&self, timeout: Duration) -> M::Output<()> {
        self.object.call(|| Ok(count_down_latch::Await { timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// What is left.
    pub fn count(&self) -> M::Output<u64> {
        self.object.call(|| Ok(count_down_latch::Count {}), Ok)
    }
}
