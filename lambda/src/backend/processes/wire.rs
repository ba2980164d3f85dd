//! Frames on the channel between a program and its child: a length of eight little-endian bytes, then as many
//! bytes. The program sends two, a header and the arguments; the child sends two, a reply and the value.

use crate::task::{Header, Reply};
use abide_net::{codec, limits::FRAME_BYTES_MAX};
use std::io::{self, Read, Write};

/// The length of a frame, as it travels.
pub(super) fn length(frame: &[u8]) -> [u8; 8] {
    (frame.len() as u64).to_le_bytes()
}

fn write_frame(out: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    out.write_all(&length(frame))?;
    out.write_all(frame)
}

fn read_frame(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > FRAME_BYTES_MAX as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut frame = Vec::with_capacity(length as usize);
    input.take(length).read_to_end(&mut frame)?;
    if frame.len() as u64 == length { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The child's side: its task.
pub(super) fn read_task(channel: &mut impl Read) -> io::Result<(Header, Vec<u8>)> {
    let header = codec::decode(&read_frame(channel)?).map_err(io::Error::other)?;
    Ok((header, read_frame(channel)?))
}

/// The child's side: how it ended.
pub(super) fn write_reply(channel: &mut impl Write, reply: &Reply, value: &[u8]) -> io::Result<()> {
    write_frame(channel, &codec::encode(reply).map_err(io::Error::other)?)?;
    write_frame(channel, value)
}

/// The program's side: everything that the child sent, if that is a whole reply.
pub(super) fn parse_reply(received: Vec<u8>) -> Option<(Reply, Vec<u8>)> {
    let mut rest = received.as_slice();
    let reply = codec::decode(&read_frame(&mut rest).ok()?).ok()?;
    let value = read_frame(&mut rest).ok()?;
    rest.is_empty().then_some((reply, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_reply_counts() {
        let mut sent = Vec::new();
        write_reply(&mut sent, &Reply::Returned, b"value").unwrap();
        for cut in 0..sent.len() {
            assert!(parse_reply(sent[..cut].to_vec()).is_none(), "cut at {cut}");
        }
        let (reply, value) = parse_reply(sent.clone()).unwrap();
        assert!(matches!(reply, Reply::Returned));
        assert_eq!(value, b"value");
        sent.push(0);
        assert!(parse_reply(sent).is_none());
    }

    #[test]
    fn an_absurd_length_is_an_error_rather_than_an_allocation() {
        let error = read_frame(&mut [0xff; 8].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
