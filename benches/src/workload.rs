//! What is asked of a server, and what it must answer.

use crate::values::{VALUE_BYTES, Values};
use anyhow::{Context as _, ensure};
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

/// The workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Replaces 1 KiB.
    Set,
    /// Reads 1 KiB.
    Get,
    /// One multiplication in the server.
    Simple,
    /// Ten thousand multiplications in the server.
    Complex,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Set => "set",
            Kind::Get => "get",
            Kind::Simple => "multiply-1",
            Kind::Complex => "multiply-10000",
        }
    }
}

/// How often the complex operation multiplies: section 3.3.1 of the CRUCIAL paper.
pub(crate) const COMPLEX_TIMES: u32 = 10_000;

/// What every multiplication multiplies with. Each one changes a float, and it takes billions of them to
/// overflow it.
pub(crate) const FACTOR: f64 = 1.000_000_1;

/// One operation, whatever the system.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    /// Replaces the value of a key by this version.
    Set { key: u32, version: u32 },
    /// Reads the value of a key, which must be of this version.
    Get { key: u32, version: u32 },
    /// Multiplies 0, 1 or [`COMPLEX_TIMES`] times. The product must be greater than `above`.
    Multiply { object: u32, times: u32, above: f64 },
}

/// What a server answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// It did so.
    Done,
    /// These bytes.
    Bytes(&'a [u8]),
    /// This float.
    Float(f64),
}

/// Gives a generator its operations, and takes the answers.
pub(crate) trait Source {
    /// The next operation of one place in one connection's pipeline. Places are numbered through all connections.
    fn next(&mut self, place: usize) -> Option<Operation>;

    /// Looks at an answer. An error ends the benchmark.
    fn check(&mut self, operation: &Operation, answer: Answer<'_>) -> anyhow::Result<()>;
}

/// What the objects of one system must contain by now.
#[derive(Debug)]
pub(crate) struct Model {
    values: Rc<Values>,
    /// The version of each key that was written last.
    versions: Vec<u32>,
    /// How often each multiplier was multiplied, and the greatest product that was seen of it.
    multiplied: Vec<u64>,
    products: Vec<f64>,
}

impl Model {
    pub(crate) fn new(values: Rc<Values>, keys: usize, multipliers: usize) -> Model {
        let products = vec![0.0; multipliers];
        Model { values, versions: vec![0; keys], multiplied: vec![0; multipliers], products }
    }

    fn check(&mut self, operation: &Operation, answer: Answer<'_>) -> anyhow::Result<()> {
        match (*operation, answer) {
            (Operation::Set { .. }, Answer::Done) => {}
            (Operation::Get { key, version }, Answer::Bytes(bytes)) => {
                ensure!(
                    self.values.matches(key, version, bytes),
                    "a wrong value of key {key}, version {version}"
                );
            }
            (Operation::Multiply { object, times, above }, Answer::Float(product)) => {
                // Others may multiply the same object at the same time, so this can say no more; what came of
                // all of them together is checked to the last bit when the objects are read back.
                let right =
                    product.is_finite() && if times == 0 { product >= above } else { product > above };
                ensure!(right, "object {object}: {product}, which should be above {above}");
                let seen = &mut self.products[object as usize];
                *seen = seen.max(product);
                self.multiplied[object as usize] += u64::from(times);
            }
            (operation, answer) => anyhow::bail!("{answer:?} answers {operation:?}"),
        }
        Ok(())
    }

    fn multiply(&self, object: u32, times: u32) -> Operation {
        Operation::Multiply { object, times, above: self.products[object as usize] }
    }

    /// The products that the multipliers must have, computed here.
    fn expected_products(&self) -> Vec<f64> {
        let mut order: Vec<usize> = (0..self.multiplied.len()).collect();
        order.sort_unstable_by_key(|object| self.multiplied[*object]);
        let mut expected = vec![1.0; order.len()];
        let (mut product, mut times) = (1.0, 0);
        for object in order {
            product = (times..self.multiplied[object]).fold(product, |product, _| product * FACTOR);
            times = self.multiplied[object];
            expected[object] = product;
        }
        expected
    }
}

/// Operations at random, for as long as they are asked for.
///
/// Each key belongs to one place in one pipeline, which is the only one to write and read it meanwhile: so
/// what it reads must be exactly what it wrote last. Multipliers are shared by all.
#[derive(Debug)]
pub(crate) struct Random<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) kind: Kind,
    /// How many places there are: connections times pipeline.
    pub(crate) places: usize,
    pub(crate) random: fastrand::Rng,
}

