//! System calls that fail on purpose, so that a test can see what happens then.
//!
//! A [`Faults`] belongs to the files that were opened with it (see [`Io::with_faults`](super::io::Io::with_faults)), not
//! to the process: tests that run beside each other do not meet. Where none was given, all that it costs is one look
//! at a pointer for each system call.

use std::sync::Mutex;

use rustix::io::Errno;

/// A kind of system call that [`Io`](super::io::Io) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Call {
    /// Opening a file or a folder.
    Open,
    /// Opening a file that has no name yet.
    OpenUnnamed,
    /// Asking what file it is and how long.
    Stat,
    /// Asking which file system it is on.
    StatFileSystem,
    /// Taking or giving back the lock.
    Lock,
    /// Giving the file its blocks.
    Allocate,
    /// Writing at a position.
    Write,
    /// Reading at a position.
    Read,
    /// Setting the length.
    Truncate,
    /// Making the file and its length durable.
    Sync,
    /// Making the file's data durable.
    SyncData,
    /// Writing a mapped range back.
    SyncMap,
    /// Reserving addresses.
    Reserve,
    /// Mapping a range of the file, or memory.
    Map,
    /// Giving the file its name.
    Link,
    /// Taking a name away.
    Unlink,
}

/// What happens instead of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this errno.
    Errno(i32),
    /// A read or write transfers at most so many bytes. Other calls run as usual.
    Short(usize),
    /// The process ends at once, as by `kill -9`, before the call.
    Kill,
}

#[derive(Debug, Clone, Copy)]
struct Planned {
    /// `None`: any kind.
    call: Option<Call>,
    /// How many more calls of the kind run before the fault.
    after: u64,
    /// How many calls of the kind then meet it.
    times: u64,
    fault: Fault,
}

/// Faults that are to come, and a record of the calls that were made. For tests.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    planned: Vec<Planned>,
    made: Vec<Call>,
}

impl Faults {
    /// No faults yet; only records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The `nth` call of the kind from now on (0 is the next) meets the fault, and `times - 1` more after it.
    pub fn fail(&self, call: Call, nth: u64, times: u64, fault: Fault) {
        self.plan(Planned { call: Some(call), after: nth, times, fault });
    }

    /// The `nth` call of any kind from now on (0 is the next) meets the fault.
    pub fn fail_any(&self, nth: u64, fault: Fault) {
        self.plan(Planned { call: None, after: nth, times: 1, fault });
    }

    /// The calls that were attempted so far, in order. One that was interrupted and made again counts twice.
    #[must_use]
    pub fn made(&self) -> Vec<Call> {
        self.lock().made.clone()
    }

    /// Forgets faults that did not happen yet, and the record.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Called before each attempt. Gives how many bytes it may transfer.
    pub(super) fn before(&self, call: Call) -> Result<usize, Errno> {
        let mut state = self.lock();
        state.made.push(call);
        let mut due = None;
        for planned in &mut state.planned {
            if planned.call.is_some_and(|wanted| wanted != call) {
                continue;
            }
            if planned.after > 0 {
                planned.after -= 1;
            } else if planned.times > 0 && due.is_none() {
                planned.times -= 1;
                due = Some(planned.fault);
            }
        }
        state.planned.retain(|planned| planned.times > 0);
        match due {
            None => Ok(usize::MAX),
            Some(Fault::Short(bytes)) => Ok(bytes),
            Some(Fault::Errno(errno)) => Err(Errno::from_raw_os_error(errno)),
            Some(Fault::Kill) => {
                let me = rustix::process::getpid();
                // Nothing can refuse a process its own end, and no instruction of it runs after this call.
                let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
                unreachable!("survived SIGKILL");
            }
        }
    }

    fn plan(&self, planned: Planned) {
        self.lock().planned.push(planned);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
