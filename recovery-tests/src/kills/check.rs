//! Whether a region holds what it must after a kill: what was acknowledged, once, and nothing that no call made.

use super::calls::{Call, Change, Client, NAME_TYPE, NAMES, NameChange, Roots, SHARDS, author};
use super::said::Progress;
use abide_pmem::{
    Entry, Heap, Mapping, Mem as _, View as _,
    heap::audit,
    types::{Bytes, List, Map, Register, TypeError, completions::Completions, garbage, visit_root},
};
use anyhow::{Context as _, bail, ensure};
use std::collections::BTreeMap;

/// What the calls that a region shows as made must have left.
#[derive(Debug)]
pub(crate) struct Expected {
    seed: u64,
    /// Calls of each client that are counted in.
    calls: Vec<u64>,
    /// Sums of the counters, one a shard.
    sums: Vec<u64>,
    /// Keys of the maps, with the call that put their values.
    maps: Vec<BTreeMap<Vec<u8>, (Client, u64)>>,
    /// Of each client, its elements that were seen in the queue, or are expected there, by call.
    queued: Vec<Vec<u64>>,
    /// Changes of each thread's names that are counted in.
    names: Vec<u64>,
    /// Names that are there, with the change that set their values.
    values: Vec<BTreeMap<u64, u64>>,
}

impl Expected {
    pub(crate) fn new(seed: u64, threads: usize) -> Self {
        let clients = threads * SHARDS as usize;
        Self {
            seed,
            calls: vec![0; clients],
            sums: vec![0; SHARDS as usize],
            maps: vec![BTreeMap::new(); SHARDS as usize],
            queued: vec![Vec::new(); clients],
            names: vec![0; threads],
            values: vec![BTreeMap::new(); threads],
        }
    }

    /// Counts a client's calls in, up to this one.
    fn advance(&mut self, client: Client, last: u64) {
        let shard = client.shard() as usize;
        for sequence in self.calls[client.0] + 1..=last {
            let call = Call::new(self.seed, client, sequence);
            self.sums[shard] = self.sums[shard].wrapping_add(call.amount);
            match call.change {
                Change::Nothing => {}
                Change::Put(key, _) => drop(self.maps[shard].insert(key, (client, sequence))),
                Change::Delete(key) => drop(self.maps[shard].remove(&key)),
                Change::Queue(_) => self.queued[client.0].push(sequence),
            }
        }
        self.calls[client.0] = last;
    }

    /// Checks everything. Gives how far the region has come, which is where its clients go on.
    pub(crate) fn check(
        &mut self,
        heap: &Heap<Mapping>,
        acknowledged: &Progress,
    ) -> anyhow::Result<Progress> {
        let progress = self.look(heap, acknowledged)?;
        // Only now: looking a name up cleans the links on its way of a DIRTY that a run long ago has left, which has the
        // number of this one again.
        let before: Vec<u64> = words_of(heap).collect();
        let survey = heap.index().check().context("the index")?;
        for shard in 0..SHARDS {
            if let Some(roots) = roots(heap, shard)? {
                self.repeat(heap, shard, &roots)?;
            }
        }
        ensure!(heap.index().check().context("the index")? == survey, "the index has changed");
        if let Some(word) = words_of(heap).zip(before).position(|(now, before)| now != before) {
            bail!("the last calls were repeated, and the word at {:#x} changed", word * 8);
        }
        Ok(progress)
    }

    /// Checks everything that can be checked of a region that is open for reading only. Gives how far it has come.
    pub(crate) fn look(&mut self, heap: &Heap<Mapping>, acknowledged: &Progress) -> anyhow::Result<Progress> {
        let bytes = heap.mem().len();
        ensure!(bytes >= acknowledged.bytes, "the region has {bytes} bytes, not {}", acknowledged.bytes);
        heap.index().check().context("the index")?;
        for shard in 0..SHARDS {
            let roots = roots(heap, shard)?;
            self.count_in(heap, shard, acknowledged)?;
            match roots {
                Some(roots) => {
                    self.check_shard(heap, shard, &roots).with_context(|| format!("shard {shard}"))?;
                }
                None => {
                    ensure!(self.shard_is_unused(shard), "shard {shard} has calls, but not what they changed")
                }
            }
        }
        self.check_names(heap, acknowledged)?;
        check_blocks(heap)?;
        Ok(Progress { calls: self.calls.clone(), names: acknowledged.names.clone(), bytes })
    }

