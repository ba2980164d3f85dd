//! [`Election`] and its [`Leadership`].

use super::{handle, millis, object::Object};
use crate::mode::{Blocking, Mode};
use abide_schema::{Leader, types::election};
use std::{fmt, time::Duration};

handle! {
    /// A shared election of a leader, one at a time: the first session that campaigns, until it resigns or ends, and then the
    /// next one.
    ///
    /// A leader whose session ended may not have noticed that another one leads. Whoever acts as a leader outside of the store
    /// should send the [token](Leadership::token) along, and the other side refuse tokens smaller than the greatest that it has
    /// seen.
    ///
    /// ```no_run
    /// # fn lead(_token: u64) {}
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let election = abide_client::Store::current()?.election("scheduler");
    /// let leadership = election.campaign("node 7")?; // waits until nobody else leads
    /// lead(leadership.token());
    /// # Ok(())
    /// # }
    /// ```
    pub struct Election of election;
}

impl<M: Mode> Election<M> {
    /// Waits to become the leader. A session that leads already leads on. `Broken` if the election is deleted meanwhile.
    pub fn campaign(&self, candidate: &str) -> M::Output<Leadership<M>> {
        self.campaign_within(candidate, None)
    }

    /// As [`campaign`](Self::campaign), waiting for so long at most. `TimedOut` then.
    pub fn campaign_timeout(&self, candidate: &str, timeout: Duration) -> M::Output<Leadership<M>> {
        self.campaign_within(candidate, Some(millis(timeout)))
    }

    fn campaign_within(&self, candidate: &str, timeout_ms: Option<u64>) -> M::Output<Leadership<M>> {
        let (candidate, object) = (candidate.to_owned(), self.object.that_exists());
        self.object.call(
            || Ok(election::Campaign { candidate, timeout_ms }),
            |token| Ok(Leadership { object, token, is_held: true }),
        )
    }

    /// Resigns, if this session leads. Says whether it did.
    pub fn resign(&self) -> M::Output<bool> {
        self.object.call(|| Ok(election::Resign { token: None }), Ok)
    }

    /// Who leads.
    pub fn leader(&self) -> M::Output<Option<Leader>> {
        self.object.call(|| Ok(election::GetLeader {}), Ok)
    }

    /// Waits until the leader is another than the one with this token (0: nobody), and returns who it is. `Broken` if the election
    /// is deleted meanwhile.
    pub fn observe(&self, token: u64) -> M::Output<Option<Leader>> {
        self.object.call(|| Ok(election::Observe { token, timeout_ms: None }), Ok)
    }

    /// As [`observe`](Self::observe), for so long at most. `TimedOut` then.
    pub fn observe_timeout(&self, token: u64, timeout: Duration) -> M::Output<Option<Leader>> {
        self.object.call(|| Ok(election::Observe { token, timeout_ms: Some(millis(timeout)) }), Ok)
    }
}

/// The session leads in an [`Election`] until this is dropped: it resigns then. An error of that is logged.
///
/// It may go to other threads: the session leads, whoever has this. In the asynchronous mode dropping it resigns in the
/// background; use [`resign`](Leadership::resign) to know that it happened. A future of [`campaign`](Election::campaign) that is
/// dropped in the moment in which it wins leaves the session leading until it ends.
#[must_use = "the leader resigns at once if this is dropped"]
pub struct Leadership<M: Mode = Blocking> {
    object: Object<M>,
    token: u64,
    is_held: bool,
}

impl<M: Mode> Leadership<M> {
    /// The fencing token: greater than that of any leader before.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// Resigns. Says whether the session led still.
    pub fn resign(mut self) -> M::Output<bool> {
        self.is_held = false;
        let token = Some(self.token);
        self.object.call(|| Ok(election::Resign { token }), Ok)
    }

    /// Leads on: until the session [resigns](Election::resign), or ends.
    pub fn forget(mut self) {
        self.is_held = false;
    }
}

impl<M: Mode> Drop for Leadership<M> {
    fn drop(&mut self) {
        if !self.is_held {
            return;
        }
        let (object, token) = (self.object.clone(), Some(self.token));
        let resign = self.object.call(|| Ok(election::Resign { token }), |_| Ok(()));
        M::settle(resign, move |result| {
            if let Err(error) = result {
                tracing::warn!(election = object.key(), %error, "the leader could not resign");
            }
        });
    }
}

impl<M: Mode> fmt::Debug for Leadership<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership").field("election", &self.object).field("token", &self.token).finish()
    }
}
