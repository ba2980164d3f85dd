//! The macro that declares an object type, and the descriptions that it makes.

use abide_net::{CallError, MethodKind};
use serde::{Serialize, de::DeserializeOwned};

/// A type of shared object.
pub trait ObjectType: 'static {
    /// Its number on the wire.
    const ID: u16;
    /// Its name, as users write it.
    const NAME: &'static str;
    /// The arguments that create an object.
    type Creation: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug;
    /// The type, described.
    fn info() -> &'static TypeInfo;
}

/// What a method that may wait did.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait<T> {
    /// It ended, with this result.
    Done(T),
    /// The caller is now a record in the object, and will be answered later.
    Waiting,
}

/// What a dispatched call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It ended, and its encoded result was appended.
    Done,
    /// The caller waits in the object.
    Waiting,
}

/// A type of shared object, described.
#[derive(Debug)]
pub struct TypeInfo {
    /// Its number on the wire.
    pub id: u16,
    /// Its name, as users write it.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// The arguments that create it: names and types.
    pub creation: &'static [(&'static str, &'static str)],
    /// What a creation argument is when it is left out, in JSON; nothing for those that must be given. In their order.
    pub creation_defaults: fn() -> Vec<Option<serde_json::Value>>,
    /// The encoded arguments that it is created with when a caller gives none, if it has such.
    pub default_creation: Option<fn() -> Vec<u8>>,
    /// Its methods.
    pub methods: &'static [MethodInfo],
    /// Encodes creation arguments from JSON, in order. Those with a default at the end may be left out.
    pub creation_from_json: fn(Vec<serde_json::Value>) -> Result<Vec<u8>, CallError>,
    /// Turns encoded creation arguments into JSON.
    pub creation_to_json: fn(&[u8]) -> Result<serde_json::Value, CallError>,
}

/// A method of an object type, described.
#[derive(Debug)]
pub struct MethodInfo {
    /// Its number within the type.
    pub id: u16,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// How it behaves.
    pub kind: MethodKind,
    /// Its arguments: names and types.
    pub arguments: &'static [(&'static str, &'static str)],
    /// The type of its result.
    pub output: &'static str,
    /// Encodes arguments from JSON, in order. Optional ones at the end may be left out.
    pub arguments_from_json: fn(Vec<serde_json::Value>) -> Result<Vec<u8>, CallError>,
    /// Turns an encoded result into JSON.
    pub output_to_json: fn(&[u8]) -> Result<serde_json::Value, CallError>,
}

impl TypeInfo {
    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<&MethodInfo> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The method of this number.
    pub fn method_by_id(&self, id: u16) -> Option<&MethodInfo> {
        self.methods.iter().find(|method| method.id == id)
    }
}

/// JSON on its way to and from encoded arguments and results; used by [`object_type!`](crate::object_type).
#[doc(hidden)]
pub mod json {
    use super::{CallError, DeserializeOwned, Serialize};
    use abide_net::codec;
    use serde_json::Value;

    /// Arguments by position. Missing ones are null, which only an optional argument accepts.
    pub fn encode<T: Serialize + DeserializeOwned>(
        given: Vec<Value>,
        names: &[(&str, &str)],
    ) -> Result<Vec<u8>, CallError> {
        encode_with_defaults::<T>(given, names, Vec::new())
    }

    /// The same; a missing one that has a default is that.
    pub fn encode_with_defaults<T: Serialize + DeserializeOwned>(
        mut given: Vec<Value>,
        names: &[(&str, &str)],
        mut defaults: Vec<Option<Value>>,
    ) -> Result<Vec<u8>, CallError> {
        if given.len() > names.len() {
            return Err(CallError::bad_argument(format!(
                "{} arguments, but {} are given",
                names.len(),
                given.len()
            )));
        }
        defaults.resize(names.len(), None);
        let mut left_out = names.iter().zip(&defaults).skip(given.len());
        let needed = left_out.find(|((_, kind), default)| default.is_none() && !kind.starts_with("Option"));
        let missing = needed.map(|((name, kind), _)| format!(" (is {name}: {kind} missing?)"));
        given.extend(defaults.drain(given.len()..).map(Option::unwrap_or_default));
        let arguments: T = serde_json::from_value(Value::Array(given))
            .map_err(|error| CallError::bad_argument(format!("{error}{}", missing.unwrap_or_default())))?;
        Ok(codec::encode(&arguments)?)
    }

    /// A default, written as JSON.
    pub fn default<T: Serialize>(value: T) -> Option<Value> {
        Some(serde_json::to_value(value).expect("defaults can be written"))
    }

    /// A result, decoded and written as JSON.
    pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<Value, CallError> {
        let output: T = codec::decode(bytes)?;
        serde_json::to_value(output).map_err(CallError::bad_argument)
    }
}

