//! Computes `grad_a[r, i] += Σ_t f[t, r] · x[t, i]`: adds the contributions of the tokens `t` to the gradient of the
//! LoRA factor `a`, for each rank index `r` and input feature `i`. `x` is the input of a linear layer. `f` contains the
//! folded rows that the kernel `lora_fold` writes: scaled values of the tokens, in blocks of up to 32 tokens.
//!
//! The sum over the tokens of a block is exact, with a magnitude ≤ 127 · 2^14 · 32 < 2^26. It is shifted to the
//! exponent that the job states for this gradient, and then added in i64. The bits of the gradient therefore do not
//! depend on the order in which blocks are added.

use super::{Kernel, Saturated, as_bytes, flag, lora_gradient_b::add_gradient, lowering, params, read, texts, write};
use crate::numbers::ternary::row_words;
use std::ops::Range;

params! {
    /// The number of blocks of up to 32 tokens.
    blocks: u32,
    /// The number of features in a row of `x`.
    in_features: u32,
    /// The rank of the adapter: the number of rows of `gradient`.
    rank: u32,
    /// Index of the word of `lora_info` that contains the exponent of the integers in `gradient`. The job states this
    /// exponent. `lora_info` contains the scales and exponents of the adapter.
    exponent_at: u32,
}

/// The kernel `lora_gradient_a`. It reads `x [tokens, in_features]`, the input of a linear layer, as byte rows (int8);
/// `folded`, the scaled values of the tokens that the kernel `lora_fold` writes; `spans`, which contains the index of
/// the first token and the number of tokens of each block; and `lora_info`, the scales and exponents of the adapter. It
/// adds to `gradient [rank, in_features]` (i64).
pub static KERNEL: Kernel = Kernel {
    name: "lora_gradient_a",
    params: Params::NAMES,
    bindings: &[
        read("x"),
        read("folded"),
        read("spans"),
        read("lora_info"),
        write("gradient", |p| 2 * Params::read(p).in_features as usize),
        flag(),
    ],
    units: |p| Params::read(p).rank as usize,
    reference,
    lowerings: &[
        lowering(
            "plain",
            texts!("lora_gradient_a.wgsl", "fragments/lora_gradient.wgsl", "fragments/lora_gradient.plain.wgsl"),
            |p| Params::read(p).in_features.div_ceil(256),
            4,
        ),
        lowering(
            "tiled",
            texts!("lora_gradient_a.wgsl", "fragments/lora_gradient.wgsl", "fragments/lora_gradient.tiled.wgsl"),
            |p| Params::read(p).in_features.div_ceil(32),
            4,
        ),
    ],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let Params { blocks, in_features, rank, exponent_at, .. } = *Params::read(params);
    let width = in_features as usize;
    add_gradient([blocks, rank, exponent_at], width, units, reads, writes, |token| {
        let x = &as_bytes(reads[0])[token * 4 * row_words(width)..][..width];
        move |i| x[i].into()
    })
}
