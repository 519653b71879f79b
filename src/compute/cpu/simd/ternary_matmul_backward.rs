//! SIMD implementation of the kernel `ternary_matmul_backward`, which multiplies gradient rows `dy` by a ternary matrix
//! `w` (backward product). For token `t` and input feature `k`, it computes `out[t, slot, k] = Σ_n dy[t, n] · w[n, k]`,
//! where `n` runs over the output features. Linear layers with the same input share `out`, which has one row per token
//! for each of these layers. `slot` is the index of the row that belongs to the layer of `w`.

use super::{
    panel::{Contracted, MatrixBlocks},
    product::{Product, RegisterTile},
};
use crate::{
    kernels::{INFO, Saturated, as_i32_mut, ternary_matmul_backward::Params},
    numbers::ternary::row_words,
};
use std::ops::Range;

/// Computes the kernel [`ternary_matmul_backward`](crate::kernels::ternary_matmul_backward) with the instruction set of
/// the register tile `T`. The processor must support that instruction set. Returns whether a value has left the range
/// of its number format, which is always false for this kernel.
pub(super) fn implementation<T: RegisterTile>(
    params: &[u32],
    tokens: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let (planes, columns) = (p.planes as usize, p.in_features as usize);
    let steps = row_words(p.out_features as usize);
    let product = Product {
        planes,
        steps,
        rows: &reads[0][tokens.start * planes * steps..],
        infos: &reads[1][tokens.start * INFO..],
        blocks: MatrixBlocks { words: reads[2], stride: row_words(columns), contracted: Contracted::Rows },
        columns,
        out_stride: p.slots as usize * (columns + INFO),
    };
    let out = &mut as_i32_mut(writes[0])[p.slot as usize * (columns + INFO)..];
    // SAFETY: `simd::implementation` returns this function only if the processor supports the level.
    unsafe { product.compute::<T>(tokens.len(), out) };
    false
}
