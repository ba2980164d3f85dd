//! `abide ls` and `abide info`.

use super::{
    Failure,
    call::type_named,
    print,
    units::{show_bytes, show_moment, show_ms},
};
use abide::{ListFilter, ShardInfo, Store};
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only objects of this type.
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Only objects whose key begins with this.
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,
    /// At most so many objects. Without it all are listed, which on a large store are many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

impl ListArguments {
    pub(crate) fn run(self, store: &Store, json: bool) -> Result<(), Failure> {
        let type_name =
            self.type_name.as_deref().map(type_named).transpose()?.map(|info| info.name.to_owned());
        let objects = store.list_objects(ListFilter { type_name, prefix: self.prefix });
        for object in objects.take(self.limit.unwrap_or(usize::MAX)) {
            let object = object?;
            if json {
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
}

impl InfoArguments {
    pub(crate) fn run(
        self,
        open: impl FnOnce() -> Result<Store, Failure>,
        json: bool,
    ) -> Result<(), Failure> {
        let facts = match (self.type_name, self.key) {
            (Some(type_name), Some(key)) => {
                let type_name = type_named(&type_name)?.name;
                open()?.call_json(type_name, &key, "info", Vec::new(), None, None)?
            }
            _ => store_facts(&open()?)?,
        };
        if json {
            print(format_args!("{facts}\n"))?;
        } else {
            for (name, value) in facts.as_object().into_iter().flatten() {
                let (name, value) = readable(name, value);
                print(format_args!("{name:<20} {value}\n"))?;
            }
        }
        Ok(())
    }
}

/// A fact as people read it: without the units that its name has for programs.
fn readable(name: &str, value: &Value) -> (String, String) {
    let words = |name: &str| name.replace('_', " ");
    match (value, value.as_u64()) {
        (Value::Null, _) => {
            (words(name.trim_end_matches("_unix_ms").trim_end_matches("_ms")), "-".to_owned())
        }
        (_, Some(number)) => {
            if let Some(name) = name.strip_suffix("_unix_ms") {
                return (words(name), show_moment(number));
            }
            if let Some(name) = name.strip_suffix("_ms") {
                return (words(name), show_ms(number));
            }
            let is_size = name == "bytes" || name.contains("_bytes");
            (
                words(name),
                if is_size { format!("{number} ({})", show_bytes(number)) } else { number.to_string() },
            )
        }
        (_, None) => (words(name), value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    }
}

/// More bytes than any disk has: the file may grow as far as its disk lets it.
const AS_MANY_AS_THERE_ARE: u64 = 1 << 60;

fn store_facts(store: &Store) -> Result<Value, Failure> {
    let shards = store.info()?;
    let total = |count: fn(&ShardInfo) -> u64| shards.iter().map(count).sum::<u64>();
    // The shards of a node share their memory and their file: each knows the same of them.
    let most = |count: fn(&ShardInfo) -> u64| shards.iter().map(count).max();
    let first = shards.first();
    let data_bytes_max = most(|shard| shard.persistent_bytes_max);
    let has_data = data_bytes_max.is_some_and(|bytes| bytes > 0);
    Ok(json!({
        "program": first.map(|shard| &shard.program),
        "address": store.address().unwrap_or_else(|| "in this process".to_owned()),
        "epoch": first.map(|shard| shard.epoch),
        "uptime_ms": most(|shard| shard.uptime_ms),
        "persistence": first.map(|shard| &shard.persistence),
        "shards": shards.len(),
        "objects": total(|shard| shard.objects),
        "persistent_objects": total(|shard| shard.persistent_objects),
        "memory_bytes": most(|shard| shard.bytes),
        "memory_bytes_max": most(|shard| shard.bytes_max),
        "data_bytes": has_data.then(|| most(|shard| shard.persistent_bytes)),
        "data_bytes_max": data_bytes_max.filter(|&bytes| bytes > 0 && bytes < AS_MANY_AS_THERE_ARE),
        // A session is known to each shard that it called.
        "sessions_at_most": most(|shard| shard.sessions),
        "waiting_calls": total(|shard| shard.waiters),
        "calls": total(|shard| shard.calls),
    }))
}
