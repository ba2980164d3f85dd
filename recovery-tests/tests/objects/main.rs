//! The judge of the object library: every built-in type against a plain model of what it means.
//!
//! - `model`: what each type means, in ordinary Rust;
//! - `asked`: calls at random; `run`: the same calls to a store and to the models, answer by answer;
//! - `stores`: what is judged (a shard by a clock in the test's hand, an embedded store, a node behind TCP);
//! - `sequential`: runs without and with the end of the store in their middle;
//! - `crowds`: hundreds of callers that wait in one object;
//! - `concurrent`: several threads at once, whose histories must have an order that the models explain;
//! - `wrong`: the judge judged: wrong models and wrong histories must be found out.
//!
//! `ABIDE_MODEL_SEED=<n>` runs one seed, `ABIDE_MODEL_BUDGET=<n>` runs that many times as many.

mod asked;
mod concurrent;
mod crowds;
mod model;
mod run;
mod seeds;
mod sequential;
mod stores;
mod wrong;

use abide_schema::types::BUILT_IN;
use abide_shards::Registry;

/// The types that shards know; a note about those that they do not.
fn registered() -> Vec<u16> {
    let registry = Registry::built_in();
    let (known, unknown): (Vec<_>, Vec<_>) =
        BUILT_IN.into_iter().partition(|info| registry.get(info.id).is_some());
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.iter().map(|info| info.name).collect();
        println!("SKIPPED: no shard knows {}", names.join(", "));
    }
    known.into_iter().map(|info| info.id).collect()
}
