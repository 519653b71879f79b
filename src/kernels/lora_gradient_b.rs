//! Computes `grad_b[r, i] += Σ_t f[t, r] · dy[t, i]`: adds the contributions of the tokens `t` to the gradient of the
//! LoRA factor `b`, for each rank index `r` and output feature `i`. `dy` is the gradient of a linear layer's output.
//! `f` contains the folded rows that the kernel `lora_fold` writes: scaled values of the tokens, in blocks of up to 32
//! tokens.
//!
//! The sum over the tokens of a block is exact, with a magnitude ≤ 2^14 · 2^14 · 32 = 2^33. It is shifted to the
//! exponent that the job states for this gradient, and then added in i64. The bits of the gradient therefore do not
//! depend on the order in which blocks are added.

use super::{
    Kernel, Saturated, as_i32, flag,
    lora_fold::FOLD,
    lowering, params, read,
    shared::{
        blocks::{BLOCK, align},
        wide,
    },
    texts, write,
};

use std::ops::Range;

params! {
    /// The number of blocks of up to 32 tokens.
    blocks: u32,
    /// The number of features in a row of `dy`.
    out_features: u32,
    /// The rank of the adapter: the number of rows of `gradient`.
    rank: u32,
    /// Index of the word of `lora_info` that contains the exponent of the integers in `gradient`. The job states this
    /// exponent. `lora_info` contains the scales and exponents of the adapter.
    exponent_at: u32,
}

/// The bound of the elements of an accumulated gradient. An element outside `-LIMIT..LIMIT` sets the saturation flag,
/// which voids the result of the training step.
pub(crate) const LIMIT: i64 = 1 << 62;

/// The kernel `lora_gradient_b`. It reads `dy [tokens, out_features]`, the gradient of a linear layer's output, as wide
/// rows (integers of magnitude ≤ 2^14, each stored as two int8 values); `folded`, the scaled values of the tokens that
/// the kernel `lora_fold` writes; `spans`, which contains the index of the first token and the number of tokens of each
/// block; and `lora_info`, the scales and exponents of the adapter. It adds to `gradient [rank, out_features]` (i64).
pub static KERNEL: Kernel = Kernel {
    name: "lora_gradient_b",
    params: Params::NAMES,
    bindings: &[
        read("dy"),
        read("folded"),
        read("spans"),
        read("lora_info"),
        write("gradient", |p| 2 * Params::read(p).out_features as usize),
        flag(),
    ],
    units: |p| Params::read(p).rank as usize,
    reference,
    lowerings: &[
        lowering(
            "plain",
            texts!("lora_gradient_b.wgsl", "fragments/lora_gradient.wgsl", "fragments/lora_gradient.plain.wgsl"),
            |p| Params::read(p).out_features.div_ceil(256),
            2,
        ),
        lowering(
            "tiled",
            texts!("lora_gradient_b.wgsl", "fragments/lora_gradient.wgsl", "fragments/lora_gradient.tiled.wgsl"),
            |p| Params::read(p).out_features.div_ceil(32),
            2,
        ),
    ],
};

fn reference(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
    let Params { blocks, out_features, rank, exponent_at, .. } = *Params::read(params);
    let width = out_features as usize;
    add_gradient([blocks, rank, exponent_at], width, units, reads, writes, |token| {
        let dy = wide::row(reads[0], width, token);
        move |i| wide::get(dy, i).into()
    })
}

/// Adds the contributions of all tokens to the gradient of a LoRA factor, in the buffer `writes[0]`. The gradient is
/// the product of two matrices: the output of the kernel `lora_fold`, and a matrix with one row for each token. The
/// second matrix is the input of a linear layer in the kernel `lora_gradient_a`, and the gradient of the layer's output
/// in `lora_gradient_b`. `row(token)` is the row of a token in this matrix, as a function from a column to an element.
/// Returns whether an element of the LoRA factor's gradient left its range.
pub(super) fn add_gradient<R: Fn(usize) -> i64>(
    [blocks, rank, exponent_at]: [u32; 3],
    width: usize,
    units: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
    row: impl Fn(usize) -> R,
) -> Saturated {
    let exponent = as_i32(reads[3])[exponent_at as usize];
    let mut any = false;
    let mut sums = vec![0i64; width];
    for (r, gradient) in units.zip(writes[0].chunks_exact_mut(2 * width)) {
        for block in 0..blocks as usize {
            let (first, tokens) = (reads[2][2 * block] as usize, reads[2][2 * block + 1] as usize);
            let folded = &reads[1][(block * rank as usize + r) * FOLD..][..FOLD];
            let weights: &[i8] = bytemuck::cast_slice(&folded[..FOLD - 4]);
            sums.fill(0);
            for i in 0..tokens.min(BLOCK) {
                let (weight, element) = (i64::from(wide::get(weights, i)), row(first + i));
                sums.iter_mut().enumerate().for_each(|(column, sum)| *sum += weight * element(column));
            }
            let shift = folded[FOLD - 4] as i32 - exponent;
            for (words, &sum) in gradient.chunks_exact_mut(2).zip(&sums) {
                let before = (u64::from(words[0]) | u64::from(words[1]) << 32) as i64;
                let far = shift > 28 && sum != 0;
                let after = before.wrapping_add(align(sum, shift.min(28)));
                any |= far || !(-LIMIT..LIMIT).contains(&after);
                words.copy_from_slice(&[after as u32, (after >> 32) as u32]);
            }
        }
    }
    any
}
