//! Tests in a process of their own: what they do to it, such as ending it, is not done to the others.
//!
//! The process is this test program again. It runs the one test, finds the variable set, and does the child's part.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

const VARIABLE: &str = "ABIDE_PMEM_TEST_CHILD";

/// Held for writing while a process is being started: between its fork and its exec it has all that this one has open, and so
/// also the locks of files that this one closes without unlocking them.
static STARTING: RwLock<()> = RwLock::new(());

/// While it is held no test starts a process.
pub(crate) fn start_none() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Runs a command to its end.
pub(crate) fn output(command: &mut Command) -> std::io::Result<Output> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawn(command)?.wait_with_output()
}

/// What the child was given, if this is the child.
pub(crate) fn argument() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Starts the test `name`, with its path in the crate, as a child. Its standard output is a pipe.
pub(crate) fn start(name: &str, argument: impl Into<PathBuf>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--nocapture", "--test-threads=1", "-q"])
        .env(VARIABLE, argument.into())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    spawn(&mut command).unwrap()
}

/// Runs this test as a child, which does `work`; `None` is the child itself, when it is done.
pub(crate) fn run(
    name: &str,
    argument: impl Into<PathBuf>,
    work: impl FnOnce(PathBuf),
) -> Option<ExitStatus> {
    if let Some(argument) = self::argument() {
        work(argument);
        return None;
    }
    Some(start(name, argument).wait_with_output().unwrap().status)
}
