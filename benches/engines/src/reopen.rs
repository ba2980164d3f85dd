//! Group E: how long opening takes after the process that wrote was killed.
//!
//! A child fills a store, then puts new keys one by one and writes a byte into a pipe after each; the parent kills it
//! when it has seen some of them. Another child opens the store, reads one key, and looks whether anything that was
//! acknowledged is missing. Only its opening and first read are timed; the file is in the page cache for all alike.

use crate::{
    cli::{Options, Place},
    contenders::{self, Contender},
    report::{Setup, class_name, describe},
    store::{Durability, Sizes, Store},
    values,
};
use abide_bench_common::{
    machine::{Machine, file_system},
    print, print_json,
    spread::{Spread, median_ratio},
    table::{
        Column::{Number, Text},
        Table, thousands, three_digits,
    },
};
use anyhow::{Context as _, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::Instant,
};

const VALUE_BYTES: usize = 100;
const FILL_BATCH: usize = 1000;

/// What a child is told.
#[derive(Debug, Args)]
pub(crate) struct Child {
    contender: String,
    folder: PathBuf,
    /// Index into [`CLASSES`].
    class: usize,
    objects: usize,
    /// Of [`look`]: how many puts were acknowledged after the objects.
    #[arg(default_value_t = 0)]
    acknowledged: usize,
}

const CLASSES: [Durability; 3] = [Durability::ProcessCrash, Durability::Instructions, Durability::PowerFail];

impl Child {
    fn contender(&self) -> anyhow::Result<Contender> {
        contenders::all().into_iter().find(|one| one.name == self.contender).context("no such contender")
    }

    fn open(&self) -> anyhow::Result<Box<dyn Store>> {
        let open = self.contender()?.open.map_err(anyhow::Error::msg)?;
        // Room for the puts after the objects, of which there is no exact number.
        let sizes = Sizes { keys: self.objects + self.objects / 4 + 100_000, value_bytes: VALUE_BYTES };
        open(&self.folder, CLASSES[self.class], sizes)
    }
}

/// The first child. It ends when it is killed, or when no one reads its pipe any more.
pub(crate) fn fill(child: &Child) -> anyhow::Result<()> {
    let store = child.open()?;
    let mut session = store.session()?;
    let all: Vec<usize> = (0..child.objects).collect();
    let value = |nth: usize| {
        let mut value = vec![0; VALUE_BYTES];
        values::write(values::key(nth), 1, &mut value);
        value
    };
    for some in all.chunks(FILL_BATCH) {
        let entries: Vec<_> = some.iter().map(|nth| (values::key(*nth), value(*nth))).collect();
        session.put_all(&entries)?;
    }
    let mut pipe = std::io::stdout();
    for nth in child.objects.. {
        session.put(values::key(nth), &value(nth))?;
        pipe.write_all(b".")?;
        pipe.flush()?;
    }
    Ok(())
}

/// What the second child finds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Found {
    open_ns: f64,
    first_get_ns: f64,
    /// Acknowledged, and not there.
    lost: usize,
}

/// The second child.
pub(crate) fn look(child: &Child) -> anyhow::Result<()> {
    let start = Instant::now();
    let store = child.open()?;
    let open_ns = start.elapsed().as_nanos() as f64;
    let mut session = store.session()?;
    let mut is_there = |nth: usize| {
        let mut right = Ok(());
        let found = session.get(values::key(nth), &mut |bytes| {
            right = values::check(values::key(nth), 1, VALUE_BYTES, bytes);
        })?;
        right?;
        anyhow::Ok(found)
    };
    let start = Instant::now();
    let first = is_there(child.objects / 2)?;
    let first_get_ns = start.elapsed().as_nanos() as f64;
    let mut lost = usize::from(!first);
    // All that came last, and a thousand of the others.
    let some = (0..child.objects).step_by(child.objects.div_ceil(1000).max(1));
    for nth in some.chain(child.objects..child.objects + child.acknowledged) {
        lost += usize::from(!is_there(nth)?);
    }
    drop(session);
    print_json(&Found { open_ns, first_get_ns, lost })?;
    store.close()
}

/// A child that does not outlive its parent's interest in it.
struct Killed(process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(
    what: &str,
    contender: &Contender,
    folder: &Path,
    class: usize,
    objects: usize,
) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(what).arg(contender.name).arg(folder).arg(class.to_string()).arg(objects.to_string());
    Ok(command)
}

/// Fills a store, kills who does, and returns how many puts after the objects it had acknowledged.
fn fill_and_kill(
    contender: &Contender,
    folder: &Path,
    class: usize,
    objects: usize,
    acknowledgements: usize,
) -> anyhow::Result<usize> {
    let child = command("fill", contender, folder, class, objects)?.stdout(Stdio::piped()).spawn()?;
    let mut child = Killed(child);
    let mut pipe = child.0.stdout.take().context("the child's pipe")?;
    let (mut buffer, mut seen) = ([0; 4096], 0);
    while seen < acknowledgements {
        let bytes = pipe.read(&mut buffer)?;
        ensure!(bytes > 0, "the child ended by itself");
        seen += bytes;
    }
    child.0.kill()?;
    // What it wrote before it died counts as well.
    let mut rest = Vec::new();
    pipe.read_to_end(&mut rest)?;
    Ok(seen + rest.len())
}

