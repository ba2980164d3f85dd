//! What a value, a page and an answer may weigh.

use crate::state::{Dictionary, Tree};
use abide_net::{
    CallError, Value,
    frame::REPLY_HEADER_BYTES,
    limits::{FRAME_BYTES_MAX, PAGE_ENTRIES_MAX, VALUE_BYTES_MAX},
};
use abide_schema::Page;

/// Longest key of a map, in bytes of its payload. A page of one entry carries its key twice (once as the
/// cursor) beside a value of [`VALUE_BYTES_MAX`], and has to fit a frame.
pub(super) const MAP_KEY_BYTES_MAX: usize = Dictionary::KEY_BYTES_MAX - TAG_BYTES;

/// Longest key of a sorted map, in bytes of its payload: its tree keeps keys in the nodes.
pub(super) const SORTED_KEY_BYTES_MAX: usize = Tree::KEY_BYTES_MAX - TAG_BYTES;

/// Most bytes of a page of more than one entry. Bounds how long one call can hold up its shard, and leaves
/// room in a frame for an entry of the largest kind.
pub(super) const PAGE_BYTES_MAX: usize = 4 << 20;

/// Most bytes of a result: what a frame can carry.
pub(super) const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX - REPLY_HEADER_BYTES;

/// Longest of bincode's length prefixes in front of a value, and the tag of an option.
const PREFIX_BYTES_MAX: usize = 6;

const TAG_BYTES: usize = 1;

// A page of one entry fits: the entry's key and value, the cursor, and what bincode puts around them.
const _: () = assert!(
    2 * (MAP_KEY_BYTES_MAX + TAG_BYTES + PREFIX_BYTES_MAX) + VALUE_BYTES_MAX + TAG_BYTES + 64
        < ANSWER_BYTES_MAX
);
const _: () = assert!(PAGE_BYTES_MAX + MAP_KEY_BYTES_MAX < ANSWER_BYTES_MAX);
const _: () = assert!(SORTED_KEY_BYTES_MAX <= MAP_KEY_BYTES_MAX);

/// Refuses a length above [`VALUE_BYTES_MAX`].
pub(super) fn check_len(len: usize) -> Result<(), CallError> {
    check_at_most(len, VALUE_BYTES_MAX)
}

/// Refuses a value whose payload is longer than [`VALUE_BYTES_MAX`].
pub(super) fn check_value(value: &Value) -> Result<(), CallError> {
    check_len(value.as_bytes().len() - TAG_BYTES)
}

/// Refuses a map's key whose payload is longer than [`MAP_KEY_BYTES_MAX`].
pub(super) fn check_map_key(key: &Value) -> Result<(), CallError> {
    check_at_most(key.as_bytes().len() - TAG_BYTES, MAP_KEY_BYTES_MAX)
}

/// Longest name of something within an object, in bytes: as long as an object's key.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// Refuses a name that is empty or longer than [`NAME_BYTES_MAX`].
pub(super) fn check_name(name: &str) -> Result<(), CallError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(CallError::bad_argument(format!("a name has 1 to {NAME_BYTES_MAX} bytes, not {}", name.len())))
}

/// Longest address, or other text that an object shows and does not look into, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// Refuses a text that is longer than [`TEXT_BYTES_MAX`].
pub(super) fn check_text(text: &str) -> Result<(), CallError> {
    check_at_most(text.len(), TEXT_BYTES_MAX)
}

/// Refuses a sorted map's key whose payload is longer than [`SORTED_KEY_BYTES_MAX`].
pub(super) fn check_sorted_key(key: &Value) -> Result<(), CallError> {
    check_at_most(key.as_bytes().len() - TAG_BYTES, SORTED_KEY_BYTES_MAX)
}

fn check_at_most(len: usize, max: usize) -> Result<(), CallError> {
    if len <= max { Ok(()) } else { Err(CallError::TooLarge { max: max as u64 }) }
}

/// How many bytes a value takes in an answer, the mark of an option included.
pub(super) fn encoded_bytes(value: &Value) -> usize {
    let len = value.as_bytes().len();
    1 + prefix_bytes(len) + len
}

/// What bincode needs for a length.
fn prefix_bytes(len: usize) -> usize {
    match len {
        0..=250 => 1,
        251..=0xffff => 3,
        _ => 5,
    }
}

/// Weighs an answer of several values while it is gathered, so that one that no frame can carry is given up
/// early.
pub(super) struct AnswerScale {
    left: usize,
}

impl AnswerScale {
    /// Weighs an answer that is a sequence of so many values.
    pub(super) fn new(count: usize) -> AnswerScale {
        AnswerScale { left: ANSWER_BYTES_MAX.saturating_sub(prefix_bytes(count)) }
    }

    /// Adds one part of the answer.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), CallError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(CallError::TooLarge { max: ANSWER_BYTES_MAX as u64 })?;
        Ok(())
    }
}

/// Gathers a page: at least one entry, at most `limit` and [`PAGE_ENTRIES_MAX`], and at most [`PAGE_BYTES_MAX`] unless the
/// first is longer than that.
pub(super) struct Gathering<T> {
    limit: usize,
    bytes: usize,
    taken: Vec<T>,
    more: bool,
}

impl<T> Gathering<T> {
    /// An empty page.
    pub(super) fn new(limit: u32) -> Self {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX) as usize;
        Gathering { limit, bytes: 0, taken: Vec::new(), more: false }
    }

    /// Takes the next entry, if there is room for it. Says whether to go on.
    pub(super) fn take(&mut self, entry: T, bytes: usize) -> bool {
        self.bytes += bytes;
        if self.taken.len() == self.limit || (self.bytes > PAGE_BYTES_MAX && !self.taken.is_empty()) {
            self.more = true;
            return false;
        }
        self.taken.push(entry);
        true
    }

    /// The page. `next` says where the next one begins, given what this one took, if more are there.
    pub(super) fn finish<C>(self, next: impl FnOnce(&[T]) -> C) -> Page<T, C> {
        Page { next: self.more.then(|| next(&self.taken)), entries: self.taken }
    }
}

/// A page whose entries were gathered with their keys, of which the last is where the next one begins.
pub(super) fn without_keys<T>(page: Gathering<(Value, T)>) -> Page<T, Value> {
    let page = page.finish(|taken| taken.last().map_or_else(Value::null, |(key, _)| key.clone()));
    Page { next: page.next, entries: page.entries.into_iter().map(|(_, entry)| entry).collect() }
}
