//! What a shard does with the books of a region that it opens.

use super::{
    ObjectRef, Origin, Outbox, SessionId, Shard, WaiterId,
    blocks::About,
    names::parse_name,
    records::{Ends, WaiterRecord},
    sessions::Held,
    waiters::{CallName, Waiter},
};
use abide_net::{CallError, MethodKind};

impl Shard {
    /// Brings sessions, what they hold and the calls that wait back into ordinary memory, and finishes what was interrupted.
    /// The time is that of so many of these; the objects are not looked at.
    pub(super) fn restore(&mut self) -> Result<(), CallError> {
        // Nobody is connected yet: answers stay in the records, where they are found when their calls are asked for again.
        let mut nobody = Outbox::default();
        let Some(space) = &self.persistent else { return Ok(()) };
        let books = space.books;
        let (sessions, waiters, holds) =
            space.look(|block| Ok((books.sessions(block)?, books.waiters(block)?, books.holds(block)?)))?;
        let mut ending = Vec::new();
        for (id, record) in sessions {
            match record.ends {
                Ends::No => self.ledger.sessions.begin(id, record.terms(), self.now_us, record.slots.max(1)),
                Ends::Now { expired } => {
                    self.ledger.sessions.begin(id, record.terms(), self.now_us, record.slots.max(1));
                    ending.push((id, expired));
                }
                Ends::Ended { until_us } => self.ledger.sessions.remember_expired(id, until_us),
            }
        }
        for (session, name) in holds {
            let (type_id, key) = parse_name(&name)?;
            self.ledger.sessions.hold(session, Held { persistent: true, type_id, key: key.into() });
        }
        let mut orphans = Vec::new();
        let mut waiters = waiters;
        waiters.sort_by_key(|(id, _)| *id);
        for (id, record) in waiters {
            if !self.restore_waiter(id, &record)? {
                orphans.push((id, record));
            }
        }
        self.finish_releases(true, &mut nobody);
        self.end_orphans(orphans, &mut nobody);
        for (object, key) in self.gatherings() {
            self.wake_watchers(object, &key, MethodKind::Write, &mut nobody);
            self.tell(object, &key, &mut nobody, |known, context| (known.alarm)(object.fields(), context));
        }
        for (session, expired) in ending {
            self.end_session(session, expired, &mut nobody);
        }
        self.commit_restored()
    }

    fn commit_restored(&mut self) -> Result<(), CallError> {
        match &mut self.persistent {
            Some(space) => space.commit().map_err(crate::state::refuse),
            None => Ok(()),
        }
    }

    fn gatherings(&self) -> Vec<(ObjectRef, Box<str>)> {
        let all = self.ledger.waiters.gatherings();
        all.map(|(object, gathering)| (object, gathering.key.clone())).collect()
    }

    /// Puts a call that waits back to where it waited. Says whether its object is there.
    fn restore_waiter(&mut self, id: WaiterId, record: &WaiterRecord) -> Result<bool, CallError> {
        let found = self.find_named(record.type_id, &record.key, Some(1))?;
        let Some(object) = found.filter(|object| object.persistent) else { return Ok(false) };
        let WaiterRecord { session, slot, sequence, .. } = *record;
        let waiter = Waiter {
            call: CallName { session, slot, sequence, origin: Origin::default() },
            object,
            method: record.method,
            owner: record.owner,
            since_us: record.since_us,
            deadline_us: record.deadline_us,
            watches: record.watches,
            fingerprint: record.fingerprint,
        };
        self.ledger.waiters.add(id, waiter, &record.key);
        self.ledger.sessions.restore_wait(session, slot, sequence, id);
        Ok(true)
    }

    /// Calls that wait in objects that were deleted, by a shard that did not come to answer them.
    fn end_orphans(&mut self, orphans: Vec<(WaiterId, WaiterRecord)>, nobody: &mut Outbox) {
        for (id, record) in orphans {
            let key = super::records::RecordKey {
                session: record.session,
                slot: record.slot,
                sequence: record.sequence,
                fingerprint: self.fingerprint_if_seeded(record.session, record.fingerprint),
            };
            let ended = self.run(About::books(true), nobody, |context| {
                let body = abide_net::codec::encode(&CallError::Broken)?;
                context.books.remove_waiter(context.block, id)?;
                context.books.put_answer(context.block, key, false, &body)
            });
            if let Err(error) = ended {
                tracing::error!(%error, "a call that waits in a deleted object cannot be answered");
            }
        }
    }

    fn fingerprint_if_seeded(&self, session: SessionId, fingerprint: u64) -> Option<u64> {
        let is_seeded = self.ledger.sessions.terms(session).is_some_and(|terms| terms.is_seeded);
        is_seeded.then_some(fingerprint)
    }
}
