//! One random run: the same calls to a store and to the models, compared answer by answer.

use crate::{
    asked::{Asked, Generator, Style},
    model::{
        Answer, CallId, Session,
        world::{Answers, World},
    },
    stores::{Envelope, Store},
};
use abide_net::MethodKind;
use abide_schema::types::find_type_id;
use fastrand::Rng;
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// What becomes of sessions, and of calls that wait, when a store is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restarts {
    /// The store is not opened again.
    Never,
    /// They go on.
    GoOn,
    /// They end: the sessions were those of the process that had the store.
    End,
}

/// What a run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) types: &'a [u16],
    /// Steps for each type.
    pub(crate) steps: usize,
    pub(crate) style: Style,
    pub(crate) persistent: bool,
    pub(crate) restarts: Restarts,
    /// When the run begins, in microseconds.
    pub(crate) start_us: u64,
    /// How many calls a session makes at the same time.
    pub(crate) slots: usize,
}

/// Sessions at the same time.
const SESSIONS_MAX: usize = 4;

/// No two runs of this process share a session or a key: they may share a store.
static NAMES: AtomicU64 = AtomicU64::new(1);

pub(crate) fn new_name() -> u64 {
    NAMES.fetch_add(1, Ordering::Relaxed)
}

#[derive(Debug, Clone, Default)]
struct Slot {
    sequence: u64,
    newest: Option<Envelope>,
    told: Option<Answer>,
}

