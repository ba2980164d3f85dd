//! `abide waits`: who waits for whom, and which of them wait for ever.

mod cycles;

use super::{
    Failure, print,
    units::{now_unix_ms, show_moment, show_ms},
};
use abide::{Store, schema::WaitInfo};
use clap::Args;
use cycles::{Cycle, Step, find_cycles};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(crate) struct WaitsArguments {}

impl WaitsArguments {
    pub(crate) fn run(self, store: &Store, json: bool) -> Result<(), Failure> {
        let waits: Vec<_> = store.waits().collect::<Result<_, _>>()?;
        let mut cycles = find_cycles(&waits);
        if !cycles.is_empty() {
            // The shards were asked one after the other. Calls that wait in both looks have waited from the end of the first to the
            // beginning of the second, all at once.
            let later: Vec<_> = store.waits().collect::<Result<_, _>>()?;
            let still: BTreeSet<_> = later.iter().map(call_name).collect();
            cycles
                .retain(|cycle| cycle.steps.iter().all(|step| still.contains(&call_name(&waits[step.wait]))));
        }
        if json {
            let facts = json!({
                "waits": waits.iter().map(wait_as_json).collect::<Vec<_>>(),
                "cycles": cycles.iter().map(|cycle| cycle_as_json(cycle, &waits)).collect::<Vec<_>>(),
            });
            return print(format_args!("{facts}\n"));
        }
        if waits.is_empty() {
            return print(format_args!("no call waits\n"));
        }
        let names = Names::of(&waits);
        let now_ms = now_unix_ms();
        for wait in &waits {
            print(format_args!("{}\n", names.line(wait, now_ms)))?;
        }
        for cycle in &cycles {
            print(format_args!("{}\n", names.sentence(cycle, &waits, now_ms)))?;
        }
        Ok(())
    }
}

/// What makes a waiting call itself: its session, its place in it, and who holds what it waits for.
type CallName<'a> = (&'a str, u32, u64, Vec<(&'a str, Option<u64>)>);

fn call_name(wait: &WaitInfo) -> CallName<'_> {
    let holders = wait.holders.iter().map(|holder| (holder.session.as_str(), holder.owner));
    (&wait.session, wait.slot, wait.sequence, holders.collect())
}

/// When the first call of a cycle times out, and so ends it, in milliseconds since 1970.
fn end_of(cycle: &Cycle, waits: &[WaitInfo]) -> Option<u64> {
    cycle.steps.iter().filter_map(|step| waits[step.wait].deadline_unix_ms).min()
}

fn wait_as_json(wait: &WaitInfo) -> Value {
    json!({
        "type": wait.type_name,
        "key": wait.object.key,
        "method": wait.method,
        "session": wait.session,
        "owner": wait.owner,
        "slot": wait.slot,
        "sequence": wait.sequence,
        "since_unix_ms": wait.since_unix_ms,
        "deadline_unix_ms": wait.deadline_unix_ms,
        "holders": wait.holders,
    })
}

fn cycle_as_json(cycle: &Cycle, waits: &[WaitInfo]) -> Value {
    let calls = cycle.steps.iter().map(|step| {
        let wait = &waits[step.wait];
        json!({
            "session": wait.session,
            "owner": wait.owner,
            "type": wait.type_name,
            "key": wait.object.key,
            "method": wait.method,
            "held_by": wait.holders[step.holder],
        })
    });
    json!({
        "certain": cycle.certain,
        "ends_unix_ms": end_of(cycle, waits),
        "calls": calls.collect::<Vec<_>>(),
    })
}

/// How callers are called: by the beginning of their session, as long as it must be.
struct Names {
    digits: usize,
}

/// Fewest digits of a session that are shown.
const DIGITS_MIN: usize = 8;

impl Names {
    fn of(waits: &[WaitInfo]) -> Names {
        let holders = waits.iter().flat_map(|wait| &wait.holders).map(|holder| holder.session.as_str());
        let sessions: BTreeSet<&str> =
            waits.iter().map(|wait| wait.session.as_str()).chain(holders).collect();
        let longest = sessions.iter().map(|session| session.len()).max().unwrap_or(0);
        let tells_apart = |digits: &usize| {
            let beginnings: BTreeSet<_> =
                sessions.iter().map(|session| beginning(session, *digits)).collect();
            beginnings.len() == sessions.len()
        };
        Names { digits: (DIGITS_MIN..longest).find(tells_apart).unwrap_or(longest) }
    }

    fn caller(&self, session: &str, owner: Option<u64>) -> String {
        let session = beginning(session, self.digits);
        owner.map_or_else(|| session.to_owned(), |owner| format!("{session}/{owner}"))
    }

