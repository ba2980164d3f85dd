//! The least that durability on a file can cost: 4 KiB over old ones, and `fdatasync`.

use crate::store::{Call, Durability, Session, Sizes, Store};
use anyhow::bail;
use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 256;

pub(crate) fn open(directory: &Path, _: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let file = File::create(directory.join("floor"))?;
    // Written before, so that a sync has no block to allocate.
    file.write_all_at(&vec![1; BLOCK_BYTES * BLOCKS as usize], 0)?;
    file.sync_all()?;
    Ok(Box::new(Floor { file, next: AtomicU64::new(0) }))
}

struct Floor {
    file: File,
    next: AtomicU64,
}

impl Floor {
    fn commit(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        block[..bytes.len()].copy_from_slice(bytes);
        let nth = self.next.fetch_add(1, Relaxed) % BLOCKS;
        self.file.write_all_at(&block, nth * BLOCK_BYTES as u64)?;
        Ok(self.file.sync_data()?)
    }
}

impl Store for Floor {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Session for &Floor {
    fn put(&mut self, _: u64, value: &[u8]) -> anyhow::Result<()> {
        self.commit(value)
    }

    /// One block for all: what a log of small records would write.
    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let (key, value) = &entries[0];
        self.put(*key, value)
    }

    fn get(&mut self, _: u64, _: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        bail!("the floor keeps nothing")
    }

    fn delete(&mut self, _: u64) -> anyhow::Result<bool> {
        bail!("the floor keeps nothing")
    }

    fn add_once(&mut self, _: Call) -> anyhow::Result<u64> {
        bail!("the floor keeps nothing")
    }

    fn sum(&mut self, _: u64) -> anyhow::Result<u64> {
        bail!("the floor keeps nothing")
    }
}
