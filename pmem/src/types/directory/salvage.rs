//! Reading a damaged directory: its names and where their bundles are. What the values of a bundle hold is read one by one, by
//! whoever asks for it.

use super::{Bundle, Directory};
use crate::{
    heap::{HeapError, View},
    types::{
        map,
        salvage::{Counts, Salvage},
    },
};

/// Gives `each` all names that can be read, with their bundles, and what is damaged of the directory to it by way of the salvage. A name may
/// be given twice, with the same bundle.
///
/// # Errors
/// Those of `each`.
pub(crate) fn salvage<V: View, E>(
    view: &V,
    root: u64,
    salvage: &mut Salvage<'_>,
    each: &mut dyn FnMut(&[u8], Result<Bundle, HeapError>) -> Result<(), E>,
) -> Result<Counts, E> {
    map::salvage(view, Directory::at(root).map, salvage, &mut |entry| {
        let corrupt = HeapError::Corrupt { offset: root };
        let bundle = match entry.value.as_chunks::<8>() {
            ([link, count], []) => {
                Bundle::from_words(view, [u64::from_le_bytes(*link), u64::from_le_bytes(*count)], root)
            }
            _ => Err(corrupt),
        };
        each(&entry.key, bundle.and_then(|bundle| bundle.expect_head(view).map(|()| bundle)))
    })
}
