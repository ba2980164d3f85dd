//! The judge judged: a store that does something else than the models say is found out, whatever it does wrong.
//!
//! The other way round, which is the same: the shards are right and the model is altered. Each alteration is a mistake that
//! somebody made once, in this library or in others.

use crate::{
    asked::Style,
    model::{Answer, AnyModel, CallId, Gone, Hints, Moment, Session},
    registered,
    run::{Plan, Restarts, Run},
    stores::shard::{InHand, START_US},
};
use abide_net::{CallError, codec};
use abide_schema::{
    Method, ObjectType, Progress,
    types::{
        atomic_int, atomic_long, condition, count_down_latch, cyclic_barrier, find_type_id, id_generator,
        list, map, mutex, priority_queue, queue, semaphore, sorted_map, topic,
    },
};
use serde::Serialize;
use std::fmt::Debug;

/// What is altered in a model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mistake {
    /// A call of this method is made twice, as by a client that retries.
    Twice(u16),
    /// A call of this method is answered as if it were this one.
    Instead(u16, u16),
    /// A call of this method is answered, and does nothing.
    Lost(u16),
    /// A call of this method is answered with the encoding of this byte, whatever it does.
    Says(u16, u8),
    /// What a session holds stays held when it ends.
    NothingGivenBack,
    /// A call that is gone stays in the object.
    Ghost,
    /// Calls that leave together leave in the wrong order.
    Unfair,
}

#[derive(Debug)]
pub(crate) struct Altered {
    pub(crate) model: Box<dyn AnyModel>,
    pub(crate) mistake: Mistake,
}

impl AnyModel for Altered {
    fn copy(&self) -> Box<dyn AnyModel> {
        Box::new(Altered { model: self.model.copy(), mistake: self.mistake })
    }

