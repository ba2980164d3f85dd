//! Values as JSON: how command lines and other languages write and read them.

use super::{Opened, Tag, Value};
use crate::error::CallError;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

/// Whether these bytes are a JSON array or object, as [`Tag::Json`] wants. Keeps nothing of them.
pub(super) fn is_document(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(b'[' | b'{')) && serde_json::from_slice::<Whole>(payload).is_ok()
}

/// Any JSON, looked at and forgotten. Unlike serde's `IgnoredAny` it refuses what nothing can hold, such as the
/// number 1E999 (found by fuzzing).
struct Whole;

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

macro_rules! scalars {
    ($($method:ident $type:ty),*) => {
        $(fn $method<E: serde::de::Error>(self, _: $type) -> Result<Whole, E> { Ok(Whole) })*
    };
}

impl<'de> Visitor<'de> for Whole {
    type Value = Whole;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    scalars!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_str &str);

    fn visit_unit<E: serde::de::Error>(self) -> Result<Whole, E> {
        Ok(Whole)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Whole, A::Error> {
        while let Some(Whole) = values.next_element()? {}
        Ok(Whole)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Whole, A::Error> {
        while let Some((Whole, Whole)) = fields.next_entry()? {}
        Ok(Whole)
    }
}

fn marked(mark: &str, text: String) -> Json {
    Json::Object(Map::from_iter([(mark.to_owned(), Json::String(text))]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, CallError> {
    let wrong = || CallError::bad_argument("hexadecimal digits come in pairs of 0-9 and a-f");
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(wrong());
    }
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong());
    (0..text.len()).step_by(2).map(digits).collect()
}

impl Value {
    /// The value as JSON. What JSON has no notation for is an object with one key:
    /// `{"$bytes": "<hex>"}`, `{"$bincode": "<hex>"}`, `{"$float": "NaN"}`.
    pub fn to_json(&self) -> Json {
        match self.open() {
            Opened::Null => Json::Null,
            Opened::Bool(value) => value.into(),
            Opened::Int(value) => value.into(),
            Opened::Uint(value) => value.into(),
            Opened::Float(value) if value.is_finite() => value.into(),
            Opened::Float(value) => marked("$float", value.to_string()),
            Opened::Text(value) => value.into(),
            Opened::Bytes(bytes) => marked("$bytes", hex(bytes)),
            Opened::Bincode(bytes) => marked("$bincode", hex(bytes)),
            Opened::Json(text) => serde_json::from_str(text).expect("checked when it was made"),
        }
    }

    /// The value that this JSON stands for; the reverse of [`Value::to_json`].
    pub fn from_json(json: &Json) -> Result<Value, CallError> {
        if let Json::Object(fields) = json
            && fields.len() == 1
            && let Some((mark, Json::String(text))) = fields.iter().next()
        {
            match mark.as_str() {
                "$bytes" => return Ok(Value::tagged(Tag::Bytes, &unhex(text)?)),
                "$bincode" => return Ok(Value::tagged(Tag::Bincode, &unhex(text)?)),
                "$float" => return text.parse().map(Value::float).map_err(CallError::bad_argument),
                _ => {}
            }
        }
        Ok(match json {
            Json::Null => Value::null(),
            Json::Bool(value) => Value::bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(value), ..) => Value::tagged(Tag::Int, &value.to_le_bytes()),
                (_, Some(value), _) => Value::tagged(Tag::Uint, &value.to_le_bytes()),
                (.., Some(value)) => Value::float(value),
                _ => return Err(CallError::bad_argument(format!("the number {number}"))),
            },
            Json::String(text) => Value::text(text),
            // serde_json keeps objects sorted by key, so equal documents have equal bytes.
            Json::Array(_) | Json::Object(_) => Value::tagged(Tag::Json, json.to_string().as_bytes()),
        })
    }
}
