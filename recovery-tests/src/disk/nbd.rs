//! As much of the NBD protocol as a virtual machine needs of one disk: the fixed new-style handshake, and read, write and
//! flush with simple replies, one after the other.

use super::cache::{Cache, SECTOR};
use anyhow::{bail, ensure};
use std::{
    io::{self, BufReader, ErrorKind, Read, Write},
    os::unix::net::UnixStream,
};

const HELLO: u64 = 0x4e42_444d_4147_4943;
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// Of the handshake: this dialect of it, and no padding behind an answer to [`EXPORT_NAME`].
const FIXED_NO_ZEROES: u16 = 0b11;
/// Of the disk: it can flush, and write through its cache.
const DISK_FLAGS: u16 = 1 | 1 << 2 | 1 << 3;

const EXPORT_NAME: u32 = 1;
const ABORT: u32 = 2;
const INFO: u32 = 6;
const GO: u32 = 7;

const ACK: u32 = 1;
const INFO_REPLY: u32 = 3;
const UNSUPPORTED: u32 = 1 << 31 | 1;

const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
/// A write that is to go through the cache.
const FUA: u16 = 1;

/// Bytes of one request at most.
const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// Bytes of an option at most.
const OPTION_BYTES_MAX: u32 = 64 << 10;
const INVALID: u32 = 22;
const IO: u32 = 5;

/// Serves the disk until the other side is gone. That it goes in the middle of a request is what a cut looks like.
pub(super) fn serve(stream: &UnixStream, disk: &mut Cache) -> anyhow::Result<()> {
    let mut connection = Connection { input: BufReader::new(stream), output: stream };
    match connection.run(disk) {
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| is_end(error.kind())) => Ok(()),
        ended => ended,
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

struct Connection<'a> {
    input: BufReader<&'a UnixStream>,
    output: &'a UnixStream,
}

impl Connection<'_> {
    fn run(&mut self, disk: &mut Cache) -> anyhow::Result<()> {
        if self.shake_hands(disk.len())? {
            while self.answer(disk)? {}
        }
        Ok(())
    }

    /// Whether requests follow.
    fn shake_hands(&mut self, disk_bytes: u64) -> anyhow::Result<bool> {
        self.send(&[&HELLO.to_be_bytes(), &OPTION.to_be_bytes(), &FIXED_NO_ZEROES.to_be_bytes()])?;
        let no_zeroes = u32::from_be_bytes(self.take()?) & 0b10 != 0;
        let size_and_flags = [&disk_bytes.to_be_bytes()[..], &DISK_FLAGS.to_be_bytes()].concat();
        loop {
            ensure!(u64::from_be_bytes(self.take()?) == OPTION, "no option");
            let (option, bytes) = (u32::from_be_bytes(self.take()?), u32::from_be_bytes(self.take()?));
            ensure!(bytes <= OPTION_BYTES_MAX, "an option of {bytes} bytes");
            self.take_bytes(bytes)?;
            match option {
                EXPORT_NAME => {
                    let zeroes = [0; 124];
                    self.send(&[&size_and_flags, if no_zeroes { &[] } else { &zeroes }])?;
                    return Ok(true);
                }
                INFO | GO => {
                    let mut block_sizes = 3_u16.to_be_bytes().to_vec();
                    for size in [SECTOR as u32, 4096, REQUEST_BYTES_MAX] {
                        block_sizes.extend(size.to_be_bytes());
                    }
                    let export = [&0_u16.to_be_bytes()[..], &size_and_flags].concat();
                    self.reply_to_option(option, INFO_REPLY, &export)?;
                    self.reply_to_option(option, INFO_REPLY, &block_sizes)?;
                    self.reply_to_option(option, ACK, &[])?;
                    if option == GO {
                        return Ok(true);
                    }
                }
                ABORT => {
                    self.reply_to_option(option, ACK, &[])?;
                    return Ok(false);
                }
                _ => self.reply_to_option(option, UNSUPPORTED, &[])?,
            }
        }
    }

    fn reply_to_option(&mut self, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        let len = data.len() as u32;
        self.send(&[
            &OPTION_REPLY.to_be_bytes(),
            &option.to_be_bytes(),
            &kind.to_be_bytes(),
            &len.to_be_bytes(),
            data,
        ])
    }

    /// Answers a request. Whether more follow.
    fn answer(&mut self, disk: &mut Cache) -> anyhow::Result<bool> {
        ensure!(u32::from_be_bytes(self.take()?) == REQUEST, "no request");
        let (flags, kind) = (u16::from_be_bytes(self.take()?), u16::from_be_bytes(self.take()?));
        let cookie: [u8; 8] = self.take()?;
        let (offset, bytes) = (u64::from_be_bytes(self.take()?), u32::from_be_bytes(self.take()?));
        ensure!(bytes <= REQUEST_BYTES_MAX, "a request of {bytes} bytes");
        let mut data = Vec::new();
        let done = match kind {
            READ => {
                data.resize(bytes as usize, 0);
                disk.read(offset, &mut data)
            }
            WRITE => {
                let written = self.take_bytes(bytes)?;
                if flags & FUA == 0 {
                    disk.write(offset, &written)
                } else {
                    disk.write_through(offset, &written)
                }
            }
            FLUSH => disk.flush(),
            DISCONNECT => return Ok(false),
            _ => bail!("a request of kind {kind}"),
        };
        let error = match done {
            Ok(()) => 0,
            Err(error) => {
                data.clear();
                if error.kind() == ErrorKind::InvalidInput { INVALID } else { IO }
            }
        };
        self.send(&[&REPLY.to_be_bytes(), &error.to_be_bytes(), &cookie, &data])?;
        Ok(true)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take_bytes(&mut self, bytes: u32) -> io::Result<Vec<u8>> {
        let mut taken = vec![0; bytes as usize];
        self.input.read_exact(&mut taken)?;
        Ok(taken)
    }

    fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.output.write_all(&parts.concat())
    }
}
