//! This program once more, as a program of its own: what only shows from outside.

use super::{
    functions::{Nowhere, Place, echo, nothing, panics, process_id, runs_a_command, sleeps, talks},
    processes,
};
use abide_lambda::{Backend, CloudThread};
use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{self, Command, Output},
    thread,
    time::{Duration, Instant},
};

/// Names the play.
pub(crate) const PLAY: &str = "ABIDE_TEST_PLAY";

/// Port 1 is reserved, and nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn is(play: &str) -> bool {
    env::var_os(PLAY).is_some_and(|current| current == play)
}

fn is_child() -> bool {
    env::args().nth(1).as_deref() == Some("cloud-thread")
}

/// Plays of programs that do not begin with `init()`, as they should.
pub(crate) fn before_init() {
    if is("end at once") && is_child() {
        process::exit(5);
    }
    if is("forget init in children") && is_child() {
        // What any `main` would do: spawn, and say what came of it.
        let error = processes().spawn(nothing, ()).join().unwrap_err();
        eprintln!("child: {error}");
        process::exit(6);
    }
}

/// Acts the play that the environment names, if any.
pub(crate) fn act() -> bool {
    let Some(play) = env::var_os(PLAY) else { return false };
    match play.to_str().unwrap() {
        "talk" => {
            let threads: Vec<_> = (0..3).map(|number| processes().spawn(talks, (number,))).collect();
            for thread in threads {
                thread.join().unwrap();
            }
            processes().spawn(panics, ("a unique message".to_owned(),)).join().unwrap_err();
        }
        "end at once" => {
            println!("{}", processes().spawn(echo, (vec![0; 20 << 20],)).join().unwrap_err());
        }
        "nowhere" => {
            let store = Nowhere::store(Some(NOWHERE));
            println!("{}", processes().store(&store).spawn(nothing, ()).join().unwrap_err());
        }
        "default backend" => match CloudThread::spawn(process_id, ()).join() {
            Ok(child) => println!("{}", if child == process::id() { "here" } else { "elsewhere" }),
            Err(error) => println!("{error}"),
        },
        "forget init in children" => {
            println!("parent: {}", processes().spawn(nothing, ()).join().unwrap_err())
        }
        "ordinary program" => println!("an ordinary program"),
        "be killed" => {
            let place = env::var("ABIDE_TEST_PLACE").unwrap();
            processes().spawn(sleeps, (place,)).join().unwrap();
        }
        "be replaced" => {
            let program = env::current_exe().unwrap();
            fs::remove_file(&program).unwrap();
            fs::write(&program, "#!/bin/sh\nexit 9\n").unwrap();
            println!("{}", processes().spawn(nothing, ()).join().is_ok());
        }
        other => panic!("unknown play {other:?}"),
    }
    true
}

fn program(play: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(PLAY, play);
    command
}

fn perform(command: &mut Command) -> (Output, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// The child ends while the program still sends: its end counts, not the failure to send.
pub(crate) fn arguments_that_nobody_reads_are_no_error() {
    let (_, stdout, _) = perform(&mut program("end at once"));
    assert!(stdout.contains("(exit status: 5)"), "{stdout}");
}

pub(crate) fn a_store_that_cannot_be_reached_is_an_error() {
    let (_, stdout, _) = perform(program("nowhere").env("ABIDE_RETRY_FOR_MS", "20"));
    assert!(stdout.contains(&format!("its session with the store: {NOWHERE}: ")), "{stdout}");
}

pub(crate) fn output_passes_through() {
    let (output, stdout, stderr) = perform(&mut program("talk"));
    assert!(output.status.success(), "{output:?}");
    for number in 0..3 {
        assert!(stdout.contains(&format!("out {number}\n")), "{stdout}");
        assert!(stdout.contains(&format!("unfinished {number};")), "{stdout}");
        assert!(stderr.lines().any(|line| line == format!("err {number}")), "{stderr}");
    }
    assert_eq!(stderr.matches("a unique message").count(), 1, "printed once: {stderr}");
    assert!(stderr.contains("thread 'panics'"), "{stderr}");
}

pub(crate) fn the_environment_chooses_the_backend() {
    let backend = |name: &str| perform(program("default backend").env(Backend::VARIABLE, name)).1;
    assert_eq!(backend("processes"), "elsewhere\n");
    assert_eq!(backend("threads"), "here\n");
    assert_eq!(perform(program("default backend").env_remove(Backend::VARIABLE)).1, "here\n");
}

pub(crate) fn an_unknown_backend_is_an_error() {
    let (_, stdout, _) = perform(program("default backend").env(Backend::VARIABLE, "clouds"));
    assert!(stdout.contains("ABIDE_BACKEND is \"clouds\": expected `threads` or `processes`"), "{stdout}");
}

pub(crate) fn a_child_that_forgets_init_cannot_spawn() {
    let (output, stdout, stderr) = perform(&mut program("forget init in children"));
    assert!(output.status.success(), "{output:?}");
    assert!(stderr.contains("child: call `abide::init()`"), "{stderr}");
    assert!(
        stdout.contains("parent: the process ended before the function returned (exit status: 6)"),
        "{stdout}"
    );
    assert!(stdout.contains("call `abide::init()`"), "the parent quotes the child's last lines: {stdout}");
}

pub(crate) fn a_command_of_a_function_is_not_taken_for_a_child() {
    assert_eq!(processes().spawn(runs_a_command, ()).join().unwrap(), "an ordinary program\n");
}

pub(crate) fn children_die_with_their_parent() {
    let place = Place::new();
    let mut parent = program("be killed").env("ABIDE_TEST_PLACE", place.path()).spawn().unwrap();
    let child = place.wait_for("sleeper");
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(9));
    let runs = || {
        let stat = fs::read_to_string(Path::new("/proc").join(&child).join("stat"));
        // Whoever adopts orphans here may be slow to reap them, so a zombie counts as dead.
        stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
    };
    let begin = Instant::now();
    while runs() {
        assert!(begin.elapsed() < super::SOON / 2, "{child} outlives its parent");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn the_program_may_be_replaced_while_it_runs() {
    let place = Place::new();
    let copy = Path::new(&place.path()).join("program");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    let (output, stdout, stderr) = perform(Command::new(copy).env(PLAY, "be replaced"));
    assert_eq!(stdout, "true\n", "{output:?} {stderr}");
}
