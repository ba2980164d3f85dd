use super::*;
use proptest::{collection::vec, option, prelude::*};

/// Any frame, with its variable parts owned so that the frame can borrow from them.
#[derive(Debug, Clone)]
struct Parts {
    numbers: [u64; 3],
    session: u128,
    flags: [bool; 3],
    key: String,
    creation: Option<(Vec<u8>, bool)>,
    body: Vec<u8>,
    ports: Vec<u16>,
}

impl Parts {
    fn frame(&self, kind: usize) -> Frame<'_> {
        let [a, b, c] = self.numbers;
        match kind {
            0 => Frame::Hello(Hello { session: self.session, lease_ms: a as u32, is_seeded: self.flags[0] }),
            1 => Frame::Welcome(Welcome {
                epoch: a,
                lease_ms: b as u32,
                frame_bytes_max: c as u32,
                shards: (b as u32).max(1),
                core: c as u16,
                ports: self.ports.clone(),
            }),
            2 => Frame::Call(Call {
                retry: self.flags[0],
                first: self.flags[1],
                type_id: a as u16,
                method: (a >> 16) as u16,
                shard: b as u32,
                slot: (b >> 32) as u32,
                sequence: c,
                epoch: a,
                replicas: self.flags[2].then_some(b as u8),
                key: &self.key,
                creation: self.creation.as_ref().map(|(bytes, exactly)| (&bytes[..], *exactly)),
                arguments: &self.body,
            }),
            3 => {
                let result = if self.flags[2] { Ok(&self.body[..]) } else { Err(&self.body[..]) };
                Frame::Reply(Reply { slot: a as u32, sequence: b, result })
            }
            4 => Frame::Heartbeat,
            5 => Frame::Alive { alive: self.flags[0] },
            6 => Frame::Goodbye,
            7 => Frame::Cancel { slot: a as u32, sequence: b },
            _ => Frame::Reject { reason: RejectReason::Busy, text: &self.key },
        }
    }
}

fn parts() -> impl Strategy<Value = Parts> {
    (
        any::<([u64; 3], u128, [bool; 3])>(),
        "\\PC{0,60}",
        option::of((vec(any::<u8>(), 0..20), any::<bool>())),
        vec(any::<u8>(), 0..200),
        vec(any::<u16>(), 1..9),
    )
        .prop_map(|((numbers, session, flags), key, creation, body, ports)| Parts {
            numbers,
            session,
            flags,
            key,
            creation,
            body,
            ports,
        })
}

proptest! {
    #[test]
    fn every_frame_comes_back_as_it_was_however_it_is_cut(parts in parts(), kind in 0..9_usize) {
        let frame = parts.frame(kind);
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        for cut in 0..bytes.len() {
            let part = next_frame(&bytes[..cut], FRAME_BYTES_MAX).unwrap();
            prop_assert!(matches!(part, Next::Incomplete(need) if need > cut && need <= bytes.len()));
        }
        bytes.extend_from_slice(b"the next frame");
        let Next::Frame(read, used) = next_frame(&bytes, FRAME_BYTES_MAX).unwrap() else { panic!("incomplete") };
        prop_assert_eq!(read, frame);
        prop_assert_eq!(used, bytes.len() - b"the next frame".len());
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in vec(any::<u8>(), 0..300), kind in 0..11_u8) {
        let _ = next_frame(&bytes, FRAME_BYTES_MAX);
        let _ = next_frame(&bytes, HELLO_BYTES_MAX);
        let mut framed = (bytes.len() as u32 + 1).to_le_bytes().to_vec();
        framed.push(kind);
        framed.extend_from_slice(&bytes);
        let _ = next_frame(&framed, FRAME_BYTES_MAX);
    }

    #[test]
    fn a_flipped_bit_never_panics(parts in parts(), kind in 0..9_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = Vec::new();
        parts.frame(kind).encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = next_frame(&bytes, FRAME_BYTES_MAX);
    }
}

#[test]
fn a_frame_of_4_gib_is_refused_from_its_prefix_alone() {
    let announced = u32::MAX as usize;
    assert_eq!(
        next_frame(&[0xff; 4], FRAME_BYTES_MAX),
        Err(FrameError::TooLong { announced, max: FRAME_BYTES_MAX })
    );
    assert_eq!(next_frame(&[0xff; 4], HELLO_BYTES_MAX), Err(FrameError::NotAbide));
}

