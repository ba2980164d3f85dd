//! Cloud threads as child processes. This program begins with `init()`, as a user's would, so it brings its own
//! test harness. Some tests start it once more as a program of its own, with a play to act out.

mod functions;
mod plays;
mod runner;

use abide_lambda::{Backend, Builder, CloudThread, JoinError, Part};
use functions::*;
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    plays::before_init();
    abide_lambda::init();
    if plays::act() {
        return ExitCode::SUCCESS;
    }
    runner::run(runner::tests![
        values_come_back,
        errors_and_panics_come_back,
        a_child_that_exits_or_is_killed_is_told_with_its_last_lines,
        a_child_that_exits_well_without_a_result_gets_a_hint,
        twenty_mebibytes_travel_both_ways,
        a_hundred_children_run_at_once,
        no_more_run_at_once_than_the_limit,
        a_function_is_retried_in_a_new_process,
        a_cancelled_child_is_killed_and_reaped,
        a_child_has_nothing_to_read,
        what_a_function_leaves_behind_is_not_waited_for,
        unregistered_functions_and_ambiguous_names_are_errors,
        processes_spawn_processes_but_not_for_ever,
        a_store_in_this_process_alone_is_refused,
        plays::arguments_that_nobody_reads_are_no_error,
        plays::a_store_that_cannot_be_reached_is_an_error,
        plays::output_passes_through,
        plays::the_environment_chooses_the_backend,
        plays::an_unknown_backend_is_an_error,
        plays::a_child_that_forgets_init_cannot_spawn,
        plays::a_command_of_a_function_is_not_taken_for_a_child,
        plays::children_die_with_their_parent,
        plays::the_program_may_be_replaced_while_it_runs,
    ])
}

fn processes() -> Builder {
    CloudThread::builder().backend(Backend::Processes)
}

fn values_come_back() {
    processes().spawn(nothing, ()).join().unwrap();
    assert_eq!(processes().spawn(add, (2, 40)).join().unwrap(), 42);
    let thread = processes().name("worker 7").spawn(who, ());
    let id = thread.id();
    let who = thread.join().unwrap();
    assert_eq!((who.id, who.name.as_str(), who.attempt), (id, "worker 7", 1));
    assert_ne!(who.process, std::process::id());
    assert_eq!(who.thread.as_deref(), Some("worker 7"));
}

fn errors_and_panics_come_back() {
    let error = processes().spawn(fails, ()).join().unwrap_err();
    assert!(matches!(&error, JoinError::Failed { message } if message == "no tea"), "{error:?}");
    let error = processes().spawn(panics, ("at the disco".to_owned(),)).join().unwrap_err();
    assert!(matches!(&error, JoinError::Panicked { message } if message == "at the disco"), "{error:?}");
    let error = processes().spawn(too_large, ()).join().unwrap_err();
    assert!(matches!(&error, JoinError::Codec { part: Part::Result, .. }), "{error:?}");
}

fn a_child_that_exits_or_is_killed_is_told_with_its_last_lines() {
    match processes().spawn(exits, (3,)).join() {
        Err(JoinError::Exited { status, stderr_tail }) => {
            assert_eq!(status.code(), Some(3));
            assert_eq!(stderr_tail, "about to exit\nnow");
        }
        other => panic!("{other:?}"),
    }
    let error = processes().spawn(kills_itself, ()).join().unwrap_err();
    assert!(matches!(&error, JoinError::Exited { status, .. } if status.signal() == Some(9)), "{error:?}");
    assert!(error.to_string().contains("SIGKILL"), "{error}");
}

fn a_child_that_exits_well_without_a_result_gets_a_hint() {
    let error = processes().spawn(exits, (0,)).join().unwrap_err();
    assert!(matches!(&error, JoinError::Exited { status, .. } if status.success()), "{error:?}");
    assert!(error.to_string().contains("before `init()`"), "{error}");
}

