//! A second encoder of arguments and results, from JSON by the names of their types. It shares no type with the first but values.

use abide_net::{Value, codec};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};

/// Types whose values are one of these words; in a frame the word's place.
const WORDS: [(&str, &[&str]); 2] = [
    ("NumberKind", &["i64", "f64"]),
    ("MergeOp", &["sum", "product", "min", "max", "and", "or", "xor", "concat", "first", "last"]),
];

/// Types of fields, which are written with their names in JSON and in this order in a frame.
const FIELDS: [(&str, &[(&str, &str)]); 9] = [
    ("Holder", &[("session", "String"), ("owner", "u64"), ("token", "u64"), ("holds", "u32")]),
    ("Leader", &[("session", "String"), ("candidate", "String"), ("token", "u64")]),
    ("ConditionWait", &[("token", "u64"), ("notified", "bool")]),
    ("TopicPage", &[("entries", "Vec<(u64, Value)>"), ("next", "u64"), ("missed", "u64")]),
    ("ObjectName", &[("type_id", "u16"), ("key", "String")]),
    ("BlockedBy", &[("session", "String"), ("owner", "Option<u64>"), ("what", "String")]),
    (
        "ObjectInfo",
        &[
            ("type_name", "String"),
            ("key", "String"),
            ("bytes", "u64"),
            ("created_unix_ms", "u64"),
            ("last_call_unix_ms", "u64"),
            ("version", "u64"),
            ("waiters", "u64"),
            ("replicas", "u32"),
            ("persistent", "bool"),
            ("expires_unix_ms", "Option<u64>"),
        ],
    ),
    (
        "ShardInfo",
        &[
            ("shard", "u32"),
            ("objects", "u64"),
            ("sessions", "u64"),
            ("waiters", "u64"),
            ("calls", "u64"),
            ("epoch", "u64"),
            ("program", "String"),
            ("uptime_ms", "u64"),
            ("persistent_objects", "u64"),
            ("persistence", "String"),
            ("bytes", "u64"),
            ("bytes_max", "u64"),
            ("persistent_bytes", "u64"),
            ("persistent_bytes_max", "u64"),
        ],
    ),
    (
        "WaitInfo",
        &[
            ("object", "ObjectName"),
            ("type_name", "String"),
            ("session", "String"),
            ("slot", "u32"),
            ("sequence", "u64"),
            ("method", "String"),
            ("owner", "Option<u64>"),
            ("since_unix_ms", "u64"),
            ("deadline_unix_ms", "Option<u64>"),
            ("holders", "Vec<BlockedBy>"),
        ],
    ),
];

/// Types of one of several variants, `{"Name": value}`; in a frame the variant's place goes before the value.
fn variants(name: &str, of: &[Kind]) -> Option<Vec<(&'static str, Option<Kind>)>> {
    match (name, of) {
        ("Result", [ok, error]) => Some(vec![("Ok", Some(ok.clone())), ("Err", Some(error.clone()))]),
        ("FutureState", []) => {
            let (value, error) = (Kind::parse("Value"), Kind::parse("String"));
            Some(vec![("Value", Some(value)), ("Error", Some(error)), ("Cancelled", None)])
        }
        _ => None,
    }
}

fn fields(name: &str, of: &[Kind]) -> Option<Vec<(&'static str, Kind)>> {
    if let ("Page", [entry, cursor]) = (name, of) {
        let entries = Kind::Named("Vec".to_owned(), vec![entry.clone()]);
        return Some(vec![
            ("entries", entries),
            ("next", Kind::Named("Option".to_owned(), vec![cursor.clone()])),
        ]);
    }
    let (_, fields) = FIELDS.iter().find(|(declared, _)| *declared == name)?;
    Some(fields.iter().map(|(field, kind)| (*field, Kind::parse(kind))).collect())
}

fn words(name: &str) -> Option<&'static [&'static str]> {
    WORDS.iter().find(|(declared, _)| *declared == name).map(|(_, words)| *words)
}

/// A type of an argument or a result, as it is declared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A type by its name, with those that it is made of.
    Named(String, Vec<Kind>),
    /// A tuple.
    Tuple(Vec<Kind>),
}

impl Kind {
    pub(crate) fn parse(declared: &str) -> Kind {
        let compact: String = declared.split_whitespace().collect();
        let mut rest = &compact[..];
        let kind = parse(&mut rest);
        assert!(rest.is_empty(), "{rest} is left of {declared}");
        kind
    }

