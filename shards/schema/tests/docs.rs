//! The page of all objects is that of the declarations.

use abide_schema::{
    BUILT_IN, describe,
    types::{find_type, object},
};
use std::{collections::BTreeSet, path::PathBuf};

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/objects.md")
}

const HOW: &str = "docs/objects.md is made of the declarations: `cargo test -p abide-schema --test docs -- --ignored` writes it anew";

#[test]
fn the_page_of_objects_says_what_is_declared() {
    let written = std::fs::read_to_string(page()).unwrap_or_else(|error| panic!("{HOW} ({error})"));
    let declared = describe::markdown();
    for (line, (written, declared)) in written.lines().zip(declared.lines()).enumerate() {
        assert_eq!(written, declared, "line {}: {HOW}", line + 1);
    }
    assert!(written == declared, "lines are missing: {HOW}");
}

#[test]
#[ignore = "writes docs/objects.md"]
fn write_the_page_of_objects() {
    std::fs::create_dir_all(page().parent().unwrap()).unwrap();
    std::fs::write(page(), describe::markdown()).unwrap();
}

#[test]
fn every_type_of_an_argument_or_result_is_explained() {
    let scalars = ["bool", "i32", "i64", "u8", "u16", "u32", "u64", "f64", "String"];
    let terms = describe::TERMS.iter().map(|(name, _)| name.split('<').next().unwrap());
    let explained: BTreeSet<&str> = terms.chain(scalars).collect();
    for info in BUILT_IN.into_iter().chain([&object::INFO]) {
        let methods = info.methods.iter();
        let arguments = methods.clone().flat_map(|method| method.arguments.iter().map(|(_, kind)| *kind));
        let outputs = methods.map(|method| method.output);
        for kind in arguments.chain(outputs).chain(info.creation.iter().map(|(_, kind)| *kind)) {
            for word in kind.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                assert!(explained.contains(word), "{word} of {} is not explained: {kind}", info.name);
            }
        }
    }
}

#[test]
fn defaults_of_creation_arguments_are_described_and_filled_in() {
    let semaphore = find_type("Semaphore").unwrap();
    assert_eq!(semaphore.creation_signature(), "permits: u64, unowned: bool = false");
    let short = (semaphore.creation_from_json)(vec![3.into()]).unwrap();
    assert_eq!(short, (semaphore.creation_from_json)(vec![3.into(), false.into()]).unwrap());
    assert_ne!(short, (semaphore.creation_from_json)(vec![3.into(), true.into()]).unwrap());
    let missing = (semaphore.creation_from_json)(vec![]).unwrap_err().to_string();
    assert!(missing.contains("permits: u64"), "{missing}");
    let counter = find_type("AtomicLong").unwrap();
    assert_eq!((counter.creation_from_json)(vec![]).unwrap(), counter.default_creation.unwrap()());
    for info in BUILT_IN {
        let needed = (info.creation_defaults)().iter().filter(|default| default.is_none()).count();
        assert_eq!(info.default_creation.is_some(), needed == 0, "{}", info.name);
    }
}
