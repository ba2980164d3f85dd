//! A shard, asked about itself: its objects, its numbers, and who waits for whom.

use super::{
    Context, Outbox, Shard, WaiterId,
    blocks::About,
    names::{ObjectRef, parse_name},
};
use crate::{registry::RegisteredType, state::refuse};
use abide_net::{CallError, limits::PAGE_ENTRIES_MAX};
use abide_schema::{BlockedBy, ObjectName, Page, ShardInfo, WaitInfo, types::shard};

/// Names that one page looks at, whether they are wanted or not: bounds how long a listing holds up its shard.
const LOOKED_AT_MAX: usize = 100_000;

/// Names that are read at once.
const LOOKED_AT_ONCE: usize = 1_000;

impl shard::Methods<()> for Shard {
    fn list_objects(
        &mut self,
        (): &mut (),
        type_id: Option<u16>,
        prefix: Option<String>,
        cursor: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Page<ObjectName, Vec<u8>>, CallError> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX) as usize;
        let prefix = prefix.unwrap_or_default();
        // A cursor is the space, and the name that was looked at last.
        let (persistent, mut after) = match cursor.as_deref() {
            None | Some([]) => (false, None),
            Some([0, name @ ..]) => (false, Some(name.to_vec())),
            Some([1, name @ ..]) => (true, Some(name.to_vec())),
            Some(_) => return Err(CallError::bad_argument("no cursor of a listing")),
        };
        after = after.filter(|name| !name.is_empty());
        let mut entries = Vec::new();
        let mut left = LOOKED_AT_MAX;
        for in_persistent in [false, true] {
            let was_listed = persistent && !in_persistent;
            if was_listed || in_persistent && self.persistent.is_none() {
                continue;
            }
            let space = self.space(in_persistent);
            loop {
                let asked = LOOKED_AT_ONCE.min(left);
                let page = space
                    .look(|block| space.directory.page(block, after.as_deref(), asked).map_err(refuse))?;
                left -= page.entries.len();
                for (name, _) in page.entries {
                    if entries.len() == limit {
                        left = 0;
                        break;
                    }
                    // Type 0 is that of the books.
                    let (found, key) = parse_name(&name)?;
                    let is_wanted = found != 0 && type_id.is_none_or(|wanted| wanted == found);
                    if is_wanted && key.starts_with(&prefix) {
                        entries.push(ObjectName { type_id: found, key: key.to_owned() });
                    }
                    after = Some(name);
                }
                if left == 0 {
                    let next = [&[u8::from(in_persistent)], &after.unwrap_or_default()[..]].concat();
                    return Ok(Page { entries, next: Some(next) });
                }
                if page.is_last {
                    break;
                }
            }
            after = None;
        }
        Ok(Page { entries, next: None })
    }

    fn info(&mut self, (): &mut ()) -> Result<ShardInfo, CallError> {
        let persistent = self.persistent.as_ref();
        let persistent_objects = persistent.map_or(Ok(0), |space| space.objects())?;
        let (bytes, bytes_max) = self.ephemeral.region_bytes();
        let (persistent_bytes, persistent_bytes_max) =
            persistent.map_or((0, 0), |space| space.region_bytes());
        Ok(ShardInfo {
            shard: self.config.shard,
            objects: self.ephemeral.objects()? + persistent_objects,
            sessions: self.ledger.sessions.len() as u64,
            waiters: self.ledger.waiters.len() as u64,
            calls: self.calls,
            epoch: self.config.epoch,
            program: concat!("abide ", env!("CARGO_PKG_VERSION")).to_owned(),
            uptime_ms: (self.now_us - self.config.started_us) / 1_000,
            persistent_objects,
            persistence: self.config.persistence.clone(),
            bytes,
            bytes_max,
            persistent_bytes,
            persistent_bytes_max,
        })
    }

    fn waits(&mut self, (): &mut (), cursor: u64, limit: u32) -> Result<Page<WaitInfo, u64>, CallError> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX) as usize;
        let mut waiting: Vec<_> = self.ledger.waiters.after(WaiterId(cursor)).take(limit + 1).collect();
        let more = waiting.len() > limit;
        waiting.truncate(limit);
        let waiting: Vec<_> = waiting.into_iter().map(|(id, waiter)| (id, waiter.clone())).collect();
        let next = waiting.last().filter(|_| more).map(|(id, _)| id.0);
        let mut entries = Vec::with_capacity(waiting.len());
        let mut holders: Option<(ObjectRef, Vec<BlockedBy>)> = None;
        for (_, waiter) in waiting {
            let object = waiter.object;
            let known = *self.known(object.type_id)?;
            let key =
                self.ledger.waiters.of(object).map(|gathering| gathering.key.clone()).unwrap_or_default();
            // Those who wait in one object mostly stand together.
            if waiter.watches.is_some() {
                holders = Some((object, Vec::new()));
            } else if holders.as_ref().is_none_or(|(of, _)| *of != object) {
                holders = Some((object, self.holders_of(object, &key, &known)));
            }
            let method = match known.info.method_by_id(waiter.method) {
                Some(method) => method.name,
                None => "watch",
            };
            entries.push(WaitInfo {
                object: ObjectName { type_id: object.type_id, key: key.into() },
                type_name: known.info.name.to_owned(),
                session: waiter.call.session.to_string(),
                slot: waiter.call.slot,
                sequence: waiter.call.sequence,
                method: method.to_owned(),
                owner: waiter.owner,
                since_unix_ms: waiter.since_us / 1_000,
                deadline_unix_ms: waiter.deadline_us.map(|at_us| at_us / 1_000),
                holders: holders.as_ref().map(|(_, holders)| holders.clone()).unwrap_or_default(),
            });
        }
        Ok(Page { entries, next })
    }
}

impl Shard {
    /// Who holds what is waited for in an object.
    fn holders_of(&mut self, object: ObjectRef, key: &str, known: &RegisteredType) -> Vec<BlockedBy> {
        let holders = |context: &mut Context<'_, '_>| (known.holders)(object.fields(), context);
        // It only looks, so there is nobody to answer.
        let mut nobody = Outbox::default();
        self.run(About::object(object, key), &mut nobody, holders).unwrap_or_else(|error| {
            tracing::warn!(%error, key, "who holds an object cannot be told");
            Vec::new()
        })
    }
}
