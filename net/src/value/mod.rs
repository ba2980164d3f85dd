//! The one dynamic value that users put into objects: a list's element, a map's key, what a reference holds.
//!
//! A value is a tag and a payload. Scalars, text and bytes are self-describing, so that a shard can add
//! two of them and a command line can print them; the integer 5 has the same bytes whether it was an `i32`
//! or a `u64`. Everything composite (structs, tuples, vectors, maps) is bincode of the user's own type,
//! which only a reader that knows the type can open. JSON documents have a tag of their own.
//!
//! ```text
//! tag  payload
//! 0    nothing            null: None, ()
//! 1    1 byte, 0 or 1     bool
//! 2    8 bytes, LE        integer that fits i64
//! 3    8 bytes, LE        integer above i64::MAX (u64)
//! 4    8 bytes, LE        f64, its bits
//! 5    UTF-8              text; also a char, and the name of a unit variant
//! 6    any                bytes
//! 7    any                bincode of a composite type
//! 8    UTF-8              a JSON array or object, written compactly with its keys sorted
//! ```
//! Equal values of one type have equal bytes, except where the type's own serialisation has no order
//! (a `HashMap`): use ordered collections in values that are compared.

mod json;
mod scalar;

use crate::{codec, error::CallError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use std::sync::Arc;

/// What kind of value the tag says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// Nothing.
    Null = 0,
    /// A truth value.
    Bool = 1,
    /// An integer that fits an `i64`.
    Int = 2,
    /// An integer above `i64::MAX`.
    Uint = 3,
    /// A 64-bit float.
    Float = 4,
    /// Text.
    Text = 5,
    /// Bytes.
    Bytes = 6,
    /// Bincode of a type that only its users know.
    Bincode = 7,
    /// A JSON array or object.
    Json = 8,
}

impl Tag {
    fn from_byte(byte: u8) -> Option<Tag> {
        use Tag::*;
        [Null, Bool, Int, Uint, Float, Text, Bytes, Bincode, Json].get(usize::from(byte)).copied()
    }

    /// The name that errors use.
    pub fn name(self) -> &'static str {
        match self {
            Tag::Null => "null",
            Tag::Bool => "a bool",
            Tag::Int | Tag::Uint => "an integer",
            Tag::Float => "a float",
            Tag::Text => "text",
            Tag::Bytes => "bytes",
            Tag::Bincode => "a bincode value",
            Tag::Json => "a JSON value",
        }
    }
}

/// A value in its canonical bytes. Cheap to clone.
///
/// Invariant: the first byte is a tag and the rest is a payload that the table of this module allows.
/// Ordered by those bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<[u8]>);

