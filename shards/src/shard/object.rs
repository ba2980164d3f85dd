//! What a shard asks of an object.

use super::Context;
use crate::state::{Fields, damaged};
#[doc(hidden)]
pub use abide_net::{CallError, codec};
#[doc(hidden)]
pub use abide_schema::Progress;
use abide_schema::{BlockedBy, ObjectType};

/// Names a call that waits, within its shard. Ids only grow: the order of ids is the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub(crate) u64);

impl WaiterId {
    /// As a key whose order is that of the ids.
    pub(crate) fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_key(key: &[u8]) -> Result<WaiterId, CallError> {
        let bytes = key.try_into().map_err(|_| damaged("a queue of calls"))?;
        Ok(WaiterId(u64::from_be_bytes(bytes)))
    }
}

/// Names a session: who calls, and who holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SessionId(pub u128);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Why a call waits no more, other than by its object's own decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Its time-out passed.
    TimedOut,
    /// Its caller cancelled it.
    Cancelled,
    /// Its session ended.
    SessionEnded,
}

/// When a call that is [`Gone`] is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// At once, with the error that says why.
    Now,
    /// By the object, later: its time-out passed, but it waits for something else still (as a condition's does for the lock).
    /// It has no time-out from here on. Only for [`Gone::TimedOut`].
    Later,
}

/// An implementation of an object type, built in or linked in by a user.
///
/// All of an object's state is in its fields (see [`crate::state`]); the value of this type only says where they are, and is
/// made anew for each call. Methods run to the end without waiting: a call that has to wait becomes a record in a
/// [`Queue`](crate::state::Queue), which the object keeps until it answers it with [`Context::wake`] or is told that it is
/// [gone](Self::waiter_gone). Whatever gives an error, or panics, has changed nothing.
pub trait SharedObject: Sized + 'static {
    /// The declaration that it implements.
    type Type: ObjectType;

    /// How many fields its state has.
    const FIELDS: u32;

    /// The object with these fields.
    fn at(fields: Fields) -> Self;

    /// Fills the fields of a new object, which are empty. `BadArgument` if the arguments make no sense (a barrier of 0 parties).
    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        creation: <Self::Type as ObjectType>::Creation,
    ) -> Result<(), CallError>;

    /// Makes one call. A result is appended to `out`. [`calls!`](crate::calls) writes it.
    fn call(
        &mut self,
        context: &mut Context<'_, '_>,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError>;

    /// A call that waited here does so no more. The object takes it out of its queue.
    fn waiter_gone(
        &mut self,
        context: &mut Context<'_, '_>,
        waiter: WaiterId,
        why: Gone,
    ) -> Result<Leaves, CallError> {
        let _ = (context, waiter, why);
        Ok(Leaves::Now)
    }

    /// A session that holds something of this object (see [`Context::hold`]) ended. An object of which it may hold more than
    /// one block can give back gives back a part: see [`Context::hold_more`].
    fn session_ended(&mut self, context: &mut Context<'_, '_>, session: SessionId) -> Result<(), CallError> {
        let _ = (context, session);
        Ok(())
    }

    /// The time has come that the object asked for with [`Context::set_alarm`]; or the store was opened again and
    /// calls wait in it, in which case it sets its alarm anew.
    fn alarm(&mut self, context: &mut Context<'_, '_>) -> Result<(), CallError> {
        let _ = context;
        Ok(())
    }

    /// Who holds what the calls that wait here wait for, as far as that is somebody.
    fn holders(&mut self, context: &mut Context<'_, '_>) -> Result<Vec<BlockedBy>, CallError> {
        let _ = context;
        Ok(Vec::new())
    }
}

/// Implements [`SharedObject::call`] by a type's declaration.
///
/// Used inside of `impl SharedObject for ...`; the module is the one that `object_type!` made.
#[macro_export]
macro_rules! calls {
    ($module:path) => {
        fn call(
            &mut self,
            context: &mut $crate::Context<'_, '_>,
            method: u16,
            arguments: &[u8],
            out: &mut Vec<u8>,
        ) -> Result<$crate::shard::object::Progress, $crate::shard::object::CallError> {
            use $module as declared;
            declared::dispatch(self, context, method, arguments, out)
        }
    };
}
