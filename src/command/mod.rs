//! What the command line can say, and what each command does.

mod call;
mod check;
mod life;
mod look;
mod salvage;
mod serve;
mod types;
mod units;
mod waits;

use abide::{OpenError, RemoteOptions, Store, StoreOptions};
use clap::{Args, Parser, Subcommand};
use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

/// Shared, linearizable objects for threads that run as cloud functions.
#[derive(Debug, Parser)]
#[command(name = "abide", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Print JSON, for programs: one value, or one a line for each thing of a list. Results of calls are JSON in any case.
    #[arg(long, global = true, help_heading = GENERAL)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

/// Where help shows the options of all commands.
const GENERAL: &str = "Options of all commands";

/// Where the objects are.
#[derive(Debug, Args)]
struct Place {
    /// A node's address, such as 127.0.0.1:7400.
    #[arg(long, global = true, value_name = "ADDR", conflicts_with = "store", help_heading = GENERAL)]
    server: Option<String>,
    /// The file of an embedded store, which this command opens and closes again. It is created if it is absent. Its objects survive
    /// the end of the process, unless a call asks for --ephemeral ones.
    #[arg(long, global = true, value_name = "PATH", help_heading = GENERAL)]
    store: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM or SIGINT. Prints `ready ADDR` on standard output once it accepts connections.
    Serve(serve::ServeArguments),
    /// Call a method of an object and print its result as JSON.
    Call(call::CallArguments),
    /// The types of objects, or the methods of one: arguments, results, and what they do.
    ///
    /// Of one type it tells how an object is created, and each method with its arguments, its result, how it behaves (read, write or
    /// wait) and what it does. It is the table that calls are served by.
    Types(types::TypesArguments),
    /// List objects: type and key, one to a line.
    Ls(look::ListArguments),
    /// What the store, or one object, says of itself.
    Info(look::InfoArguments),
    /// Who waits in which object, since when, who holds it, and who is deadlocked.
    ///
    /// A caller is shown as SESSION/OWNER: the beginning of its session's id, and the number of the thread in it that waits or
    /// holds, where the object tells threads apart.
    ///
    /// A line that begins with `deadlock:` is a cycle that does not end unless a time-out, a deletion or the end of a session
    /// breaks it. One that begins with `possible deadlock:` is a cycle of sessions whose threads the objects do not tell apart: another
    /// thread of a session may be about to give back what it holds.
    Waits(waits::WaitsArguments),
    /// Print an object's version, and later ones as they come, until it is deleted or this is interrupted.
    ///
    /// Of versions that come quickly not all are printed, but the last one is.
    Watch(life::ObjectArguments),
    /// Have an object deleted after a while. Prints whether it was to be deleted already; the new time counts then.
    Expire(life::ExpireArguments),
    /// Take back that an object is to be deleted. Prints whether it was.
    ///
    /// This is not about where the object lives: for that see `call --persistent`.
    Persist(life::ObjectArguments),
    /// Remove an object. Prints whether it existed.
    Delete(life::ObjectArguments),
    /// Look for damage in the file of a persistent region, without changing it: a line for each problem.
    Check(check::CheckArguments),
    /// Make a new region of what can be read of a damaged one, which is not changed. Says what is missing.
    Salvage(salvage::SalvageArguments),
}

/// How a command ends other than well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense: exit status 2.
    Misuse(String),
    /// It made sense, and could not be done: exit status 1.
    Failed(anyhow::Error),
    /// It was done, and what it has printed is bad news: exit status 1.
    Told,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Failed(error.into())
    }
}

/// Does what the command line says.
pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { place, json, command } = arguments;
    let of_no_store = match command {
        Command::Serve(_) => Some("serve is a server of its own: it takes"),
        Command::Types(_) => Some("types are the same everywhere: it takes"),
        Command::Check(_) => Some("check takes the region's PATH, and"),
        Command::Salvage(_) => Some("salvage takes two paths, and"),
        _ => None,
    };
    if let Some(reason) = of_no_store.filter(|_| place.server.is_some() || place.store.is_some()) {
        return Err(Failure::Misuse(format!("{reason} neither --server nor --store")));
    }
    match command {
        Command::Serve(serve) => serve.run(json),
        Command::Types(types) => types.run(json),
        Command::Check(check) => check.run(json),
        Command::Salvage(salvage) => salvage.run(json),
        Command::Call(call) => call.run(|| place.open()),
        Command::Ls(list) => list.run(&place.open()?, json),
        Command::Info(info) => info.run(|| place.open(), json),
        Command::Waits(waits) => waits.run(&place.open()?, json),
        Command::Watch(object) => object.watch(|| place.open(), json),
        Command::Expire(expire) => expire.run(|| place.open()),
        Command::Persist(object) => object.persist(|| place.open()),
        Command::Delete(object) => object.delete(|| place.open()),
    }
}

/// How long a command waits for a node that does not answer, unless the environment says otherwise: somebody
/// sits in front of it.
const PATIENCE: Duration = Duration::from_secs(3);

impl Place {
    /// The store that `--server`, `--store`, or else the environment variable ABIDE names.
    fn open(&self) -> Result<Store, Failure> {
        match (&self.server, &self.store) {
            (Some(address), _) => connect(address),
            (None, Some(path)) => self.open_file(path),
            (None, None) => match std::env::var("ABIDE") {
                Ok(place) if abide::names_a_node(&place) => connect(&place),
                Ok(place) if !place.is_empty() => self.open_file(Path::new(&place)),
                _ => Err(Failure::Misuse(
                    "which store? Give --server ADDR or --store PATH, or set ABIDE to one of them".to_owned(),
                )),
            },
        }
    }

    fn open_file(&self, path: &Path) -> Result<Store, Failure> {
        Store::open_with(path, &StoreOptions::default()).map_err(explain)
    }
}

/// Why a store cannot be opened, and what can be done about it.
fn explain(error: OpenError) -> Failure {
    match error {
        OpenError::Unclean { path } => Failure::Failed(anyhow::anyhow!(
            "the machine stopped while the store {path} was open, and it was opened to survive the end of its process only \
             (process-crash): what was written last may be missing or torn; `abide salvage {path} NEW` makes a new store of \
             what can be read",
            path = path.display()
        )),
        other => other.into(),
    }
}

fn connect(address: &str) -> Result<Store, Failure> {
    if !abide::names_a_node(address) {
        return Err(Failure::Misuse(format!("{address}: a node's address is HOST:PORT")));
    }
    let mut options = RemoteOptions::from_env().map_err(|error| Failure::Misuse(error.to_string()))?;
    if std::env::var_os("ABIDE_CLIENT_RETRY_FOR_MS").is_none() {
        options.retry_for = PATIENCE;
    }
    Ok(Store::connect_with(address, &options)?)
}

/// Writes to standard output. A reader that has seen enough (`abide ls | head`) is no error.
fn print(text: std::fmt::Arguments<'_>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
