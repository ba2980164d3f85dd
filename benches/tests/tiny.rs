//! The benchmark runs: so it does not rot. What it measures here means nothing.

use std::process::Command;

/// Runs one command on its smallest size and returns its lines, or nothing where it says that it is skipped.
fn lines(command: &str) -> Option<Vec<serde_json::Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_abide-benches"))
        .args([command, "--tiny", "--json"])
        .output()
        .expect("the benchmark can be run");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    if text.starts_with("SKIPPED: ") {
        eprint!("{text}");
        return None;
    }
    Some(text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect())
}

/// Each cell was measured for each system, and what each server contained in the end was checked.
fn check(command: &str, cells: usize, abides: usize) {
    let Some(lines) = lines(command) else { return };
    let of = |kind: &str| lines.iter().filter(|line| line["line"] == kind).collect::<Vec<_>>();
    let setup = of("setup");
    assert_eq!(setup.len(), 1);
    let systems = abides + usize::from(!setup[0]["redis"].is_null());
    assert_eq!(of("measured").len(), cells * systems);
    for measured in of("measured") {
        assert!(measured["operations"].as_u64() > Some(0), "{measured}");
        assert!(measured["server_cpu_us"]["median"].as_f64() > Some(0.0), "{measured}");
        let alone = systems == abides || measured["system"] == "redis";
        assert_eq!(measured["to_redis"].is_null(), alone, "{measured}");
    }
    assert_eq!(of("verified").len(), systems);
}

#[test]
fn latency_measures_all_its_cells() {
    check("latency", 6, 2);
}

#[test]
fn restart_measures_a_node_that_has_all_objects_after_a_kill() {
    let Some(lines) = lines("restart") else { return };
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1]["objects"], 1000);
    assert!(lines[1]["answered_ms"]["median"].as_f64() > lines[1]["ready_ms"]["median"].as_f64());
}

#[test]
fn throughput_measures_all_its_cells() {
    check("throughput", 10, 1);
}
