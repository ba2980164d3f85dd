//! A disk for a virtual machine, whose write cache is lost when the power is cut.
//!
//! QEMU reaches it by the NBD protocol, on a socket of this machine. Whatever the guest writes stays in memory until the
//! guest flushes; the image file has only what was flushed. When the connection ends, which is what the kill of QEMU looks
//! like from here, each sector that was written since the last flush is left as any of its versions: as it was, or as any
//! of the writes made it, and not all sectors alike. A real disk may do no worse to what it was not told to keep.
//!
//! Read: [`cache`] (what is lost), `nbd` (the protocol).

pub mod cache;
mod nbd;

use anyhow::Context as _;
use cache::{Cache, WritesLost};
use std::{fs::File, os::unix::net::UnixListener, path::PathBuf};

/// What `disk` is told.
#[derive(Debug, clap::Args)]
pub struct Disk {
    /// The file that has what was flushed. Its length is the disk's.
    #[arg(long)]
    image: PathBuf,
    /// The socket to listen on.
    #[arg(long)]
    socket: PathBuf,
    /// What is lost follows from it, and from what was written.
    #[arg(long)]
    seed: u64,
    /// Says that it has flushed, and has not: to see that it is noticed.
    #[arg(long)]
    lies: bool,
}

/// Serves one connection until it ends; prints what was lost then.
///
/// # Errors
/// If the image or the socket fails, or if the other side does not speak the protocol.
pub fn serve(arguments: &Disk) -> anyhow::Result<()> {
    let Disk { image, socket, seed, lies } = arguments;
    let file = File::options().read(true).write(true).open(image).context("cannot open the image")?;
    let mut cache = Cache::new(file, *lies)?;
    let listener = UnixListener::bind(socket).context("cannot listen on the socket")?;
    let (stream, _) = listener.accept()?;
    nbd::serve(&stream, &mut cache)?;
    let WritesLost { sectors, changed } = cache.cut(&mut fastrand::Rng::with_seed(*seed))?;
    println!("{sectors} {changed}");
    Ok(())
}