impl Source for Random<'_> {
    fn next(&mut self, place: usize) -> Option<Operation> {
        if let Kind::Simple | Kind::Complex = self.kind {
            let object = self.random.u32(..self.model.multiplied.len() as u32);
            return Some(
                self.model.multiply(object, if self.kind == Kind::Simple { 1 } else { COMPLEX_TIMES }),
            );
        }
        // The keys place, place + places, ...
        let own = (self.model.versions.len() - place).div_ceil(self.places);
        let key = place + self.random.usize(..own) * self.places;
        let version = &mut self.model.versions[key];
        Some(if self.kind == Kind::Set {
            *version += 1;
            Operation::Set { key: key as u32, version: *version }
        } else {
            Operation::Get { key: key as u32, version: *version }
        })
    }

    fn check(&mut self, operation: &Operation, answer: Answer<'_>) -> anyhow::Result<()> {
        self.model.check(operation, answer)
    }
}

/// Writes each key once and touches each multiplier, in order.
#[derive(Debug)]
pub(crate) struct Fill<'a> {
    pub(crate) model: &'a mut Model,
    pub(crate) filled: usize,
}

impl Source for Fill<'_> {
    fn next(&mut self, _: usize) -> Option<Operation> {
        let keys = self.model.versions.len();
        let nth = self.filled;
        self.filled += 1;
        if nth < keys {
            Some(Operation::Set { key: nth as u32, version: 0 })
        } else {
            (nth < keys + self.model.multiplied.len()).then(|| self.model.multiply((nth - keys) as u32, 0))
        }
    }

    fn check(&mut self, operation: &Operation, answer: Answer<'_>) -> anyhow::Result<()> {
        self.model.check(operation, answer)
    }
}

/// Reads everything back, in order, checks it against the model, and hashes it.
pub(crate) struct ReadBack<'a> {
    model: &'a mut Model,
    products: Vec<f64>,
    read: usize,
    hash: Box<Xxh3>,
}

impl<'a> ReadBack<'a> {
    pub(crate) fn new(model: &'a mut Model) -> ReadBack<'a> {
        ReadBack { products: model.expected_products(), model, read: 0, hash: Box::new(Xxh3::new()) }
    }

    /// How many objects were read, and the hash of what they contain.
    pub(crate) fn finish(self) -> anyhow::Result<(usize, u64)> {
        let there = self.model.versions.len() + self.model.multiplied.len();
        self.read.checked_sub(1).filter(|read| *read >= there).context("not everything was read back")?;
        Ok((there, self.hash.digest()))
    }
}

impl Source for ReadBack<'_> {
    fn next(&mut self, _: usize) -> Option<Operation> {
        let keys = self.model.versions.len();
        let nth = self.read;
        self.read += 1;
        if nth < keys {
            Some(Operation::Get { key: nth as u32, version: self.model.versions[nth] })
        } else {
            (nth < keys + self.products.len()).then(|| self.model.multiply((nth - keys) as u32, 0))
        }
    }

    fn check(&mut self, operation: &Operation, answer: Answer<'_>) -> anyhow::Result<()> {
        self.model.check(operation, answer)?;
        match (operation, answer) {
            (Operation::Get { .. }, Answer::Bytes(bytes)) => {
                ensure!(bytes.len() == VALUE_BYTES);
                self.hash.update(bytes);
            }
            (Operation::Multiply { object, .. }, Answer::Float(product)) => {
                let expected = self.products[*object as usize];
                let equal = product.to_bits() == expected.to_bits();
                ensure!(
                    equal,
                    "object {object} was left at {product}, but its multiplications make {expected}"
                );
                self.hash.update(&product.to_bits().to_le_bytes());
            }
            _ => {}
        }
        Ok(())
    }
}
