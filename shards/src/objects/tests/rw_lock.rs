//! Read-write locks.

use super::{
    driver::{Sent, TestShard},
    waiting::{Ends, Model, compare, steps, timeout, waits},
};
use abide_net::CallError;
use abide_schema::{BlockedBy, Holder, types::rw_lock::*};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Owner = (u128, u64);

/// Each owner with its token and how often it has the lock.
#[derive(Default)]
struct Library {
    token: u64,
    writer: Option<(Owner, u64, u32)>,
    readers: BTreeMap<Owner, (u64, u32)>,
    queue: Vec<(usize, Owner, bool)>,
}

#[derive(Debug, Clone)]
enum Ask {
    Read(Read),
    Write(Write),
}

waits!(Ask -> u64 { Read(Read) => |token| token, Write(Write) => |token| token });

#[derive(Debug, Clone)]
enum Call {
    TryRead(u64),
    TryWrite(u64),
    UnlockRead(u64),
    /// With a token so far behind the newest, if with any.
    UnlockWrite(u64, Option<u64>),
    Downgrade(u64),
    IsWriteLocked,
    Readers,
    Holders,
}

fn is_denied<T: std::fmt::Debug>(result: Result<T, CallError>) {
    assert!(matches!(result, Err(CallError::Denied { .. })), "{result:?}");
}

impl Library {
    fn enter(&mut self, who: Owner, writes: bool, turn: bool) -> Option<u64> {
        let writer = self.writer.map(|(owner, ..)| owner);
        if writes {
            if let Some((owner, token, holds)) = &mut self.writer
                && *owner == who
            {
                *holds += 1;
                return Some(*token);
            }
            if !turn || writer.is_some() || self.readers.keys().any(|reader| *reader != who) {
                return None;
            }
            self.token += 1;
            self.writer = Some((who, self.token, 1));
        } else {
            if let Some((token, holds)) = self.readers.get_mut(&who) {
                *holds += 1;
                return Some(*token);
            }
            if writer != Some(who) && (writer.is_some() || !turn) {
                return None;
            }
            self.token += 1;
            self.readers.insert(who, (self.token, 1));
        }
        Some(self.token)
    }

    fn let_in(&mut self, ends: &mut Ends<u64>) {
        while let Some((id, who, writes)) = self.queue.first().copied()
            && let Some(token) = self.enter(who, writes, true)
        {
            self.queue.remove(0);
            ends.insert(id, Ok(token));
        }
    }

    fn holders(&self) -> Vec<Holder> {
        let writer = self.writer.into_iter();
        let readers = self.readers.iter().map(|(owner, (token, holds))| (*owner, *token, *holds));
        let shown = writer.chain(readers).map(|((session, owner), token, holds)| Holder {
            session: format!("{session:032x}"),
            owner,
            token,
            holds,
        });
        shown.collect()
    }
}

impl Model for Library {
    type Wait = Ask;
    type Other = Call;

    fn timeout_ms(wait: &Ask) -> Option<u64> {
        match wait {
            Ask::Read(read) => read.timeout_ms,
            Ask::Write(write) => write.timeout_ms,
        }
    }

    fn wait(&mut self, id: usize, session: u128, wait: Ask, ends: &mut Ends<u64>) {
        let (owner, writes) = match wait {
            Ask::Read(read) => (read.owner, false),
            Ask::Write(write) => (write.owner, true),
        };
        let who = (session, owner);
        let is_writer = self.writer.is_some_and(|(writer, ..)| writer == who);
        if writes && !is_writer && self.readers.contains_key(&who) {
            let error = CallError::denied("the owner reads, and would wait for itself");
            ends.insert(id, Err(error));
            return;
        }
        match self.enter(who, writes, self.queue.is_empty()) {
            Some(token) => drop(ends.insert(id, Ok(token))),
            None => self.queue.push((id, who, writes)),
        }
    }

