//! A session: who calls, whatever connection a call takes.

use super::{node::Incarnation, slots::Slots};
use abide_net::{CallError, route::ShardId};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::SeqCst},
    },
};

/// Whether calls can still be made in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As far as is known.
    Lives,
    /// It ended without an order to, and the program must still be told: it may believe that it holds
    /// something.
    Ended,
    /// It ended, and a call said so; or nobody has to be told.
    EndedAndTold,
}

/// An id for a new session. Stops the program where the system has no random numbers, as the standard library
/// does for its hash maps.
pub(crate) fn random_id() -> u128 {
    // From the system rather than from the standard library's hash keys: those are copied by `fork`, and two
    // processes with one session would get each other's answers.
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system has random numbers");
    u128::from_ne_bytes(id)
}

/// A session: its name, and what a client knows of it whatever node serves it. A session outlives incarnations of its
/// node: shards that keep persistent objects know it again, and the others let it begin anew.
pub(crate) struct Session {
    /// Whoever knows it can act as this session, so it is random and appears in no log.
    pub(crate) id: u128,
    /// Its id and its sequences come from a seed.
    pub(crate) is_seeded: bool,
    pub(crate) slots: Slots,
    /// A call was sent, in whatever incarnation.
    used: AtomicBool,
    standing: AtomicU8,
}

impl Session {
    /// A new session. Contacts nobody.
    pub(crate) fn new() -> Session {
        Session::with_id(random_id(), false)
    }

    /// A session that the node has been told of, or that an earlier run of the program may have begun.
    pub(crate) fn with_id(id: u128, is_seeded: bool) -> Session {
        Session {
            id,
            is_seeded,
            slots: Slots::default(),
            used: AtomicBool::new(false),
            standing: AtomicU8::new(Standing::Lives as u8),
        }
    }

    /// Whether a call was ever sent. Only then can the session hold anything, or be known to the node at all.
    pub(crate) fn was_used(&self) -> bool {
        self.used.load(SeqCst)
    }

    /// The session is no more. `told`: the call that found out says so to the program.
    pub(crate) fn end(&self, told: bool) {
        let standing = if told || !self.was_used() { Standing::EndedAndTold } else { Standing::Ended };
        self.standing.fetch_max(standing as u8, SeqCst);
    }

    /// Whether calls can be made in it, as far as is known.
    pub(crate) fn lives(&self) -> bool {
        self.standing() == Standing::Lives
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(SeqCst) {
            standing if standing == Standing::Lives as u8 => Standing::Lives,
            standing if standing == Standing::Ended as u8 => Standing::Ended,
            _ => Standing::EndedAndTold,
        }
    }
}

/// A session's stay with one incarnation of its node.
#[derive(Debug)]
pub(crate) struct Stay {
    pub(crate) session: Arc<Session>,
    pub(crate) incarnation: Arc<Incarnation>,
    /// By shard: whether the shard answered a call, and so knows the session. Until then calls carry FIRST,
    /// which lets it begin there.
    known: Box<[AtomicBool]>,
    /// By core: whether a call was sent there, so that a shard of it may know the session.
    contacted: Box<[AtomicBool]>,
}

impl Stay {
    pub(crate) fn new(session: Arc<Session>, incarnation: Arc<Incarnation>) -> Stay {
        let none = |count| (0..count).map(|_| AtomicBool::new(false)).collect();
        Stay {
            session,
            known: none(incarnation.map.shards as usize),
            contacted: none(incarnation.cores()),
            incarnation,
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.incarnation.map.epoch
    }

    /// Whether a call to this shard may begin the session there.
    pub(crate) fn is_first_at(&self, shard: ShardId) -> bool {
        !self.known[shard as usize].load(SeqCst)
    }

    /// A shard answered, and how.
    pub(crate) fn answered(&self, shard: ShardId, answer: Result<(), &CallError>) {
        match answer {
            Err(CallError::SessionExpired) => self.session.end(true),
            // Refused at the door perhaps, before it was let in.
            Err(CallError::SessionsFull { .. }) => {}
            _ => raise(&self.known[shard as usize]),
        }
    }

    /// A call is about to be sent to this core.
    pub(crate) fn contacts(&self, core: usize) {
        raise(&self.contacted[core]);
        raise(&self.session.used);
    }

    /// Whether this core may know of the session by a call of this stay.
    pub(crate) fn has_contacted(&self, core: usize) -> bool {
        self.contacted[core].load(SeqCst)
    }

    /// The cores that may know of the session by a call of this stay.
    pub(crate) fn contacted_cores(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.contacted.len()).filter(|core| self.has_contacted(*core))
    }

