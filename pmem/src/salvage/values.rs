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
    let head = view.word(root);
    let kind = Kind::from_number(head & 0xffff);
    let mut is_verified = true;
    let counts = match kind {
        Some(Kind::Register) => copy.register(&mut salvage)?,
        Some(Kind::Bytes) => copy.bytes(&mut salvage, &mut is_verified)?,
        Some(Kind::Map) => copy.map(&mut salvage)?,
        // These two have no check there, but nothing else stands in the word either.
        Some(Kind::List | Kind::SortedMap) if head > 0xffff => damaged_root(&mut salvage, root),
        Some(Kind::List) => {
            is_verified = false;
            copy.list(&mut salvage)?
        }
        Some(Kind::SortedMap) => {
            is_verified = false;
            copy.sorted_map(&mut salvage)?
        }
        None if (0..ROOT_WORDS as u64).all(|word| view.word(root + word * WORD) == 0) => {
            is_verified = false;
            Counts { saved: 0, expected: Some(0) }
        }
        None => damaged_root(&mut salvage, root),
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
        is_verified,
        damage,
        damage_count,
    })
}

fn damaged_root(salvage: &mut Salvage<'_>, root: u64) -> Counts {
    salvage.damaged(root, "the root is damaged, or not that of a value");
    Counts::default()
}

struct Copy<'c, V> {
    view: &'c V,
    root: u64,
    shard: u32,
    type_number: u16,
    name: &'c [u8],
    target: &'c Target,
    new_root: Option<u64>,
}

impl<V: View> Copy<'_, V> {
    /// The root in the new region.
    fn new_root(&mut self) -> Result<u64, SalvageError> {
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
        let counts = map::salvage(view, root, salvage, &mut |entry| {
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
    fn leave_empty(&mut self, put: Step, take: Step) -> Result<(), SalvageError> {
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
