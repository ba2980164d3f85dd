//! Placeholder until the real directory is merged.
#![allow(missing_docs)]
use super::{Map, ROOT_BYTES, TypeError, bytes::Bytes, Persistent, Kind, List, Register, SortedMap};
use crate::{heap::{Tx, View}, mem::{Mem, WORD}};
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle { at: u64, count: u32 }
impl Bundle {
    pub fn root(&self, i: u32) -> u64 { self.at + u64::from(i) * ROOT_BYTES }
    pub fn count(&self) -> u32 { self.count }
}
#[derive(Debug, Clone, Copy)]
pub struct Directory { map: Map }
fn decode(v: &[u8]) -> Bundle { Bundle { at: u64::from_le_bytes(v[..8].try_into().unwrap()), count: u32::from_le_bytes(v[8..12].try_into().unwrap()) } }
impl Directory {
    pub fn at(root: u64) -> Self { Self { map: Map::at(root) } }
    pub fn create<M: Mem>(&self, tx: &mut Tx<'_, M>, name: &[u8], count: u32) -> Result<Bundle, TypeError> {
        let at = tx.allocate(u64::from(count) * ROOT_BYTES)?;
        for i in 0..u64::from(count) * 8 { tx.write(at + i * WORD, 0)?; }
        let mut v = at.to_le_bytes().to_vec(); v.extend(count.to_le_bytes());
        self.map.insert(tx, name, &v)?;
        Ok(Bundle { at, count })
    }
    pub fn find<V: View>(&self, view: &V, name: &[u8]) -> Result<Option<Bundle>, TypeError> {
        Ok(self.map.get(view, name)?.map(|v| decode(&v)))
    }
    pub fn remove<M: Mem>(&self, tx: &mut Tx<'_, M>, name: &[u8]) -> Result<bool, TypeError> {
        let Some(v) = self.map.take(tx, name)? else { return Ok(false) };
        let b = decode(&v);
        for i in 0..b.count { let r = b.root(i); match Kind::from_number(tx.word(r) & 0xffff) {
            Some(Kind::Register) => Register::<u64>::discard(tx, r)?, Some(Kind::Bytes) => Bytes::discard(tx, r)?, Some(Kind::Map) => Map::discard(tx, r)?,
            Some(Kind::List) => List::discard(tx, r)?, Some(Kind::SortedMap) => SortedMap::discard(tx, r)?, _ => {} } }
        tx.free(b.at)?;
        Ok(true)
    }
    pub fn len<V: View>(&self, view: &V) -> Result<u64, TypeError> { self.map.len(view) }
    pub fn page<V: View>(&self, view: &V, after: Option<&[u8]>, mut each: impl FnMut(&[u8], Bundle) -> Result<bool, TypeError>) -> Result<bool, TypeError> {
        self.map.page(view, after, |e| each(&e.key, decode(&e.value)))
    }
}
