//! What a shard asks of an object.

use super::Context;
#[doc(hidden)]
pub use abide_net::{CallError, codec};
#[doc(hidden)]
pub use abide_schema::Progress;

/// Names a call that waits, within its shard. Ids only grow: the order of ids is the order of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub(super) u64);

/// Names a session: who calls, and who holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

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

/// An object in a shard: state, and what calls do to it.
///
/// Methods run to the end without waiting: a caller that has to wait becomes a record (see
/// [`Context::wait`]), which the object keeps until it answers it with [`Context::wake`] or is told that
/// it is [gone](Object::waiter_gone).
pub trait Object: Send {
    /// Makes one call. A result is appended to `out`.
    fn call(
        &mut self,
        context: &mut Context<'_>,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError>;

    /// About how many bytes of memory the object takes.
    fn bytes(&self) -> usize;

    /// The object's state, for [`crate::SharedObject`]'s restore.
    fn save(&self) -> Vec<u8>;

    /// A call that waited here does so no more. It has been answered already.
    fn waiter_gone(&mut self, context: &mut Context<'_>, waiter: WaiterId, why: Gone) {
        let _ = (context, waiter, why);
    }

    /// A session that holds something of this object (see [`Context::hold`]) ended.
    fn session_ended(&mut self, context: &mut Context<'_>, session: SessionId) {
        let _ = (context, session);
    }
}

/// Implements [`Object::call`] and [`Object::save`] by a type's declaration and its serialised form.
///
/// Used inside of `impl Object for ...`; the module is the one that `object_type!` made.
#[macro_export]
macro_rules! calls_and_state {
    ($module:path) => {
        fn call(
            &mut self,
            context: &mut $crate::Context<'_>,
            method: u16,
            arguments: &[u8],
            out: &mut Vec<u8>,
        ) -> Result<$crate::shard::object::Progress, $crate::shard::object::CallError> {
            use $module as declared;
            declared::dispatch(self, context, method, arguments, out)
        }

        fn save(&self) -> Vec<u8> {
            $crate::shard::object::codec::encode(self).expect("an object's state can be encoded")
        }
    };
}
