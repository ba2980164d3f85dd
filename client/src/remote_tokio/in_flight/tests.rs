use super::*;
use crate::remote::{
    node::tests::{incarnation, request},
    session::{Session, Standing},
};
use abide_net::{
    MethodKind::{self, Read, Wait, Write},
    codec,
    frame::{Next, Reply, next_frame},
};
use tokio::sync::oneshot::{Receiver, channel, error::TryRecvError};

type Outcome = Result<(u64, Vec<u8>), CallError>;

/// What was written, as a node would see it.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Seen {
    Call { key: String, name: CallName, first: bool, retry: bool },
    Cancel(CallName),
    Heartbeat,
}

struct Driver {
    calls: InFlight,
    session: Arc<Session>,
    stay: Arc<Stay>,
    now: Instant,
}

impl Driver {
    fn new() -> Driver {
        Driver::in_epoch(7, Arc::new(Session::new()))
    }

    fn in_epoch(epoch: u64, session: Arc<Session>) -> Driver {
        let stay = Arc::new(Stay::new(session.clone(), Arc::new(incarnation(epoch, 4, &[7400]))));
        let now = Instant::now();
        Driver { calls: InFlight::new(stay.clone(), 0, now), session, stay, now }
    }

    fn up() -> Driver {
        let mut driver = Driver::new();
        driver.calls.up(driver.now);
        driver
    }

    fn start(&mut self, key: &str, kind: MethodKind) -> (CallName, Receiver<Outcome>) {
        let (sender, receiver) = channel();
        let request = request(key, kind);
        let route = self.stay.incarnation.route(&request).unwrap();
        (self.calls.start(self.now, &request, route, sender).unwrap(), receiver)
    }