/// Declares a type of shared object.
///
/// ```
/// abide_schema::object_type! {
///     /// A lamp that several threads switch.
///     pub mod lamp = 0x8001, "Lamp";
///     creation { on: bool = false }
///     methods {
///         /// Whether it is on.
///         0 Read Get = get() -> bool;
///         /// Switches it, and returns whether that changed anything.
///         1 Write Switch = switch(on: bool) -> bool;
///     }
/// }
/// ```
/// Numbers of built-in types are below `0x8000`; numbers of methods are below `0xff00`. A type whose
/// creation arguments all have defaults is created by the first call; the others by a call that carries
/// arguments. A `Wait` method returns [`Wait`](crate::Wait) from the trait's method.
#[macro_export]
macro_rules! object_type {
    (
        $(#[doc = $doc:literal])*
        pub mod $module:ident = $id:literal, $name:literal;
        creation { $($(#[doc = $field_doc:literal])* $field:ident : $field_type:ty $(= $default:expr)?),* $(,)? }
        methods { $(
            $(#[doc = $method_doc:literal])*
            $method_id:literal $kind:ident $struct:ident = $method:ident(
                $($argument:ident : $argument_type:ty),* $(,)?
            ) $(-> $output:ty)?;
        )* }
    ) => {
        $(#[doc = $doc])*
        pub mod $module {
            #[allow(unused_imports)]
            use super::*;
            use $crate::export::{CallError, MethodKind, codec, serde};

            /// The type.
            #[derive(Debug, Clone, Copy)]
            pub struct Type;

            /// The arguments that create an object.
            #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(crate = "serde")]
            pub struct Creation {
                $($(#[doc = $field_doc])* #[doc = concat!("`", stringify!($field), "`")] pub $field: $field_type,)*
            }

            impl $crate::ObjectType for Type {
                const ID: u16 = $id;
                const NAME: &'static str = $name;
                type Creation = Creation;
                fn info() -> &'static $crate::TypeInfo {
                    &INFO
                }
            }

            /// The type, described.
            pub static INFO: $crate::TypeInfo = $crate::TypeInfo {
                id: $id,
                name: $name,
                doc: concat!($($doc, "\n"),*),
                creation: &[$((stringify!($field), stringify!($field_type))),*],
                creation_defaults: || vec![$($crate::default_of!($field_type $(= $default)?)),*],
                default_creation: $crate::default_creation!(Creation { $($field $(= $default)?),* }),
                methods: &[$(
                    $crate::MethodInfo {
                        id: $method_id,
                        name: stringify!($method),
                        doc: concat!($($method_doc, "\n"),*),
                        kind: MethodKind::$kind,
                        arguments: &[$((stringify!($argument), stringify!($argument_type))),*],
                        output: $crate::first!($(stringify!($output),)? "()"),
                        arguments_from_json: |given| $crate::json::encode::<$struct>(
                            given, &[$((stringify!($argument), stringify!($argument_type))),*]),
                        output_to_json: $crate::json::decode::<$crate::first_type!($($output,)? ())>,
                    }
                ),*],
                creation_from_json: |given| $crate::json::encode_with_defaults::<Creation>(
                    given, INFO.creation, (INFO.creation_defaults)()),
                creation_to_json: $crate::json::decode::<Creation>,
            };

            $(
                $(#[doc = $method_doc])*
                #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
                #[serde(crate = "serde")]
                pub struct $struct {
                    $(#[doc = concat!("`", stringify!($argument), "`")] pub $argument: $argument_type,)*
                }

                impl $crate::Method for $struct {
                    type Object = Type;
                    type Output = $crate::first_type!($($output,)? ());
                    const ID: u16 = $method_id;
                    const KIND: MethodKind = MethodKind::$kind;
                }
            )*

            /// What a shard implements: each method, given the call's context.
            pub trait Methods<Context> {
                $(
                    $(#[doc = $method_doc])*
                    fn $method(&mut self, context: &mut Context $(, $argument: $argument_type)*)
                        -> Result<$crate::returned!($kind, $crate::first_type!($($output,)? ())), CallError>;
                )*
            }

            /// Decodes a call, makes it on `object`, and appends the encoded result to `out`.
            pub fn dispatch<Context, Object: Methods<Context>>(
                object: &mut Object,
                context: &mut Context,
                method: u16,
                arguments: &[u8],
                #[allow(unused_variables)] out: &mut Vec<u8>,
            ) -> Result<$crate::Progress, CallError> {
                match method {
                    $($method_id => {
                        let $struct { $($argument),* } = codec::decode(arguments)?;
                        let result = object.$method(context $(, $argument)*)?;
                        $crate::answer!($kind, result, out)
                    })*
                    _ => Err(CallError::NoSuchMethod { name: format!("{} method {method}", $name) }),
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! first {
    ($first:expr $(, $rest:expr)* $(,)?) => {
        $first
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! first_type {
    ($first:ty $(, $rest:ty)* $(,)?) => {
        $first
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! returned {
    (Wait, $output:ty) => { $crate::Wait<$output> };
    ($kind:ident, $output:ty) => { $output };
}

#[doc(hidden)]
#[macro_export]
macro_rules! answer {
    (Wait, $result:ident, $out:ident) => {
        match $result {
            $crate::Wait::Done(result) => {
                codec::encode_into(&result, $out)?;
                Ok($crate::Progress::Done)
            }
            $crate::Wait::Waiting => Ok($crate::Progress::Waiting),
        }
    };
    ($kind:ident, $result:ident, $out:ident) => {{
        codec::encode_into(&$result, $out)?;
        Ok($crate::Progress::Done)
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! default_of {
    ($type:ty = $default:expr) => {{
        let default: $type = $default;
        $crate::json::default(default)
    }};
    ($type:ty) => {
        None
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! default_creation {
    ($creation:ident { $($field:ident = $default:expr),* }) => {
        Some(|| codec::encode(&$creation { $($field: $default),* }).expect("defaults can be encoded"))
    };
    ($creation:ident { $($rest:tt)* }) => {
        None
    };
}
