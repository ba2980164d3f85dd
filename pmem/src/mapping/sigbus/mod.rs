//! What happens when the file of a mapped region is cut short.
//!
//! No lock keeps another process from truncating the file. The next access behind its new end is a SIGBUS, which would end
//! a process that serves other regions too. Instead the handler here maps a page of [`LOST`] over the hole and poisons the
//! region: every later [`health`](crate::Mem::health) says [`RegionLost`](MediaError::RegionLost), so nothing
//! more is acknowledged. It does the same when the kernel reports a memory error in a mapped page.
//!
//! The handler is installed once for the process, when the first region wants it, and stays. A SIGBUS that no region
//! accounts for goes to the handler that was there before. A program that installs a handler of its own later must do
//! likewise, or open its regions without the guard.
//!
//! Access rules. The handler may interrupt any code, so all it uses are the atomics of a fixed table and system calls.
//! A slot's `health` points to a [`Health`] that its [`Guard`] keeps alive. It is used only if the faulting
//! address lies in the slot's range; whoever made the access borrows the mapping, which owns the guard, so the slot cannot be
//! given up meanwhile.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::mm::{MapFlags, MremapFlags, ProtFlags, mmap_anonymous, mremap_fixed};

use super::health::Health;
use crate::mem::MediaError;

/// What each word of a lost page reads as. Zeros would be taken for values that are empty, and readers do not ask for the
/// region's health. This is no value of anything: no type, no offset, no link, no length, no check sum.
pub(crate) const LOST: u64 = 0xdead_beef_dead_bee8;

/// How many mappings can be guarded at a time. As many as fit into the addresses of a process at the default reserve.
const SLOTS: usize = 128;

/// Why a mapping cannot be guarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigbusError {
    /// The system refused the signal handler.
    #[error("cannot install the handler of SIGBUS")]
    Install(#[source] std::io::Error),
    /// As many mappings as there may be are guarded already.
    #[error("{SLOTS} mappings are guarded already")]
    TooMany,
}

/// One guarded range. Free if `base` is 0.
struct Slot {
    /// Odd while the slot changes.
    version: AtomicU64,
    base: AtomicUsize,
    bytes: AtomicUsize,
    health: AtomicPtr<Health>,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        version: AtomicU64::new(0),
        base: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        health: AtomicPtr::new(ptr::null_mut()),
    }
}; SLOTS];

/// Serialises changes of the table. The handler does not take it.
static CHANGE: Mutex<()> = Mutex::new(());

static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The action that was there before ours.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A range of addresses whose faults poison instead of killing. Ends when dropped.
#[derive(Debug)]
pub(super) struct Guard {
    slot: usize,
    /// Keeps alive what the slot points to.
    _health: Arc<Health>,
}

impl Guard {
    /// Guards the range.
    pub(super) fn new(base: *const u8, bytes: usize, health: Arc<Health>) -> Result<Self, SigbusError> {
        install()?;
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = TABLE
            .iter()
            .position(|slot| slot.base.load(Ordering::SeqCst) == 0)
            .ok_or(SigbusError::TooMany)?;
        TABLE[slot].set(base.addr(), bytes, Arc::as_ptr(&health).cast_mut());
        Ok(Self { slot, _health: health })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _change = CHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        TABLE[self.slot].set(0, 0, ptr::null_mut());
    }
}

