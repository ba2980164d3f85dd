//! RocksDB, through the C functions of the system's library.
//!
//! `ProcessCrash` writes the log without a sync, `PowerFail` with one. No compression: values are too small for it.
//!
//! Access rules: a `Rocks` owns the objects behind its pointers until it is closed. All of them may be used by many
//! threads at once, except write batches, of which each call makes its own.

use super::stripes::Stripes;
use crate::store::{Call, Durability, Session, Sizes, Store, step, sum_of};
use anyhow::bail;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_uchar, c_void},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr, slice,
};

macro_rules! opaque {
    ($($name:ident),*) => {$(
        #[repr(C)]
        struct $name {
            opaque: [u8; 0],
        }
    )*};
}

opaque!(RawDb, Options, ReadOptions, WriteOptions, Batch);

unsafe extern "C" {
    fn rocksdb_options_create() -> *mut Options;
    fn rocksdb_options_destroy(options: *mut Options);
    fn rocksdb_options_set_create_if_missing(options: *mut Options, on: c_uchar);
    fn rocksdb_options_set_compression(options: *mut Options, kind: c_int);
    fn rocksdb_open(options: *const Options, path: *const c_char, error: *mut *mut c_char) -> *mut RawDb;
    fn rocksdb_close(database: *mut RawDb);
    fn rocksdb_writeoptions_create() -> *mut WriteOptions;
    fn rocksdb_writeoptions_destroy(options: *mut WriteOptions);
    fn rocksdb_writeoptions_set_sync(options: *mut WriteOptions, on: c_uchar);
    fn rocksdb_readoptions_create() -> *mut ReadOptions;
    fn rocksdb_readoptions_destroy(options: *mut ReadOptions);
    fn rocksdb_put(
        database: *mut RawDb,
        options: *const WriteOptions,
        key: *const c_char,
        key_bytes: usize,
        value: *const c_char,
        value_bytes: usize,
        error: *mut *mut c_char,
    );
    fn rocksdb_delete(
        database: *mut RawDb,
        options: *const WriteOptions,
        key: *const c_char,
        key_bytes: usize,
        error: *mut *mut c_char,
    );
    fn rocksdb_get(
        database: *mut RawDb,
        options: *const ReadOptions,
        key: *const c_char,
        key_bytes: usize,
        value_bytes: *mut usize,
        error: *mut *mut c_char,
    ) -> *mut c_char;
    fn rocksdb_write(
        database: *mut RawDb,
        options: *const WriteOptions,
        batch: *mut Batch,
        error: *mut *mut c_char,
    );
    fn rocksdb_writebatch_create() -> *mut Batch;
    fn rocksdb_writebatch_destroy(batch: *mut Batch);
    fn rocksdb_writebatch_put(
        batch: *mut Batch,
        key: *const c_char,
        key_bytes: usize,
        value: *const c_char,
        value_bytes: usize,
    );
    fn rocksdb_free(memory: *mut c_void);
}

pub(crate) fn open(directory: &Path, durability: Durability, _: Sizes) -> anyhow::Result<Box<dyn Store>> {
    let path = CString::new(directory.as_os_str().as_bytes())?;
    let mut error = ptr::null_mut();
    // SAFETY: each object is used between its creation and its destruction; the path lives through the call.
    let rocks = unsafe {
        let options = rocksdb_options_create();
        rocksdb_options_set_create_if_missing(options, 1);
        rocksdb_options_set_compression(options, 0);
        let database = rocksdb_open(options, path.as_ptr(), &mut error);
        rocksdb_options_destroy(options);
        checked(error)?;
        let write = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(write, (durability == Durability::PowerFail).into());
        Rocks { database, write, read: rocksdb_readoptions_create(), stripes: Stripes::new() }
    };
    Ok(Box::new(rocks))
}

struct Rocks {
    database: *mut RawDb,
    write: *mut WriteOptions,
    read: *mut ReadOptions,
    stripes: Stripes,
}

// SAFETY: RocksDB allows any thread to use a database and its options; see the access rules.
unsafe impl Send for Rocks {}
// SAFETY: the same.
unsafe impl Sync for Rocks {}

