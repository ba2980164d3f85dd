//! Memory that is read although it failed.

use crate::mem::{MediaError, Mem, Site};

/// Memory whose failures are looked at in the end, and not by whoever reads it: a page that cannot be read is zeros.
#[derive(Debug)]
pub(super) struct Forgiving<M>(pub(super) M);

impl<M: Mem> Mem for Forgiving<M> {
    const SLEEPS: bool = M::SLEEPS;

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn load(&self, offset: u64) -> u64 {
        self.0.load(offset)
    }

    fn store(&self, offset: u64, value: u64) {
        self.0.store(offset, value);
    }

    fn compare_exchange(&self, offset: u64, current: u64, new: u64) -> Result<u64, u64> {
        self.0.compare_exchange(offset, current, new)
    }

    fn fetch_or(&self, offset: u64, bits: u64) -> u64 {
        self.0.fetch_or(offset, bits)
    }

    fn fetch_and(&self, offset: u64, bits: u64) -> u64 {
        self.0.fetch_and(offset, bits)
    }

    fn read(&self, offset: u64, out: &mut [u8]) {
        self.0.read(offset, out);
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.0.write(offset, bytes);
    }

    fn flush(&self, site: Site, offset: u64, len: u64) {
        self.0.flush(site, offset, len);
    }

    fn order(&self, site: Site) {
        self.0.order(site);
    }

    fn fence(&self, site: Site) {
        self.0.fence(site);
    }

    fn health(&self) -> Result<(), MediaError> {
        Ok(())
    }
}
