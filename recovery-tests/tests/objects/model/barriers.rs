//! Where parties wait for each other.

use super::{
    CallId, Gone, Model, Moment, Session,
    arrays::{joined, numbers_as},
    calls,
    synchronisation::Crowd,
};
use abide_net::CallError;
use abide_schema::{
    MergeOp, NumberKind, Numbers, Wait,
    types::{cyclic_barrier, phaser, reducer},
};
use std::collections::{BTreeMap, BTreeSet};

type Made<T> = Result<T, CallError>;

#[derive(Debug, Clone)]
pub(super) struct CyclicBarrier {
    parties: u32,
    is_broken: bool,
    waiting: Crowd,
}

impl Model for CyclicBarrier {
    calls!(cyclic_barrier);

    fn create(creation: cyclic_barrier::Creation, _: u64) -> Made<Self> {
        if creation.parties == 0 {
            return Err(CallError::bad_argument(""));
        }
        Ok(CyclicBarrier { parties: creation.parties, is_broken: false, waiting: Crowd::default() })
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(call);
        self.is_broken = true;
        self.waiting.release::<()>(moment, Err(CallError::Broken));
        true
    }
}

impl cyclic_barrier::Methods<Moment> for CyclicBarrier {
    fn wait(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<u32>> {
        if self.is_broken {
            return Err(CallError::Broken);
        }
        if self.waiting.len() + 1 < self.parties as usize {
            return Ok(self.waiting.wait(moment, timeout_ms));
        }
        let parties = self.parties;
        self.waiting.release_numbered(moment, |rank| parties - 1 - rank as u32);
        Ok(Wait::Done(0))
    }

    fn waiting(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.waiting.len() as u32)
    }

    fn parties(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.parties)
    }

    fn reset(&mut self, moment: &mut Moment) -> Made<()> {
        self.is_broken = false;
        self.waiting.release::<()>(moment, Err(CallError::Broken));
        Ok(())
    }

    fn is_broken(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.is_broken)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Reducer {
    parties: u32,
    len: u32,
    kind: NumberKind,
    op: MergeOp,
    is_broken: bool,
    generation: u64,
    brought: Vec<Numbers>,
    waiting: Crowd,
}

impl Model for Reducer {
    calls!(reducer);

    fn create(creation: reducer::Creation, _: u64) -> Made<Self> {
        let reducer::Creation { parties, len, kind, op } = creation;
        let makes_sense = match (kind, op) {
            (_, MergeOp::Concat) => false,
            (NumberKind::F64, MergeOp::And | MergeOp::Or | MergeOp::Xor) => false,
            _ => parties > 0,
        };
        if !makes_sense {
            return Err(CallError::bad_argument(""));
        }
        let (brought, waiting) = (Vec::new(), Crowd::default());
        Ok(Reducer { parties, len, kind, op, is_broken: false, generation: 0, brought, waiting })
    }

    fn gone(&mut self, moment: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(call);
        self.is_broken = true;
        self.break_generation(moment);
        true
    }
}

impl Reducer {
    fn break_generation(&mut self, moment: &mut Moment) {
        self.brought.clear();
        self.waiting.release::<()>(moment, Err(CallError::Broken));
    }
}

impl reducer::Methods<Moment> for Reducer {
    fn contribute(
        &mut self,
        moment: &mut Moment,
        values: Numbers,
        timeout_ms: Option<u64>,
    ) -> Made<Wait<Numbers>> {
        if values.len() != self.len as usize {
            return Err(CallError::bad_argument(""));
        }
        let values = numbers_as(values, self.kind)?;
        if self.is_broken {
            return Err(CallError::Broken);
        }
        let mut all = self.brought.clone();
        all.push(values);
        // Whoever brings an overflow is told, and has not come.
        let (first, rest) = all.split_first().expect("one at least");
        let result = rest.iter().try_fold(first.clone(), |sum, new| joined(self.op, &sum, new))?;
        if all.len() < self.parties as usize {
            self.brought = all;
            return Ok(self.waiting.wait(moment, timeout_ms));
        }
        self.brought.clear();
        self.generation += 1;
        self.waiting.release(moment, Ok(&result));
        Ok(Wait::Done(result))
    }

    fn waiting(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.waiting.len() as u32)
    }

    fn parties(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.parties)
    }

    fn reset(&mut self, moment: &mut Moment) -> Made<()> {
        self.is_broken = false;
        self.break_generation(moment);
        Ok(())
    }

    fn is_broken(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.is_broken)
    }

    fn generation(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.generation)
    }
}

/// Who the parties of a phaser are, as far as that is somebody.
#[derive(Debug, Clone, Default)]
pub(super) struct Phaser {
    phase: u64,
    /// Parties that belong to nobody.
    unowned: u32,
    /// Parties by the session that registered them.
    owned: BTreeMap<Session, u32>,
    arrived: u32,
    /// Those of them that arrived by their own session, up to as many as it has.
    arrived_of: BTreeMap<Session, u32>,
    is_terminated: bool,
    /// Who waits for which phase to end.
    waiting: BTreeMap<CallId, u64>,
}