/// Takes the message, if there is one.
fn checked(error: *mut c_char) -> anyhow::Result<()> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: RocksDB gives a message that ends with a zero and is the caller's to free.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        rocksdb_free(error.cast());
        text
    };
    bail!("RocksDB: {text}")
}

/// Keys of the two tables beside the values have a ninth byte.
fn beside(table: u8, key: u64) -> [u8; 9] {
    let mut bytes = [table; 9];
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    bytes
}

const COUNTERS: u8 = 1;
const COMPLETIONS: u8 = 2;

impl Rocks {
    fn look(&self, key: &[u8], show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        let (mut bytes, mut error) = (0, ptr::null_mut());
        // SAFETY: the key lives through the call.
        let found = unsafe {
            rocksdb_get(self.database, self.read, key.as_ptr().cast(), key.len(), &mut bytes, &mut error)
        };
        checked(error)?;
        if found.is_null() {
            return Ok(false);
        }
        // SAFETY: RocksDB gives a copy of so many bytes, which is freed after its only use.
        unsafe {
            show(slice::from_raw_parts(found.cast(), bytes));
            rocksdb_free(found.cast());
        }
        Ok(true)
    }

    fn read(&self, key: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
        let mut value = None;
        self.look(key, &mut |bytes| value = Some(bytes.to_vec()))?;
        Ok(value)
    }

    fn write(&self, entries: &[(&[u8], &[u8])]) -> anyhow::Result<()> {
        let mut error = ptr::null_mut();
        // SAFETY: the batch is this call's own; it copies keys and values, which live through the call.
        unsafe {
            let batch = rocksdb_writebatch_create();
            for (key, value) in entries {
                let (key, value) = ((key.as_ptr().cast(), key.len()), (value.as_ptr().cast(), value.len()));
                rocksdb_writebatch_put(batch, key.0, key.1, value.0, value.1);
            }
            rocksdb_write(self.database, self.write, batch, &mut error);
            rocksdb_writebatch_destroy(batch);
        }
        checked(error)
    }
}

impl Store for Rocks {
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>> {
        Ok(Box::new(self))
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        // SAFETY: no session borrows it any more, and none of the three is used again.
        unsafe {
            rocksdb_readoptions_destroy(self.read);
            rocksdb_writeoptions_destroy(self.write);
            rocksdb_close(self.database);
        }
        Ok(())
    }
}

impl Session for &Rocks {
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()> {
        let (key, mut error) = (key.to_le_bytes(), ptr::null_mut());
        let (at, bytes) = (value.as_ptr().cast(), value.len());
        // SAFETY: key and value live through the call.
        unsafe {
            rocksdb_put(self.database, self.write, key.as_ptr().cast(), key.len(), at, bytes, &mut error)
        };
        checked(error)
    }

    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool> {
        self.look(&key.to_le_bytes(), show)
    }

    /// Does not look whether there was one: a deletion is a record like any other.
    fn delete(&mut self, key: u64) -> anyhow::Result<bool> {
        let (key, mut error) = (key.to_le_bytes(), ptr::null_mut());
        // SAFETY: the key lives through the call.
        unsafe { rocksdb_delete(self.database, self.write, key.as_ptr().cast(), key.len(), &mut error) };
        checked(error).map(|()| true)
    }

    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()> {
        let keys: Vec<[u8; 8]> = entries.iter().map(|(key, _)| key.to_le_bytes()).collect();
        let pairs = keys.iter().zip(entries).map(|(key, (_, value))| (key.as_slice(), value.as_slice()));
        self.write(&pairs.collect::<Vec<_>>())
    }

    fn add_once(&mut self, call: Call) -> anyhow::Result<u64> {
        let _alone = self.stripes.lock(call.counter);
        let (counter, client) = (beside(COUNTERS, call.counter), beside(COMPLETIONS, call.client));
        let (sum, completion) = step(call, self.read(&client)?.as_deref(), self.read(&counter)?.as_deref())?;
        if let Some(completion) = completion {
            self.write(&[(&counter, &sum.to_le_bytes()), (&client, &completion)])?;
        }
        Ok(sum)
    }

    fn sum(&mut self, counter: u64) -> anyhow::Result<u64> {
        sum_of(self.read(&beside(COUNTERS, counter))?.as_deref())
    }
}
