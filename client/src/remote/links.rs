//! A session of the blocking client, with its connections.

use super::{
    frames,
    link::Link,
    node::{Incarnation, Node},
    outcome::{Failure, text_of},
    pool::{Permit, Pool},
    session::{Session, Stay},
    succession::HasSession,
};
use crate::transport::Transport;
use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// How long giving back what a session holds may take. It is a favour to others, who get it anyway when the
/// lease ends.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// A session and its connections, wherever its node is.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) node: Arc<Node>,
    pub(super) session: Arc<Session>,
    transport: Transport,
    hello: Vec<u8>,
    place: Mutex<Arc<Place>>,
    /// Whether somebody sees to it that it stays alive.
    pub(super) has_heartbeat: AtomicBool,
}

/// A session's connections to one incarnation of the node, a pool for each core.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) stay: Stay,
    pools: Box<[Pool]>,
}

impl Place {
    fn new(node: &Node, session: Arc<Session>, incarnation: Arc<Incarnation>) -> Place {
        let pool = |_| Pool::new(node.settings.connections_max);
        let pools = (0..incarnation.cores()).map(pool).collect();
        Place { stay: Stay::new(session, incarnation), pools }
    }

    /// Has a connection that is open already serve the core.
    pub(super) fn adopt(&self, core: usize, link: Link) {
        if let Some(pool) = self.pools.get(core) {
            pool.put(link);
        }
    }
}

impl Links {
    /// A session of the node without connections.
    pub(super) fn new(node: Arc<Node>, session: Session, transport: Transport) -> Links {
        let session = Arc::new(session);
        Links {
            hello: frames::hello(&session, node.settings.lease_ms),
            place: Mutex::new(Arc::new(Place::new(&node, session.clone(), node.latest()))),
            has_heartbeat: AtomicBool::new(false),
            session,
            transport,
            node,
        }
    }