    fn line(&self, wait: &WaitInfo, now_ms: u64) -> String {
        let until = wait.deadline_unix_ms.map_or_else(
            || "no time limit".to_owned(),
            |at_ms| format!("until {} (in {})", show_moment(at_ms), show_ms(at_ms.saturating_sub(now_ms))),
        );
        let holders = wait
            .holders
            .iter()
            .map(|holder| format!("{} ({})", self.caller(&holder.session, holder.owner), holder.what))
            .collect::<Vec<_>>()
            .join(", ");
        let holders = if holders.is_empty() { holders } else { format!("; held by {holders}") };
        format!(
            "{} {:?}: {} by {}, since {} ({}), {until}{holders}",
            wait.type_name,
            wait.object.key,
            wait.method,
            self.caller(&wait.session, wait.owner),
            show_moment(wait.since_unix_ms),
            show_ms(now_ms.saturating_sub(wait.since_unix_ms)),
        )
    }

    /// A cycle in words: `deadlock: A waits for Mutex "x" held by B, who waits for Mutex "y" held by A`.
    fn sentence(&self, cycle: &Cycle, waits: &[WaitInfo], now_ms: u64) -> String {
        let clause = |Step { wait, holder }: &Step| {
            let (wait, holder) = (&waits[*wait], &waits[*wait].holders[*holder]);
            let held_by = self.caller(&holder.session, holder.owner);
            format!("waits for {} {:?} held by {held_by}", wait.type_name, wait.object.key)
        };
        let clauses = cycle.steps.iter().map(clause).collect::<Vec<_>>().join(", who ");
        let first = &waits[cycle.steps[0].wait];
        let what = if cycle.certain { "deadlock" } else { "possible deadlock" };
        let ends = end_of(cycle, waits).map_or_else(String::new, |at_ms| {
            format!(" (a time-out ends it in {})", show_ms(at_ms.saturating_sub(now_ms)))
        });
        format!("{what}: {} {clauses}{ends}", self.caller(&first.session, first.owner))
    }
}

/// The first digits of a session's id.
fn beginning(session: &str, digits: usize) -> &str {
    session.get(..digits).unwrap_or(session)
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide::schema::{BlockedBy, ObjectName};

    fn wait(session: &str, key: &str, holder: &str) -> WaitInfo {
        WaitInfo {
            object: ObjectName { type_id: 14, key: key.to_owned() },
            type_name: "Mutex".to_owned(),
            session: session.to_owned(),
            slot: 0,
            sequence: 1,
            method: "lock".to_owned(),
            owner: Some(1),
            since_unix_ms: 1_000,
            deadline_unix_ms: None,
            holders: vec![BlockedBy {
                session: holder.to_owned(),
                owner: Some(1),
                what: "the lock".to_owned(),
            }],
        }
    }

    #[test]
    fn waits_and_deadlocks_are_told_in_words() {
        let (a, b) = ("aaaaaaaaaaaa1111", "bbbbbbbbbbbb2222");
        let mut waits = [wait(a, "x", b), wait(b, "y", a)];
        let names = Names::of(&waits);
        assert_eq!(
            names.line(&waits[0], 4_000),
            "Mutex \"x\": lock by aaaaaaaa/1, since 1970-01-01T00:00:01.000Z (3 s), no time limit; held by bbbbbbbb/1 (the lock)"
        );
        let cycles = find_cycles(&waits);
        assert_eq!(
            names.sentence(&cycles[0], &waits, 4_000),
            "deadlock: aaaaaaaa/1 waits for Mutex \"x\" held by bbbbbbbb/1, who waits for Mutex \"y\" held by aaaaaaaa/1"
        );
        waits[1].deadline_unix_ms = Some(9_000);
        assert!(names.sentence(&cycles[0], &waits, 4_000).ends_with("/1 (a time-out ends it in 5 s)"));
        assert!(names.line(&waits[1], 4_000).contains("until 1970-01-01T00:00:09.000Z (in 5 s)"));
    }

    #[test]
    fn sessions_are_shown_as_long_as_they_must_be_to_be_told_apart() {
        let waits = [wait("aaaaaaaaaaaa1111", "x", "aaaaaaaaaaaa1122")];
        assert_eq!(Names::of(&waits).caller("aaaaaaaaaaaa1122", None), "aaaaaaaaaaaa112");
        let waits = [wait("aaaaaaaaaaaa1111", "x", "aaaaaaaaaaaa1111")];
        assert_eq!(Names::of(&waits).caller("aaaaaaaaaaaa1111", Some(3)), "aaaaaaaa/3");
    }
}
