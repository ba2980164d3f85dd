//! What a killed process acknowledged is in its region, once.

use abide_recovery_tests as _;
use std::process::{Command, Output};

fn kills(dir: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide-recovery-tests"));
    command.args(["kills", "--rounds", "60", "--dir", dir]).args(more).output().unwrap()
}

fn check(dir: &str) {
    let output = kills(dir, &[]);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    println!("{text}");
}

#[test]
fn acknowledged_calls_survive_kills_on_a_disk() {
    check(env!("CARGO_TARGET_TMPDIR"));
}

#[test]
fn acknowledged_calls_survive_kills_in_memory_files() {
    if std::path::Path::new("/dev/shm").is_dir() {
        check("/dev/shm");
    } else {
        println!("SKIPPED: there is no /dev/shm");
    }
}

/// The checks check: each promise that is broken on purpose is noticed.
#[test]
fn a_process_that_breaks_a_promise_is_found_out() {
    for (fault, complaint) in
        [("early", "acknowledged"), ("apart", "the counter is"), ("leak", "owned by nothing")]
    {
        let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(fault);
        std::fs::create_dir_all(&dir).unwrap();
        let output = kills(dir.to_str().unwrap(), &["--fault", fault]);
        let error = String::from_utf8_lossy(&output.stderr);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!output.status.success(), "{fault} was not noticed");
        assert!(error.contains(complaint), "{fault}: {error}");
    }
}
