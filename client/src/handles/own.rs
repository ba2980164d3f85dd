//! What every object answers, whatever its type.

use super::{millis, object::Object};
use crate::mode::{Asynchronous, Blocking, Mode};
use abide_net::CallError;
use abide_schema::{ObjectInfo, types::object as own};
use std::{fmt, iter::FusedIterator, time::Duration};

pub(crate) fn exists<M: Mode>(object: &Object<M>) -> M::Output<bool> {
    let known = object.clone();
    object.call(
        || Ok(own::Exists {}),
        move |exists| {
            if !exists {
                known.is_absent();
            }
            Ok(exists)
        },
    )
}

pub(crate) fn create<M: Mode>(object: &Object<M>) -> M::Output<bool> {
    object.call(|| Ok(own::Create {}), Ok)
}

pub(crate) fn delete<M: Mode>(object: &Object<M>) -> M::Output<bool> {
    let known = object.clone();
    object.call(
        || Ok(own::Delete {}),
        move |existed| {
            known.is_absent();
            Ok(existed)
        },
    )
}

pub(crate) fn info<M: Mode>(object: &Object<M>) -> M::Output<ObjectInfo> {
    object.call(|| Ok(own::Info {}), Ok)
}

pub(crate) fn expire_in<M: Mode>(object: &Object<M>, duration: Duration) -> M::Output<bool> {
    object.call(|| Ok(own::ExpireIn { ms: millis(duration) }), Ok)
}

pub(crate) fn persist<M: Mode>(object: &Object<M>) -> M::Output<bool> {
    object.call(|| Ok(own::Persist {}), Ok)
}

pub(crate) fn watch<M: Mode>(object: &Object<M>, version: u64, timeout: Option<Duration>) -> M::Output<u64> {
    object.call(|| Ok(own::Watch { version, timeout_ms: timeout.map(millis) }), Ok)
}

/// The versions of an object, as they come: from a handle's `versions`.
///
/// In the blocking mode it is an iterator, whose `next` waits for the object to change:
/// ```no_run
/// # fn main() -> Result<(), abide_client::CallError> {
/// let best = abide_client::Store::current()?.atomic_ref::<Vec<f64>>("best model");
/// for version in best.versions() {
///     println!("version {}: {:?}", version?, best.get()?);
/// }
/// # Ok(())
/// # }
/// ```
/// In the asynchronous mode, await [`next`](Versions::next):
/// ```no_run
/// # async fn follow(store: abide_client::AsyncStore) -> Result<(), abide_client::CallError> {
/// let best = store.atomic_ref::<Vec<f64>>("best model");
/// let mut versions = best.versions();
/// while let Some(version) = versions.next().await {
///     println!("version {}: {:?}", version?, best.get().await?);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is asked before the first `next`"]
pub struct Versions<M: Mode = Blocking> {
    object: Object<M>,
    /// The version that was given last.
    seen: Option<u64>,
    is_over: bool,
}

impl<M: Mode> Versions<M> {
    pub(crate) fn new(object: Object<M>) -> Self {
        Versions { object, seen: None, is_over: false }
    }

    /// Asks for the next version: at first for the one that the object has.
    fn ask(&self) -> M::Output<u64> {
        match self.seen {
            None => self.object.call(|| Ok(own::Info {}), |info| Ok(info.version)),
            Some(seen) => watch(&self.object, seen, None),
        }
    }

    fn take(&mut self, answer: Result<u64, CallError>) -> Result<u64, CallError> {
        match &answer {
            Ok(version) => self.seen = Some(*version),
            Err(_) => self.is_over = true,
        }
        answer
    }
}

impl Iterator for Versions<Blocking> {
    type Item = Result<u64, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let answer = self.ask();
        Some(self.take(answer))
    }
}

impl FusedIterator for Versions<Blocking> {}

impl Versions<Asynchronous> {
    /// The next version. Can be dropped at any time, and asked again.
    pub async fn next(&mut self) -> Option<Result<u64, CallError>> {
        if self.is_over {
            return None;
        }
        let answer = self.ask().await;
        Some(self.take(answer))
    }
}

impl<M: Mode> fmt::Debug for Versions<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").field("object", &self.object).field("seen", &self.seen).finish()
    }
}