fn one(
    contender: &Contender,
    folder: &Path,
    class: usize,
    objects: usize,
    acknowledgements: usize,
) -> anyhow::Result<Found> {
    let folder = tempfile::Builder::new().prefix("abide-bench-").tempdir_in(folder)?;
    let acknowledged = fill_and_kill(contender, folder.path(), class, objects, acknowledgements)?;
    let mut command = command("look", contender, folder.path(), class, objects)?;
    let output = command.arg(acknowledged.to_string()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "it cannot be opened again");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[derive(Serialize)]
#[serde(tag = "line", rename_all = "snake_case")]
enum Line<'a> {
    Setup(&'a Setup),
    Reopened {
        contender: &'static str,
        class: Durability,
        file_system: &'a str,
        objects: usize,
        open_ns: Spread,
        first_get_ns: Spread,
        lost: usize,
        /// Time to open divided by that of the first contender of the class.
        ratio: f64,
    },
}

/// Measures.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let default: &[usize] = if options.tiny { &[1000] } else { &[10_000, 100_000, 1_000_000, 10_000_000] };
    let sizes = if options.keys.is_empty() { default } else { &options.keys };
    let rounds = options.rounds();
    ensure!(rounds > 0 && !sizes.contains(&0), "nothing to measure");
    let wanted = |contender: &Contender| {
        let named =
            options.only.is_empty() || options.only.iter().any(|only| contender.name.starts_with(only));
        named && contender.abilities.keeps && contender.classes.iter().any(|class| CLASSES.contains(class))
    };
    let all: Vec<Contender> = contenders::all().into_iter().filter(wanted).collect();
    let absent = all.iter().filter_map(|one| one.open.err().map(|why| (one.name, why))).collect();
    let title = "E: opening after the process was killed; objects of 100 bytes";
    let setup = Setup { title, tiny: options.tiny, machine: Machine::look(), rounds, absent };
    if options.json {
        print_json(&Line::Setup(&setup))?
    } else {
        print(&describe(&setup))?
    }
    let columns = [
        Text("class"),
        Text("on"),
        Number("objects"),
        Text("contender"),
        Number("open us"),
        Number("(min-max)"),
        Number("ratio"),
        Number("first get us"),
        Number("lost"),
    ];
    let mut table = Table::new(&columns);
    for (class_number, class) in CLASSES.into_iter().enumerate() {
        let syncs = class == Durability::PowerFail;
        let folder = options.folder(if syncs { Place::Disk } else { Place::Memory })?;
        let on = file_system(&folder).with_context(|| folder.display().to_string())?;
        let contenders: Vec<&Contender> =
            all.iter().filter(|one| one.open.is_ok() && one.classes.contains(&class)).collect();
        let acknowledgements = match (syncs, options.tiny) {
            (true, true) => 10,
            (true, false) => 200,
            (false, true) => 100,
            (false, false) => 5_000,
        };
        for &objects in sizes {
            let mut found: Vec<Vec<Found>> = vec![Vec::new(); contenders.len()];
            for round in 0..rounds {
                for turn in 0..contenders.len() {
                    let nth = (turn + round) % contenders.len();
                    let contender = contenders[nth];
                    eprintln!("round {} of {rounds}: {}, {objects} objects", round + 1, contender.name);
                    let one = one(contender, &folder, class_number, objects, acknowledgements);
                    found[nth].push(one.with_context(|| format!("{}, {objects} objects", contender.name))?);
                }
            }
            for (contender, rounds) in contenders.iter().zip(&found) {
                let open_ns = Spread::of(rounds.iter().map(|found| found.open_ns));
                let first_get_ns = Spread::of(rounds.iter().map(|found| found.first_get_ns));
                let lost = rounds.iter().map(|found| found.lost).sum();
                let ratio = median_ratio(rounds, &found[0], |found| found.open_ns);
                if options.json {
                    let (contender, file_system) = (contender.name, on.as_str());
                    print_json(&Line::Reopened {
                        contender,
                        class,
                        file_system,
                        objects,
                        open_ns,
                        first_get_ns,
                        lost,
                        ratio,
                    })?;
                    continue;
                }
                let us = |ns: f64| three_digits(ns / 1e3);
                table.row(vec![
                    class_name(class).to_owned(),
                    on.clone(),
                    thousands(objects as f64),
                    contender.name.to_owned(),
                    us(open_ns.median),
                    format!("{}-{}", us(open_ns.min), us(open_ns.max)),
                    three_digits(ratio),
                    us(first_get_ns.median),
                    lost.to_string(),
                ]);
            }
        }
    }
    if options.json { Ok(()) } else { print(&table.to_string()) }
}