    /// Any JSON that such a value is written as.
    pub(crate) fn json(&self) -> BoxedStrategy<Json> {
        let (name, of) = match self {
            Kind::Tuple(of) if of.is_empty() => return Just(Json::Null).boxed(),
            Kind::Tuple(of) => {
                return of.iter().map(Kind::json).collect::<Vec<_>>().prop_map(Json::Array).boxed();
            }
            Kind::Named(name, of) => (&name[..], &of[..]),
        };
        if let Some(fields) = fields(name, of) {
            let (names, values): (Vec<_>, Vec<_>) =
                fields.iter().map(|(name, kind)| (*name, kind.json())).unzip();
            let object =
                move |values| names.iter().map(|name| (*name).to_owned()).zip::<Vec<Json>>(values).collect();
            return values.prop_map(object).prop_map(Json::Object).boxed();
        }
        if let Some(variants) = variants(name, of) {
            let variant = |(name, kind): (&'static str, Option<Kind>)| match kind {
                Some(kind) => kind.json().prop_map(move |json| json!({ name: json })).boxed(),
                None => Just(json!(name)).boxed(),
            };
            return proptest::strategy::Union::new(variants.into_iter().map(variant)).boxed();
        }
        if let Some(words) = words(name) {
            return select(words).prop_map(Json::from).boxed();
        }
        match (name, of) {
            ("Option", [of]) => option::of(of.json()).prop_map(|json| json.unwrap_or(Json::Null)).boxed(),
            ("Vec", [of]) => vec(of.json(), 0..4).prop_map(Json::Array).boxed(),
            (scalar, []) => scalar_of(scalar),
            _ => panic!("{self:?}"),
        }
    }
}

fn parse(rest: &mut &str) -> Kind {
    if let Some(inner) = rest.strip_prefix('(') {
        *rest = inner;
        return Kind::Tuple(parse_until(rest, ')'));
    }
    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    let mut of = Vec::new();
    if let Some(inner) = rest.strip_prefix('<') {
        *rest = inner;
        of = parse_until(rest, '>');
    }
    Kind::Named(name.to_owned(), of)
}

fn parse_until(rest: &mut &str, end: char) -> Vec<Kind> {
    let mut kinds = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(end) {
            *rest = after;
            return kinds;
        }
        kinds.push(parse(rest));
        *rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("JSON has no other", |float| float.is_finite()),
        Just(-0.0),
        Just(3.0)
    ]
}

fn marked_hex(mark: &'static str) -> impl Strategy<Value = Json> {
    "([0-9a-f]{2}){0,5}".prop_map(move |hex| json!({ mark: hex }))
}

fn odd_float() -> impl Strategy<Value = Json> {
    select(vec!["NaN", "inf", "-inf"]).prop_map(|float| json!({ "$float": float }))
}

fn number() -> impl Strategy<Value = Json> {
    prop_oneof![3 => any::<i64>().prop_map(Json::from), 3 => finite().prop_map(Json::from), 1 => odd_float()]
}

fn numbers() -> impl Strategy<Value = Json> {
    let float = prop_oneof![4 => finite().prop_map(Json::from), 1 => odd_float()];
    prop_oneof![vec(any::<i64>().prop_map(Json::from), 0..4), vec(float, 1..4)].prop_map(Json::Array)
}

fn plain_json() -> BoxedStrategy<Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        finite().prop_map(Json::from),
        "\\PC{0,8}".prop_map(Json::from),
    ]
    .boxed()
}

/// A value of any kind, as it is written when it comes back.
fn value_json() -> BoxedStrategy<Json> {
    let fields = vec(("[a-z]{1,5}", plain_json()), 0..3);
    prop_oneof![
        4 => plain_json(),
        1 => marked_hex("$bytes"),
        1 => marked_hex("$bincode"),
        1 => odd_float(),
        1 => vec(plain_json(), 0..3).prop_map(Json::Array),
        1 => fields.prop_map(|fields| Json::Object(fields.into_iter().collect())),
    ]
    .boxed()
}

/// Any JSON, with and without the marks that values are written with.
pub(crate) fn any_json() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![plain_json(), marked_hex("$bytes"), odd_float()];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Json::Array),
            vec(("[a-z$]{1,5}", inner), 0..3).prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

