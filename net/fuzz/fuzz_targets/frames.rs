//! Any bytes are a sequence of frames, an incomplete one, or an error; what is a frame comes back as it was.
#![no_main]

use abide_net::{
    frame::{self, Next},
    limits::{FRAME_BYTES_MAX, HELLO_BYTES_MAX},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = frame::next_frame(bytes, HELLO_BYTES_MAX);
    let mut rest = bytes;
    while let Ok(Next::Frame(frame, used)) = frame::next_frame(rest, FRAME_BYTES_MAX) {
        let mut again = Vec::new();
        frame.encode(&mut again);
        // Bytes that mean the same (a reason unknown here, any nonzero "alive") are written in one way.
        let Ok(Next::Frame(read, _)) = frame::next_frame(&again, FRAME_BYTES_MAX) else { panic!("{frame:?}") };
        assert_eq!(read, frame);
        rest = &rest[used..];
    }
});
