//! Lets time pass in the shards for calls that no thread waits for.
//!
//! A thread that waits looks at its shard's deadlines itself. An asynchronous call has no thread; the first
//! one of a store starts this one.

use super::Combiner;
use crate::{clock::Clock, shard::Event};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

#[derive(Debug)]
pub(super) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(super) fn start(combiners: &Arc<[Combiner]>, clock: Clock) -> Ticker {
        let (combiners, stop) = (combiners.clone(), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let tick = move || {
            while !stopped.load(Ordering::Acquire) {
                let mut next: Option<Instant> = None;
                for combiner in combiners.iter() {
                    let mut deadline = combiner.next_deadline(&clock);
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        combiner.tell(&clock, Event::Tick);
                        deadline = combiner.next_deadline(&clock);
                    }
                    next = next.into_iter().chain(deadline).min();
                }
                match next {
                    Some(next) => std::thread::park_timeout(next.saturating_duration_since(Instant::now())),
                    None => std::thread::park(),
                }
            }
        };
        let thread = std::thread::Builder::new().name("abide-ticker".to_owned()).spawn(tick);
        if let Err(error) = &thread {
            tracing::error!(%error, "asynchronous calls will not time out: their timer has no thread");
        }
        Ticker { stop, thread: thread.ok() }
    }

    /// A call may have added a deadline.
    pub(super) fn look_again(&self) {
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.look_again();
    }
}
