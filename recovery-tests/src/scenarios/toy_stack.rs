//! A stack that several threads push to without locks, by link-and-persist: the smallest thing that needs schedules,
//! and reads in the history, to be tested.
//!
//! ```text
//! line 0      head: node, or node + DIRTY while the link may not be durable
//! from line 1 nodes: {value, next}
//! ```
//! Push writes its node, makes it durable, links it with DIRTY, makes the link durable, takes DIRTY off, and returns.
//! Whoever reads a DIRTY head makes it durable first.

use crate::{
    explore::{Refused, Scenario},
    history::{Call, Model},
};
use abide_pmem::{Mem, Rule, Site, sim::Sim};
use fastrand::Rng;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const HEAD: u64 = 0;
const DIRTY: u64 = 1;
const NODES: u64 = 64;

/// The scenario.
#[derive(Debug, Clone, Copy)]
pub struct ToyStack;

/// A stack of numbers.
#[derive(Debug)]
pub struct Stack;

/// What clients ask of it.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Pushes. The result is 0.
    Push(u64),
    /// The top, or 0.
    Top,
}

impl Model for Stack {
    type State = Vec<u64>;
    type Op = Op;
    type Result = u64;

    fn apply(state: &mut Vec<u64>, op: &Op) -> u64 {
        match *op {
            Op::Push(value) => {
                state.push(value);
                0
            }
            Op::Top => state.last().copied().unwrap_or(0),
        }
    }
}

/// The stack, opened.
#[derive(Debug)]
pub struct Opened {
    sim: Arc<Sim>,
    free: Vec<u64>,
    used: AtomicUsize,
}

impl Opened {
    /// The head, durable and without DIRTY.
    fn head(&self) -> u64 {
        let head = self.sim.load(HEAD);
        if head & DIRTY != 0 && !self.sim.broken(Rule::I3FlushDirtyLinks) {
            self.sim.flush(Site::StateFlush, HEAD, 8);
            self.sim.fence(Site::StateFence);
            let _ = self.sim.compare_exchange(HEAD, head, head & !DIRTY);
        }
        head & !DIRTY
    }

    fn push(&self, value: u64) -> Result<(), String> {
        let sim = &*self.sim;
        let node = *self.free.get(self.used.fetch_add(1, Ordering::Relaxed)).ok_or("the region is full")?;
        sim.store(node, value);
        loop {
            let head = self.head();
            sim.store(node + 8, head);
            sim.flush(Site::ContentFlush, node, 16);
            sim.order(Site::LargeContentOrder);
            if sim.compare_exchange(HEAD, head, node | DIRTY).is_ok() {
                break;
            }
        }
        sim.flush(Site::ApplyFlush, HEAD, 8);
        sim.fence(Site::CommitFence);
        let _ = sim.compare_exchange(HEAD, node | DIRTY, node);
        Ok(())
    }

    fn nodes(&self) -> Result<Vec<u64>, String> {
        nodes(&self.sim)
    }
}

/// From the top.
fn nodes(sim: &Sim) -> Result<Vec<u64>, String> {
    let (mut nodes, mut node) = (Vec::new(), sim.load(HEAD) & !DIRTY);
    while node != 0 {
        if !node.is_multiple_of(64) || node >= sim.len() || nodes.len() as u64 * 64 > sim.len() {
            return Err(format!("a link to {node:#x}"));
        }
        nodes.push(node);
        node = sim.load(node + 8);
    }
    Ok(nodes)
}

impl Scenario for ToyStack {
    type Model = Stack;
    type Instance = Opened;

    fn name(&self) -> &'static str {
        "toy-stack"
    }

    fn region_bytes(&self) -> u64 {
        8192
    }

    fn format(&self, _: &Arc<Sim>) -> Result<(), String> {
        Ok(())
    }

    fn empty(&self) -> Vec<u64> {
        Vec::new()
    }

    fn open(&self, sim: &Arc<Sim>) -> Result<Opened, Refused> {
        let head = sim.load(HEAD);
        if head & DIRTY != 0 {
            sim.store(HEAD, head & !DIRTY);
        }
        let used = nodes(sim).map_err(Refused::Other)?;
        let free = (1..sim.len() / 64).map(|node| node * NODES).filter(|node| !used.contains(node)).collect();
        Ok(Opened { sim: Arc::clone(sim), free, used: AtomicUsize::new(0) })
    }

    fn recovery_loads_max(&self) -> u64 {
        // It walks; a toy may.
        8192 / 64 + 2
    }

    fn threads(&self, rng: &mut Rng) -> usize {
        rng.usize(2..4)
    }

    fn plan(&self, rng: &mut Rng, thread: usize) -> Vec<Vec<(u32, Op)>> {
        let op = |rng: &mut Rng| if rng.u32(..3) == 0 { Op::Top } else { Op::Push(rng.u64(1..100)) };
        (0..rng.u32(1..5)).map(|_| vec![(thread as u32, op(rng))]).collect()
    }

    fn perform(
        &self,
        instance: &Opened,
        calls: &[Call<Stack>],
        respond: &mut dyn FnMut(usize, u64),
    ) -> Result<(), String> {
        for (at, call) in calls.iter().enumerate() {
            let result = match call.op {
                Op::Push(value) => instance.push(value).map(|()| 0)?,
                Op::Top => match instance.head() {
                    0 => 0,
                    node => instance.sim.load(node),
                },
            };
            respond(at, result);
        }
        Ok(())
    }

    fn read(&self, instance: &Opened) -> Result<Vec<u64>, String> {
        let mut nodes = instance.nodes()?;
        nodes.reverse();
        Ok(nodes.into_iter().map(|node| instance.sim.load(node)).collect())
    }

    fn check(&self, instance: &Opened, _: &Vec<u64>) -> Result<(), String> {
        let used = instance.nodes()?;
        let free = &instance.free[instance.used.load(Ordering::Relaxed).min(instance.free.len())..];
        match used.iter().find(|node| free.contains(node)) {
            Some(node) => Err(format!("node {node:#x} is linked and free")),
            None => Ok(()),
        }
    }
}
