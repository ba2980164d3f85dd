//! A directory of a few objects, each with a register, bytes and a map.

use super::values::{Memory, ValueModel};
use crate::history::Model;
use abide_pmem::{
    Tx, View,
    types::{Bundle, Bytes, Directory, Kind, Map, Persistent, Register, TypeError, garbage, root_kind},
};
use fastrand::Rng;
use std::collections::BTreeMap;

/// Names, each with a bundle of one to three values.
#[derive(Debug)]
pub(super) struct Objects;

/// A value: so many of this byte.
type Run = (u16, u8);

/// What one field holds: a map's entries; of the others what there is, under key 0.
type Field = BTreeMap<u8, Vec<u8>>;

/// What clients ask of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Creates a name with so many values; says whether it was absent.
    Create(u8, u8),
    /// Creates a name and stores into its first value, in one block; says whether it was absent.
    CreateWith(u8, u8),
    /// Removes a name; says whether it was there.
    Remove(u8),
    /// Stores into a field of a name, there under a key if it is a map. Says whether there is such a field.
    Set(u8, u8, u8, Run),
    /// Removes all names.
    Discard,
    /// Frees a part of the garbage.
    Collect,
    /// Gives what a field of a name holds.
    Get(u8, u8),
    /// Gives the number of names.
    Len,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Told {
    /// Whether something was done.
    Done(bool),
    /// What a field holds; `None` without such a field.
    Field(Option<Field>),
    /// A number.
    Len(u64),
}

fn bytes((len, byte): Run) -> Vec<u8> {
    vec![byte; len.into()]
}

fn register((len, byte): Run) -> u64 {
    u64::from(len) << 8 | u64::from(byte)
}

/// What a field is when so much was stored.
fn set(field: &mut Field, number: u8, key: u8, value: Run) {
    match number {
        0 => field.insert(0, register(value).to_le_bytes().to_vec()),
        1 => field.insert(0, bytes(value)),
        _ => field.insert(key, bytes(value)),
    };
}

impl Model for Objects {
    type State = BTreeMap<u8, Vec<Field>>;
    type Op = Op;
    type Result = Told;

    fn apply(state: &mut Self::State, op: &Op) -> Told {
        Told::Done(match *op {
            Op::Create(name, count) => {
                let is_new = !state.contains_key(&name);
                state.entry(name).or_insert_with(|| vec![Field::new(); count.into()]);
                is_new
            }
            Op::CreateWith(name, byte) => {
                let is_new = !state.contains_key(&name);
                state.entry(name).or_insert_with(|| {
                    let mut field = Field::new();
                    set(&mut field, 0, 0, (1, byte));
                    vec![field]
                });
                is_new
            }
            Op::Remove(name) => state.remove(&name).is_some(),
            Op::Set(name, number, key, value) => {
                match state.get_mut(&name).and_then(|fields| fields.get_mut(usize::from(number))) {
                    Some(field) => {
                        set(field, number, key, value);
                        true
                    }
                    None => false,
                }
            }
            Op::Discard => {
                state.clear();
                true
            }
            Op::Collect => true,
            Op::Get(name, number) => {
                let field = state.get(&name).and_then(|fields| fields.get(usize::from(number)));
                return Told::Field(field.cloned());
            }
            Op::Len => return Told::Len(state.len() as u64),
        })
    }
}

/// The root of a field.
fn root_of(view: &impl View, directory: Directory, name: u8, number: u8) -> Result<Option<u64>, TypeError> {
    let bundle = directory.find(view, &[name; 5])?;
    Ok(bundle.filter(|bundle| u32::from(number) < bundle.count()).map(|bundle| bundle.root(number.into())))
}

fn read_field(view: &impl View, root: u64) -> Result<Field, TypeError> {
    let mut field = Field::new();
    match root_kind(view, root)? {
        Some(Kind::Register) => {
            field.insert(0, Register::<u64>::at(root).get(view)?.to_le_bytes().to_vec());
        }
        Some(Kind::Bytes) => {
            field.insert(0, Bytes::at(root).get(view)?);
        }
        Some(Kind::Map) => {
            Map::at(root).page(view, None, |entry| {
                field.insert(entry.key[0], entry.value.clone());
                Ok(true)
            })?;
        }
        _ => {}
    }
    Ok(field)
}

impl ValueModel for Objects {
    type Ask = Op;

    const NAME: &'static str = "directory";

    fn empty() -> Self::State {
        BTreeMap::new()
    }

    fn ask(rng: &mut Rng, reads: bool) -> Op {
        // One so often that a batch meets it twice.
        let name = if rng.bool() { 0 } else { rng.u8(0..10) };
        let number = rng.u8(0..3);
        if reads {
            return if rng.u8(0..10) == 0 { Op::Len } else { Op::Get(name, number) };
        }
        let len = *rng.choice(&[0, 8, 40, 100, 300]).expect("a choice");
        match rng.u32(0..40) {
            0..9 => Op::Create(name, rng.u8(1..4)),
            9..12 => Op::CreateWith(name, rng.u8(..)),
            12..18 => Op::Remove(name),
            18..33 => Op::Set(name, number, rng.u8(0..7), (len, rng.u8(..))),
            33..39 => Op::Collect,
            _ => Op::Discard,
        }
    }

    fn is_read(op: &Op) -> bool {
        matches!(op, Op::Get(..) | Op::Len)
    }

    fn write(tx: &mut Tx<'_, Memory>, root: u64, op: &Op) -> Result<Told, TypeError> {
        let directory = Directory::at(root);
        Ok(Told::Done(match *op {
            Op::Create(name, count) => directory.create(tx, &[name; 5], count.into())?.is_some(),
            Op::CreateWith(name, byte) => match directory.create(tx, &[name; 5], 1)? {
                Some(bundle) => {
                    Register::at(bundle.root(0)).set(tx, register((1, byte)))?;
                    true
                }
                None => false,
            },
            Op::Remove(name) => directory.remove(tx, &[name; 5])?,
            Op::Set(name, number, key, value) => match root_of(tx, directory, name, number)? {
                Some(root) => {
                    match number {
                        0 => Register::at(root).set(tx, register(value))?,
                        1 => Bytes::at(root).set(tx, &bytes(value))?,
                        _ => drop(Map::at(root).insert(tx, &[key], &bytes(value))?),
                    }
                    true
                }
                None => false,
            },
            Op::Discard => {
                Directory::discard(tx, root)?;
                true
            }
            Op::Collect => {
                garbage::collect(tx, 3)?;
                true
            }
            Op::Get(..) | Op::Len => false,
        }))
    }

    fn read(view: &impl View, root: u64, op: &Op) -> Result<Told, TypeError> {
        let directory = Directory::at(root);
        Ok(match *op {
            // A bundle is good as long as its name is there, so both are read at one instant.
            Op::Get(name, number) => Told::Field(view.snapshot(|view| {
                let root = root_of(view, directory, name, number)?;
                root.map(|root| read_field(view, root)).transpose()
            })?),
            _ => Told::Len(directory.len(view)?),
        })
    }

    fn state(view: &impl View, root: u64) -> Result<Self::State, TypeError> {
        let page = Directory::at(root).page(view, None, usize::MAX)?;
        let fields =
            |bundle: Bundle| bundle.fields().map(|root| read_field(view, root)).collect::<Result<_, _>>();
        page.entries.into_iter().map(|(name, bundle)| Ok((name[0], fields(bundle)?))).collect()
    }
}
