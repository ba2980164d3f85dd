//! One call, from its session to its answer.

use super::{
    CallName, Context, Gone, ObjectRef, Origin, Outbox, SessionId, Shard,
    sessions::{Arrival, SlotState},
};
use abide_net::{CallError, MethodKind, codec, frame::Call, limits::PAGE_ENTRIES_MAX, route::check_key};
use abide_schema::{
    Method, ObjectInfo, ObjectName, ObjectType, Page, Progress, ShardInfo,
    types::{object, shard},
};

impl Shard {
    /// Makes a call exactly once: a call that was answered before gets the same answer, one that waits goes
    /// on waiting and answers where it was asked last.
    pub(super) fn call(
        &mut self,
        origin: Origin,
        session: SessionId,
        lease_us: u64,
        call: &Call<'_>,
        out: &mut Outbox,
    ) {
        let name = CallName { session, slot: call.slot, sequence: call.sequence, origin };
        let sessions = &mut self.surroundings.sessions;
        let arrival = sessions
            .enter(session, call.first, lease_us, self.now_us)
            .and_then(|()| sessions.arrive(session, call.slot, call.sequence));
        match arrival {
            Err(error) => {
                out.reply(origin, call.slot, call.sequence, Err(&error));
            }
            Ok(Arrival::New) => self.execute(name, call, out),
            Ok(Arrival::NewBehind(waiter)) => {
                self.end_wait(waiter, Gone::Cancelled, out);
                self.execute(name, call, out);
            }
            Ok(Arrival::StillWaiting(waiter)) => self.surroundings.waiters.redirect(waiter, origin),
            Ok(Arrival::Answered { ok: true, body }) => {
                out.reply(origin, call.slot, call.sequence, Ok(&body));
            }
            Ok(Arrival::Answered { ok: false, body }) => {
                let error = codec::decode(&body).expect("the shard encoded it");
                out.reply(origin, call.slot, call.sequence, Err(&error));
            }
        }
    }

    fn execute(&mut self, name: CallName, call: &Call<'_>, out: &mut Outbox) {
        self.calls += 1;
        let mut result = std::mem::take(&mut self.result);
        result.clear();
        let (kind, progress) = self.dispatch(name, call, &mut result, out);
        let answer = match progress {
            Ok(Progress::Waiting) => None,
            Ok(Progress::Done) => Some(Ok(&result[..])),
            Err(ref error) => Some(Err(error)),
        };
        if let Some(answer) = answer {
            let reply = out.reply(name.origin, name.slot, name.sequence, answer).clone();
            if kind != MethodKind::Read {
                let state = SlotState::Done { ok: reply.ok, body: out.body(&reply).into() };
                self.surroundings.sessions.settle(name.session, name.slot, name.sequence, state);
            }
        }
        self.result = result;
    }

    /// Finds whom the call is for and makes it.
    fn dispatch(
        &mut self,
        name: CallName,
        call: &Call<'_>,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> (MethodKind, Result<Progress, CallError>) {
        if call.type_id == shard::Type::ID {
            return (MethodKind::Read, shard::dispatch(self, &mut (), call.method, call.arguments, result));
        }
        let known = match check_key(call.key).and_then(|()| self.directory.known(call.type_id)) {
            Ok(known) => known,
            Err(error) => return (MethodKind::Read, Err(error)),
        };
        if let Some(method) = object::INFO.method_by_id(call.method) {
            let mut about = AboutObject { shard: self, call, out };
            let progress = object::dispatch(&mut about, &mut (), call.method, call.arguments, result);
            return (method.kind, progress);
        }
        // Methods are numbered from 0 without holes in nearly every type, so the first guess is right.
        let methods = known.info.methods;
        let guess = methods.get(usize::from(call.method)).filter(|method| method.id == call.method);
        let Some(method) = guess.or_else(|| known.info.method_by_id(call.method)) else {
            let name = format!("{} method {}", known.info.name, call.method);
            return (MethodKind::Read, Err(CallError::NoSuchMethod { name }));
        };
        let kind = method.kind;
        (
            kind,
            self.find_or_create(call).and_then(|object| self.invoke(object, kind, name, call, result, out)),
        )
    }

    fn invoke(
        &mut self,
        object_ref: ObjectRef,
        kind: MethodKind,
        name: CallName,
        call: &Call<'_>,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Progress, CallError> {
        let last_waiter = self.surroundings.waiters.last();
        let entry = self.directory.by_ref(object_ref).expect("it was just found");
        entry.last_call_us = self.now_us;
        entry.version += u64::from(kind != MethodKind::Read);
        let mut context = Context {
            now_us: self.now_us,
            caller: Some(name),
            object: object_ref,
            surroundings: &mut self.surroundings,
            out,
        };
        let progress = entry.guarded(|object| object.call(&mut context, call.method, call.arguments, result));
        let waiter = self.surroundings.waiters.newer_than(last_waiter);
        match (&progress, waiter) {
            (Ok(Progress::Waiting), Some(waiter)) => {
                let state = SlotState::Waiting(waiter);
                self.surroundings.sessions.settle(name.session, name.slot, name.sequence, state);
            }
            (Ok(Progress::Done) | Err(_), None) => {}
            // A method that panicked after it began to wait: this call is answered as others are, by its end.
            (Err(CallError::MethodPanicked { .. }), Some(waiter)) => {
                self.surroundings.waiters.remove(waiter);
            }
            _ => panic!("a method waits exactly if it says so: {progress:?}, {waiter:?}"),
        }
        if let Err(error @ CallError::MethodPanicked { .. }) = &progress {
            self.end_waits_of(object_ref.serial, error, out);
        }
        progress
    }

