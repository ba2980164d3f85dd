//! The benchmarks run, so they do not rot. What they measure here means nothing.

use std::process::Command;

/// What must be measured whichever libraries this machine has: these two need none.
const ALWAYS: [&str; 2] = ["HashMap in a Mutex", "write and fdatasync"];

fn run(arguments: &[&str]) -> Vec<serde_json::Value> {
    // Under the target folder: a benchmark of syncs refuses a folder in memory, which the temporary one may be.
    let disk = env!("CARGO_TARGET_TMPDIR");
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide-bench-engines"));
    let output = command.args(arguments).current_dir(disk).output().expect("the benchmark can be run");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn of<'a>(lines: &'a [serde_json::Value], kind: &str) -> Vec<&'a serde_json::Value> {
    lines.iter().filter(|line| line["line"] == kind).collect()
}

/// Each line of a group was measured, and its stores contained what they had to.
fn check(group: &str, syncs: bool) {
    let lines = run(&[group, "--tiny", "--json"]);
    assert_eq!(of(&lines, "setup").len(), 1);
    let measured = of(&lines, "measured");
    let absent = lines[0]["absent"].as_array().expect("a list").len();
    assert!(!measured.is_empty() || absent > 0, "{group}: {lines:?}");
    for line in &measured {
        assert!(line["ns"]["median"].as_f64() > Some(0.0), "{line}");
        assert!(line["p50_ns"]["median"].as_f64() > Some(0.0), "{line}");
        if syncs && line["threads"] == 1 && line["batch"] == 1 {
            // Otherwise it is in the wrong class, or syncs are not counted.
            assert!(line["syncs"]["median"].as_f64() >= Some(0.99), "{line}");
        }
    }
    if group == "instructions" {
        for line in measured.iter().filter(|line| line["operation"] == "counter once") {
            // Each must fence, or it is in the wrong class, or fences are not counted. Ours are not.
            assert!(
                line["contender"] == "abide" || line["fences"]["median"].as_f64() >= Some(0.99),
                "{line}"
            );
        }
    }
    let always = measured.iter().filter(|line| ALWAYS.iter().any(|name| line["contender"] == *name)).count();
    assert!(always > 0 || group == "instructions", "{group}");
}

#[test]
fn stores_are_measured() {
    check("stores", false);
}

#[test]
fn instructions_are_measured_where_there_is_a_contender() {
    check("instructions", false);
}

#[test]
fn commits_are_measured_and_each_is_a_sync() {
    check("commits", true);
}

#[test]
fn group_commits_are_measured() {
    check("group-commits", true);
}

#[test]
fn objects_are_measured_beside_other_stores() {
    let lines = run(&["objects", "--tiny", "--json"]);
    let measured = of(&lines, "measured");
    for name in ["abide objects, ephemeral", "abide objects, persistent"] {
        assert_eq!(measured.iter().filter(|line| line["contender"] == name).count(), 3, "{name}");
    }
    for line in &measured {
        assert!(line["ns"]["median"].as_f64() > Some(0.0), "{line}");
        let base = line["contender"] == "abide objects, persistent";
        assert!(!base || line["ratio"].as_f64() == Some(1.0), "{line}");
    }
}

#[test]
fn what_was_acknowledged_before_the_kill_is_there_after_it() {
    let lines = run(&["reopen", "--tiny", "--json"]);
    for line in of(&lines, "reopened") {
        assert_eq!(line["lost"], 0, "{line}");
        assert!(line["open_ns"]["median"].as_f64() > Some(0.0), "{line}");
    }
}

/// The check above is worth something only if it sees what is missing.
#[test]
#[cfg(feature = "lmdb")]
fn what_is_missing_is_counted() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path().to_str().expect("a name in UTF-8");
    let lines = run(&["look", "lmdb", folder, "0", "1000", "5"]);
    // The first that is read, a thousand objects, and five that came after.
    assert_eq!(lines[0]["lost"], 1006);
}
