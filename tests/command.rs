//! The `abide` command, as a shell sees it.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, Output, Stdio},
};

fn abide(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_abide"));
    command.args(arguments).env_remove("ABIDE");
    command
}

fn run(arguments: &[&str]) -> Output {
    abide(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What a command prints that must end well.
fn prints(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// What a command says that must end with this status and print nothing.
fn complains(status: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "", "{arguments:?}");
    text(&output.stderr)
}

/// A node that is killed when its test ends.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `abide serve`, or nothing where io_uring is forbidden.
    fn start() -> Option<Server> {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
        if disabled.is_ok_and(|disabled| disabled.trim() != "0") {
            eprintln!("SKIPPED: this kernel forbids io_uring, and a node needs it");
            return None;
        }
        let mut command = abide(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("ready ").expect("the line says ready").to_owned();
        Some(Server { child, address })
    }

    fn end_with(mut self, signal: i32) {
        // SAFETY: a signal to a child that is not reaped yet touches no memory.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}

#[test]
fn a_node_serves_calls_from_the_shell() {
    let Some(server) = Server::start() else { return };
    let call = |arguments: &[&str]| prints(&[&["--server", &server.address, "call"], arguments].concat());
    assert_eq!(call(&["AtomicLong", "visits", "add_and_get", "5"]), "5");
    assert_eq!(call(&["AtomicLong", "visits", "add_and_get", "-2"]), "3");
    assert_eq!(call(&["Map", "words", "insert", "the", "1"]), "null");
    assert_eq!(call(&["Map", "words", "merge", "the", "41", "sum"]), "42");
    assert_eq!(call(&["Map", "words", "insert", "doc", r#"{"b": [1, 2], "a": null}"#]), "null");
    assert_eq!(call(&["Map", "words", "get", "doc"]), r#"{"a":null,"b":[1,2]}"#);
    assert_eq!(call(&["CountDownLatch", "latch", "count_down", "1", "--create", "2"]), "1");
    assert_eq!(call(&["CyclicBarrier", "alone", "wait", "--create", "[1]"]), "0");
    let listed = prints(&["--server", &server.address, "ls"]);
    let mut lines: Vec<_> = listed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["AtomicLong\tvisits", "CountDownLatch\tlatch", "CyclicBarrier\talone", "Map\twords"]);
    assert_eq!(prints(&["--server", &server.address, "ls", "--type", "Map"]), "Map\twords");
    assert_eq!(
        prints(&["--server", &server.address, "ls", "vis", "--json"]),
        r#"{"key":"visits","type":"AtomicLong"}"#
    );
    assert!(prints(&["--server", &server.address, "info"]).contains("objects              4"));
    assert!(prints(&["--server", &server.address, "info", "--json"]).contains(r#""objects":4"#));
    assert!(
        prints(&["--server", &server.address, "info", "Map", "words", "--json"]).contains(r#""version":3"#)
    );
    assert_eq!(prints(&["--server", &server.address, "delete", "Map", "words"]), "true");
    assert_eq!(prints(&["--server", &server.address, "delete", "Map", "words"]), "false");
    assert_eq!(call(&["Map", "words", "exists"]), "false");
}

#[test]
fn the_environment_names_the_store() {
    let Some(server) = Server::start() else { return };
    let output = abide(&["call", "Counter", "c", "tally"]).env("ABIDE", &server.address).output().unwrap();
    assert_eq!(text(&output.stdout), "0\n");
}

#[test]
fn a_store_in_a_file_keeps_objects_between_commands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store").into_os_string().into_string().unwrap();
    for round in 1..=3 {
        let arguments = ["--store", &path, "call", "AtomicLong", "visits", "increment_and_get"];
        assert_eq!(prints(&arguments), round.to_string());
    }
    assert_eq!(prints(&["--store", &path, "ls"]), "AtomicLong\tvisits");
}

#[test]
fn errors_are_on_standard_error_with_status_1() {
    let nobody = complains(1, &["--server", "127.0.0.1:1", "ls"]);
    assert!(nobody.contains("unavailable"), "{nobody}");
    let gone = complains(1, &["--store", "/nonexistent/folder/store", "ls"]);
    assert!(gone.contains("/nonexistent/folder/store"), "{gone}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store").into_os_string().into_string().unwrap();
    let absent = complains(1, &["--store", &path, "call", "Semaphore", "s", "available"]);
    assert!(absent.contains("--create"), "{absent}");
    let bounds = complains(1, &["--store", &path, "call", "List", "l", "remove_at", "7"]);
    assert!(bounds.contains("out of bounds"), "{bounds}");
}

#[test]
fn misuse_is_status_2() {
    let types = complains(2, &["--store", "x", "call", "AtomicLnog", "k", "get"]);
    assert!(types.contains("AtomicLong"), "{types}");
    let methods = complains(2, &["--store", "x", "call", "AtomicLong", "k", "put"]);
    assert!(methods.contains("add_and_get"), "{methods}");
    let argument = complains(2, &["--store", "x", "call", "AtomicLong", "k", "set", "many"]);
    assert!(argument.contains("set(value: i64)"), "{argument}");
    complains(2, &["--store", "x", "call", "Map", "k", "insert", "{\"broken\":", "1"]);
    complains(2, &["--store", "x", "call", "AtomicLong", "k", "get", "1", "2"]);
    complains(2, &["call", "AtomicLong", "k", "get"]);
    complains(2, &["serve", "--server", "127.0.0.1:1"]);
    complains(2, &["serve", "--listen", "nowhere"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--cores", "99999"]);
    complains(2, &["serve", "--listen", "127.0.0.1:0", "--lease-ms", "5"]);
    complains(2, &["--server", "localhost", "ls"]);
    complains(2, &["--store", "x", "call", "AtomicLong", "", "get"]);
    let missing = complains(2, &["--store", "x", "call", "Map", "k", "entries"]);
    assert!(missing.contains("limit"), "{missing}");
    complains(2, &["juggle"]);
}

#[test]
fn a_node_stops_cleanly_on_sigterm_and_sigint() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let Some(server) = Server::start() else { return };
        assert_eq!(prints(&["--server", &server.address, "call", "Counter", "c", "tally"]), "0");
        server.end_with(signal);
    }
}

#[test]
fn a_node_without_lockable_memory_says_what_to_set() {
    let mut command = abide(&["serve", "--listen", "127.0.0.1:0"]);
    // SAFETY: between fork and exec only this system call is made, which reads a local struct.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 64 << 10, rlim_max: 64 << 10 };
            match libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("64 KiB") && said.contains("ulimit -l 512"), "{said}");
}

#[test]
fn a_node_without_io_uring_says_what_to_set() {
    let mut command = abide(&["serve", "--listen", "127.0.0.1:0"]);
    let filter = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    // Loads the number of the system call; io_uring_setup fails with EPERM, all else is allowed. This is what
    // the default profile of a container does.
    let program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_io_uring_setup as u32, 0, 1),
        filter(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        filter(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    // SAFETY: between fork and exec only these two system calls are made; the program outlives them.
    unsafe {
        command.pre_exec(move || {
            let filters = libc::sock_fprog { len: 4, filter: program.as_ptr().cast_mut() };
            let forbidden = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filters) == 0;
            if forbidden { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("io_uring is forbidden") && said.contains("kernel.io_uring_disabled"), "{said}");
}

#[test]
fn a_region_is_checked_and_each_problem_has_a_line() {
    use abide_pmem::{HeapError, Persistence, Region, RegionOptions, types::Bytes};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region").into_os_string().into_string().unwrap();
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    let region = Region::create(&path, 64 << 10, &options).unwrap();
    let entry = region.heap().index().create(7, b"greeting", 0).unwrap();
    region.heap().atomically(0, |tx| Bytes::at(entry.root).set(tx, b"good morning, good morning")).unwrap();
    region.heap().atomically::<_, HeapError>(0, |tx| tx.allocate(64)).unwrap();
    let in_use = complains(1, &["check", &path]);
    assert!(in_use.contains("in use"), "{in_use}");
    region.close().unwrap();
    assert_eq!(prints(&["check", &path]), "clean: 1 names, 1 blocks, 1 of them unattributed");
    assert!(prints(&["check", &path, "--json"]).contains(r#""clean":true"#));

    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0x2000 + 9] ^= 1;
    bytes[entry.root as usize + 20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("superblock at 0x2000: "), "{said}");
    assert!(lines[1].starts_with("value at ") && lines[1].contains("\"greeting\""), "{said}");
    let output = run(&["check", &path, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains(r#""kind":"value""#));
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "checking has written");

    let absent = complains(1, &["check", "/nonexistent/region"]);
    assert!(absent.contains("/nonexistent/region"), "{absent}");
    complains(2, &["--store", "x", "check", &path]);
}

#[test]
fn a_damaged_region_is_salvaged_and_what_is_missing_is_told() {
    use abide_pmem::{
        Persistence, Region, RegionOptions,
        types::{Bytes, Register},
    };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let (path, out) = (file("region"), file("out"));
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    let region = Region::create(&path, 64 << 10, &options).unwrap();
    let root = |name: &str| region.heap().index().create(7, name.as_bytes(), 0).unwrap().root;
    let (greeting, count) = (root("greeting"), root("count"));
    region.heap().atomically(0, |tx| Bytes::at(greeting).set(tx, b"good morning, good morning")).unwrap();
    region.heap().atomically(0, |tx| Register::at(count).set(tx, 41u64)).unwrap();
    let in_use = complains(1, &["salvage", &path, &out]);
    assert!(in_use.contains("in use"), "{in_use}");
    region.close().unwrap();
    let whole = prints(&["salvage", &path, &out]);
    assert_eq!(
        whole,
        "complete: 2 objects saved whole, 0 in part, 0 lost; 0 of those saved have content that no checksum verifies"
    );
    assert_eq!(prints(&["check", &out]), "clean: 2 names, 0 blocks, 0 of them unattributed");
    let taken = complains(1, &["salvage", &path, &out]);
    assert!(taken.contains("exists already"), "{taken}");

    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0x2000 + 9] ^= 1;
    bytes[greeting as usize + 28] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let second = file("second");
    let output = run(&["salvage", &path, &second]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
    let said = text(&output.stdout);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines.len() == 4 && lines[0].starts_with("superblock at 0x2000: "), "{said}");
    assert!(lines[1].starts_with("lost \"greeting\" of type 7, Bytes in shard 0, root 0x"), "{said}");
    assert!(lines[2].starts_with(&format!("  at {greeting:#x}: ")), "{said}");
    assert!(lines[3].starts_with("incomplete: 1 objects saved whole, 0 in part, 1 lost"), "{said}");
    let output = run(&["salvage", &path, &file("third"), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let facts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&facts["complete"], &facts["whole"], &facts["lost"]), (&false.into(), &1.into(), &1.into()));
    assert_eq!(facts["objects"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "salvaging has written");

    let saved = Region::open(&second, &options).unwrap();
    assert!(saved.heap().index().get(7, b"greeting").unwrap().is_none());
    let entry = saved.heap().index().get(7, b"count").unwrap().unwrap();
    assert_eq!(Register::<u64>::at(entry.root).get(&saved.heap().reader(0)).unwrap(), 41);
    saved.close().unwrap();

    bytes[9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let headless = complains(1, &["salvage", &path, &file("fourth")]);
    assert!(headless.contains("both superblocks"), "{headless}");
    let copy = ["salvage", &path, &file("fourth"), "--superblock-of", &out];
    // Another region's superblock leaves nothing that can be told from garbage.
    assert!(text(&run(&copy).stdout).contains("incomplete: 0 objects"));
    let absent = complains(1, &["salvage", "/nonexistent/region", &file("fifth")]);
    assert!(absent.contains("/nonexistent/region"), "{absent}");
    complains(2, &["--store", "x", "salvage", &path, &file("fifth")]);
    complains(2, &["salvage", &path]);
}

#[test]
fn a_region_after_a_power_loss_is_checked_only_if_that_is_accepted() {
    use abide_pmem::{Persistence, Region, RegionOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("region").into_os_string().into_string().unwrap();
    let boot_id = folder.path().join("boot");
    std::fs::write(&boot_id, "000102030405060708090a0b0c0d0e0f\n").unwrap();
    let options = RegionOptions {
        geometry: abide_pmem::Geometry::tiny(),
        reserve: 64 << 20,
        boot_id,
        ..RegionOptions::new(Persistence::ProcessCrash)
    };
    // Left open in another boot than this one.
    drop(Region::create(&path, 64 << 10, &options).unwrap());
    let output = run(&["check", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("power-loss at 0x0: "), "{}", text(&output.stdout));
    assert!(prints(&["check", &path, "--accept-power-loss"]).starts_with("clean"));
}