impl Slot {
    fn set(&self, base: usize, bytes: usize, health: *mut Health) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.base.store(base, Ordering::SeqCst);
        self.bytes.store(bytes, Ordering::SeqCst);
        self.health.store(health, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The health of the range, if the address is in it. A slot that is changing covers no address of anyone who
    /// could fault now: its mapping is not handed out yet, or not borrowed any more.
    fn covering(&self, address: usize) -> Option<*const Health> {
        let version = self.version.load(Ordering::SeqCst);
        let base = self.base.load(Ordering::SeqCst);
        let bytes = self.bytes.load(Ordering::SeqCst);
        let health = self.health.load(Ordering::SeqCst);
        let steady = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        (steady && base != 0 && address >= base && address - base < bytes).then_some(health.cast_const())
    }
}

fn install() -> Result<(), SigbusError> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    PAGE_BYTES.store(rustix::param::page_size(), Ordering::SeqCst);
    // The previous action is read before ours is set, so that the handler finds it from its first run on.
    let previous = exchange_action(None)?;
    let previous = *PREVIOUS.get_or_init(|| previous);
    // SAFETY: all zeros is a valid `sigaction`: default action, no flags, empty mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = on_sigbus as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
    // On the alternate stack if the thread has one: the fault may come deep in a small stack.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | (previous.sa_flags & libc::SA_RESTART);
    exchange_action(Some(&action))?;
    *installed = true;
    Ok(())
}

/// Sets the action of SIGBUS, if one is given; gives the one before.
fn exchange_action(action: Option<&libc::sigaction>) -> Result<libc::sigaction, SigbusError> {
    let mut before = MaybeUninit::zeroed();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are valid or null, and the handler keeps to the rules at the top.
    if unsafe { libc::sigaction(libc::SIGBUS, action, before.as_mut_ptr()) } != 0 {
        return Err(SigbusError::Install(std::io::Error::last_os_error()));
    }
    // SAFETY: the call succeeded, so it filled `before`.
    Ok(unsafe { before.assume_init() })
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    // Only faults have positive codes, and only these two are of a page that cannot be read.
    let is_hole = code == libc::BUS_ADRERR || code == libc::BUS_MCEERR_AR;
    if is_hole && cover_hole(address) {
        return;
    }
    chain(signal, info, context);
}

/// If a region covers the address, puts a page of [`LOST`] there and poisons the region. Says whether it did.
fn cover_hole(address: usize) -> bool {
    let Some(health) = TABLE.iter().find_map(|slot| slot.covering(address)) else { return false };
    // SAFETY: the slot covers the address, so its guard lives (see the top) and keeps the health alive.
    unsafe { (*health).poison(MediaError::RegionLost) };
    let page_bytes = PAGE_BYTES.load(Ordering::SeqCst);
    let page = address & !(page_bytes - 1);
    // Filled elsewhere, and then moved there whole, so that no other thread sees it half full.
    // SAFETY: the kernel chooses the addresses. rustix makes the system call itself: it touches neither errno nor the heap.
    let fresh = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            page_bytes,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let Ok(fresh) = fresh else { return false };
    for i in 0..page_bytes / size_of::<u64>() {
        // SAFETY: inside of the page that was just mapped, of which nobody else knows.
        unsafe { fresh.cast::<u64>().add(i).write_volatile(LOST) };
    }
    // SAFETY: the page moved away is ours; the one that it replaces is in the region's own range, which is reached only
    // atomically, and holds nothing that can be read.
    let moved = unsafe {
        mremap_fixed(fresh, page_bytes, page_bytes, MremapFlags::MAYMOVE, ptr::without_provenance_mut(page))
    };
    moved.is_ok()
}

/// Does what would have been done without us.
fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(previous) = PREVIOUS.get() else { return restore_default(signal) };
    match previous.sa_sigaction {
        // To ignore a fault would repeat it for ever, so the kernel does not ignore it either.
        libc::SIG_DFL | libc::SIG_IGN => restore_default(signal),
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: the flag says that the handler has this type.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(ptr::with_exposed_provenance::<()>(handler)) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: without the flag the handler has this type.
            let handler: extern "C" fn(c_int) =
                unsafe { std::mem::transmute(ptr::with_exposed_provenance::<()>(handler)) };
            handler(signal);
        }
    }
}

/// On return from the handler the fault happens again and ends the process with SIGBUS. One that was sent by another
/// process is sent again.
fn restore_default(signal: c_int) {
    // SAFETY: all zeros is the default action; sigaction and raise are async-signal-safe.
    unsafe {
        let action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        libc::sigaction(signal, &action, ptr::null_mut());
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests;
