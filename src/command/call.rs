//! `abide call`: any method of any object, with JSON arguments.

use super::{Failure, print};
use abide::{
    CallError, Store,
    schema::{MethodInfo, TypeInfo},
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(crate) struct CallArguments {
    /// The object's type, such as AtomicLong or Map.
    #[arg(value_name = "TYPE")]
    type_name: String,
    /// The object's key.
    key: String,
    /// The method, such as add_and_get.
    method: String,
    /// The method's arguments in JSON. A word that cannot be JSON is taken as text. Optional ones may be left out.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Create the object with these arguments (a JSON array, or one JSON value) if it is absent.
    #[arg(long, value_name = "JSON")]
    create: Option<String>,
    /// If the call creates the object, keep it in the node's data, where it survives what --persistence of `abide serve` says.
    #[arg(long, conflicts_with = "ephemeral")]
    persistent: bool,
    /// On how many nodes a persistent object is kept.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "persistent", value_parser = clap::value_parser!(u8).range(1..))]
    replicas: u8,
    /// If the call creates the object, keep it in memory, where it ends with the node. This is what a node does unless told otherwise; an
    /// embedded store (--store) keeps its objects in its file.
    #[arg(long)]
    ephemeral: bool,
}

impl CallArguments {
    /// On how many nodes the object shall be: 0 for one in memory, nothing if the store shall say.
    fn replicas(&self) -> Option<u8> {
        match (self.persistent, self.ephemeral) {
            (true, _) => Some(self.replicas),
            (false, true) => Some(0),
            (false, false) => None,
        }
    }

    pub(crate) fn run(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        let info = type_named(&self.type_name)?;
        abide::schema::check_key(&self.key).map_err(|error| Failure::Misuse(error.to_string()))?;
        let method = method_named(info, &self.method)?;
        let arguments: Vec<Value> =
            self.arguments.iter().map(|text| json_or_text(text)).collect::<Result<_, _>>()?;
        (method.arguments_from_json)(arguments.clone())
            .map_err(|error| Failure::Misuse(format!("{}: {error}", method.signature())))?;
        let creation = self.create.as_deref().map(json_or_text).transpose()?.map(|json| match json {
            Value::Array(values) => values,
            single => vec![single],
        });
        if let Some(given) = &creation {
            (info.creation_from_json)(given.clone())
                .map_err(|error| Failure::Misuse(format!("--create of {}: {error}", info.name)))?;
        }
        let replicas = self.replicas();
        let result = open()?.call_json(info.name, &self.key, method.name, arguments, creation, replicas);
        match result {
            Ok(result) => print(format_args!("{result}\n"))?,
            Err(CallError::NotFound) if info.default_creation.is_none() => {
                let reason = format!(
                    "there is no such {}; to create it give --create [{}]",
                    info.name,
                    info.creation_signature()
                );
                return Err(Failure::Failed(anyhow::anyhow!(reason)));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// JSON if it is, text if it cannot have been meant as JSON.
fn json_or_text(text: &str) -> Result<Value, Failure> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(_)
            if !text.starts_with(['{', '[', '"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) =>
        {
            Ok(Value::String(text.to_owned()))
        }
        Err(error) => Err(Failure::Misuse(format!("{text}: neither JSON ({error}) nor a plain word"))),
    }
}

/// The built-in type of this name.
pub(super) fn type_named(name: &str) -> Result<&'static TypeInfo, Failure> {
    abide::schema::find_type(name).ok_or_else(|| {
        let known: Vec<_> = abide::schema::BUILT_IN.iter().map(|info| info.name).collect();
        Failure::Misuse(format!("no type {name}; there are {}", known.join(", ")))
    })
}

fn method_named(info: &'static TypeInfo, name: &str) -> Result<&'static MethodInfo, Failure> {
    let own = &abide::schema::types::object::INFO;
    info.method(name).or_else(|| own.method(name)).ok_or_else(|| {
        let known: Vec<_> = info.methods.iter().chain(own.methods).map(|method| method.name).collect();
        Failure::Misuse(format!("{} has no method {name}; it has {}", info.name, known.join(", ")))
    })
}
