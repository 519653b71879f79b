//! Test cases of kernels. A test case is one dispatch (launch) of a kernel with given inputs. The expected output is
//! the one that the reference kernel computes.
//!
//! The same test cases serve the start-up check of a GPU, the tests, the benchmarks, and the conformance page of the
//! website.

use super::{Access, Kernel, Saturated};
use crate::numbers::rng::threefry;

mod attention;
mod digest;
mod embed;
mod feed_forward;
mod heads;
mod lora;
mod lora_gradients;
mod loss;
mod loss_sum;
mod norms;
mod rows;
mod ternary;

/// A function that returns a value for a test case: a random value, or always the same one.
type Draw = fn(&mut CaseSource) -> i32;

/// A test case: one dispatch of a kernel, with its inputs.
#[derive(Clone)]
pub struct Case {
    /// The kernel that the test case runs.
    pub kernel: &'static Kernel,
    /// Label of the test case in messages, such as `5 tokens, 37 features, random`.
    pub label: String,
    /// Parameters of the dispatch, as the 32-bit words of the kernel's struct `Params`.
    pub params: Vec<u32>,
    /// The words that each buffer holds before the dispatch, in binding order. The saturation flag is not included. A
    /// buffer that the kernel writes is longer than necessary, so that a write beyond the necessary length is detected.
    pub inputs: Vec<Vec<u32>>,
}

/// Returns the test cases of a kernel. They include sizes that are not multiples of a tile, extreme values, and random
/// values that follow from `seed`. Returns no test cases for a kernel that is not in [`ALL`](super::ALL).
pub fn cases(kernel: &'static Kernel, seed: u64) -> Vec<Case> {
    let source = &mut CaseSource::new(seed);
    match kernel.name {
        "attention" => attention::forward(source),
        "attention_backward_key" => attention::backward_key(source),
        "attention_backward_query" => attention::backward_query(source),
        "cross_entropy" => loss::entropy(source),
        "digest" => digest::digest(source),
        "embed" => embed::embed(source),
        "gated_relu_squared" => feed_forward::gated(source),
        "gated_relu_squared_backward" => feed_forward::gated_backward(source),
        "gradient_quantize" => feed_forward::quantize(source),
        "head_backward" => loss::backward(source),
        "head_gradient_quantize" => heads::gradient_quantize(source),
        "head_logits" => loss::logits(source),
        "logits_max" => loss::max(source),
        "logits_sum" => loss::sum(source),
        "lora_down" => lora::down(source),
        "lora_down_backward" => lora::down_backward(source),
        "lora_fold" => lora_gradients::fold(source),
        "lora_gradient_a" => lora_gradients::gradient_a(source),
        "lora_gradient_b" => lora_gradients::gradient_b(source),
        "lora_up" => lora::up(source),
        "loss_sum" => loss_sum::loss_sum(source),
        "residual_add" => embed::residual_add(source),
        "rms_norm_backward" => norms::backward(source),
        "rms_norm_quantize" => norms::quantize(source),
        "rms_norm_wide" => norms::wide(source),
        "rope" => heads::rope(source),
        "rope_backward" => heads::rope_backward(source),
        "ternary_matmul" => ternary::matmul(source),
        "ternary_matmul_backward" => ternary::matmul_backward(source),
        _ => Vec::new(),
    }
}

/// Returns a test case with which the lowerings (WGSL implementations) of a kernel are timed. It has a size that occurs
/// in training, with `tokens` tokens. Returns `None` for a kernel that can be timed with the last of its [`cases`].
pub fn representative(kernel: &'static Kernel, tokens: usize) -> Option<Case> {
    let source = &mut CaseSource::new(0);
    match kernel.name {
        "attention" => Some(attention::large_forward(source, tokens)),
        "attention_backward_key" => Some(attention::large_backward_key(source, tokens)),
        "attention_backward_query" => Some(attention::large_backward_query(source, tokens)),
        "head_backward" => Some(loss::large_backward(source, tokens)),
        "head_logits" => Some(loss::large_logits(source, tokens)),
        "lora_gradient_a" => Some(lora_gradients::large_gradient_a(source, tokens)),
        "lora_gradient_b" => Some(lora_gradients::large_gradient_b(source, tokens)),
        "ternary_matmul" => Some(ternary::large_matmul(source, tokens)),
        "ternary_matmul_backward" => Some(ternary::large_matmul_backward(source, tokens)),
        _ => None,
    }
}

/// Runs a test case with the reference kernel. Returns the words of all buffers after the dispatch, in the order of
/// [`Case::inputs`], and whether a value left the range of its number format.
pub fn run_reference(case: &Case) -> (Vec<Vec<u32>>, Saturated) {
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
    let saturated = (case.kernel.reference)(&case.params, 0..units, &reads, &mut writes);
    (after, saturated)
}

/// The number of extra words at the end of each buffer that a kernel writes in a test case. The kernel must leave these
/// words unchanged.
const MARGIN: usize = 7;

/// A generator of pseudorandom values for test cases. The same seed always gives the same values.
pub struct CaseSource {
    key: [u32; 2],
    count: u32,
}

impl CaseSource {
    /// Returns a generator that starts from this seed.
    pub fn new(seed: u64) -> Self {
        Self { key: [seed as u32, (seed >> 32) as u32], count: 0 }
    }

    /// Returns the next pseudorandom word of 32 bits.
    pub fn word(&mut self) -> u32 {
        self.count += 1;
        threefry(self.key, [self.count, 0])[0]
    }

    /// Returns the next `count` pseudorandom words of 32 bits.
    pub fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word()).collect()
    }

    /// Returns a pseudorandom number in `low..=high`. All numbers in this range are almost equally probable.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from(high.abs_diff(low)) + 1;
        low.wrapping_add(((u64::from(self.word()) * span) >> 32) as i32)
    }

    /// Returns a dither buffer, from which kernels derive the pseudorandom bits for rounding. It contains a random
    /// token position, and a random key for each stream of bits. The streams have the indexes `0..=last`.
    pub fn dither(&mut self, last: u32) -> Vec<u32> {
        let mut words = self.words(4 + 2 * last as usize);
        words[..2].copy_from_slice(&[self.within(0, 1 << 20) as u32, 0]);
        words
    }

    /// Returns random words for a buffer that the dispatch will write: the `owned` words that the kernel may write,
    /// followed by a margin that it must leave unchanged.
    pub fn before_write(&mut self, owned: usize) -> Vec<u32> {
        self.words(owned + MARGIN)
    }
}
