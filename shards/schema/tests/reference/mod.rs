//! A second encoder of arguments and results, from JSON by the names of their types.

use abide_net::{Bytes, Value, codec};
use abide_schema::{
    BlockedBy, ConditionWait, FutureState, Holder, Leader, MergeOp, Number, NumberKind, Numbers, ObjectInfo,
    ObjectName, ShardInfo, WaitInfo,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};

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
        match self {
            Kind::Tuple(of) if of.is_empty() => Just(Json::Null).boxed(),
            Kind::Tuple(of) => of.iter().map(Kind::json).collect::<Vec<_>>().prop_map(Json::Array).boxed(),
            Kind::Named(name, of) => match (&name[..], &of[..]) {
                ("Option", [of]) => option::of(of.json()).prop_map(|json| json.unwrap_or(Json::Null)).boxed(),
                ("Vec", [of]) => vec(of.json(), 0..4).prop_map(Json::Array).boxed(),
                ("Result", [ok, error]) => prop_oneof![
                    ok.json().prop_map(|json| json!({ "Ok": json })),
                    error.json().prop_map(|json| json!({ "Err": json })),
                ]
                .boxed(),
                ("Page", [of, cursor]) => (vec(of.json(), 0..4), option::of(cursor.json()))
                    .prop_map(|(entries, next)| json!({ "entries": entries, "next": next }))
                    .boxed(),
                (leaf, []) => leaf_json(leaf),
                _ => panic!("{self:?}"),
            },
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

fn bytes_json(mark: &'static str) -> impl Strategy<Value = Json> {
    "([0-9a-f]{2}){0,5}".prop_map(move |hex| json!({ mark: hex }))
}

fn odd_float() -> impl Strategy<Value = Json> {
    select(vec!["NaN", "inf", "-inf"]).prop_map(|float| json!({ "$float": float }))
}

/// Any JSON, with and without the marks that values are written with.
pub(crate) fn any_json() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![scalar_json(), bytes_json("$bytes"), odd_float()];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Json::Array),
            vec(("[a-z$]{1,5}", inner), 0..3).prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

fn scalar_json() -> BoxedStrategy<Json> {
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

/// A value of any kind as it is written when it comes back.
fn value_json() -> BoxedStrategy<Json> {
    let fields = vec(("[a-z]{1,5}", scalar_json()), 0..3);
    prop_oneof![
        4 => scalar_json(),
        1 => bytes_json("$bytes"),
        1 => bytes_json("$bincode"),
        1 => odd_float(),
        1 => vec(scalar_json(), 0..3).prop_map(Json::Array),
        1 => fields.prop_map(|fields| Json::Object(fields.into_iter().collect())),
    ]
    .boxed()
}

fn hex_session() -> impl Strategy<Value = String> {
    any::<u128>().prop_map(|session| format!("{session:032x}"))
}

/// Strategies for the types of one word.
fn leaf_json(name: &str) -> BoxedStrategy<Json> {
    fn of<T: std::fmt::Debug + Arbitrary + Into<Json> + 'static>() -> BoxedStrategy<Json> {
        any::<T>().prop_map(Into::into).boxed()
    }
    let text = || "\\PC{0,8}";
    let number = || any::<u64>();
    match name {
        "bool" => of::<bool>(),
        "u8" => of::<u8>(),
        "u16" => of::<u16>(),
        "u32" => of::<u32>(),
        "u64" => of::<u64>(),
        "i32" => of::<i32>(),
        "i64" => of::<i64>(),
        "f64" => finite().prop_map(Json::from).boxed(),
        "String" => text().prop_map(Json::from).boxed(),
        "Value" => value_json(),
        "Bytes" => bytes_json("$bytes").boxed(),
        "Number" => {
            prop_oneof![any::<i64>().prop_map(Json::from), finite().prop_map(Json::from), odd_float()].boxed()
        }
        "Numbers" => {
            let float = || prop_oneof![4 => finite().prop_map(Json::from), 1 => odd_float()];
            prop_oneof![vec(any::<i64>().prop_map(Json::from), 0..4), vec(float(), 1..4)]
                .prop_map(Json::Array)
                .boxed()
        }
        "NumberKind" => select(vec!["i64", "f64"]).prop_map(Json::from).boxed(),
        "MergeOp" => {
            let names = ["sum", "product", "min", "max", "and", "or", "xor", "concat", "first", "last"];
            select(names.to_vec()).prop_map(Json::from).boxed()
        }
        "FutureState" => prop_oneof![
            value_json().prop_map(|value| json!({ "Value": value })),
            text().prop_map(|text| json!({ "Error": text })),
            Just(json!("Cancelled")),
        ]
        .boxed(),
        "TopicPage" => (vec((number(), value_json()), 0..4), number(), number())
            .prop_map(|(entries, next, missed)| json!({ "entries": entries, "next": next, "missed": missed }))
            .boxed(),
        "Holder" => (hex_session(), number(), number(), any::<u32>())
            .prop_map(|(session, owner, token, holds)| json!(Holder { session, owner, token, holds }))
            .boxed(),
        "Leader" => (hex_session(), text(), number())
            .prop_map(|(session, candidate, token)| json!(Leader { session, candidate, token }))
            .boxed(),
        "ConditionWait" => (number(), any::<bool>())
            .prop_map(|(token, notified)| json!(ConditionWait { token, notified }))
            .boxed(),
        "ObjectName" => object_name().prop_map(|name| json!(name)).boxed(),
        "ObjectInfo" => object_info().boxed(),
        "ShardInfo" => shard_info().boxed(),
        "WaitInfo" => wait_info().boxed(),
        _ => panic!("nothing is known of the type {name}"),
    }
}

