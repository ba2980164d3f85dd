//! A session of the asynchronous client: a lane to each core, and heartbeats.

use super::lane::Lane;
use crate::remote::{frames, node::Node, session::Session, succession::HasSession};
use std::sync::{Arc, OnceLock};
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

/// A session while the store, or a call of it, has it. Dropped, it says goodbye.
#[derive(Debug)]
pub(super) struct LiveSession {
    session: Arc<Session>,
    lanes: Arc<[Arc<Lane>]>,
    heartbeat: OnceLock<AbortHandle>,
}

impl LiveSession {
    pub(super) fn new(node: &Arc<Node>, session: Session) -> LiveSession {
        let session = Arc::new(session);
        let hello: Arc<[u8]> = frames::hello(session.id, node.settings.lease_ms).into();
        let lane = |core| Arc::new(Lane::new(node.clone(), session.clone(), core, hello.clone()));
        let lanes = (0..session.incarnation.cores()).map(lane).collect();
        LiveSession { session, lanes, heartbeat: OnceLock::new() }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.session.incarnation.map.epoch
    }

    pub(super) fn lane(&self, core: usize) -> Option<&Arc<Lane>> {
        self.lanes.get(core)
    }

    /// Sees to it that the session lives on when it makes no calls.
    pub(super) fn keep_alive(&self, runtime: &Handle) {
        self.heartbeat.get_or_init(|| {
            let beat = beat(self.session.clone(), self.lanes.clone(), runtime.clone());
            runtime.spawn(beat).abort_handle()
        });
    }
}

/// Sends a heartbeat each third of a lease, as long as the session lives.
async fn beat(session: Arc<Session>, lanes: Arc<[Arc<Lane>]>, runtime: Handle) {
    loop {
        sleep(session.incarnation.heartbeat_every()).await;
        if !session.lives() {
            return;
        }
        // Any connection will do: the node tells all its cores.
        let contacted = || session.contacted_cores().map(|core| &lanes[core]);
        let lane = contacted().find(|lane| lane.is_up()).or_else(|| contacted().next());
        if let Some(lane) = lane {
            lane.heartbeat(&runtime);
        }
    }
}

impl HasSession for LiveSession {
    fn session(&self) -> &Session {
        &self.session
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        if let Some(heartbeat) = self.heartbeat.get() {
            heartbeat.abort();
        }
        let lives = self.session.lives();
        self.session.end(true);
        self.lanes.iter().for_each(|lane| lane.close(lives));
    }
}
