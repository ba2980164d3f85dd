//! [`Future`].

use super::{FormOf, handle, millis};
use crate::mode::Mode;
use abide_net::{CallError, Value};
use abide_schema::{FutureState, types::future};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

handle! {
    /// A shared result that comes later. The first completion wins.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let answer = abide_client::Store::current()?.future::<u64>("answer");
    /// assert!(answer.set(&42)?);      // in one cloud function
    /// assert_eq!(answer.get()?, 42);  // in another one, which waits
    /// # Ok(())
    /// # }
    /// ```
    pub struct Future<T> of future;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Future<T, M> {
    /// Completes it with a value. Says whether this call was the one that did.
    pub fn set(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(future::Set { value: Value::encode(value)? }), Ok)
    }

    /// Completes it with an error. Says whether this call was the one that did.
    pub fn set_error(&self, message: &str) -> M::Output<bool> {
        self.object.call(|| Ok(future::SetError { message: message.to_owned() }), Ok)
    }

    /// Waits for the completion. `Failed` if it was completed with an error, `Cancelled` if it was cancelled.
    pub fn get(&self) -> M::Output<T> {
        self.object.call(|| Ok(future::Get { timeout_ms: None }), value_of)
    }

    /// As [`get`](Self::get), waiting for so long at most. `TimedOut` then.
    pub fn get_timeout(&self, timeout: Duration) -> M::Output<T> {
        self.object.call(|| Ok(future::Get { timeout_ms: Some(millis(timeout)) }), value_of)
    }

    /// Whether it is complete: with a value, an error, or as cancelled.
    pub fn is_done(&self) -> M::Output<bool> {
        self.object.call(|| Ok(future::IsDone {}), Ok)
    }

    /// Completes it as cancelled. Says whether this call was the one that did.
    pub fn cancel(&self) -> M::Output<bool> {
        self.object.call(|| Ok(future::Cancel {}), Ok)
    }
}

fn value_of<T: DeserializeOwned>(state: FutureState) -> Result<T, CallError> {
    match state {
        FutureState::Value(value) => value.decode(),
        FutureState::Error(message) => Err(CallError::Failed { message }),
        FutureState::Cancelled => Err(CallError::Cancelled),
    }
}
