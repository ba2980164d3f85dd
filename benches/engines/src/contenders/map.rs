//! Maps in memory, which keep nothing: the ceiling.

use crate::store::{Call, Durability, Session, Sizes, Store};
use anyhow::bail;
use std::{
    collections::HashMap,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// The map of Rust's library in one lock.
pub(crate) fn mutex(_: &Path, _: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    Ok(Box::new(InMemory(Mutex::new(HashMap::<u64, Box<[u8]>>::new()))))
}

/// The concurrent map that is used most.
#[cfg(feature = "dashmap")]
pub(crate) fn dash(_: &Path, _: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    Ok(Box::new(InMemory(dashmap::DashMap::<u64, Box<[u8]>>::new())))
}

trait Map: Send + Sync {
    fn put(&self, key: u64, value: &[u8]);
    fn get(&self, key: u64, show: &mut dyn FnMut(&[u8])) -> bool;
    fn delete(&self, key: u64) -> bool;
}

impl Map for Mutex<HashMap<u64, Box<[u8]>>> {
    fn put(&self, key: u64, value: &[u8]) {
        self.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value.into());
    }

    fn get(&self, key: u64, show: &mut dyn FnMut(&[u8])) -> bool {
        self.lock().unwrap_or_else(PoisonError::into_inner).get(&key).map(|value| show(value)).is_some()
    }

    fn delete(&self, key: u64) -> bool {
        self.lock().unwrap_or_else(PoisonError::into_inner).remove(&key).is_some()
    }
}

#[cfg(feature = "dashmap")]
impl Map for dashmap::DashMap<u64, Box<[u8]>> {
    fn put(&self, key: u64, value: &[u8]) {
        self.insert(key, value.into());
    }

    fn get(&self, key: u64, show: &mut dyn FnMut(&[u8])) -> bool {
        self.get(&key).map(|value| show(&value)).is_some()
    }

    fn delete(&self, key: u64) -> bool {
        self.remove(&key).is_some()
    }
}

struct InMemory<M>(M);

impl<M: Map> Store for InMemory<M> {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl<M: Map> Session for &InMemory<M> {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        self.0.put(key, value);
        Ok(())
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        Ok(self.0.get(key, show))
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        Ok(self.0.delete(key))
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        entries.iter().for_each(|(key, value)| self.0.put(*key, value));
        Ok(())
    }

    fn add_once(&mut self, _: Call) -> anyhow::Result<u64> {
        bail!("a map in memory keeps no completions")
    }

    fn sum(&mut self, _: u64) -> anyhow::Result<u64> {
        bail!("a map in memory keeps no completions")
    }
}
