//! `grad_b[r, i] += Σ_t f[t, r] · dy[t, i]`: adds up the gradient of the factor `b`, block by block. `f` holds the
//! folded rows that `lora_fold` writes.
//!
//! The sum of a block (≤ 2^14 · 2^14 · 32 = 2^33) is exact. It is shifted to the job's exponent and added in i64, so
//! gradients add up to the same bits in any order.

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
    /// The number of blocks of tokens.
    blocks: u32,
    /// The number of features of `dy`.
    out_features: u32,
    /// Rank of the adapter.
    rank: u32,
    /// Index in `lora_info` of the exponent that the job fixes for this gradient.
    exponent_at: u32,
}

/// An accumulated gradient that leaves `-LIMIT..LIMIT` counts as saturated.
pub(crate) const LIMIT: i64 = 1 << 62;

/// This kernel reads `dy [tokens, out_features]` wide rows, the `folded` rows that `lora_fold` writes, `spans` and
/// `lora_info`. It adds to `gradient [rank, out_features]` i64.
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
    let p = Params::read(params);
    let (width, rank) = (p.out_features as usize, p.rank as usize);
    let exponent = as_i32(reads[3])[p.exponent_at as usize];
    let mut any = false;
    let mut sums = vec![0i64; width];
    for (r, gradient) in units.zip(writes[0].chunks_exact_mut(2 * width)) {
        for block in 0..p.blocks as usize {
            let (first, tokens) = (reads[2][2 * block] as usize, reads[2][2 * block + 1] as usize);
            let folded = &reads[1][(block * rank + r) * FOLD..][..FOLD];
            let row: &[i8] = bytemuck::cast_slice(&folded[..FOLD - 4]);
            sums.fill(0);
            for i in 0..tokens.min(BLOCK) {
                let weight = i64::from(wide::get(row, i));
                let dy = wide::row(reads[0], width, first + i);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum += weight * i64::from(wide::get(dy, i));
                }
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
