//! Methods that every object has, and methods of a shard itself.

use crate::{ObjectInfo, ObjectName, Page, ShardInfo, WaitInfo, object_type};

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
        /// Has the object deleted in so many milliseconds, unless this is called again before. Says whether it was to be
        /// deleted already.
        0xff04 Write ExpireIn = expire_in(ms: u64) -> bool;
        /// Takes an expiry back. Says whether there was one.
        0xff05 Write Persist = persist() -> bool;
        /// Waits until the object's version is above `version`, and gives it. `Broken` if the object is deleted.
        0xff06 Wait Watch = watch(version: u64, timeout_ms: Option<u64>) -> u64;
    }
}

object_type! {
    /// A shard, asked about itself. The calls name a shard, not a key.
    pub mod shard = 0, "Shard";
    creation {}
    methods {
        /// Objects in no particular order. One that is there from the first page to the last comes exactly once, whatever
        /// comes and goes meanwhile.
        0 Read ListObjects = list_objects(
            type_id: Option<u16>, prefix: Option<String>, cursor: Option<Vec<u8>>, limit: u32,
        ) -> Page<ObjectName, Vec<u8>>;
        /// What the shard knows of itself.
        1 Read Info = info() -> ShardInfo;
        /// Calls that wait in the shard's objects, in the order of asking. The cursor is 0 at first.
        2 Read Waits = waits(cursor: u64, limit: u32) -> Page<WaitInfo, u64>;
    }
}
