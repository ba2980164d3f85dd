//! What ends without anybody calling: waits, leases, objects whose time is over; and who is told of it.

use super::{
    Context, Gone, Leaves, ObjectRef, Outbox, SessionId, Shard, WaiterId,
    blocks::About,
    names,
    records::{Ends, SessionRecord, expiry_key},
    sessions::{Held, TOMBSTONE_US},
};
use crate::{registry::RegisteredType, state::refuse};
use abide_net::{CallError, MethodKind};

/// Waiting calls that one block answers at most, of those that are answered alike.
const PART: usize = 256;

impl Shard {
    /// Calls whose time has come end before any later event is looked at, as do objects; and objects that asked for it are told.
    pub(super) fn end_what_is_due(&mut self, out: &mut Outbox) {
        while let Some(waiter) = self.ledger.waiters.due(self.now_us) {
            self.end_wait(waiter, Gone::TimedOut, out);
        }
        self.ring_alarms(out);
        for persistent in [false, true] {
            self.expire(persistent, out);
        }
    }

    /// Tells objects whose alarm is due, also those that set one for now: to go on with what was too much for one block.
    pub(super) fn ring_alarms(&mut self, out: &mut Outbox) {
        while let Some((object, key)) = self.ledger.alarms.take_due(self.now_us) {
            self.tell(object, &key, out, |known, context| (known.alarm)(object.fields(), context));
        }
    }

    pub(super) fn end_leases_that_are_due(&mut self, out: &mut Outbox) {
        while let Some(session) = self.ledger.sessions.due(self.now_us) {
            if self.ledger.sessions.terms(session).is_some_and(|terms| terms.is_seeded) {
                self.give_back(session, out);
                if self.ledger.sessions.fall_asleep(session, self.now_us) {
                    continue;
                }
            }
            self.end_session(session, true, out);
        }
        while let Some(session) = self.ledger.sessions.forget_expired(self.now_us) {
            if self.persistent.is_some() {
                self.forget_record(session, out);
            }
        }
    }

    /// Ends a waiting call, and tells its object, which may have it wait on for something else if only its time-out passed.
    pub(super) fn end_wait(&mut self, id: WaiterId, why: Gone, out: &mut Outbox) {
        let Some(waiter) = self.ledger.waiters.get(id) else { return };
        let (object, is_watch) = (waiter.object, waiter.watches.is_some());
        let Some(key) = self.key_of(object) else { return };
        let error = match why {
            Gone::TimedOut => CallError::TimedOut,
            Gone::Cancelled => CallError::Cancelled,
            Gone::SessionEnded => CallError::SessionExpired,
        };
        let known = self.known(object.type_id).copied();
        let told = self.run(About::object(object, &key), out, |context| {
            let leaves = match &known {
                Ok(known) if !is_watch => (known.waiter_gone)(object.fields(), context, id, why)?,
                _ => Leaves::Now,
            };
            match leaves {
                Leaves::Later if why == Gone::TimedOut => context.make_patient(id),
                _ if context.staged.woken.iter().any(|woken| woken.id == id) => Ok(()),
                _ => context.wake_encoded(id, encoded(&error)),
            }
        });
        if let Err(reason) = told {
            tracing::error!(%reason, "an object failed to hear of a call that ended");
            self.end_alone(&[id], object, &key, &error, out);
        }
    }

    /// Answers waiting calls of an object that is not asked about it.
    fn end_alone(
        &mut self,
        ids: &[WaiterId],
        object: ObjectRef,
        key: &str,
        error: &CallError,
        out: &mut Outbox,
    ) {
        for part in ids.chunks(PART) {
            let about = About { object: None, ..About::object(object, key) };
            let ended = self.run(about, out, |context| {
                part.iter().try_for_each(|id| context.wake_encoded(*id, encoded(error)))
            });
            if let Err(reason) = ended {
                tracing::error!(%reason, "waiting calls cannot be answered");
                // Ordinary memory still knows them, so they end with their sessions, or when the store is opened again.
                return;
            }
        }
    }

