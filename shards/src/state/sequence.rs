//! A field that is a list of bytes.

use super::{Fields, refuse};
use crate::Context;
use abide_net::CallError;
use abide_pmem::types::List;

/// A list that is quick at both ends. Empty at first.
#[derive(Debug, Clone, Copy)]
pub struct Sequence(List);

impl Sequence {
    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Sequence(List::at(fields.root(number)))
    }

    /// Number of elements.
    pub fn len(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.0.len(context.block()).map_err(refuse)
    }

    /// Whether there are none.
    pub fn is_empty(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        self.0.is_empty(context.block()).map_err(refuse)
    }

    /// The element at an index, or nothing past the end.
    pub fn get(&self, context: &Context<'_, '_>, index: u64) -> Result<Option<Vec<u8>>, CallError> {
        self.0.get(context.block(), index).map_err(refuse)
    }

    /// The first element.
    pub fn front(&self, context: &Context<'_, '_>) -> Result<Option<Vec<u8>>, CallError> {
        self.0.front(context.block()).map_err(refuse)
    }

    /// The last element.
    pub fn back(&self, context: &Context<'_, '_>) -> Result<Option<Vec<u8>>, CallError> {
        self.0.back(context.block()).map_err(refuse)
    }

    /// Up to `count` elements from an index on.
    pub fn page(&self, context: &Context<'_, '_>, index: u64, count: u64) -> Result<Vec<Vec<u8>>, CallError> {
        self.0.page(context.block(), index, count).map_err(refuse)
    }

    /// Adds an element at the end.
    pub fn push_back(&self, context: &mut Context<'_, '_>, element: &[u8]) -> Result<(), CallError> {
        self.0.push_back(context.block_mut(), element).map_err(refuse)
    }

    /// Adds an element at the front.
    pub fn push_front(&self, context: &mut Context<'_, '_>, element: &[u8]) -> Result<(), CallError> {
        self.0.push_front(context.block_mut(), element).map_err(refuse)
    }

    /// Removes the first element.
    pub fn pop_front(&self, context: &mut Context<'_, '_>) -> Result<Option<Vec<u8>>, CallError> {
        self.0.pop_front(context.block_mut()).map_err(refuse)
    }

    /// Removes the last element.
    pub fn pop_back(&self, context: &mut Context<'_, '_>) -> Result<Option<Vec<u8>>, CallError> {
        self.0.pop_back(context.block_mut()).map_err(refuse)
    }

    /// Replaces the element at an index. `OutOfBounds` past the end.
    pub fn set(&self, context: &mut Context<'_, '_>, index: u64, element: &[u8]) -> Result<(), CallError> {
        self.0.set(context.block_mut(), index, element).map_err(refuse)
    }

    /// Inserts an element in front of an index, which may be the length. `OutOfBounds` past that.
    pub fn insert(&self, context: &mut Context<'_, '_>, index: u64, element: &[u8]) -> Result<(), CallError> {
        self.0.insert(context.block_mut(), index, element).map_err(refuse)
    }

    /// Removes the element at an index. `OutOfBounds` past the end.
    pub fn remove(&self, context: &mut Context<'_, '_>, index: u64) -> Result<Vec<u8>, CallError> {
        self.0.remove(context.block_mut(), index).map_err(refuse)
    }

    /// Removes everything.
    pub fn clear(&self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        self.0.clear(context.block_mut()).map_err(refuse)
    }

    /// Gives `each` the elements from an index on, until it has enough (`false`).
    pub fn for_each(
        &self,
        context: &Context<'_, '_>,
        mut index: u64,
        mut each: impl FnMut(u64, &[u8]) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        /// Elements that are read at once.
        const PAGE: u64 = 64;
        loop {
            let page = self.page(context, index, PAGE)?;
            for element in &page {
                if !each(index, element)? {
                    return Ok(());
                }
                index += 1;
            }
            if (page.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }
}
