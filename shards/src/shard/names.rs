//! Objects by name, and what stands beside an object's own fields.
//!
//! Every object is a bundle in its space's directory. Its first fields are the shard's:
//!
//! ```text
//! 0  register   version, and when it was last changed, in microseconds since 1970
//! 1  bytes      About: when it was created, when it expires, on how many nodes it lives, its creation arguments
//! 2..           those of its type
//! ```

use crate::state::{Fields, damaged, refuse};
use abide_net::CallError;
use abide_pmem::{
    View,
    types::{Bundle, Bytes, Register},
};

/// Fields of every object that are the shard's.
pub(super) const OWN_FIELDS: u32 = 2;

/// Names an object that exists. A bundle's place is that of no other object while it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectRef {
    /// In which space.
    pub(crate) persistent: bool,
    /// Offset of its bundle.
    pub(crate) at: u64,
    pub(crate) type_id: u16,
    /// How many fields it has, with the shard's.
    pub(crate) count: u32,
}

impl ObjectRef {
    pub(super) fn new(persistent: bool, type_id: u16, bundle: Bundle) -> ObjectRef {
        ObjectRef { persistent, at: bundle.root(0), type_id, count: bundle.count() }
    }

    /// The fields that are its type's.
    pub(super) fn fields(self) -> Fields {
        Fields::at(self.own().root(OWN_FIELDS), self.count - OWN_FIELDS)
    }

    fn own(self) -> Fields {
        Fields::at(self.at, self.count)
    }

    /// Version, and when it was last changed.
    pub(super) fn head(self) -> Register<[u64; 2]> {
        Register::at(self.own().root(0))
    }

    pub(super) fn about(self) -> Bytes {
        Bytes::at(self.own().root(1))
    }
}

/// The name of an object in a directory: its type in two bytes, greatest first, and its key.
pub(super) fn name_of(type_id: u16, key: &str, name: &mut Vec<u8>) {
    name.clear();
    name.extend_from_slice(&type_id.to_be_bytes());
    name.extend_from_slice(key.as_bytes());
}

/// Reads such a name.
pub(super) fn parse_name(name: &[u8]) -> Result<(u16, &str), CallError> {
    let (type_id, key) = name.split_first_chunk::<2>().ok_or_else(|| damaged("a name"))?;
    let key = std::str::from_utf8(key).map_err(|_| damaged("a name"))?;
    Ok((u16::from_be_bytes(*type_id), key))
}

/// What is known of an object beside its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct About {
    pub(super) created_us: u64,
    /// When it is deleted, if it is to be.
    pub(super) expires_us: Option<u64>,
    /// On how many nodes it lives.
    pub(super) replicas: u8,
    /// The encoded arguments that it was created with.
    pub(super) creation: Vec<u8>,
}

/// Bytes in front of the creation arguments: two times, of which zero means never, and the number of nodes.
const FIXED_BYTES: usize = 17;

impl About {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.creation.len());
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&self.expires_us.unwrap_or(0).to_le_bytes());
        bytes.push(self.replicas);
        bytes.extend_from_slice(&self.creation);
        bytes
    }

    pub(super) fn read<V: View>(view: &V, object: ObjectRef) -> Result<About, CallError> {
        let bytes = object.about().get(view).map_err(refuse)?;
        let (fixed, creation) =
            bytes.split_first_chunk::<FIXED_BYTES>().ok_or_else(|| damaged("an object"))?;
        let word = |at: usize| u64::from_le_bytes(fixed[at..at + 8].try_into().expect("8 bytes"));
        Ok(About {
            created_us: word(0),
            expires_us: Some(word(8)).filter(|&at_us| at_us != 0),
            replicas: fixed[16],
            creation: creation.to_vec(),
        })
    }
}
