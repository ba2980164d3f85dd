//! Which types of objects a store knows.

use crate::{
    Context, SharedObject, objects,
    shard::{Gone, Leaves, SessionId, WaiterId, object::Progress},
    state::Fields,
};
use abide_net::{CallError, codec};
use abide_schema::{BlockedBy, ObjectType, TypeInfo};
use std::{collections::BTreeMap, sync::Arc};

/// Makes one call of the object with these fields. A result is appended to the vector.
pub(crate) type CallObject =
    fn(Fields, &mut Context<'_, '_>, u16, &[u8], &mut Vec<u8>) -> Result<Progress, CallError>;

/// One type of a [`Registry`]: its description, and its methods for an object with given fields.
#[derive(Clone, Copy)]
pub struct RegisteredType {
    /// The type, described.
    pub info: &'static TypeInfo,
    pub(crate) fields: u32,
    pub(crate) create: fn(Fields, &mut Context<'_, '_>, &[u8]) -> Result<(), CallError>,
    pub(crate) call: CallObject,
    pub(crate) waiter_gone: fn(Fields, &mut Context<'_, '_>, WaiterId, Gone) -> Result<Leaves, CallError>,
    pub(crate) session_ended: fn(Fields, &mut Context<'_, '_>, SessionId) -> Result<(), CallError>,
    pub(crate) alarm: fn(Fields, &mut Context<'_, '_>) -> Result<(), CallError>,
    pub(crate) holders: fn(Fields, &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError>,
}

/// The types of objects that a store knows. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    types: Arc<Types>,
}

#[derive(Clone, Default)]
struct Types {
    /// Of the built-in numbers, which are small: by number.
    low: Vec<Option<RegisteredType>>,
    /// Of the others.
    high: BTreeMap<u16, RegisteredType>,
}

/// Numbers below this are found by their place.
const LOW: u16 = 64;

impl Types {
    fn all(&self) -> impl Iterator<Item = &RegisteredType> {
        self.low.iter().flatten().chain(self.high.values())
    }
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
            self.types.all().all(|known| known.info.id != info.id && known.info.name != info.name),
            "an object type with number {} or name {} is registered already",
            info.id,
            info.name
        );
        let registered = RegisteredType {
            info,
            fields: T::FIELDS,
            create: |fields, context, creation| T::at(fields).create(context, codec::decode(creation)?),
            call: |fields, context, method, arguments, out| {
                T::at(fields).call(context, method, arguments, out)
            },
            waiter_gone: |fields, context, waiter, why| T::at(fields).waiter_gone(context, waiter, why),
            session_ended: |fields, context, session| T::at(fields).session_ended(context, session),
            alarm: |fields, context| T::at(fields).alarm(context),
            holders: |fields, context| T::at(fields).holders(context),
        };
        let types = Arc::make_mut(&mut self.types);
        if info.id < LOW {
            types.low.resize(types.low.len().max(usize::from(info.id) + 1), None);
            types.low[usize::from(info.id)] = Some(registered);
        } else {
            types.high.insert(info.id, registered);
        }
        self
    }

    /// The type of this number.
    pub fn get(&self, type_id: u16) -> Option<&RegisteredType> {
        match self.types.low.get(usize::from(type_id)) {
            Some(known) => known.as_ref(),
            None => self.types.high.get(&type_id),
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types.all().map(|known| known.info.name)).finish()
    }
}
