//! A session of the asynchronous client: a lane to each core, and heartbeats.

use super::{
    answer::{Answers, Sender},
    in_flight::{Moving, Refused},
    lane::Lane,
};
use crate::remote::{
    frames,
    node::{Incarnation, Node},
    session::{Session, Stay},
    slots::CallName,
    succession::HasSession,
};
use abide_net::{CallError, Request};
use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Instant,
};
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

/// A session while the store, or a call of it, has it. Dropped, it says goodbye.
#[derive(Debug)]
pub(super) struct LiveSession {
    home: Arc<Home>,
    heartbeat: OnceLock<AbortHandle>,
}

/// Where a session is, for its lanes.
#[derive(Debug)]
pub(super) struct Home {
    node: Arc<Node>,
    session: Arc<Session>,
    runtime: Handle,
    hello: Arc<[u8]>,
    /// Held while calls move: a call is in a lane of this place, or over. Locked before any lane.
    place: Mutex<Arc<Place>>,
    /// For the lanes, which do not keep their session.
    this: Weak<Home>,
}

/// A session's lanes to one incarnation of its node.
#[derive(Debug)]
struct Place {
    stay: Arc<Stay>,
    lanes: Box<[Arc<Lane>]>,
}

impl LiveSession {
    pub(super) fn new(node: &Arc<Node>, session: Session, runtime: Handle) -> LiveSession {
        let session = Arc::new(session);
        let hello: Arc<[u8]> = frames::hello(&session, node.settings.lease_ms).into();
        let home = Arc::new_cyclic(|this: &Weak<Home>| {
            let place = Place::new(node, &session, &hello, this, node.latest(), Instant::now());
            let place = Mutex::new(Arc::new(place));
            Home { node: node.clone(), session: session.clone(), runtime, hello, place, this: this.clone() }
        });
        LiveSession { home, heartbeat: OnceLock::new() }
    }

    /// Starts a call, whose answer goes to `answer`.
    pub(super) fn start(&self, request: &Request<'_>, answer: Sender) -> Result<CallName, CallError> {
        let mut answer = answer;
        loop {
            let place = self.home.place().clone();
            let route = place.stay.incarnation.route(request)?;
            match place.lanes[route.core].start(&self.home.runtime, request, route, answer) {
                Ok(name) => return Ok(name),
                Err(Refused::Error(error)) => return Err(error),
                // Since it was looked up: there is another place now.
                Err(Refused::Moved(unused)) => answer = unused,
            }
        }
    }

    /// Nobody waits for this call's answer any more.
    pub(super) fn cancel(&self, name: CallName) {
        let place = self.home.place();
        place.lanes.iter().for_each(|lane| lane.cancel(name));
    }

    /// Has a connection that is open already serve the core.
    pub(super) fn adopt(&self, core: usize, stream: super::dial::Stream) {
        if let Some(lane) = self.home.place().lanes.get(core) {
            lane.adopt(stream);
        }
    }

    /// Sees to it that the session lives on when it makes no calls.
    pub(super) fn keep_alive(&self) {
        self.heartbeat.get_or_init(|| {
            let beat = beat(self.home.clone());
            self.home.runtime.spawn(beat).abort_handle()
        });
    }
}

impl Place {
    fn new(
        node: &Arc<Node>,
        session: &Arc<Session>,
        hello: &Arc<[u8]>,
        home: &Weak<Home>,
        incarnation: Arc<Incarnation>,
        trouble_since: Instant,
    ) -> Place {
        let stay = Arc::new(Stay::new(session.clone(), incarnation));
        let lane = |core| {
            let (node, hello, home) = (node.clone(), hello.clone(), home.clone());
            Arc::new(Lane::new(node, stay.clone(), core, hello, home, trouble_since))
        };
        let lanes = (0..stay.incarnation.cores()).map(lane).collect();
        Place { stay, lanes }
    }
}

impl Home {
    fn place(&self) -> MutexGuard<'_, Arc<Place>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to the node's new incarnation, with all calls under way: those of one lane stay in their order. `left` is the
    /// stay with the incarnation that is no more. Whoever else noticed may have been faster.
    pub(super) fn follow(&self, left: &Stay, trouble_since: Instant) {
        let mut answers = Answers::default();
        let mut place = self.place();
        let latest = self.node.latest();
        if !std::ptr::eq(&*place.stay, left) || latest.map.epoch == left.epoch() {
            return;
        }
        let new = Place::new(&self.node, &self.session, &self.hello, &self.this, latest, trouble_since);
        for lane in &place.lanes {
            for call in lane.leave() {
                new.take_in(call, left.epoch(), &self.session, &mut answers);
            }
        }
        new.lanes.iter().for_each(|lane| lane.go_on(&self.runtime));
        *place = Arc::new(new);
        drop(place);
        answers.deliver();
    }
}

impl Place {
    fn take_in(&self, mut call: Moving, left: u64, session: &Session, answers: &mut Answers) {
        let incarnation = &self.stay.incarnation;
        match call.route_again(incarnation, left) {
            Ok(route) => self.lanes[route.core].take_in(call, route),
            Err(error) => {
                session.slots.give_back(call.name());
                call.end(error, answers);
            }
        }
    }
}

/// Sends a heartbeat each third of a lease, as long as the session lives.
async fn beat(home: Arc<Home>) {
    loop {
        let every = home.place().stay.incarnation.heartbeat_every();
        sleep(every).await;
        if !home.session.lives() {
            return;
        }
        let place = home.place().clone();
        // Any connection will do: the node tells all its cores.
        let told = || place.stay.cores_to_tell().map(|core| &place.lanes[core]);
        let lane = told().find(|lane| lane.is_up()).or_else(|| told().next());
        if let Some(lane) = lane {
            lane.heartbeat(&home.runtime);
        }
    }
}

impl HasSession for LiveSession {
    fn session(&self) -> &Session {
        &self.home.session
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        if let Some(heartbeat) = self.heartbeat.get() {
            heartbeat.abort();
        }
        let lives = self.home.session.lives();
        self.home.session.end(true);
        let place = self.home.place();
        for (core, lane) in place.lanes.iter().enumerate() {
            // The first core is told of a session that none was told of since the node was restarted.
            let anyway = lives && place.stay.cores_to_tell().any(|told| told == core);
            lane.close(&self.home.runtime, lives, anyway);
        }
    }
}
