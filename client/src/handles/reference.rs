//! [`AtomicRef`].

use super::{FormOf, decode_option, encode_option, handle};
use crate::mode::Mode;
use abide_net::Value;
use abide_schema::types::atomic_ref;
use serde::{Serialize, de::DeserializeOwned};

handle! {
    /// A shared reference to a value of the user's type, or to nothing; nothing at first unless created with
    /// a value.
    ///
    /// Values are compared by their canonical bytes, so types that are compared serialise in one order (no
    /// `HashMap` inside).
    ///
    /// ```no_run
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Model { weights: Vec<f64> }
    /// # fn train(model: Option<Model>) -> Model { model.unwrap_or(Model { weights: vec![] }) }
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let best = abide_client::Store::current()?.atomic_ref::<Model>("best");
    /// loop {
    ///     let (version, model) = best.get_versioned()?;
    ///     if best.set_if_version(version, Some(&train(model)))?.is_ok() {
    ///         break; // else someone else was faster: train from theirs
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct AtomicRef<T> of atomic_ref, arguments;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> AtomicRef<T, M> {
    /// The value.
    pub fn get(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(atomic_ref::Get {}), decode_option)
    }

    /// Replaces the value.
    pub fn set(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<()> {
        self.object.call(|| Ok(atomic_ref::Set { value: Some(Value::encode(value)?) }), Ok)
    }

    /// Replaces the value by nothing.
    pub fn clear(&self) -> M::Output<()> {
        self.object.call(|| Ok(atomic_ref::Set { value: None }), Ok)
    }

    /// Replaces the value and returns the one before.
    pub fn swap(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<Option<T>> {
        self.object.call(|| Ok(atomic_ref::Swap { value: Some(Value::encode(value)?) }), decode_option)
    }

    /// Replaces the value if it is `expected`. `Ok` with the value before, or `Err` with the value that is
    /// there.
    pub fn compare_exchange(
        &self,
        expected: Option<&T>,
        value: Option<&T>,
    ) -> M::Output<Result<Option<T>, Option<T>>> {
        let make = || {
            let (expected, value) = (encode_option(expected)?, encode_option(value)?);
            Ok(atomic_ref::CompareExchange { expected, value })
        };
        self.object.call(make, |before| {
            Ok(match before {
                Ok(before) => Ok(decode_option(before)?),
                Err(there) => Err(decode_option(there)?),
            })
        })
    }

    /// Takes the value out, leaving nothing.
    pub fn take(&self) -> M::Output<Option<T>> {
        self.object.call(|| Ok(atomic_ref::Take {}), decode_option)
    }

    /// The value with its version, which grows with each change.
    pub fn get_versioned(&self) -> M::Output<(u64, Option<T>)> {
        let read = |(version, value)| Ok((version, decode_option(value)?));
        self.object.call(|| Ok(atomic_ref::GetVersioned {}), read)
    }

    /// Replaces the value if its version is `version`. `Ok` with the new version, or `Err` with the one that
    /// is there.
    pub fn set_if_version(&self, version: u64, value: Option<&T>) -> M::Output<Result<u64, u64>> {
        self.object.call(|| Ok(atomic_ref::SetIfVersion { version, value: encode_option(value)? }), Ok)
    }
}
