//! What the children run, and what they meet at.

use abide_client::Store;
use abide_lambda::{CloudThread, CloudThreadId, JoinError, cloud_function};
use abide_net::{CallError, Caller, Request};
use serde::{Deserialize, Serialize};
use std::{
    convert::Infallible,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

type Never<T> = Result<T, Infallible>;

#[cloud_function]
pub(crate) fn nothing() -> Never<()> {
    Ok(())
}

#[cloud_function]
pub(crate) fn add(a: u64, b: u64) -> Never<u64> {
    println!("adding, {} bytes of noise: {}", 100_000, "x".repeat(100_000));
    Ok(a + b)
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Who {
    pub(crate) id: CloudThreadId,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) process: u32,
    pub(crate) thread: Option<String>,
}

#[cloud_function]
pub(crate) fn who() -> Result<Who, String> {
    Ok(Who {
        id: CloudThread::id().ok_or("no id")?,
        name: CloudThread::name().ok_or("no name")?,
        attempt: CloudThread::attempt(),
        process: process::id(),
        thread: thread::current().name().map(str::to_owned),
    })
}

#[cloud_function]
pub(crate) fn fails() -> Result<(), String> {
    Err("no tea".to_owned())
}

#[cloud_function]
pub(crate) fn panics(message: String) -> Never<()> {
    panic!("{message}")
}

#[cloud_function]
pub(crate) fn too_large() -> Never<Vec<u8>> {
    Ok(vec![0; 33 << 20])
}

#[cloud_function]
pub(crate) fn exits(code: i32) -> Never<()> {
    eprint!("about to exit\nnow");
    process::exit(code)
}

#[cloud_function]
pub(crate) fn kills_itself() -> Never<()> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    unreachable!()
}

#[cloud_function]
pub(crate) fn echo(bytes: Vec<u8>) -> Never<Vec<u8>> {
    Ok(bytes)
}

/// Ends when so many are there at once.
#[cloud_function]
pub(crate) fn meets(place: String, number: u32, parties: usize) -> Result<(), String> {
    let place = Path::new(&place);
    fs::write(place.join(number.to_string()), "").unwrap();
    let begin = Instant::now();
    while fs::read_dir(place).unwrap().count() < parties {
        if begin.elapsed() > super::SOON {
            return Err("the others did not come".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The most that it saw at once.
#[cloud_function]
pub(crate) fn counted(place: String, number: u32) -> Never<usize> {
    let mine = Path::new(&place).join(number.to_string());
    fs::write(&mine, "").unwrap();
    let mut most = 0;
    for _ in 0..5 {
        most = most.max(fs::read_dir(&place).unwrap().count());
        thread::sleep(Duration::from_millis(10));
    }
    fs::remove_file(&mine).unwrap();
    Ok(most)
}

/// Aborts in its first attempts, and leaves a line each time.
#[cloud_function]
pub(crate) fn dies_until(place: String, attempt: u32) -> Never<u32> {
    let path = Path::new(&place).join("tries");
    let mut tries = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(tries, "{}", CloudThread::attempt()).unwrap();
    if CloudThread::attempt() < attempt {
        process::abort();
    }
    Ok(CloudThread::attempt())
}

/// Says which process it is, and sleeps until it is killed.
#[cloud_function]
pub(crate) fn sleeps(place: String) -> Never<()> {
    Place::leave(&place, "sleeper", &process::id().to_string());
    thread::sleep(2 * super::SOON);
    Ok(())
}

#[cloud_function]
pub(crate) fn reads() -> io::Result<usize> {
    io::stdin().read_to_end(&mut Vec::new())
}

/// The process that is left keeps this one's standard error open.
#[cloud_function]
pub(crate) fn leaves_a_process_behind() -> io::Result<()> {
    Command::new("sleep").arg("30").stdout(Stdio::null()).spawn().map(drop)
}

pub(crate) fn unmarked() -> Never<()> {
    Ok(())
}

pub(crate) mod twin {
    use super::*;

    #[cloud_function(name = "twin")]
    pub(crate) fn one() -> Never<()> {
        Ok(())
    }

    #[cloud_function(name = "twin")]
    fn other() -> Never<()> {
        Ok(())
    }
}

/// So many processes below this one, each the child of the one before.
#[cloud_function]
pub(crate) fn nests(depth: u32) -> Result<u32, JoinError> {
    match depth {
        0 => Ok(0),
        _ => Ok(1 + super::processes().spawn(nests, (depth - 1,)).join()?),
    }
}

/// Talks on both streams, and in the middle of a line.
#[cloud_function]
pub(crate) fn talks(number: u32) -> Never<u32> {
    println!("out {number}");
    eprint!("err ");
    eprintln!("{number}");
    print!("unfinished {number};");
    Ok(number)
}

#[cloud_function]
pub(crate) fn process_id() -> Never<u32> {
    Ok(process::id())
}

/// Starts this program again as a mere command, which inherits the environment of a child.
#[cloud_function]
pub(crate) fn runs_a_command() -> io::Result<String> {
    let output =
        Command::new(std::env::current_exe()?).env(super::plays::PLAY, "ordinary program").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder that children share, removed at the end.
pub(crate) struct Place(PathBuf);

impl Place {
    pub(crate) fn new() -> Self {
        let name = format!("abide-{}-{:?}", process::id(), Instant::now());
        let path = std::env::temp_dir().join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    pub(crate) fn path(&self) -> String {
        self.0.to_str().unwrap().to_owned()
    }

    /// Leaves a whole file.
    pub(crate) fn leave(place: &str, name: &str, text: &str) {
        let path = Path::new(place).join(name);
        let unfinished = path.with_extension(format!("{}.unfinished", process::id()));
        fs::write(&unfinished, text).unwrap();
        fs::rename(unfinished, path).unwrap();
    }

    /// What somebody leaves here.
    pub(crate) fn wait_for(&self, name: &str) -> String {
        let begin = Instant::now();
        loop {
            match fs::read_to_string(self.0.join(name)) {
                Ok(text) => return text,
                Err(error) => assert!(begin.elapsed() < super::SOON, "{name}: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A store that has at most an address.
#[derive(Debug)]
pub(crate) struct Nowhere(Option<&'static str>);

impl Nowhere {
    pub(crate) fn store(address: Option<&'static str>) -> Store {
        Store::from_caller(Arc::new(Nowhere(address)))
    }
}

impl Caller for Nowhere {
    fn call(&self, _: &Request<'_>, _: &mut dyn FnMut(&[u8])) -> Result<u64, CallError> {
        Err(CallError::NotFound)
    }

    fn shards(&self) -> Result<u32, CallError> {
        Ok(1)
    }

    fn new_session(&self) -> Result<Arc<dyn Caller>, CallError> {
        Ok(Arc::new(Nowhere(self.0)))
    }

    fn seeded_session(&self, _: u128) -> Result<Arc<dyn Caller>, CallError> {
        self.new_session()
    }

    fn end_session(&self) -> Result<(), CallError> {
        Ok(())
    }

    fn address(&self) -> Option<String> {
        self.0.map(str::to_owned)
    }
}
