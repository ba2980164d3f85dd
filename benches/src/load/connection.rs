//! One connection of the load generator.

use crate::{
    wire::Wire,
    workload::{Operation, Source},
};
use anyhow::{Context as _, ensure};
use rustix::event::epoll::EventFlags;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    time::{Duration, Instant},
};

/// A connection and the requests that it has under way.
#[derive(Debug)]
pub(super) struct Connection<W> {
    stream: TcpStream,
    wire: W,
    /// The number, through all connections, of its first place.
    first_place: usize,
    /// What is under way in each place of its pipeline.
    under_way: Vec<Option<Operation>>,
    unanswered: usize,
    asked_at: Instant,
    /// Requests, and how much of them the kernel has taken.
    output: Vec<u8>,
    sent: usize,
    /// The poller was asked to tell when the kernel takes more.
    waits_to_send: bool,
    /// The beginning of an answer that has not arrived completely.
    partial: Vec<u8>,
}

impl<W: Wire> Connection<W> {
    pub(super) fn open(
        address: SocketAddr,
        prebuilt: &Rc<W::Prebuilt>,
        pipeline: usize,
        first_place: usize,
    ) -> anyhow::Result<Connection<W>> {
        let (stream, wire) = W::open(address, prebuilt, pipeline)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            wire,
            first_place,
            under_way: vec![None; pipeline],
            unanswered: 0,
            asked_at: Instant::now(),
            output: Vec::new(),
            sent: 0,
            waits_to_send: false,
            partial: Vec::new(),
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Fills the pipeline and sends it. Says whether the source had anything to ask.
    pub(super) fn ask(&mut self, source: &mut impl Source) -> anyhow::Result<bool> {
        self.output.clear();
        self.sent = 0;
        for (place, under_way) in self.under_way.iter_mut().enumerate() {
            let Some(operation) = source.next(self.first_place + place) else { break };
            self.wire.encode(place, &operation, &mut self.output);
            *under_way = Some(operation);
            self.unanswered += 1;
        }
        self.asked_at = Instant::now();
        self.send()?;
        Ok(self.unanswered > 0)
    }

    /// Sends as much as the kernel takes.
    pub(super) fn send(&mut self) -> anyhow::Result<()> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending to the server"),
            }
        }
        Ok(())
    }

    /// What the poller should look for from now on, if that has changed.
    pub(super) fn changed_interest(&mut self) -> Option<EventFlags> {
        let waits = self.sent < self.output.len();
        if std::mem::replace(&mut self.waits_to_send, waits) == waits {
            return None;
        }
        Some(if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN })
    }

    /// Reads once and checks what came. Returns how many answers, and how long they took.
    pub(super) fn receive(
        &mut self,
        source: &mut impl Source,
        buffer: &mut [u8],
    ) -> anyhow::Result<(u64, Duration)> {
        let count = match self.stream.read(buffer) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok((0, Duration::ZERO));
            }
            Err(error) => return Err(error).context("receiving from the server"),
        };
        let latency = self.asked_at.elapsed();
        ensure!(count > 0, "the server closed a connection");
        let before = self.unanswered;
        if self.partial.is_empty() {
            let used = self.answers(source, &buffer[..count])?;
            self.partial.extend_from_slice(&buffer[used..count]);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(&buffer[..count]);
            let used = self.answers(source, &bytes)?;
            bytes.drain(..used);
            self.partial = bytes;
        }
        Ok(((before - self.unanswered) as u64, latency))
    }

    /// Checks all whole answers. Returns how many bytes they take.
    fn answers(&mut self, source: &mut impl Source, bytes: &[u8]) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some(split) = self.wire.split(&bytes[used..])? {
            let operation = self.under_way.get_mut(split.place).and_then(Option::take);
            let operation = operation.context("an answer to nothing")?;
            source.check(&operation, self.wire.answer(&operation, split.body)?)?;
            self.unanswered -= 1;
            used += split.used;
        }
        Ok(used)
    }

    /// Says farewell. Nothing may be under way.
    pub(super) fn close(&mut self) -> anyhow::Result<()> {
        assert_eq!(self.unanswered, 0, "a connection is closed with requests under way");
        ensure!(self.partial.is_empty(), "the server sent more than answers");
        self.output.clear();
        self.sent = 0;
        self.wire.close(&mut self.output);
        self.send()
    }
}
