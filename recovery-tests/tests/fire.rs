//! Calls are made exactly once while clients, connections and the node are killed.

mod support;

use std::process::{Command, Output};

fn fire(name: &str, more: &[&str]) -> Output {
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide-recovery-tests"));
    command.args(["fire", "--dir", dir.to_str().unwrap()]).args(more).output().unwrap()
}

#[test]
fn calls_are_made_exactly_once_under_fire() {
    if !support::can_run_nodes() {
        return;
    }
    let size = ["--sessions", "16", "--processes", "8", "--calls", "300"];
    let output = fire("fire", &[&size[..], &["--restarts", "3", "--cut-every", "200"]].concat());
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    println!("{text}");
}

/// The checks check.
#[test]
fn a_run_that_makes_its_calls_anew_is_found_out() {
    if !support::can_run_nodes() {
        return;
    }
    let size = ["--sessions", "4", "--processes", "2", "--calls", "100"];
    let output = fire("fire-fault", &[&size[..], &["--restarts", "1", "--fault", "other-seed"]].concat());
    let error = String::from_utf8_lossy(&output.stderr);
    std::fs::remove_dir_all(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fire-fault")).unwrap();
    assert!(!output.status.success(), "it was not noticed");
    assert!(error.contains("and in a later run"), "{error}");
}