#[test]
fn strangers_and_other_versions_are_told_apart() {
    let mut bytes = Vec::new();
    Frame::Hello(Hello { session: 1, lease_ms: 0, is_seeded: true }).encode(&mut bytes);
    assert!(bytes.len() <= HELLO_BYTES_MAX);
    let mut other = bytes.clone();
    other[13] = 9;
    assert_eq!(next_frame(&other, HELLO_BYTES_MAX), Err(FrameError::OtherVersion { peer: 9 }));
    let mut stranger = bytes.clone();
    stranger[5] = b'X';
    assert_eq!(next_frame(&stranger, HELLO_BYTES_MAX), Err(FrameError::NotAbide));
    assert_eq!(next_frame(b"GET / HTTP/1.1\r\n", HELLO_BYTES_MAX), Err(FrameError::NotAbide));
}

/// The layout in the module's documentation, byte by byte: a change of either breaks clients.
#[test]
fn the_documented_layout_is_the_layout() {
    let mut bytes = Vec::new();
    Frame::Call(Call {
        retry: true,
        first: false,
        type_id: 0x0201,
        method: 0x0403,
        shard: 5,
        slot: 6,
        sequence: 7,
        epoch: 8,
        replicas: Some(9),
        key: "key",
        creation: Some((b"new", true)),
        arguments: b"arguments",
    })
    .encode(&mut bytes);
    let expected = [
        &[52, 0, 0, 0, 3, 1 | 4 | 8 | 16, 1, 2, 3, 4, 5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..],
        &[8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 0, 0, 9],
        b"keynewarguments",
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn the_documented_layout_of_hello_is_the_layout() {
    let mut bytes = Vec::new();
    Frame::Hello(Hello { session: 0x0f0e, lease_ms: 3, is_seeded: true }).encode(&mut bytes);
    let mut expected = [32, 0, 0, 0, 1].to_vec();
    expected.extend_from_slice(b"ABIDE\r\n\x1a");
    expected.extend_from_slice(&[2, 0, 0x0e, 0x0f]);
    expected.extend_from_slice(&[0; 14]);
    expected.extend_from_slice(&[3, 0, 0, 0, 1]);
    assert_eq!(bytes, expected);
    expected[35] = 0;
    let plain = Hello { session: 0x0f0e, lease_ms: 3, is_seeded: false };
    assert_eq!(parse(&expected[4..]), Ok(Frame::Hello(plain)));
}

/// A later version may give them a meaning, which this one would get wrong.
#[test]
fn flags_that_mean_nothing_are_refused() {
    let mut hello = Vec::new();
    Frame::Hello(Hello { session: 1, lease_ms: 0, is_seeded: true }).encode(&mut hello);
    for flags in 2..=255 {
        hello[35] = flags;
        assert_eq!(parse(&hello[4..]), Err(FrameError::Malformed { kind: "HELLO" }), "{flags}");
    }
    let mut bytes = Vec::new();
    let call = Call {
        retry: false,
        first: false,
        type_id: 1,
        method: 2,
        shard: 3,
        slot: 4,
        sequence: 5,
        epoch: 6,
        replicas: Some(0),
        key: "key",
        creation: None,
        arguments: b"",
    };
    Frame::Call(call).encode(&mut bytes);
    assert_eq!(parse(&bytes[4..]), Ok(Frame::Call(call)), "an ephemeral object is a wish of its own");
    bytes[5] = 0;
    assert_eq!(parse(&bytes[4..]), Ok(Frame::Call(Call { replicas: None, ..call })));
    for flags in 32..=255 {
        bytes[5] = flags;
        assert_eq!(parse(&bytes[4..]), Err(FrameError::Malformed { kind: "CALL" }), "{flags}");
    }
    (bytes[5], bytes[40]) = (0, 1);
    assert_eq!(parse(&bytes[4..]), Err(FrameError::Malformed { kind: "CALL" }), "replicas that nobody wants");
}

#[test]
fn an_error_that_is_encoded_already_travels_as_one_that_is_not() {
    let error = CallError::WaitersFull { max: 7 };
    let (mut now, mut before) = (vec![1], vec![1]);
    let told = encode_reply(&mut now, 3, 4, Err(&error));
    assert_eq!(encode_reply_error(&mut before, 3, 4, &codec::encode(&error).unwrap()), told);
    assert_eq!(before, now);
    assert_eq!(codec::decode(&now[told.0..]), Ok(error));
}
