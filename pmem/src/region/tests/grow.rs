use super::*;

#[test]
fn a_region_grows_while_it_is_used_and_has_grown_when_it_is_opened_again() {
    for persistence in [Persistence::ProcessCrash, Persistence::PowerFail] {
        let folder = tempfile::tempdir().unwrap();
        if persistence == Persistence::PowerFail && !can_log(folder.path()) {
            continue;
        }
        let path = folder.path().join("region");
        let options = with(persistence);
        let region = Region::create(&path, BYTES, &options).unwrap();
        let mut blocks = Vec::new();
        let fill = |blocks: &mut Vec<u64>| loop {
            let value = blocks.len() as u64;
            let allocated = region.heap().atomically::<_, HeapError>(0, |tx| {
                let block = tx.allocate(3000)?;
                tx.write(block, value)?;
                Ok(block)
            });
            match allocated {
                Ok(block) => blocks.push(block),
                Err(error) => break assert_eq!(error, HeapError::NoSpace),
            }
        };
        fill(&mut blocks);
        let before = blocks.len();
        region.grow(4 * BYTES).unwrap();
        fill(&mut blocks);
        assert!(blocks.len() > 3 * before, "{} blocks, {before} before", blocks.len());
        drop(region);
        let region = Region::open(&path, &options).unwrap();
        assert_eq!(region.bytes(), 4 * BYTES);
        for (value, block) in blocks.iter().enumerate() {
            assert_eq!(get(region.heap(), *block), value as u64);
        }
        region.close().unwrap();
    }
}

#[test]
fn lengths_that_cannot_be_are_refused_before_the_file_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let region =
        Region::create(&path, BYTES, &RegionOptions { reserve: 2 << 20, ..process_crash() }).unwrap();
    assert!(matches!(region.grow(BYTES + 1), Err(GrowError::Map(_))));
    assert!(matches!(region.grow(1 << 40), Err(GrowError::Map(_))));
    region.grow(BYTES).unwrap();
    region.grow(4096).unwrap();
    assert_eq!((region.bytes(), std::fs::metadata(&path).unwrap().len()), (BYTES, BYTES));
}

#[test]
fn a_failed_growth_leaves_the_region_as_it_was() {
    for (call, failure) in [
        (Call::Allocate, Errno::NOSPC),
        (Call::Allocate, Errno::DQUOT),
        (Call::Allocate, Errno::IO),
        (Call::Map, Errno::NOMEM),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let (options, faults) = faulty(&process_crash());
        let region = Region::create(&path, BYTES, &options).unwrap();
        let block = put_first(&region, 1);
        faults.fail(call, 0, 1, errno(failure));
        let error = region.grow(2 * BYTES).unwrap_err();
        match (call, failure) {
            (Call::Map, _) => assert!(matches!(error, GrowError::Map(_)), "{error:?}"),
            (_, Errno::IO) => assert!(matches!(error, GrowError::Io { .. }), "{error:?}"),
            _ => assert!(matches!(error, GrowError::NoSpace { .. }), "{error:?}"),
        }
        assert_eq!(region.bytes(), BYTES);
        put(&region, block, 2).unwrap();
        region.grow(2 * BYTES).unwrap();
        put(&region, block, 3).unwrap();
        region.close().unwrap();
        expect(&path, &process_crash(), block, 3);
    }
}

#[test]
fn the_new_length_is_durable_before_it_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let (options, faults) = faulty(&process_crash());
    let region = Region::create(folder.path().join("region"), BYTES, &options).unwrap();
    faults.clear();
    region.grow(2 * BYTES).unwrap();
    assert_eq!(faults.made(), [Call::Allocate, Call::Sync, Call::Map]);
}

#[test]
fn a_growth_that_cannot_be_made_durable_poisons() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region");
    let (options, faults) = faulty(&process_crash());
    let region = Region::create(&path, BYTES, &options).unwrap();
    let block = put_first(&region, 1);
    faults.fail(Call::Sync, 0, 1, errno(Errno::IO));
    assert!(matches!(region.grow(2 * BYTES), Err(GrowError::Media(MediaError::IoPoisoned))));
    assert!(matches!(put(&region, block, 2), Err(HeapError::Media(MediaError::IoPoisoned))));
    drop(region);
    let region = Region::open(&path, &process_crash()).unwrap();
    assert_eq!(region.bytes(), BYTES);
    region.grow(2 * BYTES).unwrap();
    region.close().unwrap();
}

const KILLED: &str = "region::tests::grow::killed_at_any_call_of_growth_the_region_opens";

#[test]
fn killed_at_any_call_of_growth_the_region_opens() {
    if let Some(job) = test_child::argument() {
        let job = job.to_str().unwrap().to_owned();
        let (path, nth) = job.split_once('|').unwrap();
        let (options, faults) = faulty(&process_crash());
        let region = Region::open(path, &options).unwrap();
        faults.clear();
        faults.fail_any(nth.parse().unwrap(), Fault::Kill);
        region.grow(2 * BYTES).unwrap();
        return;
    }
    for nth in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region");
        let region = Region::create(&path, BYTES, &process_crash()).unwrap();
        let block = put_first(&region, 7);
        drop(region);
        let job = format!("{}|{nth}", path.display());
        let status = test_child::start(KILLED, job).wait_with_output().unwrap().status;
        let region = Region::open(&path, &process_crash()).unwrap();
        assert_eq!(get(region.heap(), block), 7);
        if status.success() {
            assert_eq!(region.bytes(), 2 * BYTES);
            assert!(nth >= 3, "{nth} calls");
            return;
        }
        // Killed at its very end it has grown already.
        assert!(region.bytes() == BYTES || region.bytes() == 2 * BYTES);
        region.grow(2 * BYTES).unwrap();
        put(&region, block, 8).unwrap();
        region.close().unwrap();
    }
    panic!("growth takes ever more calls");
}
