//! Which types of objects a store knows.

use crate::{objects, shard::Object};
use abide_net::{CallError, codec};
use abide_schema::{ObjectType, TypeInfo};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, sync::Arc};

/// An implementation of an object type, built in or linked in by a user.
///
/// Its serialised form is its whole state but for callers that wait and what sessions hold: both end when
/// a store closes. Fields for those carry `#[serde(skip)]`.
pub trait SharedObject: Object + Serialize + DeserializeOwned + 'static {
    /// The declaration that it implements.
    type Type: ObjectType;

    /// A new object. `BadArgument` if the arguments make no sense (a barrier of 0 parties).
    fn create(creation: <Self::Type as ObjectType>::Creation) -> Result<Self, CallError>;
}

/// Makes an object from bytes.
pub type MakeObject = fn(&[u8]) -> Result<Box<dyn Object>, CallError>;

/// One type of a [`Registry`].
#[derive(Clone, Copy)]
pub struct RegisteredType {
    /// The type, described.
    pub info: &'static TypeInfo,
    /// Makes an object from encoded creation arguments.
    pub create: MakeObject,
    /// Makes an object from its saved state.
    pub restore: MakeObject,
}

/// The types of objects that a store knows. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    types: Arc<BTreeMap<u16, RegisteredType>>,
}

impl Registry {
    /// The built-in types.
    pub fn built_in() -> Registry {
        objects::register_all(Registry { types: Arc::default() })
    }

    /// The same, with one more type. Two types with one number or one name are a mistake of the program
    /// that links them, and stop it.
    #[must_use]
    pub fn with<T: SharedObject>(mut self) -> Registry {
        let info = T::Type::info();
        assert!(
            self.types.values().all(|known| known.info.id != info.id && known.info.name != info.name),
            "an object type with number {} or name {} is registered already",
            info.id,
            info.name
        );
        let registered = RegisteredType {
            info,
            create: |creation| Ok(Box::new(T::create(codec::decode(creation)?)?)),
            restore: |state| Ok(Box::new(codec::decode_own::<T>(state)?)),
        };
        Arc::make_mut(&mut self.types).insert(info.id, registered);
        self
    }

    /// The type of this number.
    pub fn get(&self, type_id: u16) -> Option<RegisteredType> {
        self.types.get(&type_id).copied()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types.values().map(|known| known.info.name)).finish()
    }
}
