//! Group F: shared objects of an embedded store, beside what other stores need for the same change.
//!
//! One thread, one store in this process, one shard. A call of Abide goes through a handle, and is made exactly once: its
//! completion record commits with the change. What others do for that is `add_once`: a counter and the client's
//! completion in one transaction. Their insert has no completion record, so it does less than ours.
//!
//! Stores are opened as in group A: what a call changed survives the death of the process, where the store can promise that
//! without syncing. redb and sled cannot; they are measured all the same, as the class that they keep to.

use crate::{
    cli::{Options, Place},
    contenders,
    report::{Setup, class_name, describe},
    store::{Call, Durability, Sizes},
    values,
};
use abide_bench_common::{
    machine::{self, Machine, file_system},
    print, print_json,
    spread::{Spread, median_ratio},
    table::{
        Column::{Number, Text},
        Table, thousands, three_digits,
    },
};
use abide_client::Store as Handles;
use abide_net::Bytes;
use abide_shards::embedded::{EmbeddedOptions, EmbeddedStore};
use anyhow::{Context as _, ensure};
use serde::Serialize;
use std::{path::Path, sync::Arc, time::Instant};

const VALUE_BYTES: usize = 100;

/// Who makes the change.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// Objects in memory, or in a region's file.
    Objects { persistent: bool },
    /// A contender of the other groups.
    Other(contenders::Contender, Durability),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Who::Objects { persistent: false } => "abide objects, ephemeral",
            Who::Objects { persistent: true } => "abide objects, persistent",
            Who::Other(contender, _) => contender.name,
        }
    }

    fn class(self) -> Durability {
        match self {
            Who::Objects { persistent: false } => Durability::Volatile,
            Who::Objects { persistent: true } => Durability::ProcessCrash,
            Who::Other(_, class) => class,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Took {
    ns: f64,
    cpu_ns: f64,
}

/// In the order of [`OPERATIONS`].
type Round = [Took; 3];

const OPERATIONS: [&str; 3] = ["counter, add once", "map, insert 100 bytes", "map, replace 100 bytes"];

/// How long one of so many operations took, on average.
fn time(operations: usize, mut operation: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<Took> {
    let (cpu, start) = (machine::thread_cpu(), Instant::now());
    for nth in 0..operations {
        operation(nth)?;
    }
    let (time, cpu) = (start.elapsed(), machine::thread_cpu() - cpu);
    let each = |time: std::time::Duration| time.as_nanos() as f64 / operations as f64;
    Ok(Took { ns: each(time).max(1.0), cpu_ns: each(cpu) })
}

/// Makes the changes through handles.
fn objects(persistent: bool, directory: &Path, keys: usize, adds: usize) -> anyhow::Result<Round> {
    let options = EmbeddedOptions { shards: Some(1), ..EmbeddedOptions::default() };
    let store = Arc::new(match persistent {
        true => EmbeddedStore::open(&directory.join("region"), &options)?,
        false => EmbeddedStore::in_memory(&options),
    });
    let handles = Handles::from_caller(store.clone());
    let counter = handles.atomic_long("counter");
    ensure!(counter.get()? == 0, "a counter begins at 0");
    let add = time(adds, |nth| {
        ensure!(counter.increment_and_get()? == nth as i64 + 1, "a wrong sum");
        Ok(())
    })?;
    let map = handles.map::<u64, Bytes>("map");
    let mut value = Bytes(vec![0; VALUE_BYTES]);
    let mut put = |nth: usize, version: u32| {
        values::write(values::key(nth), version, &mut value.0);
        let before = map.insert(&values::key(nth), &value)?;
        ensure!(before.is_some() == (version > 1), "key {nth}, version {version}: found {before:?}");
        Ok(())
    };
    let insert = time(keys, |nth| put(nth, 1))?;
    let replace = time(keys, |nth| put(nth, 2))?;
    ensure!(counter.get()? == adds as i64 && map.len()? == keys as u64, "changes are missing");
    for nth in (0..keys).step_by(keys.div_ceil(1000)) {
        let found = map.get(&values::key(nth))?.context("a key is missing")?;
        values::check(values::key(nth), 2, VALUE_BYTES, &found.0)?;
    }
    drop((counter, map, handles));
    store.close()?;
    Ok([add, insert, replace])
}

/// Makes the same changes in another store.
fn other(
    contender: &contenders::Contender,
    class: Durability,
    directory: &Path,
    keys: usize,
    adds: usize,
) -> anyhow::Result<Round> {
    let open = contender.open.map_err(anyhow::Error::msg)?;
    let store = open(directory, class, Sizes { keys, value_bytes: VALUE_BYTES })?;
    let mut session = store.session()?;
    let call = |nth: usize| Call { counter: 7, client: 1, sequence: nth as u64 + 1, by: 1 };
    // The one before the first, as there: so that the counter exists.
    session.add_once(Call { by: 0, ..call(0) })?;
    let add = time(adds, |nth| {
        ensure!(session.add_once(call(nth + 1))? == nth as u64 + 1, "a wrong sum");
        Ok(())
    })?;
    let mut value = vec![0; VALUE_BYTES];
    let mut put = |nth: usize, version: u32| {
        values::write(values::key(nth), version, &mut value);
        session.put(values::key(nth), &value)
    };
    let insert = time(keys, |nth| put(nth, 1))?;
    let replace = time(keys, |nth| put(nth, 2))?;
    ensure!(session.sum(7)? == adds as u64, "changes are missing");
    for nth in (0..keys).step_by(keys.div_ceil(1000)) {
        let mut right = Ok(());
        let mut check = |bytes: &[u8]| right = values::check(values::key(nth), 2, VALUE_BYTES, bytes);
        ensure!(session.get(values::key(nth), &mut check)?, "a key is missing");
        right?;
    }
    drop(session);
    store.close()?;
    Ok([add, insert, replace])
}

fn one(who: Who, folder: &Path, keys: usize, adds: usize) -> anyhow::Result<Round> {
    let directory = tempfile::Builder::new().prefix("abide-bench-").tempdir_in(folder)?;
    match who {
        Who::Objects { persistent } => objects(persistent, directory.path(), keys, adds),
        Who::Other(contender, class) => other(&contender, class, directory.path(), keys, adds),
    }
}

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line<'a> {
    Setup(&'a Setup),
    Measured {
        operation: &'static str,
        contender: &'static str,
        class: Durability,
        file_system: &'a str,
        keys: usize,
        ns: Spread,
        cpu_ns: Spread,
        /// Time divided by that of a persistent object in the same round.
        ratio: Option<f64>,
    },
}

/// Measures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.starts_with(only));
    let (mut all, mut absent) = (Vec::new(), Vec::new());
    for persistent in [true, false] {
        all.push(Who::Objects { persistent });
    }
    for contender in contenders::all().into_iter().filter(|one| one.abilities.counters) {
        let class = [Durability::ProcessCrash, Durability::Volatile];
        let Some(class) = class.into_iter().find(|class| contender.classes.contains(class)) else { continue };
        match contender.open {
            Err(why) if wanted(contender.name) => absent.push((contender.name, why)),
            // The bare regions are measured in group A.
            Ok(_) if contender.name != "abide" => all.push(Who::Other(contender, class)),
            _ => {}
        }
    }
    all.retain(|who| wanted(who.name()));
    let default = if options.tiny { 500 } else { 100_000 };
    let sizes = if options.keys.is_empty() { &[default] } else { options.keys.as_slice() };
    let adds = options.operations.unwrap_or(if options.tiny { 200 } else { 200_000 });
    let rounds = options.rounds();
    ensure!(rounds > 0 && adds > 0 && !sizes.contains(&0) && !all.is_empty(), "nothing to measure");
    let title = "F: shared objects; survives the end of the process where the class says so";
    let setup = Setup { title, tiny: options.tiny, machine: Machine::look(), rounds, absent };
    if options.json {
        print_json(&Line::Setup(&setup))?
    } else {
        print(&describe(&setup))?
    }
    let columns = [
        Text("operation"),
        Text("on"),
        Number("keys"),
        Text("contender"),
        Text("class"),
        Number("ns/op"),
        Number("(min-max)"),
        Number("CPU ns/op"),
        Number("ratio"),
    ];
    let mut table = Table::new(&columns);
    let places = if options.on.is_empty() { vec![Place::Memory] } else { options.on.clone() };
    for place in places {
        let folder = options.folder(place)?;
        let on = file_system(&folder).with_context(|| folder.display().to_string())?;
        for &keys in sizes {
            let mut took: Vec<Vec<Round>> = vec![Vec::new(); all.len()];
            for round in 0..rounds {
                for turn in 0..all.len() {
                    let nth = (turn + round) % all.len();
                    eprintln!("round {} of {rounds}: {}, {keys} keys", round + 1, all[nth].name());
                    let one = one(all[nth], &folder, keys, adds);
                    took[nth].push(one.with_context(|| all[nth].name())?);
                }
            }
            let base = all.iter().position(|who| matches!(who, Who::Objects { persistent: true }));
            for (operation, name) in OPERATIONS.into_iter().enumerate() {
                for (who, rounds) in all.iter().zip(&took) {
                    let ns = Spread::of(rounds.iter().map(|round| round[operation].ns));
                    let cpu_ns = Spread::of(rounds.iter().map(|round| round[operation].cpu_ns));
                    let ratio =
                        base.map(|base| median_ratio(rounds, &took[base], |round| round[operation].ns));
                    let (contender, class) = (who.name(), who.class());
                    if options.json {
                        let file_system = on.as_str();
                        print_json(&Line::Measured {
                            operation: name,
                            contender,
                            class,
                            file_system,
                            keys,
                            ns,
                            cpu_ns,
                            ratio,
                        })?;
                        continue;
                    }
                    table.row(vec![
                        name.to_owned(),
                        on.clone(),
                        thousands(keys as f64),
                        contender.to_owned(),
                        class_name(class).to_owned(),
                        thousands(ns.median),
                        format!("{}-{}", thousands(ns.min), thousands(ns.max)),
                        thousands(cpu_ns.median),
                        ratio.map(three_digits).unwrap_or_default(),
                    ]);
                }
            }
        }
    }
    if options.json { Ok(()) } else { print(&table.to_string()) }
}
