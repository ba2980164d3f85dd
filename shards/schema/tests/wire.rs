//! Numbers of types and methods, and what they carry, are part of the wire format.

use abide_schema::{
    BUILT_IN,
    describe::kind_name,
    types::{object, shard},
};
use std::{collections::BTreeSet, fmt::Write, path::PathBuf};

const HOW: &str = "no number may get another meaning, and none is given twice. What is added: \
    `cargo test -p abide-schema --test wire -- --ignored` writes wire.txt anew, to be looked at line by line";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/wire.txt")
}

fn declared() -> String {
    let mut text = String::new();
    for info in BUILT_IN.into_iter().chain([&object::INFO, &shard::INFO]) {
        let _ = writeln!(text, "{} {}({})", info.id, info.name, info.creation_signature());
        for method in info.methods {
            let kind = kind_name(method.kind);
            let _ = writeln!(text, "{}.{} {kind} {}", info.id, method.id, method.signature());
        }
    }
    text
}

#[test]
fn numbers_keep_their_meaning() {
    let written = std::fs::read_to_string(file()).unwrap_or_else(|error| panic!("{error}: {HOW}"));
    let declared = declared();
    let (written, declared): (BTreeSet<_>, BTreeSet<_>) =
        (written.lines().collect(), declared.lines().collect());
    let gone: Vec<_> = written.difference(&declared).collect();
    let new: Vec<_> = declared.difference(&written).collect();
    assert!(gone.is_empty() && new.is_empty(), "not declared any more: {gone:#?}, new: {new:#?}; {HOW}");
}

#[test]
#[ignore = "writes tests/wire.txt"]
fn write_the_numbers() {
    std::fs::write(file(), declared()).unwrap();
}
