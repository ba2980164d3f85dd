//! The session that a store uses, and those that follow it when it ends.

use super::session::{Session, Standing};
use abide_net::CallError;
use std::sync::{Arc, Mutex, PoisonError};

/// Something that lives as long as a session.
pub(crate) trait HasSession {
    /// The session.
    fn session(&self) -> &Session;
}

/// The current session. Calls keep the one that they began in, so its slots are never another one's.
#[derive(Debug)]
pub(crate) struct Succession<T> {
    current: Mutex<Arc<T>>,
}

impl<T: HasSession> Succession<T> {
    pub(crate) fn new(first: T) -> Succession<T> {
        Succession { current: Mutex::new(Arc::new(first)) }
    }

    /// The session for a new call. Where the former one ended, the one that `next` makes takes its place; if
    /// the program has not been told, this says so.
    pub(crate) fn get(&self, next: impl FnOnce() -> T) -> Result<Arc<T>, CallError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = current.session().standing();
        if standing == Standing::Lives {
            return Ok(current.clone());
        }
        let new = Arc::new(next());
        let former = std::mem::replace(&mut *current, new.clone());
        drop(current);
        // Closes its connections, unless calls are still under way in it.
        drop(former);
        if standing == Standing::Ended { Err(CallError::SessionExpired) } else { Ok(new) }
    }

    /// The session, whatever became of it.
    pub(crate) fn last(&self) -> Arc<T> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::node::tests::incarnation;
    use crate::remote::session::{Stay, tests::session};

    /// A session that made a call.
    fn used(session: Arc<Session>) {
        Stay::new(session, Arc::new(incarnation(7, 4, &[7400]))).contacts(0);
    }

    impl HasSession for Session {
        fn session(&self) -> &Session {
            self
        }
    }

    #[test]
    fn a_session_that_ended_is_followed_by_another_and_that_is_told_once() {
        let succession = Succession::new(session());
        let first = succession.get(session).unwrap();
        assert!(Arc::ptr_eq(&first, &succession.get(session).unwrap()));
        used(first.clone());
        first.end(false);
        assert!(Arc::ptr_eq(&first, &succession.last()));
        assert_eq!(succession.get(session).unwrap_err(), CallError::SessionExpired);
        let second = succession.get(session).unwrap();
        assert_ne!(first.id, second.id);

        used(second.clone());
        second.end(true);
        let third = succession.get(session).unwrap();
        assert_ne!(second.id, third.id, "whoever ended it has told the program");
        third.end(false);
        assert_ne!(succession.get(session).unwrap().id, third.id, "nobody need hear of an unused one");
    }
}
