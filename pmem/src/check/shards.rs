//! Names, values and the tables of the shards, and what all of them own against the bitmaps.

use super::{FindingKind, Report, UnnamedRoot, values};
use crate::{
    heap::{Heap, Problem, View, audit},
    index::NamedNode,
    mem::Mem,
    types::{
        ROOT_BYTES,
        commands::{CommandError, Commands},
        completions::Completions,
        garbage, place, visit_root,
    },
};

pub(super) fn check<M: Mem>(heap: &Heap<M>, roots: &[UnnamedRoot], report: &mut Report) {
    let mut owned: Vec<Vec<(u64, u64)>> = vec![Vec::new(); heap.shard_count() as usize];
    check_names(heap, &mut owned, report);
    for root in roots {
        check_unnamed(heap, *root, &mut owned, report);
    }
    for (shard, owned) in (0..).zip(owned) {
        check_shard(heap, shard, owned, report);
    }
    if let Err(error) = heap.index().check() {
        // The audits have named damaged descriptors already.
        let offset = place(&error.clone().into(), 0);
        if !report.findings.iter().any(|known| known.offset == offset && known.kind != FindingKind::Value) {
            report.add(FindingKind::Index, offset, None, error);
        }
    }
}

fn check_names<M: Mem>(heap: &Heap<M>, owned: &mut [Vec<(u64, u64)>], report: &mut Report) {
    let mut named: Vec<NamedNode> = Vec::new();
    if let Err(error) = heap.index().visit(&mut |node| named.push(node)) {
        report.add(FindingKind::Index, place(&error.clone().into(), 0), None, error);
    }
    for node in named.into_iter().filter(|node| !node.is_buried) {
        report.names += 1;
        let name = String::from_utf8_lossy(&node.name).into_owned();
        let shard = node.entry.shard;
        match owned.get_mut(shard as usize) {
            Some(owned) => {
                let what = format!("name {name:?} of type {}", node.entry.type_number);
                check_value(heap, shard, node.entry.root, &what, owned, report);
            }
            None => {
                report.add(FindingKind::Index, node.node, None, format!("{name:?} is of no shard: {shard}"));
            }
        }
    }
}

fn check_unnamed<M: Mem>(
    heap: &Heap<M>,
    root: UnnamedRoot,
    owned: &mut [Vec<(u64, u64)>],
    report: &mut Report,
) {
    let UnnamedRoot { shard, offset } = root;
    match owned.get_mut(shard as usize) {
        Some(owned) if heap.reader(shard).check(offset, ROOT_BYTES).is_ok() => {
            owned.push((offset, ROOT_BYTES));
            check_value(heap, shard, offset, "a registered root", owned, report);
        }
        _ => report.add(FindingKind::Value, offset, Some(shard), "no registered root can be there"),
    }
}

/// Takes note of a value's blocks, and reads all of it.
fn check_value<M: Mem>(
    heap: &Heap<M>,
    shard: u32,
    root: u64,
    what: &str,
    owned: &mut Vec<(u64, u64)>,
    report: &mut Report,
) {
    let reader = heap.reader(shard);
    let visited = visit_root(&reader, root, &mut |block| owned.push((block.offset, block.bytes)));
    if let Err(error) = visited.and_then(|()| values::read(&reader, root)) {
        report.add(FindingKind::Value, place(&error, root), Some(shard), format!("{what}: {error}"));
    }
}

fn check_shard<M: Mem>(heap: &Heap<M>, shard: u32, mut owned: Vec<(u64, u64)>, report: &mut Report) {
    let reader = heap.reader(shard);
    let header = heap.layout().shard_header(shard);
    let mut own = |block: crate::types::Owned| owned.push((block.offset, block.bytes));
    if let Err(error) = garbage::visit(&reader, &mut own) {
        report.add(FindingKind::Garbage, place(&error, header), Some(shard), error);
    }
    for error in Completions::verify(&reader, &mut own) {
        report.add(FindingKind::Completions, place(&error.clone().into(), header), Some(shard), error);
    }
    if let Err(error) = read_commands(&reader) {
        let at = heap.layout().command_ring(shard);
        report.add(FindingKind::Commands, place(&error.clone().into(), at), Some(shard), error);
    }
    let found = audit(&reader, owned);
    report.blocks += found.blocks;
    report.unattributed += found.leaks;
    for problem in found.problems {
        let layout = heap.layout();
        let (kind, offset) = match problem {
            Problem::Leaked { .. } => continue,
            Problem::Dangling { offset }
            | Problem::NotABlock { offset, .. }
            | Problem::OwnedTwice { offset } => (FindingKind::Block, offset),
            Problem::List { offset, .. } => (FindingKind::Chunk, offset),
            Problem::StrayBits { chunk } => (FindingKind::Chunk, layout.bitmap(chunk)),
            Problem::Descriptor { chunk }
            | Problem::BeyondHigh { chunk }
            | Problem::Unlisted { chunk, .. } => (FindingKind::Chunk, layout.descriptor(chunk)),
        };
        report.add(kind, offset, Some(shard), problem);
    }
}

/// Reads all commands that the ring holds.
fn read_commands<V: View>(view: &V) -> Result<(), CommandError> {
    let mut at = Commands::first(view)?;
    while let Some(command) = Commands::read(view, at)? {
        at = command.next;
    }
    Ok(())
}
