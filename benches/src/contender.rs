//! One system under test: its server, its objects, and what they must contain by now.

use crate::{
    load::{Generator, Measured, Waiting},
    plan::{Cell, Plan},
    server::Server,
    values::Values,
    wire::{self, Wire, abide::Abide, redis::Redis},
    workload::{Fill, Kind, Model, Random, ReadBack},
};
use anyhow::{Context as _, ensure};
use std::{path::Path, rc::Rc, time::Duration};

/// How deep the pipeline is that fills a server and reads it back.
const BULK_PIPELINE: usize = 100;

/// A system that can be measured.
pub(crate) trait Contender {
    /// What the report calls it.
    fn label(&self) -> &'static str;

    /// Its server's process.
    fn process(&self) -> u32;

    /// Measures one cell. The server's own count of calls must agree with what was measured.
    fn measure(&mut self, cell: &Cell, plan: &Plan) -> anyhow::Result<Measured>;

    /// Reads all objects back, and compares them with what all measurements together must have left there.
    /// Returns how many there are, and a hash of what they contain.
    fn read_back(&mut self) -> anyhow::Result<(usize, String)>;
}

/// How long a node polls that is measured as one that does.
const BUSY_POLL: Duration = Duration::from_micros(50);

/// All systems that this machine has, Abide first.
pub(crate) fn contenders(
    plan: &Plan,
    against: Option<&Path>,
    processor: usize,
) -> anyhow::Result<Vec<Box<dyn Contender>>> {
    let this = std::env::current_exe()?;
    let mut contenders: Vec<Box<dyn Contender>> =
        vec![abide("abide", &this, Duration::ZERO, plan, processor)?];
    if plan.busy_polling {
        contenders.push(abide("abide, polls 50 us", &this, BUSY_POLL, plan, processor)?);
    }
    if let Some(other) = against {
        contenders.push(abide("abide, other build", other, Duration::ZERO, plan, processor)?);
    }
    contenders.extend(redis(plan, processor)?);
    Ok(contenders)
}

fn abide(
    label: &'static str,
    program: &Path,
    busy_poll: Duration,
    plan: &Plan,
    processor: usize,
) -> anyhow::Result<Box<dyn Contender>> {
    let server = Server::abide(program, busy_poll, processor)?;
    let shards = wire::abide::shards(server.address())?;
    let values = Rc::new(Values::new());
    let prebuilt = wire::abide::Prebuilt::new(values.clone(), plan.keys, plan.multipliers, shards)?;
    let calls = |server: &Server, _| wire::abide::calls(server.address());
    let system = System::<Abide>::filled(
        label,
        server,
        prebuilt,
        Model::new(values, plan.keys, plan.multipliers),
        calls,
    );
    Ok(Box::new(system.context(label)?))
}

fn redis(plan: &Plan, processor: usize) -> anyhow::Result<Option<Box<dyn Contender>>> {
    let Some(server) = Server::redis(processor)? else { return Ok(None) };
    let values = Rc::new(Values::new());
    let prebuilt = wire::redis::Prebuilt::new(values.clone(), plan.keys, plan.multipliers, server.address())?;
    let calls = |server: &Server, kind| wire::redis::calls(server.address(), kind);
    let system = System::<Redis>::filled(
        "redis",
        server,
        prebuilt,
        Model::new(values, plan.keys, plan.multipliers),
        calls,
    );
    Ok(Some(Box::new(system.context("redis")?)))
}

/// A system that speaks `W`.
struct System<W: Wire> {
    label: &'static str,
    server: Server,
    prebuilt: Rc<W::Prebuilt>,
    model: Model,
    calls: fn(&Server, Kind) -> anyhow::Result<u64>,
    measurements: u64,
}

impl<W: Wire> System<W> {
    fn filled(
        label: &'static str,
        server: Server,
        prebuilt: W::Prebuilt,
        mut model: Model,
        calls: fn(&Server, Kind) -> anyhow::Result<u64>,
    ) -> anyhow::Result<System<W>> {
        let prebuilt = Rc::new(prebuilt);
        let generator = Generator::<W>::open(server.address(), &prebuilt, 1, BULK_PIPELINE, Waiting::Sleep)?;
        generator.finish(&mut Fill { model: &mut model, filled: 0 })?;
        Ok(System { label, server, prebuilt, model, calls, measurements: 0 })
    }

    fn open(&self, connections: usize, pipeline: usize, waiting: Waiting) -> anyhow::Result<Generator<W>> {
        Generator::open(self.server.address(), &self.prebuilt, connections, pipeline, waiting)
    }
}

impl<W: Wire> Contender for System<W> {
    fn label(&self) -> &'static str {
        self.label
    }

    fn process(&self) -> u32 {
        self.server.process()
    }

    fn measure(&mut self, cell: &Cell, plan: &Plan) -> anyhow::Result<Measured> {
        self.measurements += 1;
        let generator = self.open(cell.connections, cell.pipeline, cell.waiting)?;
        let before = (self.calls)(&self.server, cell.kind)?;
        let random = fastrand::Rng::with_seed(self.measurements);
        let places = cell.connections * cell.pipeline;
        let mut source = Random { model: &mut self.model, kind: cell.kind, places, random };
        let (measured, answers) =
            generator.measure(&mut source, (plan.warm_up, plan.measured), &self.server)?;
        let counted = (self.calls)(&self.server, cell.kind)? - before;
        // Asking the node for its count is a call too, which is not in the answer to the first question.
        let asking = counted.checked_sub(answers);
        ensure!(matches!(asking, Some(0 | 1)), "{answers} answers, but the server counted {counted} calls");
        Ok(measured)
    }

    fn read_back(&mut self) -> anyhow::Result<(usize, String)> {
        let generator = self.open(1, BULK_PIPELINE, Waiting::Sleep)?;
        let mut source = ReadBack::new(&mut self.model);
        generator.finish(&mut source)?;
        let (objects, hash) = source.finish()?;
        Ok((objects, format!("{hash:016x}")))
    }
}