    fn other(&mut self, shard: &mut TestShard, session: u128, call: Call, ends: &mut Ends<u64>) {
        let turn = self.queue.is_empty();
        match call {
            Call::TryRead(owner) => {
                let token = self.enter((session, owner), false, turn);
                assert_eq!(shard.call(session, TryRead { owner }), Ok(token));
            }
            Call::TryWrite(owner) => {
                let token = self.enter((session, owner), true, turn);
                assert_eq!(shard.call(session, TryWrite { owner }), Ok(token));
            }
            Call::UnlockRead(owner) => {
                let result = shard.call(session, UnlockRead { owner });
                match self.readers.get_mut(&(session, owner)) {
                    None => return is_denied(result),
                    Some((_, holds)) if *holds > 1 => *holds -= 1,
                    Some(_) => drop(self.readers.remove(&(session, owner))),
                }
                assert_eq!(result, Ok(()));
            }
            Call::UnlockWrite(owner, behind) => {
                let token = behind.map(|behind| self.token.saturating_sub(behind));
                let result = shard.call(session, UnlockWrite { owner, token });
                match &mut self.writer {
                    Some((who, of, holds))
                        if *who == (session, owner) && token.is_none_or(|token| token == *of) =>
                    {
                        *holds -= 1;
                        if *holds == 0 {
                            self.writer = None;
                        }
                        assert_eq!(result, Ok(()));
                    }
                    _ => return is_denied(result),
                }
            }
            Call::Downgrade(owner) => {
                let result = shard.call(session, Downgrade { owner });
                if !matches!(self.writer, Some((who, _, 1)) if who == (session, owner)) {
                    return is_denied(result);
                }
                let token = self.enter((session, owner), false, true).expect("it writes");
                self.writer = None;
                assert_eq!(result, Ok(token));
            }
            Call::IsWriteLocked => {
                assert_eq!(shard.call(session, IsWriteLocked {}), Ok(self.writer.is_some()));
            }
            Call::Readers => assert_eq!(shard.call(session, Readers {}), Ok(self.readers.len() as u64)),
            Call::Holders => assert_eq!(shard.call(session, GetHolders {}), Ok(self.holders())),
        }
        self.let_in(ends);
    }

    fn gone(&mut self, id: usize, ends: &mut Ends<u64>) {
        self.queue.retain(|(waiting, ..)| *waiting != id);
        self.let_in(ends);
    }

    fn session_ended(&mut self, session: u128, ends: &mut Ends<u64>) {
        self.readers.retain(|(reader, _), _| *reader != session);
        self.writer = self.writer.filter(|((writer, _), ..)| *writer != session);
        self.let_in(ends);
    }
}

fn owner() -> impl Strategy<Value = u64> {
    0..2_u64
}

proptest! {
    #[test]
    fn read_write_locks_agree_with_a_slow_model(
        steps in steps(
            (owner(), timeout(), any::<bool>()).prop_map(|(owner, timeout_ms, writes)| match writes {
                true => Ask::Write(Write { owner, timeout_ms }),
                false => Ask::Read(Read { owner, timeout_ms }),
            }),
            prop_oneof![
                1 => owner().prop_map(Call::TryRead),
                1 => owner().prop_map(Call::TryWrite),
                6 => owner().prop_map(Call::UnlockRead),
                6 => (owner(), prop::option::of(0..2_u64)).prop_map(|(owner, behind)| Call::UnlockWrite(owner, behind)),
                2 => owner().prop_map(Call::Downgrade),
                1 => Just(Call::IsWriteLocked),
                1 => Just(Call::Readers),
                1 => Just(Call::Holders),
            ],
        ),
    ) {
        compare(TestShard::new::<Type>(Creation {}), Library::default(), steps);
    }
}

fn lock() -> TestShard {
    TestShard::new::<Type>(Creation {})
}

fn read(shard: &mut TestShard, session: u128, owner: u64) -> Sent<Read> {
    shard.begin(session, Read { owner, timeout_ms: None })
}

