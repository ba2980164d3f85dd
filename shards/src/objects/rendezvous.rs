//! Rendezvous.

use super::{
    held::PART,
    sizes::{self, check_name, check_text},
};
use crate::{
    Context, SharedObject, calls,
    shard::{Gone, Leaves, SessionId, WaiterId},
    state::{Fields, Queue, Tree, damaged},
};
use abide_net::{CallError, codec};
use abide_schema::{Page, Wait, types::rendezvous};
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// Names and the addresses that sessions publish under them: see [`rendezvous`].
///
/// Invariants:
/// - `of_sessions` has a name of a session exactly if that session published it, and the shard tells of the end of exactly those
///   sessions;
/// - `wanted` has each lookup that waits, under its name; only names that are in `answering` are both published and wanted.
#[derive(Debug)]
pub struct Rendezvous {
    /// Who published what, by name.
    published: Tree,
    /// The names of each session: keys are the session and the name.
    of_sessions: Tree,
    /// Lookups that wait, each with its name.
    lookups: Queue<String>,
    /// The same by name: keys are the name, its end, and the call.
    wanted: Tree,
    /// Names that were published, but whose lookups were too many to be answered by one block.
    answering: Tree,
}

/// What is published under a name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Published {
    session: SessionId,
    address: String,
}

/// Ends a name within a key. It is in no name, which are UTF-8.
const END: u8 = 0xff;

fn decode(published: &[u8]) -> Result<Published, CallError> {
    codec::decode_own(published).map_err(|_| damaged("an address"))
}

fn name_from(bytes: &[u8]) -> Result<String, CallError> {
    let name = std::str::from_utf8(bytes).map_err(|_| damaged("a name"))?;
    Ok(name.to_owned())
}

fn session_key(session: SessionId, name: &[u8]) -> Vec<u8> {
    [&session.0.to_be_bytes()[..], name].concat()
}

fn wanted_key(name: &str, waiter: WaiterId) -> Vec<u8> {
    [name.as_bytes(), &[END], &waiter.to_key()].concat()
}

impl SharedObject for Rendezvous {
    type Type = rendezvous::Type;

    const FIELDS: u32 = 5;

    fn at(fields: Fields) -> Self {
        Rendezvous {
            published: Tree::at(fields, 0),
            of_sessions: Tree::at(fields, 1),
            lookups: Queue::at(fields, 2),
            wanted: Tree::at(fields, 3),
            answering: Tree::at(fields, 4),
        }
    }

    fn create(
        &mut self,
        _: &mut Context<'_, '_>,
        rendezvous::Creation {}: rendezvous::Creation,
    ) -> Result<(), CallError> {
        Ok(())
    }

    calls!(abide_schema::types::rendezvous);

    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        _: Gone,
    ) -> Result<Leaves, CallError> {
        if let Some(name) = self.lookups.remove(context, waiter)? {
            self.wanted.remove(context, &wanted_key(&name, waiter))?;
        }
        Ok(Leaves::Now)
    }

    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        for _ in 0..PART {
            let Some(name) = self.first_name_of(context, session)? else { return Ok(()) };
            self.published.remove(context, &name)?;
            self.of_sessions.remove(context, &session_key(session, &name))?;
        }
        context.hold_more();
        Ok(())
    }

    /// Goes on with the lookups that one block could not answer.
    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        match self.answering.first(context)? {
            Some((name, _)) => self.answer_part(context, &name_from(&name)?),
            None => Ok(()),
        }
    }
}

impl Rendezvous {
    fn find(&self, context: &Context<'_, '_>, name: &str) -> Result<Option<Published>, CallError> {
        self.published.get(context, name.as_bytes())?.map(|published| decode(&published)).transpose()
    }

    /// The first of the names that a session has published, if it has published one.
    fn first_name_of(
        &self,
        context: &Context<'_, '_>,
        session: SessionId,
    ) -> Result<Option<Vec<u8>>, CallError> {
        let prefix = session.0.to_be_bytes();
        let first = self.of_sessions.ceiling(context, &prefix)?;
        Ok(first.and_then(|(key, _)| key.strip_prefix(&prefix[..]).map(<[u8]>::to_vec)))
    }

