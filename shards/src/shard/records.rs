//! What a shard notes in a space's heap beside its objects: its books.
//!
//! They are a bundle under a name that no object can have. Both spaces have them, for expiry and releases; only those of the
//! persistent space hold sessions, answers, waiters and holds, each written in the same failure-atomic block as the effect it
//! belongs to. Books of an ephemeral space lose nothing by that: what they would describe is in ordinary memory anyway.
//!
//! ```text
//! 0  map   sessions   session -> SessionRecord
//! 1  map   answers    session, slot -> the slot's newest answered call
//! 2  tree  seeded     session, slot, sequence -> an answered call of a seeded session
//! 3  map   waiters    waiter -> WaiterRecord
//! 4  tree  holds      session, object -> nothing
//! 5  tree  expiries   time, object -> nothing
//! 6  tree  releases   name of a bundle: calls that left a queue together and are not all answered yet (release.rs)
//! ```

use super::{
    object::{SessionId, WaiterId},
    sessions::SessionTerms,
};
use crate::state::{Block, Fields, Pair, damaged, refuse};
use abide_net::{CallError, codec};
use abide_pmem::{
    View,
    types::{Map, SortedMap, TypeError},
};
use serde::{Deserialize, Serialize};

/// Number of fields of the books.
pub(super) const BOOK_FIELDS: u32 = 7;

/// Their name in the directory: type 0 is the shard itself, of which there is no object.
pub(super) const BOOKS_NAME: &[u8] = b"\0\0books";

/// Names of releases begin like this, and end with the id of the first waiter.
pub(super) const RELEASE_PREFIX: &[u8] = b"\0\0release/";

/// A session that changed persistent objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) lease_us: u64,
    pub(super) is_seeded: bool,
    /// Slots below this have an answer perhaps.
    pub(super) slots: u32,
    pub(super) ends: Ends,
}

/// How far the end of a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ends {
    /// It lives.
    No,
    /// It is being ended: what it holds is given back, and its answers are forgotten. Whether it expired.
    Now { expired: bool },
    /// It is a memory of a session that expired: its late calls are not to be taken for new ones until then.
    Ended { until_us: u64 },
}

/// A call that waits in a persistent object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WaiterRecord {
    pub(super) session: SessionId,
    pub(super) slot: u32,
    pub(super) sequence: u64,
    pub(super) type_id: u16,
    pub(super) key: String,
    pub(super) method: u16,
    pub(super) owner: Option<u64>,
    pub(super) since_us: u64,
    pub(super) deadline_us: Option<u64>,
    pub(super) watches: Option<u64>,
    pub(super) fingerprint: u64,
}

/// A recorded answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) fingerprint: u64,
    pub(super) ok: bool,
    pub(super) body: Vec<u8>,
}

/// Bytes in front of a recorded body: sequence, fingerprint, and whether it is a result.
const RECORD_HEADER_BYTES: usize = 17;

impl Record {
    fn decode(bytes: &[u8]) -> Result<Record, CallError> {
        let (header, body) =
            bytes.split_first_chunk::<RECORD_HEADER_BYTES>().ok_or_else(|| damaged("a recorded answer"))?;
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        Ok(Record { sequence: word(0), fingerprint: word(8), ok: header[16] == 1, body: body.to_vec() })
    }
}

/// The books of a space.
#[derive(Debug, Clone, Copy)]
pub(super) struct Books {
    sessions: Map,
    answers: Map,
    seeded: SortedMap,
    waiters: Map,
    holds: SortedMap,
    pub(super) expiries: SortedMap,
    pub(super) releases: SortedMap,
}

/// What a call is recorded as.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordKey {
    pub(super) session: SessionId,
    pub(super) slot: u32,
    pub(super) sequence: u64,
    /// Set for a seeded session.
    pub(super) fingerprint: Option<u64>,
}

fn slot_key(session: SessionId, slot: u32) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&session.0.to_be_bytes());
    key[16..].copy_from_slice(&slot.to_be_bytes());
    key
}