    /// Answers all calls that wait in an object that is gone.
    pub(super) fn end_waits_of(&mut self, object: ObjectRef, error: &CallError, out: &mut Outbox) {
        self.ledger.alarms.take(object);
        let Some(gathering) = self.ledger.waiters.of(object) else { return };
        let (ids, key): (Vec<_>, _) = (gathering.ids.iter().copied().collect(), gathering.key.clone());
        self.end_alone(&ids, object, &key, error, out);
    }

    fn key_of(&self, object: ObjectRef) -> Option<Box<str>> {
        self.ledger.waiters.of(object).map(|gathering| gathering.key.clone())
    }

    /// Answers those that wait for a newer version of an object than they have seen.
    pub(super) fn wake_watchers(&mut self, object: ObjectRef, key: &str, kind: MethodKind, out: &mut Outbox) {
        if kind == MethodKind::Read {
            return;
        }
        while let Some(gathering) = self.ledger.waiters.of(object)
            && !gathering.watchers.is_empty()
        {
            let watchers: Vec<_> = gathering.watchers.iter().map(|(id, seen)| (*id, *seen)).collect();
            let woken = self.run(About::object(object, key), out, |context| {
                let [version, _] = object.head().get(&*context.block).map_err(refuse)?;
                for (id, _) in watchers.iter().filter(|(_, seen)| *seen < version).take(PART) {
                    context.wake(*id, Ok(&version))?;
                }
                Ok(context.staged.woken.len())
            });
            match woken {
                Ok(0) => return,
                Ok(_) => {}
                Err(reason) => {
                    tracing::error!(%reason, "watching calls cannot be answered");
                    return;
                }
            }
        }
    }

    /// Ends a session: its calls that wait, what it holds, and the memory of its answers.
    pub(super) fn end_session(&mut self, session: SessionId, expired: bool, out: &mut Outbox) {
        if !self.ledger.sessions.knows(session) {
            return;
        }
        let slots = self.ledger.sessions.recorded_slots(session);
        let terms = self.ledger.sessions.terms(session);
        if let Some(terms) = terms.filter(|_| slots > 0) {
            // From here on the session ends, whatever happens: a shard that opens and finds this goes on with it.
            let record = SessionRecord { ends: Ends::Now { expired }, ..SessionRecord::new(terms, slots) };
            self.note_session(session, &record, out);
        }
        self.give_back(session, out);
        // What it did meanwhile, by waits of its own that ended, may have made records of more slots.
        let slots = self.ledger.sessions.recorded_slots(session);
        let until_us = expired.then(|| self.now_us.saturating_add(TOMBSTONE_US));
        if slots > 0 {
            let mut from = Some(0);
            while let Some(first) = from {
                let forgot = self.run(About::books(true), out, |context| {
                    context.books.forget_answers(context.block, session, first, slots)
                });
                from = forgot.unwrap_or_else(|reason| {
                    tracing::error!(%reason, "answers of a session that ended stay");
                    None
                });
            }
            match (terms, until_us) {
                (Some(terms), Some(until_us)) => {
                    let record =
                        SessionRecord { ends: Ends::Ended { until_us }, ..SessionRecord::new(terms, 0) };
                    self.note_session(session, &record, out);
                }
                _ => self.forget_record(session, out),
            }
        }
        self.ledger.sessions.end(session, until_us);
    }

    fn note_session(&mut self, session: SessionId, record: &SessionRecord, out: &mut Outbox) {
        let noted = self.run(About::books(true), out, |context| {
            context.books.put_session(context.block, session, record)
        });
        if let Err(reason) = noted {
            tracing::error!(%reason, "the end of a session cannot be noted");
        }
    }

    fn forget_record(&mut self, session: SessionId, out: &mut Outbox) {
        let forgot =
            self.run(About::books(true), out, |context| context.books.remove_session(context.block, session));
        if let Err(reason) = forgot {
            tracing::error!(%reason, "the record of a session stays");
        }
    }

    /// Ends a session's calls that wait, and gives back what it holds.
    pub(super) fn give_back(&mut self, session: SessionId, out: &mut Outbox) {
        // The end of one wait can make an object end or grant another of the same session, so each is looked
        // up again, and the session is there until its last wait is over: what it is granted on the way
        // belongs to the estate.
        for waiter in self.ledger.sessions.waits(session) {
            self.end_wait(waiter, Gone::SessionEnded, out);
        }
        while let Some(held) = self.ledger.sessions.first_held(session) {
            self.give_back_one(session, &held, out);
            self.ledger.sessions.unhold(session, &held);
        }
    }

