//! SIMD implementation of the kernel `ternary_matmul`, which multiplies rows `x` of int8 values by a ternary matrix `w`
//! (forward product). For token `t` and output feature `n`, it computes `out[t, n] = Σ_k x[t, k] · w[n, k]`, where `k`
//! runs over the input features.

use super::{
    panel::{Contracted, MatrixBlocks},
    product::{Product, RegisterTile},
};
use crate::{
    kernels::{INFO, Saturated, as_i32_mut, ternary_matmul::Params},
    numbers::ternary::row_words,
};
use std::ops::Range;

/// Computes the kernel [`ternary_matmul`](crate::kernels::ternary_matmul) with the instruction set of the register tile
/// `T`. The processor must support that instruction set. Returns whether a value has left the range of its number
/// format, which is always false for this kernel.
pub(super) fn implementation<T: RegisterTile>(
    params: &[u32],
    tokens: Range<usize>,
    reads: &[&[u32]],
    writes: &mut [&mut [u32]],
) -> Saturated {
    let p = Params::read(params);
    let steps = row_words(p.in_features as usize);
    let product = Product {
        planes: 1,
        steps,
        rows: &reads[0][tokens.start * steps..],
        infos: &reads[1][tokens.start * INFO..],
        blocks: MatrixBlocks { words: reads[2], stride: steps, contracted: Contracted::Columns },
        columns: p.out_features as usize,
        out_stride: p.out_features as usize + INFO,
    };
    // SAFETY: `simd::implementation` returns this function only if the processor supports the level.
    unsafe { product.compute::<T>(tokens.len(), as_i32_mut(writes[0])) };
    false
}
