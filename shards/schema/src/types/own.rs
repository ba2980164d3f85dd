//! Methods that every object has, and methods of a shard itself.

use crate::{ObjectInfo, ObjectName, Page, ShardInfo, object_type};

object_type! {
    /// What every object can do, whatever its type. The calls carry the type of the object that they are for.
    pub mod object = 0xfffe, "Object";
    creation {}
    methods {
        /// Whether the object exists.
        0xff00 Read Exists = exists() -> bool;
        /// Creates the object on purpose, also after it was lost. Says whether it was absent.
        0xff01 Write Create = create() -> bool;
        /// Removes the object. Calls that wait in it end as broken. Says whether it existed.
        0xff02 Write Delete = delete() -> bool;
        /// What the node knows of the object.
        0xff03 Read Info = info() -> ObjectInfo;
    }
}

object_type! {
    /// A shard, asked about itself. The calls name a shard, not a key.
    pub mod shard = 0, "Shard";
    creation {}
    methods {
        /// Objects in the order in which they were created. The cursor stays good while objects come and go.
        0 Read ListObjects = list_objects(
            type_id: Option<u16>, prefix: Option<String>, cursor: u64, limit: u32,
        ) -> Page<ObjectName, u64>;
        /// What the shard knows of itself.
        1 Read Info = info() -> ShardInfo;
    }
}
