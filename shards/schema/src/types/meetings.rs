//! Objects in which parties meet.

use crate::{MergeOp, NumberKind, Numbers, Page, object_type};
use abide_net::Value;

object_type! {
    /// A barrier whose parties come and go: each phase ends when all that are registered have arrived. A party belongs to the session that
    /// registered it, and is deregistered when that ends, whether it has arrived or not; those of the creation belong to nobody. Who
    /// arrives need not be registered: arrivals are counted, and those of a session are its own parties' first.
    pub mod phaser = 28, "Phaser";
    creation { parties: u32 = 0 }
    methods {
        /// Adds a party. Returns the phase.
        0 Write Register = register() -> u64;
        /// Adds `n` parties. Returns the phase.
        1 Write BulkRegister = bulk_register(n: u32) -> u64;
        /// One party arrives, without waiting. Returns the phase that it arrives in. `Denied` if all have arrived or none are there.
        2 Write Arrive = arrive() -> u64;
        /// One party arrives and waits for the phase to end. Returns the next one. It has arrived also if its wait ends by a time-out.
        3 Wait ArriveAndWait = arrive_and_wait(timeout_ms: Option<u64>) -> u64;
        /// One party arrives and is no party any more. Returns the phase that it arrives in. It is one of the session's own, or else
        /// one that belongs to nobody; `Denied` if all belong to other sessions.
        4 Write ArriveAndDeregister = arrive_and_deregister() -> u64;
        /// Waits until the phase is another than this one. Returns the one that is then. `Denied` if it will not be another.
        5 Wait AwaitPhase = await_phase(phase: u64, timeout_ms: Option<u64>) -> u64;
        /// The phase: 0 at first.
        6 Read GetPhase = phase() -> u64;
        /// How many parties there are.
        7 Read Registered = registered() -> u32;
        /// How many of them have arrived in this phase.
        8 Read Arrived = arrived() -> u32;
        /// Whether the last party has left. A phaser that is over takes no parties, and nobody waits in it: calls end as `Denied`. One
        /// that has had no party yet is not over.
        9 Read IsTerminated = is_terminated() -> bool;
    }
}

object_type! {
    /// A place where two callers swap values.
    pub mod exchanger = 29, "Exchanger";
    creation {}
    methods {
        /// Gives a value to the next who comes, and returns that one's.
        0 Wait Exchange = exchange(value: Value, timeout_ms: Option<u64>) -> Value;
        /// How many wait: none or one.
        1 Read Waiting = waiting() -> u64;
    }
}

object_type! {
    /// A flag that callers wait for.
    pub mod event = 30, "Event";
    creation { initially_set: bool = false }
    methods {
        /// Sets it, and lets all go that wait. Says whether it was not set.
        0 Write Set = set() -> bool;
        /// Clears it. Says whether it was set.
        1 Write Clear = clear() -> bool;
        /// Waits until it is set.
        2 Wait Await = wait(timeout_ms: Option<u64>);
        /// Whether it is set.
        3 Read IsSet = is_set() -> bool;
    }
}

object_type! {
    /// Names and the addresses that sessions publish under them, until they end.
    pub mod rendezvous = 31, "Rendezvous";
    creation {}
    methods {
        /// Publishes an address (at most 4,096 bytes) under a name (1 to 512 bytes), or another in its place. `Denied` if another
        /// session has the name.
        0 Write Publish = publish(name: String, address: String);
        /// Takes an address of this session back. Says whether there was one.
        1 Write Withdraw = withdraw(name: String) -> bool;
        /// The address under a name, waiting for somebody to publish it.
        2 Wait Lookup = lookup(name: String, timeout_ms: Option<u64>) -> String;
        /// At most `limit` names after the cursor, with their addresses, in the order of the names.
        3 Read Names = names(after: Option<String>, limit: u32) -> Page<(String, String), String>;
    }
}

object_type! {
    /// A barrier that adds up: each party of a generation brings a vector, and each gets all of them joined, number by number. `op` is
    /// any but concat; and, or and xor join integers only.
    pub mod reducer = 32, "Reducer";
    creation { parties: u32, len: u32, kind: NumberKind = NumberKind::F64, op: MergeOp = MergeOp::Sum }
    methods {
        /// Brings a vector, and waits for the others. The result is joined in the order of arrival. If one party times out or its
        /// session ends, the generation is broken for all, and so is the reducer until a reset, as a barrier is. `BadArgument`, and no
        /// arrival, for a vector of another length or kind, or one that overflows 64-bit integers with those that are there.
        0 Wait Contribute = contribute(values: Numbers, timeout_ms: Option<u64>) -> Numbers;
        /// How many parties wait now.
        1 Read Waiting = waiting() -> u32;
        /// How many parties make a generation.
        2 Read Parties = parties() -> u32;
        /// Begins a new generation. Calls that wait end as `Broken`.
        3 Write Reset = reset();
        /// Whether it is broken.
        4 Read IsBroken = is_broken() -> bool;
        /// How many generations have ended well.
        5 Read Generation = generation() -> u64;
    }
}
