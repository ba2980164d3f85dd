//! [`SortedMap`].

use super::{
    FormOf, Paged, decode_entries_page, decode_entry, decode_option, decode_page, dictionary::dictionary,
    encode_all, encode_entries, encode_option, handle,
};
use crate::mode::{Blocking, Mode};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::sorted_map};
use serde::{Serialize, de::DeserializeOwned};

handle! {
    /// A shared map from keys to values of the user's types, in the order of its keys: integers and floats by their size,
    /// texts and bytes as a dictionary has them, other types by their canonical bytes.
    ///
    /// Values that are compared are equal if their canonical bytes are: use types that serialise in one order (no `HashMap`
    /// inside). A key may have up to about a thousand bytes: `TooLarge` says how many.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let scores = abide_client::Store::current()?.sorted_map::<u64, String>("scores").persistent();
    /// scores.insert(&90, "Ada")?;
    /// scores.insert(&75, "Grace")?;
    /// assert_eq!(scores.top(1)?, [(90, "Ada".to_owned())]);
    /// for entry in scores.range(Some(&50), Some(&80)) {
    ///     let (score, name) = entry?;
    ///     println!("{name}: {score}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct SortedMap<K, V> of sorted_map;
}

dictionary!(SortedMap, sorted_map);

impl<K, V, M> SortedMap<K, V, M>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
    M: Mode,
{
    /// At most `limit` entries from the key `from` on (from the first without one) to before `to` (to the last without one),
    /// ascending. `next` is the key to go on from.
    pub fn range_page(
        &self,
        from: Option<&(impl FormOf<K> + ?Sized)>,
        to: Option<&(impl FormOf<K> + ?Sized)>,
        limit: u32,
    ) -> M::Output<Page<(K, V), K>> {
        let make = || Ok(sorted_map::Range { from: encode_option(from)?, to: encode_option(to)?, limit });
        self.object.call(make, decode_entries_page)
    }

    /// At most `limit` entries before the key `to`, ascending from the first. `next` is the key to go on from.
    pub fn head(&self, to: &(impl FormOf<K> + ?Sized), limit: u32) -> M::Output<Page<(K, V), K>> {
        self.object.call(|| Ok(sorted_map::Head { to: Value::encode(to)?, limit }), decode_entries_page)
    }

    /// At most `limit` entries from the key `from` on, ascending. `next` is the key to go on from.
    pub fn tail(&self, from: &(impl FormOf<K> + ?Sized), limit: u32) -> M::Output<Page<(K, V), K>> {
        self.object.call(|| Ok(sorted_map::Tail { from: Value::encode(from)?, limit }), decode_entries_page)
    }

    /// The entry of the smallest key.
    pub fn first(&self) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::First {}), entry_of)
    }

    /// The entry of the greatest key.
    pub fn last(&self) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::Last {}), entry_of)
    }

    /// The entry of the greatest key that is not greater than this one.
    pub fn floor(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::Floor { key: Value::encode(key)? }), entry_of)
    }

    /// The entry of the smallest key that is not smaller than this one.
    pub fn ceiling(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::Ceiling { key: Value::encode(key)? }), entry_of)
    }

    /// The entry of the greatest key that is smaller than this one.
    pub fn lower(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::Lower { key: Value::encode(key)? }), entry_of)
    }

    /// The entry of the smallest key that is greater than this one.
    pub fn higher(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::Higher { key: Value::encode(key)? }), entry_of)
    }

    /// The entries of the `k` greatest keys, descending. `TooLarge` if they do not fit one answer.
    pub fn top(&self, k: u32) -> M::Output<Vec<(K, V)>> {
        let read = |entries: Vec<_>| entries.into_iter().map(decode_entry).collect();
        self.object.call(|| Ok(sorted_map::Top { k }), read)
    }

    /// Removes and returns the entry of the smallest key.
    pub fn pop_first(&self) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::PopFirst {}), entry_of)
    }

    /// Removes and returns the entry of the greatest key.
    pub fn pop_last(&self) -> M::Output<Option<(K, V)>> {
        self.object.call(|| Ok(sorted_map::PopLast {}), entry_of)
    }

    /// How many keys are smaller than this one, which need not be there.
    pub fn rank(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<u64> {
        self.object.call(|| Ok(sorted_map::Rank { key: Value::encode(key)? }), Ok)
    }
}

impl<K, V> SortedMap<K, V, Blocking>
where
    K: Serialize + DeserializeOwned + Send + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// The entries from the key `from` on (from the first without one) to before `to` (to the last without one), fetched
    /// [page by page](Self::range_page). A key that cannot be serialised is an error, and the only item.
    pub fn range(
        &self,
        from: Option<&(impl FormOf<K> + ?Sized)>,
        to: Option<&(impl FormOf<K> + ?Sized)>,
    ) -> Paged<(K, V)> {
        let object = self.object.clone();
        let bounds = encode_option(from).and_then(|from| Ok((from, encode_option(to)?)));
        Paged::new(move |next: Option<&Value>, limit| {
            let (from, to) = bounds.clone()?;
            let make = || Ok(sorted_map::Range { from: next.cloned().or(from), to, limit });
            object.call(make, |page| {
                let entries = page.entries.into_iter().map(decode_entry).collect::<Result<_, _>>()?;
                Ok(Page { entries, next: page.next })
            })
        })
    }
}

fn entry_of<K: DeserializeOwned, V: DeserializeOwned>(
    entry: Option<(Value, Value)>,
) -> Result<Option<(K, V)>, CallError> {
    entry.map(decode_entry).transpose()
}
