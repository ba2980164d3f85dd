//! fjall: log-structured merge trees with one journal.
//!
//! A write reaches the kernel before it returns, which is `ProcessCrash`. `PowerFail` adds `PersistMode::SyncData`.

use super::stripes::Stripes;
use crate::store::{Call, Durability, Session, Sizes, Store, step, sum_of};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::path::Path;

pub(crate) fn open(directory: &Path, durability: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let database = Database::builder(directory).open()?;
    let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
    let (values, counters, completions) =
        (keyspace("values")?, keyspace("counters")?, keyspace("completions")?);
    let persist = match durability {
        Durability::PowerFail => PersistMode::SyncData,
        _ => PersistMode::Buffer,
    };
    Ok(Box::new(Fjall { values, counters, completions, stripes: Stripes::new(), persist, database }))
}

struct Fjall {
    values: Keyspace,
    counters: Keyspace,
    completions: Keyspace,
    stripes: Stripes,
    persist: PersistMode,
    database: Database,
}

impl Fjall {
    /// After a write, which has reached the kernel.
    fn sync(&self) -> anyhow::Result<()> {
        match self.persist {
            PersistMode::Buffer => Ok(()),
            mode => Ok(self.database.persist(mode)?),
        }
    }
}

impl Store for Fjall {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Session for &Fjall {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        self.values.insert(key.to_le_bytes(), value)?;
        self.sync()
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        Ok(self.values.get(key.to_le_bytes())?.map(|value| show(&value)).is_some())
    }

    /// Does not look whether there was one: a deletion is a record like any other.
    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        self.values.remove(key.to_le_bytes())?;
        self.sync()?;
        Ok(true)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let mut batch = self.database.batch().durability(Some(self.persist));
        for (key, value) in entries {
            batch.insert(&self.values, key.to_le_bytes(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let _alone = self.stripes.lock(call.counter);
        let (counter, client) = (call.counter.to_le_bytes(), call.client.to_le_bytes());
        let (last, sum) = (self.completions.get(client)?, self.counters.get(counter)?);
        let (sum, completion) = step(call, last.as_deref(), sum.as_deref())?;
        if let Some(completion) = completion {
            let mut batch = self.database.batch().durability(Some(self.persist));
            batch.insert(&self.counters, counter, sum.to_le_bytes());
            batch.insert(&self.completions, client, completion);
            batch.commit()?;
        }
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        sum_of(self.counters.get(counter.to_le_bytes())?.as_deref())
    }
}
