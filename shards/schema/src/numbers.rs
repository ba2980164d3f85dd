//! Numbers of a vector or a matrix: all integers, or all floats.

use abide_net::{Value, value::Opened};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What kind of numbers an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberKind {
    /// 64-bit signed integers.
    I64,
    /// 64-bit floats.
    F64,
}

/// One number. As JSON it is just that: a number with a fraction or an exponent is a float, any other an integer. Floats that JSON
/// has no notation for are written as in a [`Value`]: `{"$float": "NaN"}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    I64(i64),
    /// A float.
    F64(f64),
}

/// Several numbers of one kind. As JSON they are an array of numbers: of floats if one of them is.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// Integers.
    I64(Vec<i64>),
    /// Floats.
    F64(Vec<f64>),
}

/// Integers up to this one are floats of the same size.
const EXACT: i64 = 1 << 53;

fn as_float(integer: i64) -> Option<f64> {
    (-EXACT..=EXACT).contains(&integer).then_some(integer as f64)
}

fn as_integer(float: f64) -> Option<i64> {
    let integer = float as i64;
    (as_float(integer)? == float).then_some(integer)
}

impl Number {
    /// The same number as an integer, if it is one.
    pub fn integer(self) -> Option<i64> {
        match self {
            Number::I64(integer) => Some(integer),
            Number::F64(float) => as_integer(float),
        }
    }

    /// The same number as a float, if it is one.
    pub fn float(self) -> Option<f64> {
        match self {
            Number::I64(integer) => as_float(integer),
            Number::F64(float) => Some(float),
        }
    }
}

impl Numbers {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Numbers::I64(integers) => integers.len(),
            Numbers::F64(floats) => floats.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same numbers as integers, if they all are.
    pub fn integers(self) -> Option<Vec<i64>> {
        match self {
            Numbers::I64(integers) => Some(integers),
            Numbers::F64(floats) => floats.into_iter().map(as_integer).collect(),
        }
    }

    /// The same numbers as floats, if they all are.
    pub fn floats(self) -> Option<Vec<f64>> {
        match self {
            Numbers::I64(integers) => integers.into_iter().map(as_float).collect(),
            Numbers::F64(floats) => Some(floats),
        }
    }
}

impl From<Vec<i64>> for Numbers {
    fn from(integers: Vec<i64>) -> Self {
        Numbers::I64(integers)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(floats: Vec<f64>) -> Self {
        Numbers::F64(floats)
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Self {
        Number::I64(integer)
    }
}

impl From<f64> for Number {
    fn from(float: f64) -> Self {
        Number::F64(float)
    }
}

/// As they travel: the variant, then the number or numbers.
#[derive(Serialize, Deserialize)]
enum Wire<I, F> {
    I64(I),
    F64(F),
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, serializer.is_human_readable()) {
            (Number::I64(integer), true) => integer.serialize(serializer),
            // JSON has no notation for all floats; values have.
            (Number::F64(float), true) => Value::float(*float).serialize(serializer),
            (Number::I64(integer), false) => Wire::<_, f64>::I64(*integer).serialize(serializer),
            (Number::F64(float), false) => Wire::<i64, _>::F64(*float).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(match Wire::deserialize(deserializer)? {
                Wire::I64(integer) => Number::I64(integer),
                Wire::F64(float) => Number::F64(float),
            });
        }
        match Value::deserialize(deserializer)?.open() {
            Opened::Int(integer) => Ok(Number::I64(integer)),
            Opened::Float(float) => Ok(Number::F64(float)),
            // Not the nearest float: who writes an integer means that one.
            Opened::Uint(integer) => {
                Err(D::Error::custom(format!("{integer} is beyond the integers of 64 bits")))
            }
            other => Err(D::Error::custom(format!("{other:?} is no number"))),
        }
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, serializer.is_human_readable()) {
            (Numbers::I64(integers), true) => integers.serialize(serializer),
            (Numbers::F64(floats), true) => {
                serializer.collect_seq(floats.iter().map(|float| Number::F64(*float)))
            }
            (Numbers::I64(integers), false) => Wire::<_, Vec<f64>>::I64(integers).serialize(serializer),
            (Numbers::F64(floats), false) => Wire::<Vec<i64>, _>::F64(floats).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(match Wire::deserialize(deserializer)? {
                Wire::I64(integers) => Numbers::I64(integers),
                Wire::F64(floats) => Numbers::F64(floats),
            });
        }
        let written = Vec::<Number>::deserialize(deserializer)?;
        let integers = written.iter().map(|number| match number {
            Number::I64(integer) => Some(*integer),
            Number::F64(_) => None,
        });
        if let Some(integers) = integers.collect() {
            return Ok(Numbers::I64(integers));
        }
        let floats = written.into_iter().map(|number| {
            number
                .float()
                .ok_or_else(|| D::Error::custom(format!("{number:?} is no exact float, as the others are")))
        });
        floats.collect::<Result<_, _>>().map(Numbers::F64)
    }
}

#[cfg(test)]
mod tests;
