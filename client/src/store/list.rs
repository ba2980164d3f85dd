//! Listing the objects of a store, shard by shard.

use super::{Store, StoreOf, known_type};
use crate::{
    handles::{Paged, object::Object},
    mode::Mode,
};
use abide_schema::{ObjectName, Page, find_type_id, types::shard};
use serde::{Deserialize, Serialize};

/// Which objects to list.
///
/// ```
/// # use abide_client::ListFilter;
/// let filter = ListFilter::default().of_type("Map").with_prefix("users/");
/// assert_eq!(filter, ListFilter { type_name: Some("Map".into()), prefix: Some("users/".into()) });
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Only those of this type, or of all types.
    pub type_name: Option<String>,
    /// Only those whose key begins like this, or all.
    pub prefix: Option<String>,
}

impl ListFilter {
    /// Only objects of this type.
    #[must_use]
    pub fn of_type(self, name: impl Into<String>) -> Self {
        ListFilter { type_name: Some(name.into()), ..self }
    }

    /// Only objects whose key begins like this.
    #[must_use]
    pub fn with_prefix(self, prefix: impl Into<String>) -> Self {
        ListFilter { prefix: Some(prefix.into()), ..self }
    }
}

/// An object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListedObject {
    /// The name of its type; `type 0x8001` if this program does not know it.
    pub type_name: String,
    /// Its key.
    pub key: String,
}

/// Where a page of a listing begins. Stays good while objects come and go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCursor {
    /// The shard that is looked at.
    shard: u32,
    /// What the shard said where to go on, or nothing at its beginning.
    position: Option<Vec<u8>>,
}

impl<M: Mode> StoreOf<M> {
    /// At most `limit` objects from a cursor: the default one at first, then the `next` of the page before.
    ///
    /// A page is of one shard and can be empty: the listing ends when there is no `next`. An object that
    /// exists during the whole listing comes once. `NoSuchMethod` if there is no type of the filter's name.
    pub fn list_objects_page(
        &self,
        filter: &ListFilter,
        cursor: ListCursor,
        limit: u32,
    ) -> M::Output<Page<ListedObject, ListCursor>> {
        let make = || {
            let type_id =
                filter.type_name.as_deref().map(|name| known_type(name).map(|info| info.id)).transpose()?;
            let prefix = filter.prefix.clone();
            Ok(shard::ListObjects { type_id, prefix, cursor: cursor.position, limit })
        };
        let (caller, shard) = (self.caller.clone(), cursor.shard);
        Object::<M>::shard(self.caller.clone(), shard).call(make, move |page| {
            let next = match page.next {
                Some(position) => Some(ListCursor { shard, position: Some(position) }),
                None => {
                    next_shard(shard, M::shards(&caller)?).map(|shard| ListCursor { shard, position: None })
                }
            };
            Ok(Page { entries: page.entries.into_iter().map(listed).collect(), next })
        })
    }
}

impl Store {
    /// The objects of the store, fetched [page by page](StoreOf::list_objects_page): all of one shard in no particular
    /// order, then those of the next.
    ///
    /// ```no_run
    /// # use abide_client::{ListFilter, Store};
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// for object in Store::current()?.list_objects(ListFilter::default().with_prefix("pi/")) {
    ///     let object = object?;
    ///     println!("{} {}", object.type_name, object.key);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_objects(&self, filter: ListFilter) -> Paged<ListedObject> {
        let store = self.clone();
        Paged::new(move |cursor: Option<&ListCursor>, limit| {
            store.list_objects_page(&filter, cursor.cloned().unwrap_or_default(), limit)
        })
    }
}

/// The shard to go on with after one that has been visited.
pub(super) fn next_shard(shard: u32, shards: u32) -> Option<u32> {
    Some(shard + 1).filter(|next| *next < shards)
}

fn listed(object: ObjectName) -> ListedObject {
    let ObjectName { type_id, key } = object;
    let type_name =
        find_type_id(type_id).map_or_else(|| format!("type {type_id:#x}"), |info| info.name.to_owned());
    ListedObject { type_name, key }
}
