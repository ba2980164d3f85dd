//! One call of the blocking client, from its first attempt to its end.

use super::{
    backoff::{Backoff, Patience},
    frames::{self, Attempt},
    link::Failed,
    links::{Links, Place},
    node::Route,
    outcome::{self, Delivery, Failure},
    slots::CallName,
};
use abide_net::{CallError, Request};
use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The slowest network that request time-outs make allowance for, in bytes a second: large values take
/// their time to be sent.
const SLOWEST_BYTES_PER_S: u64 = 1 << 20;

/// A call under way in a session.
struct UnderWay<'a> {
    links: &'a Links,
    place: Arc<Place>,
    request: Request<'a>,
    route: Route,
    name: CallName,
    delivery: Delivery,
    patience: Patience,
    /// It ended without having been sent.
    is_unused: bool,
}

/// Makes a call in this session: sends it until it is answered, or patience ends. Returns the epoch that
/// answered.
pub(super) fn make(
    links: &Links,
    request: &Request<'_>,
    result: &mut dyn FnMut(&[u8]),
) -> Result<u64, CallError> {
    let patience = Patience::new(Instant::now(), links.node.settings.retry_for);
    let place = links.place();
    let route = place.stay.incarnation.route(request)?;
    let name = links.session.slots.take()?;
    let (request, delivery) = (*request, Delivery::new(request.kind));
    UnderWay { links, place, request, route, name, delivery, patience, is_unused: false }
        .until_answered(result)
}

impl UnderWay<'_> {
    fn until_answered(mut self, result: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        let mut backoff = Backoff::new();
        loop {
            let failure = match self.attempt(result) {
                Ok(answer) => return answer.map(|()| self.place.stay.epoch()),
                Err(failure) => failure,
            };
            tracing::debug!(call = ?self.name, ?failure, delivery = ?self.delivery, "an attempt failed");
            let pause = match &failure {
                Failure::Final(_) => None,
                // A pause also here: two nodes that answer under one name must not keep a processor busy.
                Failure::Passing(_) | Failure::OtherIncarnation => {
                    self.patience.permits(Instant::now(), backoff.pause())
                }
            };
            let Some(pause) = pause else {
                self.is_unused = !self.delivery.may_have_arrived;
                return Err(self.delivery.given_up(failure.into_text()));
            };
            if matches!(failure, Failure::OtherIncarnation) {
                self.follow()?;
            }
            thread::sleep(pause);
        }
    }

    /// Goes to the node's new incarnation, where the call has the name that it had: a shard that has kept what it
    /// did knows whether it was made.
    fn follow(&mut self) -> Result<(), CallError> {
        let before = self.place.stay.epoch();
        self.place = self.links.follow(&self.place);
        self.request.epoch = self.delivery.seen_in(self.request.epoch, before);
        let route = self.place.stay.incarnation.route(&self.request);
        self.route = route.map_err(|error| self.delivery.refused(error))?;
        Ok(())
    }

    /// Sends the call once, and has its answer or a failure.
    fn attempt(&mut self, result: &mut dyn FnMut(&[u8])) -> Result<Result<(), CallError>, Failure> {
        let (stay, Route { shard, core }) = (&self.place.stay, self.route);
        let waits = self.delivery.waits();
        let mut taken = self.links.take(&self.place, core, waits, self.patience.ends())?;
        let link = taken.link();

        stay.contacts(core);
        let (first, retry) = (stay.is_first_at(shard), self.delivery.may_have_arrived);
        let attempt = Attempt { name: self.name, shard, first, retry };
        let sent = Instant::now();
        let deadline = (!waits).then(|| self.patience.ends().min(sent + self.answered_within()));

        let delivery = self.delivery;
        let mut answer = Ok(());
        let exchanged = link.call(&self.request, attempt, deadline, &mut |reply| match reply.result {
            Ok(body) => {
                stay.answered(shard, Ok(()));
                result(body);
            }
            Err(body) => {
                let error = outcome::read_error(body);
                stay.answered(shard, Err(&error));
                answer = Err(delivery.error(error));
            }
        });
        match exchanged {
            Ok(()) => Ok(answer),
            Err(Failed { failure, may_have_arrived }) => {
                self.delivery.may_have_arrived |= may_have_arrived;
                if waits {
                    self.patience.waited(sent.elapsed());
                }
                Err(failure)
            }
        }
    }

    fn answered_within(&self) -> Duration {
        let bytes = frames::frame_bytes(&self.request) as u64;
        self.links.node.settings.request_timeout + Duration::from_secs(bytes / SLOWEST_BYTES_PER_S)
    }
}

/// The slot is free again, also after a panic of whoever reads the result. A call of it that still waits at
/// the node ends when the next call of the slot arrives there.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let slots = &self.links.session.slots;
        if self.is_unused { slots.give_back_unused(self.name) } else { slots.give_back(self.name) }
    }
}
