//! Arguments and results as JSON, of all types, against an encoder of its own that knows no more than the names of their types.
//! It also pins how they lie in frames, as clients in other languages write them.

mod reference;

use abide_net::CallError;
use abide_schema::{
    BUILT_IN, MethodInfo, TypeInfo,
    types::{object, shard},
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseError};
use reference::{Kind, any_json, encode};
use serde_json::Value as Json;

fn all_types() -> Vec<&'static TypeInfo> {
    BUILT_IN.into_iter().chain([&object::INFO, &shard::INFO]).collect()
}

fn all_methods() -> Vec<(&'static TypeInfo, &'static MethodInfo)> {
    all_types().into_iter().flat_map(|info| info.methods.iter().map(move |method| (info, method))).collect()
}

/// JSON for these declared arguments, in order.
fn arguments(declared: &[(&str, &str)]) -> BoxedStrategy<Vec<Json>> {
    declared.iter().map(|(_, kind)| Kind::parse(kind).json()).collect::<Vec<_>>().boxed()
}

fn is_bad_argument<T>(result: Result<T, CallError>) -> bool {
    matches!(result, Err(CallError::BadArgument { .. }))
}

fn reference_bytes(declared: &[(&str, &str)], given: &[Json]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ((_, kind), json) in declared.iter().zip(given) {
        encode(&Kind::parse(kind), json, &mut bytes);
    }
    bytes
}

/// How many of the last arguments may be left out.
fn optional_at_the_end(declared: &[(&str, &str)]) -> usize {
    declared.iter().rev().take_while(|(_, kind)| kind.starts_with("Option")).count()
}

fn check_method(method: &MethodInfo, given: &[Json], output: &Json) -> Result<(), TestCaseError> {
    let expected = reference_bytes(method.arguments, given);
    prop_assert_eq!((method.arguments_from_json)(given.to_vec()), Ok(expected), "{:?}", given);

    // What is left out at the end is nothing.
    let mut short = given.to_vec();
    for left_out in 1..=optional_at_the_end(method.arguments) {
        let at = given.len() - left_out;
        short[at] = Json::Null;
        let expected = reference_bytes(method.arguments, &short);
        prop_assert_eq!((method.arguments_from_json)(short[..at].to_vec()), Ok(expected));
    }
    let needed = method.arguments.len() - optional_at_the_end(method.arguments);
    if needed > 0 && Kind::parse(method.arguments[needed - 1].1) != Kind::parse("Value") {
        let missing = (method.arguments_from_json)(given[..needed - 1].to_vec());
        prop_assert!(is_bad_argument(missing), "an argument is missing");
    }
    let too_many = [given, &[Json::Null]].concat();
    prop_assert!(is_bad_argument((method.arguments_from_json)(too_many)), "an argument too many");

    let mut bytes = Vec::new();
    encode(&Kind::parse(method.output), output, &mut bytes);
    prop_assert_eq!((method.output_to_json)(&bytes), Ok(output.clone()));
    if let Some(cut) = bytes.len().checked_sub(1) {
        prop_assert!((method.output_to_json)(&bytes[..cut]).is_err(), "a result without its last byte");
    }
    bytes.push(0);
    prop_assert!((method.output_to_json)(&bytes).is_err(), "a result with a byte too many");
    Ok(())
}

fn a_call() -> impl Strategy<Value = (&'static TypeInfo, &'static MethodInfo, Vec<Json>, Json)> {
    select(all_methods()).prop_flat_map(|(info, method)| {
        (Just(info), Just(method), arguments(method.arguments), Kind::parse(method.output).json())
    })
}

fn a_creation() -> impl Strategy<Value = (&'static TypeInfo, Vec<Json>)> {
    select(all_types()).prop_flat_map(|info| (Just(info), arguments(info.creation)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arguments_and_results_are_the_same_as_json_and_in_frames((info, method, given, output) in a_call()) {
        check_method(method, &given, &output)
            .map_err(|error| TestCaseError::fail(format!("{}.{}: {error}", info.name, method.signature())))?;
    }

    #[test]
    fn creation_arguments_come_back_from_json((info, given) in a_creation()) {
        let bytes = (info.creation_from_json)(given.clone()).unwrap();
        prop_assert_eq!(&bytes, &reference_bytes(info.creation, &given), "{}", info.name);
        let names = info.creation.iter().map(|(name, _)| (*name).to_owned());
        let named = Json::Object(names.zip(given).collect());
        prop_assert_eq!((info.creation_to_json)(&bytes), Ok(named), "{}", info.name);
    }

    #[test]
    fn any_bytes_are_a_result_or_an_error((info, method) in select(all_methods()), bytes in vec(any::<u8>(), 0..60)) {
        let _ = (info.creation_to_json)(&bytes);
        if let Ok(json) = (method.output_to_json)(&bytes) {
            prop_assert!(!json.to_string().is_empty());
        }
    }

    #[test]
    fn any_json_is_arguments_or_a_bad_argument((info, method) in select(all_methods()), given in vec(any_json(), 0..5)) {
        for encoded in [(method.arguments_from_json)(given.clone()), (info.creation_from_json)(given)] {
            prop_assert!(encoded.is_ok() || is_bad_argument(encoded.clone()), "{:?}", encoded);
        }
    }
}

/// Two thousand random calls may leave a method out.
#[test]
fn every_method_was_tried() {
    let mut runner = proptest::test_runner::TestRunner::default();
    for (info, method) in all_methods() {
        let strategy = (arguments(method.arguments), Kind::parse(method.output).json());
        let tried = runner.run(&strategy, |(given, output)| check_method(method, &given, &output));
        tried.unwrap_or_else(|error| panic!("{}.{}: {error}", info.name, method.signature()));
    }
}
