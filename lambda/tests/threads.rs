//! Cloud threads as threads of this process, and everything that is the same for all backends.

use abide_lambda::{Backend, CloudThread, CloudThreadId, JoinError, Part, cloud_function};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    fmt,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

type Never<T> = Result<T, Infallible>;

const SOON: Duration = Duration::from_secs(20);

// ---- values and errors ----

#[cloud_function]
fn nothing() -> Never<()> {
    Ok(())
}

#[cloud_function]
#[allow(clippy::too_many_arguments)]
fn eight(
    a: u8,
    b: i16,
    c: u32,
    d: i64,
    e: String,
    f: Vec<bool>,
    g: Option<char>,
    h: (f32, f64),
) -> Never<String> {
    Ok(format!("{a} {b} {c} {d} {e} {f:?} {g:?} {h:?}"))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[cloud_function]
fn mirror(Point { x, y }: Point, mut times: u32) -> Never<Point> {
    let mut point = Point { x, y };
    while times > 0 {
        point = Point { x: -point.x, y: -point.y };
        times -= 1;
    }
    Ok(point)
}

#[test]
fn values_come_back() {
    CloudThread::spawn(nothing, ()).join().unwrap();
    let arguments = (1, -2, 3, -4, "five".to_owned(), vec![true], Some('7'), (8.0, 8.5));
    let text = CloudThread::spawn(eight, arguments).join().unwrap();
    assert_eq!(text, "1 -2 3 -4 five [true] Some('7') (8.0, 8.5)");
    let point = CloudThread::spawn(mirror, (Point { x: 1.0, y: 2.0 }, 3)).join().unwrap();
    assert_eq!(point, Point { x: -1.0, y: -2.0 });
}

#[test]
fn the_function_stays_an_ordinary_one() {
    assert_eq!(mirror(Point { x: 1.0, y: 0.0 }, 1), Ok(Point { x: -1.0, y: 0.0 }));
    assert_eq!(CloudThread::attempt(), 1);
    assert_eq!(CloudThread::id(), None);
    assert_eq!(CloudThread::name(), None);
    assert!(!CloudThread::is_cancelled());
}

struct WithCause;

impl fmt::Display for WithCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.alternate() { "no tea: the kettle is broken" } else { "no tea" })
    }
}

#[cloud_function]
fn fails() -> Result<u32, WithCause> {
    Err(WithCause)
}

#[test]
fn an_error_comes_back_with_its_causes() {
    let error = CloudThread::spawn(fails, ()).join().unwrap_err();
    assert!(
        matches!(&error, JoinError::Failed { message } if message == "no tea: the kettle is broken"),
        "{error:?}"
    );
}

#[cloud_function]
fn panics(kind: u32) -> Never<()> {
    match kind {
        0 => panic!("a plain text"),
        1 => panic!("a formatted {}", "text"),
        _ => std::panic::panic_any(kind),
    }
}

#[test]
fn a_panic_comes_back_with_its_message() {
    for (kind, expected) in [(0, "a plain text"), (1, "a formatted text"), (2, "(its payload is not a text)")]
    {
        match CloudThread::spawn(panics, (kind,)).join() {
            Err(JoinError::Panicked { message }) => assert_eq!(message, expected),
            other => panic!("{other:?}"),
        }
    }
}

// ---- what travels ----

#[cloud_function]
fn echo(bytes: Vec<u8>) -> Never<Vec<u8>> {
    Ok(bytes)
}

#[test]
fn twenty_mebibytes_travel_and_thirty_three_are_refused() {
    let bytes: Vec<u8> = (0..20 << 20).map(|i: u32| i as u8).collect();
    assert!(CloudThread::spawn(echo, (bytes.clone(),)).join().unwrap() == bytes);
    let error = CloudThread::spawn(echo, (vec![0; 33 << 20],)).join().unwrap_err();
    assert!(matches!(&error, JoinError::Codec { part: Part::Arguments, .. }), "{error}");
    assert!(error.to_string().contains("shared object"), "{error}");
}

/// Fails on the way in or out, as told.
#[derive(Debug, Clone, Copy)]
struct Stubborn {
    out: bool,
}

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.out { Err(serde::ser::Error::custom("not out")) } else { serializer.serialize_unit() }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("not in"))
    }
}

#[cloud_function]
fn takes(_: Stubborn) -> Never<()> {
    Ok(())
}

#[cloud_function]
fn gives() -> Never<Stubborn> {
    Ok(Stubborn { out: true })
}

