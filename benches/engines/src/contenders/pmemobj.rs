//! libpmemobj, through hash tables written in C (shim/pmemobj.c): with transactions, or with atomic calls.
//!
//! Access rules: a `Pool` owns the store behind its pointer until it is closed. The shim wants each call to hold the
//! locks of the buckets that it touches; libpmemobj itself may be used by many threads.

use super::stripes::Stripes;
use crate::store::{Call, Durability, Session, Sizes, Store};
use anyhow::bail;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr::NonNull,
    slice,
};

#[repr(C)]
struct Raw {
    opaque: [u8; 0],
}

unsafe extern "C" {
    fn abide_pmemobj_open(path: *const c_char, size: usize, buckets: u64, transactional: c_int) -> *mut Raw;
    fn abide_pmemobj_close(store: *mut Raw);
    fn abide_pmemobj_error() -> *const c_char;
    fn abide_pmemobj_buckets(store: *const Raw) -> u64;
    fn abide_pmemobj_get(store: *const Raw, key: u64, bytes: *mut usize) -> *const c_void;
    fn abide_pmemobj_put(store: *mut Raw, key: u64, value: *const c_void, bytes: usize) -> c_int;
    fn abide_pmemobj_delete(store: *mut Raw, key: u64) -> c_int;
    fn abide_pmemobj_add_once(
        store: *mut Raw,
        counter: u64,
        client: u64,
        sequence: u64,
        by: u64,
        sum: *mut u64,
    ) -> c_int;
    fn abide_pmemobj_sum(store: *const Raw, counter: u64) -> u64;
    fn abide_pmemobj_fences() -> u64;
}

pub(crate) fn open_transactional(path: &Path, _: Durability, sizes: Sizes) -> anyhow::Result<Box<dyn Store>> {
    open(path, sizes, true)
}

pub(crate) fn open_atomic(path: &Path, _: Durability, sizes: Sizes) -> anyhow::Result<Box<dyn Store>> {
    open(path, sizes, false)
}

fn open(directory: &Path, sizes: Sizes, transactional: bool) -> anyhow::Result<Box<dyn Store>> {
    // Without it libpmemobj calls msync for what is not real persistent memory; `main` sets it.
    anyhow::ensure!(std::env::var_os("PMEM_IS_PMEM_FORCE").is_some(), "PMEM_IS_PMEM_FORCE is not set");
    let path = CString::new(directory.join("pool").as_os_str().as_bytes())?;
    let buckets = sizes.keys.next_power_of_two().max(1 << 12) as u64;
    let bytes = (64 << 20) + buckets as usize * 24 + sizes.keys * (sizes.value_bytes + 128) * 2;
    // SAFETY: the path lives through the call.
    let raw = unsafe { abide_pmemobj_open(path.as_ptr(), bytes, buckets, transactional.into()) };
    let Some(raw) = NonNull::new(raw) else { bail!("opening a pool: {}", last_error()) };
    // SAFETY: it was just opened.
    let buckets = unsafe { abide_pmemobj_buckets(raw.as_ptr()) };
    Ok(Box::new(Pool {
        raw,
        buckets,
        values: Stripes::new(),
        counters: Stripes::new(),
        clients: Stripes::new(),
    }))
}

fn last_error() -> String {
    // SAFETY: libpmemobj keeps the text of this thread's last error until its next call.
    unsafe { CStr::from_ptr(abide_pmemobj_error()).to_string_lossy().into_owned() }
}

struct Pool {
    raw: NonNull<Raw>,
    buckets: u64,
    values: Stripes,
    counters: Stripes,
    clients: Stripes,
}

// SAFETY: each call into the shim holds the locks of what it touches, and libpmemobj may be used by any thread.
unsafe impl Send for Pool {}
// SAFETY: the same.
unsafe impl Sync for Pool {}

impl Pool {
    fn bucket(&self, key: u64) -> u64 {
        key & (self.buckets - 1)
    }
}

impl Store for Pool {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn fences(&self) -> Option<u64> {
        // SAFETY: reads a counter.
        Some(unsafe { abide_pmemobj_fences() })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        // SAFETY: no session borrows it any more, and it is not used again.
        unsafe { abide_pmemobj_close(self.raw.as_ptr()) };
        Ok(())
    }
}

fn checked(error: c_int) -> anyhow::Result<()> {
    if error != 0 {
        bail!("libpmemobj: error {error}: {}", last_error());
    }
    Ok(())
}

impl Session for &Pool {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        let _alone = self.values.lock(self.bucket(key));
        // SAFETY: the bucket is locked; the value lives through the call.
        checked(unsafe { abide_pmemobj_put(self.raw.as_ptr(), key, value.as_ptr().cast(), value.len()) })
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        let _alone = self.values.lock(self.bucket(key));
        let mut bytes = 0;
        // SAFETY: the bucket is locked.
        let found = unsafe { abide_pmemobj_get(self.raw.as_ptr(), key, &mut bytes) };
        if found.is_null() {
            return Ok(false);
        }
        // SAFETY: so many bytes of a value are there, and no one changes or frees them while its bucket is locked.
        show(unsafe { slice::from_raw_parts(found.cast(), bytes) });
        Ok(true)
    }

    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let _alone = self.values.lock(self.bucket(key));
        // SAFETY: the bucket is locked.
        match unsafe { abide_pmemobj_delete(self.raw.as_ptr(), key) } {
            libc::ENOENT => Ok(false),
            error => checked(error).map(|()| true),
        }
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        entries.iter().try_for_each(|(key, value)| self.put(*key, value))
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let Call { counter, client, sequence, by } = call;
        // Always in this order, so there is no deadlock.
        let _counter = self.counters.lock(self.bucket(counter));
        let _client = self.clients.lock(self.bucket(client));
        let mut sum = 0;
        // SAFETY: both buckets are locked; `sum` lives through the call.
        checked(unsafe {
            abide_pmemobj_add_once(self.raw.as_ptr(), counter, client, sequence, by, &mut sum)
        })?;
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        let _counter = self.counters.lock(self.bucket(counter));
        // SAFETY: the bucket is locked.
        Ok(unsafe { abide_pmemobj_sum(self.raw.as_ptr(), counter) })
    }
}
