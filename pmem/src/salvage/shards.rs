//! Copying what a shard has besides objects.

use super::{SalvageError, report::SavedShard, target::Target};
use crate::{
    heap::{HeapError, View},
    types::{
        TypeError,
        commands::{CommandError, Commands, Position},
        completions::{Arrival, CompletionError, Completions},
        salvage::Salvage,
    },
};

/// Copies the completion table and the command ring of a view's shard.
pub(super) fn save<V: View>(view: &V, is_current: bool, target: &Target) -> Result<SavedShard, SalvageError> {
    let shard = view.shard();
    // Both are read once, word by word, and need no bound.
    let mut budget = u64::MAX;
    let mut salvage = Salvage::new(&mut budget);
    let mut saved = SavedShard { shard, is_current, ..SavedShard::default() };
    let mut note = |error: HeapError, what: &str| salvage.failed(&error.into(), 0, what);
    Completions::salvage(
        view,
        &mut |error| note(error, "a client's last call"),
        |client, sequence, result| {
            saved.completions += 1;
            target.run::<CompletionError>(shard, |tx| match Completions::arrive(tx, client, sequence) {
                Ok(Arrival::New(pending)) => Completions::complete(tx, pending, result),
                // Two lines of one client are damage. The later call counts, and of two equal ones the first.
                Ok(Arrival::Done(_)) | Err(CompletionError::StaleSequence { .. }) => Ok(()),
                Err(error) => Err(error),
            })
        },
    )?;
    commands(view, &mut saved, &mut |error| note(error, "commands"), target)?;
    saved.damage = salvage.damage;
    saved.damage_count = salvage.damage_count;
    Ok(saved)
}

/// Copies the ring, under the same positions if none is missing.
fn commands<V: View>(
    view: &V,
    saved: &mut SavedShard,
    damaged: &mut dyn FnMut(HeapError),
    target: &Target,
) -> Result<(), SalvageError> {
    let shard = view.shard();
    let (Ok(first), Ok(end)) = (Commands::first(view), Commands::end(view)) else {
        return Commands::salvage(view, damaged, |_, _| Ok(()));
    };
    let mut has_holes = false;
    Commands::salvage(view, &mut |_| has_holes = true, |_, _| Ok::<_, SalvageError>(()))?;
    let begin = if has_holes { end } else { first };
    if begin == Position(0) && first == end {
        return Ok(());
    }
    target.run::<TypeError>(shard, |tx| Ok(Commands::begin_at(tx, begin)?))?;
    let mut is_full = false;
    Commands::salvage(view, damaged, |position, bytes| {
        if is_full {
            return Ok(());
        }
        let mut at = position;
        let appended = target.run::<CommandError>(shard, |tx| {
            at = Commands::append(tx, bytes)?;
            Ok(())
        });
        match appended {
            Ok(()) => {
                saved.commands += 1;
                saved.commands_moved |= at != position;
                Ok(())
            }
            // At other positions more of the ring may be skipped at its end.
            Err(SalvageError::Write(TypeError::Command(CommandError::RingFull { .. }))) => {
                is_full = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    })?;
    if is_full {
        damaged(HeapError::NoSpace);
    }
    Ok(())
}
