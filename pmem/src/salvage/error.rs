//! Why nothing could be saved.

use crate::{
    index::IndexError,
    region::{CloseError, CreateError, GrowError, OpenError},
    types::TypeError,
};
use std::path::PathBuf;

/// Why there is no salvaged region. What was to be saved was not changed, and nothing has the name of the new region that had
/// not before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SalvageError {
    /// There is something of the new region's name, which is never replaced.
    #[error("{} exists already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// Neither superblock can be used. They hold what all checksums begin with, so that nothing else can be told from garbage;
    /// an earlier copy of the file has the same ones: see [`superblock_of`](super::SalvageOptions::superblock_of).
    #[error("both superblocks are damaged; an earlier copy of the file could lend its own")]
    NoSuperblock(#[source] OpenError),
    /// The file to read cannot be opened, is in use, or ends before anything could be saved.
    #[error("cannot read the damaged region")]
    Read(#[source] OpenError),
    /// The file that was to lend its superblock cannot be read, or its own are damaged too.
    #[error("cannot read the superblock of the other file")]
    Lender(#[source] OpenError),
    /// The new region cannot be made.
    #[error("cannot make the new region")]
    Create(#[source] CreateError),
    /// The new region cannot be made large enough.
    #[error("cannot make the new region larger")]
    Grow(#[from] GrowError),
    /// Something that was read cannot be stored into the new region.
    #[error("cannot write into the new region")]
    Write(#[from] TypeError),
    /// A name cannot be created in the new region.
    #[error("cannot create a name in the new region")]
    Name(#[from] IndexError),
    /// The new region cannot be made durable.
    #[error("cannot close the new region")]
    Close(#[from] CloseError),
    /// The new region is whole, but cannot be given its name.
    #[error("cannot name the new region")]
    Publish(#[source] CreateError),
}