    fn shard_is_unused(&self, shard: u32) -> bool {
        (shard as usize..self.calls.len()).step_by(SHARDS as usize).all(|client| self.calls[client] == 0)
    }

    /// Looks up how many calls the region knows of each client: all that were acknowledged, and the next one perhaps.
    fn count_in(&mut self, heap: &Heap<Mapping>, shard: u32, acknowledged: &Progress) -> anyhow::Result<()> {
        let known = Completions::clients(&heap.reader(shard))?;
        let clients = (0..self.calls.len()).map(Client).filter(|client| client.shard() == shard);
        let mut seen = 0;
        for client in clients {
            let found = known.iter().find(|(id, _)| *id == client.id());
            seen += usize::from(found.is_some());
            let (last, acknowledged) = (found.map_or(0, |&(_, last)| last), acknowledged.calls[client.0]);
            ensure!(last >= acknowledged, "client {}: acknowledged {acknowledged}, known {last}", client.0);
            ensure!(last <= acknowledged + 1, "client {}: {last} after {acknowledged}", client.0);
            ensure!(last >= self.calls[client.0], "client {}: {last} again", client.0);
            self.advance(client, last);
        }
        ensure!(seen == known.len(), "shard {shard} knows clients that there are not: {known:?}");
        Ok(())
    }

    /// Makes each client's last call again. Nothing may come of it but its result.
    fn repeat(&self, heap: &Heap<Mapping>, shard: u32, roots: &Roots) -> anyhow::Result<()> {
        for client in (0..self.calls.len()).map(Client).filter(|client| client.shard() == shard) {
            let last = self.calls[client.0];
            if last > 0 {
                let call = Call::new(self.seed, client, last);
                let result = heap.atomically(shard, |tx| call.make(tx, roots, None))?;
                ensure!(result == call.result, "client {}: call {last} has another result", client.0);
            }
        }
        Ok(())
    }

    fn check_shard(&mut self, heap: &Heap<Mapping>, shard: u32, roots: &Roots) -> anyhow::Result<()> {
        let view = heap.reader(shard);
        let sum = Register::<u64>::at(roots.counter.root).get(&view)?;
        let expected = self.sums[shard as usize];
        ensure!(sum == expected, "the counter is {sum}, and not {expected}");

        let map = Map::at(roots.map.root);
        let expected = &self.maps[shard as usize];
        let mut wrong = None;
        let mut entries = 0;
        map.page(&view, None, |entry| {
            entries += 1;
            let good = expected
                .get(&entry.key)
                .is_some_and(|&(client, sequence)| entry.value == Call::value(self.seed, client, sequence));
            if !good {
                wrong = Some(String::from_utf8_lossy(&entry.key).into_owned());
            }
            Ok(true)
        })?;
        if let Some(key) = wrong {
            bail!("key {key} of the map has the wrong value, or should not be there");
        }
        let len = map.len(&view)?;
        ensure!(entries == expected.len(), "{entries} entries of the map, and not {}", expected.len());
        ensure!(len == entries as u64, "the map says that it has {len} entries of {entries}");
        for key in expected.keys() {
            ensure!(map.contains_key(&view, key)?, "a key of the map is not found");
        }
        self.check_queue(&view, roots)
    }

