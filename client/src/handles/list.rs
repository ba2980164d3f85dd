//! [`List`].

use super::{FormOf, Paged, decode_all, decode_option, encode_all, handle};
use crate::mode::{Blocking, Mode};
use abide_net::Value;
use abide_schema::{Page, types::list};
use serde::{Serialize, de::DeserializeOwned};
use std::ops::{Bound, RangeBounds};

handle! {
    /// A shared sequence of values of the user's type.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let names = abide_client::Store::current()?.list::<String>("names");
    /// names.push("Ada")?;
    /// names.extend(["Barbara", "Grace"])?;
    /// for name in names.iter() {
    ///     println!("{}", name?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct List<T> of list;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> List<T, M> {
    /// Number of values.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(list::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(list::IsEmpty {}), Ok)
    }

    /// The value at `index`, or nothing past the end.
    pub fn get(&self, index: u64) -> M::Output<Option<T>> {
        self.object.call(|| Ok(list::Get { index }), decode_option)
    }

    /// Replaces the value at `index` and returns the one before. `OutOfBounds` past the end.
    pub fn set(&self, index: u64, value: &(impl FormOf<T> + ?Sized)) -> M::Output<T> {
        self.object.call(|| Ok(list::Set { index, value: Value::encode(value)? }), |before| before.decode())
    }

    /// Adds a value at the end and returns the new length.
    pub fn push(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<u64> {
        self.object.call(|| Ok(list::Push { value: Value::encode(value)? }), Ok)
    }

    /// Inserts a value in front of `index`, which may be the length. `OutOfBounds` past that.
    pub fn insert(&self, index: u64, value: &(impl FormOf<T> + ?Sized)) -> M::Output<()> {
        self.object.call(|| Ok(list::Insert { index, value: Value::encode(value)? }), Ok)
    }

    /// Removes and returns the value at `index`. `OutOfBounds` past the end.
    pub fn remove_at(&self, index: u64) -> M::Output<T> {
        self.object.call(|| Ok(list::RemoveAt { index }), |value| value.decode())
    }

    /// Removes the first value equal to this one. Says whether there was one.
    pub fn remove(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(list::Remove { value: Value::encode(value)? }), Ok)
    }

    /// Removes and returns the first value.
    pub fn pop_front(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(list::PopFront {}), decode_option)
    }

    /// Removes and returns the last value.
    pub fn pop_back(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(list::PopBack {}), decode_option)
    }

    /// Adds a value at the front and returns the new length.
    pub fn push_front(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<u64> {
        self.object.call(|| Ok(list::PushFront { value: Value::encode(value)? }), Ok)
    }

    /// Whether a value equal to this one is there.
    pub fn contains(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<bool> {
        self.object.call(|| Ok(list::Contains { value: Value::encode(value)? }), Ok)
    }

    /// Whether each of these is there.
    pub fn contains_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<bool>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(list::ContainsAll { values: encode_all(values)? }), Ok)
    }

    /// Adds all of these at the end, in order and in one step, and returns the new length.
    pub fn extend<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(list::Extend { values: encode_all(values)? }), Ok)
    }

    /// Removes every value equal to one of these, and returns how many.
    pub fn remove_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(list::RemoveAll { values: encode_all(values)? }), Ok)
    }

    /// Removes every value equal to none of these, and returns how many.
    pub fn retain_all<'a, Q>(&self, values: impl IntoIterator<Item = &'a Q>) -> M::Output<u64>
    where
        Q: FormOf<T> + ?Sized + 'a,
    {
        self.object.call(|| Ok(list::RetainAll { values: encode_all(values)? }), Ok)
    }

    /// Removes everything.
    pub fn clear(&self) -> M::Output<()> {
        self.object.call(|| Ok(list::Clear {}), Ok)
    }

    /// The index of the first value equal to this one.
    pub fn index_of(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<Option<u64>> {
        self.object.call(|| Ok(list::IndexOf { value: Value::encode(value)? }), Ok)
    }

    /// The index of the last value equal to this one.
    pub fn last_index_of(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<Option<u64>> {
        self.object.call(|| Ok(list::LastIndexOf { value: Value::encode(value)? }), Ok)
    }

    /// The values of a range of indices, as many as there are, as they are in one moment. `TooLarge` if they
    /// do not fit one answer.
    pub fn slice(&self, range: impl RangeBounds<u64>) -> M::Output<Vec<T>> {
        let (start, end) = half_open(&range);
        self.object.call(|| Ok(list::Slice { start, end }), decode_all)
    }

    /// All values, as they are in one moment. `TooLarge` if they do not fit one answer: then see
    /// [`page`](Self::page) and [`iter`](List::iter).
    pub fn to_vec(&self) -> M::Output<Vec<T>> {
        self.slice(..)
    }

    /// At most `limit` values from a cursor, which is 0 at first and then the `next` of the page before.
    /// Values that are there during the whole iteration come once, also while the front is popped; inserting
    /// or removing before the cursor moves it.
    pub fn page(&self, cursor: u64, limit: u32) -> M::Output<Page<T, u64>> {
        self.object.call(
            || Ok(list::GetPage { cursor, limit }),
            |page| Ok(Page { entries: decode_all(page.entries)?, next: page.next }),
        )
    }
}

impl<T: Serialize + DeserializeOwned + 'static> List<T, Blocking> {
    /// The values, fetched [page by page](List::page).
    pub fn iter(&self) -> Paged<T> {
        let list = self.clone();
        Paged::new(move |cursor: Option<&u64>, limit| list.page(cursor.copied().unwrap_or(0), limit))
    }
}

/// The first index of a range, and the one after its last.
fn half_open(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
