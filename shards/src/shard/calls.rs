//! One call, from its session to its answer.

use super::{
    CallName, Context, Gone, Origin, Outbox, SessionId, SessionTerms, Shard,
    blocks::About,
    context::{Calling, slot_state},
    names::{self, ObjectRef},
    records::RecordKey,
    sessions::{Arrival, other_call},
};
use crate::{registry::RegisteredType, state::refuse};
use abide_net::{CallError, MethodKind, codec, frame::Call, route::check_key};
use abide_schema::{
    ObjectType, Progress,
    types::{object, shard},
};
use xxhash_rust::xxh3::Xxh3;

impl Shard {
    /// Makes a call exactly once: a call that was answered before gets the same answer, one that waits goes
    /// on waiting and answers where it was asked last.
    pub(super) fn call(
        &mut self,
        origin: Origin,
        session: SessionId,
        terms: SessionTerms,
        call: &Call<'_>,
        out: &mut Outbox,
    ) {
        let name = CallName { session, slot: call.slot, sequence: call.sequence, origin };
        if let Err(error) = self.try_call(name, terms, call, out) {
            out.reply(origin, call.slot, call.sequence, Err(&error));
        }
    }

    fn try_call(
        &mut self,
        name: CallName,
        terms: SessionTerms,
        call: &Call<'_>,
        out: &mut Outbox,
    ) -> Result<(), CallError> {
        let CallName { session, slot, sequence, origin } = name;
        let sessions = &mut self.ledger.sessions;
        sessions.enter(session, call.first, terms, self.now_us)?;
        let is_seeded = sessions.terms(session).is_some_and(|terms| terms.is_seeded);
        let fingerprint = is_seeded.then(|| fingerprint_of(call));
        let arrival = sessions.arrive(session, slot, sequence, fingerprint.unwrap_or(0))?;
        let record = RecordKey { session, slot, sequence, fingerprint };
        let behind = match arrival {
            Arrival::StillWaiting(waiter) => {
                self.ledger.waiters.redirect(waiter, origin);
                return Ok(());
            }
            Arrival::Answered { ok, body } => {
                out.reply_encoded(origin, slot, sequence, ok, &body);
                return Ok(());
            }
            Arrival::Recorded => {
                if self.answer_from_record(record, origin, out)? {
                    return Ok(());
                }
                return Err(CallError::Damaged { reason: "a recorded answer is gone".to_owned() });
            }
            Arrival::New { may_be_recorded, behind } => {
                if may_be_recorded && self.answer_from_record(record, origin, out)? {
                    return Ok(());
                }
                behind
            }
        };
        if let Some(waiter) = behind {
            self.end_wait(waiter, Gone::Cancelled, out);
        }
        self.ledger.sessions.take_slot(session, slot, sequence)?;
        self.execute(Calling { name, method: call.method, fingerprint }, call, out);
        Ok(())
    }

    /// Answers with what the persistent heap has recorded, if that is this call's.
    fn answer_from_record(
        &mut self,
        key: RecordKey,
        origin: Origin,
        out: &mut Outbox,
    ) -> Result<bool, CallError> {
        let Some(space) = &self.persistent else { return Ok(false) };
        let Some(record) = space.look(|block| space.books.answer(block, key))? else { return Ok(false) };
        if let Some(fingerprint) = key.fingerprint {
            if record.fingerprint != fingerprint {
                return Err(other_call(key.sequence));
            }
        } else if record.sequence > key.sequence {
            return Err(CallError::StaleSequence { last: record.sequence });
        } else if record.sequence < key.sequence {
            return Ok(false);
        }
        out.reply_encoded(origin, key.slot, key.sequence, record.ok, &record.body);
        Ok(true)
    }

    fn execute(&mut self, calling: Calling, call: &Call<'_>, out: &mut Outbox) {
        self.calls += 1;
        let mut result = std::mem::take(&mut self.result);
        result.clear();
        let made = self.dispatch(calling, call, &mut result, out);
        let (repeatable, recorded, progress) = match made {
            Ok(Made { kind, recorded, progress }) => (kind == MethodKind::Read, recorded, Ok(progress)),
            Err(error) => (false, false, Err(error)),
        };
        let (ok, body) = match progress {
            Ok(Progress::Waiting) => {
                self.result = result;
                return;
            }
            Ok(Progress::Done) => (true, &result[..]),
            Err(error) => {
                result = codec::encode(&error).expect("an error can be encoded");
                (false, &result[..])
            }
        };
        let CallName { session, slot, sequence, origin } = calling.name;
        let (ok, body) = out.reply_encoded(origin, slot, sequence, ok, body);
        if let Some(fingerprint) = calling.fingerprint {
            if !recorded {
                self.ledger.sessions.keep(session, (slot, sequence), fingerprint, ok, body);
            }
        } else if !repeatable {
            self.ledger.sessions.settle(session, slot, sequence, slot_state(recorded, ok, body));
        }
        self.result = result;
    }

