//! Whether the platform saves the processor's caches too when it loses power (eADR), as `sysfs` tells of one device.

use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};

/// How deep devices may be stacked (a mapper over a mapper over a partition).
const DEPTH_MAX: u32 = 8;

/// Whether all of the device's memory belongs to regions whose `persistence_domain` is `cpu_cache`.
///
/// Anything that is missing or not understood means no: then lines are written back, which is right on every platform.
pub(super) fn caches_are_saved(sysfs: &Path, device: u64) -> bool {
    let block = sysfs.join(format!("dev/block/{}:{}", major(device), minor(device)));
    match (block.canonicalize(), sysfs.canonicalize()) {
        (Ok(block), Ok(root)) => block_caches_are_saved(&root, &block, DEPTH_MAX),
        _ => false,
    }
}

/// `block` is the device's folder, without symbolic links.
fn block_caches_are_saved(root: &Path, block: &Path, depth: u32) -> bool {
    if depth == 0 {
        return false;
    }
    // The region is a folder above its namespaces, and those above their block devices and partitions:
    // .../ndbus0/region0/namespace0.0/block/pmem0/pmem0p1.
    for folder in block.ancestors().take_while(|folder| folder.starts_with(root) && *folder != root) {
        if let Ok(domain) = std::fs::read_to_string(folder.join("persistence_domain")) {
            return domain.trim_end() == "cpu_cache";
        }
    }
    // No region above it: it may be made of other devices, and then each of them counts.
    match devices_below(block) {
        Some(devices) => {
            !devices.is_empty()
                && devices.iter().all(|device| block_caches_are_saved(root, device, depth - 1))
        }
        None => false,
    }
}

fn devices_below(block: &Path) -> Option<Vec<PathBuf>> {
    std::fs::read_dir(block.join("slaves"))
        .ok()?
        .map(|entry| entry.ok()?.path().canonicalize().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::makedev;

    use super::*;

    /// A `sysfs` with one persistent memory device 259:0, `region0` of which has this persistence domain, and a partition
    /// of it, 259:1.
    fn sysfs(persistence_domain: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        add_pmem(root.path(), 0, persistence_domain);
        root
    }

    fn add_pmem(root: &Path, index: u32, persistence_domain: Option<&str>) {
        let region = root.join(format!("devices/LNXSYSTM:00/ndbus0/region{index}"));
        let pmem = region.join(format!("namespace{index}.0/block/pmem{index}"));
        let partition = pmem.join(format!("pmem{index}p1"));
        fs::create_dir_all(&partition).unwrap();
        if let Some(domain) = persistence_domain {
            fs::write(region.join("persistence_domain"), format!("{domain}\n")).unwrap();
        }
        name(root, 259, index * 2, &pmem);
        name(root, 259, index * 2 + 1, &partition);
    }

    fn name(root: &Path, major: u32, minor: u32, device: &Path) {
        let folder = root.join("dev/block");
        fs::create_dir_all(&folder).unwrap();
        symlink(device, folder.join(format!("{major}:{minor}"))).unwrap();
    }

    /// A mapper device 253:`minor` over the given ones.
    fn add_mapper(root: &Path, minor: u32, below: &[&str]) {
        let device = root.join(format!("devices/virtual/block/dm-{minor}"));
        fs::create_dir_all(device.join("slaves")).unwrap();
        for below in below {
            let target = root.join("dev/block").join(below).canonicalize().unwrap();
            symlink(&target, device.join("slaves").join(target.file_name().unwrap())).unwrap();
        }
        name(root, 253, minor, &device);
    }

    #[test]
    fn only_cpu_cache_counts_as_eadr() {
        for (domain, saved) in [
            (Some("cpu_cache"), true),
            (Some("memory_controller"), false),
            (Some(""), false),
            (Some("cpu"), false),
            (None, false),
        ] {
            let root = sysfs(domain);
            for minor in [0, 1] {
                assert_eq!(caches_are_saved(root.path(), makedev(259, minor)), saved, "{domain:?}");
            }
        }
    }

    #[test]
    fn an_unknown_device_is_not_eadr() {
        let root = sysfs(Some("cpu_cache"));
        assert!(!caches_are_saved(root.path(), makedev(8, 1)));
        assert!(!caches_are_saved(&root.path().join("absent"), makedev(259, 0)));
    }

    #[test]
    fn a_stacked_device_is_eadr_only_if_all_below_are() {
        let root = sysfs(Some("cpu_cache"));
        add_pmem(root.path(), 1, Some("memory_controller"));
        add_pmem(root.path(), 2, Some("cpu_cache"));
        add_mapper(root.path(), 0, &["259:0", "259:4"]);
        add_mapper(root.path(), 1, &["259:0", "259:2"]);
        add_mapper(root.path(), 2, &["253:0"]);
        add_mapper(root.path(), 3, &[]);
        for (minor, saved) in [(0, true), (1, false), (2, true), (3, false)] {
            assert_eq!(caches_are_saved(root.path(), makedev(253, minor)), saved, "253:{minor}");
        }
    }

    #[test]
    fn devices_stacked_in_a_circle_are_not_eadr() {
        let root = sysfs(None);
        add_mapper(root.path(), 0, &["259:0"]);
        let device = root.path().join("devices/virtual/block/dm-0");
        symlink(&device, device.join("slaves/dm-0")).unwrap();
        assert!(!caches_are_saved(root.path(), makedev(253, 0)));
    }

    #[test]
    fn a_persistence_domain_outside_of_sysfs_is_not_read() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("persistence_domain"), "cpu_cache\n").unwrap();
        let root = outer.path().join("sys");
        let device = root.join("devices/block/sda");
        fs::create_dir_all(&device).unwrap();
        name(&root, 8, 0, &device);
        assert!(!caches_are_saved(&root, makedev(8, 0)));
    }
}