    fn written(&mut self) -> Vec<Seen> {
        let (mut batch, mut used, mut seen) = (Vec::new(), 0, Vec::new());
        self.calls.take(&mut batch);
        while let Next::Frame(frame, length) = next_frame(&batch[used..], 1 << 20).unwrap() {
            used += length;
            seen.push(match frame {
                Frame::Call(call) => Seen::Call {
                    key: call.key.to_owned(),
                    name: CallName { slot: call.slot, sequence: call.sequence },
                    first: call.first,
                    retry: call.retry,
                },
                Frame::Cancel { slot, sequence } => Seen::Cancel(CallName { slot, sequence }),
                Frame::Heartbeat => Seen::Heartbeat,
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(used, batch.len());
        seen
    }

    fn reply(&mut self, name: CallName, result: Result<&[u8], &CallError>) {
        let error = result.err().map(|error| codec::encode(error).unwrap());
        let result = result.map_err(|_| error.as_deref().unwrap_or_default());
        self.frame(Frame::Reply(Reply { slot: name.slot, sequence: name.sequence, result }));
    }

    fn frame(&mut self, frame: Frame<'_>) {
        let mut answers = Answers::default();
        self.calls.frame(frame, &mut answers).unwrap();
        answers.deliver();
    }

    fn give_up(&mut self, after: Duration) {
        let mut answers = Answers::default();
        self.calls.give_up(self.now + after, Duration::from_secs(30), "nobody there", &mut answers);
        answers.deliver();
    }
}

fn call(key: &str, name: CallName, first: bool, retry: bool) -> Seen {
    Seen::Call { key: key.to_owned(), name, first, retry }
}

#[test]
fn calls_go_out_in_one_batch_and_each_answer_finds_its_call() {
    let mut driver = Driver::up();
    let (a, mut answer_a) = driver.start("a", Write);
    let (b, mut answer_b) = driver.start("a", Wait);
    assert_eq!(driver.written(), [call("a", a, true, false), call("a", b, true, false)]);
    assert_eq!(driver.written(), []);
    driver.reply(b, Ok(b"b"));
    assert_eq!(answer_b.try_recv(), Ok(Ok((7, b"b".to_vec()))));
    assert_eq!(answer_a.try_recv(), Err(TryRecvError::Empty));
    driver.reply(a, Err(&CallError::TimedOut));
    assert_eq!(answer_a.try_recv(), Ok(Err(CallError::TimedOut)));
    let (c, _answer) = driver.start("a", Read);
    assert_eq!(c, CallName { slot: a.slot, sequence: a.sequence + 1 }, "the slot is used again");
    assert_eq!(driver.written(), [call("a", c, false, false)], "the shard knows the session");
}

#[test]
fn what_may_have_arrived_is_sent_again_as_a_retry_in_the_old_order() {
    let mut driver = Driver::up();
    let (a, _answer_a) = driver.start("a", Write);
    let (b, _answer_b) = driver.start("b", Wait);
    driver.written();
    let (c, _answer_c) = driver.start("c", Write);
    driver.calls.down(driver.now, true);
    let (d, _answer_d) = driver.start("d", Write);
    assert_eq!(driver.written(), [], "nothing is written while the connection is down");
    driver.calls.up(driver.now);
    let first_try = |key, name| call(key, name, true, false);
    let expected = [call("a", a, true, true), call("b", b, true, true), first_try("c", c), first_try("d", d)];
    assert_eq!(driver.written(), expected);
}

#[test]
fn a_cancelled_call_keeps_its_slot_until_the_node_has_answered() {
    let mut driver = Driver::up();
    let (a, answer) = driver.start("a", Wait);
    driver.written();
    drop(answer);
    driver.calls.cancel(a);
    assert_eq!(driver.written(), [Seen::Cancel(a)]);
    assert_eq!(driver.session.slots.under_way(), 1);
    driver.calls.down(driver.now, true);
    driver.calls.up(driver.now);
    assert_eq!(driver.written(), [call("a", a, true, true), Seen::Cancel(a)], "it may still wait there");
    driver.reply(a, Err(&CallError::Cancelled));
    assert_eq!(driver.session.slots.under_way(), 0);
    // A name that was given up means nothing any more.
    let (b, mut answer) = driver.start("a", Wait);
    assert_eq!(b.slot, a.slot);
    driver.calls.cancel(a);
    driver.reply(a, Ok(b"late"));
    assert_eq!(driver.written(), [call("a", b, false, false)]);
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn a_call_behind_a_cancelled_one_stays_behind_it() {
    // An asynchronous lock that is given up: CANCEL, and then an unlock in case that it was granted.
    let mut driver = Driver::up();
    let (lock, _) = driver.start("lock", Wait);
    driver.calls.cancel(lock);
    let (unlock, _answer) = driver.start("lock", Write);
    let sent =
        |retry| [call("lock", lock, true, retry), Seen::Cancel(lock), call("lock", unlock, true, retry)];
    assert_eq!(driver.written(), sent(false));
    driver.calls.down(driver.now, true);
    driver.calls.up(driver.now);
    assert_eq!(driver.written(), sent(true));
}

#[test]
fn what_nobody_waits_for_is_not_sent_again_without_need() {
    let mut driver = Driver::up();
    let (read, _) = driver.start("a", Read);
    let (write, _) = driver.start("a", Write);
    driver.written();
    driver.calls.cancel(read);
    driver.calls.cancel(write);
    assert_eq!(driver.written(), [], "they do not wait in their object");
    driver.calls.down(driver.now, true);
    let (unsent, _) = driver.start("a", Wait);
    driver.calls.cancel(unsent);
    driver.calls.up(driver.now);
    assert_eq!(
        driver.written(),
        [call("a", write, true, true)],
        "whether it is made is up to the first time"
    );
    assert_eq!(driver.session.slots.under_way(), 1);
}

#[test]
fn calls_are_given_up_as_what_is_known_of_them() {
    let mut driver = Driver::up();
    let (_, mut written) = driver.start("a", Write);
    let (_, mut read) = driver.start("a", Read);
    driver.written();
    driver.calls.down(driver.now, true);
    let (_, mut unsent) = driver.start("a", Write);
    driver.give_up(Duration::from_secs(29));
    assert_eq!(written.try_recv(), Err(TryRecvError::Empty));
    driver.give_up(Duration::from_secs(30));
    assert!(matches!(written.try_recv(), Ok(Err(CallError::Unknown { .. }))));
    assert!(matches!(read.try_recv(), Ok(Err(CallError::Unavailable { .. }))));
    assert!(matches!(unsent.try_recv(), Ok(Err(CallError::Unavailable { .. }))));
    assert_eq!((driver.session.slots.under_way(), driver.calls.needs_connection()), (0, false));
}

#[test]
fn calls_that_end_with_their_runtime_may_have_been_made_if_they_were_written() {
    let mut driver = Driver::up();
    let (_, mut written) = driver.start("a", Write);
    driver.written();
    let (_, mut queued) = driver.start("a", Write);
    let mut answers = Answers::default();
    assert!(driver.calls.end_calls(|delivery| delivery.given_up("over".to_owned()), &mut answers));
    answers.deliver();
    assert!(matches!(written.try_recv(), Ok(Err(CallError::Unknown { .. }))));
    assert!(matches!(queued.try_recv(), Ok(Err(CallError::Unavailable { .. }))));
    driver.calls.end(CallError::NoSpace);
    let (sender, _receiver) = channel();
    let request = request("a", Write);
    let route = driver.stay.incarnation.route(&request).unwrap();
    let refused = driver.calls.start(driver.now, &request, route, sender);
    assert!(matches!(refused, Err(Refused::Error(CallError::NoSpace))), "{refused:?}");
}

#[test]
fn time_on_a_good_connection_uses_up_no_patience() {
    let mut driver = Driver::up();
    let (_, _answer) = driver.start("a", Wait);
    driver.written();
    let later = driver.now + Duration::from_secs(3600);
    driver.calls.down(later, true);
    assert_eq!(driver.calls.next_give_up(Duration::from_secs(30)), Some(later + Duration::from_secs(30)));
    // One that never proved itself does not count.
    driver.calls.up(later);
    driver.calls.down(later + Duration::from_secs(20), false);
    assert_eq!(driver.calls.next_give_up(Duration::from_secs(30)), Some(later + Duration::from_secs(30)));
}

#[test]
fn the_end_of_a_session_is_unknown_to_retries_alone() {
    let mut driver = Driver::up();
    let (first, mut answer) = driver.start("a", Write);
    driver.written();
    driver.reply(first, Err(&CallError::SessionExpired));
    assert_eq!(answer.try_recv(), Ok(Err(CallError::SessionExpired)));
    assert_eq!(driver.session.standing(), Standing::EndedAndTold);

    let mut driver = Driver::up();
    let (retried, mut answer) = driver.start("a", Write);
    driver.written();
    driver.calls.down(driver.now, true);
    driver.calls.up(driver.now);
    driver.written();
    driver.reply(retried, Err(&CallError::SessionExpired));
    assert!(matches!(answer.try_recv(), Ok(Err(CallError::Unknown { .. }))));

    let mut driver = Driver::up();
    let (dropped, _) = driver.start("a", Wait);
    driver.calls.cancel(dropped);
    driver.written();
    driver.reply(dropped, Err(&CallError::SessionExpired));
    assert_eq!(driver.session.standing(), Standing::Ended, "nobody has heard of it");
}

#[test]
fn a_heartbeat_is_sent_once_and_again_when_it_may_be_lost() {
    let mut driver = Driver::new();
    driver.calls.want_heartbeat(driver.now);
    assert!(driver.calls.needs_connection());
    driver.calls.up(driver.now);
    driver.calls.want_heartbeat(driver.now);
    assert_eq!(driver.written(), [Seen::Heartbeat]);
    driver.calls.down(driver.now, true);
    driver.calls.up(driver.now);
    assert_eq!(driver.written(), [Seen::Heartbeat]);
    driver.frame(Frame::Alive { alive: true });
    assert!(!driver.calls.needs_connection());
    assert!(driver.session.lives());
    driver.stay.contacts(0);
    driver.frame(Frame::Alive { alive: false });
    assert_eq!(driver.session.standing(), Standing::Ended);
}

#[test]
fn only_silence_that_owes_an_answer_counts() {
    let patience = Duration::from_secs(10);
    let mut driver = Driver::up();
    let began = driver.now;
    let (_, _answer) = driver.start("a", Wait);
    driver.written();
    assert_eq!(driver.calls.silent_at(patience), None, "a call that waits owes nothing");
    driver.now += Duration::from_secs(60);
    let (quick, _answer) = driver.start("a", Write);
    assert_eq!(driver.calls.silent_at(patience), Some(began + Duration::from_secs(70)));
    driver.calls.heard(driver.now + Duration::from_secs(5));
    assert_eq!(driver.calls.silent_at(patience), Some(began + Duration::from_secs(75)));
    driver.written();
    driver.reply(quick, Ok(b""));
    assert_eq!(driver.calls.silent_at(patience), None);
    driver.calls.want_heartbeat(driver.now);
    let lease = driver.stay.incarnation.lease;
    assert_eq!(driver.calls.silent_at(patience), Some(driver.now + lease / 3), "before the lease is over");
}

#[test]
fn bytes_under_way_are_bounded() {
    let mut driver = Driver::new();
    let megabyte = vec![1; 1 << 20];
    let request = Request { arguments: &megabyte[100..], ..request("a", Write) };
    let route = driver.stay.incarnation.route(&request).unwrap();
    let mut receivers = Vec::new();
    let refused = loop {
        let (sender, receiver) = channel();
        match driver.calls.start(driver.now, &request, route, sender) {
            Ok(name) => receivers.push((name, receiver)),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Refused::Error(CallError::Unavailable { .. })), "{refused:?}");
    assert_eq!(receivers.len(), 257);
    let (name, _) = receivers.pop().unwrap();
    driver.calls.cancel(name);
    driver.start("b", Write);
}

#[test]
fn the_flags_of_an_encoded_call_can_be_changed() {
    let request = request("a key", Write);
    let name = CallName { slot: 3, sequence: 4 };
    let encoded = |first, retry| {
        let mut frame = Vec::new();
        Frame::Call(call_of(&request, Attempt { name, shard: 1, first, retry })).encode(&mut frame);
        frame
    };
    let mut changed = encoded(false, false);
    for (first, retry) in [(true, false), (true, true), (false, true), (false, false)] {
        set_flags(&mut changed, first, retry);
        assert_eq!(changed, encoded(first, retry));
    }
}

/// All calls of one incarnation go on in the next.
fn restart(driver: &mut Driver) -> Driver {
    let mut next = Driver::in_epoch(8, driver.session.clone());
    for mut call in driver.calls.leave() {
        let route = call.route_again(&next.stay.incarnation, driver.stay.epoch()).unwrap();
        next.calls.take_in(call, route);
    }
    next.calls.up(next.now);
    next
}

#[test]
fn calls_go_on_in_the_next_incarnation_under_their_names_and_in_their_order() {
    let mut driver = Driver::up();
    let (known, mut answer_known) = driver.start("lock", Write);
    driver.written();
    driver.reply(known, Ok(b""));
    answer_known.try_recv().unwrap().unwrap();
    let (lock, _) = driver.start("lock", Wait);
    driver.calls.cancel(lock);
    let (unlock, mut answer) = driver.start("lock", Write);
    driver.written();
    let mut next = restart(&mut driver);
    // The shard is contacted for the first time, and the lock is cancelled before the unlock.
    let again = [call("lock", lock, true, true), Seen::Cancel(lock), call("lock", unlock, true, true)];
    assert_eq!(next.written(), again);
    assert!(!driver.calls.needs_connection());
    driver.reply(unlock, Ok(b"of the node that is gone"));
    assert_eq!(answer.try_recv(), Err(TryRecvError::Empty));
    next.reply(unlock, Ok(b"unlocked"));
    assert_eq!(answer.try_recv(), Ok(Ok((8, b"unlocked".to_vec()))), "with the epoch that answered");
    next.reply(lock, Err(&CallError::Cancelled));
    assert_eq!(next.session.slots.under_way(), 0);
}

#[test]
fn a_call_that_comes_too_late_for_an_incarnation_comes_back() {
    let mut driver = Driver::up();
    let _next = restart(&mut driver);
    let (sender, _receiver) = channel();
    let request = request("a", Write);
    let route = driver.stay.incarnation.route(&request).unwrap();
    let refused = driver.calls.start(driver.now, &request, route, sender);
    assert!(matches!(refused, Err(Refused::Moved(_))), "{refused:?}");
    assert_eq!(driver.session.slots.under_way(), 0);
}

#[test]
fn a_change_that_may_have_been_made_says_that_it_has_seen_its_object() {
    let mut driver = Driver::up();
    let (_, _answer) = driver.start("a", Write);
    driver.written();
    let (_, _other) = driver.start("b", Write);
    let mut next = restart(&mut driver);
    let (mut batch, mut used, mut epochs) = (Vec::new(), 0, Vec::new());
    next.calls.take(&mut batch);
    while let Next::Frame(Frame::Call(call), length) = next_frame(&batch[used..], 1 << 20).unwrap() {
        used += length;
        epochs.push((call.key.to_owned(), call.epoch));
    }
    assert_eq!(epochs, [("a".to_owned(), 7), ("b".to_owned(), 0)], "nothing of the other one was sent");
}
