//! [`Reducer`].

use super::{Numeric, handle, millis};
use crate::mode::Mode;
use abide_schema::types::reducer;
use std::time::Duration;

handle! {
    /// A barrier that adds up: each party of a generation brings a vector of `i64` or `f64`, and each gets all of them joined.
    ///
    /// ```no_run
    /// # fn gradient() -> Vec<f64> { Vec::new() }
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// // Eight workers, vectors of a thousand numbers; joined by adding.
    /// let sums = abide_client::Store::current()?.reducer::<f64>("gradients", 8, 1_000);
    /// let sum = sums.contribute(gradient())?;
    /// # Ok(())
    /// # }
    /// ```
    pub struct Reducer<N> of reducer, arguments;
}

impl<N: Numeric, M: Mode> Reducer<N, M> {
    /// Brings a vector, and waits for the others. Returns all of the generation's joined, in the order of arrival.
    ///
    /// `Broken` if another party timed out or its session ended, if the reducer was reset or deleted, or if it was broken
    /// before.
    pub fn contribute(&self, values: impl AsRef<[N]>) -> M::Output<Vec<N>> {
        let make = || Ok(reducer::Contribute { values: N::into_numbers(values.as_ref()), timeout_ms: None });
        self.object.call(make, N::from_numbers)
    }

    /// As [`contribute`](Self::contribute), for so long at most. `TimedOut` then, and the reducer is broken.
    pub fn contribute_timeout(&self, values: impl AsRef<[N]>, timeout: Duration) -> M::Output<Vec<N>> {
        let timeout_ms = Some(millis(timeout));
        let make = || Ok(reducer::Contribute { values: N::into_numbers(values.as_ref()), timeout_ms });
        self.object.call(make, N::from_numbers)
    }

    /// How many parties wait now.
    pub fn waiting(&self) -> M::Output<u32> {
        self.object.call(|| Ok(reducer::Waiting {}), Ok)
    }

    /// How many parties make a generation.
    pub fn parties(&self) -> M::Output<u32> {
        self.object.call(|| Ok(reducer::Parties {}), Ok)
    }

    /// Begins a new generation. Calls that wait end as `Broken`.
    pub fn reset(&self) -> M::Output<()> {
        self.object.call(|| Ok(reducer::Reset {}), Ok)
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> M::Output<bool> {
        self.object.call(|| Ok(reducer::IsBroken {}), Ok)
    }

    /// How many generations have ended well.
    pub fn generation(&self) -> M::Output<u64> {
        self.object.call(|| Ok(reducer::Generation {}), Ok)
    }
}
