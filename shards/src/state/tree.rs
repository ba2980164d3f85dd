//! A field that is a map in the order of its keys' bytes.

use super::{Fields, refuse};
use crate::Context;
use abide_net::CallError;
use abide_pmem::types::SortedMap;
use std::ops::RangeBounds;

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A map from bytes to bytes, in the order of the keys. Empty at first.
#[derive(Debug, Clone, Copy)]
pub struct Tree(SortedMap);

impl Tree {
    /// Longest key, in bytes, in a heap of the usual sizes.
    pub const KEY_BYTES_MAX: usize = 1024;

    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Tree(SortedMap::at(fields.root(number)))
    }

    pub(crate) fn map(&self) -> SortedMap {
        self.0
    }

    /// Number of entries.
    pub fn len(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.0.len(context.block()).map_err(refuse)
    }

    /// Whether there are none.
    pub fn is_empty(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        self.0.is_empty(context.block()).map_err(refuse)
    }

    /// The value of a key.
    pub fn get(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        self.0.get(context.block(), key).map_err(refuse)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<bool, CallError> {
        Ok(self.0.range(context.block(), key..=key).map_err(refuse)?.remaining() > 0)
    }

    /// How many keys are smaller.
    pub fn rank(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<u64, CallError> {
        self.0.rank(context.block(), key).map_err(refuse)
    }

    /// The entry of the smallest key.
    pub fn first(&self, context: &Context<'_, '_>) -> Result<Option<Pair>, CallError> {
        self.0.first(context.block()).map_err(refuse)
    }

    /// The entry of the greatest key.
    pub fn last(&self, context: &Context<'_, '_>) -> Result<Option<Pair>, CallError> {
        self.0.last(context.block()).map_err(refuse)
    }

    /// The entry of the greatest key that is not greater than this one.
    pub fn floor(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Pair>, CallError> {
        self.0.floor(context.block(), key).map_err(refuse)
    }

    /// The entry of the greatest key that is smaller than this one.
    pub fn lower(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Pair>, CallError> {
        self.0.lower(context.block(), key).map_err(refuse)
    }

    /// The entry of the smallest key that is not smaller than this one.
    pub fn ceiling(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Pair>, CallError> {
        self.0.ceiling(context.block(), key).map_err(refuse)
    }

    /// The entry of the smallest key that is greater than this one.
    pub fn higher(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Pair>, CallError> {
        self.0.higher(context.block(), key).map_err(refuse)
    }

    /// Sets the value of a key. Says whether the key is new.
    pub fn insert(&self, context: &mut Context<'_, '_>, key: &[u8], value: &[u8]) -> Result<bool, CallError> {
        self.0.insert(context.block_mut(), key, value).map_err(refuse)
    }

    /// Removes a key, and gives its value.
    pub fn remove(&self, context: &mut Context<'_, '_>, key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        self.0.remove(context.block_mut(), key).map_err(refuse)
    }

    /// Removes the smallest key, and gives its entry.
    pub fn pop_first(&self, context: &mut Context<'_, '_>) -> Result<Option<Pair>, CallError> {
        self.0.pop_first(context.block_mut()).map_err(refuse)
    }

    /// Removes the greatest key, and gives its entry.
    pub fn pop_last(&self, context: &mut Context<'_, '_>) -> Result<Option<Pair>, CallError> {
        self.0.pop_last(context.block_mut()).map_err(refuse)
    }

    /// Removes everything.
    pub fn clear(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.0.clear(context.block_mut()).map_err(refuse)
    }

    /// Gives `each` the entries between bounds, in order, until it has enough (`false`).
    pub fn for_each<'k>(
        &self,
        context: &Context<'_, '_>,
        bounds: impl RangeBounds<&'k [u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        for pair in self.0.range(context.block(), bounds).map_err(refuse)? {
            let (key, value) = pair.map_err(refuse)?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// The same with keys alone: values are not read.
    pub fn for_each_key<'k>(
        &self,
        context: &Context<'_, '_>,
        bounds: impl RangeBounds<&'k [u8]>,
        mut each: impl FnMut(&[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        let mut range = self.0.range(context.block(), bounds).map_err(refuse)?;
        while let Some(key) = range.next_key() {
            if !each(&key.map_err(refuse)?)? {
                break;
            }
        }
        Ok(())
    }

    /// The same from the greatest key down.
    pub fn for_each_back<'k>(
        &self,
        context: &Context<'_, '_>,
        bounds: impl RangeBounds<&'k [u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        for pair in self.0.range(context.block(), bounds).map_err(refuse)?.rev() {
            let (key, value) = pair.map_err(refuse)?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}
