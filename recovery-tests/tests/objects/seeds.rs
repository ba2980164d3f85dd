//! Which seeds are run.

/// The seeds of a test: `count` fixed ones, more of them by `ABIDE_MODEL_BUDGET`, or the one in `ABIDE_MODEL_SEED`.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let variable = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    match variable("ABIDE_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * variable("ABIDE_MODEL_BUDGET").unwrap_or(1),
    }
}
