//! A field of one encoded value.

use super::{Fields, damaged, refuse};
use crate::Context;
use abide_net::{CallError, codec};
use abide_pmem::types::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// A small structure: read and replaced whole. Nothing until it is set.
#[derive(Debug, Clone, Copy)]
pub struct Cell<T> {
    bytes: Bytes,
    value: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Cell<T> {
    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Cell { bytes: Bytes::at(fields.root(number)), value: PhantomData }
    }

    /// Its value, if it has one.
    pub fn get(&self, context: &Context<'_, '_>) -> Result<Option<T>, CallError> {
        let bytes = self.bytes.get(context.block()).map_err(refuse)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        // The first byte only says that there is a value, which may be encoded in no byte at all.
        codec::decode_own(&bytes[1..]).map(Some).map_err(|_| damaged("a field"))
    }

    /// Replaces it; `None` leaves nothing.
    pub fn set(&self, context: &mut Context<'_, '_>, value: Option<&T>) -> Result<(), CallError> {
        let mut bytes = Vec::new();
        if let Some(value) = value {
            bytes.push(1);
            codec::encode_into(value, &mut bytes)?;
        }
        self.bytes.set(context.block_mut(), &bytes).map_err(refuse)
    }
}
