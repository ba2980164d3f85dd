//! Reading a whole value, so that each of its checksums is looked at.

use crate::{
    heap::View,
    types::{Bytes, Directory, Kind, List, Map, SortedMap, TypeError},
};

/// Elements of a list, and names of a directory, that are read at once.
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
        Some(Kind::Directory) => read_directory(view, Directory::at(root)),
        // No root is of this one, as the visit has seen.
        Some(Kind::Bundle) => Ok(()),
        Some(Kind::SortedMap) => SortedMap::at(root).range(view, ..)?.try_for_each(|pair| pair.map(drop)),
    }
}

/// Reads the values of all names.
fn read_directory<V: View>(view: &V, directory: Directory) -> Result<(), TypeError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = directory.page(view, after.as_deref(), PAGE as usize)?;
        for root in page.entries.iter().flat_map(|(_, bundle)| bundle.fields()) {
            // The visit has seen that none of them is a directory.
            read(view, root)?;
        }
        match page.entries.into_iter().next_back() {
            Some((name, _)) if !page.is_last => after = Some(name),
            _ => return Ok(()),
        }
    }
}
