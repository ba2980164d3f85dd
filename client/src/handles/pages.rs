//! Iterations that fetch page by page.

use abide_net::CallError;
use abide_schema::Page;
use std::{fmt, iter::FusedIterator, vec::IntoIter};

/// How many entries a page is asked for. A round trip then costs little beside them.
const PAGE_ENTRIES: u32 = 1_000;

type Fetch<T> = Box<dyn FnMut(u32) -> Result<(Vec<T>, bool), CallError> + Send>;

/// An iterator over what several calls bring, each called when the entries of the one before are used up.
///
/// It is no snapshot: the object may change between two pages. What is there all the time comes once. An
/// error is the last item.
#[must_use = "nothing is fetched before the first `next`"]
pub struct Paged<T> {
    page: IntoIter<T>,
    page_entries: u32,
    /// Fetches the next page of at most so many entries, and says whether there are more. None after the
    /// last.
    fetch: Option<Fetch<T>>,
}

impl<T> Paged<T> {
    /// From a function that fetches a page from a cursor; the first one from None.
    pub(crate) fn new<C: Send + 'static>(
        fetch: impl Fn(Option<&C>, u32) -> Result<Page<T, C>, CallError> + Send + 'static,
    ) -> Self {
        let mut cursor = None;
        let fetch_next = move |limit| {
            let page = fetch(cursor.as_ref(), limit)?;
            cursor = page.next;
            Ok((page.entries, cursor.is_some()))
        };
        Paged { page: Vec::new().into_iter(), page_entries: PAGE_ENTRIES, fetch: Some(Box::new(fetch_next)) }
    }
}

impl<T> Iterator for Paged<T> {
    type Item = Result<T, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            match self.fetch.as_mut()?(self.page_entries) {
                Ok((entries, more)) => {
                    self.page = entries.into_iter();
                    if !more {
                        self.fetch = None;
                    }
                }
                // The entries are large: fewer of them fit an answer.
                Err(CallError::TooLarge { .. }) if self.page_entries > 1 => self.page_entries /= 2,
                Err(error) => {
                    self.fetch = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl<T> FusedIterator for Paged<T> {}

impl<T> fmt::Debug for Paged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged")
            .field("fetched", &self.page.len())
            .field("more", &self.fetch.is_some())
            .finish()
    }
}
