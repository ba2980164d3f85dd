//! The object type of a user that is measured: the counterpart of a Lua script in Redis.
//!
//! It is declared and implemented as a user would, outside of Abide's own crates.

use abide_net::CallError;
use abide_schema::object_type;
use abide_shards::{
    Context, SharedObject, calls,
    state::{Fields, Number},
};

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
#[derive(Debug)]
pub(crate) struct Multiplier {
    product: Number<f64>,
}

impl SharedObject for Multiplier {
    type Type = multiplier::Type;

    const FIELDS: u32 = 1;

    fn at(fields: Fields) -> Self {
        Multiplier { product: Number::at(fields, 0) }
    }

    fn create(
        &mut self,
        context: &mut Context<'_, '_>,
        multiplier::Creation { initial }: multiplier::Creation,
    ) -> Result<(), CallError> {
        self.product.set(context, finite(initial)?)
    }

    calls!(crate::multiplier::multiplier);
}

impl multiplier::Methods<Context<'_, '_>> for Multiplier {
    fn multiply(&mut self, context: &mut Context<'_, '_>, factor: f64, times: u32) -> Result<f64, CallError> {
        // Multiplication of floats is not associative, so the compiler may not shorten this.
        let product = (0..times).fold(self.product.get(context)?, |product, _| product * factor);
        self.product.set(context, finite(product)?)?;
        Ok(product)
    }
}

fn finite(number: f64) -> Result<f64, CallError> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(CallError::bad_argument(format!("{number} is not finite")))
    }
}
