//! `abide delete`, `abide expire`, `abide persist` and `abide watch`: of any object, whatever its type.

use super::{Failure, call::type_named, print, units::parse_duration};
use abide::{CallError, Store, schema::check_key};
use clap::Args;
use serde_json::{Value, json};
use std::time::Duration;

/// An object by its name.
#[derive(Debug, Args)]
pub(crate) struct ObjectArguments {
    /// The object's type.
    #[arg(value_name = "TYPE")]
    type_name: String,
    /// The object's key.
    key: String,
}

impl ObjectArguments {
    /// The name, if there can be such an object.
    fn check(&self) -> Result<(&'static str, &str), Failure> {
        let type_name = type_named(&self.type_name)?.name;
        check_key(&self.key).map_err(|error| Failure::Misuse(error.to_string()))?;
        Ok((type_name, &self.key))
    }

    /// Calls a method that every object has, and prints its result.
    fn call(
        &self,
        open: impl FnOnce() -> Result<Store, Failure>,
        method: &str,
        arguments: Vec<Value>,
    ) -> Result<(), Failure> {
        let (type_name, key) = self.check()?;
        print(format_args!("{}\n", open()?.call_json(type_name, key, method, arguments, None, None)?))
    }

    pub(crate) fn delete(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        self.call(open, "delete", Vec::new())
    }

    pub(crate) fn persist(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        self.call(open, "persist", Vec::new())
    }

    pub(crate) fn watch(
        self,
        open: impl FnOnce() -> Result<Store, Failure>,
        json: bool,
    ) -> Result<(), Failure> {
        let (type_name, key) = self.check()?;
        let store = open()?;
        let call = |method, arguments| store.call_json(type_name, key, method, arguments, None, None);
        let info = call("info", Vec::new())?;
        let mut version = info["version"].as_u64().unwrap_or(0);
        loop {
            if json {
                print(format_args!("{}\n", json!({"version": version})))?;
            } else {
                print(format_args!("{version}\n"))?;
            }
            version = match call("watch", vec![version.into()]) {
                Ok(seen) => seen.as_u64().unwrap_or(version),
                // Deleted while this waited, or between two waits.
                Err(CallError::Broken | CallError::NotFound) => break,
                Err(error) => return Err(error.into()),
            };
        }
        if json {
            print(format_args!("{}\n", json!({"deleted": true})))
        } else {
            print(format_args!("deleted\n"))
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExpireArguments {
    #[command(flatten)]
    object: ObjectArguments,
    /// In how long, such as 500ms, 90s, 5m, 2h or 7d.
    #[arg(value_parser = parse_duration)]
    duration: Duration,
}

impl ExpireArguments {
    pub(crate) fn run(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        let ms = self.duration.as_millis() as u64;
        self.object.call(open, "expire_in", vec![ms.into()])
    }
}
