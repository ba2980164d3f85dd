//! Calls by name, with arguments and results in JSON: for command lines and other languages.

use super::{Store, known_type};
use abide_net::{CallError, Creation, Request, route::check_key};
use abide_schema::{Method, MethodInfo, TypeInfo, types::object};
use serde_json::Value as Json;

impl Store {
    /// Calls a method by its name, with its arguments in order; optional ones at the end may be left out.
    ///
    /// Methods that every object has (`exists`, `info`, `create`, `delete`) can be called on each type.
    /// Without `creation` an absent object is created with its type's defaults, if it has such; with it, as
    /// by a handle with arguments. `replicas` says on how many nodes the object shall live, 0 for an ephemeral one. Values are written as [`Value::to_json`](abide_net::Value::to_json) says.
    /// An unknown type or method is `NoSuchMethod`, which names those that are known; arguments that do not
    /// fit are `BadArgument`.
    ///
    /// ```no_run
    /// # use abide_client::Store;
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let store = Store::current()?;
    /// let sum = store.call_json("AtomicLong", "visits", "add_and_get", vec![5.into()], None, None)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call_json(
        &self,
        type_name: &str,
        key: &str,
        method: &str,
        arguments: Vec<Json>,
        creation: Option<Vec<Json>>,
        replicas: Option<u8>,
    ) -> Result<Json, CallError> {
        let info = known_type(type_name)?;
        let (method, is_own) = known_method(info, method)?;
        check_key(key)?;
        let arguments = (method.arguments_from_json)(arguments)?;
        let given = creation.map(info.creation_from_json).transpose()?;
        let default = info.default_creation.map(|encoded| encoded());
        let creation = match (&given, &default) {
            _ if is_own && method.id != object::Create::ID => Creation::Never,
            (Some(given), _) => Creation::Exactly(given),
            (None, Some(default)) => Creation::IfAbsent(default),
            (None, None) => Creation::Never,
        };
        let mut result = Err(CallError::Unknown { reason: "the answer carried no result".to_owned() });
        let request = Request {
            type_id: info.id,
            key,
            shard: None,
            method: method.id,
            kind: method.kind,
            creation,
            epoch: 0,
            replicas,
            arguments: &arguments,
        };
        self.caller.call(&request, &mut |bytes| result = (method.output_to_json)(bytes))?;
        result
    }
}

/// The method of this name, and whether it is one that every object has.
fn known_method(info: &'static TypeInfo, name: &str) -> Result<(&'static MethodInfo, bool), CallError> {
    if let Some(method) = info.method(name) {
        return Ok((method, false));
    }
    object::INFO.method(name).map(|method| (method, true)).ok_or_else(|| {
        let known: Vec<_> =
            info.methods.iter().chain(object::INFO.methods).map(|method| method.name).collect();
        CallError::NoSuchMethod {
            name: format!("{}.{name} (known methods: {})", info.name, known.join(", ")),
        }
    })
}
