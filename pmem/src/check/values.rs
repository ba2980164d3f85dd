//! Reading a whole value, so that each of its checksums is looked at.

use crate::{
    heap::View,
    types::{Bytes, Kind, List, Map, SortedMap, TypeError},
};

/// Elements of a list that are read at once.
const PAGE: u64 = 64;

/// Reads all that a root leads to, and forgets it. The root was visited already, so its kind is known.
pub(super) fn read<V: View>(view: &V, root: u64) -> Result<(), TypeError> {
    match Kind::from_number(view.word(root) & 0xffff) {
        // All of a register stands in its root, which the visit has looked at.
        None | Some(Kind::Register) => Ok(()),
        Some(Kind::Bytes) => Bytes::at(root).get(view).map(drop),
        Some(Kind::Map) => Map::at(root).page(view, None, |_| Ok(true)).map(drop),
        Some(Kind::List) => {
            let list = List::at(root);
            let mut index = 0;
            while index < list.len(view)? {
                list.page(view, index, PAGE)?;
                index += PAGE;
            }
            Ok(())
        }
        Some(Kind::SortedMap) => SortedMap::at(root).range(view, ..)?.try_for_each(|pair| pair.map(drop)),
    }
}
