//! A field that is a hash map of bytes.

use super::{Fields, refuse};
use crate::Context;
use abide_net::CallError;
use abide_pmem::types::{Map, TypeError, map::Entry};

/// A hash map from bytes to bytes. Empty at first.
#[derive(Debug, Clone, Copy)]
pub struct Dictionary(Map);

impl Dictionary {
    /// Longest key, in bytes.
    pub const KEY_BYTES_MAX: usize = abide_pmem::types::map::KEY_MAX as usize;

    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Dictionary(Map::at(fields.root(number)))
    }

    /// Number of entries.
    pub fn len(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.0.len(context.block()).map_err(refuse)
    }

    /// Whether there are none.
    pub fn is_empty(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        Ok(self.len(context)? == 0)
    }

    /// The value of a key.
    pub fn get(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        self.0.get(context.block(), key).map_err(refuse)
    }

    /// How long the value of a key is.
    pub fn value_len(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<Option<u64>, CallError> {
        self.0.value_len(context.block(), key).map_err(refuse)
    }

    /// Whether the key is there.
    pub fn contains_key(&self, context: &Context<'_, '_>, key: &[u8]) -> Result<bool, CallError> {
        self.0.contains_key(context.block(), key).map_err(refuse)
    }

    /// Sets the value of a key. Says whether the key is new.
    pub fn insert(&self, context: &mut Context<'_, '_>, key: &[u8], value: &[u8]) -> Result<bool, CallError> {
        self.0.insert(context.block_mut(), key, value).map_err(refuse)
    }

    /// Sets the value of a key, and gives the one before.
    pub fn swap(
        &self,
        context: &mut Context<'_, '_>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<Vec<u8>>, CallError> {
        self.0.swap(context.block_mut(), key, value).map_err(refuse)
    }

    /// Removes a key. Says whether it was there.
    pub fn remove(&self, context: &mut Context<'_, '_>, key: &[u8]) -> Result<bool, CallError> {
        self.0.remove(context.block_mut(), key).map_err(refuse)
    }

    /// Removes a key, and gives its value.
    pub fn take(&self, context: &mut Context<'_, '_>, key: &[u8]) -> Result<Option<Vec<u8>>, CallError> {
        self.0.take(context.block_mut(), key).map_err(refuse)
    }

    /// Removes everything.
    pub fn clear(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.0.clear(context.block_mut()).map_err(refuse)
    }

    /// Gives `each` the entries behind the key `after`, in the dictionary's own order, until it has enough (`false`). An entry
    /// that is there from the first page to the last comes once, whatever is changed between them.
    pub fn for_each(
        &self,
        context: &Context<'_, '_>,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        let mut failed = None;
        let visit = |entry: &Entry| {
            Ok::<_, TypeError>(each(&entry.key, &entry.value).unwrap_or_else(|error| {
                failed = Some(error);
                false
            }))
        };
        self.0.page(context.block(), after, visit).map_err(refuse)?;
        failed.map_or(Ok(()), Err)
    }

    /// The same with keys alone.
    pub fn for_each_key(
        &self,
        context: &Context<'_, '_>,
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        let mut failed = None;
        let visit = |key: &[u8]| {
            Ok::<_, TypeError>(each(key).unwrap_or_else(|error| {
                failed = Some(error);
                false
            }))
        };
        self.0.key_page(context.block(), after, visit).map_err(refuse)?;
        failed.map_or(Ok(()), Err)
    }
}