    fn give_back_one(&mut self, session: SessionId, held: &Held, out: &mut Outbox) {
        let replicas = Some(u8::from(held.persistent));
        let found = self.find_named(held.type_id, &held.key, replicas);
        let object = found.unwrap_or_default().filter(|object| object.persistent == held.persistent);
        if let Some(object) = object {
            while self.tell_of_end(object, &held.key, session, out) {}
        }
        if held.persistent {
            let mut name = Vec::new();
            names::name_of(held.type_id, &held.key, &mut name);
            let forgot = self
                .run(About::books(true), out, |context| context.books.unhold(context.block, session, &name));
            if let Err(reason) = forgot {
                tracing::error!(%reason, "what a session held cannot be forgotten");
            }
        }
    }

    /// Tells an object that a session ended which holds something of it. Says whether it holds more.
    fn tell_of_end(&mut self, object: ObjectRef, key: &str, session: SessionId, out: &mut Outbox) -> bool {
        let Ok(known) = self.known(object.type_id).copied() else { return false };
        let told = self.run(About::object(object, key), out, |context| {
            (known.session_ended)(object.fields(), context, session)?;
            Ok(context.staged.holds_more)
        });
        told.unwrap_or_else(|error| {
            tracing::error!(%error, "an object failed to hear of the end of a session");
            false
        })
    }

    /// Tells an object of something that nobody called it for. That counts as a change.
    pub(super) fn tell(
        &mut self,
        object: ObjectRef,
        key: &str,
        out: &mut Outbox,
        news: impl Fn(&RegisteredType, &mut Context<'_, '_>) -> Result<(), CallError>,
    ) {
        let Ok(known) = self.known(object.type_id).copied() else { return };
        let told = self.run(About::object(object, key), out, |context| news(&known, context));
        if let Err(error) = told {
            tracing::error!(%error, "an object failed to hear of a change");
        }
    }

    /// Deletes objects whose time is over.
    fn expire(&mut self, persistent: bool, out: &mut Outbox) {
        loop {
            let space = match &self.persistent {
                Some(space) if persistent => space,
                None if persistent => return,
                _ => &self.ephemeral,
            };
            if space.next_expiry_us.is_none_or(|at_us| at_us > self.now_us) {
                return;
            }
            let first = space.look(|block| space.books.expiries.first(block).map_err(refuse));
            let due = first.ok().flatten().and_then(|(key, _)| {
                let at_us = u64::from_be_bytes(*key.first_chunk::<8>()?);
                Some((at_us, key))
            });
            match due {
                Some((at_us, key)) if at_us <= self.now_us => {
                    let name = &key[8..];
                    let deleted = names::parse_name(name)
                        .and_then(|(type_id, key)| self.delete_named(persistent, type_id, key, out));
                    if deleted != Ok(true) {
                        // The object is gone, or unreadable: its expiry goes in any case.
                        let gone = self.run(About::books(persistent), out, |context| {
                            let expiries = context.books.expiries;
                            expiries.remove(context.block, &expiry_key(at_us, name)).map(drop).map_err(refuse)
                        });
                        if let Err(error) = gone {
                            tracing::error!(%error, "an expiry cannot be done");
                            self.set_next_expiry(persistent, None);
                            return;
                        }
                    }
                    self.look_for_expiry(persistent);
                }
                due => {
                    self.set_next_expiry(persistent, due.map(|(at_us, _)| at_us));
                    return;
                }
            }
        }
    }

    /// Looks anew when the next object expires.
    pub(super) fn look_for_expiry(&mut self, persistent: bool) {
        let first = self.space(persistent).first_expiry().unwrap_or_else(|error| {
            tracing::error!(%error, "expiries cannot be read");
            None
        });
        self.set_next_expiry(persistent, first);
    }

    fn set_next_expiry(&mut self, persistent: bool, at_us: Option<u64>) {
        match &mut self.persistent {
            Some(space) if persistent => space.next_expiry_us = at_us,
            _ => self.ephemeral.next_expiry_us = at_us,
        }
    }
}

fn encoded(error: &CallError) -> Result<Vec<u8>, CallError> {
    Err(error.clone())
}
