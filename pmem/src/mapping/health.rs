//! Whether a mapping's memory can still be relied upon: one word that a signal handler may set too.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::mem::MediaError;

/// Sound until something sets it, and never sound again after.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: AtomicU8,
}

const SOUND: u8 = 0;
const REGION_LOST: u8 = 1;
const IO_POISONED: u8 = 2;

impl Health {
    /// Says why the memory cannot be relied upon. The first reason stays. Async-signal-safe.
    pub(super) fn poison(&self, why: MediaError) {
        let why = match why {
            MediaError::RegionLost => REGION_LOST,
            MediaError::IoPoisoned => IO_POISONED,
        };
        let _ = self.state.compare_exchange(SOUND, why, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The first reason, if there is any.
    #[inline]
    pub(super) fn check(&self) -> Result<(), MediaError> {
        match self.state.load(Ordering::SeqCst) {
            SOUND => Ok(()),
            REGION_LOST => Err(MediaError::RegionLost),
            _ => Err(MediaError::IoPoisoned),
        }
    }
}
