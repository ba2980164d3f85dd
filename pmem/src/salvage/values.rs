//! Copying one object.

use super::{
    SalvageError,
    report::{Outcome, SavedObject},
    target::Target,
};
use crate::{
    heap::View,
    index::Entry,
    mem::WORD,
    types::{
        Bytes, Kind, List, Map, ROOT_WORDS, Register, ShortBytes, SortedMap, TypeError, list, map, place,
        salvage::{Counts, Salvage},
        sorted_map, unit_bytes, visit_root,
    },
};

/// Copies an object under a name. The name is created once there is something to put under it.
pub(super) fn save<V: View>(
    view: &V,
    entry: Entry,
    name: Vec<u8>,
    is_renamed: bool,
    budget: &mut u64,
    target: &Target,
) -> Result<SavedObject, SalvageError> {
    let Entry { root, shard, type_number, .. } = entry;
    let mut salvage = Salvage::new(budget);
    let mut copy = Copy { view, root, shard, type_number, name: &name, target, new_root: None };
    let kind = Kind::from_number(view.word(root) & 0xffff).filter(|&kind| kind != Kind::Bundle);
    let mut is_verified = true;
    let mut bundles = None;
    let counts = if kind == Some(Kind::Directory) {
        let (counts, saved) = copy.directory(&mut salvage, &mut is_verified)?;
        bundles = Some(saved);
        counts
    } else {
        copy.value(&mut salvage, &mut is_verified)?
    };
    let outcome = Outcome::of(counts, salvage.damage_count);
    if outcome != Outcome::Lost {
        copy.new_root()?;
    }
    let Salvage { damage, damage_count, .. } = salvage;
    Ok(SavedObject {
        name,
        is_renamed,
        type_number,
        shard,
        root,
        kind,
        outcome,
        bundles,
        is_verified,
        damage,
        damage_count,
    })
}

fn damaged_root(salvage: &mut Salvage<'_>, root: u64) -> Counts {
    salvage.damaged(root, "the root is damaged, or not that of a value");
    Counts::default()
}

pub(super) struct Copy<'c, V> {
    pub(super) view: &'c V,
    pub(super) root: u64,
    pub(super) shard: u32,
    pub(super) type_number: u16,
    pub(super) name: &'c [u8],
    pub(super) target: &'c Target,
    pub(super) new_root: Option<u64>,
}

