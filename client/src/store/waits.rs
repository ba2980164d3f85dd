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
