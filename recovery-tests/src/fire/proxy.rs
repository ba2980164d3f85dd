//! What is between the clients and the node: it cuts connections.
//!
//! Clients find the node's cores at the ports that it tells, on the host at which they have reached it. So the node listens on
//! one loopback address, the proxy on the same port of another, and the clients never learn of the former.

use anyhow::Context as _;
use fastrand::Rng;
use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// A proxy. It works until the process ends.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Where clients reach it.
    pub(super) address: SocketAddr,
    /// Where the node has to listen.
    pub(super) node: SocketAddr,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
struct Traffic {
    /// Pieces of the clients' streams that came by. A session makes one call at a time, so each call is a piece at least.
    requests: AtomicU64,
    /// So many may come by; others wait.
    requests_max: AtomicU64,
    cuts: AtomicU64,
    /// One piece in so many is its connection's last; 0: none is.
    cut_every: AtomicU64,
    seed: u64,
}

impl Proxy {
    /// Listens where the node's address is free too.
    pub(super) fn start(seed: u64, cut_every: u64) -> anyhow::Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for the proxy")?;
        let address = listener.local_addr()?;
        let node = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), address.port()));
        let traffic = Arc::new(Traffic {
            requests: AtomicU64::new(0),
            requests_max: AtomicU64::new(u64::MAX),
            cuts: AtomicU64::new(0),
            cut_every: AtomicU64::new(cut_every),
            seed,
        });
        let accepting = traffic.clone();
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().map_while(Result::ok)) {
                // While the node is down the client sees its connection closed.
                if let Ok(node) = TcpStream::connect(node) {
                    accepting.clone().join(client, node, number);
                }
            }
        });
        Ok(Proxy { address, node, traffic })
    }

    /// Pieces of the clients' streams that have come by.
    pub(super) fn requests(&self) -> u64 {
        self.traffic.requests.load(SeqCst)
    }

    /// Lets so many come by in all.
    pub(super) fn let_by(&self, requests_max: u64) {
        self.traffic.requests_max.store(requests_max, SeqCst);
    }

    /// Connections that it has cut.
    pub(super) fn cuts(&self) -> u64 {
        self.traffic.cuts.load(SeqCst)
    }

    /// Cuts no more.
    pub(super) fn cease(&self) {
        self.traffic.cut_every.store(0, SeqCst);
        self.let_by(u64::MAX);
    }
}

impl Traffic {
    /// Passes on what the two say.
    fn join(self: Arc<Self>, client: TcpStream, node: TcpStream, number: u64) {
        let ends = Arc::new((client, node));
        for upwards in [true, false] {
            let (this, ends) = (self.clone(), ends.clone());
            let rng = Rng::with_seed(self.seed ^ (2 * number + u64::from(upwards)).rotate_left(32));
            thread::spawn(move || {
                let (from, to) = if upwards { (&ends.0, &ends.1) } else { (&ends.1, &ends.0) };
                // However it ends, the connection is over for both.
                let _ = this.pass(from, to, upwards, rng);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    /// Passes on what one end says to the other, until either is gone or the connection is to be cut.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, upwards: bool, mut rng: Rng) -> io::Result<()> {
        from.set_nodelay(true)?;
        to.set_nodelay(true)?;
        let mut piece = [0; 4096];
        loop {
            let bytes = from.read(&mut piece)?;
            if bytes == 0 {
                return Ok(());
            }
            if upwards {
                while self.requests.load(SeqCst) >= self.requests_max.load(SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                self.requests.fetch_add(1, SeqCst);
            }
            let cut_every = self.cut_every.load(SeqCst);
            if cut_every > 0 && rng.u64(..cut_every) == 0 {
                self.cuts.fetch_add(1, SeqCst);
                // Before it, within it, or after it: then a call is made and its answer is lost.
                let passed = [0, rng.usize(..bytes), bytes][rng.usize(..3)];
                return to.write_all(&piece[..passed]);
            }
            to.write_all(&piece[..bytes])?;
        }
    }
}
