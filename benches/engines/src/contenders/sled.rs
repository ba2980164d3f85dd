//! sled: a tree over a log-structured page store.
//!
//! `Volatile` does not flush but in the background, every half second: the end of the process loses what is in its
//! buffers. `PowerFail` flushes after each operation.

use crate::store::{Call, Durability, Session, Sizes, Store, step, sum_of};
use anyhow::Context as _;
use sled::{
    Db, Transactional as _, Tree,
    transaction::{ConflictableTransactionError, TransactionError},
};
use std::path::Path;

pub(crate) fn open(directory: &Path, durability: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let database = sled::open(directory)?;
    let tree = |name| database.open_tree(name);
    let (values, counters, completions) = (tree("values")?, tree("counters")?, tree("completions")?);
    let flush = durability == Durability::PowerFail;
    Ok(Box::new(Sled { values, counters, completions, flush, database }))
}

struct Sled {
    values: Tree,
    counters: Tree,
    completions: Tree,
    flush: bool,
    database: Db,
}

impl Sled {
    fn sync(&self) -> anyhow::Result<()> {
        if self.flush {
            self.database.flush()?;
        }
        Ok(())
    }
}

impl Store for Sled {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        self.database.flush()?;
        Ok(())
    }
}

impl Session for &Sled {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        self.values.insert(key.to_le_bytes(), value)?;
        self.sync()
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        Ok(self.values.get(key.to_le_bytes())?.map(|value| show(&value)).is_some())
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let found = self.values.remove(key.to_le_bytes())?.is_some();
        self.sync()?;
        Ok(found)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in entries {
            batch.insert(&key.to_le_bytes(), value.as_slice());
        }
        self.values.apply_batch(batch)?;
        self.sync()
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let (counter, client) = (call.counter.to_le_bytes(), call.client.to_le_bytes());
        let done = (&self.counters, &self.completions).transaction(|(counters, completions)| {
            let (last, sum) = (completions.get(client)?, counters.get(counter)?);
            let found = step(call, last.as_deref(), sum.as_deref());
            let (sum, completion) = found.map_err(ConflictableTransactionError::Abort)?;
            if let Some(completion) = completion {
                counters.insert(&counter, &sum.to_le_bytes())?;
                completions.insert(&client, &completion)?;
            }
            Ok(sum)
        });
        let sum = done.map_err(|error| match error {
            TransactionError::Abort(error) => error,
            TransactionError::Storage(error) => error.into(),
        });
        let sum = sum.context("a transaction")?;
        self.sync()?;
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        sum_of(self.counters.get(counter.to_le_bytes())?.as_deref())
    }
}
