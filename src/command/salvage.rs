//! `abide salvage`.

use super::{Failure, check::finding_as_json, print};
use abide_pmem::{
    SalvageOptions, SalvageReport,
    salvage::{Damage, Outcome, SavedObject, SavedShard},
    salvage_file,
};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The exit status is 0 if all was saved, and 1 if something is missing or may be, or if nothing can be read.
#[derive(Debug, Args)]
pub(crate) struct SalvageArguments {
    /// The damaged region's file. Nobody may have it open for writing. It is not changed.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The new region. Nothing may be there yet.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// An earlier copy of PATH, to be used if both of its superblocks are damaged.
    #[arg(long, value_name = "COPY")]
    superblock_of: Option<PathBuf>,
}

impl SalvageArguments {
    pub(crate) fn run(self, json: bool) -> Result<(), Failure> {
        let options = SalvageOptions { superblock_of: self.superblock_of, ..SalvageOptions::default() };
        let report = salvage_file(&self.path, &self.out, &options)
            .with_context(|| format!("cannot salvage {}", self.path.display()))?;
        if json {
            print(format_args!("{}\n", report_as_json(&report)))?;
        } else {
            print_report(&report)?;
        }
        if report.is_complete() { Ok(()) } else { Err(Failure::Told) }
    }
}

fn print_report(report: &SalvageReport) -> Result<(), Failure> {
    for finding in &report.findings {
        print(format_args!("{finding}\n"))?;
    }
    for object in &report.objects {
        if object.outcome != Outcome::Whole || object.is_renamed {
            print(format_args!("{}\n", describe(object)))?;
            print_damage(&object.damage, object.damage_count)?;
        }
    }
    for shard in &report.shards {
        if !shard.is_current {
            let what = "its last batches were not replayed, and may be missing or half applied";
            print(format_args!("shard {}: {what}\n", shard.shard))?;
        }
        if shard.commands_moved {
            print(format_args!("shard {}: its commands have other positions\n", shard.shard))?;
        }
        if shard.damage_count > 0 {
            let SavedShard { completions, commands, .. } = shard;
            let what = format!("{completions} completions and {commands} commands saved");
            print(format_args!("shard {}: {what}, others damaged\n", shard.shard))?;
            print_damage(&shard.damage, shard.damage_count)?;
        }
    }
    if !report.is_current {
        print(format_args!("what was saved may be older than what was acknowledged\n"))?;
    }
    print(format_args!(
        "{}: {} objects saved whole, {} in part, {} lost; {} of those saved have content that no checksum verifies\n",
        if report.is_complete() { "complete" } else { "incomplete" },
        report.whole(),
        report.partial(),
        report.lost(),
        report.unverified(),
    ))
}

fn describe(object: &SavedObject) -> String {
    let SavedObject { type_number, shard, root, .. } = object;
    let kind = object.kind.map_or_else(String::new, |kind| format!(", {kind:?}"));
    let name = String::from_utf8_lossy(&object.name);
    let renamed = if object.is_renamed { " (its own name is damaged)" } else { "" };
    let how_much = match object.outcome {
        Outcome::Part { saved, missing: Some(missing) } => format!(": {saved} saved, {missing} missing"),
        Outcome::Part { saved, missing: None } => {
            format!(": {saved} saved, nobody knows how many are missing")
        }
        Outcome::Whole | Outcome::Lost => String::new(),
    };
    let outcome = object.outcome.name();
    format!(
        "{outcome} {name:?}{renamed} of type {type_number}{kind} in shard {shard}, root {root:#x}{how_much}"
    )
}

fn print_damage(damage: &[Damage], count: u64) -> Result<(), Failure> {
    for one in damage {
        print(format_args!("  {one}\n"))?;
    }
    match count - damage.len() as u64 {
        0 => Ok(()),
        more => print(format_args!("  and {more} more\n")),
    }
}

fn report_as_json(report: &SalvageReport) -> Value {
    json!({
        "complete": report.is_complete(),
        "current": report.is_current,
        "may_miss_names": report.may_miss_names,
        "whole": report.whole(),
        "part": report.partial(),
        "lost": report.lost(),
        "unverified": report.unverified(),
        "findings": report.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
        "objects": report.objects.iter().map(object_as_json).collect::<Vec<_>>(),
        "lost_names": report.lost_names,
        "shards": report.shards.iter().map(shard_as_json).collect::<Vec<_>>(),
    })
}

fn object_as_json(object: &SavedObject) -> Value {
    let (saved, missing) = match object.outcome {
        Outcome::Part { saved, missing } => (Some(saved), missing),
        Outcome::Whole | Outcome::Lost => (None, None),
    };
    // A name is any bytes; where they are no text, only this tells them.
    let hex: String = object.name.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "name": String::from_utf8_lossy(&object.name),
        "name_hex": hex,
        "renamed": object.is_renamed,
        "type": object.type_number,
        "shard": object.shard,
        "root": object.root,
        "kind": object.kind.map(|kind| format!("{kind:?}")),
        "outcome": object.outcome.name(),
        "saved": saved,
        "missing": missing,
        "bundles": object.bundles.map(|bundles| {
            json!({
                "whole": bundles.whole,
                "part": bundles.partial,
                "lost": bundles.lost,
                "values_damaged": bundles.values_damaged,
            })
        }),
        "verified": object.is_verified,
        "damage": damage_as_json(&object.damage),
        "damage_count": object.damage_count,
    })
}

fn shard_as_json(shard: &SavedShard) -> Value {
    json!({
        "shard": shard.shard,
        "current": shard.is_current,
        "completions": shard.completions,
        "commands": shard.commands,
        "commands_moved": shard.commands_moved,
        "damage": damage_as_json(&shard.damage),
        "damage_count": shard.damage_count,
    })
}

fn damage_as_json(damage: &[Damage]) -> Vec<Value> {
    damage.iter().map(|one| json!({ "offset": one.offset, "text": one.text })).collect()
}
