//! What a disk holds, and what of it a cut takes away.

use fastrand::Rng;
use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt as _};

/// Bytes that a disk writes whole or not at all.
pub const SECTOR: u64 = 512;

type Sector = [u8; SECTOR as usize];

/// A disk with a write cache.
///
/// Invariant: the image has each sector as the last flush left it, or as a write left it that was to go through. `unflushed`
/// has what was written since, all versions of each sector, the oldest first, and never an empty list.
#[derive(Debug)]
pub struct Cache {
    image: File,
    sectors: u64,
    unflushed: BTreeMap<u64, Vec<Sector>>,
    lies: bool,
}

/// What a cut took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WritesLost {
    /// Sectors that were not flushed.
    pub sectors: u64,
    /// Of these, sectors that are not as they were written last.
    pub changed: u64,
}

impl Cache {
    /// The disk in an image. If it `lies`, flushing does nothing.
    ///
    /// # Errors
    /// If the image cannot be read.
    pub fn new(image: File, lies: bool) -> io::Result<Self> {
        let sectors = image.metadata()?.len() / SECTOR;
        Ok(Self { image, sectors, unflushed: BTreeMap::new(), lies })
    }

    /// Bytes of the disk.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.sectors * SECTOR
    }

    /// Whether it has no sectors.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sectors == 0
    }

    /// The sectors of a range, or an error if it is no range of whole sectors of this disk.
    fn range(&self, offset: u64, bytes: u64) -> io::Result<std::ops::Range<u64>> {
        let end = offset.checked_add(bytes).filter(|&end| end <= self.len());
        match end {
            Some(end) if offset.is_multiple_of(SECTOR) && end.is_multiple_of(SECTOR) => {
                Ok(offset / SECTOR..end / SECTOR)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "no range of sectors of this disk")),
        }
    }

    /// Reads what was written last.
    ///
    /// # Errors
    /// If these are no sectors of the disk, or if the image fails.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let range = self.range(offset, out.len() as u64)?;
        self.image.read_exact_at(out, offset)?;
        for (sector, versions) in self.unflushed.range(range.clone()) {
            let at = ((sector - range.start) * SECTOR) as usize;
            out[at..at + SECTOR as usize].copy_from_slice(versions.last().expect("never empty"));
        }
        Ok(())
    }

    /// Writes into the cache.
    ///
    /// # Errors
    /// If these are no sectors of the disk.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let range = self.range(offset, bytes.len() as u64)?;
        for (sector, version) in range.zip(bytes.as_chunks().0) {
            self.unflushed.entry(sector).or_default().push(*version);
        }
        Ok(())
    }

    /// Writes through the cache: these sectors are safe on return.
    ///
    /// # Errors
    /// If these are no sectors of the disk, or if the image fails.
    pub fn write_through(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.lies {
            return self.write(offset, bytes);
        }
        let range = self.range(offset, bytes.len() as u64)?;
        self.image.write_all_at(bytes, offset)?;
        range.for_each(|sector| drop(self.unflushed.remove(&sector)));
        Ok(())
    }

    /// Makes safe all that was written before.
    ///
    /// # Errors
    /// If the image fails.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.lies {
            for (sector, versions) in std::mem::take(&mut self.unflushed) {
                self.image.write_all_at(versions.last().expect("never empty"), sector * SECTOR)?;
            }
        }
        Ok(())
    }

    /// Cuts the power: of each sector that was not flushed any version remains. Now and then all of them are lost, and now
    /// and then none is.
    ///
    /// # Errors
    /// If the image fails.
    pub fn cut(self, rng: &mut Rng) -> io::Result<WritesLost> {
        let mut lost = WritesLost { sectors: self.unflushed.len() as u64, changed: 0 };
        let fate = rng.u32(..4);
        for (sector, versions) in &self.unflushed {
            // How many of its versions arrived.
            let arrived = match fate {
                0 => 0,
                1 => versions.len(),
                _ => rng.usize(..=versions.len()),
            };
            lost.changed += u64::from(arrived < versions.len());
            if arrived > 0 {
                self.image.write_all_at(&versions[arrived - 1], sector * SECTOR)?;
            }
        }
        Ok(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(lies: bool) -> (File, Cache) {
        let path = std::env::temp_dir().join(format!("abide-disk-{:x}", fastrand::u64(..)));
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.set_len(8 * SECTOR).unwrap();
        (file.try_clone().unwrap(), Cache::new(file, lies).unwrap())
    }

    fn sector(value: u8) -> Sector {
        [value; SECTOR as usize]
    }

    fn on_media(file: &File, sector: u64) -> u8 {
        let mut byte = [0];
        file.read_exact_at(&mut byte, sector * SECTOR).unwrap();
        byte[0]
    }

    #[test]
    fn what_was_written_is_read_and_only_what_was_flushed_is_on_the_media() {
        let (file, mut disk) = disk(false);
        disk.write(0, &[sector(1), sector(2)].concat()).unwrap();
        disk.write(SECTOR, &sector(3)).unwrap();
        let mut read = [0; 3 * SECTOR as usize];
        disk.read(0, &mut read).unwrap();
        assert_eq!([0, 1, 2].map(|i| read[i * SECTOR as usize]), [1, 3, 0]);
        assert_eq!([0, 1].map(|i| on_media(&file, i)), [0, 0]);
        disk.flush().unwrap();
        assert_eq!([0, 1].map(|i| on_media(&file, i)), [1, 3]);
        disk.write(0, &sector(4)).unwrap();
        disk.write_through(0, &sector(5)).unwrap();
        assert_eq!(on_media(&file, 0), 5);
        disk.flush().unwrap();
        assert_eq!(on_media(&file, 0), 5, "a version older than the one that was written through");
    }

    #[test]
    fn a_cut_leaves_any_version_of_what_was_not_flushed_and_all_of_what_was() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (file, mut disk) = disk(false);
            disk.write(0, &[sector(1), sector(1), sector(1)].concat()).unwrap();
            disk.flush().unwrap();
            disk.write(SECTOR, &[sector(2), sector(2)].concat()).unwrap();
            disk.write(SECTOR, &[sector(3), sector(3)].concat()).unwrap();
            let lost = disk.cut(&mut Rng::with_seed(seed)).unwrap();
            let left = [0, 1, 2].map(|sector| on_media(&file, sector));
            let changed = left[1..].iter().filter(|&&version| version != 3).count();
            assert_eq!(lost, WritesLost { sectors: 2, changed: changed as u64 }, "seed {seed}");
            seen.insert(left);
        }
        let all = (1..=3).flat_map(|second| (1..=3).map(move |third| [1, second, third]));
        assert!(seen.into_iter().eq(all));
    }

    #[test]
    fn a_disk_that_lies_has_flushed_nothing() {
        let (file, mut disk) = disk(true);
        disk.write(0, &sector(1)).unwrap();
        disk.flush().unwrap();
        disk.write_through(SECTOR, &sector(1)).unwrap();
        assert_eq!([0, 1].map(|i| on_media(&file, i)), [0, 0]);
        let mut read = sector(0);
        disk.read(SECTOR, &mut read).unwrap();
        assert_eq!(read, sector(1));
    }

    #[test]
    fn a_range_that_the_disk_has_not_is_refused() {
        let (_, mut disk) = disk(false);
        for (offset, bytes) in
            [(1, 512), (0, 511), (7 * SECTOR, 1024), (u64::MAX - 511, 512), (8 * SECTOR, 512)]
        {
            let mut buffer = vec![0; bytes];
            assert!(disk.read(offset, &mut buffer).is_err(), "{offset} {bytes}");
            assert!(disk.write(offset, &buffer).is_err(), "{offset} {bytes}");
            assert!(disk.write_through(offset, &buffer).is_err(), "{offset} {bytes}");
        }
    }
}
