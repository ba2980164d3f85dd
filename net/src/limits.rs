//! Hard limits of the protocol. A peer that goes past one gets an error that names it.

/// Longest object key, in bytes of UTF-8. Keys are names, not data: they travel with each call.
pub const KEY_BYTES_MAX: usize = 512;

/// Largest user value, in bytes. Bounds what one call can make a shard copy.
pub const VALUE_BYTES_MAX: usize = 16 << 20;

/// Largest frame, in bytes after the length prefix. Twice the largest value, so that a call can carry
/// an expected and a new one.
pub const FRAME_BYTES_MAX: usize = 32 << 20;

/// Largest frame that a peer may send before it was welcomed.
pub const HELLO_BYTES_MAX: usize = 64;

/// Most calls that one session can have under way at once, one to a slot (RFC 8881, section 2.10.6,
/// calls this the slot table).
pub const SLOTS_MAX: u32 = 1 << 17;

/// Most entries that one page of an iteration returns.
pub const PAGE_ENTRIES_MAX: u32 = 10_000;
