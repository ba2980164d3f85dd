//! Checking and salvaging regions.

use crate::support::{complains, prints, run, text};

#[test]
fn a_region_is_checked_and_each_problem_has_a_line() {
    use abide_pmem::{HeapError, Persistence, Region, RegionOptions, types::Bytes};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region").into_os_string().into_string().unwrap();
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    let region = Region::create(&path, 64 << 10, &options).unwrap();
    let entry = region.heap().index().create(7, b"greeting", 0).unwrap();
    region.heap().atomically(0, |tx| Bytes::at(entry.root).set(tx, b"good morning, good morning")).unwrap();
    region.heap().atomically::<_, HeapError>(0, |tx| tx.allocate(64)).unwrap();
    let in_use = complains(1, &["check", &path]);
    assert!(in_use.contains("in use"), "{in_use}");
    region.close().unwrap();
    assert_eq!(prints(&["check", &path]), "clean: 1 names, 1 blocks, 1 of them unattributed");
    assert!(prints(&["check", &path, "--json"]).contains(r#""clean":true"#));

    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0x2000 + 9] ^= 1;
    bytes[entry.root as usize + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("superblock at 0x2000: "), "{said}");
    assert!(lines[1].starts_with("value at ") && lines[1].contains("\"greeting\""), "{said}");
    let output = run(&["check", &path, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(r#""kind":"value""#));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "checking has written");

    let absent = complains(1, &["check", "/nonexistent/region"]);
    assert!(absent.contains("/nonexistent/region"), "{absent}");
    complains(2, &["--store", "x", "check", &path]);
}

#[test]
fn a_damaged_region_is_salvaged_and_what_is_missing_is_told() {
    use abide_pmem::{
        Persistence, Region, RegionOptions,
        types::{Bytes, Register},
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let (path, out) = (file("region"), file("out"));
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    let region = Region::create(&path, 64 << 10, &options).unwrap();
    let root = |name: &str| region.heap().index().create(7, name.as_bytes(), 0).unwrap().root;
    let (greeting, count) = (root("greeting"), root("count"));
    region.heap().atomically(0, |tx| Bytes::at(greeting).set(tx, b"good morning, good morning")).unwrap();
    region.heap().atomically(0, |tx| Register::at(count).set(tx, 41u64)).unwrap();
    let in_use = complains(1, &["salvage", &path, &out]);
    assert!(in_use.contains("in use"), "{in_use}");
    region.close().unwrap();
    let whole = prints(&["salvage", &path, &out]);
    assert_eq!(
        whole,
        "complete: 2 objects saved whole, 0 in part, 0 lost; 0 of those saved have content that no checksum verifies"
    );
    assert_eq!(prints(&["check", &out]), "clean: 2 names, 0 blocks, 0 of them unattributed");
    let taken = complains(1, &["salvage", &path, &out]);
    assert!(taken.contains("exists already"), "{taken}");

    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0x2000 + 9] ^= 1;
    bytes[greeting as usize + 28] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let second = file("second");
    let output = run(&["salvage", &path, &second]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("superblock at 0x2000: "), "{said}");
    assert!(lines[1].starts_with("lost \"greeting\" of type 7, Bytes in shard 0, root 0x"), "{said}");
    assert!(lines[2].starts_with(&format!("  at {greeting:#x}: ")), "{said}");
    assert!(lines[3].starts_with("incomplete: 1 objects saved whole, 0 in part, 1 lost"), "{said}");
    let output = run(&["salvage", &path, &file("third"), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&facts["complete"], &facts["whole"], &facts["lost"]), (&false.into(), &1.into(), &1.into()));
    assert_eq!(facts["objects"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "salvaging has written");

    let saved = Region::open(&second, &options).unwrap();
    assert!(saved.heap().index().get(7, b"greeting").unwrap().is_none());
    let entry = saved.heap().index().get(7, b"count").unwrap().unwrap();
    assert_eq!(Register::<u64>::at(entry.root).get(&saved.heap().reader(0)).unwrap(), 41);
    saved.close().unwrap();

    bytes[9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let headless = complains(1, &["salvage", &path, &file("fourth")]);
    assert!(headless.contains("both superblocks"), "{headless}");
    let copy = ["salvage", &path, &file("fourth"), "--superblock-of", &out];
    // Another region's superblock leaves nothing that can be told from garbage.
    assert!(text(&run(&copy).stdout).contains("incomplete: 0 objects"));
    let absent = complains(1, &["salvage", "/nonexistent/region", &file("fifth")]);
    assert!(absent.contains("/nonexistent/region"), "{absent}");
    complains(2, &["--store", "x", "salvage", &path, &file("fifth")]);
    complains(2, &["salvage", &path]);
}

#[test]
fn a_region_after_a_power_loss_is_checked_only_if_that_is_accepted() {
    use abide_pmem::{Persistence, Region, RegionOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region").into_os_string().into_string().unwrap();
    let boot_id = folder.path().join("boot");
    std::fs::write(&boot_id, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        boot_id,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    // Left open in another boot than this one.
    drop(Region::create(&path, 64 << 10, &options).unwrap());
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("power-loss at 0x0: "), "{}", text(&output.stdout));
    assert!(prints(&["check", &path, "--accept-power-loss"]).starts_with("clean"));
}
