//! What [`Map`](super::Map) and [`SortedMap`](super::SortedMap) have in common.

/// Implements the methods of a map for a handle.
macro_rules! dictionary {
    ($name:ident, $module:ident) => {
        impl<K, V, M> $name<K, V, M>
        where
            K: Serialize + DeserializeOwned + 'static,
            V: Serialize + DeserializeOwned + 'static,
            M: Mode,
        {
            /// Number of entries.
            pub fn len(&self) -> M::Output<u64> {
                self.object.call(|| Ok($module::Len {}), Ok)
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> M::Output<bool> {
                self.object.call(|| Ok($module::IsEmpty {}), Ok)
            }

            /// The value of a key.
            pub fn get(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<V>> {
                self.object.call(|| Ok($module::Get { key: Value::encode(key)? }), decode_option)
            }

            /// Whether the key is there.
            pub fn contains_key(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<bool> {
                self.object.call(|| Ok($module::ContainsKey { key: Value::encode(key)? }), Ok)
            }

            /// Whether some key has this value. Looks at all.
            pub fn contains_value(&self, value: &(impl FormOf<V> + ?Sized)) -> M::Output<bool> {
                self.object.call(|| Ok($module::ContainsValue { value: Value::encode(value)? }), Ok)
            }

            /// Sets a key's value and returns the one before.
            pub fn insert(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                value: &(impl FormOf<V> + ?Sized),
            ) -> M::Output<Option<V>> {
                let make = || Ok($module::Insert { key: Value::encode(key)?, value: Value::encode(value)? });
                self.object.call(make, decode_option)
            }

            /// Sets a key's value if it has none; returns the one that is there otherwise.
            pub fn insert_if_absent(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                value: &(impl FormOf<V> + ?Sized),
            ) -> M::Output<Option<V>> {
                let make =
                    || Ok($module::InsertIfAbsent { key: Value::encode(key)?, value: Value::encode(value)? });
                self.object.call(make, decode_option)
            }

            /// Sets a key's value if it has one, and returns the one before.
            pub fn replace(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                value: &(impl FormOf<V> + ?Sized),
            ) -> M::Output<Option<V>> {
                let make = || Ok($module::Replace { key: Value::encode(key)?, value: Value::encode(value)? });
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
                    Ok($module::ReplaceIf { key, expected, value: Value::encode(value)? })
                };
                self.object.call(make, Ok)
            }

            /// Removes a key and returns its value.
            pub fn remove(&self, key: &(impl FormOf<K> + ?Sized)) -> M::Output<Option<V>> {
                self.object.call(|| Ok($module::Remove { key: Value::encode(key)? }), decode_option)
            }

            /// Removes a key if its value is `expected`. Says whether it was.
            pub fn remove_if(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                expected: &(impl FormOf<V> + ?Sized),
            ) -> M::Output<bool> {
                let make =
                    || Ok($module::RemoveIf { key: Value::encode(key)?, expected: Value::encode(expected)? });
                self.object.call(make, Ok)
            }

            /// The values of these keys, in order.
            pub fn get_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> M::Output<Vec<Option<V>>>
            where
                Q: FormOf<K> + ?Sized + 'a,
            {
                let read = |values: Vec<_>| values.into_iter().map(decode_option).collect();
                self.object.call(|| Ok($module::GetMany { keys: encode_all(keys)? }), read)
            }

            /// Sets all of these in one step and returns how many keys are new. Takes what `&HashMap` and `&BTreeMap`
            /// iterate over.
            pub fn insert_many<'a, A, B>(
                &self,
                entries: impl IntoIterator<Item = (&'a A, &'a B)>,
            ) -> M::Output<u64>
            where
                A: FormOf<K> + ?Sized + 'a,
                B: FormOf<V> + ?Sized + 'a,
            {
                self.object.call(|| Ok($module::InsertMany { entries: encode_entries(entries)? }), Ok)
            }

            /// Removes all of these in one step and returns how many were there.
            pub fn remove_many<'a, Q>(&self, keys: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
            where
                Q: FormOf<K> + ?Sized + 'a,
            {
                self.object.call(|| Ok($module::RemoveMany { keys: encode_all(keys)? }), Ok)
            }

            /// Removes everything.
            pub fn clear(&self) -> M::Output<()> {
                self.object.call(|| Ok($module::Clear {}), Ok)
            }

            /// Sets the value if the key has none, else joins the two with `op`. Returns the value after. `WrongType`
            /// if `op` cannot join these two.
            pub fn merge(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                value: &(impl FormOf<V> + ?Sized),
                op: MergeOp,
            ) -> M::Output<V> {
                let make =
                    || Ok($module::Merge { key: Value::encode(key)?, value: Value::encode(value)?, op });
                self.object.call(make, |after| after.decode())
            }

            /// [Merges](Self::merge) all of these, all or (on an error) none, and returns how many keys are new.
            pub fn merge_many<'a, A, B>(
                &self,
                entries: impl IntoIterator<Item = (&'a A, &'a B)>,
                op: MergeOp,
            ) -> M::Output<u64>
            where
                A: FormOf<K> + ?Sized + 'a,
                B: FormOf<V> + ?Sized + 'a,
            {
                self.object.call(|| Ok($module::MergeMany { entries: encode_entries(entries)?, op }), Ok)
            }

            /// Joins the value of a key that has one with `operand`. Returns the value after, or nothing if the key
            /// is absent.
            pub fn compute(
                &self,
                key: &(impl FormOf<K> + ?Sized),
                op: MergeOp,
                operand: &(impl FormOf<V> + ?Sized),
            ) -> M::Output<Option<V>> {
                let make = || {
                    Ok($module::Compute { key: Value::encode(key)?, op, operand: Value::encode(operand)? })
                };
                self.object.call(make, decode_option)
            }

            /// At most `limit` keys after a key, or from the first on. `next` is the key to go on after.
            pub fn keys_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<K, K>> {
                self.object.call(|| Ok($module::Keys { after: encode_option(after)?, limit }), decode_page)
            }

            /// The values of at most `limit` keys after a key, or from the first on. `next` is the key to go on
            /// after.
            pub fn values_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<V, K>> {
                self.object.call(|| Ok($module::Values { after: encode_option(after)?, limit }), decode_page)
            }

            /// At most `limit` entries after a key, or from the first on. `next` is the key to go on after. Entries
            /// that are there during the whole iteration come exactly once.
            pub fn entries_page(&self, after: Option<&K>, limit: u32) -> M::Output<Page<(K, V), K>> {
                self.object.call(
                    || Ok($module::Entries { after: encode_option(after)?, limit }),
                    decode_entries_page,
                )
            }
        }

        impl<K, V> $name<K, V, Blocking>
        where
            K: Serialize + DeserializeOwned + Send + 'static,
            V: Serialize + DeserializeOwned + 'static,
        {
            /// The entries, fetched [page by page](Self::entries_page).
            pub fn entries(&self) -> Paged<(K, V)> {
                let map = self.clone();
                Paged::new(move |after, limit| map.entries_page(after, limit))
            }

            /// The keys, fetched [page by page](Self::keys_page).
            pub fn keys(&self) -> Paged<K> {
                let map = self.clone();
                Paged::new(move |after, limit| map.keys_page(after, limit))
            }

            /// The values, fetched [page by page](Self::values_page), in the order of their keys.
            pub fn values(&self) -> Paged<V> {
                let map = self.clone();
                Paged::new(move |after, limit| map.values_page(after, limit))
            }
        }
    };
}
pub(super) use dictionary;
