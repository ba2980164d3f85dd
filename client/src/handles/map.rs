//! [`Map`].

use super::{
    FormOf, Paged, decode_entries_page, decode_option, decode_page, dictionary::dictionary, encode_all,
    encode_entries, encode_option, handle,
};
use crate::mode::{Blocking, Mode};
use abide_net::Value;
use abide_schema::{MergeOp, Page, types::map};
use serde::{Serialize, de::DeserializeOwned};

handle! {
    /// A shared map from keys to values of the user's types, iterated in no particular order. A [`SortedMap`](super::SortedMap)
    /// has one.
    ///
    /// Keys, and values that are compared, are equal if their canonical bytes are: use types that serialise
    /// in one order (no `HashMap` inside).
    ///
    /// ```no_run
    /// use abide_client::MergeOp;
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let words = abide_client::Store::current()?.map::<String, u64>("words");
    /// words.insert("the", &1)?;
    /// words.merge_many([("the", &2), ("sea", &1)], MergeOp::Sum)?;
    /// assert_eq!(words.get("the")?, Some(3));
    /// for entry in words.entries() {
    ///     let (word, count) = entry?;
    ///     println!("{word}: {count}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct Map<K, V> of map;
}

dictionary!(Map, map);
