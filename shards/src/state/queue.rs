//! A field of calls that wait.

use super::{Fields, Tree, damaged};
use crate::{Context, shard::WaiterId};
use abide_net::{CallError, codec};
use abide_schema::Wait;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// Waiting calls that one failure-atomic block answers at most. Each changes some 60 words, of which a block holds 32,768. More
/// than these leave the queue at one moment all the same: see [`Queue::wake_all`].
pub const RELEASE_PART: u64 = 256;

/// What calls that leave a queue together are answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answers {
    /// All with the same encoded result, or the same error.
    Same(Result<Vec<u8>, CallError>),
    /// The first with this number, each one behind it with one less.
    Descending(u32),
}

impl Answers {
    /// All with this result.
    pub fn same<T: Serialize>(result: &T) -> Result<Answers, CallError> {
        Ok(Answers::Same(Ok(codec::encode(result)?)))
    }

    /// All with this error.
    pub fn error(error: CallError) -> Answers {
        Answers::Same(Err(error))
    }

    /// How many calls one block answers with it: fewer where the answer is long, of which each call gets a copy.
    pub(crate) fn part(&self) -> u64 {
        /// Bytes of answers that one block makes, roughly.
        const PART_BYTES: u64 = 8 << 20;
        match self {
            Answers::Same(Ok(body)) => (PART_BYTES / (body.len() as u64 + 1)).clamp(1, RELEASE_PART),
            Answers::Same(Err(_)) | Answers::Descending(_) => RELEASE_PART,
        }
    }

    /// The answer of the next call.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, CallError> {
        match self {
            Answers::Same(answer) => answer.clone(),
            Answers::Descending(number) => {
                let answer = codec::encode(number)?;
                *number = number.saturating_sub(1);
                Ok(answer)
            }
        }
    }
}

/// Calls that wait in an object, in the order of asking, each with what the object notes about it.
#[derive(Debug, Clone, Copy)]
pub struct Queue<T> {
    tree: Tree,
    note: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// The field of this number.
    pub fn at(fields: Fields, number: u32) -> Self {
        Queue { tree: Tree::at(fields, number), note: PhantomData }
    }

    /// Has the calling call wait here, at most so many milliseconds.
    pub fn wait<R>(
        &self,
        context: &mut Context<'_, '_>,
        note: &T,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<R>, CallError> {
        let id = context.begin_wait(timeout_ms, None)?;
        self.set(context, id, note)?;
        Ok(Wait::Waiting)
    }

    /// The same, and says as which owner (a thread) of its session the call waits.
    pub fn wait_as<R>(
        &self,
        context: &mut Context<'_, '_>,
        owner: u64,
        note: &T,
        timeout_ms: Option<u64>,
    ) -> Result<Wait<R>, CallError> {
        let id = context.begin_wait(timeout_ms, Some(owner))?;
        self.set(context, id, note)?;
        Ok(Wait::Waiting)
    }

    /// Puts a waiting call here, or changes what is noted about one that is here. In its place: that of its asking.
    pub fn set(&self, context: &mut Context<'_, '_>, id: WaiterId, note: &T) -> Result<(), CallError> {
        self.tree.insert(context, &id.to_key(), &codec::encode(note)?).map(drop)
    }

    /// What is noted about a call, if it waits here.
    pub fn get(&self, context: &Context<'_, '_>, id: WaiterId) -> Result<Option<T>, CallError> {
        self.tree.get(context, &id.to_key())?.map(|note| decode(&note)).transpose()
    }

    /// How many wait.
    pub fn len(&self, context: &Context<'_, '_>) -> Result<u64, CallError> {
        self.tree.len(context)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self, context: &Context<'_, '_>) -> Result<bool, CallError> {
        self.tree.is_empty(context)
    }

    /// Who has waited longest.
    pub fn first(&self, context: &Context<'_, '_>) -> Result<Option<(WaiterId, T)>, CallError> {
        self.tree.first(context)?.map(pair).transpose()
    }

    /// Who began to wait last.
    pub fn last(&self, context: &Context<'_, '_>) -> Result<Option<(WaiterId, T)>, CallError> {
        self.tree.last(context)?.map(pair).transpose()
    }

    /// Takes out who has waited longest. The object answers it, or puts it into another queue.
    pub fn pop_first(&self, context: &mut Context<'_, '_>) -> Result<Option<(WaiterId, T)>, CallError> {
        self.tree.pop_first(context)?.map(pair).transpose()
    }

    /// Takes a call out, if it waits here.
    pub fn remove(&self, context: &mut Context<'_, '_>, id: WaiterId) -> Result<Option<T>, CallError> {
        self.tree.remove(context, &id.to_key())?.map(|note| decode(&note)).transpose()
    }

    /// Gives `each` those that wait, in the order of asking, until it has enough (`false`).
    pub fn for_each(
        &self,
        context: &Context<'_, '_>,
        mut each: impl FnMut(WaiterId, T) -> Result<bool, CallError>,
    ) -> Result<(), CallError> {
        self.tree.for_each(context, .., |key, note| each(WaiterId::from_key(key)?, decode(note)?))
    }

    /// Answers all that wait, and empties the queue, at one moment. More than [`RELEASE_PART`], or fewer whose answer is long, are handed to the shard, which
    /// answers them part by part before it does anything else, also across a crash.
    pub fn wake_all(&self, context: &mut Context<'_, '_>, mut answers: Answers) -> Result<(), CallError> {
        if self.len(context)? > answers.part() {
            return context.release(self.tree, &answers);
        }
        while let Some((key, _)) = self.tree.pop_first(context)? {
            context.wake_encoded(WaiterId::from_key(&key)?, answers.next())?;
        }
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(note: &[u8]) -> Result<T, CallError> {
    codec::decode_own(note).map_err(|_| damaged("a queue of calls"))
}

fn pair<T: DeserializeOwned>((key, note): (Vec<u8>, Vec<u8>)) -> Result<(WaiterId, T), CallError> {
    Ok((WaiterId::from_key(&key)?, decode(&note)?))
}
