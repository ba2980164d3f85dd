//! What a cloud function is, as traits: nobody implements them by hand, so they mostly explain what is missing.

use crate::{
    arguments::{Reader, Writer},
    error::{JoinError, Part},
    task,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Display;

/// A function that cloud threads can run with these `Arguments`, a tuple.
///
/// Implemented for each function of up to eight [`CloudArgument`]s that returns a [`CloudResult`]. A function
/// also has to be registered with `#[cloud_function]`: that is seen when it is spawned, because only then is
/// it known which function it is.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run in a cloud thread with arguments of the type `{Arguments}`",
    label = "these arguments do not fit this function",
    note = "arguments are a tuple of what the function takes: `()`, `(x,)`, `(x, y)`, up to eight",
    note = "each of them is owned and implements `serde::Serialize` and `serde::Deserialize`",
    note = "the function is marked with `#[cloud_function]` and returns `Result<T, E>`"
)]
pub trait CloudFunction<Arguments>: Copy + 'static {
    /// What the cloud thread returns when it succeeds.
    type Value: Serialize + DeserializeOwned;

    /// Encodes the arguments for the way to the function.
    #[doc(hidden)]
    fn encode(arguments: &Arguments) -> Result<Vec<u8>, JoinError>;
}

/// An argument of a cloud function: owned, and known to serde in both directions.
///
/// Arguments always travel encoded, also to a thread of the same process, so that a program which works on
/// threads works everywhere.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a cloud function",
    label = "not `Serialize + DeserializeOwned + 'static`",
    note = "for a type of yours, add `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait CloudArgument: Serialize + DeserializeOwned + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> CloudArgument for T {}

/// What a cloud function returns: `Result<T, E>`.
///
/// `T` travels encoded. Of `E` only the text travels, so that any error will do, also one that serde does not
/// know and one that belongs to another crate: `anyhow::Error`, `std::io::Error`, `abide`'s own `CallError`.
/// Whoever joins the cloud thread gets it as [`JoinError::Failed`]. An error that the joining program must
/// tell apart is a value: return `Result<Result<T, MyError>, E>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a cloud function",
    label = "expected `Result<T, E>`, where serde can write and read `T`, and `E` implements `Display`",
    note = "for a value type of yours, add `#[derive(serde::Serialize, serde::Deserialize)]`",
    note = "a function that cannot fail returns `Result<T, std::convert::Infallible>`"
)]
pub trait CloudResult {
    /// The value when it succeeds.
    type Value: Serialize + DeserializeOwned;

    /// The value, or the error's text.
    #[doc(hidden)]
    fn into_outcome(self) -> Result<Self::Value, String>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned, E: Display> CloudResult for Result<T, E> {
    type Value = T;

    fn into_outcome(self) -> Result<T, String> {
        // The alternate form prints the causes too, for error types such as anyhow's that know how.
        self.map_err(|error| format!("{error:#}"))
    }
}

macro_rules! implement {
    ($($argument:ident)*) => {
        #[diagnostic::do_not_recommend]
        impl<F, R, $($argument),*> CloudFunction<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> R + Copy + 'static,
            R: CloudResult,
            $($argument: CloudArgument,)*
        {
            type Value = R::Value;

            #[allow(non_snake_case, unused_mut)]
            fn encode(($($argument,)*): &($($argument,)*)) -> Result<Vec<u8>, JoinError> {
                let mut writer = Writer::default();
                $(writer.write($argument)?;)*
                Ok(writer.finish())
            }
        }
    };
}

implement!();
implement!(A);
implement!(A B);
implement!(A B C);
implement!(A B C D);
implement!(A B C D E);
implement!(A B C D E G);
implement!(A B C D E G H);
implement!(A B C D E G H I);

/// Reads an argument of this type. The bound is here and not on the type, so that an argument that does not
/// meet it is one error, at the type that the user wrote, and no more.
#[derive(Debug)]
pub struct ReadArgument<T>(fn(&mut Reader<'_>) -> Result<T, JoinError>);

/// Used by `#[cloud_function]`, for each argument.
pub fn argument<T: CloudArgument>() -> ReadArgument<T> {
    ReadArgument(|arguments| arguments.read())
}

impl<T> ReadArgument<T> {
    /// Reads it.
    pub fn read(self, arguments: &mut Reader<'_>) -> Result<T, JoinError> {
        (self.0)(arguments)
    }
}

/// Writes the result of this type; its bound is where that of [`ReadArgument`] is.
#[derive(Debug)]
pub struct WriteResult<R>(fn(R) -> Result<Vec<u8>, JoinError>);

/// Used by `#[cloud_function]`, for the return type.
pub fn result<R: CloudResult>() -> WriteResult<R> {
    WriteResult(|result| {
        let value = result.into_outcome().map_err(|message| JoinError::Failed { message })?;
        let mut bytes = Vec::new();
        match task::encode_into(&value, &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(reason) => Err(JoinError::Codec { part: Part::Result, reason }),
        }
    })
}

impl<R> WriteResult<R> {
    /// Writes it.
    pub fn write(self, result: R) -> Result<Vec<u8>, JoinError> {
        (self.0)(result)
    }
}
