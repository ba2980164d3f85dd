//! [`Set`].

use super::{FormOf, Paged, decode_page, encode_all, encode_option, handle};
use crate::mode::{Blocking, Mode};
use abide_net::Value;
use abide_schema::{Page, types::set};
use serde::{Serialize, de::DeserializeOwned};

handle! {
    /// A shared set of values of the user's type, in no particular order.
    ///
    /// Values are equal if their canonical bytes are: use types that serialise in one order (no `HashMap` inside).
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let seen = abide_client::Store::current()?.set::<String>("seen urls");
    /// if seen.insert("https://example.org/")? {
    ///     println!("nobody was there before");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct Set<T> of set;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Set<T, M> {
    /// Number of values.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(set::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(set::IsEmpty {}), Ok)
    }

    /// Whether the value is there.
    pub fn contains(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(set::Contains { value: Value::encode(value)? }), Ok)
    }

    /// Whether each of these is there.
    pub fn contains_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<bool>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(set::ContainsAll { values: encode_all(values)? }), Ok)
    }

    /// Adds a value. Says whether it is new.
    pub fn insert(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(set::Insert { value: Value::encode(value)? }), Ok)
    }

    /// Removes a value. Says whether it was there.
    pub fn remove(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(set::Remove { value: Value::encode(value)? }), Ok)
    }

    /// Adds all of these in one step, and returns how many are new.
    pub fn extend<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(set::Extend { values: encode_all(values)? }), Ok)
    }

    /// Removes all of these in one step, and returns how many were there.
    pub fn remove_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(set::RemoveAll { values: encode_all(values)? }), Ok)
    }

    /// Removes all but these, and returns how many went.
    pub fn retain_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(set::RetainAll { values: encode_all(values)? }), Ok)
    }

    /// Removes everything.
    pub fn clear(&self) -> M::Output<()> {
        self.object.call(|| Ok(set::Clear {}), Ok)
    }

    /// At most `limit` values after one, or from the beginning. `next` is the value to go on after. Values that are there
    /// during the whole iteration come exactly once.
    pub fn page(&self, after: Option<&T>, limit: u32) -> M::Output<Page<T, T>> {
        self.object.call(|| Ok(set::GetPage { after: encode_option(after)?, limit }), decode_page)
    }
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Set<T, Blocking> {
    /// The values, fetched [page by page](Set::page).
    pub fn iter(&self) -> Paged<T> {
        let set = self.clone();
        Paged::new(move |after, limit| set.page(after, limit))
    }
}
