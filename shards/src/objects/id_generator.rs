//! Numbers that are given out.

use crate::{
    Context, SharedObject, calls,
    state::{Fields, Number},
};
use abide_net::CallError;
use abide_schema::types::id_generator;

/// Numbers that are given out once each: see [`id_generator`].
#[derive(Debug)]
pub struct IdGenerator {
    /// The next one; 2^64 after the last.
    next: Number<u128>,
}

const END: u128 = 1 << 64;

impl SharedObject for IdGenerator {
    type Type = id_generator::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        IdGenerator { next: Number::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        id_generator::Creation { start }: id_generator::Creation,
    ) -> Result<(), CallError> {
        self.next.set(context, start.into())
    }

    calls!(abide_schema::types::id_generator);
}

impl id_generator::Methods<Context<'_, '_>> for IdGenerator {
    fn next(&mut self, context: &mut Context<'_, '_>) -> Result<u64, CallError> {
        self.next_range(context, 1)
    }

    fn next_range(&mut self, context: &mut Context<'_, '_>, n: u64) -> Result<u64, CallError> {
        if n == 0 {
            return Err(CallError::bad_argument("a range has at least one number"));
        }
        let first = self.next.get(context)?;
        let left = END.saturating_sub(first);
        if u128::from(n) > left {
            return Err(CallError::OutOfBounds { len: left as u64 });
        }
        self.next.set(context, first + u128::from(n))?;
        Ok(first as u64)
    }
}
