//! The stores under test.
//!
//! One file each; `pmemobj.rs` and `rocksdb.rs` are there where build.rs found the library.

mod abide;
mod floor;
mod map;

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(have_pmemobj)]
mod pmemobj;
#[cfg(feature = "redb")]
mod redb;
#[cfg(have_rocksdb)]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(any(feature = "fjall", have_rocksdb, have_pmemobj))]
mod stripes;

use crate::store::{Durability, Open};

/// A store, opened in one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Which classes it can be opened for.
    pub(crate) classes: &'static [Durability],
    /// How, or why this build cannot.
    pub(crate) open: Result<Open, &'static str>,
    pub(crate) abilities: Abilities,
}

/// What a contender has, apart from `put` and `close`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// It keeps what is put, and gives it back. The floor does not.
    pub(crate) keeps: bool,
    /// `add_once`.
    pub(crate) counters: bool,
    /// `put_all` is one commit.
    pub(crate) batches: bool,
}

const STORE: Abilities = Abilities { keeps: true, counters: true, batches: true };

/// All contenders, also those that this build lacks. The first one of a class that can be measured is what the others
/// of the class are compared with.
pub(crate) fn all() -> Vec<Contender> {
    use Durability::{Instructions, PowerFail, ProcessCrash, Volatile};
    let contender = |name, classes, open, abilities| Contender { name, classes, open, abilities };
    let no_batches = Abilities { batches: false, ..STORE };
    let keeps_only = Abilities { counters: false, ..no_batches };
    vec![
        contender("abide", &[ProcessCrash, Instructions, PowerFail], Ok(abide::open), STORE),
        contender("lmdb", &[ProcessCrash, PowerFail], lmdb(), STORE),
        contender("rocksdb", &[ProcessCrash, PowerFail], rocksdb(), STORE),
        contender("fjall", &[ProcessCrash, PowerFail], fjall(), STORE),
        // These two have no mode between "at the next flush" and "on the disk".
        contender("redb", &[Volatile, PowerFail], redb(), STORE),
        contender("sled", &[Volatile, PowerFail], sled(), STORE),
        contender("libpmemobj tx", &[Instructions], pmemobj(true), STORE),
        contender("libpmemobj atomic", &[Instructions], pmemobj(false), no_batches),
        contender("DashMap", &[Volatile], dash_map(), keeps_only),
        contender("HashMap in a Mutex", &[Volatile], Ok(map::mutex), keeps_only),
        contender(
            "write and fdatasync",
            &[PowerFail],
            Ok(floor::open),
            Abilities { keeps: false, counters: false, batches: true },
        ),
    ]
}

macro_rules! optional {
    ($($name:ident: $condition:meta => $open:expr, $otherwise:literal;)*) => {$(
        fn $name() -> Result<Open, &'static str> {
            #[cfg($condition)]
            return Ok($open);
            #[cfg(not($condition))]
            return Err($otherwise);
        }
    )*};
}

optional! {
    dash_map: feature = "dashmap" => map::dash, "built without the feature dashmap";
    fjall: feature = "fjall" => fjall::open, "built without the feature fjall";
    lmdb: feature = "lmdb" => lmdb::open, "built without the feature lmdb";
    redb: feature = "redb" => redb::open, "built without the feature redb";
    rocksdb: have_rocksdb => rocksdb::open, "librocksdb-dev was not installed when this was built";
    sled: feature = "sled" => sled::open, "built without the feature sled";
}

fn pmemobj(transactions: bool) -> Result<Open, &'static str> {
    #[cfg(have_pmemobj)]
    return Ok(if transactions { pmemobj::open_transactional } else { pmemobj::open_atomic });
    #[cfg(not(have_pmemobj))]
    {
        let _ = transactions;
        Err("libpmemobj-dev was not installed when this was built")
    }
}
