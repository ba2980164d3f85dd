//! Barriers.

use crate::{
    Context, Object, SharedObject, calls_and_state,
    shard::{Gone, WaiterId},
};
use abide_net::CallError;
use abide_schema::{Wait, types::cyclic_barrier};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Parties that meet again and again: see [`cyclic_barrier`].
///
/// Invariant: fewer than `parties` wait, all of one generation, and none while it is broken.
///
/// No party leaves a generation without breaking it, so the rank of a waiter's id is its rank of arrival,
/// and no index has to be kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct CyclicBarrier {
    parties: u32,
    broken: bool,
    #[serde(skip)]
    waiters: BTreeSet<WaiterId>,
}

impl SharedObject for CyclicBarrier {
    type Type = cyclic_barrier::Type;

    fn create(cyclic_barrier::Creation { parties }: cyclic_barrier::Creation) -> Result<Self, CallError> {
        if parties == 0 {
            return Err(CallError::bad_argument("a barrier has at least one party"));
        }
        Ok(CyclicBarrier { parties, broken: false, waiters: BTreeSet::new() })
    }
}

impl Object for CyclicBarrier {
    calls_and_state!(abide_schema::types::cyclic_barrier);

    fn bytes(&self) -> usize {
        size_of::<Self>() + super::sizes::memory_of_set(&self.waiters)
    }

    /// A party that timed out, was cancelled or died will not come back to the generation that it arrived in.
    fn waiter_gone(&mut self, context: &mut Context<'_>, waiter: WaiterId, _: Gone) {
        if self.waiters.remove(&waiter) {
            self.broken = true;
            self.end_generation(context);
        }
    }
}

impl CyclicBarrier {
    /// Answers all that wait that their generation is broken.
    fn end_generation(&mut self, context: &mut Context<'_>) {
        for waiter in std::mem::take(&mut self.waiters) {
            context.wake(waiter, Err::<u32, _>(CallError::Broken));
        }
    }
}

impl cyclic_barrier::Methods<Context<'_>> for CyclicBarrier {
    fn wait(&mut self, context: &mut Context<'_>, timeout_ms: Option<u64>) -> Result<Wait<u32>, CallError> {
        if self.broken {
            return Err(CallError::Broken);
        }
        if self.waiters.len() as u64 + 1 < u64::from(self.parties) {
            self.waiters.insert(context.wait(timeout_ms));
            return Ok(Wait::Waiting);
        }
        // The last one: all others leave in the order in which they arrived, and a new generation begins.
        let indices = (1..self.parties).rev();
        for (waiter, index) in std::mem::take(&mut self.waiters).into_iter().zip(indices) {
            context.wake(waiter, Ok(index));
        }
        Ok(Wait::Done(0))
    }

    fn waiting(&mut self, _: &mut Context<'_>) -> Result<u32, CallError> {
        Ok(self.waiters.len() as u32)
    }

    fn parties(&mut self, _: &mut Context<'_>) -> Result<u32, CallError> {
        Ok(self.parties)
    }

    fn reset(&mut self, context: &mut Context<'_>) -> Result<(), CallError> {
        self.broken = false;
        self.end_generation(context);
        Ok(())
    }

    fn is_broken(&mut self, _: &mut Context<'_>) -> Result<bool, CallError> {
        Ok(self.broken)
    }
}