    /// Finds whom the call is for and makes it.
    fn dispatch(
        &mut self,
        calling: Calling,
        call: &Call<'_>,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Made, CallError> {
        let done = |kind, progress| Made { kind, recorded: false, progress };
        if call.type_id == shard::Type::ID {
            let progress = shard::dispatch(self, &mut (), call.method, call.arguments, result)?;
            return Ok(done(MethodKind::Read, progress));
        }
        check_key(call.key)?;
        let known = *self.known(call.type_id)?;
        if object::INFO.method_by_id(call.method).is_some() {
            return self.call_about(calling, call, &known, result, out);
        }
        // Methods are numbered from 0 without holes in nearly every type, so the first guess is right.
        let methods = known.info.methods;
        let guess = methods.get(usize::from(call.method)).filter(|method| method.id == call.method);
        let Some(method) = guess.or_else(|| known.info.method_by_id(call.method)) else {
            let name = format!("{} method {}", known.info.name, call.method);
            return Err(CallError::NoSuchMethod { name });
        };
        let kind = method.kind;
        let found = self.find(call)?;
        let object = match found {
            Some(object) => object,
            None => {
                self.check_may_create(call)?;
                return self.create_and_call(calling, call, &known, kind, result, out);
            }
        };
        self.check_creation(object, call)?;
        let about = About {
            persistent: object.persistent,
            object: Some(object),
            key: call.key,
            calling: Some(calling),
            is_urgent: false,
        };
        let start = result.len();
        let made = self.run(about, out, |context| {
            result.truncate(start);
            invoke(context, &known, call, kind, result)
        });
        match made {
            Ok(made) => {
                self.wake_watchers(object, call.key, kind, out);
                Ok(made)
            }
            Err(error) => {
                self.record_error(about, kind, &error, out);
                Err(error)
            }
        }
    }

    /// Records that a call gave an error, which changed nothing: asked for again, also after a restart, it gets the same.
    fn record_error(&mut self, about: About<'_>, kind: MethodKind, error: &CallError, out: &mut Outbox) {
        let is_seeded = about.calling.is_some_and(|calling| calling.fingerprint.is_some());
        if !about.persistent || kind == MethodKind::Read && !is_seeded {
            return;
        }
        let recorded = self.run(About { is_urgent: true, ..about }, out, |context| {
            context.record_answer(false, &codec::encode(error)?)
        });
        if let Err(reason) = recorded {
            // A store that is full, for example. Ordinary memory has the answer as long as this run lasts.
            tracing::debug!(%reason, "an error is not recorded");
        }
    }

    /// The first call of an object that is to be made: both are one block.
    fn create_and_call(
        &mut self,
        calling: Calling,
        call: &Call<'_>,
        known: &RegisteredType,
        kind: MethodKind,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Made, CallError> {
        let persistent = self.wants_persistent(call)?;
        let about =
            About { persistent, object: None, key: call.key, calling: Some(calling), is_urgent: false };
        let start = result.len();
        let made = self.run(about, out, |context| {
            result.truncate(start);
            create(context, known, call)?;
            invoke(context, known, call, kind, result)
        });
        if let Err(error) = &made {
            self.record_error(about, kind, error, out);
        }
        made
    }

    /// The registered type of this number.
    pub(super) fn known(&self, type_id: u16) -> Result<&RegisteredType, CallError> {
        self.config
            .registry
            .get(type_id)
            .ok_or_else(|| CallError::NoSuchMethod { name: format!("object type {type_id}") })
    }

    /// The object that a call is for.
    pub(super) fn find(&mut self, call: &Call<'_>) -> Result<Option<ObjectRef>, CallError> {
        self.find_named(call.type_id, call.key, call.replicas)
    }

    /// An object by its name. It is in one space at most; `replicas` says where to look first.
    pub(super) fn find_named(
        &mut self,
        type_id: u16,
        key: &str,
        replicas: Option<u8>,
    ) -> Result<Option<ObjectRef>, CallError> {
        let ephemeral_first = !self.is_persistent_by(replicas);
        if ephemeral_first && let Some(found) = self.ephemeral.find(type_id, key)? {
            return Ok(Some(found));
        }
        if let Some(space) = &mut self.persistent
            && let Some(found) = space.find(type_id, key)?
        {
            return Ok(Some(found));
        }
        if ephemeral_first { Ok(None) } else { self.ephemeral.find(type_id, key) }
    }

    /// Whether a caller who wants so many replicas means a persistent object.
    fn is_persistent_by(&self, replicas: Option<u8>) -> bool {
        replicas.map_or(self.config.persistent_by_default, |replicas| replicas > 0)
    }

    /// An object that this caller has seen in an earlier epoch, and that is not there, is lost; it is not simply absent.
    pub(super) fn check_lost(&self, call: &Call<'_>) -> Result<(), CallError> {
        let was_ephemeral = !self.is_persistent_by(call.replicas);
        let lost = was_ephemeral && call.epoch != 0 && call.epoch != self.config.epoch;
        if lost { Err(CallError::Lost { epoch: call.epoch }) } else { Ok(()) }
    }

    fn check_may_create(&self, call: &Call<'_>) -> Result<(), CallError> {
        self.check_lost(call)?;
        if call.creation.is_none() { Err(CallError::NotFound) } else { Ok(()) }
    }

    /// In which space an object is to be made.
    pub(super) fn wants_persistent(&self, call: &Call<'_>) -> Result<bool, CallError> {
        match call.replicas {
            None => Ok(self.config.persistent_by_default),
            Some(0) => Ok(false),
            Some(_) if self.persistent.is_none() => Err(CallError::denied(
                "the store keeps no persistent objects: it was opened without a place for them",
            )),
            Some(1) => Ok(true),
            Some(more) => Err(CallError::bad_argument(format!("{more} replicas, but there is one node"))),
        }
    }

    /// A caller that insists on its creation arguments must find an object that was made with them, and where it wants it.
    pub(super) fn check_creation(&mut self, object: ObjectRef, call: &Call<'_>) -> Result<(), CallError> {
        let Some((creation, is_exact)) = call.creation else { return Ok(()) };
        let elsewhere = call.replicas.is_some_and(|replicas| (replicas > 0) != object.persistent);
        if !is_exact && !elsewhere {
            return Ok(());
        }
        let about = self.space(object.persistent).look(|block| names::About::read(block, object))?;
        if elsewhere || about.creation != creation {
            let info = self.known(object.type_id)?.info;
            let json = (info.creation_to_json)(&about.creation);
            let arguments =
                json.map_or_else(|_| "arguments that cannot be shown".to_owned(), |json| json.to_string());
            let kind = if object.persistent { "persistent" } else { "ephemeral" };
            let with = if elsewhere { format!("{arguments}, {kind}") } else { arguments };
            return Err(CallError::AlreadyExists { with });
        }
        Ok(())
    }
}

/// How a call went that was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) kind: MethodKind,
    /// Whether the persistent heap has its answer.
    pub(super) recorded: bool,
    pub(super) progress: Progress,
}

