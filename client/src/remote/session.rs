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

/// What a client keeps of its session. A session belongs to one incarnation of the node: another one has
/// never heard of it, and what it held is gone.
pub(crate) struct Session {
    /// Whoever knows it can act as this session, so it is random and appears in no log.
    pub(crate) id: u128,
    pub(crate) incarnation: Arc<Incarnation>,
    pub(crate) slots: Slots,
    /// By shard: whether the shard answered a call, and so knows the session. Until then calls carry FIRST,
    /// which lets it begin there.
    known: Box<[AtomicBool]>,
    /// By core: whether a call was sent there, so that a shard of it may know the session.
    contacted: Box<[AtomicBool]>,
    standing: AtomicU8,
}

impl Session {
    /// A new session. Contacts nobody.
    pub(crate) fn new(incarnation: Arc<Incarnation>) -> Session {
        Session::with_id(random_id(), incarnation)
    }

    /// A session that the node has been told of.
    pub(crate) fn with_id(id: u128, incarnation: Arc<Incarnation>) -> Session {
        let none = |count| (0..count).map(|_| AtomicBool::new(false)).collect();
        Session {
            id,
            slots: Slots::default(),
            known: none(incarnation.map.shards as usize),
            contacted: none(incarnation.cores()),
            standing: AtomicU8::new(Standing::Lives as u8),
            incarnation,
        }
    }

    /// Whether a call to this shard may begin the session there.
    pub(crate) fn is_first_at(&self, shard: ShardId) -> bool {
        !self.known[shard as usize].load(SeqCst)
    }

    /// A shard answered, and how.
    pub(crate) fn answered(&self, shard: ShardId, answer: Result<(), &CallError>) {
        match answer {
            Err(CallError::SessionExpired) => self.end(true),
            // Refused at the door perhaps, before it was let in.
            Err(CallError::SessionsFull { .. }) => {}
            _ => raise(&self.known[shard as usize]),
        }
    }

    /// A call is about to be sent to this core.
    pub(crate) fn contacts(&self, core: usize) {
        raise(&self.contacted[core]);
    }

    /// Whether this core may know of the session.
    pub(crate) fn has_contacted(&self, core: usize) -> bool {
        self.contacted[core].load(SeqCst)
    }

    /// The cores that may know of the session.
    pub(crate) fn contacted_cores(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.contacted.len()).filter(|core| self.has_contacted(*core))
    }

    /// Whether a call was ever sent. Only then can the session hold anything, or be known to the node at all.
    pub(crate) fn was_used(&self) -> bool {
        self.contacted_cores().next().is_some()
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

/// Sets a flag that nearly always is set: threads that only look at it do not take it from one another.
fn raise(flag: &AtomicBool) {
    if !flag.load(SeqCst) {
        flag.store(true, SeqCst);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("epoch", &self.incarnation.map.epoch)
            .field("standing", &self.standing())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::remote::node::tests::incarnation;

    pub(crate) fn session() -> Session {
        Session::new(Arc::new(incarnation(7, 4, &[7400, 7401])))
    }

    #[test]
    fn ids_are_random_and_not_shown() {
        let (one, other) = (session(), session());
        assert_ne!(one.id, other.id);
        assert!(!format!("{one:?}").contains(&one.id.to_string()), "{one:?}");
    }

    #[test]
    fn a_session_begins_at_each_shard_on_its_own() {
        let session = session();
        assert!((0..4).all(|shard| session.is_first_at(shard)));
        session.answered(2, Ok(()));
        session.answered(3, Err(&CallError::NotFound));
        session.answered(1, Err(&CallError::SessionsFull { max: 9 }));
        assert_eq!(
            (0..4).map(|shard| session.is_first_at(shard)).collect::<Vec<_>>(),
            [true, true, false, false]
        );
        assert_eq!(session.standing(), Standing::Lives);
    }

    #[test]
    fn the_end_of_a_session_is_told_once_and_of_an_unused_one_never() {
        let unused = session();
        unused.end(false);
        assert_eq!(unused.standing(), Standing::EndedAndTold);

        let used = session();
        used.contacts(1);
        assert_eq!(used.contacted_cores().collect::<Vec<_>>(), [1]);
        used.end(false);
        assert_eq!(used.standing(), Standing::Ended);
        used.end(true);
        assert_eq!(used.standing(), Standing::EndedAndTold);
        used.end(false);
        assert_eq!(used.standing(), Standing::EndedAndTold, "it is not told again");

        let expired = session();
        expired.contacts(0);
        expired.answered(0, Err(&CallError::SessionExpired));
        assert_eq!(expired.standing(), Standing::EndedAndTold);
    }
}
