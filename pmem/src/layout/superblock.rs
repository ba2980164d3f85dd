//! The superblock: what a region is, written once when it is created.

use super::{Geometry, GeometryError, Layout, SUPERBLOCK_BYTES};

/// What the first eight bytes of a region are.
const MAGIC: [u8; 8] = *b"ABIDERGN";
/// Regions of a greater major version are refused.
const MAJOR: u16 = 1;
const MINOR: u16 = 0;
/// Features without whose knowledge a region must not be opened. This version knows none.
const INCOMPATIBLE_KNOWN: u32 = 0;
/// Features without whose knowledge a region must not be written. This version knows none.
const READ_ONLY_KNOWN: u32 = 0;
const ENDIAN_MARK: u32 = 0x0102_0304;
/// Bytes before the checksum.
const CHECKED: usize = 160;

/// What tells one region from another. Chosen at random when a region is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Names the region. Checksums are seeded with it, so that bytes of another region never pass as this one's.
    pub uuid: [u8; 16],
    /// Key of the hash of names, so that nobody outside can choose names that collide.
    pub hash_key: [u8; 16],
    /// When the region was created, in seconds since 1970.
    pub created_s: u64,
}

/// The superblock of a region.
#[derive(Debug, Clone)]
pub struct Superblock {
    /// Which region.
    pub identity: Identity,
    /// Where its tables are.
    pub layout: Layout,
    /// Whether it may only be read, since it has features that this version does not know how to keep up.
    pub read_only: bool,
}

/// Why bytes are not a superblock that this version can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuperblockError {
    /// No region of ours begins like this.
    #[error("not a region: the first bytes are not {}", String::from_utf8_lossy(&MAGIC))]
    NotARegion,
    /// The checksum does not fit.
    #[error("bad checksum in the superblock")]
    Corrupt,
    /// A later version wrote it.
    #[error("the region has format {found}, this version knows up to {max}")]
    NewerFormat {
        /// The region's major version.
        found: u16,
        /// The greatest that is known here.
        max: u16,
    },
    /// It has something that this version or this machine cannot work with.
    #[error("the region cannot be used here: {what} is {found}, {must} is needed")]
    Incompatible {
        /// What does not fit.
        what: &'static str,
        /// What it is in the region.
        found: u64,
        /// What it must be here.
        must: u64,
    },
    /// Sizes that no version wrote.
    #[error("the superblock describes an impossible layout")]
    LayoutMismatch(#[from] GeometryError),
}

impl Superblock {
    /// A superblock of this version.
    ///
    /// # Errors
    /// If the geometry is out of range.
    pub fn new(identity: Identity, geometry: Geometry) -> Result<Self, GeometryError> {
        Ok(Self { identity, layout: geometry.layout()?, read_only: false })
    }

    /// What all checksums of this region begin with.
    #[must_use]
    pub fn checksum_seed(&self) -> u32 {
        crc32c::crc32c(&self.identity.uuid)
    }

