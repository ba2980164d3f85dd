//! The load generator: one thread, non-blocking sockets, a closed loop on each connection.
//!
//! A connection sends as many requests as its pipeline is deep in one write, waits until all are answered,
//! and sends the next ones at once. A request's latency is the time from just before that write to just
//! after the read that brought its answer, so in a pipeline it includes the requests ahead of it. Requests
//! are prebuilt but for a few fields, so that the generator costs the same, and little, for every system.

mod connection;

use crate::{
    server::{Server, Usage},
    wire::Wire,
    workload::Source,
};
use anyhow::ensure;
use connection::Connection;
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};

/// How the generator waits for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Asleep in `epoll_wait`, as a client does that has nothing else to do.
    Sleep,
    /// Calling `epoll_wait` again and again, so that its own waking up is not measured.
    Poll,
}

/// Bytes of one read: more than the answers of any pipeline.
const READ_BYTES: usize = 256 << 10;

/// Answers of one turn: one for each connection is enough.
const EVENTS_MAX: usize = 512;

/// A server that answers nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What one measurement found.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// Operations answered, and checked, while it was measured.
    pub(crate) operations: u64,
    pub(crate) time: Duration,
    /// What was used meanwhile.
    pub(crate) usage: Usage,
    pub(crate) latency_ns: Histogram<u32>,
}

impl Measured {
    /// Share of the time in which the server or the generator, whichever suffered more, was ready to run and
    /// something else ran on its processor.
    pub(crate) fn disturbed(&self) -> f64 {
        self.usage.server_in_line.max(self.usage.generator_in_line).as_secs_f64() / self.time.as_secs_f64()
    }
}

/// All connections of one measurement.
pub(crate) struct Generator<W> {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    connections: Vec<Connection<W>>,
    waiting: Waiting,
    /// Where reads put what they read.
    buffer: Vec<u8>,
    /// Answers so far.
    answers: u64,
    latency_ns: Histogram<u32>,
    /// Connections of which not all requests are answered.
    busy: usize,
}

impl<W: Wire> Generator<W> {
    pub(crate) fn open(
        address: SocketAddr,
        prebuilt: &Rc<W::Prebuilt>,
        connections: usize,
        pipeline: usize,
        waiting: Waiting,
    ) -> anyhow::Result<Generator<W>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let open = |number: usize| Connection::open(address, prebuilt, pipeline, number * pipeline);
        let connections: Vec<_> = (0..connections).map(open).collect::<anyhow::Result<_>>()?;
        for (number, connection) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, connection.stream(), data, epoll::EventFlags::IN)?;
        }
        Ok(Generator {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
            connections,
            waiting,
            buffer: vec![0; READ_BYTES],
            answers: 0,
            latency_ns: Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3)?,
            busy: 0,
        })
    }

    /// Makes all operations that the source has. Returns how many.
    pub(crate) fn finish(mut self, source: &mut impl Source) -> anyhow::Result<u64> {
        self.begin(source)?;
        while self.busy > 0 {
            self.turn(source, true)?;
        }
        self.close()
    }

    /// Makes operations for a while, then for a while that is measured. Returns how many all in all, too.
    pub(crate) fn measure(
        mut self,
        source: &mut impl Source,
        (warm_up, measured): (Duration, Duration),
        server: &Server,
    ) -> anyhow::Result<(Measured, u64)> {
        self.begin(source)?;
        let mut start = Instant::now();
        while start.elapsed() < warm_up {
            self.turn(source, true)?;
        }
        let (usage, answers) = (server.usage()?, self.answers);
        self.latency_ns.reset();
        start = Instant::now();
        while start.elapsed() < measured {
            self.turn(source, true)?;
        }
        let measured = Measured {
            time: start.elapsed(),
            usage: server.usage()?.since(&usage),
            operations: self.answers - answers,
            latency_ns: self.latency_ns.clone(),
        };
        while self.busy > 0 {
            self.turn(source, false)?;
        }
        Ok((measured, self.close()?))
    }

    fn begin(&mut self, source: &mut impl Source) -> anyhow::Result<()> {
        for connection in &mut self.connections {
            self.busy += usize::from(connection.ask(source)?);
        }
        Ok(())
    }

    /// Waits for answers, checks them, and has connections that got all of theirs ask again, if they are to.
    fn turn(&mut self, source: &mut impl Source, go_on: bool) -> anyhow::Result<()> {
        self.wait()?;
        for event in &self.events {
            let connection = &mut self.connections[event.data.u64() as usize];
            let before = connection.unanswered();
            connection.send()?;
            let (answered, latency) = connection.receive(source, &mut self.buffer)?;
            if answered > 0 {
                self.answers += answered;
                let latency_ns = (latency.as_nanos() as u64).min(LATENCY_NS_MAX);
                self.latency_ns.record_n(latency_ns, answered as u32)?;
            }
            if before > 0 && connection.unanswered() == 0 && !(go_on && connection.ask(source)?) {
                self.busy -= 1;
            }
            if let Some(flags) = connection.changed_interest() {
                epoll::modify(&self.epoll, connection.stream(), event.data, flags)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let seconds = match self.waiting {
            Waiting::Sleep => SILENCE_MAX.as_secs() as i64,
            Waiting::Poll => 0,
        };
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        self.events.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(found) => ensure!(found > 0 || self.waiting == Waiting::Poll, "the server does not answer"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn close(mut self) -> anyhow::Result<u64> {
        self.connections.iter_mut().try_for_each(Connection::close)?;
        Ok(self.answers)
    }
}
