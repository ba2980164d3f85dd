//! LMDB: a copy-on-write B+tree in a mapped file, one writer at a time.
//!
//! `ProcessCrash` is `NO_SYNC | WRITE_MAP`: a commit ends in the shared map. `PowerFail` is the default: a commit
//! writes its pages, calls `fdatasync`, and writes the meta page through a file opened with `O_DSYNC`.
//!
//! The sole unsafe block opens the environment: see there.

use crate::store::{Call, Durability, Session, Sizes, Store, step, sum_of};
use heed::{
    Database, Env, EnvFlags, EnvOpenOptions, WithTls,
    byteorder::NativeEndian,
    types::{Bytes, U64},
};
use std::path::Path;

type Table = Database<U64<NativeEndian>, Bytes>;

/// The map is of whole ones.
const PAGE_BYTES: usize = 4096;

pub(crate) fn open(directory: &Path, durability: Durability, sizes: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let mut options = EnvOpenOptions::new();
    // Address space, and with WRITE_MAP a sparse file of so many bytes.
    let bytes = (256 << 20) + sizes.keys * (sizes.value_bytes + 64) * 4;
    options.map_size(bytes.next_multiple_of(PAGE_BYTES)).max_dbs(3).max_readers(256);
    if durability == Durability::ProcessCrash {
        // SAFETY: NO_SYNC gives up durability after a power failure, which this class does not promise; WRITE_MAP
        // lets wild writes into the file, and nothing here has a pointer into the map.
        unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::WRITE_MAP) };
    }
    // SAFETY: the directory is the benchmark's own, so no one truncates or changes the mapped file meanwhile.
    let environment = unsafe { options.open(directory)? };
    let mut transaction = environment.write_txn()?;
    let mut table = |name| environment.create_database(&mut transaction, Some(name));
    let (values, counters, completions) = (table("values")?, table("counters")?, table("completions")?);
    transaction.commit()?;
    Ok(Box::new(Lmdb { environment, values, counters, completions }))
}

struct Lmdb {
    environment: Env<WithTls>,
    values: Table,
    counters: Table,
    completions: Table,
}

impl Store for Lmdb {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        self.environment.prepare_for_closing().wait();
        Ok(())
    }
}

impl Session for &Lmdb {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        let mut transaction = self.environment.write_txn()?;
        self.values.put(&mut transaction, &key, value)?;
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        let transaction = self.environment.read_txn()?;
        Ok(self.values.get(&transaction, &key)?.map(show).is_some())
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let mut transaction = self.environment.write_txn()?;
        let found = self.values.delete(&mut transaction, &key)?;
        transaction.commit()?;
        Ok(found)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let mut transaction = self.environment.write_txn()?;
        for (key, value) in entries {
            self.values.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let mut transaction = self.environment.write_txn()?;
        let last = self.completions.get(&transaction, &call.client)?;
        let (sum, completion) = step(call, last, self.counters.get(&transaction, &call.counter)?)?;
        if let Some(completion) = completion {
            self.counters.put(&mut transaction, &call.counter, &sum.to_le_bytes())?;
            self.completions.put(&mut transaction, &call.client, &completion)?;
            transaction.commit()?;
        }
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        let transaction = self.environment.read_txn()?;
        sum_of(self.counters.get(&transaction, &counter)?)
    }
}
