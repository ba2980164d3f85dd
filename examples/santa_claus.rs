//! The Santa Claus problem (Trono, 1994) on cloud threads.
//!
//! Santa sleeps until all nine reindeer are back, to deliver toys with them, or until three of the elves
//! have a question, to talk to those three. Reindeer go first. Barriers gather each group, semaphores
//! wake Santa and let the group in. The program checks what must never happen: Santa with fewer than nine
//! reindeer or other than three elves, or with both kinds at once.

mod support;

use abide::{CallError, CloudThread, ListFilter, Semaphore, Store, cloud_function};
use clap::Parser;
use std::time::Instant;

const REINDEER: u32 = 9;
const GROUP: u32 = 3;

/// Santa, nine reindeer and some elves.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many elves there are, at least 3.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=1_000))]
    elves: u32,
    /// How many times toys are delivered.
    #[arg(long, default_value_t = 20)]
    years: u32,
    /// How many groups of elves get an answer.
    #[arg(long, default_value_t = 60)]
    questions: u32,
    #[command(flatten)]
    common: support::Common,
}

/// The objects that all share.
struct NorthPole {
    store: Store,
    run: String,
}

impl NorthPole {
    fn new(run: &str) -> Result<NorthPole, CallError> {
        Ok(NorthPole { store: Store::current()?, run: run.to_owned() })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.run)
    }

    /// A semaphore that one party releases and another takes: nobody owns its permits.
    fn signal(&self, name: &str) -> Semaphore {
        self.store.semaphore(&self.key(name), 0).unowned()
    }

    fn gather(&self, name: &str, parties: u32) -> Result<u32, CallError> {
        self.store.cyclic_barrier(&self.key(name), parties).wait()
    }

    fn count(&self, name: &str) -> abide::AtomicInt {
        self.store.atomic_int(&self.key(name))
    }
}

/// Delivers and answers until both numbers are reached. Returns how often each was done.
#[cloud_function]
fn santa(run: String, years: u32, questions: u32) -> Result<(u32, u32), String> {
    let work = || -> Result<Result<(u32, u32), String>, CallError> {
        let pole = NorthPole::new(&run)?;
        let (mut delivered, mut answered) = (0, 0);
        let (herd, group) = (pole.count("herd ready"), pole.count("groups ready"));
        while delivered < years || answered < questions {
            pole.signal("wake santa").acquire(1)?;
            if herd.get()? > 0 {
                herd.decrement_and_get()?;
                pole.signal("harness").release(REINDEER.into())?;
                pole.gather("harnessed", REINDEER + 1)?;
                let (reindeer, elves) = (pole.count("reindeer in").get()?, pole.count("elves in").get()?);
                if (reindeer, elves) != (REINDEER as i32, 0) {
                    return Ok(Err(format!("a delivery with {reindeer} reindeer and {elves} elves")));
                }
                delivered += 1;
                pole.gather("delivered", REINDEER + 1)?;
                pole.gather("unharnessed", REINDEER + 1)?;
            } else {
                if group.decrement_and_get()? < 0 {
                    return Ok(Err("Santa was woken for nothing".to_owned()));
                }
                pole.signal("study").release(GROUP.into())?;
                pole.gather("seated", GROUP + 1)?;
                let (reindeer, elves) = (pole.count("reindeer in").get()?, pole.count("elves in").get()?);
                if (reindeer, elves) != (0, GROUP as i32) {
                    return Ok(Err(format!("an answer to {elves} elves and {reindeer} reindeer")));
                }
                answered += 1;
                pole.gather("answered", GROUP + 1)?;
                pole.gather("gone", GROUP + 1)?;
            }
        }
        Ok(Ok((delivered, answered)))
    };
    work().map_err(|error| error.to_string())?
}

/// Comes back from the holiday each year and delivers.
#[cloud_function]
fn reindeer(run: String, years: u32) -> Result<(), CallError> {
    let pole = NorthPole::new(&run)?;
    for _ in 0..years {
        if pole.gather("herd", REINDEER)? == 0 {
            pole.count("herd ready").increment_and_get()?;
            pole.signal("wake santa").release(1)?;
        }
        pole.signal("harness").acquire(1)?;
        pole.count("reindeer in").increment_and_get()?;
        pole.gather("harnessed", REINDEER + 1)?;
        pole.gather("delivered", REINDEER + 1)?;
        pole.count("reindeer in").decrement_and_get()?;
        pole.gather("unharnessed", REINDEER + 1)?;
    }
    Ok(())
}

/// Asks as long as there are questions left. Returns how many it asked.
#[cloud_function]
fn elf(run: String) -> Result<u32, CallError> {
    let pole = NorthPole::new(&run)?;
    let mut asked = 0;
    // Questions come in threes, so whoever has drawn one is joined by two others in the end.
    while pole.count("questions left").get_and_decrement()? > 0 {
        // At most one group is on its way to Santa.
        pole.store.semaphore(&pole.key("door"), GROUP.into()).acquire(1)?;
        if pole.gather("group", GROUP)? == 0 {
            pole.count("groups ready").increment_and_get()?;
            pole.signal("wake santa").release(1)?;
        }
        pole.signal("study").acquire(1)?;
        pole.count("elves in").increment_and_get()?;
        pole.gather("seated", GROUP + 1)?;
        pole.gather("answered", GROUP + 1)?;
        pole.count("elves in").decrement_and_get()?;
        pole.gather("gone", GROUP + 1)?;
        pole.store.semaphore(&pole.key("door"), GROUP.into()).release(1)?;
        asked += 1;
    }
    Ok(asked)
}

fn main() -> anyhow::Result<()> {
    abide::init();
    let arguments = Arguments::parse();
    let place = arguments.common.open()?;
    let (store, run) = (&place.store, support::run_name("santa"));
    let (years, questions) = (arguments.years, arguments.questions);
    store.atomic_int(&format!("{run}/questions left")).set((questions * GROUP) as i32)?;
    let started = Instant::now();
    let thread = || CloudThread::builder().backend(arguments.common.backend.clone()).store(store);
    let santa = thread().spawn(santa, (run.clone(), years, questions));
    let herd: Vec<_> = (0..REINDEER).map(|_| thread().spawn(reindeer, (run.clone(), years))).collect();
    let elves: Vec<_> = (0..arguments.elves).map(|_| thread().spawn(elf, (run.clone(),))).collect();
    let (delivered, answered) = santa.join()?;
    for reindeer in herd {
        reindeer.join()?;
    }
    let mut asked = 0;
    for elf in elves {
        asked += elf.join()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!((delivered, answered) == (years, questions), "Santa stopped early");
    anyhow::ensure!(
        asked == questions * GROUP,
        "{asked} questions were asked, {} answered",
        questions * GROUP
    );
    for object in store.list_objects(ListFilter::default().with_prefix(&run)) {
        let object = object?;
        store.delete(&object.type_name, &object.key)?;
    }
    println!("{delivered} deliveries and {answered} answers in {:.2} s", seconds);
    println!("Santa was never with the wrong company");
    Ok(())
}
