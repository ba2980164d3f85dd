//! Tests from outside: processes that are killed, clients that misbehave, nodes that go on.
//!
//! The binary of this crate is both sides of each test: a node (`serve`) and clients with a role (`add`,
//! `meet`, `hold`). The tests start it, kill it, and look at what is left. Crash images of persistent regions, the
//! simulated cluster and the linearizability checker will live here too, when there is something to crash.
