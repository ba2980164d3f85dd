//! [`Queue`] and [`PriorityQueue`].

use super::{FormOf, decode_all, decode_option, handle, millis};
use crate::mode::Mode;
use abide_net::{CallError, Value};
use abide_schema::types::{priority_queue, queue};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

handle! {
    /// A shared queue of values of the user's type, first in, first out, with a bound or without. Those who wait to put and
    /// those who wait to take have their turn in the order of asking.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let jobs = abide_client::Store::current()?.bounded_queue::<String>("jobs", 100).persistent();
    /// jobs.put("resize cat.jpg")?; // waits while a hundred are there
    /// let job = jobs.take()?;      // in a worker, which waits for one
    /// # Ok(())
    /// # }
    /// ```
    pub struct Queue<T> of queue, arguments;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Queue<T, M> {
    /// Adds a value at the end if there is room and nobody waits to put one. Says whether it did.
    pub fn offer(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(queue::Offer { value: Value::encode(value)? }), Ok)
    }

    /// Adds a value at the end, waiting for room. `Broken` if the queue is deleted meanwhile.
    pub fn put(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<()> {
        self.object.call(|| Ok(queue::Put { value: Value::encode(value)?, timeout_ms: None }), Ok)
    }

    /// As [`put`](Self::put), waiting for so long at most. `TimedOut` then, and the value is not there.
    pub fn put_timeout(&self, value: &(impl FormOf<T> + ?Sized), timeout: Duration) -> M::Output<()> {
        let timeout_ms = Some(millis(timeout));
        self.object.call(|| Ok(queue::Put { value: Value::encode(value)?, timeout_ms }), Ok)
    }

    /// Removes and returns the first value, if there is one.
    pub fn poll(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(queue::Poll {}), decode_option)
    }

    /// Removes and returns the first value, waiting for one. `Broken` if the queue is deleted meanwhile.
    pub fn take(&self) -> M::Output<T> {
        self.object.call(|| Ok(queue::Take { timeout_ms: None }), |value| value.decode())
    }

    /// As [`take`](Self::take), waiting for so long at most. `TimedOut` then, and nothing was taken.
    pub fn take_timeout(&self, timeout: Duration) -> M::Output<T> {
        let make = || Ok(queue::Take { timeout_ms: Some(millis(timeout)) });
        self.object.call(make, |value| value.decode())
    }

    /// The first value.
    pub fn peek(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(queue::Peek {}), decode_option)
    }

    /// Number of values.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(queue::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(queue::IsEmpty {}), Ok)
    }

    /// How many values there may be, if that is bounded.
    pub fn capacity(&self) -> M::Output<Option<u64>> {
        self.object.call(|| Ok(queue::Capacity {}), Ok)
    }

    /// Removes and returns up to `n` values: at most 1,000 at once, and as many as an answer can carry.
    pub fn drain(&self, n: u32) -> M::Output<Vec<T>> {
        self.object.call(|| Ok(queue::Drain { n }), decode_all)
    }
}

handle! {
    /// A shared queue of values of the user's type with priorities: the smallest goes first, and of equal ones the first that
    /// came.
    pub struct PriorityQueue<T> of priority_queue;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> PriorityQueue<T, M> {
    /// Adds a value.
    pub fn push(&self, priority: i64, value: &(impl FormOf<T> + ?Sized)) -> M::Output<()> {
        self.object.call(|| Ok(priority_queue::Push { priority, value: Value::encode(value)? }), Ok)
    }

    /// Removes and returns the first value with its priority, if there is one.
    pub fn pop(&self) -> M::Output<Option<(i64, T)>> {
        self.object.call(|| Ok(priority_queue::Pop {}), |first| first.map(decode).transpose())
    }

    /// Removes and returns the first value with its priority, waiting for one. `Broken` if the queue is deleted meanwhile.
    pub fn take(&self) -> M::Output<(i64, T)> {
        self.object.call(|| Ok(priority_queue::Take { timeout_ms: None }), decode)
    }

    /// As [`take`](Self::take), waiting for so long at most. `TimedOut` then, and nothing was taken.
    pub fn take_timeout(&self, timeout: Duration) -> M::Output<(i64, T)> {
        self.object.call(|| Ok(priority_queue::Take { timeout_ms: Some(millis(timeout)) }), decode)
    }

    /// The first value with its priority.
    pub fn peek(&self) -> M::Output<Option<(i64, T)>> {
        self.object.call(|| Ok(priority_queue::Peek {}), |first| first.map(decode).transpose())
    }

    /// Number of values.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(priority_queue::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(priority_queue::IsEmpty {}), Ok)
    }

    /// Removes everything.
    pub fn clear(&self) -> M::Output<()> {
        self.object.call(|| Ok(priority_queue::Clear {}), Ok)
    }
}

fn decode<T: DeserializeOwned>((priority, value): (i64, Value)) -> Result<(i64, T), CallError> {
    Ok((priority, value.decode()?))
}
