//! What users read when they get a cloud function wrong. After a change that is meant, look at what
//! `TRYBUILD=overwrite cargo test -p abide-lambda --test compile_fail` writes.

#[test]
fn mistakes_are_explained_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
