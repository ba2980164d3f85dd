//! What sessions hold of an object.

use crate::{
    Context,
    shard::SessionId,
    state::{Tree, damaged},
};
use abide_net::CallError;

/// Holders of one object that are shown to somebody who asks who waits for whom.
pub(super) const HOLDERS_SHOWN_MAX: usize = 100;

/// Waiting calls, or things that a session holds, that one block of an object takes one by one; an alarm, or another block, goes on.
/// What a block may change is bounded, and each of them changes some dozens of words.
pub(super) const PART: u32 = 128;

/// Amounts by session, in a tree. A session without an amount is not there.
pub(super) mod by_session {
    use super::{CallError, Context, SessionId, Tree, damaged};

    fn amount(bytes: &[u8]) -> Result<u64, CallError> {
        let bytes = bytes.try_into().map_err(|_| damaged("what a session holds"))?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// What a session has.
    pub(in super::super) fn get(
        tree: &Tree,
        context: &Context<'_, '_>,
        session: SessionId,
    ) -> Result<u64, CallError> {
        tree.get(context, &session.0.to_be_bytes())?.map_or(Ok(0), |bytes| amount(&bytes))
    }

    /// Sets what a session has.
    pub(in super::super) fn set(
        tree: &Tree,
        context: &mut Context<'_, '_>,
        session: SessionId,
        amount: u64,
    ) -> Result<(), CallError> {
        let key = session.0.to_be_bytes();
        if amount == 0 {
            tree.remove(context, &key).map(drop)
        } else {
            tree.insert(context, &key, &amount.to_le_bytes()).map(drop)
        }
    }

    /// Takes away what a session has.
    pub(in super::super) fn take(
        tree: &Tree,
        context: &mut Context<'_, '_>,
        session: SessionId,
    ) -> Result<u64, CallError> {
        tree.remove(context, &session.0.to_be_bytes())?.map_or(Ok(0), |bytes| amount(&bytes))
    }

    /// Gives `each` the sessions and their amounts, until it has enough (`false`).
    pub(in super::super) fn for_each(
        tree: &Tree,
        context: &Context<'_, '_>,
        mut each: impl FnMut(SessionId, u64) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        tree.for_each(context, .., |key, value| {
            let key = key.try_into().map_err(|_| damaged("what a session holds"))?;
            each(SessionId(u128::from_be_bytes(key)), amount(value)?)
        })
    }
}
