//! Redis' commands: SET, GET, and EVALSHA of two Lua scripts.

use super::{PATIENCE, Requests, Split, Wire, connect, resp};
use crate::{
    values::{VALUE_BYTES, Values},
    workload::{Answer, COMPLEX_TIMES, FACTOR, Kind, Operation},
};
use anyhow::{Context as _, ensure};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    time::Instant,
};

/// One multiplication. `%.17g` keeps a double to the last bit.
const MULTIPLY_ONCE: &str = "local v = string.format('%.17g', (redis.call('GET', KEYS[1]) or 1) * ARGV[1]) \
     redis.call('SET', KEYS[1], v) return v";

/// As many multiplications as the second argument says.
const MULTIPLY_OFTEN: &str = "local v, f = tonumber(redis.call('GET', KEYS[1]) or 1), tonumber(ARGV[1]) \
     for _ = 1, tonumber(ARGV[2]) do v = v * f end \
     v = string.format('%.17g', v) redis.call('SET', KEYS[1], v) return v";

/// Commands, but for the value at the end of a SET.
#[derive(Debug)]
pub(crate) struct Prebuilt {
    values: Rc<Values>,
    sets: Requests,
    gets: Requests,
    /// Zero times, once, [`COMPLEX_TIMES`].
    multiplies: [Requests; 3],
}

const LINE_END: &[u8] = b"\r\n";

impl Prebuilt {
    /// Builds the commands, and teaches the scripts to the server.
    pub(crate) fn new(
        values: Rc<Values>,
        keys: usize,
        multipliers: usize,
        address: SocketAddr,
    ) -> anyhow::Result<Prebuilt> {
        let (mut sets, mut gets, mut multiplies) =
            (Requests::default(), Requests::default(), <[Requests; 3]>::default());
        let zeros = [0; VALUE_BYTES];
        for key in 0..keys {
            let key = format!("key:{key:05}");
            sets.push(|out| {
                resp::command(&[b"SET", key.as_bytes(), &zeros], out);
                out.truncate(out.len() - VALUE_BYTES - LINE_END.len());
            });
            gets.push(|out| resp::command(&[b"GET", key.as_bytes()], out));
        }
        let mut stream = connect(address)?;
        let once = exchange(&mut stream, &[b"SCRIPT", b"LOAD", MULTIPLY_ONCE.as_bytes()])?;
        let often = exchange(&mut stream, &[b"SCRIPT", b"LOAD", MULTIPLY_OFTEN.as_bytes()])?;
        for (requests, times) in multiplies.iter_mut().zip([0, 1, COMPLEX_TIMES]) {
            let (factor, times_text) = (FACTOR.to_string(), times.to_string());
            for key in 0..multipliers {
                let key = format!("mul:{key:05}");
                let script = if times == 1 { &once } else { &often };
                let mut parts = vec![b"EVALSHA", &script[..], b"1", key.as_bytes(), factor.as_bytes()];
                if times != 1 {
                    parts.push(times_text.as_bytes());
                }
                requests.push(|out| resp::command(&parts, out));
            }
        }
        Ok(Prebuilt { values, sets, gets, multiplies })
    }
}

/// One connection. Redis answers in the order in which it was asked.
#[derive(Debug)]
pub(crate) struct Redis {
    prebuilt: Rc<Prebuilt>,
    /// The places of the requests under way, from `answered` on.
    asked: Vec<usize>,
    answered: usize,
}

impl Wire for Redis {
    type Prebuilt = Prebuilt;

    fn open(
        address: SocketAddr,
        prebuilt: &Rc<Prebuilt>,
        pipeline: usize,
    ) -> anyhow::Result<(TcpStream, Redis)> {
        let asked = Vec::with_capacity(pipeline);
        Ok((connect(address)?, Redis { prebuilt: prebuilt.clone(), asked, answered: 0 }))
    }

    fn encode(&mut self, place: usize, operation: &Operation, out: &mut Vec<u8>) {
        if self.answered == self.asked.len() {
            self.asked.clear();
            self.answered = 0;
        }
        self.asked.push(place);
        let prebuilt = &*self.prebuilt;
        match *operation {
            Operation::Set { key, version } => {
                out.extend_from_slice(prebuilt.sets.get(key));
                prebuilt.values.write(key, version, out);
                out.extend_from_slice(LINE_END);
            }
            Operation::Get { key, .. } => out.extend_from_slice(prebuilt.gets.get(key)),
            Operation::Multiply { object, times, .. } => {
                out.extend_from_slice(prebuilt.multiplies[times.min(2) as usize].get(object));
            }
        }
    }

    fn split<'a>(&mut self, bytes: &'a [u8]) -> anyhow::Result<Option<Split<'a>>> {
        let Some((body, used)) = resp::next_answer(bytes)? else { return Ok(None) };
        let place = *self.asked.get(self.answered).context("an answer to nothing")?;
        self.answered += 1;
        Ok(Some(Split { used, place, body }))
    }

    fn answer<'a>(&self, operation: &Operation, body: &'a [u8]) -> anyhow::Result<Answer<'a>> {
        match operation {
            Operation::Set { .. } => {
                ensure!(body == b"OK", "a SET answered with {:?}", String::from_utf8_lossy(body));
                Ok(Answer::Done)
            }
            Operation::Get { .. } => Ok(Answer::Bytes(body)),
            Operation::Multiply { .. } => Ok(Answer::Float(std::str::from_utf8(body)?.parse()?)),
        }
    }

    fn close(&mut self, _: &mut Vec<u8>) {}
}

/// Sends a command and waits for its answer.
fn exchange(stream: &mut TcpStream, parts: &[&[u8]]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    resp::command(parts, &mut bytes);
    stream.write_all(&bytes)?;
    bytes.clear();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some((body, _)) = resp::next_answer(&bytes)? {
            return Ok(body.to_vec());
        }
        ensure!(Instant::now() < until, "Redis does not answer");
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).context("Redis does not answer")?;
        ensure!(count > 0, "Redis closed the connection");
        bytes.extend_from_slice(&buffer[..count]);
    }
}

/// Whether a server is there.
pub(crate) fn ping(address: SocketAddr) -> anyhow::Result<()> {
    ensure!(exchange(&mut connect(address)?, &[b"PING"])? == b"PONG", "no PONG");
    Ok(())
}

/// How many commands of this workload the server says that it has made.
pub(crate) fn calls(address: SocketAddr, kind: Kind) -> anyhow::Result<u64> {
    let info = exchange(&mut connect(address)?, &[b"INFO", b"commandstats"])?;
    let command = match kind {
        Kind::Set => "cmdstat_set:calls=",
        Kind::Get => "cmdstat_get:calls=",
        Kind::Simple | Kind::Complex => "cmdstat_evalsha:calls=",
    };
    let Some(line) = std::str::from_utf8(&info)?.lines().find_map(|line| line.strip_prefix(command)) else {
        return Ok(0);
    };
    Ok(line.split(',').next().unwrap_or_default().parse()?)
}