    fn call(
        &mut self,
        moment: &mut Moment,
        method: u16,
        arguments: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress, CallError> {
        match self.mistake {
            Mistake::Twice(twice) if twice == method => {
                self.model.call(moment, method, arguments, &mut Vec::new())?;
                self.model.call(moment, method, arguments, out)
            }
            Mistake::Instead(this, other) if this == method => self.model.call(moment, other, arguments, out),
            Mistake::Lost(lost) if lost == method => self.model.copy().call(moment, method, arguments, out),
            Mistake::Says(method_said, byte) if method_said == method => {
                let progress = self.model.call(moment, method, arguments, out)?;
                if progress == Progress::Done {
                    out.clear();
                    out.push(byte);
                }
                Ok(progress)
            }
            Mistake::Unfair => {
                let progress = self.model.call(moment, method, arguments, out)?;
                moment.turn_round();
                Ok(progress)
            }
            _ => self.model.call(moment, method, arguments, out),
        }
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, session: Session, why: Gone) -> bool {
        match self.mistake {
            Mistake::Ghost => {
                let mut model = self.model.copy();
                model.gone(moment, call, session, why)
            }
            _ => self.model.gone(moment, call, session, why),
        }
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        if !matches!(self.mistake, Mistake::NothingGivenBack) {
            self.model.session_ended(moment, session);
        }
    }

    fn due_us(&self) -> Option<u64> {
        self.model.due_us()
    }

    fn due(&mut self, moment: &mut Moment) {
        self.model.due(moment);
    }

    fn accept(&mut self, method: u16, arguments: &[u8], expected: &[u8], told: &[u8]) -> Result<(), String> {
        self.model.accept(method, arguments, expected, told)
    }

    fn hints(&self) -> Hints {
        self.model.hints()
    }
}

/// Whether the judge finds a mistake, within a few seeds.
fn is_found(type_id: u16, mistake: Mistake) -> bool {
    (0..20).any(|seed| {
        let plan = Plan {
            types: &[type_id],
            steps: 150,
            style: Style::Exact,
            persistent: false,
            restarts: Restarts::Never,
            start_us: START_US,
            slots: 5,
        };
        let mut store = InHand::new(false);
        let alter = |world: crate::model::world::World| {
            world.altered(move |model| Box::new(Altered { model, mistake }) as Box<dyn AnyModel>)
        };
        match Run::new(seed, plan, &mut store, alter).run() {
            Ok(()) => false,
            Err(difference) => {
                assert!(difference.contains("call "), "a difference says at which call: {difference}");
                true
            }
        }
    })
}

#[test]
fn mistakes_in_models_are_found() {
    use Mistake::*;
    let types = registered();
    let mistakes = [
        (atomic_long::Type::ID, Twice(atomic_long::AddAndGet::ID)),
        (atomic_int::Type::ID, Lost(atomic_int::GetAndIncrement::ID)),
        (atomic_int::Type::ID, Instead(atomic_int::FetchMin::ID, atomic_int::FetchMax::ID)),
        (list::Type::ID, Instead(list::PopFront::ID, list::PopBack::ID)),
        (map::Type::ID, Lost(map::Remove::ID)),
        (map::Type::ID, Says(map::ContainsKey::ID, 1)),
        (sorted_map::Type::ID, Instead(sorted_map::Floor::ID, sorted_map::Lower::ID)),
        (queue::Type::ID, Twice(queue::Poll::ID)),
        (queue::Type::ID, Ghost),
        (priority_queue::Type::ID, Instead(priority_queue::Peek::ID, priority_queue::Pop::ID)),
        (topic::Type::ID, Lost(topic::Publish::ID)),
        (id_generator::Type::ID, Lost(id_generator::Next::ID)),
        (cyclic_barrier::Type::ID, Unfair),
        (cyclic_barrier::Type::ID, Lost(cyclic_barrier::Reset::ID)),
        (count_down_latch::Type::ID, Twice(count_down_latch::CountDown::ID)),
        (semaphore::Type::ID, NothingGivenBack),
        (semaphore::Type::ID, Ghost),
        (mutex::Type::ID, NothingGivenBack),
        (mutex::Type::ID, Lost(mutex::Unlock::ID)),
        (condition::Type::ID, Instead(condition::NotifyOne::ID, condition::NotifyAll::ID)),
    ];
    for (type_id, mistake) in mistakes.into_iter().filter(|(type_id, _)| types.contains(type_id)) {
        let name = find_type_id(type_id).expect("built in").name;
        assert!(is_found(type_id, mistake), "{name}: {mistake:?} is not found");
    }
}

#[test]
fn a_wrong_answer_is_shown_with_the_call_and_both_answers() {
    let plan = Plan {
        types: &[atomic_long::Type::ID],
        steps: 200,
        style: Style::Exact,
        persistent: false,
        restarts: Restarts::Never,
        start_us: START_US,
        slots: 5,
    };
    let alter = |world: crate::model::world::World| {
        let mistake = Mistake::Lost(atomic_long::IncrementAndGet::ID);
        world.altered(move |model| Box::new(Altered { model, mistake }) as Box<dyn AnyModel>)
    };
    let difference =
        Run::new(3, plan, &mut InHand::new(false), alter).run().expect_err("an increment is lost");
    let mut lines: Vec<&str> = difference.lines().collect();
    assert!(lines[0].starts_with("AtomicLong, created with"), "{difference}");
    let last = lines.split_off(lines.len() - 2);
    assert!(last[0].contains("is told") && last[1].contains("should be"), "{difference}");
}

fn encoded<T: Serialize + Debug>(result: T) -> Answer {
    Ok(codec::encode(&result).expect("results can be encoded"))
}

/// The models themselves, on a few sequences whose answers were written down by hand.
#[test]
fn models_say_what_was_written_down() {
    use crate::{asked::Asked, model::world::World};
    let empty = codec::encode(&queue::Creation { capacity: Some(1) }).expect("it can be encoded");
    let mut world = World::new(queue::Type::ID, &empty, 0);
    let value = |n: i128| abide_net::Value::integer(n).expect("it fits");
    let put = |n| Asked::of(queue::Put { value: value(n), timeout_ms: None });
    let call = CallId;
    assert_eq!(world.call(1, call(1), &put(1)), [(call(1), encoded(()))]);
    assert_eq!(world.call(1, call(2), &put(2)), []);
    assert_eq!(world.call(2, call(3), &put(3)), []);
    let offer = Asked::of(queue::Offer { value: value(9) });
    assert_eq!(world.call(2, call(4), &offer), [(call(4), encoded(false))]);
    let take = Asked::of(queue::Take { timeout_ms: Some(1) });
    assert_eq!(world.call(1, call(5), &take), [(call(2), encoded(())), (call(5), encoded(value(1)))]);
    assert_eq!(world.end_session(2), [(call(3), Err(CallError::SessionExpired))]);
    assert_eq!(world.call(1, call(6), &take), [(call(6), encoded(value(2)))]);
    assert_eq!(world.call(1, call(7), &take), []);
    assert_eq!(world.pass_until(999), []);
    assert_eq!(world.pass_until(1_000), [(call(7), Err(CallError::TimedOut))]);
    assert_eq!(world.call(1, call(8), &put(4)), [(call(8), encoded(()))]);
}
