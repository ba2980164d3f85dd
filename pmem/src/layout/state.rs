//! The state slots: the little about a region as a whole that changes. Written in turn, so that one is always whole.

use super::STATE;
use crate::checksum::checksum;
use crate::mem::{LINE, Mem, Site, WORD};

/// Random constants, far from each other and from 0 and 1, so that a damaged word is neither.
const CLEAN: u64 = 0x9c1f_7a44_d1e3_52b6;
const OPEN: u64 = 0x3b62_e8d0_06f9_a77d;
/// Words of a slot, the checksum last.
const WORDS: usize = 8;

/// How the region was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Closed in order: everything is in the file, nothing needs recovery.
    Clean,
    /// Open, or left by a crash.
    Open,
}

/// What a state slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Grows with each write. The slot with the greater one is the newer.
    pub generation: u64,
    /// Grows with each opening for writing.
    pub run_id: u64,
    /// How the region was left.
    pub shutdown: Shutdown,
    /// The kernel's boot in which the region was last opened, if a power cut could leave it in a state that no recovery
    /// understands; zeros if not.
    pub boot_id: [u8; 16],
    /// Bytes of the region that are in use. The file is as long or longer.
    pub region_bytes: u64,
    /// Which log the region was last used with, a random number. 0: none. Means something only to whoever keeps lines in a log
    /// ([`Domain::File`](crate::Domain::File)).
    pub log_id: u64,
}

/// Neither slot can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("both state slots are damaged")]
pub struct StateError;

/// The words of the slot that stands at an offset of both slots' bytes.
fn words_of(bytes: &[u8; 2 * LINE as usize], at: usize) -> [u64; WORDS] {
    std::array::from_fn(|i| {
        u64::from_le_bytes(bytes[at + i * 8..at + i * 8 + 8].try_into().expect("8 bytes"))
    })
}

impl State {
    /// The state of a region that has just been made.
    #[must_use]
    pub fn new(region_bytes: u64) -> Self {
        Self {
            generation: 1,
            run_id: 0,
            shutdown: Shutdown::Clean,
            boot_id: [0; 16],
            region_bytes,
            log_id: 0,
        }
    }

    fn encode(&self, seed: u32) -> [u64; WORDS] {
        let boot = |at: usize| u64::from_le_bytes(self.boot_id[at..at + 8].try_into().expect("8 bytes"));
        let shutdown = match self.shutdown {
            Shutdown::Clean => CLEAN,
            Shutdown::Open => OPEN,
        };
        let mut words =
            [self.generation, self.run_id, shutdown, boot(0), boot(8), self.region_bytes, self.log_id, 0];
        words[7] = checksum(seed, &words[..7]).into();
        words
    }

    fn decode(words: &[u64; WORDS], seed: u32) -> Option<Self> {
        let [generation, run_id, shutdown, boot_low, boot_high, region_bytes, log_id, crc] = *words;
        if crc != checksum(seed, &words[..7]).into() {
            return None;
        }
        let shutdown = match shutdown {
            CLEAN => Shutdown::Clean,
            OPEN => Shutdown::Open,
            _ => return None,
        };
        let mut boot_id = [0; 16];
        boot_id[..8].copy_from_slice(&boot_low.to_le_bytes());
        boot_id[8..].copy_from_slice(&boot_high.to_le_bytes());
        Some(Self { generation, run_id, shutdown, boot_id, region_bytes, log_id })
    }

    fn newest(slots: [Option<Self>; 2]) -> Result<Self, StateError> {
        slots.into_iter().flatten().max_by_key(|state| state.generation).ok_or(StateError)
    }

    /// Reads the newest whole slot from the bytes of both, as they stand from [`STATE`] on.
    /// `seed` is [`Superblock::checksum_seed`](super::Superblock::checksum_seed).
    ///
    /// # Errors
    /// If neither slot is whole.
    pub fn decode_slots(bytes: &[u8; 2 * LINE as usize], seed: u32) -> Result<Self, StateError> {
        let slot = |at: usize| Self::decode(&words_of(bytes, at), seed);
        Self::newest([slot(0), slot(LINE as usize)])
    }

    /// Reads the newest whole slot.
    ///
    /// # Errors
    /// If neither slot is whole.
    pub fn load(mem: &impl Mem, seed: u32) -> Result<Self, StateError> {
        let slot = |at: u64| Self::decode(&std::array::from_fn(|i| mem.load(at + i as u64 * WORD)), seed);
        Self::newest([slot(STATE), slot(STATE + LINE)])
    }

    /// Whether this one, the newest that is whole, may not have been the newest: there is no whole one beside it.
    pub(crate) fn may_be_stale(&self, mem: &impl Mem, seed: u32) -> bool {
        let slot = STATE + self.other_slot();
        self.is_alone(&std::array::from_fn(|i| mem.load(slot + i as u64 * WORD)), seed)
    }

    /// The same, for the bytes of both slots as [`decode_slots`](Self::decode_slots) takes them.
    pub(crate) fn may_be_stale_in(&self, bytes: &[u8; 2 * LINE as usize], seed: u32) -> bool {
        self.is_alone(&words_of(bytes, self.other_slot() as usize), seed)
    }

    fn other_slot(&self) -> u64 {
        (self.generation + 1) % 2 * LINE
    }

    /// Zeros beside the first state of a region are as they should be. But they are also what damage leaves of the second, and
    /// to take the first for stale costs a recovery that finds nothing to do.
    fn is_alone(&self, other: &[u64; WORDS], seed: u32) -> bool {
        Self::decode(other, seed).is_none()
    }

    /// Writes this state as the next generation, into the slot that does not hold the newest. One fence.
    pub fn store_next(&mut self, mem: &impl Mem, seed: u32) {
        self.generation += 1;
        self.store(mem, seed);
    }

    /// Writes the slot of this generation. One fence.
    pub(crate) fn store(&self, mem: &impl Mem, seed: u32) {
        let slot = STATE + self.generation % 2 * LINE;
        for (i, word) in self.encode(seed).into_iter().enumerate() {
            mem.store(slot + i as u64 * WORD, word);
        }
        mem.flush(Site::StateFlush, slot, LINE);
        mem.fence(Site::StateFence);
    }
}
