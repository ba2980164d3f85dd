//! Opening a store: the one choice of where objects live.

use abide_client::{CallError, RemoteOptions};
use abide_shards::embedded::{EmbeddedOptions, EmbeddedStore};
use std::{ops::Deref, path::Path, sync::Arc};

pub use abide_shards::embedded::{EmbeddedOptions as StoreOptions, OpenError};

/// A store of shared objects: embedded in this process, or on a node. Cheap to clone.
///
/// All that it offers beyond being opened, handles above all, it has from [`abide_client::Store`].
#[derive(Debug, Clone)]
pub struct Store {
    handles: abide_client::Store,
    /// The shards, if they are in this process.
    embedded: Option<Arc<EmbeddedStore>>,
}

/// Why the place that the environment names could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// It is a file.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is a node.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Store {
    /// A store in this process, which is gone when the last handle to it is.
    pub fn in_memory() -> Store {
        Store::embedded(EmbeddedStore::in_memory(&EmbeddedOptions::default()))
    }

    /// A store in this process whose objects are kept in a file, unless their handles are
    /// [`ephemeral`](crate::handles::AtomicLong::ephemeral). The file is created if it is absent.
    ///
    /// What a call changed is there when it returns, and survives the end of the process at any instruction; by another
    /// [`persistence`](StoreOptions::persistence) of the [options](Store::open_with) also that of the machine. Sessions end with
    /// their process: what they held is given back. If the machine stopped, and that was not to be survived, the next opening
    /// says so ([`OpenError::Unclean`]).
    pub fn open(path: impl AsRef<Path>) -> Result<Store, OpenError> {
        Store::open_with(path, &StoreOptions::default())
    }

    /// The same with a choice of shards, of types, of what objects survive, and of how large the file may grow.
    pub fn open_with(path: impl AsRef<Path>, options: &StoreOptions) -> Result<Store, OpenError> {
        EmbeddedStore::open(path.as_ref(), options).map(Store::embedded)
    }

    /// A store on the node at `address` (`host:port`). `Unavailable` if none answers there.
    pub fn connect(address: &str) -> Result<Store, CallError> {
        Ok(Store { handles: abide_client::Store::connect(address)?, embedded: None })
    }

    /// The same with these options, whatever the environment says of them.
    pub fn connect_with(address: &str, options: &RemoteOptions) -> Result<Store, CallError> {
        Ok(Store { handles: abide_client::Store::connect_with(address, options)?, embedded: None })
    }

    /// The store that the environment variable ABIDE names: a node's address or a file, see [`Store::at`].
    /// Where it is not set: the [current](Store::current) store, or else a new one in memory.
    pub fn from_env() -> Result<Store, PlaceError> {
        match std::env::var("ABIDE") {
            Ok(place) if !place.is_empty() => Store::at(&place),
            _ => Ok(Store::current().unwrap_or_else(|_| Store::in_memory())),
        }
    }

    /// A store by the name of its place: `host:port` without a slash is a node, anything else a file.
    pub fn at(place: &str) -> Result<Store, PlaceError> {
        Store::at_with(place, &StoreOptions::default())
    }

    /// The same; the options are for a file.
    pub fn at_with(place: &str, options: &StoreOptions) -> Result<Store, PlaceError> {
        if names_a_node(place) { Ok(Store::connect(place)?) } else { Ok(Store::open_with(place, options)?) }
    }

    /// The store of the cloud thread that calls this, or else the one that this process opened first. See
    /// [`abide_client::Store::current`].
    pub fn current() -> Result<Store, CallError> {
        Ok(Store { handles: abide_client::Store::current()?, embedded: None })
    }

    /// Closes an embedded store and, if it has a file, brings all of it to the disk. Handles that are left find it
    /// `Unavailable`. A store that is dropped does the same, but can tell nobody of an error. On a store that
    /// is a node's, or was had from [`Store::current`], this does nothing.
    pub fn close(self) -> Result<(), OpenError> {
        self.embedded.as_ref().map_or(Ok(()), |store| store.close())
    }

    /// The handles of this store in their asynchronous form.
    ///
    /// For an embedded store they run on any executor, and this never waits. `Unavailable` for a store that
    /// is a node's: use `abide_client::AsyncStore::connect` (feature `tokio`) there.
    pub fn asynchronous(&self) -> Result<abide_client::AsyncStore, CallError> {
        let embedded = self.embedded.clone().ok_or_else(|| CallError::Unavailable {
            reason: "asynchronous handles to a node's objects come from AsyncStore::connect".to_owned(),
        })?;
        Ok(abide_client::AsyncStore::from_caller(embedded))
    }

    fn embedded(store: EmbeddedStore) -> Store {
        let embedded = Arc::new(store);
        Store { handles: abide_client::Store::from_caller(embedded.clone()), embedded: Some(embedded) }
    }
}

/// Whether the name of a place is a node's address: `host:port` without a slash.
pub fn names_a_node(place: &str) -> bool {
    let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    port.is_some() && !place.contains('/')
}

impl Deref for Store {
    type Target = abide_client::Store;

    fn deref(&self) -> &abide_client::Store {
        &self.handles
    }
}
