//! Rounds over all loads and contenders of a group, interleaved.

use crate::{
    cli::{Options, Place},
    contenders::Contender,
    group::Group,
    report::{Cell, Report, Row, Setup, Verified},
    store::{Durability, Sizes},
    workload::{self, Digest, Load, Measured, Outcome, Phase},
};
use abide_bench_common::machine::{Machine, file_system};
use anyhow::{Context as _, ensure};
use std::{collections::HashMap, path::Path};

/// One contender's rounds, by phase.
type Rounds = HashMap<Phase, Vec<Measured>>;

pub(crate) fn run(group: Group, options: &Options) -> anyhow::Result<()> {
    let mut report = Report::new(options.json);
    let (mut contenders, mut absent) = (Vec::new(), Vec::new());
    for (contender, class) in group.contenders() {
        let wanted =
            options.only.is_empty() || options.only.iter().any(|only| contender.name.starts_with(only));
        match contender.open {
            Err(why) if wanted => absent.push((contender.name, why)),
            Ok(_) if wanted => contenders.push((contender, class)),
            _ => {}
        }
    }
    let (places, rounds) = (group.places(options)?, options.rounds());
    ensure!(rounds > 0, "nothing to measure");
    report.setup(&Setup {
        title: group.title(),
        tiny: options.tiny,
        machine: Machine::look(),
        rounds,
        absent,
    })?;
    for place in places {
        let folder = options.folder(place)?;
        let on = file_system(&folder).with_context(|| folder.display().to_string())?;
        let memory = group.class() == Durability::PowerFail && on == "tmpfs";
        ensure!(!memory, "{} lies in memory: give a --disk-dir on a disk", folder.display());
        for load in group.loads(options)? {
            one_load(group, &load, place, &on, &folder, &contenders, rounds, &mut report)?;
        }
    }
    report.finish()
}

#[expect(clippy::too_many_arguments, reason = "called once, to keep the loops readable")]
fn one_load(
    group: Group,
    load: &Load,
    place: Place,
    on: &str,
    folder: &Path,
    contenders: &[(Contender, Durability)],
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    // Who cannot make 64 puts one commit is not asked to.
    let contenders: Vec<_> =
        contenders.iter().filter(|(contender, _)| load.batch == 1 || contender.abilities.batches).collect();
    let mut all: Vec<Rounds> = vec![Rounds::new(); contenders.len()];
    for round in 0..rounds {
        let mut digests: Vec<(&str, Digest)> = Vec::new();
        // Who comes first changes from round to round.
        for turn in 0..contenders.len() {
            let nth = (turn + round) % contenders.len();
            let (contender, class) = contenders[nth];
            report.progress(round, rounds, contender.name, load);
            let (phases, digest) = one(contender, *class, load, folder, round).with_context(|| {
                format!("{}, {} keys, {} threads", contender.name, load.keys, load.threads)
            })?;
            for (phase, measured) in phases {
                all[nth].entry(phase).or_default().push(measured);
            }
            digests.extend(digest.map(|digest| (contender.name, digest)));
        }
        if let Some((first, expected)) = digests.first() {
            for (name, digest) in &digests {
                ensure!(digest == expected, "{name} answered or contained other things than {first}");
            }
            report.verified(&Verified {
                round: round + 1,
                contenders: digests.len(),
                keys: load.keys,
                answers: format!("{:016x}", expected.answers),
                contents: format!("{:016x}", expected.contents),
            })?;
        }
    }
    for &phase in load.phases {
        let cell = Cell { phase: phase.name(), place, on: on.to_owned(), load: *load };
        let mut rows = Vec::new();
        for ((contender, class), rounds) in contenders.iter().zip(&all) {
            if let Some(measured) = rounds.get(&phase) {
                rows.push(Row::new(contender.name, *class, measured));
            }
        }
        report.cell(&cell, group.class(), &rows)?;
    }
    Ok(())
}

fn one(
    contender: &Contender,
    class: Durability,
    load: &Load,
    folder: &Path,
    round: usize,
) -> anyhow::Result<Outcome> {
    let directory = tempfile::Builder::new().prefix("abide-bench-").tempdir_in(folder)?;
    let open = contender.open.map_err(anyhow::Error::msg)?;
    let sizes = Sizes { keys: load.keys, value_bytes: load.value_bytes };
    let store = open(directory.path(), class, sizes).context("opening")?;
    let found = workload::run(&*store, contender, load, round)?;
    store.close().context("closing")?;
    Ok(found)
}
