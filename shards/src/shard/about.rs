//! Calls that every object answers, whatever its type.

use super::{
    Context, ObjectRef, Outbox, Shard,
    blocks::About,
    calls::{Made, create, record},
    context::Calling,
    names::{self, parse_name},
    records::expiry_key,
};
use crate::{registry::RegisteredType, state::refuse};
use abide_net::{CallError, MethodKind, codec, frame::Call};
use abide_pmem::types::visit_root;
use abide_schema::{Method, ObjectInfo, Progress, types::object};
use serde::{Serialize, de::DeserializeOwned};

impl Shard {
    /// Makes a call that every object answers.
    pub(super) fn call_about(
        &mut self,
        calling: Calling,
        call: &Call<'_>,
        known: &RegisteredType,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Made, CallError> {
        let done = |kind| Made { kind, recorded: false, progress: Progress::Done };
        match call.method {
            object::Exists::ID => {
                let object::Exists {} = arguments(call)?;
                let exists = self.find(call)?.is_some();
                if !exists {
                    self.check_lost(call)?;
                }
                codec::encode_into(&exists, result)?;
                Ok(done(MethodKind::Read))
            }
            object::Info::ID => {
                let object::Info {} = arguments(call)?;
                let info = self.info_of(call, known)?;
                codec::encode_into(&info, result)?;
                Ok(done(MethodKind::Read))
            }
            object::Create::ID => {
                let object::Create {} = arguments(call)?;
                if let Some(object) = self.find(call)? {
                    self.check_creation(object, call)?;
                    codec::encode_into(&false, result)?;
                    // A late second copy of this call must not create it, should it have been deleted meanwhile.
                    return Ok(done(MethodKind::Write));
                }
                if call.creation.is_none() {
                    return Err(CallError::bad_argument("arguments to create with"));
                }
                let persistent = self.wants_persistent(call)?;
                let about = About {
                    persistent,
                    object: None,
                    key: call.key,
                    calling: Some(calling),
                    is_urgent: false,
                };
                self.run(about, out, |context| {
                    create(context, known, call)?;
                    finish(context, &true, result)
                })
            }
            object::Delete::ID => {
                let object::Delete {} = arguments(call)?;
                let Some(object) = self.find(call)? else {
                    self.check_lost(call)?;
                    codec::encode_into(&false, result)?;
                    return Ok(done(MethodKind::Write));
                };
                let about = About { calling: Some(calling), ..About::object(object, call.key) };
                let made = self.run(about, out, |context| {
                    remove(context, object)?;
                    finish(context, &true, result)
                })?;
                self.end_waits_of(object, &CallError::Broken, out);
                Ok(made)
            }
            object::ExpireIn::ID => {
                let object::ExpireIn { ms } = arguments(call)?;
                let at_us = self.now_us.saturating_add(ms.saturating_mul(1_000)).max(1);
                self.set_expiry(calling, call, Some(at_us), result, out)
            }
            object::Persist::ID => {
                let object::Persist {} = arguments(call)?;
                self.set_expiry(calling, call, None, result, out)
            }
            object::Watch::ID => self.watch(calling, call, result, out),
            other => Err(CallError::NoSuchMethod { name: format!("{} method {other}", known.info.name) }),
        }
    }

    /// The object of a call, or why there is none.
    fn expect(&mut self, call: &Call<'_>) -> Result<ObjectRef, CallError> {
        match self.find(call)? {
            Some(object) => Ok(object),
            None => self.check_lost(call).and(Err(CallError::NotFound)),
        }
    }

    fn info_of(&mut self, call: &Call<'_>, known: &RegisteredType) -> Result<ObjectInfo, CallError> {
        let object = self.expect(call)?;
        let waiters = self.ledger.waiters.count_of(object) as u64;
        let space = self.space(object.persistent);
        space.look(|block| {
            let about = names::About::read(block, object)?;
            let [version, changed_us] = object.head().get(block).map_err(refuse)?;
            let mut bytes = u64::from(object.count) * abide_pmem::types::ROOT_BYTES;
            for field in 0..object.count {
                let root = object.at + u64::from(field) * abide_pmem::types::ROOT_BYTES;
                visit_root(block, root, &mut |owned| bytes += owned.bytes).map_err(refuse)?;
            }
            Ok(ObjectInfo {
                type_name: known.info.name.to_owned(),
                key: call.key.to_owned(),
                bytes,
                created_unix_ms: about.created_us / 1_000,
                last_call_unix_ms: changed_us / 1_000,
                version,
                waiters,
                replicas: u32::from(about.replicas.max(1)),
                persistent: object.persistent,
                expires_unix_ms: about.expires_us.map(|at_us| at_us / 1_000),
            })
        })
    }

    /// Sets or ends the expiry of an object. Says whether it had one.
    fn set_expiry(
        &mut self,
        calling: Calling,
        call: &Call<'_>,
        at_us: Option<u64>,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Made, CallError> {
        let object = self.expect(call)?;
        let about = About { calling: Some(calling), is_urgent: false, ..About::object(object, call.key) };
        let made = self.run(about, out, |context| {
            let had_one = change_expiry(context, object, at_us)?;
            finish(context, &had_one, result)
        })?;
        self.look_for_expiry(object.persistent);
        Ok(made)
    }

    /// Waits for a version above one that the caller has seen.
    fn watch(
        &mut self,
        calling: Calling,
        call: &Call<'_>,
        result: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Result<Made, CallError> {
        let object::Watch { version: seen, timeout_ms } = arguments(call)?;
        let object = self.expect(call)?;
        let about = About { calling: Some(calling), is_urgent: false, ..About::object(object, call.key) };
        self.run(about, out, |context| {
            let [version, _] = object.head().get(&*context.block).map_err(refuse)?;
            if version > seen {
                return finish(context, &version, result);
            }
            context.begin_watch(seen, timeout_ms)?;
            Ok(Made { kind: MethodKind::Wait, recorded: false, progress: Progress::Waiting })
        })
    }

    /// Deletes an object that nobody called. Says whether it was there.
    pub(super) fn delete_named(
        &mut self,
        persistent: bool,
        type_id: u16,
        key: &str,
        out: &mut Outbox,
    ) -> Result<bool, CallError> {
        let found = self.find_named(type_id, key, Some(u8::from(persistent)))?;
        let Some(object) = found.filter(|object| object.persistent == persistent) else { return Ok(false) };
        self.run(About::object(object, key), out, |context| remove(context, object))?;
        self.end_waits_of(object, &CallError::Broken, out);
        Ok(true)
    }
}

fn arguments<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, CallError> {
    Ok(codec::decode(call.arguments)?)
}

/// Encodes the result of a call, and records it in the block.
fn finish<T: Serialize>(
    context: &mut Context<'_, '_>,
    result: &T,
    out: &mut Vec<u8>,
) -> Result<Made, CallError> {
    // The block may run again.
    out.clear();
    codec::encode_into(result, out)?;
    let recorded = record(context, MethodKind::Write, Progress::Done, out)?;
    Ok(Made { kind: MethodKind::Write, recorded, progress: Progress::Done })
}

/// Takes an object out of its space.
pub(super) fn remove(context: &mut Context<'_, '_>, object: ObjectRef) -> Result<(), CallError> {
    context.block.set_urgent();
    // An object that cannot be read any more can be deleted all the same.
    if names::About::read(&*context.block, object).is_ok_and(|about| about.expires_us.is_some()) {
        change_expiry(context, object, None)?;
    }
    let mut name = Vec::new();
    names::name_of(object.type_id, context.key, &mut name);
    let directory = context.directory;
    directory.remove(context.block, &name).map_err(refuse)?;
    context.staged.removed = true;
    Ok(())
}

/// Sets or ends an object's expiry. Says whether it had one.
fn change_expiry(
    context: &mut Context<'_, '_>,
    object: ObjectRef,
    at_us: Option<u64>,
) -> Result<bool, CallError> {
    let mut about = names::About::read(&*context.block, object)?;
    let mut name = Vec::new();
    names::name_of(object.type_id, context.key, &mut name);
    debug_assert!(parse_name(&name).is_ok());
    let expiries = context.books.expiries;
    let before = std::mem::replace(&mut about.expires_us, at_us);
    if let Some(before_us) = before {
        expiries.remove(context.block, &expiry_key(before_us, &name)).map_err(refuse)?;
    }
    if let Some(at_us) = at_us {
        expiries.insert(context.block, &expiry_key(at_us, &name), &[]).map_err(refuse)?;
    }
    object.about().set(context.block, &about.encode()).map_err(refuse)?;
    Ok(before.is_some())
}
