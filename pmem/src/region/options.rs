//! What a caller asks of a region.

use std::path::PathBuf;

use super::boot::BOOT_ID;
use crate::layout::Geometry;
use crate::line_log;
use crate::mapping::io::Io;
use crate::mapping::{DEFAULT_RESERVE, DomainRequest, MapOptions, Persistence};

/// How to create or open a region.
#[derive(Debug, Clone)]
pub struct RegionOptions {
    /// The promise that is needed. If the file cannot give it, opening fails.
    pub persistence: Persistence,
    /// Sizes of a region that is created. Opening finds them in the file.
    pub geometry: Geometry,
    /// Sizes of the log beside the region, if it must have one ([`Domain::File`](crate::Domain::File)) and there is none yet;
    /// and each time, how many pages may be changed between two checkpoints
    /// ([`with_pages`](line_log::Options::with_pages)).
    pub log: line_log::Options,
    /// Takes any file system; see [`DomainRequest::force_file_system`].
    pub force_file_system: bool,
    /// Bytes of addresses to reserve: how far the region can grow while it is open.
    pub reserve: u64,
    /// Whether a file that another process cuts short poisons the region instead of ending the process. Off for
    /// programs that handle SIGBUS themselves.
    pub guard_truncation: bool,
    /// Writes cache lines back also where the domain does not need it: to distrust eADR, and to measure the cost.
    pub force_flush: bool,
    /// Opens for reading also what a power loss may have left in any state. To salvage; never for writing.
    pub accept_power_loss: bool,
    /// The key of the hashes of a region that is created; a random one if `None`, so that nobody outside can choose names that
    /// collide. Two regions of one key have their maps in the same order.
    pub hash_key: Option<[u8; 16]>,
    /// Makes the system calls. For tests.
    #[doc(hidden)]
    pub io: Io,
    /// Where `sysfs` is mounted. For tests.
    #[doc(hidden)]
    pub sysfs: PathBuf,
    /// The file with the kernel's boot id. For tests.
    #[doc(hidden)]
    pub boot_id: PathBuf,
}

impl RegionOptions {
    /// Asks for the promise, and the defaults for the rest.
    #[must_use]
    pub fn new(persistence: Persistence) -> Self {
        Self {
            persistence,
            geometry: Geometry::default(),
            log: line_log::Options::default(),
            force_file_system: false,
            reserve: DEFAULT_RESERVE,
            guard_truncation: true,
            force_flush: false,
            accept_power_loss: false,
            hash_key: None,
            io: Io::new(),
            sysfs: PathBuf::from("/sys"),
            boot_id: PathBuf::from(BOOT_ID),
        }
    }

    pub(super) fn domain_request(&self) -> DomainRequest {
        DomainRequest {
            persistence: self.persistence,
            force_file_system: self.force_file_system,
            sysfs: self.sysfs.clone(),
        }
    }

    pub(super) fn map_options(&self) -> MapOptions {
        MapOptions {
            io: self.io.clone(),
            reserve: self.reserve,
            guard_truncation: self.guard_truncation,
            force_flush: self.force_flush,
            write_back: None,
        }
    }
}
