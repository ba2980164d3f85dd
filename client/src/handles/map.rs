//! [`Map`].

use super::{FormOf, Paged, decode_all, decode_option, encode_all, encode_option, handle};
use crate::mode::{Blocking, Mode};
use abide_net::{CallError, Value};
use abide_schema::{MergeOp, Page, types::map};
use serde::{Serialize, de::DeserializeOwned};

handle! {
    /// A shared map from keys to values of the user's types, iterated in the order of the keys' canonical
    /// bytes.
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

impl<K, V, M> Map<K, V, M>
where
    K: Serialize + DeserializeOwned + 'static,
    V: Serialize + DeserializeOwned + 'static,
    M: Mode,
{
    /// Number of entries.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(map::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(map::IsEmpty {}), Ok)
    }

    /// The value of a key.
    pub fn get(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<V>> {
        self.object.call(|| Ok(map::Get { key: Value::encode(key)? }), decode_option)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(map::ContainsKey { key: Value::encode(key)? }), Ok)
    }

    /// Whether some key has this value. Looks at all.
    pub fn contains_value(&self, value: &(impl FormOf<V> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(map::ContainsValue { value: Value::encode(value)? }), Ok)
    }

    /// Sets a key's value and returns the one before.
    pub fn insert(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        value: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<Option<V>> {
        let make = || Ok(map::Insert { key: Value::encode(key)?, value: Value::encode(value)? });
        self.object.call(make, decode_option)
    }

    /// Sets a key's value if it has none; returns the one that is there otherwise.
    pub fn insert_if_absent(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        value: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<Option<V>> {
        let make = || Ok(map::InsertIfAbsent { key: Value::encode(key)?, value: Value::encode(value)? });
        self.object.call(make, decode_option)
    }

    /// Sets a key's value if it has one, and returns the one before.
    pub fn replace(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        value: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<Option<V>> {
        let make = || Ok(map::Replace { key: Value::encode(key)?, value: Value::encode(value)? });
        self.object.call(make, decode_option)
    }

    /// Sets a key's value if it is `expected`. Says whether it was.
    pub fn replace_if(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        expected: &(impl FormOf<V> + ?Sized),
        value: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<bool> {
        let make = || {
            let (key, expected) = (Value::encode(key)?, Value::encode(expected)?);
            Ok(map::ReplaceIf { key, expected, value: Value::encode(value)? })
        };
        self.object.call(make, Ok)
    }

    /// Removes a key and returns its value.
    pub fn remove(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<V>> {
        self.object.call(|| Ok(map::Remove { key: Value::encode(key)? }), decode_option)
    }

    /// Removes a key if its value is `expected`. Says whether it was.
    pub fn remove_if(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        expected: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<bool> {
        let make = || Ok(map::RemoveIf { key: Value::encode(key)?, expected: Value::encode(expected)? });
        self.object.call(make, Ok)
    }

    /// The values of these keys, in order.
    pub fn get_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> M::Output<Vec<Option<V>>>
    where
        Q: FormOf<K> + ?Sized + 'a,
    {
        let read = |values: Vec<_>| values.into_iter().map(decode_option).collect();
        self.object.call(|| Ok(map::GetMany { keys: encode_all(keys)? }), read)
    }

    /// Sets all of these in one step and returns how many keys are new. Takes what `&HashMap` and `&BTreeMap`
    /// iterate over.
    pub fn insert_many<'a, A, B>(&self, entries: impl IntoIterator<Item = (&'a A, &'a B)>) -> M::Output<u64>
    where
        A: FormOf<K> + ?Sized + 'a,
        B: FormOf<V> + ?Sized + 'a,
    {
        self.object.call(|| Ok(map::InsertMany { entries: encode_entries(entries)? }), Ok)
    }

    /// Removes all of these in one step and returns how many were there.
    pub fn remove_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<K> + ?Sized + 'a,
    {
        self.object.call(|| Ok(map::RemoveMany { keys: encode_all(keys)? }), Ok)
    }

    /// Removes everything.
    pub fn clear(&self) -> M::Output<()> {
        self.object.call(|| Ok(map::Clear {}), Ok)
    }

    /// Sets the value if the key has none, else joins the two with `op`. Returns the value after. `WrongType`
    /// if `op` cannot join these two.
    pub fn merge(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        value: &(impl FormOf<V> + ?Sized),
        op: MergeOp,
    ) -> M::Output<V> {
        let make = || Ok(map::Merge { key: Value::encode(key)?, value: Value::encode(value)?, op });
        self.object.call(make, |after| after.decode())
    }

    /// [Merges](Map::merge) all of these, all or (on an error) none, and returns how many keys are new.
    pub fn merge_many<'a, A, B>(
        &self,
        entries: impl IntoIterator<Item = (&'a A, &'a B)>,
        op: MergeOp,
    ) -> M::Output<u64>
    where
        A: FormOf<K> + ?Sized + 'a,
        B: FormOf<V> + ?Sized + 'a,
    {
        self.object.call(|| Ok(map::MergeMany { entries: encode_entries(entries)?, op }), Ok)
    }

    /// Joins the value of a key that has one with `operand`. Returns the value after, or nothing if the key
    /// is absent.
    pub fn compute(
        &self,
        key: &(impl FormOf<K> + ?Sized),
        op: MergeOp,
        operand: &(impl FormOf<V> + ?Sized),
    ) -> M::Output<Option<V>> {
        let make = || Ok(map::Compute { key: Value::encode(key)?, op, operand: Value::encode(operand)? });
        self.object.call(make, decode_option)
    }

    /// At most `limit` keys after a key, or from the first on. `next` is the key to go on after.
    pub fn keys_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<K, K>> {
        self.object.call(|| Ok(map::Keys { after: encode_option(after)?, limit }), decode_page)
    }

    /// The values of at most `limit` keys after a key, or from the first on. `next` is the key to go on
    /// after.
    pub fn values_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<V, K>> {
        self.object.call(|| Ok(map::Values { after: encode_option(after)?, limit }), decode_page)
    }

    /// At most `limit` entries after a key, or from the first on. `next` is the key to go on after. Entries
    /// that are there during the whole iteration come exactly once.
    pub fn entries_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<(K, V), K>> {
        self.object.call(
            || Ok(map::Entries { after: encode_option(after)?, limit }),
            |page| {
                let entry = |(key, value): &(Value, Value)| Ok((key.decode()?, value.decode()?));
                let entries = page.entries.iter().map(entry).collect::<Result<_, CallError>>()?;
                Ok(Page { entries, next: decode_option(page.next)? })
            },
        )
    }
}

impl<K, V> Map<K, V, Blocking>
where
    K: Serialize + DeserializeOwned + Send + 'static,
    V: Serialize + DeserializeOwned + 'static,
{
    /// The entries, fetched [page by page](Map::entries_page).
    pub fn entries(&self) -> Paged<(K, V)> {
        let map = self.clone();
        Paged::new(move |after, limit| map.entries_page(after, limit))
    }

    /// The keys, fetched [page by page](Map::keys_page).
    pub fn keys(&self) -> Paged<K> {
        let map = self.clone();
        Paged::new(move |after, limit| map.keys_page(after, limit))
    }

    /// The values, fetched [page by page](Map::values_page), in the order of their keys.
    pub fn values(&self) -> Paged<V> {
        let map = self.clone();
        Paged::new(move |after, limit| map.values_page(after, limit))
    }
}

fn encode_entries<'a, A: Serialize + ?Sized + 'a, B: Serialize + ?Sized + 'a>(
    entries: impl IntoIterator<Item = (&'a A, &'a B)>,
) -> Result<Vec<(Value, Value)>, CallError> {
    entries.into_iter().map(|(key, value)| Ok((Value::encode(key)?, Value::encode(value)?))).collect()
}

fn decode_page<T: DeserializeOwned, K: DeserializeOwned>(
    page: Page<Value, Value>,
) -> Result<Page<T, K>, CallError> {
    Ok(Page { entries: decode_all(page.entries)?, next: decode_option(page.next)? })
}