fn write(shard: &mut TestShard, session: u128, owner: u64) -> Sent<Write> {
    shard.begin(session, Write { owner, timeout_ms: None })
}

#[test]
fn readers_share_the_lock_but_do_not_overtake_a_writer_that_waits() {
    let mut shard = lock();
    let readers = [1, 2].map(|session| read(&mut shard, session, 0));
    assert!(readers.iter().all(|reader| !shard.waits(reader)));
    let writer = write(&mut shard, 3, 0);
    let late = read(&mut shard, 4, 0);
    assert!(shard.waits(&writer) && shard.waits(&late), "it waits behind the writer");
    assert_eq!(shard.call(5, TryRead { owner: 0 }), Ok(None));
    // Who reads already is not kept out by a writer that waits for it.
    assert_eq!(shard.call(1, TryRead { owner: 0 }), Ok(Some(1)));
    shard.get(UnlockRead { owner: 0 });
    shard.get(UnlockRead { owner: 0 });
    assert!(shard.waits(&writer));
    assert_eq!(shard.call(2, UnlockRead { owner: 0 }), Ok(()));
    let token = shard.take_answer(&writer).expect("its turn").unwrap();
    assert!(token > 2 && shard.waits(&late));
    assert_eq!(shard.call(3, UnlockWrite { owner: 0, token: Some(token) }), Ok(()));
    assert!(shard.take_answer(&late).expect("its turn").unwrap() > token);
}

#[test]
fn an_owner_that_reads_cannot_wait_to_write_but_one_that_writes_may_read_and_goes_on_reading() {
    let mut shard = lock();
    shard.get(Read { owner: 0, timeout_ms: None });
    is_denied(shard.call(1, Write { owner: 0, timeout_ms: None }));
    // Alone it may, as nobody is in its way.
    let token = shard.get(TryWrite { owner: 0 }).expect("nobody else has it");
    shard.expect(Write { owner: 0, timeout_ms: Some(0) }, token);
    shard.get(UnlockRead { owner: 0 });
    let reading = shard.get(Read { owner: 0, timeout_ms: None });
    assert!(reading > token);
    let other = read(&mut shard, 2, 0);
    shard.get(UnlockWrite { owner: 0, token: None });
    assert!(shard.waits(&other), "it is locked for writing once more");
    shard.get(UnlockWrite { owner: 0, token: None });
    assert!(!shard.waits(&other));
    shard.expect(Readers {}, 2);
    shard.expect(IsWriteLocked {}, false);
    shard.expect(TryWrite { owner: 0 }, None);
}

#[test]
fn no_writer_comes_between_a_writing_and_the_reading_that_it_is_turned_into() {
    let mut shard = lock();
    is_denied(shard.call(1, Downgrade { owner: 0 }));
    let token = shard.get(Write { owner: 0, timeout_ms: None });
    let (reader, writer) = (read(&mut shard, 2, 0), write(&mut shard, 3, 0));
    shard.get(Write { owner: 0, timeout_ms: None });
    is_denied(shard.call(1, Downgrade { owner: 0 }));
    shard.get(UnlockWrite { owner: 0, token: None });
    let reading = shard.get(Downgrade { owner: 0 });
    assert!(reading > token);
    assert!(shard.take_answer(&reader).is_some() && shard.waits(&writer));
    is_denied(shard.call(1, UnlockWrite { owner: 0, token: None }));
    shard.get(UnlockRead { owner: 0 });
    assert_eq!(shard.call(2, UnlockRead { owner: 0 }), Ok(()));
    assert!(shard.take_answer(&writer).is_some());
}

#[test]
fn what_a_session_holds_goes_to_those_who_wait_when_it_ends() {
    let mut shard = lock();
    shard.get(Write { owner: 0, timeout_ms: None });
    shard.get(Read { owner: 0, timeout_ms: None });
    let dying_too = read(&mut shard, 1, 7);
    let next = [2, 3].map(|session| read(&mut shard, session, 0));
    shard.goodbye(1);
    assert_eq!(shard.take_answer(&dying_too), Some(Err(CallError::SessionExpired)));
    assert!(next.iter().all(|reader| shard.take_answer(reader).is_some()));
    assert_eq!(shard.call(2, Readers {}), Ok(2));
}