/// Calls an object's method in a block, and records the call there.
fn invoke(
    context: &mut Context<'_, '_>,
    known: &RegisteredType,
    call: &Call<'_>,
    kind: MethodKind,
    result: &mut Vec<u8>,
) -> Result<Made, CallError> {
    let object = context.object();
    let start = result.len();
    let progress = (known.call)(object.fields(), context, call.method, call.arguments, result)?;
    let waits = context.staged.begun.is_some();
    assert_eq!(progress == Progress::Waiting, waits, "a method waits exactly if it says so");
    if kind != MethodKind::Read {
        touch(context, object)?;
    }
    let recorded = record(context, kind, progress, &result[start..])?;
    Ok(Made { kind, recorded, progress })
}

/// Notes that an object was changed.
pub(super) fn touch(context: &mut Context<'_, '_>, object: ObjectRef) -> Result<(), CallError> {
    let now_us = context.now_us;
    object.head().update(context.block, |[version, _]| [version + 1, now_us]).map(drop).map_err(refuse)
}

/// Records the answer of a call that is done where that is to be found again: beside what it changed in a persistent object, or
/// what a seeded session saw of one.
pub(super) fn record(
    context: &mut Context<'_, '_>,
    kind: MethodKind,
    progress: Progress,
    body: &[u8],
) -> Result<bool, CallError> {
    let is_seeded = context.calling.is_some_and(|calling| calling.fingerprint.is_some());
    let recorded =
        context.persistent && progress == Progress::Done && (kind != MethodKind::Read || is_seeded);
    if recorded {
        context.record_answer(true, body)?;
    }
    Ok(recorded)
}

/// Makes the object that a call is for, in the context's space.
pub(super) fn create(
    context: &mut Context<'_, '_>,
    known: &RegisteredType,
    call: &Call<'_>,
) -> Result<ObjectRef, CallError> {
    let (creation, _) = call.creation.ok_or(CallError::NotFound)?;
    let mut name = Vec::new();
    names::name_of(call.type_id, call.key, &mut name);
    let (directory, persistent) = (context.directory, context.persistent);
    let count = names::OWN_FIELDS + known.fields;
    let bundle = directory.create(context.block, &name, count).map_err(refuse)?;
    let object = ObjectRef::new(persistent, call.type_id, bundle.expect("its name is free"));
    let about = names::About {
        created_us: context.now_us,
        expires_us: None,
        replicas: u8::from(persistent),
        creation: creation.to_vec(),
    };
    object.about().set(context.block, &about.encode()).map_err(refuse)?;
    let now_us = context.now_us;
    object.head().set(context.block, [0, now_us]).map_err(refuse)?;
    context.staged.object = Some(object);
    (known.create)(object.fields(), context, creation)?;
    Ok(object)
}

/// What a call is, in 64 bits, so that another call in its place is noticed.
fn fingerprint_of(call: &Call<'_>) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&call.type_id.to_le_bytes());
    hash.update(&call.method.to_le_bytes());
    if call.type_id == shard::Type::ID {
        hash.update(&call.shard.to_le_bytes());
    }
    hash.update(&(call.key.len() as u32).to_le_bytes());
    hash.update(call.key.as_bytes());
    hash.update(call.arguments);
    hash.digest()
}
