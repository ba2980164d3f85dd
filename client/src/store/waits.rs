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
        let waits = Store::of(fake).waits().unwrap();
        assert_eq!(waits, [wait(1, 1), wait(2, 1), wait(2, 2), wait(3, 1), wait(3, 2), wait(3, 3)]);
    }
}
