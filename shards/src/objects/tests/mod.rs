//! Objects, driven through a real shard by events.
//!
//! [`driver`] makes calls and collects answers. [`waiting`] compares an object that calls wait in with a slow
//! model of it, over random steps that include time-outs, cancellations, retries and sessions that end.

mod arrays;
mod barrier;
mod blob;
mod bytes_and_reference;
mod condition;
mod crucial;
mod driver;
mod election;
mod events;
mod exchanger;
mod flag;
mod hostile;
mod id_generator;
mod list;
mod map;
mod memory;
mod merge;
mod mutex;
mod numbers;
mod phaser;
mod priority_queue;
mod queue;
mod rate_limiter;
mod reducer;
mod rendezvous;
mod rest;
mod rw_lock;
mod semaphore;
mod set;
mod sorted_map;
mod topic;
mod waiting;
