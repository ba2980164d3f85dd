//! The file that keeps an embedded store's objects while it is closed.
//!
//! ```text
//! 0  magic[8] "ABIDEKPT"   8 u16 version   10 u8 state (0 closed, 1 open)   11 zero[5]   16 u64 epoch
//! 24 u64 bytes of the objects   32 u64 XXH3 of the objects, seeded with the epoch   40 objects (bincode)
//! ```
//! Opening locks the file and sets its state to open. Closing writes a new file beside it and renames it over
//! the old one, so at each instant the path names a whole file: an old one that is marked open, or a new one.

use crate::shard::SavedObject;
use abide_net::{CallError, codec};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: [u8; 8] = *b"ABIDEKPT";
const VERSION: u16 = 1;
const STATE_OFFSET: u64 = 10;
const HEADER_BYTES: usize = 40;
const OPEN: u8 = 1;

/// Why an embedded store could not be opened, or not be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Someone else has it. Retrying later can work.
    #[error("the store {path} is in use")]
    InUse {
        /// Its file.
        path: PathBuf,
    },
    /// The process that had it open did not close it, or could not.
    #[error(
        "the store {path} was not closed in order, so what was changed since it was last opened is lost \
         (objects are in memory while it is open); accept that loss to open it as it was before"
    )]
    Unclean {
        /// Its file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not an Abide store")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote the file.
    #[error("the store {path} has format {found}, and this program knows {VERSION}")]
    NewerFormat {
        /// Its file.
        path: PathBuf,
        /// Its version.
        found: u16,
    },
    /// The file is damaged.
    #[error("the store {path} is damaged: {what}")]
    Corrupt {
        /// Its file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// The file is sound, but an object in it cannot be brought back: its type is not linked in, for example.
    #[error("the object {key:?} in the store {path} cannot be opened")]
    Object {
        /// The store's file.
        path: PathBuf,
        /// The object's key.
        key: String,
        /// Why not.
        source: CallError,
    },
    /// Reading or writing failed.
    #[error("the store {path} cannot be {what}")]
    Io {
        /// Its file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

/// An open store's file, locked and marked as open.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    epoch: u64,
    /// Holds the lock.
    _file: File,
}

impl Home {
    /// Opens or makes the file, and reads the objects in it. The epoch is greater than the one before, and at
    /// least `epoch_min`.
    pub(super) fn open(
        path: &Path,
        accept_loss: bool,
        epoch_min: u64,
    ) -> Result<(Home, Vec<SavedObject>), OpenError> {
        let failed = |what| move |source| OpenError::Io { path: path.into(), what, source };
        let mut file = lock(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let (mut epoch, mut objects) = (epoch_min, Vec::new());
        if bytes.is_empty() {
            // New, or made by a process that died before it came to this.
            write_file(path, &contents(epoch, OPEN, &objects)).map_err(failed("created"))?;
            file = lock(path)?;
        } else {
            let (state, last_epoch, kept) = parse(path, &bytes)?;
            if state == OPEN && !accept_loss {
                return Err(OpenError::Unclean { path: path.into() });
            }
            (epoch, objects) = (epoch_min.max(last_epoch + 1), kept);
            file.write_all_at(&[OPEN], STATE_OFFSET)
                .and_then(|()| file.sync_all())
                .map_err(failed("marked open"))?;
        }
        Ok((Home { path: path.into(), epoch, _file: file }, objects))
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes the objects, and leaves the store closed.
    pub(super) fn close(self, objects: Vec<SavedObject>) -> Result<(), OpenError> {
        write_file(&self.path, &contents(self.epoch, 0, &objects)).map_err(|source| OpenError::Io {
            path: self.path.clone(),
            what: "written",
            source,
        })
    }

    /// Lets the file go as it is: marked open.
    pub(super) fn abandon(self) -> PathBuf {
        self.path
    }
}

/// Opens, or creates, and locks the file that the path names.
fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Io { path: path.into(), what: "opened", source };
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        // Between opening and locking, a store that closed may have put a new file in this one's place.
        let (ours, named) = (file.metadata().map_err(failed)?, std::fs::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

fn contents(epoch: u64, state: u8, objects: &[SavedObject]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    // The objects of a store may be more than a frame holds: each is encoded by itself.
    for object in objects {
        let encoded = codec::encode(object).expect("a saved object can be encoded");
        bytes.extend_from_slice(&(encoded.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&encoded);
    }
    let (header, body) = bytes.split_at_mut(HEADER_BYTES);
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[STATE_OFFSET as usize] = state;
    header[16..24].copy_from_slice(&epoch.to_le_bytes());
    header[24..32].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[32..40].copy_from_slice(&xxh3_64_with_seed(body, epoch).to_le_bytes());
    bytes
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(u8, u64, Vec<SavedObject>), OpenError> {
    let corrupt = |what: &str| OpenError::Corrupt { path: path.into(), what: what.to_owned() };
    if !bytes.starts_with(&MAGIC) {
        return Err(OpenError::NotAStore { path: path.into() });
    }
    let (header, mut body) =
        bytes.split_at_checked(HEADER_BYTES).ok_or_else(|| corrupt("its header is cut off"))?;
    let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version != VERSION {
        return Err(OpenError::NewerFormat { path: path.into(), found: version });
    }
    let (state, epoch) = (header[STATE_OFFSET as usize], word(16));
    if state > OPEN || header[11..16] != [0; 5] {
        return Err(corrupt("its header makes no sense"));
    }
    if word(24) != body.len() as u64 {
        return Err(corrupt("it is cut off, or longer than it says"));
    }
    if word(32) != xxh3_64_with_seed(body, epoch) {
        return Err(corrupt("its checksum is wrong"));
    }
    let mut objects = Vec::new();
    while !body.is_empty() {
        let (length, rest) = body.split_first_chunk().ok_or_else(|| corrupt("an object is cut off"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (object, rest) = rest.split_at_checked(length).ok_or_else(|| corrupt("an object is cut off"))?;
        objects.push(codec::decode_own(object).map_err(|error| corrupt(&error.to_string()))?);
        body = rest;
    }
    Ok((state, epoch, objects))
}

/// Puts a file in the place of the one that the path names, in one step that a crash cannot divide.
fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
