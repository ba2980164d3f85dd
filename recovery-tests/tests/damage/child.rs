//! Runs cases in a process of their own, so that a hang, an abort and a signal are failures of the case that made them.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

const VARIABLE: &str = "ABIDE_DAMAGE_CHILD";
/// How long one case may take, in seconds. Only a hang takes so long.
const PATIENCE_S: u64 = 60;

/// What a child says of its cases.
pub(crate) struct Report {
    /// Complaints, one for each thing that was wrong.
    pub(crate) wrong: Vec<String>,
    /// What it counted.
    pub(crate) notes: Vec<String>,
}

/// Where a child says what is wrong.
pub(crate) struct Voice {
    case: String,
}

impl Voice {
    /// Runs one case. A panic is wrong.
    pub(crate) fn case(&mut self, case: &str, run: impl FnOnce(&Self)) {
        self.case = case.to_owned();
        say("CASE", case);
        let ended = catch_unwind(AssertUnwindSafe(|| run(self)));
        if let Err(panic) = ended {
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            self.wrong(&format!("panic: {}", text.unwrap_or_default()));
        }
    }

    /// Says that something is wrong with the case.
    pub(crate) fn wrong(&self, what: &str) {
        say("WRONG", &format!("{}: {what}", self.case));
    }

    /// Tells something that is not wrong.
    pub(crate) fn note(&self, what: &str) {
        say("NOTE", what);
    }
}

fn say(kind: &str, text: &str) {
    // In one write, and not through the test's captured output.
    let line = format!("\n{kind} {}\n", text.replace('\n', " "));
    let _ = std::io::stdout().write_all(line.as_bytes());
}

/// Whether this process is the child of the test `name`.
fn is_child(name: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|wanted| wanted == name)
}

fn work_as_child(work: impl FnOnce(&mut Voice)) {
    std::panic::set_hook(Box::new(|_| {}));
    work(&mut Voice { case: String::new() });
    say("DONE", "");
}

/// Runs the test `name` again in a process of its own, which does `work`; gives what that said. `None` in the child.
pub(crate) fn run(name: &str, work: impl FnOnce(&mut Voice)) -> Option<Report> {
    if is_child(name) {
        work_as_child(work);
        return None;
    }
    Some(listen(name, Command::new(std::env::current_exe().expect("this program"))))
}

/// The same, with a tmpfs of so many bytes over `folder`, which the child alone sees. `None`, and a word about it, where that is not
/// permitted.
pub(crate) fn run_on_small_disk(
    name: &str,
    folder: &Path,
    bytes: u64,
    work: impl FnOnce(&mut Voice, &Path),
) -> Option<Report> {
    const DISK: &str = "ABIDE_DAMAGE_DISK";
    if is_child(name) {
        let disk = PathBuf::from(std::env::var_os(DISK).expect("a folder"));
        work_as_child(|voice| work(voice, &disk));
        return None;
    }
    let script = format!("mount -t tmpfs -o size={bytes} tmpfs \"${DISK}\" && exec \"$0\" \"$@\"");
    // A root user needs no user namespace, and another may be permitted one.
    for how in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let unshare = |program: &str, arguments: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(how).args(["sh", "-c", &script, program]).args(arguments).env(DISK, folder);
            command
        };
        let probe =
            unshare("true", &[]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            let program = std::env::current_exe().expect("this program");
            return Some(listen(name, unshare(program.to_str().expect("a path of text"), &[])));
        }
    }
    println!("SKIPPED: this process may not mount a tmpfs in a namespace of its own");
    None
}

fn listen(name: &str, mut command: Command) -> Report {
    let mut child = command
        .args(["--exact", name, "--nocapture", "--test-threads=1", "-q"])
        .env(VARIABLE, name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, lines) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    let mut report = Report { wrong: Vec::new(), notes: Vec::new() };
    let (mut case, mut is_done) = ("the first one".to_owned(), false);
    loop {
        match lines.recv_timeout(Duration::from_secs(PATIENCE_S)) {
            Ok(line) => match line.split_once(' ') {
                Some(("CASE", text)) => case = text.to_owned(),
                Some(("WRONG", text)) => report.wrong.push(text.to_owned()),
                Some(("NOTE", text)) => report.notes.push(text.to_owned()),
                Some(("DONE", _)) => is_done = true,
                _ => {}
            },
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                report.wrong.push(format!("{case}: it hangs"));
                break;
            }
        }
    }
    let _ = child.kill();
    let status = child.wait().expect("the child ends");
    listener.join().expect("the listener does not panic");
    if !is_done {
        report.wrong.push(format!("{case}: the process ended, {status}"));
    }
    report
}

/// Fails the test if anything was wrong.
#[track_caller]
pub(crate) fn expect_right(report: Option<Report>) {
    let Some(Report { wrong, notes }) = report else { return };
    notes.iter().for_each(|note| println!("{note}"));
    let count = wrong.len();
    let shown = wrong.iter().take(4000).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{count} wrong:\n{shown}");
}
