//! `abide ls`, `abide info` and `abide delete`.

use super::{Failure, call::type_named, print};
use abide::{ListFilter, Store};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only objects of this type.
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Only objects whose key begins with this.
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// Print each object as a JSON object on a line of its own.
    #[arg(long)]
    json: bool,
}

impl ListArguments {
    pub(crate) fn run(self, store: &Store) -> Result<(), Failure> {
        let type_name =
            self.type_name.as_deref().map(type_named).transpose()?.map(|info| info.name.to_owned());
        for object in store.list_objects(ListFilter { type_name, prefix: self.prefix }) {
            let object = object?;
            if self.json {
                print(format_args!("{}\n", json!({"type": object.type_name, "key": object.key})))?;
            } else {
                print(format_args!("{}\t{}\n", object.type_name, object.key))?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    /// The type of the object to look at; without it the whole store is.
    #[arg(value_name = "TYPE", requires = "key")]
    type_name: Option<String>,
    /// The key of the object to look at.
    key: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl InfoArguments {
    pub(crate) fn run(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        let facts = match (self.type_name, self.key) {
            (Some(type_name), Some(key)) => {
                let type_name = type_named(&type_name)?.name;
                open()?.call_json(type_name, &key, "info", Vec::new(), None, None)?
            }
            _ => store_facts(&open()?)?,
        };
        if self.json {
            print(format_args!("{facts}\n"))?;
        } else {
            for (name, value) in facts.as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                print(format_args!("{:<20} {value}\n", name.replace('_', " ")))?;
            }
        }
        Ok(())
    }
}

fn store_facts(store: &Store) -> Result<serde_json::Value, Failure> {
    let shards = store.info()?;
    let total = |count: fn(&abide::schema::ShardInfo) -> u64| shards.iter().map(count).sum::<u64>();
    let first = shards.first();
    Ok(json!({
        "program": first.map(|shard| &shard.program),
        "address": store.address().unwrap_or_else(|| "in this process".to_owned()),
        "epoch": first.map(|shard| shard.epoch),
        "uptime_ms": shards.iter().map(|shard| shard.uptime_ms).max(),
        "persistence": "volatile",
        "shards": shards.len(),
        "objects": total(|shard| shard.objects),
        // A session is known to each shard that it called.
        "sessions_at_most": shards.iter().map(|shard| shard.sessions).max(),
        "waiting_calls": total(|shard| shard.waiters),
        "calls": total(|shard| shard.calls),
    }))
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The object's type.
    #[arg(value_name = "TYPE")]
    type_name: String,
    /// The object's key.
    key: String,
}

impl DeleteArguments {
    pub(crate) fn run(self, open: impl FnOnce() -> Result<Store, Failure>) -> Result<(), Failure> {
        let type_name = type_named(&self.type_name)?.name;
        print(format_args!(
            "{}\n",
            open()?.call_json(type_name, &self.key, "delete", Vec::new(), None, None)?
        ))
    }
}