pub(crate) struct Run<'a> {
    plan: Plan<'a>,
    rng: Rng,
    store: &'a mut dyn Store,
    worlds: Vec<World>,
    keys: Vec<String>,
    creations: Vec<Vec<u8>>,
    sessions: BTreeMap<Session, Vec<Slot>>,
    /// Calls that are not answered: the object that they are for.
    open: BTreeMap<CallId, (usize, Envelope)>,
    calls: u64,
    now_us: u64,
    /// What happened, and to which object; nothing for all.
    log: Vec<(Option<usize>, String)>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        seed: u64,
        plan: Plan<'a>,
        store: &'a mut dyn Store,
        alter: impl Fn(World) -> World,
    ) -> Run<'a> {
        let mut rng = Rng::with_seed(seed);
        let mut creations = Vec::new();
        for &type_id in plan.types {
            let mut generator = Generator { rng: &mut rng, style: plan.style, hints: Default::default() };
            creations.push(generator.creation(type_id));
        }
        let worlds = plan.types.iter().zip(&creations);
        let worlds = worlds.map(|(&type_id, creation)| alter(World::new(type_id, creation, plan.start_us)));
        Run {
            plan,
            store,
            worlds: worlds.collect(),
            keys: plan.types.iter().map(|_| format!("key {}", new_name())).collect(),
            creations,
            sessions: BTreeMap::new(),
            open: BTreeMap::new(),
            calls: 0,
            now_us: plan.start_us,
            log: Vec::new(),
            rng,
        }
    }

    /// Runs to the end, or to the first difference.
    pub(crate) fn run(mut self) -> Result<(), String> {
        let steps = self.plan.steps * self.plan.types.len();
        let restart_at = steps / 3 + self.rng.usize(..steps / 3 + 1);
        for step in 0..steps {
            if step == restart_at && self.plan.restarts != Restarts::Never {
                self.restart()?;
            }
            match self.rng.u32(..100) {
                0..4 => self.cancel()?,
                4 if self.rng.bool() => self.expire()?,
                4 => self.end_session()?,
                5..9 => self.retry()?,
                9..22 if self.plan.style == Style::Exact => self.pass_time()?,
                _ => self.call()?,
            }
        }
        while let Some(&session) = self.sessions.keys().next() {
            self.end_this(session)?;
        }
        // Whatever was answered and should not have been shows by now.
        self.settle(Answers::new())
    }

    fn note(&mut self, world: Option<usize>, line: String) {
        self.log.push((world, line));
    }

    /// The shortest beginning of the run that shows the difference, as far as it is about one object.
    fn difference(&self, world: Option<usize>, what: &str) -> String {
        let named = world.map_or("?", |world| find_type_id(self.plan.types[world]).expect("built in").name);
        let creation = world.map(|world| {
            let info = find_type_id(self.plan.types[world]).expect("built in");
            (info.creation_to_json)(&self.creations[world])
                .map_or_else(|e| e.to_string(), |json| json.to_string())
        });
        let mut text = format!("{named}, created with {}\n", creation.unwrap_or_default());
        let mut shown: Vec<&String> = Vec::new();
        for (about, line) in &self.log {
            if world.is_none() || about.is_none() || *about == world {
                shown.push(line);
            }
        }
        for line in shown {
            text.push_str("  ");
            text.push_str(line);
            text.push('\n');
        }
        text + what
    }

    fn show(&self, world: usize, call: CallId, answer: &Answer) -> String {
        let asked = &self.open.get(&call).expect("it is open").1.asked;
        let _ = world;
        match answer {
            Ok(body) => asked.show(body),
            Err(error) => format!("{error:?}"),
        }
    }

    /// Compares what the store says with what the models say.
    fn settle(&mut self, mut expected: Answers) -> Result<(), String> {
        let mut told = self.store.answers(expected.len());
        expected.sort_by_key(|(call, _)| *call);
        told.sort_by_key(|(call, _)| *call);
        let mut told = told.into_iter().peekable();
        for (call, expected) in expected {
            let Some((world, envelope)) = self.open.get(&call).cloned() else {
                let what = format!("call {} is answered by the model, and does not wait", call.0);
                return Err(self.difference(None, &what));
            };
            let wanted = self.show(world, call, &expected);
            if let Some((other, answer)) = told.next_if(|(other, _)| *other < call) {
                return Err(self.unexpected(other, &answer));
            }
            let Some((_, answer)) = told.next_if(|(other, _)| *other == call) else {
                let what = format!("call {} is not answered, and should be: {wanted}", call.0);
                return Err(self.difference(Some(world), &what));
            };
            let got = self.show(world, call, &answer);
            self.note(Some(world), format!("   {} -> {got}", call.0));
            if let Err(why) = self.worlds[world].accept(&envelope.asked, &expected, &answer) {
                let what = format!("call {} is told {got}\n        and should be {wanted} {why}", call.0);
                return Err(self.difference(Some(world), &what));
            }
            self.open.remove(&call);
            if let Some(slots) = self.sessions.get_mut(&envelope.session) {
                slots[envelope.slot as usize].told = Some(answer);
            }
        }
        match told.next() {
            Some((call, answer)) => Err(self.unexpected(call, &answer)),
            None => Ok(()),
        }
    }

    fn unexpected(&self, call: CallId, answer: &Answer) -> String {
        match self.open.get(&call) {
            Some((world, _)) => {
                let got = self.show(*world, call, answer);
                self.difference(
                    Some(*world),
                    &format!("call {} is told {got}\n        and should wait", call.0),
                )
            }
            None => self.difference(None, &format!("call {} is answered twice: {answer:?}", call.0)),
        }
    }

    fn some_session(&mut self) -> Session {
        let alive: Vec<Session> = self.sessions.keys().copied().collect();
        if alive.is_empty() || alive.len() < SESSIONS_MAX && self.rng.u32(..10) == 0 {
            let session = new_name();
            self.store.begin(session);
            self.sessions.insert(session, vec![Slot::default(); self.plan.slots]);
            return session;
        }
        alive[self.rng.usize(..alive.len())]
    }

    fn call(&mut self) -> Result<(), String> {
        let session = self.some_session();
        let world = self.rng.usize(..self.worlds.len());
        let mut hints = self.worlds[world].hints();
        // Every other time it is somebody who can do something with what it holds.
        let holder = hints.holder.filter(|(holder, _)| self.sessions.contains_key(holder) && self.rng.bool());
        hints.holder = holder;
        let session = holder.map_or(session, |(holder, _)| holder);
        let mut generator = Generator { rng: &mut self.rng, style: self.plan.style, hints };
        let asked = generator.call(self.plan.types[world]);
        self.make(session, world, asked)
    }

    /// Makes a call, if its session has a slot for it.
    fn make(&mut self, session: Session, world: usize, asked: Asked) -> Result<(), String> {
        let slots = self.sessions.get_mut(&session).expect("it is there");
        let busy = |slot: &Slot| slot.newest.is_some() && slot.told.is_none();
        let free: Vec<usize> = (0..slots.len()).filter(|&slot| !busy(&slots[slot])).collect();
        if free.is_empty() {
            return Ok(());
        }
        let slot = free[self.rng.usize(..free.len())];
        slots[slot].sequence += 1 + self.rng.u64(..2);
        self.calls += 1;
        let call = CallId(self.calls);
        let envelope = Envelope {
            call,
            session,
            slot: slot as u32,
            sequence: slots[slot].sequence,
            key: self.keys[world].clone(),
            creation: self.creations[world].clone(),
            replicas: u8::from(self.plan.persistent),
            asked,
        };
        (slots[slot].newest, slots[slot].told) = (Some(envelope.clone()), None);
        self.note(Some(world), format!("{:>4} session {session}: {}", call.0, envelope.asked.text));
        let expected = self.worlds[world].call(session, call, &envelope.asked);
        self.open.insert(call, (world, envelope.clone()));
        self.store.start(&envelope);
        self.settle(expected)
    }

    fn some_open(&mut self) -> Option<(usize, Envelope)> {
        let open: Vec<&(usize, Envelope)> = self.open.values().collect();
        if open.is_empty() { None } else { Some(open[self.rng.usize(..open.len())].clone()) }
    }

    fn cancel(&mut self) -> Result<(), String> {
        let Some((world, envelope)) = self.some_open() else { return Ok(()) };
        self.note(Some(world), format!("     cancel {}", envelope.call.0));
        let mut expected = self.worlds[world].cancel(envelope.call);
        if !self.store.cancel(&envelope) {
            expected.retain(|(call, _)| *call != envelope.call);
            self.open.remove(&envelope.call);
            self.sessions.get_mut(&envelope.session).expect("it is there")[envelope.slot as usize].newest =
                None;
        }
        self.settle(expected)
    }

    fn end_session(&mut self) -> Result<(), String> {
        let alive: Vec<Session> = self.sessions.keys().copied().collect();
        if alive.is_empty() {
            return Ok(());
        }
        let chosen = alive[self.rng.usize(..alive.len())];
        self.end_this(chosen)
    }

    /// Nothing is heard of a session for so long that its lease ends.
    fn expire(&mut self) -> Result<(), String> {
        let alive: Vec<Session> = self.sessions.keys().copied().collect();
        if alive.is_empty() {
            return Ok(());
        }
        let session = alive[self.rng.usize(..alive.len())];
        let Some(ends_us) = self.store.expire(session) else { return Ok(()) };
        self.note(None, format!("     the lease of session {session} ends, at {ends_us} us"));
        let passes = |world: &mut World| {
            let mut answers = world.pass_until(ends_us);
            answers.extend(world.end_session(session));
            answers
        };
        let expected: Answers = self.worlds.iter_mut().flat_map(passes).collect();
        self.now_us = ends_us;
        self.sessions.remove(&session);
        self.settle(expected)
    }

    fn end_this(&mut self, session: Session) -> Result<(), String> {
        self.note(None, format!("     session {session} ends"));
        let mut expected: Answers =
            self.worlds.iter_mut().flat_map(|world| world.end_session(session)).collect();
        if !self.store.end(session) {
            let own =
                |call: &CallId| self.open.get(call).is_some_and(|(_, envelope)| envelope.session == session);
            expected.retain(|(call, _)| !own(call));
            self.open.retain(|_, (_, envelope)| envelope.session != session);
        }
        self.sessions.remove(&session);
        self.settle(expected)
    }

    /// A call that was made is made again: it is not made twice.
    fn retry(&mut self) -> Result<(), String> {
        let slots = self.sessions.values().flatten();
        let made: Vec<&Slot> = slots
            .filter(|slot| slot.newest.as_ref().is_some_and(|newest| newest.asked.kind != MethodKind::Read))
            .collect();
        if made.is_empty() {
            return Ok(());
        }
        let Slot { newest, told, .. } = made[self.rng.usize(..made.len())].clone();
        let envelope = newest.expect("it was filtered");
        let world = self.keys.iter().position(|key| *key == envelope.key);
        if !self.store.retry(&envelope) {
            return Ok(());
        }
        self.note(world, format!("     call {} again", envelope.call.0));
        let Some(told) = told else {
            // It waits, and goes on waiting in its place.
            return self.settle(Answers::new());
        };
        let again = self.store.answers(1);
        match &again[..] {
            [(call, answer)] if *call == envelope.call && *answer == told => Ok(()),
            other => {
                let what = format!("call {} was told {told:?}, and now {other:?}", envelope.call.0);
                Err(self.difference(world, &what))
            }
        }
    }

    fn pass_time(&mut self) -> Result<(), String> {
        let next_us = self.worlds.iter().filter_map(World::next_us).min();
        let by_us = match self.rng.u32(..4) {
            0 => self.rng.u64(..50_000),
            1 => self.rng.u64(..3_000),
            _ => next_us.map_or(1_000, |next_us| next_us.saturating_sub(self.now_us).min(60_000)),
        };
        self.now_us += by_us;
        self.note(None, format!("     time passes, by {by_us} us"));
        let now_us = self.now_us;
        let expected = self.worlds.iter_mut().flat_map(|world| world.pass_until(now_us)).collect();
        self.store.pass_until(now_us);
        self.settle(expected)
    }

    fn restart(&mut self) -> Result<(), String> {
        if self.plan.restarts == Restarts::End {
            // In which order sessions end with their process is nobody's business: one is left to end so.
            let mut alive: Vec<Session> = self.sessions.keys().copied().collect();
            self.rng.shuffle(&mut alive);
            alive.pop();
            alive.into_iter().try_for_each(|session| self.end_this(session))?;
        }
        let in_order = self.rng.bool();
        self.note(
            None,
            format!(
                "     the store ends{}, and is opened again",
                if in_order { "" } else { " out of order" }
            ),
        );
        let waiting: Vec<Envelope> = self.open.values().map(|(_, envelope)| envelope.clone()).collect();
        self.store.restart(in_order, &waiting);
        // What changed nothing is not recorded: no copy of it is under way any more, so nobody who was answered asks again.
        for slot in self.sessions.values_mut().flatten() {
            let about = slot.newest.as_ref().is_some_and(|newest| newest.asked.method >= 0xff00);
            if slot.told.is_some() && about || matches!(slot.told, Some(Err(_))) {
                (slot.newest, slot.told) = (None, None);
            }
        }
        if self.plan.restarts == Restarts::End {
            for session in std::mem::take(&mut self.sessions).into_keys() {
                for world in &mut self.worlds {
                    world.end_session(session);
                }
            }
            self.open.clear();
        }
        self.settle(Answers::new())
    }
}

impl Run<'_> {
    /// The same for one object, created with these arguments.
    pub(crate) fn created_with(mut self, creation: Vec<u8>) -> Self {
        self.worlds = vec![World::new(self.plan.types[0], &creation, self.plan.start_us)];
        self.creations = vec![creation];
        self
    }

    fn by_pairs(&mut self, calls: Vec<Asked>) -> Result<(), String> {
        for pair in calls.chunks(2) {
            let session = self.some_session();
            pair.iter().try_for_each(|asked| self.make(session, 0, asked.clone()))?;
        }
        Ok(())
    }

    /// Makes these calls, each two by one of the sessions, and what comes of them; then the end of the store and the calls of
    /// the second part. Says how many waited in between.
    pub(crate) fn script(mut self, before: Vec<Asked>, after: Vec<Asked>) -> Result<usize, String> {
        self.by_pairs(before)?;
        let gathered = self.open.len();
        if self.plan.restarts != Restarts::Never {
            self.restart()?;
        }
        self.by_pairs(after)?;
        while let Some(&session) = self.sessions.keys().next() {
            self.end_this(session)?;
        }
        self.settle(Answers::new())?;
        Ok(gathered)
    }
}
