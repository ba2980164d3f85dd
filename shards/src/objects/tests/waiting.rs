//! Objects that calls wait in, against slow models.

use super::driver::{Sent, TestShard};
use abide_net::CallError;
use abide_schema::Method;
use proptest::prelude::*;
use std::{collections::BTreeMap, fmt::Debug};

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step<W, O> {
    /// A session makes a call that may wait.
    Wait(u128, W),
    /// A session makes another call.
    Other(u128, O),
    /// A client gives up one of the calls that were made so far.
    Cancel(prop::sample::Index),
    /// A client sends one of them again.
    Retry(prop::sample::Index),
    /// A session ends.
    End(u128),
    /// So many milliseconds pass.
    Pass(u64),
}

/// Steps of a few sessions.
pub(super) fn steps<W: Debug + Clone, O: Debug + Clone>(
    wait: impl Strategy<Value = W> + 'static,
    other: impl Strategy<Value = O> + 'static,
) -> impl Strategy<Value = Vec<Step<W, O>>> {
    let session = 1..4_u128;
    let step = prop_oneof![
        8 => (session.clone(), wait).prop_map(|(session, wait)| Step::Wait(session, wait)),
        8 => (session.clone(), other).prop_map(|(session, other)| Step::Other(session, other)),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => any::<prop::sample::Index>().prop_map(Step::Retry),
        1 => session.prop_map(Step::End),
        2 => (0..15_u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

/// A time-out that often passes during a test.
pub(super) fn timeout() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![2 => Just(None), 1 => (0..40_u64).prop_map(Some)]
}

/// How calls that may wait ended, by their numbers.
pub(super) type Ends<T> = BTreeMap<usize, Result<T, CallError>>;

/// Calls that may wait: of one method, or of one of several.
pub(super) trait Waits: Debug + Clone {
    /// What they return.
    type Output: Debug + PartialEq + Clone;
    /// Makes the call.
    fn begin(self, shard: &mut TestShard, session: u128) -> Sent<Self>;
    /// The answer to it, if it is there. It is there once.
    fn take_answer(
        &self,
        shard: &mut TestShard,
        sent: &Sent<Self>,
    ) -> Option<Result<Self::Output, CallError>>;
}

impl<M: Method<Output: Debug + PartialEq + Clone> + Debug + Clone> Waits for M {
    type Output = M::Output;

    fn begin(self, shard: &mut TestShard, session: u128) -> Sent<Self> {
        shard.begin(session, self)
    }

    fn take_answer(&self, shard: &mut TestShard, sent: &Sent<M>) -> Option<Result<M::Output, CallError>> {
        shard.take_answer(sent)
    }
}

/// Implements [`Waits`] for an enum of methods: `waits!(Call -> Output { Variant(Method) => how its output becomes the enum's })`.
macro_rules! waits {
    ($kind:ident -> $output:ty { $($variant:ident($method:ty) => $into:expr),* $(,)? }) => {
        impl $crate::objects::tests::waiting::Waits for $kind {
            type Output = $output;

            fn begin(self, shard: &mut $crate::objects::tests::driver::TestShard, session: u128) -> $crate::objects::tests::driver::Sent<Self> {
                match self { $($kind::$variant(method) => shard.begin(session, method).of_kind(),)* }
            }

            fn take_answer(
                &self,
                shard: &mut $crate::objects::tests::driver::TestShard,
                sent: &$crate::objects::tests::driver::Sent<Self>,
            ) -> Option<Result<$output, abide_net::CallError>> {
                match self {
                    $($kind::$variant(_) => {
                        let sent: $crate::objects::tests::driver::Sent<$method> = sent.clone().of_kind();
                        Some(shard.take_answer(&sent)?.map($into))
                    })*
                }
            }
        }
    };
}
pub(super) use waits;

/// A slow and plain account of what an object does.
pub(super) trait Model {
    /// Calls that may wait.
    type Wait: Waits;
    /// Other calls.
    type Other: Debug + Clone;

    /// When such a call ends at the latest.
    fn timeout_ms(wait: &Self::Wait) -> Option<u64>;
    /// Call `id` is made, which ends or begins to wait.
    fn wait(&mut self, id: usize, session: u128, wait: Self::Wait, ends: &mut Ends<Output<Self>>);
    /// Makes another call, on the model and on the shard, and compares their results.
    fn other(
        &mut self,
        shard: &mut TestShard,
        session: u128,
        other: Self::Other,
        ends: &mut Ends<Output<Self>>,
    );
    /// So much time passes. Comes before the time-outs that come with it.
    fn passes(&mut self, ms: u64, ends: &mut Ends<Output<Self>>) {
        let _ = (ms, ends);
    }
    /// The time-out of call `id` passes. Says whether it waits on all the same, for something else and without a time-out, or the model
    /// has ended it otherwise.
    fn waits_on(&mut self, id: usize, ends: &mut Ends<Output<Self>>) -> bool {
        let _ = (id, ends);
        false
    }
    /// Call `id` waits no more.
    fn gone(&mut self, id: usize, ends: &mut Ends<Output<Self>>);
    /// A session ended, and none of its calls waits any more.
    fn session_ended(&mut self, session: u128, ends: &mut Ends<Output<Self>>);
}

type Output<M> = <<M as Model>::Wait as Waits>::Output;

/// A call that may wait, as the test sees it.
struct Made<M: Model> {
    wait: M::Wait,
    sent: Sent<M::Wait>,
    deadline_ms: Option<u64>,
    /// Its session has ended since.
    buried: bool,
    /// It failed without waiting. That changed nothing and is recorded nowhere: who asks again after a restart makes another call.
    failed_at_once: bool,
    answer: Option<Result<Output<M>, CallError>>,
}

struct Run<M: Model> {
    shard: TestShard,
    model: M,
    now_ms: u64,
    made: Vec<Made<M>>,
    ends: Ends<Output<M>>,
}

/// Takes the steps on the shard and on the model, and compares what calls were told after each.
pub(super) fn compare<M: Model>(shard: TestShard, model: M, steps: Vec<Step<M::Wait, M::Other>>) {
    let mut run = Run { shard, model, now_ms: 0, made: Vec::new(), ends: Ends::new() };
    for step in steps {
        run.take(step);
        run.shard.pass_ms(0);
        run.end_what_is_due();
        run.compare();
    }
    assert_eq!(run.shard.answers_left(), 0, "answers that nobody asked for");
}

impl<M: Model> Run<M> {
    fn waits(&self, id: usize) -> bool {
        !self.ends.contains_key(&id)
    }

    fn end(&mut self, id: usize, error: CallError) {
        if self.waits(id) {
            self.ends.insert(id, Err(error));
            self.model.gone(id, &mut self.ends);
        }
    }

    fn end_what_is_due(&mut self) {
        let mut due: Vec<_> = (0..self.made.len())
            .filter_map(|id| Some((self.made[id].deadline_ms?, id)))
            .filter(|(deadline_ms, _)| *deadline_ms <= self.now_ms)
            .collect();
        due.sort();
        for (_, id) in due {
            self.made[id].deadline_ms = None;
            if self.waits(id) && !self.model.waits_on(id, &mut self.ends) {
                self.end(id, CallError::TimedOut);
            }
        }
    }

    fn take(&mut self, step: Step<M::Wait, M::Other>) {
        match step {
            Step::Wait(session, wait) => {
                let id = self.made.len();
                let deadline_ms = M::timeout_ms(&wait).map(|ms| self.now_ms + ms);
                let sent = wait.clone().begin(&mut self.shard, session);
                let made = Made {
                    wait: wait.clone(),
                    sent,
                    deadline_ms,
                    buried: false,
                    failed_at_once: false,
                    answer: None,
                };
                self.made.push(made);
                self.model.wait(id, session, wait, &mut self.ends);
                self.made[id].failed_at_once = matches!(self.ends.get(&id), Some(Err(_)));
            }
            Step::Other(session, other) => {
                self.model.other(&mut self.shard, session, other, &mut self.ends);
            }
            Step::Cancel(index) if !self.made.is_empty() => {
                let id = index.index(self.made.len());
                self.shard.cancel(&self.made[id].sent);
                self.end(id, CallError::Cancelled);
            }
            Step::Retry(index) if !self.made.is_empty() => {
                let id = index.index(self.made.len());
                let made = &mut self.made[id];
                if !made.buried && !made.failed_at_once {
                    made.sent = self.shard.retry(&made.sent);
                    made.answer = None;
                }
            }
            Step::Cancel(_) | Step::Retry(_) => {}
            Step::End(session) => {
                self.shard.goodbye(session);
                for id in 0..self.made.len() {
                    if self.made[id].sent.session == session {
                        self.end(id, CallError::SessionExpired);
                        self.made[id].buried = true;
                    }
                }
                self.model.session_ended(session, &mut self.ends);
            }
            Step::Pass(ms) => {
                self.now_ms += ms;
                self.shard.pass_ms(ms);
                self.model.passes(ms, &mut self.ends);
            }
        }
    }

    fn compare(&mut self) {
        for (id, made) in self.made.iter_mut().enumerate() {
            if let Some(answer) = made.wait.take_answer(&mut self.shard, &made.sent) {
                assert_eq!(made.answer, None, "call {id} was answered twice");
                made.answer = Some(answer);
            }
            assert_eq!(made.answer.as_ref(), self.ends.get(&id), "call {id}: shard (left) and model (right)");
        }
    }
}