impl<V: View> Copy<'_, V> {
    /// Copies a value of any type but a directory.
    pub(super) fn value(
        &mut self,
        salvage: &mut Salvage<'_>,
        is_verified: &mut bool,
    ) -> Result<Counts, SalvageError> {
        let (view, root) = (self.view, self.root);
        let head = view.word(root);
        Ok(match Kind::from_number(head & 0xffff) {
            Some(Kind::Register) => self.register(salvage)?,
            Some(Kind::Bytes) => self.bytes(salvage, is_verified)?,
            Some(Kind::Map) => self.map(salvage)?,
            // These two have no check there, but nothing else stands in the word either.
            Some(Kind::List | Kind::SortedMap) if head > 0xffff => damaged_root(salvage, root),
            Some(Kind::List) => {
                *is_verified = false;
                self.list(salvage)?
            }
            Some(Kind::SortedMap) => {
                *is_verified = false;
                self.sorted_map(salvage)?
            }
            None if (0..ROOT_WORDS as u64).all(|word| view.word(root + word * WORD) == 0) => {
                *is_verified = false;
                Counts { saved: 0, expected: Some(0) }
            }
            // A directory has no place in a directory.
            None | Some(Kind::Bundle | Kind::Directory) => damaged_root(salvage, root),
        })
    }

    /// The root in the new region.
    pub(super) fn new_root(&mut self) -> Result<u64, SalvageError> {
        if let Some(root) = self.new_root {
            return Ok(root);
        }
        let root = self.target.name(self.type_number, self.name, self.shard)?;
        self.new_root = Some(root);
        Ok(root)
    }

    fn register(&mut self, salvage: &mut Salvage<'_>) -> Result<Counts, SalvageError> {
        match Register::<ShortBytes>::at(self.root).get(self.view) {
            Ok(value) => {
                let new = Register::at(self.new_root()?);
                self.target.run(self.shard, |tx| new.set(tx, value))?;
                Ok(Counts { saved: 1, expected: Some(1) })
            }
            Err(error) => {
                salvage.failed(&error, self.root, "the register");
                Ok(Counts::default())
            }
        }
    }

    fn bytes(&mut self, salvage: &mut Salvage<'_>, is_verified: &mut bool) -> Result<Counts, SalvageError> {
        let (view, old) = (self.view, Bytes::at(self.root));
        let mut owned = 0_u64;
        let visited = visit_root(view, self.root, &mut |block| owned = owned.saturating_add(block.bytes));
        let len = match old.len(view) {
            Ok(len) => len,
            Err(error) => {
                salvage.failed(&error, self.root, "the root");
                return Ok(Counts::default());
            }
        };
        // Extents of zeros take no room in the region.
        if !salvage.allow(self.root, if visited.is_ok() { owned } else { len }) {
            return Ok(Counts { saved: 0, expected: Some(len) });
        }
        // What is there is as it was stored, but extents that were zeroed would pass for extents of zeros.
        *is_verified = visited.is_ok();
        let (bytes, missing) = match old.get(view) {
            Ok(bytes) => (bytes, 0),
            Err(error) => {
                let parts = extents(view, old, len, salvage);
                if parts.1 == len {
                    salvage.failed(&error, self.root, "the bytes");
                    return Ok(Counts { saved: 0, expected: Some(len) });
                }
                parts
            }
        };
        let new = Bytes::at(self.new_root()?);
        self.target.run(self.shard, |tx| new.set(tx, &bytes))?;
        Ok(Counts { saved: len - missing, expected: Some(len) })
    }

    fn map(&mut self, salvage: &mut Salvage<'_>) -> Result<Counts, SalvageError> {
        let (view, root) = (self.view, self.root);
        let counts = map::salvage(view, Map::at(root), salvage, &mut |entry| {
            let new = Map::at(self.new_root()?);
            self.target.run(self.shard, |tx| new.insert(tx, &entry.key, &entry.value).map(drop))
        })?;
        if counts == (Counts { saved: 0, expected: Some(0) }) && salvage.damage_count == 0 {
            self.leave_empty(
                |tx, root| Map::at(root).insert(tx, &[], &[]).map(drop),
                |tx, root| Map::at(root).remove(tx, &[]).map(drop),
            )?;
        }
        Ok(counts)
    }

    fn list(&mut self, salvage: &mut Salvage<'_>) -> Result<Counts, SalvageError> {
        let (view, root) = (self.view, self.root);
        let counts = list::salvage(view, root, salvage, &mut |element| {
            let new = List::at(self.new_root()?);
            self.target.run(self.shard, |tx| new.push_back(tx, element))
        })?;
        if counts == (Counts { saved: 0, expected: Some(0) }) && salvage.damage_count == 0 {
            self.leave_empty(
                |tx, root| List::at(root).push_back(tx, &[]),
                |tx, root| List::at(root).pop_back(tx).map(drop),
            )?;
        }
        Ok(counts)
    }

    fn sorted_map(&mut self, salvage: &mut Salvage<'_>) -> Result<Counts, SalvageError> {
        let (view, root) = (self.view, self.root);
        let counts = sorted_map::salvage(view, root, salvage, &mut |key, value| {
            let new = SortedMap::at(self.new_root()?);
            self.target.run(self.shard, |tx| new.insert(tx, key, value).map(drop))
        })?;
        if counts == (Counts { saved: 0, expected: Some(0) }) && salvage.damage_count == 0 {
            self.leave_empty(
                |tx, root| SortedMap::at(root).insert(tx, &[], &[]).map(drop),
                |tx, root| SortedMap::at(root).remove(tx, &[]).map(drop),
            )?;
        }
        Ok(counts)
    }

    /// Makes the new root that of an empty value of its type, and not that of one in which nothing was ever stored.
    pub(super) fn leave_empty(&mut self, put: Step, take: Step) -> Result<(), SalvageError> {
        let root = self.new_root()?;
        self.target.run(self.shard, |tx| put(tx, root))?;
        self.target.run(self.shard, |tx| take(tx, root))
    }
}

type Step = fn(&mut crate::Tx<'_, crate::Mapping>, u64) -> Result<(), TypeError>;

/// Reads a byte array extent by extent. Gives the bytes, with zeros for those that cannot be read, and how many these are.
fn extents<V: View>(view: &V, old: Bytes, len: u64, salvage: &mut Salvage<'_>) -> (Vec<u8>, u64) {
    let unit = unit_bytes(view);
    if len <= 2 * unit {
        return (Vec::new(), len);
    }
    let mut bytes = Vec::new();
    let mut missing = 0;
    for offset in (0..len).step_by(unit as usize) {
        let count = unit.min(len - offset);
        match old.get_range(view, offset, count) {
            Ok(part) => bytes.extend_from_slice(&part),
            Err(error) => {
                missing += count;
                bytes.resize(bytes.len() + count as usize, 0);
                salvage.damaged(
                    place(&error, 0),
                    format_args!("bytes {offset} to {}: {error}", offset + count - 1),
                );
            }
        }
    }
    (bytes, missing)
}