fn object_name() -> impl Strategy<Value = ObjectName> {
    (any::<u16>(), "\\PC{1,8}").prop_map(|(type_id, key)| ObjectName { type_id, key })
}

fn object_info() -> impl Strategy<Value = Json> {
    let numbers = any::<([u64; 5], u32, bool, Option<u64>)>();
    ("[A-Z][a-z]{3}", "\\PC{1,8}", numbers).prop_map(
        |(type_name, key, (numbers, replicas, persistent, expires_unix_ms))| {
            let [bytes, created_unix_ms, last_call_unix_ms, version, waiters] = numbers;
            json!(ObjectInfo {
                type_name,
                key,
                bytes,
                created_unix_ms,
                last_call_unix_ms,
                version,
                waiters,
                replicas,
                persistent,
                expires_unix_ms,
            })
        },
    )
}

fn shard_info() -> impl Strategy<Value = Json> {
    (any::<(u32, [u64; 7])>(), any::<[u64; 4]>(), "\\PC{0,8}", "\\PC{0,8}").prop_map(
        |(counts, sizes, program, persistence)| {
            let (shard, [objects, sessions, waiters, calls, epoch, uptime_ms, persistent_objects]) = counts;
            let [bytes, bytes_max, persistent_bytes, persistent_bytes_max] = sizes;
            json!(ShardInfo {
                shard,
                objects,
                sessions,
                waiters,
                calls,
                epoch,
                program,
                uptime_ms,
                persistent_objects,
                persistence,
                bytes,
                bytes_max,
                persistent_bytes,
                persistent_bytes_max,
            })
        },
    )
}

fn wait_info() -> impl Strategy<Value = Json> {
    let holder = (hex_session(), option::of(any::<u64>()), "\\PC{0,8}")
        .prop_map(|(session, owner, what)| BlockedBy { session, owner, what });
    let words = (object_name(), "[A-Z][a-z]{3}", hex_session(), "[a-z]{3}");
    let numbers = any::<(u32, u64, Option<u64>, u64, Option<u64>)>();
    (words, numbers, vec(holder, 0..3)).prop_map(|(words, numbers, holders)| {
        let (object, type_name, session, method) = words;
        let (slot, sequence, owner, since_unix_ms, deadline_unix_ms) = numbers;
        json!(WaitInfo {
            object,
            type_name,
            session,
            slot,
            sequence,
            method,
            owner,
            since_unix_ms,
            deadline_unix_ms,
            holders,
        })
    })
}

