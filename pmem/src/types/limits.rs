//! The largest values fit a region of ordinary sizes, and what is one byte longer is refused.

use super::{
    BLOB_BYTES_MAX, Bytes, List, Map, ROOT_BYTES, SortedMap, TypeError,
    bytes::BYTES_MAX,
    completions::{Arrival, Completions, RESULT_BYTES_MAX},
    map::VALUE_MAX,
};
use crate::{Geometry, HeapError, Persistence, Region, RegionOptions, Tx, mapping::Mapping, mem::WORD};

fn options() -> RegionOptions {
    let geometry = Geometry { shards: 1, ring_slot_bytes: 512 << 10, ..Geometry::default() };
    RegionOptions { geometry, ..RegionOptions::new(Persistence::Volatile) }
}

fn new_root(region: &Region) -> u64 {
    region
        .heap()
        .atomically::<_, HeapError>(0, |tx| {
            let root = tx.allocate(ROOT_BYTES)?;
            (0..8).try_for_each(|i| tx.write(root + i * WORD, 0))?;
            Ok(root)
        })
        .unwrap()
}

/// 16 MiB, and as much as a page of header.
#[test]
fn a_value_of_the_greatest_length_fits_and_one_byte_more_is_refused() {
    type Put = fn(&mut Tx<'_, Mapping>, u64, &[u8]) -> Result<(), TypeError>;
    type Get = fn(&Tx<'_, Mapping>, u64) -> Result<Option<Vec<u8>>, TypeError>;
    let kinds: [(u64, Put, Get); 4] = [
        (BYTES_MAX, |tx, at, value| Bytes::at(at).set(tx, value), |tx, at| Bytes::at(at).get(tx).map(Some)),
        (
            VALUE_MAX,
            |tx, at, value| Map::at(at).insert(tx, b"k", value).map(drop),
            |tx, at| Map::at(at).get(tx, b"k"),
        ),
        (BLOB_BYTES_MAX, |tx, at, value| List::at(at).push_back(tx, value), |tx, at| List::at(at).front(tx)),
        (
            BLOB_BYTES_MAX,
            |tx, at, value| SortedMap::at(at).insert(tx, b"k", value).map(drop),
            |tx, at| SortedMap::at(at).get(tx, b"k"),
        ),
    ];
    for region in [Region::volatile(256 << 20, &options()), Region::unshared(256 << 20, &options())] {
        let region = region.unwrap();
        for (max, put, get) in kinds {
            assert_eq!(max, (16 << 20) + 4096);
            let root = new_root(&region);
            let value: Vec<u8> = (0..=max).map(|i| (i / 7) as u8).collect();
            let refused = region.heap().atomically(0, |tx| put(tx, root, &value));
            assert_eq!(refused, Err(TypeError::TooLarge { bytes: max + 1, max }));
            let value = &value[..max as usize];
            region.heap().atomically(0, |tx| put(tx, root, value)).unwrap();
            let read = region.heap().atomically(0, |tx| get(tx, root)).unwrap();
            assert!(read.as_deref() == Some(value));
        }
    }
}

#[test]
fn a_result_of_two_such_values_is_remembered() {
    let region = Region::volatile(128 << 20, &options()).unwrap();
    let call = |result: &[u8]| {
        region.heap().atomically(0, |tx| match Completions::arrive(tx, 7, 1)? {
            Arrival::New(pending) => Completions::complete(tx, pending, result).map(|()| None),
            Arrival::Done(first) => Ok(Some(first)),
        })
    };
    let result: Vec<u8> = (0..=RESULT_BYTES_MAX).map(|i| (i / 5) as u8).collect();
    call(&result).unwrap_err();
    let result = &result[..RESULT_BYTES_MAX];
    assert_eq!(result.len(), (32 << 20) + (64 << 10));
    assert_eq!(call(result), Ok(None));
    assert!(call(&[]).unwrap().as_deref() == Some(result));
}

#[test]
fn keys_of_sorted_maps_have_a_kibibyte_where_chunks_have_64() {
    let region = Region::volatile(16 << 20, &options()).unwrap();
    assert_eq!(SortedMap::key_bytes_max(&region.heap().reader(0)), 1024);
}

/// Keys of the same hash key come in the same order.
#[test]
fn regions_of_one_hash_key_have_their_maps_in_the_same_order() {
    let order = |hash_key| {
        let options = RegionOptions { hash_key, ..options() };
        let region = Region::unshared(64 << 20, &options).unwrap();
        let map = Map::at(new_root(&region));
        (0..1000_u32).for_each(|key| {
            assert!(region.heap().atomically(0, |tx| map.insert(tx, &key.to_le_bytes(), &[])).unwrap());
        });
        let mut keys = Vec::new();
        map.key_page(&region.heap().reader(0), None, |key| {
            keys.push(key.to_vec());
            Ok(true)
        })
        .unwrap();
        keys
    };
    assert_eq!(order(Some([1; 16])), order(Some([1; 16])));
    assert_ne!(order(Some([1; 16])), order(Some([2; 16])));
    assert_ne!(order(None), order(None));
}