/// A value whose payload is opened as far as its tag allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Opened<'a> {
    /// [`Tag::Null`].
    Null,
    /// [`Tag::Bool`].
    Bool(bool),
    /// [`Tag::Int`].
    Int(i64),
    /// [`Tag::Uint`].
    Uint(u64),
    /// [`Tag::Float`].
    Float(f64),
    /// [`Tag::Text`].
    Text(&'a str),
    /// [`Tag::Bytes`].
    Bytes(&'a [u8]),
    /// [`Tag::Bincode`].
    Bincode(&'a [u8]),
    /// [`Tag::Json`].
    Json(&'a str),
}

impl Value {
    fn tagged(tag: Tag, payload: &[u8]) -> Value {
        let mut bytes = Vec::with_capacity(1 + payload.len());
        bytes.push(tag as u8);
        bytes.extend_from_slice(payload);
        Value(bytes.into())
    }

    /// Turns a value of a user's type into its canonical bytes.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Value, CallError> {
        match value.serialize(scalar::ToScalar) {
            Ok(scalar) => Ok(scalar),
            Err(scalar::NotScalar) => {
                let mut bytes = vec![Tag::Bincode as u8];
                codec::encode_into(value, &mut bytes)?;
                Ok(Value(bytes.into()))
            }
        }
    }

    /// Reads the value as a type. `WrongType` if it is not one.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        let wrong = |error: &dyn std::fmt::Display| CallError::WrongType {
            is: format!("{}, not what was asked for ({error})", self.tag().name()),
        };
        match self.open() {
            Opened::Bincode(bytes) => codec::decode(bytes).map_err(|error| wrong(&error)),
            Opened::Json(text) => serde_json::from_str(text).map_err(|error| wrong(&error)),
            scalar => T::deserialize(scalar::FromScalar(scalar)).map_err(|error| wrong(&error)),
        }
    }

    /// Takes bytes from a peer, if they keep the type's invariant.
    pub fn from_bytes(bytes: &[u8]) -> Result<Value, CallError> {
        let (&tag, payload) = bytes.split_first().ok_or_else(|| CallError::bad_argument("an empty value"))?;
        let tag = Tag::from_byte(tag).ok_or_else(|| CallError::bad_argument(format!("value tag {tag}")))?;
        let sound = match tag {
            Tag::Null => payload.is_empty(),
            Tag::Bool => matches!(payload, [0 | 1]),
            Tag::Int | Tag::Float => payload.len() == 8,
            Tag::Uint => payload.try_into().is_ok_and(|bytes| u64::from_le_bytes(bytes) > i64::MAX as u64),
            Tag::Text => std::str::from_utf8(payload).is_ok(),
            Tag::Bytes | Tag::Bincode => true,
            Tag::Json => json::is_document(payload),
        };
        if !sound {
            return Err(CallError::bad_argument(format!("a malformed value ({})", tag.name())));
        }
        Ok(Value(bytes.into()))
    }

    /// The canonical bytes: tag and payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value's kind.
    pub fn tag(&self) -> Tag {
        Tag::from_byte(self.0[0]).expect("a value begins with a tag")
    }

    /// The value, opened as far as its tag allows.
    pub fn open(&self) -> Opened<'_> {
        let payload = &self.0[1..];
        let word = || <[u8; 8]>::try_from(payload).expect("a number has eight bytes");
        let text = || std::str::from_utf8(payload).expect("text is UTF-8");
        match self.tag() {
            Tag::Null => Opened::Null,
            Tag::Bool => Opened::Bool(payload[0] == 1),
            Tag::Int => Opened::Int(i64::from_le_bytes(word())),
            Tag::Uint => Opened::Uint(u64::from_le_bytes(word())),
            Tag::Float => Opened::Float(f64::from_le_bytes(word())),
            Tag::Text => Opened::Text(text()),
            Tag::Bytes => Opened::Bytes(payload),
            Tag::Bincode => Opened::Bincode(payload),
            Tag::Json => Opened::Json(text()),
        }
    }

    /// An integer of any width.
    pub fn integer(value: i128) -> Option<Value> {
        if let Ok(value) = i64::try_from(value) {
            Some(Value::tagged(Tag::Int, &value.to_le_bytes()))
        } else {
            u64::try_from(value).ok().map(|value| Value::tagged(Tag::Uint, &value.to_le_bytes()))
        }
    }

    /// A float.
    pub fn float(value: f64) -> Value {
        Value::tagged(Tag::Float, &value.to_le_bytes())
    }

    /// A truth value.
    pub fn bool(value: bool) -> Value {
        Value::tagged(Tag::Bool, &[u8::from(value)])
    }

    /// Nothing.
    pub fn null() -> Value {
        Value::tagged(Tag::Null, &[])
    }

    /// Text.
    pub fn text(value: &str) -> Value {
        Value::tagged(Tag::Text, value.as_bytes())
    }

    /// Bytes.
    pub fn bytes(value: &[u8]) -> Value {
        Value::tagged(Tag::Bytes, value)
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.open().fmt(f)
    }
}

/// In a frame: its canonical bytes. In JSON: see [`Value::to_json`].
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.to_json().serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let json = serde_json::Value::deserialize(deserializer)?;
            Value::from_json(&json).map_err(serde::de::Error::custom)
        } else {
            deserializer.deserialize_bytes(BytesVisitor(Value::from_bytes))
        }
    }
}

/// A byte string. In a frame: its length and bytes. In JSON it is written `{"$bytes": "<hex>"}` and read
/// from that or from text (its UTF-8).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl<T: AsRef<[u8]> + ?Sized> From<&T> for Bytes {
    fn from(bytes: &T) -> Self {
        Bytes(bytes.as_ref().to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            Value::bytes(&self.0).serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_bytes(BytesVisitor(|bytes| Ok(Bytes(bytes.to_vec()))));
        }
        match Value::deserialize(deserializer)?.open() {
            Opened::Bytes(bytes) => Ok(Bytes(bytes.to_vec())),
            Opened::Text(text) => Ok(Bytes(text.as_bytes().to_vec())),
            _ => Err(serde::de::Error::custom("bytes are written as text or as {\"$bytes\": \"<hex>\"}")),
        }
    }
}

struct BytesVisitor<T>(fn(&[u8]) -> Result<T, CallError>);

impl<T> serde::de::Visitor<'_> for BytesVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<T, E> {
        (self.0)(bytes).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests;