    /// Answers some of those that look a name up which is published.
    fn answer_part(&self, context: &mut Context<'_, '_>, name: &str) -> Result<(), CallError> {
        let published = self.find(context, name)?;
        let (first, last) = (wanted_key(name, WaiterId(0)), wanted_key(name, WaiterId(u64::MAX)));
        let range = (Bound::Included(&first[..]), Bound::Included(&last[..]));
        let mut waiters = Vec::new();
        let mut more = false;
        // Somebody may have taken it back since, if the shard had no room to go on at once: then those that are left wait.
        if published.is_some() {
            self.wanted.for_each(context, range, |key, _| {
                more = waiters.len() == PART as usize;
                if !more {
                    waiters.push(WaiterId::from_key(&key[name.len() + 1..])?);
                }
                Ok(!more)
            })?;
        }
        for (waiter, Published { address, .. }) in waiters.into_iter().zip(published.iter().cycle()) {
            self.lookups.remove(context, waiter)?;
            self.wanted.remove(context, &wanted_key(name, waiter))?;
            context.wake(waiter, Ok(address))?;
        }
        if more {
            self.answering.insert(context, name.as_bytes(), &[])?;
        } else {
            self.answering.remove(context, name.as_bytes())?;
        }
        if !self.answering.is_empty(context)? {
            // The shard asks again at once, before any other event.
            context.set_alarm(Some(0));
        }
        Ok(())
    }
}

impl rendezvous::Methods<Context<'_, '_>> for Rendezvous {
    fn publish(
        &mut self,
        context: &mut Context<'_, '_>,
        name: String,
        address: String,
    ) -> Result<(), CallError> {
        check_name(&name)?;
        check_text(&address)?;
        let session = context.session();
        match self.find(context, &name)? {
            Some(published) if published.session != session => {
                return Err(CallError::denied("another session has published an address under this name"));
            }
            Some(_) => {}
            None => {
                if self.first_name_of(context, session)?.is_none() {
                    context.hold(session)?;
                }
                self.of_sessions.insert(context, &session_key(session, name.as_bytes()), &[])?;
            }
        }
        let published = codec::encode(&Published { session, address })?;
        self.published.insert(context, name.as_bytes(), &published)?;
        self.answer_part(context, &name)
    }

    fn withdraw(&mut self, context: &mut Context<'_, '_>, name: String) -> Result<bool, CallError> {
        check_name(&name)?;
        let session = context.session();
        if self.find(context, &name)?.is_none_or(|published| published.session != session) {
            return Ok(false);
        }
        self.published.remove(context, name.as_bytes())?;
        self.of_sessions.remove(context, &session_key(session, name.as_bytes()))?;
        if self.first_name_of(context, session)?.is_none() {
            context.unhold(session)?;
        }
        Ok(true)
    }

    fn lookup(
        &mut self,
        context: &mut Context<'_, '_>,
        name: String,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<String>, CallError> {
        check_name(&name)?;
        if let Some(Published { address, .. }) = self.find(context, &name)? {
            return Ok(Wait::Done(address));
        }
        let waiter = context.begin_wait(timeout_ms, None)?;
        self.lookups.set(context, waiter, &name)?;
        self.wanted.insert(context, &wanted_key(&name, waiter), &[])?;
        Ok(Wait::Waiting)
    }

    fn names(
        &mut self,
        context: &mut Context<'_, '_>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Page<(String, String), String>, CallError> {
        after.as_deref().map_or(Ok(()), check_name)?;
        let mut page = sizes::Gathering::new(limit);
        let after = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
        self.published.for_each(context, (after, Bound::Unbounded), |name, published| {
            let entry = (name_from(name)?, decode(published)?.address);
            let bytes = entry.0.len() + entry.1.len();
            Ok(page.take(entry, bytes))
        })?;
        Ok(page.finish(|taken| taken.last().map_or_else(String::new, |(name, _)| name.clone())))
    }
}