    /// Where the session is.
    pub(super) fn place(&self) -> Arc<Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the session is since its node was restarted: not here any more. Its connections are over; calls under way
    /// come along one by one, as each notices.
    pub(super) fn follow(&self, left: &Arc<Place>) -> Arc<Place> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = self.node.latest();
        if Arc::ptr_eq(&place, left) && latest.map.epoch != left.stay.epoch() {
            *place = Arc::new(Place::new(&self.node, self.session.clone(), latest));
        }
        place.clone()
    }

    /// A connection to a core, idle or new, for a call that `waits` in its object or does not.
    pub(super) fn take<'a>(
        &self,
        place: &'a Arc<Place>,
        core: usize,
        waits: bool,
        deadline: Instant,
    ) -> Result<Taken<'a>, Failure> {
        let pool = &place.pools[core];
        let Some(mut permit) = pool.take(waits, deadline) else {
            let max = pool.connections_max();
            let text = format!("all connections of the session to core {core} are taken (at most {max})");
            return Err(Failure::Passing(text));
        };
        if permit.link.is_none() {
            permit.link = Some(self.open(place, core, deadline)?);
        }
        Ok(Taken { permit })
    }

    /// Opens a connection to a core: at its own port, or, if nothing answers there, at the address that the
    /// program gave. The latter finds a node that was restarted with other ports, or elsewhere; and a core
    /// whose port a firewall hides is reached through any other.
    fn open(&self, place: &Arc<Place>, core: usize, deadline: Instant) -> Result<Link, Failure> {
        let own = place.stay.incarnation.address_of(core);
        let directly = match self.open_at(place, own, deadline) {
            Err(Failure::Passing(text)) => text,
            result => return result,
        };
        tracing::debug!(core, directly, "a core does not answer at its own port");
        match reach(&self.node.address, |address| self.open_at(place, address, deadline)) {
            Err(Failure::Passing(text)) if text != directly => {
                Err(Failure::Passing(format!("{directly}; {text}")))
            }
            result => result,
        }
    }

    fn open_at(&self, place: &Arc<Place>, address: SocketAddr, deadline: Instant) -> Result<Link, Failure> {
        let deadline = deadline.min(Instant::now() + self.node.settings.connect_timeout);
        let (link, welcome) = Link::open(address, &self.hello, self.transport, deadline)?;
        if welcome.epoch == place.stay.epoch() {
            return Ok(link);
        }
        self.node.welcomed(address, &welcome);
        let new = self.follow(place);
        if new.stay.epoch() == welcome.epoch {
            new.adopt(welcome.core.into(), link);
        }
        Err(Failure::OtherIncarnation)
    }

    /// After how long without a sign of life the next is due.
    pub(super) fn heartbeat_every(&self) -> Duration {
        self.place().stay.incarnation.heartbeat_every()
    }

    /// Renews the session's lease, and closes what is idle for long. An error says that the node was not
    /// reached.
    pub(super) fn keep_alive(&self) -> Result<(), Failure> {
        let place = self.place();
        match self.keep_alive_at(&place) {
            Err(Failure::OtherIncarnation) => self.keep_alive_at(&self.follow(&place)),
            result => result,
        }
    }

    fn keep_alive_at(&self, place: &Arc<Place>) -> Result<(), Failure> {
        let now = Instant::now();
        // Another attempt must still be in time for the lease.
        let deadline = now + place.stay.incarnation.heartbeat_every();
        let Some(told) = place.stay.cores_to_tell().next() else { return Ok(()) };
        place.pools.iter().for_each(|pool| pool.close_idle(now));
        // Any connection will do: the node tells all its cores.
        let mut idle = place.pools.iter().filter_map(|pool| pool.take_idle());
        let answered = match idle.find_map(|mut permit| permit.link.take().map(|link| (permit, link))) {
            Some((mut permit, link)) => permit.link.insert(link).heartbeat(deadline),
            None => {
                let mut link = self.open(place, told, deadline)?;
                let answered = link.heartbeat(deadline);
                // For the next time, if there is room for it.
                place.adopt(told, link);
                answered
            }
        };
        let lives = answered.map_err(|failed| failed.failure)?;
        if !lives {
            tracing::warn!(session = ?self.session, "the session expired");
            self.session.end(false);
        }
        Ok(())
    }

    /// Ends the session at the node, so that what it holds is given back at once. Takes a short while at most.
    pub(super) fn say_goodbye(&self) {
        if !self.session.lives() {
            return;
        }
        self.session.end(true);
        if let Err(failure) = self.tell_the_end(Instant::now() + GOODBYE_MAX) {
            let reason = failure.into_text();
            tracing::debug!(reason, "what the session holds is given back when its lease ends");
        }
    }

    /// Has the node end the session.
    pub(super) fn tell_the_end(&self, deadline: Instant) -> Result<(), Failure> {
        let (place, mut told) = (self.place(), Ok(()));
        for core in place.stay.cores_to_tell() {
            match self.say_goodbye_to(&place, core, deadline) {
                Ok(()) => {}
                // Any core tells the others.
                Err(Failure::OtherIncarnation) => {
                    return self.say_goodbye_to(&self.follow(&place), 0, deadline);
                }
                Err(failure) => told = Err(failure),
            }
        }
        told
    }

    fn say_goodbye_to(&self, place: &Arc<Place>, core: usize, deadline: Instant) -> Result<(), Failure> {
        if let Some(mut permit) = place.pools[core].take_idle()
            && let Some(link) = &mut permit.link
            && link.goodbye(deadline).is_ok()
        {
            return Ok(());
        }
        // What was idle is closed, or was never there: calls failed.
        let mut link = self.open(place, core, deadline)?;
        link.goodbye(deadline).map_err(|failed| failed.failure)
    }

    /// Whether it is for the caller to see to heartbeats, which is so once.
    pub(super) fn needs_heartbeat(&self) -> bool {
        self.node.settings.heartbeats
            && !self.has_heartbeat.load(SeqCst)
            && !self.has_heartbeat.swap(true, SeqCst)
    }
}

impl HasSession for Links {
    fn session(&self) -> &Session {
        &self.session
    }
}

/// A connection for the time of one call.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    permit: Permit<'a>,
}

impl Taken<'_> {
    pub(super) fn link(&mut self) -> &mut Link {
        self.permit.link.as_mut().expect("it was taken with one")
    }
}

/// Tries the addresses that `address` stands for, one after the other.
pub(super) fn reach<T>(
    address: &str,
    mut open: impl FnMut(SocketAddr) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let resolved = address.to_socket_addrs();
    let resolved = resolved
        .map_err(|error| Failure::Passing(format!("cannot resolve {address}: {}", text_of(&error))))?;
    let mut failure = Failure::Passing(format!("{address} stands for no address"));
    for address in resolved {
        match open(address) {
            Err(Failure::Passing(text)) => failure = Failure::Passing(text),
            result => return result,
        }
    }
    Err(failure)
}