    /// The bytes of the superblock.
    #[must_use]
    pub fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let mut at = 0;
        let mut put = |value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
            at += value.len();
        };
        put(&MAGIC);
        put(&MAJOR.to_le_bytes());
        put(&MINOR.to_le_bytes());
        put(&0u32.to_le_bytes()); // compatible features
        put(&0u32.to_le_bytes()); // incompatible features
        put(&0u32.to_le_bytes()); // features that forbid writing
        put(&ENDIAN_MARK.to_le_bytes());
        put(&4096u32.to_le_bytes()); // page
        put(&64u32.to_le_bytes()); // line
        put(&self.identity.uuid);
        put(&self.identity.hash_key);
        put(&self.identity.created_s.to_le_bytes());
        let geometry = self.layout.geometry();
        for size in [
            geometry.shards,
            geometry.lanes,
            geometry.chunk_bytes,
            geometry.zone_chunks,
            geometry.ring_slot_bytes,
            geometry.completions,
            geometry.directory_pages,
            0,
        ] {
            put(&size.to_le_bytes());
        }
        put(&geometry.command_ring_bytes.to_le_bytes());
        assert!(at <= CHECKED);
        let crc = crc32c::crc32c(&bytes[..CHECKED]);
        bytes[CHECKED..CHECKED + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a superblock. Any bytes are welcome.
    ///
    /// # Errors
    /// See [`SuperblockError`].
    pub fn decode(bytes: &[u8; SUPERBLOCK_BYTES]) -> Result<Self, SuperblockError> {
        let mut at = 0;
        let mut take = |n: usize| {
            let field = &bytes[at..at + n];
            at += n;
            field
        };
        let u16_of = |field: &[u8]| u16::from_le_bytes(field.try_into().expect("two bytes"));
        let u32_of = |field: &[u8]| u32::from_le_bytes(field.try_into().expect("four bytes"));
        let u64_of = |field: &[u8]| u64::from_le_bytes(field.try_into().expect("eight bytes"));
        if take(8) != MAGIC {
            return Err(SuperblockError::NotARegion);
        }
        if u32_of(&bytes[CHECKED..CHECKED + 4]) != crc32c::crc32c(&bytes[..CHECKED]) {
            return Err(SuperblockError::Corrupt);
        }
        let major = u16_of(take(2));
        let _minor = take(2);
        let _compatible = take(4);
        let incompatible = u32_of(take(4));
        let read_only = u32_of(take(4));
        if major > MAJOR || incompatible & !INCOMPATIBLE_KNOWN != 0 {
            return Err(SuperblockError::NewerFormat { found: major, max: MAJOR });
        }
        for (what, must) in [("byte order mark", ENDIAN_MARK), ("page size", 4096), ("line size", 64)] {
            let found = u32_of(take(4));
            if found != must {
                return Err(SuperblockError::Incompatible { what, found: found.into(), must: must.into() });
            }
        }
        let uuid = take(16).try_into().expect("16 bytes");
        let hash_key = take(16).try_into().expect("16 bytes");
        let created_s = u64_of(take(8));
        let geometry = Geometry {
            shards: u32_of(take(4)),
            lanes: u32_of(take(4)),
            chunk_bytes: u32_of(take(4)),
            zone_chunks: u32_of(take(4)),
            ring_slot_bytes: u32_of(take(4)),
            completions: u32_of(take(4)),
            directory_pages: u32_of(take(4)),
            command_ring_bytes: {
                take(4);
                u64_of(take(8))
            },
        };
        Ok(Self {
            identity: Identity { uuid, hash_key, created_s },
            layout: geometry.layout()?,
            read_only: read_only & !READ_ONLY_KNOWN != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        let identity = Identity { uuid: [7; 16], hash_key: [9; 16], created_s: 1_700_000_000 };
        Superblock::new(identity, Geometry::default()).unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let decoded = Superblock::decode(&sample().encode()).unwrap();
        assert_eq!(decoded.identity, sample().identity);
        assert_eq!(decoded.layout.geometry(), sample().layout.geometry());
        assert!(!decoded.read_only);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        for bit in 0..(CHECKED + 4) * 8 {
            let mut bytes = sample().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Superblock::decode(&bytes).expect_err("a flipped bit passed");
        }
    }

    /// Encodes the sample with a field changed and the checksum made good again.
    fn forged(at: usize, field: &[u8]) -> Result<Superblock, SuperblockError> {
        let mut bytes = sample().encode();
        bytes[at..at + field.len()].copy_from_slice(field);
        let crc = crc32c::crc32c(&bytes[..CHECKED]);
        bytes[CHECKED..CHECKED + 4].copy_from_slice(&crc.to_le_bytes());
        Superblock::decode(&bytes)
    }

    #[test]
    fn later_versions_and_other_machines_are_refused_by_name() {
        assert!(matches!(
            forged(8, &2u16.to_le_bytes()),
            Err(SuperblockError::NewerFormat { found: 2, max: 1 })
        ));
        assert!(matches!(forged(16, &1u32.to_le_bytes()), Err(SuperblockError::NewerFormat { .. })));
        assert!(forged(20, &1u32.to_le_bytes()).unwrap().read_only);
        assert!(matches!(
            forged(24, &0x0403_0201u32.to_le_bytes()),
            Err(SuperblockError::Incompatible { what: "byte order mark", .. })
        ));
        assert!(matches!(forged(76, &0u32.to_le_bytes()), Err(SuperblockError::LayoutMismatch(_))));
    }
}