impl Model for Phaser {
    calls!(phaser);

    fn create(creation: phaser::Creation, _: u64) -> Made<Self> {
        Ok(Phaser { unowned: creation.parties, ..Phaser::default() })
    }

    fn gone(&mut self, _: &mut Moment, call: CallId, _: Session, _: Gone) -> bool {
        self.waiting.remove(&call);
        true
    }

    fn session_ended(&mut self, moment: &mut Moment, session: Session) {
        if self.owned.remove(&session).is_some() {
            self.arrived -= self.arrived_of.remove(&session).unwrap_or(0);
            self.settle(moment);
        }
    }
}

impl Phaser {
    fn registered_now(&self) -> u32 {
        self.unowned + self.owned.values().sum::<u32>()
    }

    fn check_running(&self) -> Made<()> {
        if self.is_terminated { Err(CallError::denied("")) } else { Ok(()) }
    }

    /// A party arrives. Returns the phase that it arrives in.
    fn one_arrives(&mut self, session: Session) -> Made<u64> {
        self.check_running()?;
        if self.arrived >= self.registered_now() {
            return Err(CallError::denied(""));
        }
        self.arrived += 1;
        if let Some(owned) = self.owned.get(&session) {
            let arrived = self.arrived_of.entry(session).or_default();
            *arrived = owned.min(&(*arrived + 1)).to_owned();
        }
        Ok(self.phase)
    }

    /// Ends the phase if all have arrived, and the phaser if nobody is left.
    fn settle(&mut self, moment: &mut Moment) {
        let registered = self.registered_now();
        if registered == 0 {
            self.is_terminated = true;
            self.arrived = 0;
            for (call, _) in std::mem::take(&mut self.waiting) {
                moment.answer::<()>(call, Err(CallError::denied("")));
            }
        } else if self.arrived >= registered {
            self.phase += 1;
            self.arrived = 0;
            self.arrived_of.clear();
            let ended: BTreeSet<CallId> = self
                .waiting
                .iter()
                .filter(|(_, phase)| **phase != self.phase)
                .map(|(call, _)| *call)
                .collect();
            for call in ended {
                self.waiting.remove(&call);
                moment.answer(call, Ok(&self.phase));
            }
        }
    }
}

impl phaser::Methods<Moment> for Phaser {
    fn register(&mut self, moment: &mut Moment) -> Made<u64> {
        self.bulk_register(moment, 1)
    }

    fn bulk_register(&mut self, moment: &mut Moment, n: u32) -> Made<u64> {
        self.check_running()?;
        if n > 0 {
            *self.owned.entry(moment.session()).or_default() += n;
        }
        Ok(self.phase)
    }

    fn arrive(&mut self, moment: &mut Moment) -> Made<u64> {
        let phase = self.one_arrives(moment.session())?;
        self.settle(moment);
        Ok(phase)
    }

    fn arrive_and_wait(&mut self, moment: &mut Moment, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        let phase = self.one_arrives(moment.session())?;
        self.settle(moment);
        if self.phase != phase {
            return Ok(Wait::Done(self.phase));
        }
        self.waiting.insert(moment.call(), phase);
        Ok(moment.wait(timeout_ms))
    }

    fn arrive_and_deregister(&mut self, moment: &mut Moment) -> Made<u64> {
        self.check_running()?;
        if self.arrived >= self.registered_now() {
            return Err(CallError::denied(""));
        }
        match self.owned.get_mut(&moment.session()) {
            Some(mine) if *mine > 1 => *mine -= 1,
            Some(_) => drop(self.owned.remove(&moment.session())),
            None if self.unowned > 0 => self.unowned -= 1,
            None => return Err(CallError::denied("")),
        }
        let owned = self.owned.get(&moment.session()).copied().unwrap_or(0);
        if let Some(arrived) = self.arrived_of.get_mut(&moment.session()) {
            *arrived = owned.min(*arrived);
        }
        let phase = self.phase;
        self.settle(moment);
        Ok(phase)
    }

    fn await_phase(&mut self, moment: &mut Moment, phase: u64, timeout_ms: Option<u64>) -> Made<Wait<u64>> {
        if self.phase != phase {
            return Ok(Wait::Done(self.phase));
        }
        self.check_running()?;
        self.waiting.insert(moment.call(), phase);
        Ok(moment.wait(timeout_ms))
    }

    fn phase(&mut self, _: &mut Moment) -> Made<u64> {
        Ok(self.phase)
    }

    fn registered(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.registered_now())
    }

    fn arrived(&mut self, _: &mut Moment) -> Made<u32> {
        Ok(self.arrived)
    }

    fn is_terminated(&mut self, _: &mut Moment) -> Made<bool> {
        Ok(self.is_terminated)
    }
}