fn twenty_mebibytes_travel_both_ways() {
    let bytes: Vec<u8> = (0..20 << 20).map(|i: u32| (i >> 3) as u8).collect();
    assert!(processes().spawn(echo, (bytes.clone(),)).join().unwrap() == bytes);
}

fn a_hundred_children_run_at_once() {
    let place = Place::new();
    let threads: Vec<_> =
        (0..100).map(|number| processes().spawn(meets, (place.path(), number, 100))).collect();
    for thread in threads {
        thread.join_timeout(SOON).unwrap();
    }
}

fn no_more_run_at_once_than_the_limit() {
    let place = Place::new();
    let limited = processes().max_concurrency(3);
    let threads: Vec<_> = (0..9).map(|number| limited.spawn(counted, (place.path(), number))).collect();
    let most = threads.into_iter().map(|thread| thread.join().unwrap()).max();
    assert!(most <= Some(3), "{most:?}");
}

fn a_function_is_retried_in_a_new_process() {
    let place = Place::new();
    let quick = processes().retry_delay(Duration::ZERO);
    let tries = || fs::read_to_string(Path::new(&place.path()).join("tries")).unwrap().lines().count();
    assert_eq!(quick.clone().retries(3).spawn(dies_until, (place.path(), 3)).join().unwrap(), 3);
    assert_eq!(tries(), 3);
    let died = |error: &JoinError| matches!(error, JoinError::Exited { .. });
    let error =
        quick.clone().retries(1).retry_if(died).spawn(dies_until, (place.path(), 3)).join().unwrap_err();
    assert!(died(&error), "{error:?}");
    assert_eq!(tries(), 3 + 2);
    quick.spawn(dies_until, (place.path(), 3)).join().unwrap_err();
    assert_eq!(tries(), 3 + 2 + 1, "never by default");
}

fn a_cancelled_child_is_killed_and_reaped() {
    let place = Place::new();
    let thread = processes().retries(3).spawn(sleeps, (place.path(),));
    let process = place.wait_for("sleeper");
    let begin = Instant::now();
    thread.cancel();
    let error = thread.join().unwrap_err();
    assert!(matches!(error, JoinError::Cancelled), "{error:?}");
    assert!(begin.elapsed() < SOON / 2);
    assert!(!Path::new(&format!("/proc/{process}")).exists(), "not even a zombie");
}

fn a_child_has_nothing_to_read() {
    let thread = processes().spawn(reads, ());
    let read = thread.join_timeout(Duration::from_secs(10));
    thread.cancel();
    assert_eq!(read.unwrap(), 0);
}

fn what_a_function_leaves_behind_is_not_waited_for() {
    let begin = Instant::now();
    processes().spawn(leaves_a_process_behind, ()).join().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

fn unregistered_functions_and_ambiguous_names_are_errors() {
    let error = processes().spawn(unmarked, ()).join().unwrap_err();
    assert!(matches!(&error, JoinError::NotRegistered { name } if name.ends_with("unmarked")), "{error:?}");
    let error = processes().spawn(twin::one, ()).join().unwrap_err();
    assert!(matches!(error, JoinError::Duplicate { .. }), "{error:?}");
}

fn processes_spawn_processes_but_not_for_ever() {
    assert_eq!(processes().spawn(nests, (3,)).join().unwrap(), 3);
    let error = processes().spawn(nests, (100,)).join().unwrap_err();
    assert!(error.to_string().contains("nested 8 deep"), "{error}");
}

fn a_store_in_this_process_alone_is_refused() {
    let store = Nowhere::store(None);
    let error = processes().store(&store).spawn(nothing, ()).join().unwrap_err();
    assert!(matches!(error, JoinError::NotShared), "{error:?}");
    assert!(error.to_string().contains("abide serve"), "{error}");
    let _current = store.enter();
    let error = processes().spawn(nothing, ()).join().unwrap_err();
    assert!(matches!(error, JoinError::NotShared), "{error:?}");
    processes().without_store().spawn(nothing, ()).join().unwrap();
}
