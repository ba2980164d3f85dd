use super::*;

#[test]
fn reading_recovers_in_memory_and_leaves_the_file_as_it_is() {
    for folder in folders() {
        for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
            if persistence == Persistence::PowerFail && !can_log(folder.path()) {
                continue;
            }
            let path = folder.path().join(format!("{persistence:?}"));
            let region = Region::create(&path, BYTES, &with(persistence)).unwrap();
            let block = put_first(&region, 1);
            region.grow(2 * BYTES).unwrap();
            put(&region, block, 2).unwrap();
            // Left open.
            drop(region);
            let bytes = |names: Vec<String>| -> Vec<_> {
                names.iter().map(|name| std::fs::read(folder.path().join(name)).unwrap()).collect()
            };
            let before = bytes(names(folder.path()));
            let (options, faults) = faulty(&with(persistence));
            let read = Region::open_read_only(&path, &options).unwrap();
            assert_eq!((get(read.heap(), block), read.reader(0).word(block)), (2, 2));
            assert!(read.heap().mem().len() >= 2 * BYTES);
            drop(read);
            assert!(bytes(names(folder.path())) == before, "reading has written");
            let wrote = [
                Call::Write,
                Call::Sync,
                Call::SyncData,
                Call::SyncMap,
                Call::Allocate,
                Call::Truncate,
                Call::Link,
            ];
            assert!(!faults.made().iter().any(|call| wrote.contains(call)), "{:?}", faults.made());
            expect(&path, &with(persistence), block, 2);
        }
    }
}

#[test]
fn a_file_system_for_reading_is_read() {
    let Some(disk) = SmallDisk::mount("size=1m") else { return };
    let path = disk.path().join("region");
    let region = Region::create(&path, BYTES, &process_crash()).unwrap();
    let block = put_first(&region, 6);
    drop(region);
    disk.remount("ro");
    let refused = Region::open(&path, &process_crash());
    assert!(matches!(refused, Err(OpenError::ReadOnly { .. })), "{refused:?}");
    assert_eq!(get(Region::open_read_only(&path, &process_crash()).unwrap().heap(), block), 6);
    assert!(Region::create(disk.path().join("other"), BYTES, &process_crash()).is_err());
}
