//! Blobs, against a vector of bytes.

use super::driver::TestShard;
use abide_net::{Bytes, CallError, limits::VALUE_BYTES_MAX};
use abide_schema::types::blob::*;
use proptest::prelude::*;

fn new() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

proptest! {
    #[test]
    fn blobs_do_what_a_vec_of_bytes_does(
        calls in prop::collection::vec((0..7_u8, any::<u8>(), 0..5_usize, 0..5_usize), 1..50),
    ) {
        // Lengths that stay inside of a root, that fit a block, and that need several.
        const LENS: [usize; 5] = [0, 1, 30, 5_000, 20_000];
        let mut shard = new();
        let mut model: Vec<u8> = Vec::new();
        for (method, byte, a, b) in calls {
            let (offset, len) = (LENS[a], LENS[b]);
            let bytes = vec![byte; len];
            let out_of_bounds = CallError::OutOfBounds { len: model.len() as u64 };
            match method {
                0 => shard.expect(Len {}, model.len() as u64),
                1 => {
                    model = bytes.clone();
                    shard.expect(Write { bytes: Bytes(bytes) }, ());
                }
                2 => {
                    let rest = model.get(offset..).ok_or(out_of_bounds);
                    let expected = rest.map(|rest| Bytes(rest[..len.min(rest.len())].to_vec()));
                    prop_assert_eq!(shard.call(1, GetRange { offset: offset as u64, len: len as u64 }), expected);
                }
                3 | 4 => {
                    let end = offset + len;
                    let expected = if offset <= model.len() {
                        model.resize(model.len().max(end), 0);
                        model[offset..end].copy_from_slice(&bytes);
                        Ok(model.len() as u64)
                    } else {
                        Err(out_of_bounds)
                    };
                    prop_assert_eq!(shard.call(1, SetRange { offset: offset as u64, bytes: Bytes(bytes) }), expected);
                }
                5 => {
                    model.extend(&bytes);
                    shard.expect(Append { bytes: Bytes(bytes) }, model.len() as u64);
                }
                _ => {
                    let expected = if len <= model.len() { Ok(()) } else { Err(out_of_bounds) };
                    model.truncate(len);
                    prop_assert_eq!(shard.call(1, Truncate { len: len as u64 }), expected);
                }
            }
            prop_assert_eq!(&shard.get(Read {}).0, &model);
        }
    }
}

/// Those of the standard's examples.
#[test]
fn digests_are_those_of_the_standard() {
    let mut shard = new();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    shard.expect(Digest {}, empty.to_owned());
    shard.get(Write { bytes: Bytes(b"abc".to_vec()) });
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    shard.expect(Digest {}, abc.to_owned());
    shard.get(Truncate { len: 0 });
    for _ in 0..10 {
        shard.get(Append { bytes: Bytes(vec![b'a'; 100_000]) });
    }
    let a_million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
    shard.expect(Digest {}, a_million.to_owned());
}

#[test]
fn a_blob_never_grows_past_the_limit_and_has_no_gaps() {
    let mut shard = new();
    let max = VALUE_BYTES_MAX as u64;
    shard.get(Write { bytes: Bytes(vec![7; VALUE_BYTES_MAX]) });
    let too_large = CallError::TooLarge { max };
    let one = Bytes(vec![1]);
    assert_eq!(shard.call(1, Append { bytes: one.clone() }), Err(too_large.clone()));
    assert_eq!(shard.call(1, SetRange { offset: max, bytes: one.clone() }), Err(too_large.clone()));
    let over_the_end = Bytes(vec![1; 3]);
    assert_eq!(shard.call(1, SetRange { offset: max - 1, bytes: over_the_end }), Err(too_large.clone()));
    assert_eq!(shard.call(1, Write { bytes: Bytes(vec![0; VALUE_BYTES_MAX + 1]) }), Err(too_large));
    shard.expect(SetRange { offset: max - 1, bytes: one.clone() }, max);
    shard.expect(GetRange { offset: max - 2, len: u64::MAX }, Bytes(vec![7, 1]));
    shard.expect(GetRange { offset: max, len: 1 }, Bytes(Vec::new()));
    let out_of_bounds = Err(CallError::OutOfBounds { len: max });
    assert_eq!(shard.call(1, GetRange { offset: max + 1, len: 0 }), out_of_bounds.clone());
    assert_eq!(
        shard.call(1, SetRange { offset: u64::MAX, bytes: one }),
        out_of_bounds.clone().map(|_: Bytes| 0)
    );
    assert_eq!(shard.call(1, Truncate { len: u64::MAX }), out_of_bounds.map(|_| ()));
}
