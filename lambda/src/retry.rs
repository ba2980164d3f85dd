//! Running a function again after it failed.

use crate::{error::JoinError, handle::Shared, task::Outcome};
use std::{fmt, sync::Arc, time::Duration};

/// When, how often and after how long.
#[derive(Clone)]
pub(crate) struct Retry {
    pub(crate) retries: u32,
    pub(crate) delay: Duration,
    pub(crate) when: Arc<dyn Fn(&JoinError) -> bool + Send + Sync>,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            // Only the author of the function knows whether another run makes the same calls.
            retries: 0,
            // Long enough that a store which restarts is not overrun, short against starting a process.
            delay: Duration::from_millis(100),
            when: Arc::new(JoinError::is_retryable),
        }
    }
}

impl Retry {
    /// Makes attempts, counted from 1, until one is not to be repeated.
    pub(crate) fn run(&self, shared: &Shared, mut attempt: impl FnMut(u32) -> Outcome) -> Outcome {
        for number in 1.. {
            let error = match attempt(number) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if number > self.retries || shared.is_cancelled() || !(self.when)(&error) {
                return Err(error);
            }
            let left = self.retries - number;
            tracing::warn!(id = %shared.id, name = shared.name, %error, left, "cloud thread failed, retrying");
            if shared.sleep(self.delay) {
                return Err(JoinError::Cancelled);
            }
        }
        unreachable!("the last attempt returned")
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("retries", &self.retries)
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}
