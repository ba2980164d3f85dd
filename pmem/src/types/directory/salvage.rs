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
use std::convert::Infallible;

/// A name, and its bundle if that can be found.
pub(crate) type Found = (Vec<u8>, Option<Bundle>);

/// All names that can be read. One may be there twice, with the same bundle.
pub(crate) fn salvage<V: View>(view: &V, root: u64, salvage: &mut Salvage<'_>) -> (Counts, Vec<Found>) {
    let mut names = Vec::new();
    let counts = map::salvage::<_, Infallible>(view, Directory::at(root).map, salvage, &mut |entry| {
        let bundle = match entry.value.as_chunks::<8>() {
            ([link, count], []) => {
                Bundle::from_words(view, [u64::from_le_bytes(*link), u64::from_le_bytes(*count)], root)
            }
            _ => Err(HeapError::Corrupt { offset: root }),
        };
        let bundle = bundle.ok().filter(|bundle| bundle.expect_head(view).is_ok());
        names.push((entry.key.clone(), bundle));
        Ok(())
    });
    let Ok(counts) = counts;
    (counts, names)
}