/// Appends what such a value is in a frame: numbers as bincode has them, the length before what has one, fields and elements in
/// their order.
pub(crate) fn encode(kind: &Kind, json: &Json, out: &mut Vec<u8>) {
    match kind {
        Kind::Tuple(of) => {
            let parts = json.as_array().map(Vec::as_slice).unwrap_or_default();
            of.iter().zip(parts).for_each(|(kind, json)| encode(kind, json, out));
        }
        Kind::Named(name, of) => match (&name[..], &of[..]) {
            ("Option", [of]) => {
                out.push(u8::from(!json.is_null()));
                if !json.is_null() {
                    encode(of, json, out);
                }
            }
            ("Vec", [of]) => encode_sequence(of, json, out),
            ("Result", [ok, error]) => match json.get("Ok") {
                Some(json) => {
                    out.push(0);
                    encode(ok, json, out);
                }
                None => {
                    out.push(1);
                    encode(error, &json["Err"], out);
                }
            },
            ("Page", [of, cursor]) => {
                encode_sequence(of, &json["entries"], out);
                encode(&Kind::Named("Option".to_owned(), vec![cursor.clone()]), &json["next"], out);
            }
            ("TopicPage", []) => {
                encode_sequence(&Kind::parse("(u64, Value)"), &json["entries"], out);
                encode_leaf::<(u64, u64)>(&json!([json["next"], json["missed"]]), out);
            }
            (leaf, []) => encode_named(leaf, json, out),
            _ => panic!("{kind:?}"),
        },
    }
}

fn encode_sequence(of: &Kind, json: &Json, out: &mut Vec<u8>) {
    let elements = json.as_array().expect("an array");
    codec::encode_into(&(elements.len() as u64), out).unwrap();
    elements.iter().for_each(|json| encode(of, json, out));
}

fn encode_leaf<T: Serialize + DeserializeOwned>(json: &Json, out: &mut Vec<u8>) {
    let value: T = serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{json}: {error}"));
    codec::encode_into(&value, out).unwrap();
}

/// A number of a vector, after the variant: 0 for integers, 1 for floats.
fn encode_number(json: &Json, out: &mut Vec<u8>) {
    match (json.as_i64(), json.as_f64(), json["$float"].as_str()) {
        (Some(integer), ..) => codec::encode_into(&integer, out).unwrap(),
        (None, Some(float), _) => codec::encode_into(&float, out).unwrap(),
        (_, _, Some(float)) => codec::encode_into(&float.parse::<f64>().unwrap(), out).unwrap(),
        _ => panic!("{json}"),
    }
}

fn encode_named(name: &str, json: &Json, out: &mut Vec<u8>) {
    match name {
        "bool" => encode_leaf::<bool>(json, out),
        "u8" => encode_leaf::<u8>(json, out),
        "u16" => encode_leaf::<u16>(json, out),
        "u32" => encode_leaf::<u32>(json, out),
        "u64" => encode_leaf::<u64>(json, out),
        "i32" => encode_leaf::<i32>(json, out),
        "i64" => encode_leaf::<i64>(json, out),
        "f64" => encode_leaf::<f64>(json, out),
        "String" => encode_leaf::<String>(json, out),
        "Value" => {
            let value = Value::from_json(json).unwrap();
            codec::encode_into(&(value.as_bytes().len() as u64), out).unwrap();
            out.extend_from_slice(value.as_bytes());
        }
        "Bytes" => encode_leaf::<Bytes>(json, out),
        "Number" => {
            let number: Number = serde_json::from_value(json.clone()).unwrap();
            out.push(u8::from(matches!(number, Number::F64(_))));
            encode_number(json, out);
        }
        "Numbers" => {
            let numbers: Numbers = serde_json::from_value(json.clone()).unwrap();
            out.push(u8::from(matches!(numbers, Numbers::F64(_))));
            codec::encode_into(&(numbers.len() as u64), out).unwrap();
            json.as_array().unwrap().iter().for_each(|json| encode_number(json, out));
        }
        "NumberKind" => encode_leaf::<NumberKind>(json, out),
        "MergeOp" => encode_leaf::<MergeOp>(json, out),
        "FutureState" => encode_leaf::<FutureState>(json, out),
        "Holder" => encode_leaf::<Holder>(json, out),
        "Leader" => encode_leaf::<Leader>(json, out),
        "ConditionWait" => encode_leaf::<ConditionWait>(json, out),
        "ObjectName" => encode_leaf::<ObjectName>(json, out),
        "ObjectInfo" => encode_leaf::<ObjectInfo>(json, out),
        "ShardInfo" => encode_leaf::<ShardInfo>(json, out),
        "WaitInfo" => encode_leaf::<WaitInfo>(json, out),
        _ => panic!("nothing is known of the type {name}"),
    }
}
