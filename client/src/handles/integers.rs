//! [`AtomicInt`] and [`AtomicLong`].

use super::handle;
use crate::mode::Mode;

macro_rules! atomic_integer {
    ($(#[$doc:meta])* $name:ident, $module:ident, $integer:ty) => {
        handle! {
            $(#[$doc])*
            pub struct $name of $module, arguments;
        }

        impl<M: Mode> $name<M> {
            /// The value.
            pub fn get(&self) -> M::Output<$integer> {
                self.object.call(|| Ok($module::Get {}), Ok)
            }

            /// Replaces the value.
            pub fn set(&self, value: $integer) -> M::Output<()> {
                self.object.call(|| Ok($module::Set { value }), Ok)
            }

            /// Replaces the value and returns the one before.
            pub fn swap(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::Swap { value }), Ok)
            }

            /// Replaces the value if it is `expected`. `Ok` with the value before, or `Err` with the value
            /// that is there.
            pub fn compare_exchange(
                &self,
                expected: $integer,
                value: $integer,
            ) -> M::Output<Result<$integer, $integer>> {
                self.object.call(|| Ok($module::CompareExchange { expected, value }), Ok)
            }

            /// Adds and returns the value after. Overflow wraps, as in Java.
            pub fn add_and_get(&self, delta: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::AddAndGet { delta }), Ok)
            }

            /// Adds and returns the value before. Overflow wraps, as in Java.
            pub fn get_and_add(&self, delta: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::GetAndAdd { delta }), Ok)
            }

            /// Adds 1 and returns the value after. Overflow wraps.
            pub fn increment_and_get(&self) -> M::Output<$integer> {
                self.object.call(|| Ok($module::IncrementAndGet {}), Ok)
            }

            /// Subtracts 1 and returns the value after. Overflow wraps.
            pub fn decrement_and_get(&self) -> M::Output<$integer> {
                self.object.call(|| Ok($module::DecrementAndGet {}), Ok)
            }

            /// Adds 1 and returns the value before. Overflow wraps.
            pub fn get_and_increment(&self) -> M::Output<$integer> {
                self.object.call(|| Ok($module::GetAndIncrement {}), Ok)
            }

            /// Subtracts 1 and returns the value before. Overflow wraps.
            pub fn get_and_decrement(&self) -> M::Output<$integer> {
                self.object.call(|| Ok($module::GetAndDecrement {}), Ok)
            }

            /// Keeps the smaller of the value and this one; returns the value before.
            pub fn fetch_min(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchMin { value }), Ok)
            }

            /// Keeps the greater of the value and this one; returns the value before.
            pub fn fetch_max(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchMax { value }), Ok)
            }

            /// Multiplies and returns the value before. Overflow wraps.
            pub fn fetch_mul(&self, factor: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchMul { factor }), Ok)
            }

            /// Bitwise and; returns the value before.
            pub fn fetch_and(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchAnd { value }), Ok)
            }

            /// Bitwise or; returns the value before.
            pub fn fetch_or(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchOr { value }), Ok)
            }

            /// Bitwise exclusive or; returns the value before.
            pub fn fetch_xor(&self, value: $integer) -> M::Output<$integer> {
                self.object.call(|| Ok($module::FetchXor { value }), Ok)
            }

            /// Adds and returns the value after, or nothing, changing nothing, if the sum overflows.
            pub fn checked_add(&self, delta: $integer) -> M::Output<Option<$integer>> {
                self.object.call(|| Ok($module::CheckedAdd { delta }), Ok)
            }
        }
    };
}

use abide_schema::types::{atomic_int, atomic_long};

atomic_integer! {
    /// A shared 32-bit signed integer, 0 at first unless created with another value.
    AtomicInt, atomic_int, i32
}

atomic_integer! {
    /// A shared 64-bit signed integer, 0 at first unless created with another value.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let store = abide_client::Store::current()?;
    /// let visits = store.atomic_long("visits");
    /// let mine = visits.increment_and_get()?;
    /// println!("visit {mine}");
    /// # Ok(())
    /// # }
    /// ```
    /// The same in asynchronous code:
    /// ```no_run
    /// # async fn visit(store: abide_client::AsyncStore) -> Result<(), abide_client::CallError> {
    /// let visits = store.atomic_long("visits");
    /// let mine = visits.increment_and_get().await?;
    /// # Ok(())
    /// # }
    /// ```
    AtomicLong, atomic_long, i64
}