    fn find_or_create(&mut self, call: &Call<'_>) -> Result<ObjectRef, CallError> {
        let Some(found) = self.directory.find(call.type_id, call.key) else {
            if call.epoch != 0 && call.epoch != self.config.epoch {
                return Err(CallError::Lost { epoch: call.epoch });
            }
            let (creation, _) = call.creation.ok_or(CallError::NotFound)?;
            return self.directory.create(call.type_id, call.key, creation, self.now_us);
        };
        self.check_creation(found, call)?;
        Ok(found)
    }

    /// A caller that insists on its creation arguments must find an object that was made with them.
    fn check_creation(&mut self, object: ObjectRef, call: &Call<'_>) -> Result<(), CallError> {
        let entry = self.directory.by_ref(object).expect("it was just found");
        match call.creation {
            Some((creation, true)) if *creation != *entry.creation => {
                Err(CallError::AlreadyExists { with: entry.creation_text() })
            }
            _ => Ok(()),
        }
    }
}

/// Calls that every object answers, whatever its type.
struct AboutObject<'a> {
    shard: &'a mut Shard,
    call: &'a Call<'a>,
    out: &'a mut Outbox,
}

impl AboutObject<'_> {
    fn find(&self) -> Option<ObjectRef> {
        self.shard.directory.find(self.call.type_id, self.call.key)
    }

    /// An object that this caller has seen, and that is gone with an earlier epoch, is not just absent.
    fn check_lost(&self) -> Result<(), CallError> {
        let lost = self.call.epoch != 0 && self.call.epoch != self.shard.config.epoch;
        if lost { Err(CallError::Lost { epoch: self.call.epoch }) } else { Ok(()) }
    }
}

impl object::Methods<()> for AboutObject<'_> {
    fn exists(&mut self, (): &mut ()) -> Result<bool, CallError> {
        match self.find() {
            Some(_) => Ok(true),
            None => self.check_lost().map(|()| false),
        }
    }

    fn create(&mut self, (): &mut ()) -> Result<bool, CallError> {
        if let Some(found) = self.find() {
            self.shard.check_creation(found, self.call)?;
            return Ok(false);
        }
        let (creation, _) =
            self.call.creation.ok_or_else(|| CallError::bad_argument("arguments to create with"))?;
        self.shard.directory.create(self.call.type_id, self.call.key, creation, self.shard.now_us)?;
        Ok(true)
    }

    fn delete(&mut self, (): &mut ()) -> Result<bool, CallError> {
        let Some(entry) = self.find().and_then(|found| self.shard.directory.remove(found)) else {
            return self.check_lost().map(|()| false);
        };
        self.shard.end_waits_of(entry.serial, &CallError::Broken, self.out);
        Ok(true)
    }

    fn info(&mut self, (): &mut ()) -> Result<ObjectInfo, CallError> {
        let Some(found) = self.find() else { return self.check_lost().and(Err(CallError::NotFound)) };
        let waiters = self.shard.surroundings.waiters.of(found.serial).len();
        let entry = self.shard.directory.by_ref(found).expect("it was just found");
        Ok(ObjectInfo {
            type_name: entry.info.name.to_owned(),
            key: entry.name.key.clone(),
            bytes: entry.object().bytes() as u64,
            created_unix_ms: entry.created_us / 1_000,
            last_call_unix_ms: entry.last_call_us / 1_000,
            version: entry.version,
            waiters: waiters as u64,
            replicas: 1,
            persistent: false,
        })
    }
}

impl shard::Methods<()> for Shard {
    fn list_objects(
        &mut self,
        (): &mut (),
        type_id: Option<u16>,
        prefix: Option<String>,
        cursor: u64,
        limit: u32,
    ) -> Result<Page<ObjectName, u64>, CallError> {
        let limit = limit.clamp(1, PAGE_ENTRIES_MAX) as usize;
        Ok(self.directory.page(type_id, prefix.as_deref().unwrap_or_default(), cursor, limit))
    }

    fn info(&mut self, (): &mut ()) -> Result<ShardInfo, CallError> {
        Ok(ShardInfo {
            shard: self.config.shard,
            objects: self.directory.len() as u64,
            sessions: self.surroundings.sessions.len() as u64,
            waiters: self.surroundings.waiters.len() as u64,
            calls: self.calls,
            epoch: self.config.epoch,
            program: concat!("abide ", env!("CARGO_PKG_VERSION")).to_owned(),
            uptime_ms: (self.now_us - self.config.started_us) / 1_000,
        })
    }
}

const _: () = assert!(<object::Delete as Method>::ID >= 0xff00);
