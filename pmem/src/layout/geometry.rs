//! How large the tables of a region are, and where each begins.

use super::TABLES;
use crate::mem::{LINE, WORD};

/// Sizes of blocks that share a chunk, in bytes. A chunk holds blocks of one class. All are multiples of 16.
pub(crate) const BLOCK_CLASSES: [u32; 29] = [
    64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792,
    2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
];
/// Words that a shard header has for the heads of its lists, one a class.
pub(crate) const MAX_CLASSES: usize = 32;
/// Bytes of a chunk's descriptor, before its bitmap.
pub(crate) const DESCRIPTOR_BYTES: u64 = LINE;
/// Bytes of a shard's header: two watermarks, counters, and the heads of its lists.
pub(crate) const SHARD_BYTES: u64 = 4 * LINE + MAX_CLASSES as u64 * WORD;
/// Bytes of a lane's header: a line of its own, and two intents.
pub(crate) const LANE_BYTES: u64 = 3 * LINE;

/// The sizes that a region is created with. They never change, except that zones are added when it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Shards: units with one writer at a time. 1 to 4096.
    pub shards: u32,
    /// Lanes: how many threads can change the name index at the same time. 1 to 4096.
    pub lanes: u32,
    /// Bytes of a chunk, a power of two from 1 KiB to 1 MiB.
    pub chunk_bytes: u32,
    /// Chunks of a zone, of which the first hold the descriptors of all. 8 to 65536.
    pub zone_chunks: u32,
    /// Bytes of one of a shard's four ring slots, a multiple of 64 from 512 to 512 KiB. It bounds a batch, and half of it
    /// bounds one failure-atomic block.
    pub ring_slot_bytes: u32,
    /// Completion records of a shard, one line each: how many clients it can remember.
    pub completions: u32,
    /// Bytes of a shard's command ring, a multiple of 64; zero for none.
    pub command_ring_bytes: u64,
    /// Pages of the name index's bucket directory, each a chunk of bucket words.
    pub directory_pages: u32,
}

impl Default for Geometry {
    /// For a few cores and any amount of data: 4 shards, 64 lanes, chunks of 64 KiB in zones of 64 MiB.
    fn default() -> Self {
        Self {
            shards: 4,
            lanes: 64,
            chunk_bytes: 64 << 10,
            zone_chunks: 1024,
            ring_slot_bytes: 16 << 10,
            completions: 4096,
            command_ring_bytes: 1 << 20,
            directory_pages: 4096,
        }
    }
}

/// A geometry that no region can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {found}: it must be {must}")]
pub struct GeometryError {
    /// Which size.
    pub what: &'static str,
    /// What it is.
    pub found: u64,
    /// What it may be.
    pub must: &'static str,
}

impl Geometry {
    /// Small enough that crash images of a whole region can be enumerated.
    #[must_use]
    pub const fn tiny() -> Self {
        Self {
            shards: 1,
            lanes: 2,
            chunk_bytes: 1024,
            zone_chunks: 32,
            ring_slot_bytes: 1024,
            completions: 4,
            command_ring_bytes: 512,
            directory_pages: 4,
        }
    }

    /// Checks all sizes and computes where the tables begin.
    ///
    /// # Errors
    /// The first size that is out of its range.
    pub fn layout(self) -> Result<Layout, GeometryError> {
        let check = |what, found: u64, good: bool, must| {
            if good { Ok(()) } else { Err(GeometryError { what, found, must }) }
        };
        let Self { shards, lanes, chunk_bytes, zone_chunks, ring_slot_bytes, completions, .. } = self;
        check("shards", shards.into(), (1..=4096).contains(&shards), "1 to 4096")?;
        check("lanes", lanes.into(), (1..=4096).contains(&lanes), "1 to 4096")?;
        check(
            "chunk_bytes",
            chunk_bytes.into(),
            chunk_bytes.is_power_of_two() && (1 << 10..=1 << 20).contains(&chunk_bytes),
            "a power of two from 1 KiB to 1 MiB",
        )?;
        check("zone_chunks", zone_chunks.into(), (8..=1 << 16).contains(&zone_chunks), "8 to 65536")?;
        check(
            "ring_slot_bytes",
            ring_slot_bytes.into(),
            ring_slot_bytes.is_multiple_of(64) && (512..=512 << 10).contains(&ring_slot_bytes),
            "a multiple of 64 from 512 to 512 KiB",
        )?;
        check("completions", completions.into(), (1..=1 << 20).contains(&completions), "1 to 1048576")?;
        check(
            "command_ring_bytes",
            self.command_ring_bytes,
            self.command_ring_bytes.is_multiple_of(64) && self.command_ring_bytes <= 1 << 32,
            "a multiple of 64 up to 4 GiB",
        )?;
        let pages = self.directory_pages;
        check("directory_pages", pages.into(), (1..=1 << 16).contains(&pages), "1 to 65536")?;
        Ok(Layout::new(self))
    }
}

