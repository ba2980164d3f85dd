//! One call of the blocking client, from its first attempt to its end.

use super::{
    backoff::{Backoff, Patience},
    frames::{self, Attempt},
    link::Failed,
    links::Links,
    node::Route,
    outcome::{self, Delivery, Failure},
    slots::CallName,
};
use abide_net::{CallError, Request};
use std::{
    thread,
    time::{Duration, Instant},
};

/// The slowest network that request time-outs make allowance for, in bytes a second: large values take
/// their time to be sent.
const SLOWEST_BYTES_PER_S: u64 = 1 << 20;

/// A call that ended without an answer of its own.
#[derive(Debug)]
pub(super) enum Ended {
    /// Like this.
    Error(CallError),
    /// Its session was over before anything was ever sent in it: the call can be made in another.
    NeverBegun,
}

/// A call under way in a session.
struct UnderWay<'a> {
    links: &'a Links,
    request: &'a Request<'a>,
    route: Route,
    name: CallName,
    delivery: Delivery,
    patience: &'a mut Patience,
}

/// Makes a call in this session: sends it until it is answered, or `patience` ends. Returns the epoch that
/// answered.
pub(super) fn make(
    links: &Links,
    request: &Request<'_>,
    patience: &mut Patience,
    result: &mut dyn FnMut(&[u8]),
) -> Result<u64, Ended> {
    let route = links.session.incarnation.route(request).map_err(Ended::Error)?;
    let name = links.session.slots.take().map_err(Ended::Error)?;
    let delivery = Delivery::new(request.kind);
    UnderWay { links, request, route, name, delivery, patience }.until_answered(result)
}

impl UnderWay<'_> {
    fn until_answered(mut self, result: &mut dyn FnMut(&[u8])) -> Result<u64, Ended> {
        let mut backoff = Backoff::new();
        loop {
            let failure = match self.attempt(result) {
                Ok(Ok(())) => return Ok(self.links.session.incarnation.map.epoch),
                Ok(Err(error)) => return Err(Ended::Error(error)),
                Err(failure) => failure,
            };
            tracing::debug!(call = ?self.name, ?failure, delivery = ?self.delivery, "an attempt failed");
            match failure {
                Failure::OtherIncarnation => return Err(self.session_ended()),
                Failure::Final(text) => return Err(Ended::Error(self.delivery.given_up(text))),
                Failure::Passing(text) => match self.patience.permits(Instant::now(), backoff.pause()) {
                    Some(pause) => thread::sleep(pause),
                    None => return Err(Ended::Error(self.delivery.given_up(text))),
                },
            }
        }
    }

    /// The node was restarted, and the session is not known any more.
    fn session_ended(&self) -> Ended {
        let session = &self.links.session;
        let was_used = session.was_used();
        session.end(true);
        if was_used { Ended::Error(self.delivery.session_ended()) } else { Ended::NeverBegun }
    }

    /// Sends the call once, and has its answer or a failure.
    fn attempt(&mut self, result: &mut dyn FnMut(&[u8])) -> Result<Result<(), CallError>, Failure> {
        let (session, Route { shard, core }) = (&self.links.session, self.route);
        let waits = self.delivery.waits();
        let mut taken = self.links.take(core, waits, self.patience.ends())?;
        let link = taken.link();

        session.contacts(core);
        let (first, retry) = (session.is_first_at(shard), self.delivery.may_have_arrived);
        let attempt = Attempt { name: self.name, shard, first, retry };
        let sent = Instant::now();
        let deadline = (!waits).then(|| self.patience.ends().min(sent + self.answered_within()));

        let delivery = self.delivery;
        let mut answer = Ok(());
        let exchanged = link.call(self.request, attempt, deadline, &mut |reply| match reply.result {
            Ok(body) => {
                session.answered(shard, Ok(()));
                result(body);
            }
            Err(body) => {
                let error = outcome::read_error(body);
                session.answered(shard, Err(&error));
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
        let bytes = frames::frame_bytes(self.request) as u64;
        self.links.node.settings.request_timeout + Duration::from_secs(bytes / SLOWEST_BYTES_PER_S)
    }
}

/// The slot is free again, also after a panic of whoever reads the result. A call of it that still waits at
/// the node ends when the next call of the slot arrives there.
impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.links.session.slots.give_back(self.name);
    }
}
