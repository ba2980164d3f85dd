//! A test harness that begins with `init()`, as far as `cargo test` and `cargo nextest` need one.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) run: fn(),
}

/// Names the tests after their functions.
macro_rules! tests {
    ($($name:path),* $(,)?) => { &[$($crate::runner::Test { name: stringify!($name), run: $name }),*] };
}
pub(crate) use tests;

/// Runs the tests that the command line asks for, one after the other.
pub(crate) fn run(tests: &[Test]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--ignored") {
        return ExitCode::SUCCESS; // there are none
    }
    if has("--list") {
        tests.iter().for_each(|test| println!("{}: test", test.name));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| {
        let fits =
            |filter: &String| if has("--exact") { name == filter } else { name.contains(filter.as_str()) };
        filters.is_empty() || filters.iter().any(|filter| fits(filter))
    };
    let mut failed = Vec::new();
    for test in tests.iter().filter(|test| wanted(test.name)) {
        let checked = AssertUnwindSafe(|| {
            (test.run)();
            no_children_are_left();
        });
        let ok = panic::catch_unwind(checked).is_ok();
        println!("test {} ... {}", test.name, if ok { "ok" } else { "FAILED" });
        failed.extend((!ok).then_some(test.name));
    }
    println!("\ntest result: {}. failed: {failed:?}", if failed.is_empty() { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Every child was waited for: there are neither zombies nor processes that still run.
fn no_children_are_left() {
    let left = rustix::process::wait(rustix::process::WaitOptions::NOHANG);
    assert_eq!(left.err(), Some(rustix::io::Errno::CHILD), "a child was left behind");
}
