//! A case: one launch of a kernel with every input word given, whose answer its twin knows.
//!
//! The start-up check of a GPU, the tests, the benches and the conformance page all ask the same
//! cases.

use super::{Access, Kernel, Saturated};
use crate::rng::threefry;

mod loss_sum;
mod ternary;

/// One launch.
#[derive(Clone)]
pub struct Case {
    /// What runs.
    pub kernel: &'static Kernel,
    /// For people: `5x37x70 random`.
    pub label: String,
    /// Its params, as words.
    pub params: Vec<u32>,
    /// All its buffers before the launch, in binding order, the flag left out. A written buffer is
    /// longer than the words its units own, so that a write past them shows.
    pub inputs: Vec<Vec<u32>>,
}

/// The cases of a kernel: sizes that are no multiple of a tile, extremes, and random values that
/// follow from `seed`. Empty for a kernel that has none yet.
pub fn cases(kernel: &'static Kernel, seed: u64) -> Vec<Case> {
    let source = &mut Source::new(seed);
    match kernel.name {
        "loss_sum" => loss_sum::loss_sum(source),
        "ternary_matmul" => ternary::matmul(source),
        "ternary_matmul_backward" => ternary::matmul_backward(source),
        _ => Vec::new(),
    }
}

/// A case of the size that training asks for, to time lowerings on: `tokens` rows, where the
/// kernel has rows. `None` for a kernel whose last case is as good.
pub fn representative(kernel: &'static Kernel, tokens: usize) -> Option<Case> {
    let source = &mut Source::new(0);
    match kernel.name {
        "ternary_matmul" => Some(ternary::large_matmul(source, tokens)),
        "ternary_matmul_backward" => Some(ternary::large_matmul_backward(source, tokens)),
        _ => None,
    }
}

/// Every buffer after the launch, in the order of [`Case::inputs`], by the twin.
pub fn run_twin(case: &Case) -> (Vec<Vec<u32>>, Saturated) {
    let units = (case.kernel.units)(&case.params);
    let mut after = case.inputs.clone();
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    let bound = case.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
    for (words, binding) in after.iter_mut().zip(bound) {
        match binding.access {
            Access::Write(words_per_unit) => writes.push(&mut words[..units * words_per_unit(&case.params)]),
            _ => reads.push(&words[..]),
        }
    }
    let saturated = (case.kernel.twin)(&case.params, 0..units, &reads, &mut writes);
    (after, saturated)
}

/// Words beyond what a launch may write.
const MARGIN: usize = 7;

/// Random numbers that follow from a seed.
pub struct Source {
    key: [u32; 2],
    count: u32,
}

impl Source {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], count: 0 }
    }

    /// Any word.
    pub fn word(&mut self) -> u32 {
        self.count += 1;
        threefry(self.key, [self.count, 0])[0]
    }

    /// Any words.
    pub fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word()).collect()
    }

    /// A number of `low..=high`, nearly uniform.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from(high.abs_diff(low)) + 1;
        low.wrapping_add(((u64::from(self.word()) * span) >> 32) as i32)
    }

    /// What a written buffer of `owned` words holds before the launch: noise, and a margin.
    pub fn before_write(&mut self, owned: usize) -> Vec<u32> {
        self.words(owned + MARGIN)
    }
}