#[test]
fn values_that_do_not_travel_are_errors_on_threads_too() {
    let cases = [
        (CloudThread::spawn(takes, (Stubborn { out: true },)).join(), Part::Arguments, "not out"),
        (CloudThread::spawn(takes, (Stubborn { out: false },)).join(), Part::Arguments, "not in"),
        (CloudThread::spawn(gives, ()).join().map(drop), Part::Result, "not out"),
    ];
    for (result, expected, text) in cases {
        match result {
            Err(JoinError::Codec { part, reason }) => {
                assert!(part == expected && reason.contains(text), "{part}: {reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

// ---- the registry ----

fn unmarked() -> Never<()> {
    Ok(())
}

#[test]
fn a_function_without_the_attribute_is_named() {
    let error = CloudThread::spawn(unmarked, ()).join().unwrap_err();
    assert!(matches!(&error, JoinError::NotRegistered { name } if name == "threads::unmarked"), "{error:?}");
    let closure = CloudThread::spawn(|| Never::Ok(()), ()).join().unwrap_err();
    assert!(closure.to_string().contains("not a closure"), "{closure}");
}

#[cloud_function(name = "twin")]
fn first_twin() -> Never<u32> {
    Ok(1)
}

#[cloud_function(name = "twin")]
fn second_twin() -> Never<u32> {
    Ok(2)
}

#[cloud_function(name = "one")]
#[cloud_function(name = "other")]
fn marked_twice() -> Never<()> {
    Ok(())
}

#[test]
fn ambiguous_functions_are_errors_that_name_both() {
    for twin in [CloudThread::spawn(first_twin, ()).join(), CloudThread::spawn(second_twin, ()).join()] {
        let error = twin.unwrap_err();
        assert!(matches!(error, JoinError::Duplicate { .. }), "{error:?}");
        let text = error.to_string();
        for part in ["first_twin", "second_twin", "`twin`", file!()] {
            assert!(text.contains(part), "{text}");
        }
    }
    let error = CloudThread::spawn(marked_twice, ()).join().unwrap_err().to_string();
    assert!(error.contains("`one`") && error.contains("`other`"), "{error}");
}

#[test]
fn functions_of_one_path_are_told_apart_once_they_are_named() {
    let one = {
        #[cloud_function(name = "local/1")]
        fn local() -> Never<u32> {
            Ok(1)
        }
        CloudThread::spawn(local, ())
    };
    let two = {
        #[cloud_function(name = "local/2")]
        fn local() -> Never<u32> {
            Ok(2)
        }
        CloudThread::spawn(local, ())
    };
    assert_eq!((one.join().unwrap(), two.join().unwrap()), (1, 2));
}

#[cloud_function]
#[cfg(any())]
fn absent() -> NoSuchType {}

#[cloud_function]
fn r#match() -> Never<Option<String>> {
    Ok(CloudThread::name())
}

#[test]
fn raw_names_and_disabled_functions_expand() {
    assert_eq!(CloudThread::spawn(r#match, ()).join().unwrap().as_deref(), Some("match"));
}

// ---- identity, nesting, retries ----

#[cloud_function]
fn who(depth: u32) -> Result<Vec<(CloudThreadId, String)>, JoinError> {
    let thread = std::thread::current().name().map(str::to_owned);
    assert_eq!(thread, CloudThread::name());
    let mut all = match depth {
        0 => Vec::new(),
        _ => CloudThread::builder().name(format!("at {depth}")).spawn(who, (depth - 1,)).join()?,
    };
    all.push((CloudThread::id().unwrap(), CloudThread::name().unwrap()));
    Ok(all)
}

#[test]
fn cloud_threads_spawn_cloud_threads() {
    let outer = CloudThread::builder().name("outer").spawn(who, (2,));
    let (id, name) = (outer.id(), outer.name().to_owned());
    let all = outer.join().unwrap();
    assert_eq!(all.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["at 1", "at 2", "outer"]);
    assert_eq!(all[2], (id, name));
    assert!(all[0].0 != all[1].0 && all[1].0 != all[2].0);
}

static TRIES: AtomicU32 = AtomicU32::new(0);

#[cloud_function]
fn succeeds_on(attempt: u32, panic: bool) -> Result<(u32, CloudThreadId), String> {
    TRIES.fetch_add(1, SeqCst);
    match CloudThread::attempt() {
        current if current == attempt => Ok((current, CloudThread::id().unwrap())),
        current if panic => panic!("attempt {current}"),
        current => Err(format!("attempt {current}")),
    }
}

#[test]
fn a_function_is_retried_as_often_as_was_asked() {
    let quick = || CloudThread::builder().retry_delay(Duration::ZERO);
    let tries = |builder: abide_lambda::Builder, arguments: (u32, bool)| {
        TRIES.store(0, SeqCst);
        let thread = builder.spawn(succeeds_on, arguments);
        let id = thread.id();
        let result = thread.join();
        (
            result.map(|(attempt, seen)| (attempt, seen == id)).map_err(|error| error.to_string()),
            TRIES.load(SeqCst),
        )
    };
    let failed = |attempt| Err(format!("the cloud function failed: attempt {attempt}"));
    assert_eq!(tries(quick(), (2, false)), (failed(1), 1), "never by default");
    assert_eq!(tries(quick().retries(1), (3, false)), (failed(2), 2));
    assert_eq!(tries(quick().retries(2), (3, false)), (Ok((3, true)), 3));
    assert_eq!(tries(quick().retries(9), (4, true)), (Ok((4, true)), 4));
    let panics_only = || quick().retries(9).retry_if(|error| matches!(error, JoinError::Panicked { .. }));
    assert_eq!(tries(panics_only(), (4, false)), (failed(1), 1));
    assert_eq!(tries(panics_only(), (4, true)), (Ok((4, true)), 4), "a builder spawns many");
}

#[test]
fn a_retry_waits() {
    let begin = Instant::now();
    let builder = CloudThread::builder().retries(2).retry_delay(Duration::from_millis(60));
    builder.spawn(fails, ()).join().unwrap_err();
    assert!(begin.elapsed() >= Duration::from_millis(120));
}

#[test]
fn a_predicate_that_panics_leaves_nobody_waiting() {
    let thread = CloudThread::builder().retries(1).retry_if(|_| panic!("indecisive")).spawn(fails, ());
    let error = thread.join_timeout(SOON).unwrap_err();
    assert!(matches!(&error, JoinError::Lost { reason } if reason.contains("indecisive")), "{error:?}");
}

// ---- waiting, cancelling, limits ----

/// A door that functions wait at.
struct Door(Mutex<bool>, Condvar);

impl Door {
    fn pass(&self) {
        let _open = self.1.wait_timeout_while(self.0.lock().unwrap(), SOON, |open| !*open).unwrap();
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

static JOINED_TWICE: Door = Door(Mutex::new(false), Condvar::new());

#[cloud_function]
fn waits() -> Never<u32> {
    JOINED_TWICE.pass();
    Ok(7)
}

#[test]
fn joining_for_a_time_leaves_the_handle() {
    let thread = CloudThread::spawn(waits, ());
    let short = Duration::from_millis(20);
    let error = thread.join_timeout(short).unwrap_err();
    assert!(matches!(error, JoinError::TimedOut { waited } if waited == short), "{error:?}");
    assert!(!thread.is_finished());
    JOINED_TWICE.open();
    assert_eq!(thread.join_timeout(SOON).unwrap(), 7);
    assert!(thread.is_finished());
    assert_eq!(thread.join().unwrap(), 7);
}

static STARTED: [Door; 2] = [const { Door(Mutex::new(false), Condvar::new()) }; 2];

#[cloud_function]
fn until_cancelled(door: usize) -> Result<(), String> {
    STARTED[door].open();
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        if CloudThread::is_cancelled() {
            return Err("cancelled after all".to_owned());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn a_running_thread_sees_that_it_is_cancelled_and_is_not_retried() {
    let thread = CloudThread::builder().retries(5).spawn(until_cancelled, (0,));
    STARTED[0].pass();
    assert!(!thread.is_finished());
    thread.cancel();
    let error = thread.join().unwrap_err();
    assert!(matches!(&error, JoinError::Failed { message } if message == "cancelled after all"), "{error:?}");
}

#[test]
fn a_cancelled_thread_that_waits_for_a_place_or_a_retry_ends_at_once() {
    let one = CloudThread::builder().max_concurrency(1);
    let running = one.spawn(until_cancelled, (1,));
    let queued = one.spawn(until_cancelled, (1,));
    queued.cancel();
    assert!(queued.is_finished());
    assert!(matches!(queued.join(), Err(JoinError::Cancelled)));
    running.cancel();
    running.join().unwrap_err();

    let retrying = CloudThread::builder().retries(1).retry_delay(2 * SOON).spawn(fails, ());
    std::thread::sleep(Duration::from_millis(50));
    retrying.cancel();
    assert!(matches!(retrying.join_timeout(SOON), Err(JoinError::Cancelled)));
}

// The first ones stay until as many are there as may be.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static RUNNING_MAX: AtomicUsize = AtomicUsize::new(0);

#[cloud_function]
fn counted(number: u32) -> Never<u32> {
    let running = RUNNING.fetch_add(1, SeqCst) + 1;
    RUNNING_MAX.fetch_max(running, SeqCst);
    let begin = Instant::now();
    while RUNNING_MAX.load(SeqCst) < 3 && begin.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(5)); // one more would be seen now
    RUNNING.fetch_sub(1, SeqCst);
    Ok(number)
}

#[test]
fn no_more_run_at_once_than_the_limit_and_all_run() {
    let limited = CloudThread::builder().max_concurrency(3);
    let threads: Vec<_> = (0..50).map(|number| limited.clone().spawn(counted, (number,))).collect();
    for (number, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join_timeout(SOON).unwrap(), number as u32);
    }
    assert_eq!(RUNNING_MAX.load(SeqCst), 3);
}

// ---- backends and stores ----

#[test]
fn a_process_cannot_be_spawned_by_a_program_that_does_not_begin_with_init() {
    let error = CloudThread::builder().backend(Backend::Processes).spawn(nothing, ()).join().unwrap_err();
    assert!(matches!(error, JoinError::NotInitialised), "{error:?}");
    assert!(error.to_string().contains("init()"), "{error}");
}

#[test]
fn backends_have_names() {
    for backend in [Backend::Threads, Backend::Processes] {
        assert_eq!(backend.to_string().parse(), Ok(backend));
    }
    assert!("clouds".parse::<Backend>().unwrap_err().to_string().contains("`processes`"));
}
