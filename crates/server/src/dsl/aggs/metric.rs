//! Numbers over values.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// A sum that loses nothing to rounding on the way (Kahan's, in Neumaier's form).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() { (self.sum - sum) + value } else { (value - sum) + self.sum };
        self.sum = sum;
    }

    fn merge(&mut self, other: Self) {
        self.add(other.sum);
        self.add(other.lost);
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }
}

/// What `min`, `max`, `avg`, `sum`, `stats` and `value_count` need.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Numbers {
    pub(super) count: u64,
    pub(super) sum: Sum,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Numbers {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum.add(value);
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.sum.merge(other.sum);
        self.min = [self.min, other.min].into_iter().flatten().reduce(f64::min);
        self.max = [self.max, other.max].into_iter().flatten().reduce(f64::max);
    }

    pub(super) fn average(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.value() / self.count as f64)
    }
}

/// Registers of a sketch: 2¹⁴, for an error of about 0.8 %.
const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// How many distinct values there are: exact up to a number, then by HyperLogLog.
#[derive(Clone, Debug)]
pub(super) enum Distinct {
    Exact(HashSet<u64>),
    Sketch(Box<[u8]>),
}

/// The same hash in every run.
pub(super) fn hash(text: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(text)
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(HashSet::new())
    }
}

impl Distinct {
    /// Adds a hash; says how many bytes more that took.
    pub(super) fn add(&mut self, hash: u64, precision: usize) -> usize {
        match self {
            Self::Sketch(registers) => {
                let place = (hash >> (64 - REGISTER_BITS)) as usize;
                let zeros = (hash << REGISTER_BITS | 1 << (REGISTER_BITS - 1)).leading_zeros() as u8 + 1;
                registers[place] = registers[place].max(zeros);
                0
            }
            Self::Exact(hashes) if hashes.len() < precision || hashes.contains(&hash) => {
                if hashes.insert(hash) {
                    16
                } else {
                    0
                }
            }
            Self::Exact(hashes) => {
                let hashes = std::mem::take(hashes);
                *self = Self::Sketch(vec![0; REGISTERS].into_boxed_slice());
                hashes.into_iter().chain([hash]).for_each(|hash| _ = self.add(hash, precision));
                REGISTERS
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self, precision: usize) {
        match (&mut *self, other) {
            (_, Self::Exact(hashes)) => hashes.into_iter().for_each(|hash| _ = self.add(hash, precision)),
            (Self::Sketch(mine), Self::Sketch(theirs)) => {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine = theirs.max(*mine));
            }
            (Self::Exact(mine), theirs) => {
                let mine = std::mem::take(mine);
                *self = theirs;
                mine.into_iter().for_each(|hash| _ = self.add(hash, precision));
            }
        }
    }

    pub(super) fn count(&self) -> u64 {
        let registers = match self {
            Self::Exact(hashes) => return hashes.len() as u64,
            Self::Sketch(registers) => registers,
        };
        let total = REGISTERS as f64;
        let inverse: f64 = registers.iter().map(|zeros| 2f64.powi(-i32::from(*zeros))).sum();
        let estimate = 0.7213 / (1.0 + 1.079 / total) * total * total / inverse;
        let empty = registers.iter().filter(|zeros| **zeros == 0).count();
        match estimate <= 2.5 * total && empty > 0 {
            true => (total * (total / empty as f64).ln()).round() as u64,
            false => estimate.round() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_are_counted_exactly_then_nearly() {
        for count in [0u64, 10, 3000, 20_000, 200_000] {
            let (mut one, mut other) = (Distinct::default(), Distinct::default());
            for value in 0..count {
                let hash = hash(&value.to_le_bytes());
                one.add(hash, 3000);
                one.add(hash, 3000);
                if value % 2 == 0 {
                    other.add(hash, 3000);
                }
            }
            let error = |found: u64| (found as f64 - count as f64).abs() / count.max(1) as f64;
            assert!(error(one.count()) < if count <= 3000 { 1e-9 } else { 0.03 }, "{count}: {}", one.count());
            let before = one.count();
            one.merge(other.clone(), 3000);
            assert_eq!(one.count(), before, "a part adds nothing");
            other.merge(one, 3000);
            assert_eq!(other.count(), before);
        }
    }

    #[test]
    fn sums_lose_nothing() {
        let mut sum = Sum::default();
        [1e100, 1.0, -1e100].into_iter().for_each(|value| sum.add(value));
        assert_eq!(sum.value(), 1.0);
    }
}
