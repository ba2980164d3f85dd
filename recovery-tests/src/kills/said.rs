//! What the process that is killed has said before: line by line, each in one write.
//!
//! ```text
//! opening              it is about to open or to create the region
//! open                 it has opened it
//! checked PROGRESS     it has found this in the region, which is where its clients go on
//! c CLIENT SEQUENCE    a call has returned
//! n THREAD SEQUENCE    a change of a thread's names has returned
//! g BYTES              the region was made to grow to so many bytes, or was as large
//! ```

use super::calls::SHARDS;
use anyhow::{Context as _, bail, ensure};
use std::{fmt, path::PathBuf, str::FromStr};

/// How many calls of each client and of each thread's names were acknowledged, and how large the region was said to be.
///
/// Written as `CALLS/NAMES/BYTES`, the first two with commas between their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Of each client: of thread t in shard s at `t * SHARDS + s`.
    pub(crate) calls: Vec<u64>,
    /// Of each thread's names.
    pub(crate) names: Vec<u64>,
    /// Bytes of the region; 0 if nothing was said of them.
    pub(crate) bytes: u64,
}

impl Progress {
    pub(crate) fn none(threads: usize) -> Self {
        Self { calls: vec![0; threads * SHARDS as usize], names: vec![0; threads], bytes: 0 }
    }

    /// Whether nothing was acknowledged.
    pub(crate) fn is_none(&self) -> bool {
        self.total() == 0 && self.bytes == 0
    }

    /// Calls and changes of names that were acknowledged.
    pub(crate) fn total(&self) -> u64 {
        self.calls.iter().chain(&self.names).sum()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        write!(f, "{}/{}/{}", join(&self.calls), join(&self.names), self.bytes)
    }
}

impl FromStr for Progress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
        let parse = || {
            let [calls, names, bytes] = text.split('/').collect::<Vec<_>>()[..] else { return None };
            Some(Self {
                calls: numbers(calls).ok()?,
                names: numbers(names).ok()?,
                bytes: bytes.parse().ok()?,
            })
        };
        parse()
            .filter(|progress| progress.calls.len() == progress.names.len() * SHARDS as usize)
            .ok_or_else(|| format!("{text} is no progress"))
    }
}

/// What a process had said when it was killed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) opening: bool,
    pub(crate) opened: bool,
    pub(crate) checked: bool,
    pub(crate) acknowledged: Progress,
}

impl Said {
    /// A process that has said nothing yet, and goes on after this.
    pub(crate) fn nothing(after: &Progress) -> Self {
        Self { opening: false, opened: false, checked: false, acknowledged: after.clone() }
    }

    pub(crate) fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        self.understand(line).with_context(|| format!("the process said {line:?}"))
    }

    fn understand(&mut self, line: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["opening"] => self.opening = true,
            ["open"] => self.opened = true,
            ["checked", progress] => {
                self.checked = true;
                self.acknowledged = progress.parse().map_err(anyhow::Error::msg)?;
            }
            ["g", bytes] => self.acknowledged.bytes = self.acknowledged.bytes.max(bytes.parse()?),
            [what @ ("c" | "n"), who, sequence] => {
                let Progress { calls, names, .. } = &mut self.acknowledged;
                let of = if what == "c" { calls } else { names };
                let last = of.get_mut(who.parse::<usize>()?).context("nobody has this number")?;
                let sequence: u64 = sequence.parse()?;
                ensure!(sequence == *last || sequence == *last + 1, "{sequence} after {last}");
                *last = sequence;
            }
            _ => bail!("what is that?"),
        }
        Ok(())
    }
}

/// What `pmem-heard` is told.
#[derive(Debug, clap::Args)]
pub struct Heard {
    /// What was acknowledged before. [default: nothing]
    #[arg(long)]
    after: Option<Progress>,
    /// What the process has said. Bytes behind its last whole line do not count.
    said: PathBuf,
}

/// Prints what was acknowledged by what a process has said, how many calls of it are new, how many there are, and
/// whether the region was `opened`, then `checked` or `unchecked`.
///
/// # Errors
/// If the process has said what it cannot have said.
pub fn heard(arguments: &Heard) -> anyhow::Result<()> {
    let before = arguments.after.clone().unwrap_or_else(|| Progress::none(super::THREADS));
    let text = std::fs::read(&arguments.said).context("cannot read what was said")?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut said = Said::nothing(&before);
    for line in std::str::from_utf8(&text[..whole])?.lines() {
        said.hear(line)?;
    }
    let Said { opened, checked, acknowledged, .. } = said;
    println!(
        "{acknowledged} {} {} {} {}",
        acknowledged.total().saturating_sub(before.total()),
        acknowledged.total(),
        if opened { "opened" } else { "unopened" },
        if checked { "checked" } else { "unchecked" },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_is_read_as_it_is_written() {
        let progress = Progress { calls: vec![1, 2, 3, 4, 5, 6], names: vec![7, 8], bytes: 9 };
        assert_eq!(progress.to_string().parse(), Ok(progress));
        for bad in ["", "1/2", "1,2,3/4", "1,2,3/4/x", "1,2/3/4", "1,2,3/4/5/6"] {
            assert!(bad.parse::<Progress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_call_that_follows_no_other_is_not_believed() {
        let mut said = Said::nothing(&Progress::none(1));
        for line in ["opening", "open", "c 1 1", "c 1 1", "c 1 2", "n 0 1", "g 8192", "g 4096"] {
            said.hear(line).unwrap();
        }
        assert!(said.opening && said.opened && !said.checked);
        assert_eq!(said.acknowledged, Progress { calls: vec![0, 2, 0], names: vec![1], bytes: 8192 });
        for bad in ["c 1 4", "c 1 1", "n 0 3", "c 3 1", "c 1", "open now", "checked 1/2", ""] {
            assert!(said.hear(bad).is_err(), "{bad}");
        }
        said.hear("checked 0,3,0/1/8192").unwrap();
        said.hear("c 1 4").unwrap();
        assert!(said.checked);
    }
}
