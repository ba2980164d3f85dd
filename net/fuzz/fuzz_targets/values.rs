//! Any bytes are a sound value or an error, and a sound value can be looked at in every way.
#![no_main]

use abide_net::{Value, codec};
use std::collections::BTreeMap;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let whole = codec::decode::<Vec<(Value, Option<Value>)>>(bytes);
    if let Ok((values, after)) = codec::decode_prefix::<Vec<(Value, Option<Value>)>>(bytes) {
        assert_eq!(whole.ok(), after.is_empty().then_some(values));
    } else {
        assert!(whole.is_err());
    }
    if let Ok(value) = Value::from_bytes(bytes) {
        assert_eq!(value.as_bytes(), bytes);
        let _ = value.to_json();
        let _ = value.decode::<i64>();
        let _ = value.decode::<Option<String>>();
        let _ = value.decode::<BTreeMap<String, Vec<u8>>>();
    }
});
