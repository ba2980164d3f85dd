//! What a store must do to be measured. A new contender is one file in `contenders` and one line in its list.

use std::path::Path;

/// What an operation that has returned survives. Only contenders of one class are ever compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Durability {
    /// Nothing: memory of this process, or of the store's own buffers.
    Volatile,
    /// The end of the process at any instruction, not of the kernel.
    ProcessCrash,
    /// As if the memory were persistent: lines are written back and fenced, though on this machine they are DRAM.
    Instructions,
    /// Loss of power, on an ordinary disk.
    PowerFail,
}

/// How much a store will have to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
}

/// Opens a store in this directory, creating it if there is none. One that was killed recovers.
pub(crate) type Open = fn(&Path, Durability, Sizes) -> anyhow::Result<Box<dyn Store>>;

/// An open store. Threads share it, each with a session of its own.
pub(crate) trait Store: Send + Sync {
    /// What one thread works with.
    fn session(&self) -> anyhow::Result<Box<dyn Session + '_>>;

    /// Store fences that were issued so far, by all threads together, where the store can tell.
    fn fences(&self) -> Option<u64> {
        None
    }

    /// Closes it in order.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// One thread's access to a store. What returns `Ok` is as durable as the store was opened for, and every other
/// thread sees it.
pub(crate) trait Session {
    /// Inserts or replaces.
    fn put(&mut self, key: u64, value: &[u8]) -> anyhow::Result<()>;

    /// Shows the value that was put last, and tells whether there is one.
    fn get(&mut self, key: u64, show: &mut dyn FnMut(&[u8])) -> anyhow::Result<bool>;

    /// Tells whether there was one.
    fn delete(&mut self, key: u64) -> anyhow::Result<bool>;

    /// Puts all, in one commit: after a crash all are there or none. Contenders that have no such thing put one by
    /// one, and are not asked to in group D.
    fn put_all(&mut self, entries: &[(u64, Vec<u8>)]) -> anyhow::Result<()>;

    /// Adds to a counter, which begins at 0, and returns the sum. Exactly once: a call with the same client and
    /// sequence as this client's last one changes nothing and returns what that one returned, also after a crash.
    /// So the sum and the record of completion change together.
    fn add_once(&mut self, call: Call) -> anyhow::Result<u64>;

    /// What a counter contains.
    fn sum(&mut self, counter: u64) -> anyhow::Result<u64>;
}

/// One call of [`Session::add_once`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) counter: u64,
    pub(crate) client: u64,
    /// Greater than that of this client's call before, or equal: then it is that call again.
    pub(crate) sequence: u64,
    pub(crate) by: u64,
}

/// A client's last call, as stores without a type for it keep it: sequence, then result.
pub(crate) type Completion = [u8; 16];

/// What to return, and what to write if this is not a call again: the sum, and the completion.
pub(crate) fn step(
    call: Call,
    last: Option<&[u8]>,
    sum: Option<&[u8]>,
) -> anyhow::Result<(u64, Option<Completion>)> {
    if let Some(last) = last {
        let (sequence, result) = (word(last, 0)?, word(last, 1)?);
        if sequence == call.sequence {
            return Ok((result, None));
        }
        anyhow::ensure!(sequence < call.sequence, "sequence {} after {sequence}", call.sequence);
    }
    let sum = sum_of(sum)? + call.by;
    let mut completion = Completion::default();
    completion[..8].copy_from_slice(&call.sequence.to_le_bytes());
    completion[8..].copy_from_slice(&sum.to_le_bytes());
    Ok((sum, Some(completion)))
}

/// What a counter contains, if it is there.
pub(crate) fn sum_of(value: Option<&[u8]>) -> anyhow::Result<u64> {
    value.map_or(Ok(0), |value| word(value, 0))
}

/// The nth word of a value.
fn word(bytes: &[u8], nth: usize) -> anyhow::Result<u64> {
    let found = bytes.get(nth * 8..nth * 8 + 8).and_then(|bytes| bytes.try_into().ok());
    found
        .map(u64::from_le_bytes)
        .ok_or_else(|| anyhow::anyhow!("a value of {} bytes is too short", bytes.len()))
}