fn seeded_key(session: SessionId, slot: u32, sequence: u64) -> [u8; 28] {
    let mut key = [0; 28];
    key[..20].copy_from_slice(&slot_key(session, slot));
    key[20..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The key of a hold: whose, and the name of the object.
fn hold_key(session: SessionId, name: &[u8]) -> Vec<u8> {
    [&session.0.to_be_bytes()[..], name].concat()
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, CallError> {
    codec::decode_own(bytes).map_err(|_| damaged(what))
}

fn session_of(key: &[u8]) -> Result<SessionId, CallError> {
    let bytes = key.first_chunk::<16>().ok_or_else(|| damaged("a session's record"))?;
    Ok(SessionId(u128::from_be_bytes(*bytes)))
}

/// Gathers all entries of a map, which is in the shard's own bounds.
fn all_of<V: View>(map: Map, view: &V) -> Result<Vec<Pair>, CallError> {
    let mut all = Vec::new();
    map.page(view, None, |entry| {
        all.push((entry.key.clone(), entry.value.clone()));
        Ok::<_, TypeError>(true)
    })
    .map_err(refuse)?;
    Ok(all)
}

impl Books {
    pub(super) fn at(fields: Fields) -> Books {
        Books {
            sessions: Map::at(fields.root(0)),
            answers: Map::at(fields.root(1)),
            seeded: SortedMap::at(fields.root(2)),
            waiters: Map::at(fields.root(3)),
            holds: SortedMap::at(fields.root(4)),
            expiries: SortedMap::at(fields.root(5)),
            releases: SortedMap::at(fields.root(6)),
        }
    }

    /// Writes a session's record.
    pub(super) fn put_session(
        &self,
        block: &mut Block<'_>,
        id: SessionId,
        record: &SessionRecord,
    ) -> Result<(), CallError> {
        let value = codec::encode(record)?;
        self.sessions.insert(block, &id.0.to_be_bytes(), &value).map(drop).map_err(refuse)
    }

    pub(super) fn remove_session(&self, block: &mut Block<'_>, id: SessionId) -> Result<(), CallError> {
        self.sessions.remove(block, &id.0.to_be_bytes()).map(drop).map_err(refuse)
    }

    pub(super) fn sessions<V: View>(&self, view: &V) -> Result<Vec<(SessionId, SessionRecord)>, CallError> {
        let all = all_of(self.sessions, view)?;
        all.iter().map(|(key, value)| Ok((session_of(key)?, read(value, "a session's record")?))).collect()
    }

    /// Records an answer. An unseeded session's takes the place of the slot's answer before.
    pub(super) fn put_answer(
        &self,
        block: &mut Block<'_>,
        call: RecordKey,
        ok: bool,
        body: &[u8],
    ) -> Result<(), CallError> {
        let RecordKey { session, slot, sequence, fingerprint } = call;
        let mut header = [0; RECORD_HEADER_BYTES];
        header[..8].copy_from_slice(&sequence.to_le_bytes());
        header[8..16].copy_from_slice(&fingerprint.unwrap_or(0).to_le_bytes());
        header[16] = u8::from(ok);
        /// Records up to this size are put together without allocating.
        const SHORT: usize = 64;
        let len = RECORD_HEADER_BYTES + body.len();
        let mut short = [0; SHORT];
        let long;
        let value = if len <= SHORT {
            short[..RECORD_HEADER_BYTES].copy_from_slice(&header);
            short[RECORD_HEADER_BYTES..len].copy_from_slice(body);
            &short[..len]
        } else {
            long = [&header[..], body].concat();
            &long[..]
        };
        match fingerprint {
            None => self.answers.insert(block, &slot_key(session, slot), value).map(drop),
            Some(_) => self.seeded.insert(block, &seeded_key(session, slot, sequence), value).map(drop),
        }
        .map_err(refuse)
    }

    /// The recorded answer of a slot's newest call, or of this call if the session is seeded.
    pub(super) fn answer<V: View>(&self, view: &V, call: RecordKey) -> Result<Option<Record>, CallError> {
        let RecordKey { session, slot, sequence, fingerprint } = call;
        let bytes = match fingerprint {
            None => self.answers.get(view, &slot_key(session, slot)),
            Some(_) => self.seeded.get(view, &seeded_key(session, slot, sequence)),
        };
        bytes.map_err(refuse)?.map(|bytes| Record::decode(&bytes)).transpose()
    }

    /// Forgets answers of a session, of slots from `from` on, but not too many for one block. Gives the slot to go on from.
    pub(super) fn forget_answers(
        &self,
        block: &mut Block<'_>,
        session: SessionId,
        from: u32,
        slots: u32,
    ) -> Result<Option<u32>, CallError> {
        /// Each removal changes up to 30 words.
        const PART: u32 = 256;
        let end = slots.min(from.saturating_add(PART));
        for slot in from..end {
            self.answers.remove(block, &slot_key(session, slot)).map_err(refuse)?;
        }
        if end < slots {
            return Ok(Some(end));
        }
        let (first, last) = (seeded_key(session, 0, 0), seeded_key(session, u32::MAX, u64::MAX));
        let mut keys = Vec::new();
        for pair in
            self.seeded.range(&*block, &first[..]..=&last[..]).map_err(refuse)?.take(PART as usize / 4)
        {
            keys.push(pair.map_err(refuse)?.0);
        }
        for key in &keys {
            self.seeded.remove(block, key).map_err(refuse)?;
        }
        Ok((!keys.is_empty()).then_some(end))
    }

    pub(super) fn put_waiter(
        &self,
        block: &mut Block<'_>,
        id: WaiterId,
        record: &WaiterRecord,
    ) -> Result<(), CallError> {
        let value = codec::encode(record)?;
        self.waiters.insert(block, &id.to_key(), &value).map(drop).map_err(refuse)
    }

    pub(super) fn remove_waiter(&self, block: &mut Block<'_>, id: WaiterId) -> Result<(), CallError> {
        self.waiters.remove(block, &id.to_key()).map(drop).map_err(refuse)
    }

    pub(super) fn waiter<V: View>(&self, view: &V, id: WaiterId) -> Result<Option<WaiterRecord>, CallError> {
        let bytes = self.waiters.get(view, &id.to_key()).map_err(refuse)?;
        bytes.map(|bytes| read(&bytes, "a waiting call's record")).transpose()
    }

    pub(super) fn waiters<V: View>(&self, view: &V) -> Result<Vec<(WaiterId, WaiterRecord)>, CallError> {
        let all = all_of(self.waiters, view)?;
        let waiters = all
            .iter()
            .map(|(key, value)| Ok((WaiterId::from_key(key)?, read(value, "a waiting call's record")?)));
        waiters.collect()
    }

    pub(super) fn hold(
        &self,
        block: &mut Block<'_>,
        session: SessionId,
        name: &[u8],
    ) -> Result<(), CallError> {
        self.holds.insert(block, &hold_key(session, name), &[]).map(drop).map_err(refuse)
    }

    pub(super) fn unhold(
        &self,
        block: &mut Block<'_>,
        session: SessionId,
        name: &[u8],
    ) -> Result<(), CallError> {
        self.holds.remove(block, &hold_key(session, name)).map(drop).map_err(refuse)
    }

    /// Who holds something of which object.
    pub(super) fn holds<V: View>(&self, view: &V) -> Result<Vec<(SessionId, Vec<u8>)>, CallError> {
        let mut holds = Vec::new();
        for pair in self.holds.range(view, ..).map_err(refuse)? {
            let key = pair.map_err(refuse)?.0;
            holds.push((session_of(&key)?, key[16..].to_vec()));
        }
        Ok(holds)
    }
}

impl SessionRecord {
    pub(super) fn new(terms: SessionTerms, slots: u32) -> SessionRecord {
        SessionRecord { lease_us: terms.lease_us, is_seeded: terms.is_seeded, slots, ends: Ends::No }
    }

    pub(super) fn terms(&self) -> SessionTerms {
        SessionTerms { lease_us: self.lease_us, is_seeded: self.is_seeded }
    }
}

/// The key of an expiry: when, and the name of the object.
pub(super) fn expiry_key(at_us: u64, name: &[u8]) -> Vec<u8> {
    [&at_us.to_be_bytes()[..], name].concat()
}