fn scalar_of(name: &str) -> BoxedStrategy<Json> {
    fn of<T: std::fmt::Debug + Arbitrary + Into<Json> + 'static>() -> BoxedStrategy<Json> {
        any::<T>().prop_map(Into::into).boxed()
    }
    match name {
        "bool" => of::<bool>(),
        "u8" => of::<u8>(),
        "u16" => of::<u16>(),
        "u32" => of::<u32>(),
        "u64" => of::<u64>(),
        "i32" => of::<i32>(),
        "i64" => of::<i64>(),
        "f64" => finite().prop_map(Json::from).boxed(),
        "String" => "\\PC{0,8}".prop_map(Json::from).boxed(),
        "Value" => value_json(),
        "Bytes" => marked_hex("$bytes").boxed(),
        "Number" => number().boxed(),
        "Numbers" => numbers().boxed(),
        _ => panic!("nothing is known of the type {name}"),
    }
}

/// Appends what such a value is in a frame: numbers as bincode has them, the length before what has one, fields and elements in
/// their order.
pub(crate) fn encode(kind: &Kind, json: &Json, out: &mut Vec<u8>) {
    let (name, of) = match kind {
        Kind::Tuple(of) => {
            let parts = json.as_array().map(Vec::as_slice).unwrap_or_default();
            return of.iter().zip(parts).for_each(|(kind, json)| encode(kind, json, out));
        }
        Kind::Named(name, of) => (&name[..], &of[..]),
    };
    if let Some(fields) = fields(name, of) {
        return fields.iter().for_each(|(field, kind)| encode(kind, &json[field], out));
    }
    if let Some(variants) = variants(name, of) {
        let is_it = |(name, _): &(&str, Option<Kind>)| json.get(name).is_some() || json == name;
        let place = variants.iter().position(is_it).expect("one of the variants");
        out.push(place as u8);
        if let (name, Some(kind)) = &variants[place] {
            encode(kind, &json[name], out);
        }
        return;
    }
    if let Some(words) = words(name) {
        return out.push(words.iter().position(|word| json == word).expect("one of the words") as u8);
    }
    match (name, of) {
        ("Option", [of]) => {
            out.push(u8::from(!json.is_null()));
            if !json.is_null() {
                encode(of, json, out);
            }
        }
        ("Vec", [of]) => {
            let elements = json.as_array().expect("an array");
            encode_length(elements.len(), out);
            elements.iter().for_each(|json| encode(of, json, out));
        }
        (scalar, []) => encode_scalar(scalar, json, out),
        _ => panic!("{kind:?}"),
    }
}

fn encode_length(length: usize, out: &mut Vec<u8>) {
    codec::encode_into(&(length as u64), out).unwrap();
}

fn encode_as<T: Serialize + DeserializeOwned>(json: &Json, out: &mut Vec<u8>) {
    let value: T = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"));
    codec::encode_into(&value, out).unwrap();
}

fn encode_number(json: &Json, out: &mut Vec<u8>) {
    match (json.as_i64(), json.as_f64(), json["$float"].as_str()) {
        (Some(integer), ..) => codec::encode_into(&integer, out).unwrap(),
        (None, Some(float), _) => codec::encode_into(&float, out).unwrap(),
        (_, _, Some(float)) => codec::encode_into(&float.parse::<f64>().unwrap(), out).unwrap(),
        _ => panic!("{json} is no number"),
    }
}

fn encode_scalar(name: &str, json: &Json, out: &mut Vec<u8>) {
    match name {
        "bool" => encode_as::<bool>(json, out),
        "u8" => encode_as::<u8>(json, out),
        "u16" => encode_as::<u16>(json, out),
        "u32" => encode_as::<u32>(json, out),
        "u64" => encode_as::<u64>(json, out),
        "i32" => encode_as::<i32>(json, out),
        "i64" => encode_as::<i64>(json, out),
        "f64" => encode_as::<f64>(json, out),
        "String" => encode_as::<String>(json, out),
        "Value" => {
            let value = Value::from_json(json).unwrap();
            encode_length(value.as_bytes().len(), out);
            out.extend_from_slice(value.as_bytes());
        }
        "Bytes" => {
            let value = Value::from_json(json).unwrap();
            encode_length(value.as_bytes().len() - 1, out);
            out.extend_from_slice(&value.as_bytes()[1..]);
        }
        // 0 before integers, 1 before floats.
        "Number" => {
            out.push(u8::from(!json.is_i64()));
            encode_number(json, out);
        }
        "Numbers" => {
            let numbers = json.as_array().expect("an array");
            out.push(u8::from(!numbers.iter().all(Json::is_i64)));
            encode_length(numbers.len(), out);
            numbers.iter().for_each(|json| encode_number(json, out));
        }
        _ => panic!("nothing is known of the type {name}"),
    }
}