/// A session is told of while it reads or writes, and not after that: else its end would take from it what it does not hold.
#[test]
fn a_session_that_gave_back_one_of_two_still_holds_the_other() {
    let mut shard = lock();
    shard.get(Write { owner: 0, timeout_ms: None });
    shard.get(Downgrade { owner: 0 });
    shard.get(Read { owner: 1, timeout_ms: None });
    shard.get(UnlockRead { owner: 1 });
    let writer = write(&mut shard, 2, 0);
    assert!(shard.waits(&writer));
    shard.goodbye(1);
    assert!(shard.take_answer(&writer).is_some());
    shard.goodbye(1);
    assert_eq!(shard.call(3, IsWriteLocked {}), Ok(true));
}

/// More than one failure-atomic block could give back.
#[test]
fn a_session_of_very_many_owners_gives_all_of_them_back() {
    const OWNERS: u64 = 3_000;
    let mut shard = lock();
    for owner in 0..OWNERS {
        shard.get(Read { owner, timeout_ms: None });
    }
    assert_eq!(shard.call(2, Read { owner: 0, timeout_ms: None }), Ok(OWNERS + 1));
    let writer = write(&mut shard, 3, 0);
    shard.expect(Readers {}, OWNERS + 1);
    assert_eq!(shard.get(GetHolders {}).len(), 100);
    assert_eq!(shard.holders().len(), 100);
    shard.goodbye(1);
    assert_eq!(shard.call(2, Readers {}), Ok(1));
    assert_eq!(shard.call(2, UnlockRead { owner: 0 }), Ok(()));
    assert!(shard.take_answer(&writer).is_some());
}

#[test]
fn very_many_readers_are_let_in_together() {
    let mut shard = lock();
    shard.get(Write { owner: 0, timeout_ms: None });
    let readers: Vec<_> =
        (0..1_000).map(|owner| read(&mut shard, 2 + u128::from(owner % 5), owner)).collect();
    let writer = write(&mut shard, 9, 0);
    shard.get(UnlockWrite { owner: 0, token: None });
    for (reader, token) in readers.iter().zip(2..) {
        assert_eq!(shard.take_answer(reader), Some(Ok(token)));
    }
    assert!(shard.waits(&writer));
}

#[test]
fn who_asks_who_waits_for_whom_is_told_who_reads_and_who_writes() {
    let blocked_by = |session: u128, owner, what: &str| BlockedBy {
        session: format!("{session:032x}"),
        owner: Some(owner),
        what: what.to_owned(),
    };
    let mut shard = lock();
    let token = shard.get(Write { owner: 7, timeout_ms: None });
    read(&mut shard, 2, 3);
    assert_eq!(shard.holders(), [blocked_by(1, 7, "the lock, for writing")]);
    let session = format!("{:032x}", 1);
    shard.expect(GetHolders {}, vec![Holder { session, owner: 7, token, holds: 1 }]);
    shard.get(UnlockWrite { owner: 7, token: None });
    write(&mut shard, 4, 0);
    assert_eq!(shard.holders(), [blocked_by(2, 3, "the lock, for reading")]);
}

#[test]
fn the_lock_is_free_after_a_store_was_closed_and_its_tokens_still_grow() {
    let mut shard = lock();
    let token = shard.get(Write { owner: 0, timeout_ms: None });
    shard.get(Read { owner: 0, timeout_ms: None });
    write(&mut shard, 2, 0);
    let mut shard = shard.reopen();
    shard.expect(GetHolders {}, Vec::new());
    assert!(shard.get(Write { owner: 0, timeout_ms: None }) > token + 1);
}
