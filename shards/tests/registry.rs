//! The types that are served are those that are documented.

use abide_schema::BUILT_IN;
use abide_shards::Registry;

/// docs/objects.md and `abide types` are made of [`BUILT_IN`], so that it is the very table that serves calls.
#[test]
fn every_type_that_is_documented_is_served_and_no_other() {
    let registry = Registry::built_in();
    let is_served = |id, info| registry.get(id).is_some_and(|served| std::ptr::eq(served.info, info));
    let missing: Vec<_> =
        BUILT_IN.into_iter().filter(|info| !is_served(info.id, *info)).map(|info| info.name).collect();
    assert!(missing.is_empty(), "declared and documented, but not served: {missing:?}");
    assert_eq!((0..=u16::MAX).filter(|id| registry.get(*id).is_some()).count(), BUILT_IN.len());
}
