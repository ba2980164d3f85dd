//! One shard, event by event, by a clock that the test has in its hand.

use super::{Envelope, Store};
use crate::model::{Answer, CallId, Session, world::Answers};
use abide_net::{codec, frame::Call};
use abide_pmem::Persistence;
use abide_shards::{
    Event, Outbox, Registry, Shard,
    regions::{DataOptions, Regions},
    shard::{Limits, Origin, SessionId, SessionTerms, ShardConfig},
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

pub(crate) const START_US: u64 = 1_000_000;

/// Leases end by [`InHand::expire`] alone: no run takes so long otherwise.
const LEASE_US: u64 = 1_000_000_000_000;

pub(crate) struct InHand {
    directory: Option<tempfile::TempDir>,
    regions: Option<Regions>,
    shard: Option<Shard>,
    out: Outbox,
    now_us: u64,
    names: HashMap<(Session, u32, u64), CallId>,
    heard_us: BTreeMap<Session, u64>,
    answers: Answers,
}

impl InHand {
    pub(crate) fn new(persistent: bool) -> InHand {
        let directory = persistent.then(|| tempfile::tempdir().expect("a directory"));
        let mut store = InHand {
            directory,
            regions: None,
            shard: None,
            out: Outbox::default(),
            now_us: START_US,
            names: HashMap::new(),
            heard_us: BTreeMap::new(),
            answers: Answers::new(),
        };
        store.open();
        store
    }

    fn path(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.path().join("data"))
    }

    fn open(&mut self) {
        let data = self.path().map(|path| DataOptions {
            force_file_system: true,
            ..DataOptions::new(path, Persistence::ProcessCrash)
        });
        let regions = Regions::open(data.as_ref(), Some(1), 1, 1 << 30, 1).expect("a region");
        let shard = Shard::open(ShardConfig {
            shard: 0,
            epoch: regions.epoch(),
            registry: Registry::built_in(),
            started_us: self.now_us,
            ephemeral: regions.ephemeral(0),
            persistent: regions.persistent(0),
            persistent_by_default: false,
            persistence: String::new(),
            limits: Limits::default(),
        });
        self.regions = Some(regions);
        self.shard = Some(shard.expect("a shard opens"));
    }

    fn apply(&mut self, event: Event<'_>) {
        let shard = self.shard.as_mut().expect("it is open");
        shard.apply(self.now_us, event, &mut self.out);
        shard.commit(&mut self.out).expect("memory does not fail");
        for reply in self.out.replies() {
            let session = reply.origin.connection;
            let body = self.out.body(reply);
            let answer: Answer = if reply.ok {
                Ok(body.to_vec())
            } else {
                Err(codec::decode(body).expect("an error can be decoded"))
            };
            let call = self.names.get(&(session, reply.slot, reply.sequence)).copied();
            self.answers.push((call.expect("an answer is to a call"), answer));
        }
        self.out.clear();
    }

    fn send(&mut self, envelope: &Envelope, retry: bool) {
        let Envelope { call, session, slot, sequence, .. } = *envelope;
        self.names.insert((session, slot, sequence), call);
        self.heard_us.insert(session, self.now_us);
        let call = Call {
            retry,
            first: true,
            type_id: envelope.asked.type_id,
            method: envelope.asked.method,
            shard: 0,
            slot,
            sequence,
            epoch: 0,
            replicas: Some(envelope.replicas),
            key: &envelope.key,
            creation: Some((&envelope.creation, false)),
            arguments: &envelope.asked.arguments,
        };
        let origin = Origin { core: 0, connection: session };
        let terms = SessionTerms { lease_us: LEASE_US, is_seeded: false };
        self.apply(Event::Call { origin, session: SessionId(session.into()), terms, call });
        self.pass_until(self.now_us);
    }
}

impl Store for InHand {
    fn begin(&mut self, _: Session) {}

    fn start(&mut self, envelope: &Envelope) {
        self.send(envelope, false);
    }

    fn retry(&mut self, envelope: &Envelope) -> bool {
        self.send(envelope, true);
        true
    }

    fn cancel(&mut self, envelope: &Envelope) -> bool {
        let Envelope { session, slot, sequence, .. } = *envelope;
        self.apply(Event::Cancel { session: SessionId(session.into()), slot, sequence });
        true
    }

    fn end(&mut self, session: Session) -> bool {
        self.apply(Event::Goodbye { session: SessionId(session.into()) });
        self.heard_us.remove(&session);
        true
    }

    fn expire(&mut self, session: Session) -> Option<u64> {
        let ends_us = self.heard_us.get(&session)? + LEASE_US;
        for moment_us in [self.now_us, ends_us - 1] {
            self.pass_until(moment_us);
            for other in self.heard_us.keys().copied().filter(|other| *other != session).collect::<Vec<_>>() {
                self.apply(Event::Heartbeat { session: SessionId(other.into()) });
                self.heard_us.insert(other, self.now_us);
            }
        }
        self.pass_until(ends_us);
        self.heard_us.remove(&session);
        Some(ends_us)
    }

    /// Moment by moment: whatever is due is looked at when it is.
    fn pass_until(&mut self, now_us: u64) {
        loop {
            let next_us =
                self.shard.as_ref().and_then(Shard::next_deadline_us).filter(|next_us| *next_us <= now_us);
            let Some(next_us) = next_us else { break };
            self.now_us = self.now_us.max(next_us);
            self.apply(Event::Tick);
        }
        self.now_us = self.now_us.max(now_us);
    }

    fn restart(&mut self, in_order: bool, waiting: &[Envelope]) {
        self.shard = None;
        let regions = self.regions.take().expect("it is open");
        if in_order {
            regions.close().expect("it closes");
        } else {
            // As by the death of the process: nothing more is written.
            drop(regions);
        }
        self.open();
        // Leases begin anew.
        self.heard_us.values_mut().for_each(|heard_us| *heard_us = self.now_us);
        for envelope in waiting {
            self.send(envelope, true);
        }
    }

    fn answers(&mut self, _: usize) -> Answers {
        std::mem::take(&mut self.answers)
    }
}