/// Where each table of a region begins, in bytes from its start. Computed from a [`Geometry`] alone.
#[derive(Debug, Clone)]
pub struct Layout {
    geometry: Geometry,
    /// Headers of shards.
    pub(crate) shards: u64,
    /// Headers of lanes.
    pub(crate) lanes: u64,
    /// Redo rings.
    pub(crate) rings: u64,
    /// Completion tables.
    pub(crate) completions: u64,
    /// Command rings.
    pub(crate) commands: u64,
    /// Bucket directory of the name index: a line of its header, then a word for each page.
    pub(crate) directory: u64,
    /// The first zone.
    pub(crate) zones: u64,
    /// Bytes of one chunk's descriptor and bitmap.
    pub(crate) descriptor_stride: u64,
    /// Chunks at the start of each zone that hold descriptors.
    pub(crate) descriptor_chunks: u32,
    /// How many of [`BLOCK_CLASSES`] fit a chunk at least eight times.
    pub(crate) classes: usize,
}

impl Layout {
    fn new(geometry: Geometry) -> Self {
        let mut at = TABLES;
        let mut table = |bytes: u64| {
            let start = at;
            at = (at + bytes).next_multiple_of(LINE);
            start
        };
        let shard_count = u64::from(geometry.shards);
        let shards = table(shard_count * SHARD_BYTES);
        let lanes = table(u64::from(geometry.lanes) * LANE_BYTES);
        let rings = table(shard_count * 4 * u64::from(geometry.ring_slot_bytes));
        let completions = table(shard_count * u64::from(geometry.completions) * LINE);
        let commands = table(shard_count * geometry.command_ring_bytes);
        let directory = table(LINE + u64::from(geometry.directory_pages) * WORD);
        let chunk_bytes = u64::from(geometry.chunk_bytes);
        let bitmap_bytes = (chunk_bytes / u64::from(BLOCK_CLASSES[0])).div_ceil(8).next_multiple_of(LINE);
        let descriptor_stride = DESCRIPTOR_BYTES + bitmap_bytes;
        let descriptor_chunks = (u64::from(geometry.zone_chunks) * descriptor_stride).div_ceil(chunk_bytes);
        let classes = BLOCK_CLASSES.iter().take_while(|&&bytes| u64::from(bytes) * 8 <= chunk_bytes).count();
        Self {
            geometry,
            shards,
            lanes,
            rings,
            completions,
            commands,
            directory,
            zones: at.next_multiple_of(chunk_bytes.max(4096)),
            descriptor_stride,
            descriptor_chunks: descriptor_chunks as u32,
            classes,
        }
    }

    /// The geometry that this was computed from.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Bytes of the smallest region with this geometry: all tables, and a zone with four chunks for data.
    #[must_use]
    pub fn bytes_min(&self) -> u64 {
        self.zones + u64::from(self.descriptor_chunks + 4) * u64::from(self.geometry.chunk_bytes)
    }

    /// Whole chunks in a region of this length, descriptors included.
    #[must_use]
    pub fn chunk_count(&self, region_bytes: u64) -> u32 {
        let chunks = region_bytes.saturating_sub(self.zones) / u64::from(self.geometry.chunk_bytes);
        u32::try_from(chunks).unwrap_or(u32::MAX - 1)
    }

    /// Whether the chunk is for data. The first chunks of each zone hold descriptors.
    pub(crate) fn is_data_chunk(&self, chunk: u32) -> bool {
        chunk % self.geometry.zone_chunks >= self.descriptor_chunks
    }

