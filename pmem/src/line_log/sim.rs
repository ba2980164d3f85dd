//! A disk that forgets what was not synced: for tests.
//!
//! Two files, the log and the region. A write is seen by reads at once. Until its file is synced a power cut keeps, for each
//! sector on its own, the contents after any of the writes, or torn between two of them. A sync that fails forgets what
//! it has not made durable, and lets reads see it all the same, as Linux does.

use super::{LogRule, Storage};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that a cut keeps or loses together, mostly.
const SECTOR: usize = 512;

/// One file's bytes.
#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Contents of sectors after each write since the last sync, in order.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// What both files hold at one instant.
#[derive(Debug, Clone, Default)]
pub struct Image {
    files: [File; 2],
}

impl Image {
    /// Two files, durable as they are.
    #[must_use]
    pub fn new(log: Vec<u8>, region: Vec<u8>) -> Image {
        let file = |bytes: Vec<u8>| File { cached: bytes.clone(), durable: bytes, unsynced: BTreeMap::new() };
        Image { files: [file(log), file(region)] }
    }

    /// What reads of the log see.
    #[must_use]
    pub fn log(&self) -> &[u8] {
        &self.files[0].cached
    }

    /// What reads of the region see.
    #[must_use]
    pub fn region(&self) -> &[u8] {
        &self.files[1].cached
    }

    /// How many images a cut can leave, torn sectors apart.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        let versions = self.files.iter().flat_map(|file| file.unsynced.values());
        versions.fold(1, |product: u64, versions| product.saturating_mul(versions.len() as u64 + 1))
    }

    /// The image that a power cut leaves. `choose(n)` picks one of n; with `tear` also where a sector is torn.
    #[must_use]
    pub fn cut(&self, tear: bool, mut choose: impl FnMut(usize) -> usize) -> Image {
        let mut files = self.files.clone().map(|file| {
            let mut bytes = file.durable;
            for (sector, versions) in &file.unsynced {
                let at = sector * SECTOR;
                let version = choose(versions.len() + 1);
                if version > 0 {
                    put(&mut bytes, at, &versions[version - 1]);
                }
                if tear && version < versions.len() && choose(4) == 0 {
                    let next = &versions[version];
                    put(&mut bytes, at, &next[..choose(next.len() / 8 + 1) * 8]);
                }
            }
            bytes
        });
        let [log, region] = &mut files;
        Image::new(std::mem::take(log), std::mem::take(region))
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() < at + part.len() {
        bytes.resize(at + part.len(), 0);
    }
    bytes[at..at + part.len()].copy_from_slice(part);
}

/// What goes wrong, by the number of the write or sync, from 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// From this one on nothing works: the power is gone.
    pub power_off_at: Option<u64>,
    /// This one alone fails, with EIO.
    pub fail_at: Option<u64>,
    /// Writes and reads do a part of what is asked, and are interrupted.
    pub short: bool,
    /// The rule that the log is to break.
    pub broken: Option<LogRule>,
}

#[derive(Debug)]
struct Disk {
    image: Image,
    faults: Faults,
    calls: u64,
    reads: u64,
    record: bool,
    /// The image before each write and sync.
    recorded: Vec<Image>,
}

/// The disk; [`log`](Self::log) and [`region`](Self::region) are its two files.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// A disk that holds `image`. With `record` the image before each write and sync is kept.
    #[must_use]
    pub fn new(image: Image, faults: Faults, record: bool) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Disk {
            image,
            faults,
            calls: 0,
            reads: 0,
            record,
            recorded: Vec::new(),
        })))
    }

    /// The log's file.
    #[must_use]
    pub fn log(&self) -> SimFile {
        SimFile { disk: self.clone(), file: 0 }
    }

    /// The region's file.
    #[must_use]
    pub fn region(&self) -> SimFile {
        SimFile { disk: self.clone(), file: 1 }
    }

    /// What both files hold.
    #[must_use]
    pub fn image(&self) -> Image {
        self.with(|disk| disk.image.clone())
    }

    /// Writes and syncs so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.with(|disk| disk.calls)
    }

    /// The images before each write and sync, and the last one.
    #[must_use]
    pub fn recorded(&self) -> Vec<Image> {
        self.with(|disk| {
            let mut all = disk.recorded.clone();
            all.push(disk.image.clone());
            all
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Disk {
    /// Counts a write or sync, and says whether it fails.
    fn call(&mut self) -> io::Result<u64> {
        let call = self.calls;
        if self.faults.power_off_at.is_some_and(|at| call >= at) {
            return Err(io::Error::other("the power is off"));
        }
        if self.record {
            self.recorded.push(self.image.clone());
        }
        self.calls += 1;
        if self.faults.short && call % 5 == 3 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(call)
    }
}

/// A file of a [`SimDisk`].
#[derive(Debug, Clone)]
pub struct SimFile {
    disk: SimDisk,
    file: usize,
}

impl Storage for SimFile {
    fn pread(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.disk.with(|disk| {
            disk.reads += 1;
            let mut most = out.len();
            if disk.faults.short {
                if disk.reads % 5 == 3 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                most = most.min(1 + (disk.reads as usize * 37) % 700);
            }
            let bytes = &disk.image.files[self.file].cached;
            let start = bytes.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
            let read = most.min(bytes.len() - start);
            out[..read].copy_from_slice(&bytes[start..start + read]);
            Ok(read)
        })
    }

    fn pwrite(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.with(|disk| {
            let call = disk.call()?;
            if disk.faults.fail_at == Some(call) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let mut written = bytes.len();
            if disk.faults.short {
                written = written.min(1 + (call as usize * 37) % 200);
            }
            let at = usize::try_from(offset).map_err(io::Error::other)?;
            let file = &mut disk.image.files[self.file];
            put(&mut file.cached, at, &bytes[..written]);
            if written > 0 {
                for sector in at / SECTOR..=(at + written - 1) / SECTOR {
                    let end = file.cached.len().min((sector + 1) * SECTOR);
                    let content = file.cached[sector * SECTOR..end].to_vec();
                    file.unsynced.entry(sector).or_default().push(content);
                }
            }
            Ok(written)
        })
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.disk.with(|disk| {
            // An interrupted sync is an error like any other, so `short` leaves syncs alone.
            let call = match disk.call() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => disk.calls - 1,
                other => other?,
            };
            let file = &mut disk.image.files[self.file];
            let unsynced = std::mem::take(&mut file.unsynced);
            let fails = disk.faults.fail_at == Some(call);
            for (sector, versions) in unsynced {
                // Of what fails, some of the sectors are written all the same.
                if !fails || (sector as u64 + call).is_multiple_of(3) {
                    put(&mut file.durable, sector * SECTOR, versions.last().expect("one at least"));
                }
            }
            if fails { Err(io::Error::from_raw_os_error(libc::EIO)) } else { Ok(()) }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.with(|disk| Ok(disk.image.files[self.file].cached.len() as u64))
    }

    fn broken(&self, rule: LogRule) -> bool {
        self.disk.with(|disk| disk.faults.broken == Some(rule))
    }
}
