//! The object type of a user that is measured: the counterpart of a Lua script in Redis.
//!
//! It is declared and implemented as a user would, outside of Abide's own crates.

use abide_net::CallError;
use abide_schema::object_type;
use abide_shards::{Context, Object, SharedObject, calls_and_state};
use serde::{Deserialize, Serialize};

object_type! {
    /// A float that is multiplied.
    pub mod multiplier = 0x8001, "Multiplier";
    creation { initial: f64 = 1.0 }
    methods {
        /// Multiplies by `factor` so many times, each time rounding, and returns the product. One that is not
        /// finite is `BadArgument`, and changes nothing.
        0 Write Multiply = multiply(factor: f64, times: u32) -> f64;
    }
}

/// A float that is multiplied: see [`multiplier`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Multiplier {
    product: f64,
}

impl SharedObject for Multiplier {
    type Type = multiplier::Type;

    fn create(multiplier::Creation { initial }: multiplier::Creation) -> Result<Self, CallError> {
        Ok(Multiplier { product: finite(initial)? })
    }
}

impl Object for Multiplier {
    calls_and_state!(crate::multiplier::multiplier);

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl multiplier::Methods<Context<'_>> for Multiplier {
    fn multiply(&mut self, _: &mut Context<'_>, factor: f64, times: u32) -> Result<f64, CallError> {
        // Multiplication of floats is not associative, so the compiler may not shorten this.
        let product = (0..times).fold(self.product, |product, _| product * factor);
        self.product = finite(product)?;
        Ok(self.product)
    }
}

fn finite(number: f64) -> Result<f64, CallError> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(CallError::bad_argument(format!("{number} is not finite")))
    }
}
