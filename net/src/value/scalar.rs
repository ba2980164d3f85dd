//! Serde for the scalar half of [`Value`]: which user types are scalars, and how one is read back.

use super::{Opened, Tag, Value};
use serde::{
    Serialize, Serializer,
    de::{self, IntoDeserializer, Visitor, value::Error},
    ser::{self, Impossible},
};

/// The type is composite: it needs bincode.
#[derive(Debug, thiserror::Error)]
#[error("not a scalar")]
pub(super) struct NotScalar;

impl ser::Error for NotScalar {
    // An error of the user's own `Serialize` shows again, with its text, when bincode asks for the bytes.
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        NotScalar
    }
}

/// Makes a [`Value`] of anything that is one scalar, text or bytes.
pub(super) struct ToScalar;

type Composite = Impossible<Value, NotScalar>;

macro_rules! integers {
    ($($method:ident $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<Value, NotScalar> {
            Value::integer(value.into()).ok_or(NotScalar)
        })*
    };
}

macro_rules! composites {
    ($($method:ident($($argument:ty),*) -> $part:ident;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Self::$part, NotScalar> { Err(NotScalar) })*
    };
}

impl Serializer for ToScalar {
    type Ok = Value;
    type Error = NotScalar;
    type SerializeSeq = Composite;
    type SerializeTuple = Composite;
    type SerializeTupleStruct = Composite;
    type SerializeTupleVariant = Composite;
    type SerializeMap = Composite;
    type SerializeStruct = Composite;
    type SerializeStructVariant = Composite;

    // The payload of a composite is written by bincode, which is not human-readable: types that ask get one answer.
    fn is_human_readable(&self) -> bool {
        false
    }

    integers!(serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
              serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64);

    composites! {
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(&'static str, usize) -> SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> SerializeStructVariant;
    }

    fn serialize_bool(self, value: bool) -> Result<Value, NotScalar> {
        Ok(Value::bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, NotScalar> {
        Ok(Value::float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, NotScalar> {
        Ok(Value::float(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, NotScalar> {
        Ok(Value::text(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, value: &str) -> Result<Value, NotScalar> {
        Ok(Value::text(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, NotScalar> {
        Ok(Value::bytes(value))
    }

    fn serialize_none(self) -> Result<Value, NotScalar> {
        Ok(Value::null())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, NotScalar> {
        let inner = value.serialize(self)?;
        // Some(None) must not come back as None.
        if inner.tag() == Tag::Null { Err(NotScalar) } else { Ok(inner) }
    }

    fn serialize_unit(self) -> Result<Value, NotScalar> {
        Ok(Value::null())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, NotScalar> {
        Ok(Value::null())
    }

    fn serialize_unit_variant(self, _: &str, _: u32, variant: &'static str) -> Result<Value, NotScalar> {
        Ok(Value::text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &str, value: &T) -> Result<Value, NotScalar> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Value, NotScalar> {
        Err(NotScalar)
    }
}

/// Reads a user's type from an opened scalar.
pub(super) struct FromScalar<'a>(pub(super) Opened<'a>);

impl<'de> de::Deserializer<'de> for FromScalar<'de> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Opened::Null => visitor.visit_unit(),
            Opened::Bool(value) => visitor.visit_bool(value),
            Opened::Int(value) => visitor.visit_i64(value),
            Opened::Uint(value) => visitor.visit_u64(value),
            Opened::Float(value) => visitor.visit_f64(value),
            Opened::Text(text) | Opened::Json(text) => visitor.visit_borrowed_str(text),
            Opened::Bytes(bytes) | Opened::Bincode(bytes) => visitor.visit_borrowed_bytes(bytes),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Opened::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Opened::Text(text) => visitor.visit_enum(text.into_deserializer()),
            _ => Err(de::Error::custom("an enum's variant is text")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
