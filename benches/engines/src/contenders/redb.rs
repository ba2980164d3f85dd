//! redb: a copy-on-write B-tree in a file, one writer at a time.
//!
//! `Volatile` is `Durability::None`, which keeps nothing until a later commit that is durable: also the end of the
//! process loses it. `PowerFail` is `Durability::Immediate`.

use crate::store::{Call, Session, Sizes, Store, step, sum_of};
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use std::path::Path;

const VALUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("values");
const COUNTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("counters");
const COMPLETIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("completions");

pub(crate) fn open(
    directory: &Path,
    durability: crate::store::Durability,
    _: Sizes,
) -> anyhow::Result<Box<dyn Store>> {
    let durability = match durability {
        crate::store::Durability::PowerFail => Durability::Immediate,
        _ => Durability::None,
    };
    let store = Redb { database: Database::create(directory.join("redb"))?, durability };
    let transaction = store.begin()?;
    for table in [VALUES, COUNTERS, COMPLETIONS] {
        transaction.open_table(table)?;
    }
    transaction.commit()?;
    Ok(Box::new(store))
}

struct Redb {
    database: Database,
    durability: Durability,
}

impl Redb {
    fn begin(&self) -> anyhow::Result<WriteTransaction> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        Ok(transaction)
    }
}

impl Store for Redb {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.database.close()?)
    }
}

impl Session for &Redb {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        transaction.open_table(VALUES)?.insert(key, value)?;
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        let table = self.database.begin_read()?.open_table(VALUES)?;
        Ok(table.get(key)?.map(|value| show(value.value())).is_some())
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let transaction = self.begin()?;
        let found = transaction.open_table(VALUES)?.remove(key)?.is_some();
        transaction.commit()?;
        Ok(found)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let transaction = self.begin()?;
        let mut table = transaction.open_table(VALUES)?;
        for (key, value) in entries {
            table.insert(key, value.as_slice())?;
        }
        drop(table);
        Ok(transaction.commit()?)
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let transaction = self.begin()?;
        let mut counters = transaction.open_table(COUNTERS)?;
        let mut completions = transaction.open_table(COMPLETIONS)?;
        let (sum, completion) = {
            let last = completions.get(call.client)?;
            let sum = counters.get(call.counter)?;
            step(call, last.as_ref().map(|last| last.value()), sum.as_ref().map(|sum| sum.value()))?
        };
        if let Some(completion) = completion {
            counters.insert(call.counter, sum.to_le_bytes().as_slice())?;
            completions.insert(call.client, completion.as_slice())?;
        }
        drop((counters, completions));
        transaction.commit()?;
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        let table = self.database.begin_read()?.open_table(COUNTERS)?;
        sum_of(table.get(counter)?.as_ref().map(|sum| sum.value()))
    }
}
