//! Which functions this program can run as cloud threads, and how one is found again on the other side.
//!
//! `#[cloud_function]` leaves one [`Entry`] for each function, which the crate `inventory` collects before
//! `main`. A function goes to its cloud thread as a name, and the name is all that travels: the other side runs
//! the same binary, so it has the same entries.
//!
//! # From a function to its entry
//! [`CloudThread::spawn`](crate::CloudThread::spawn) gets the function as a value. Each function has a type of
//! its own, and the entry knows the [`TypeId`] of its function, so that the two meet in a map. This is sound
//! because it never leaves the process: both ids come from one binary, where the compiler guarantees that
//! different types have different ids (`std::any::type_name` would do nearly as well, but two functions of one
//! name in two blocks share it; here it only serves messages). Names, in turn, are for humans to choose, and
//! nobody guarantees that they differ, so a name that two entries claim is an error for both of them.

use crate::error::JoinError;
use std::{
    any::{TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::OnceLock,
};

/// Which function an entry stands for.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    id: TypeId,
    type_name: &'static str,
}

impl Identity {
    /// The identity of this function.
    pub fn of<F: 'static>(_function: &F) -> Self {
        Identity { id: TypeId::of::<F>(), type_name: type_name::<F>() }
    }
}

/// A registered function. Only `#[cloud_function]` makes one.
#[derive(Debug)]
pub struct Entry {
    name: &'static str,
    identity: fn() -> Identity,
    run: fn(&[u8]) -> Result<Vec<u8>, JoinError>,
    file: &'static str,
    line: u32,
}

inventory::collect!(Entry);

impl Entry {
    /// An entry, at compile time.
    pub const fn new(
        name: &'static str,
        identity: fn() -> Identity,
        run: fn(&[u8]) -> Result<Vec<u8>, JoinError>,
        file: &'static str,
        line: u32,
    ) -> Self {
        Entry { name, identity, run, file, line }
    }

    /// The name under which the function travels.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Decodes the arguments, calls the function and encodes its result, on the calling thread.
    pub(crate) fn run(&self, arguments: &[u8]) -> Result<Vec<u8>, JoinError> {
        (self.run)(arguments)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { name, identity, file, line, .. } = self;
        write!(f, "`{name}` is `{}` ({file}:{line})", identity().type_name)
    }
}

/// The entry of a function that a cloud thread is to run.
pub(crate) fn find<F: 'static>(function: &F) -> Result<&'static Entry, JoinError> {
    let Identity { id, type_name } = Identity::of(function);
    let entry = only(registry().by_identity.get(&id), type_name)?;
    find_name(entry.name)
}

/// The entry of this name.
pub(crate) fn find_name(name: &str) -> Result<&'static Entry, JoinError> {
    only(registry().by_name.get(name), name)
}

fn only(found: Option<&Vec<&'static Entry>>, name: &str) -> Result<&'static Entry, JoinError> {
    match found.map(Vec::as_slice) {
        None | Some([]) => Err(JoinError::NotRegistered { name: name.to_owned() }),
        Some([entry]) => Ok(entry),
        Some([first, second, ..]) => {
            Err(JoinError::Duplicate { first: first.to_string(), second: second.to_string() })
        }
    }
}

#[derive(Default)]
struct Registry {
    by_name: HashMap<&'static str, Vec<&'static Entry>>,
    by_identity: HashMap<TypeId, Vec<&'static Entry>>,
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Registry::default();
        for entry in inventory::iter::<Entry> {
            registry.by_name.entry(entry.name).or_default().push(entry);
            registry.by_identity.entry((entry.identity)().id).or_default().push(entry);
        }
        registry
    })
}
