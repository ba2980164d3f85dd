use super::*;

/// The shell is a child that lives on with what it inherits; nothing of a region may be among it.
#[test]
fn a_child_process_inherits_no_region() {
    let status = test_child::run("region::tests::fork::a_child_process_inherits_no_region", "child", |_| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let region = Region::create(&path, BYTES, &process_crash()).unwrap();
        let listed = test_child::output(Command::new("sh").args(["-c", "ls -l /proc/self/fd"])).unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains("->") && !listed.contains("region"), "{listed}");
        region.close().unwrap();
    });
    assert!(status.is_none_or(|status| status.success()), "{status:?}");
}