    /// The queue holds each client's elements in order, without those that have left it.
    fn check_queue(&mut self, view: &abide_pmem::Reader<'_, Mapping>, roots: &Roots) -> anyhow::Result<()> {
        let queue = List::at(roots.queue.root);
        let len = queue.len(view)?;
        let elements = queue.page(view, 0, len)?;
        ensure!(elements.len() as u64 == len, "the queue says that it has {len} elements");
        let mut found = vec![Vec::new(); self.calls.len()];
        for element in &elements {
            let (who, sequence) = author(element).context("an element that nobody made")?;
            let client = Client(who as usize);
            ensure!(
                client.0 < found.len() && *element == Call::value(self.seed, client, sequence),
                "an element that no call made: {who} {sequence}"
            );
            found[client.0].push(sequence);
        }
        for client in (0..self.calls.len()).map(Client).filter(|client| client.shard() == view.shard()) {
            let left = Map::at(roots.left.root).get(view, &(client.0 as u64).to_le_bytes())?;
            let left = match left {
                Some(bytes) => u64::from_le_bytes(bytes.try_into().ok().context("the mark of the queue")?),
                None => 0,
            };
            self.queued[client.0].retain(|&sequence| sequence > left);
            let (found, expected) = (&found[client.0], &self.queued[client.0]);
            ensure!(
                found == expected,
                "client {}: the queue has {found:?}, and not {expected:?} after {left}",
                client.0
            );
        }
        Ok(())
    }

    /// Each name is as the changes that were acknowledged leave it, but that one more change may have begun.
    fn check_names(&mut self, heap: &Heap<Mapping>, acknowledged: &Progress) -> anyhow::Result<()> {
        for thread in 0..self.names.len() {
            let change = |sequence| NameChange::new(self.seed, thread, sequence);
            for sequence in self.names[thread] + 1..=acknowledged.names[thread] {
                let NameChange { key, value, .. } = change(sequence);
                match value {
                    Some(_) => drop(self.values[thread].insert(key, sequence)),
                    None => drop(self.values[thread].remove(&key)),
                }
            }
            self.names[thread] = acknowledged.names[thread];
            let begun = change(self.names[thread] + 1);
            for key in 0..NAMES {
                let found = value_of(heap, &NameChange::name_of(thread, key))?;
                let expected = self.values[thread].get(&key).and_then(|&sequence| change(sequence).value);
                let in_part = begun.key == key
                    && (found == begun.value
                        || begun.value.is_some() && expected.is_none() && found == Some(Vec::new()));
                ensure!(
                    found == expected || in_part,
                    "name {thread} {key} after change {}: there is {:?}, and not {:?}",
                    self.names[thread],
                    found.map(|value| author(&value)),
                    expected.map(|value| author(&value)),
                );
            }
        }
        Ok(())
    }
}

/// A name's value; an empty one for a name that has none yet.
fn value_of(heap: &Heap<Mapping>, name: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(entry) = heap.index().get(NAME_TYPE, name)? else { return Ok(None) };
    Ok(Some(Bytes::at(entry.root).get(&heap.reader(entry.shard))?))
}

/// What the clients of a shard share, if all of it is there.
fn roots(heap: &Heap<Mapping>, shard: u32) -> anyhow::Result<Option<Roots>> {
    let found =
        Roots::with(|kind, name| match heap.index().get(kind as u16, Roots::name(name, shard).as_bytes()) {
            Ok(Some(entry)) => Ok(entry),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        });
    match found {
        Ok(roots) => Ok(Some(roots)),
        Err(None) => Ok(None),
        Err(Some(error)) => Err(error.into()),
    }
}

/// No block of any shard is leaked, dangling, or owned twice.
fn check_blocks(heap: &Heap<Mapping>) -> anyhow::Result<()> {
    let mut entries: Vec<Entry> = Vec::new();
    heap.index().visit(&mut |node| {
        if !node.is_buried {
            entries.push(node.entry);
        }
    })?;
    for shard in 0..SHARDS {
        let view = heap.reader(shard);
        let mut owned = Vec::new();
        let mut own = |block: abide_pmem::types::Owned| owned.push((block.offset, block.bytes));
        for entry in entries.iter().filter(|entry| entry.shard == shard) {
            visit_root(&view, entry.root, &mut own)?;
        }
        garbage::visit(&view, &mut own)?;
        Completions::visit(&view, &mut own).map_err(TypeError::from)?;
        let audit = audit(&view, owned);
        if let Some(problem) = audit.problems.first() {
            bail!("shard {shard}: {} problems, the first: {problem}", audit.problem_count);
        }
    }
    Ok(())
}

/// All words of the region.
fn words_of(heap: &Heap<Mapping>) -> impl Iterator<Item = u64> {
    let mem = heap.mem();
    (0..mem.len() / 8).map(|word| mem.load(word * 8))
}
