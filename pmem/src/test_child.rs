//! Tests in a process of their own: what they do to it, such as ending it, is not done to the others.
//!
//! The process is this test program again. It runs the one test, finds the variable set, and does the child's part.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

const VARIABLE: &str = "ABIDE_PMEM_TEST_CHILD";

/// What the child was given, if this is the child.
pub(crate) fn argument() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// Starts the test `name`, with its path in the crate, as a child. Its standard output is a pipe.
pub(crate) fn start(name: &str, argument: impl Into<PathBuf>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1", "-q"])
        .env(VARIABLE, argument.into())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
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
