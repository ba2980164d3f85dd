//! Calls that wait, over all shards.

use super::Store;
use crate::{handles::object::Object, mode::Blocking};
use abide_net::CallError;
use abide_schema::{WaitInfo, types::shard};

/// Calls of a page. With a hundred holders each, which is as many as are told, they are some ten megabytes.
const PAGE_ENTRIES: u32 = 1_000;

impl Store {
    /// Every call that waits in an object of the store: shard by shard, and in each in the order of asking. Who made it, since when, and
    /// who holds what it waits for.
    ///
    /// The shards are asked one after the other and page by page, so calls that came or went meanwhile may be there or not.
    pub fn waits(&self) -> Result<Vec<WaitInfo>, CallError> {
        let mut waits = Vec::new();
        for shard in 0..self.caller.shards()? {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                let asked = Object::<Blocking>::shard(self.caller.clone(), shard);
                let page = asked.call(|| Ok(shard::Waits { cursor: from, limit: PAGE_ENTRIES }), Ok)?;
                waits.extend(page.entries);
                cursor = page.next;
            }
        }
        Ok(waits)
    }
}