    /// Offset of a chunk.
    pub(crate) fn chunk(&self, chunk: u32) -> u64 {
        self.zones + u64::from(chunk) * u64::from(self.geometry.chunk_bytes)
    }

    /// The chunk that an offset lies in, if it lies in a zone.
    pub(crate) fn chunk_of(&self, offset: u64) -> Option<u32> {
        let chunk = offset.checked_sub(self.zones)? / u64::from(self.geometry.chunk_bytes);
        u32::try_from(chunk).ok()
    }

    /// Offset of a chunk's descriptor.
    pub(crate) fn descriptor(&self, chunk: u32) -> u64 {
        let zone = chunk / self.geometry.zone_chunks;
        self.chunk(zone * self.geometry.zone_chunks)
            + u64::from(chunk % self.geometry.zone_chunks) * self.descriptor_stride
    }

    /// Offset of a chunk's bitmap: bit i is set if block i is allocated.
    pub(crate) fn bitmap(&self, chunk: u32) -> u64 {
        self.descriptor(chunk) + DESCRIPTOR_BYTES
    }

    /// Blocks that a chunk of this class holds.
    pub(crate) fn blocks(&self, class: usize) -> u32 {
        self.geometry.chunk_bytes / BLOCK_CLASSES[class]
    }

    /// The smallest class whose blocks hold so many bytes, if there is one.
    pub(crate) fn class_of(&self, bytes: u64) -> Option<usize> {
        let class = BLOCK_CLASSES.partition_point(|&size| u64::from(size) < bytes);
        (class < self.classes).then_some(class)
    }

    /// Offset of a shard's header.
    pub(crate) fn shard_header(&self, shard: u32) -> u64 {
        self.shards + u64::from(shard) * SHARD_BYTES
    }

    /// Offset of the slot of a shard's ring that holds the batch.
    pub(crate) fn ring_slot(&self, shard: u32, batch: u64) -> u64 {
        self.rings + (u64::from(shard) * 4 + batch % 4) * u64::from(self.geometry.ring_slot_bytes)
    }

    /// Offset of a shard's completion table.
    pub(crate) fn completion_table(&self, shard: u32) -> u64 {
        self.completions + u64::from(shard) * u64::from(self.geometry.completions) * LINE
    }

    /// Offset of a shard's command ring.
    pub(crate) fn command_ring(&self, shard: u32) -> u64 {
        self.commands + u64::from(shard) * self.geometry.command_ring_bytes
    }

    /// Offset of a lane's header.
    pub(crate) fn lane(&self, lane: u32) -> u64 {
        self.lanes + u64::from(lane) * LANE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_neither_overlap_nor_leave_the_region() {
        for geometry in [Geometry::default(), Geometry::tiny()] {
            let layout = geometry.layout().unwrap();
            let starts = [
                TABLES,
                layout.lanes,
                layout.rings,
                layout.completions,
                layout.commands,
                layout.directory,
                layout.zones,
                layout.bytes_min(),
            ];
            assert!(starts.is_sorted(), "{starts:?}");
            let last = geometry.zone_chunks - 1;
            assert!(layout.bitmap(last) + 8 <= layout.chunk(layout.descriptor_chunks));
            assert!(layout.classes > 0 && layout.classes <= MAX_CLASSES);
        }
    }

    #[test]
    fn classes_are_the_smallest_that_fit() {
        let layout = Geometry::default().layout().unwrap();
        assert_eq!(layout.class_of(1), Some(0));
        assert_eq!(layout.class_of(64), Some(0));
        assert_eq!(layout.class_of(65), Some(1));
        assert_eq!(layout.class_of(8192), Some(28));
        assert_eq!(layout.class_of(8193), None);
    }

    #[test]
    fn sizes_out_of_range_are_named() {
        let bad = Geometry { chunk_bytes: 3000, ..Geometry::default() };
        assert_eq!(bad.layout().unwrap_err().what, "chunk_bytes");
        let bad = Geometry { shards: 0, ..Geometry::default() };
        assert_eq!(bad.layout().unwrap_err().what, "shards");
    }
}