    /// The cores to tell that the session lives, or that it ends: those that it sent calls to. If there are none, but
    /// the node may know of it from before a restart, or from an earlier run of the program, any one will do: it
    /// tells the others.
    pub(crate) fn cores_to_tell(&self) -> impl Iterator<Item = usize> + '_ {
        let may_be_known = self.session.was_used() || self.session.is_seeded;
        let any = may_be_known && self.contacted_cores().next().is_none();
        self.contacted_cores().chain(any.then_some(0))
    }
}

/// Sets a flag that nearly always is set: threads that only look at it do not take it from one another.
fn raise(flag: &AtomicBool) {
    if !flag.load(SeqCst) {
        flag.store(true, SeqCst);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("standing", &self.standing()).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::remote::node::tests::incarnation;

    pub(crate) fn session() -> Session {
        Session::new()
    }

    fn stay() -> Stay {
        Stay::new(Arc::new(Session::new()), Arc::new(incarnation(7, 4, &[7400, 7401])))
    }

    #[test]
    fn ids_are_random_and_not_shown() {
        let (one, other) = (session(), session());
        assert_ne!(one.id, other.id);
        assert!(!format!("{one:?}").contains(&one.id.to_string()), "{one:?}");
    }

    #[test]
    fn a_session_begins_at_each_shard_on_its_own() {
        let stay = stay();
        assert!((0..4).all(|shard| stay.is_first_at(shard)));
        stay.answered(2, Ok(()));
        stay.answered(3, Err(&CallError::NotFound));
        stay.answered(1, Err(&CallError::SessionsFull { max: 9 }));
        let first_at = |stay: &Stay| (0..4).map(|shard| stay.is_first_at(shard)).collect::<Vec<_>>();
        assert_eq!(first_at(&stay), [true, true, false, false]);
        assert_eq!(stay.session.standing(), Standing::Lives);
        let later = Stay::new(stay.session.clone(), Arc::new(incarnation(8, 4, &[7400])));
        assert_eq!(first_at(&later), [true; 4], "and in each incarnation again");
    }

    #[test]
    fn whoever_may_know_of_a_session_is_told_of_it() {
        let told = |stay: &Stay| stay.cores_to_tell().collect::<Vec<_>>();
        let unused = stay();
        assert_eq!(told(&unused), [0; 0]);
        let used = stay();
        used.contacts(1);
        assert_eq!(told(&used), [1]);
        let restarted = Stay::new(used.session.clone(), Arc::new(incarnation(8, 4, &[7400, 7401])));
        assert_eq!(told(&restarted), [0], "any core, from which the others hear it");
        restarted.contacts(1);
        assert_eq!(told(&restarted), [1]);
        let seeded = Arc::new(Session::with_id(7, true));
        assert_eq!(told(&Stay::new(seeded, Arc::new(incarnation(8, 4, &[7400])))), [0], "an earlier run's");
    }

    #[test]
    fn the_end_of_a_session_is_told_once_and_of_an_unused_one_never() {
        let unused = session();
        unused.end(false);
        assert_eq!(unused.standing(), Standing::EndedAndTold);

        let used = stay();
        used.contacts(1);
        used.session.end(false);
        assert_eq!(used.session.standing(), Standing::Ended);
        used.session.end(true);
        assert_eq!(used.session.standing(), Standing::EndedAndTold);
        used.session.end(false);
        assert_eq!(used.session.standing(), Standing::EndedAndTold, "it is not told again");

        let expired = stay();
        expired.contacts(0);
        expired.answered(0, Err(&CallError::SessionExpired));
        assert_eq!(expired.session.standing(), Standing::EndedAndTold);
    }
}
