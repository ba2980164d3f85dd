//! Who waits: the calls that are blocked in a store's objects, shard by shard.

use super::{Store, StoreOf, list::next_shard};
use crate::{
    handles::{Paged, object::Object},
    mode::Mode,
};
use abide_schema::{Page, WaitInfo, types::shard};
use serde::{Deserialize, Serialize};

/// Where a page of waiting calls begins. Stays good while calls come and go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsCursor {
    /// The shard that is looked at.
    shard: u32,
    /// Its own cursor.
    position: u64,
}

impl<M: Mode> StoreOf<M> {
    /// At most `limit` calls that wait, from a cursor: the default one at first, then the `next` of the page before. A page is of
    /// one shard and can be empty: there are no more when there is no `next`.
    pub fn waits_page(&self, cursor: WaitsCursor, limit: u32) -> M::Output<Page<WaitInfo, WaitsCursor>> {
        let (caller, WaitsCursor { shard, position }) = (self.caller.clone(), cursor);
        Object::<M>::shard(self.caller.clone(), shard).call(
            || Ok(shard::Waits { cursor: position, limit }),
            move |page| {
                let next = match page.next {
                    Some(position) => Some(WaitsCursor { shard, position }),
                    None => {
                        next_shard(shard, M::shards(&caller)?).map(|shard| WaitsCursor { shard, position: 0 })
                    }
                };
                Ok(Page { entries: page.entries, next })
            },
        )
    }
}

impl Store {
    /// The calls that wait in the store's objects, and who holds what they wait for, fetched
    /// [page by page](StoreOf::waits_page): those of one shard in the order of asking, then those of the next.
    ///
    /// ```no_run
    /// # use abide_client::Store;
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// for wait in Store::current()?.waits() {
    ///     let wait = wait?;
    ///     println!("{} {}: {} waits", wait.type_name, wait.object.key, wait.method);
    ///     for holder in wait.holders {
    ///         println!("    for session {}, which holds {}", holder.session, holder.what);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn waits(&self) -> Paged<WaitInfo> {
        let store = self.clone();
        Paged::new(move |cursor: Option<&WaitsCursor>, limit| {
            store.waits_page(cursor.copied().unwrap_or_default(), limit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::tests::{Fake, encoded};
    use abide_schema::{ObjectName, Page};
    use std::sync::atomic::Ordering::SeqCst;

    fn wait(shard: u32, sequence: u64) -> WaitInfo {
        WaitInfo {
            object: ObjectName { type_id: 14, key: format!("in {shard}") },
            type_name: "Mutex".to_owned(),
            session: "5e5510".to_owned(),
            slot: 0,
            sequence,
            method: "lock".to_owned(),
            owner: None,
            since_unix_ms: 1,
            deadline_unix_ms: None,
            holders: Vec::new(),
        }
    }

    #[test]
    fn waits_are_those_of_all_pages_of_all_shards() {
        // Shard n has n calls that wait, and tells one at a time.
        let fake = Fake::new(|call| {
            let Some(shard::Waits { cursor, .. }) = call.as_call() else { panic!("{call:?}") };
            let shard = call.shard.unwrap();
            let next = cursor + 1;
            let entries = if next <= u64::from(shard) { vec![wait(shard, next)] } else { Vec::new() };
            encoded(&Page { entries, next: Some(next).filter(|next| *next < u64::from(shard)) })
        });
        fake.shards.store(4, SeqCst);
        let waits: Vec<_> = Store::of(fake).waits().map(Result::unwrap).collect();
        assert_eq!(waits, [wait(1, 1), wait(2, 1), wait(2, 2), wait(3, 1), wait(3, 2), wait(3, 3)]);
    }
}
