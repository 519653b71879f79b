//! Optimized CPU implementations of kernels. They compute the same integers as the reference kernels, but in an order
//! that lets the compiler vectorize the loops.
//!
//! They are written in plain Rust, apart from the inner products of [`simd::wide`], and the macro `compiled` compiles
//! them for several instruction sets. If the reference kernel is already a loop over a row, it is compiled again without
//! changes; the other kernels have a file of their own here.

#![allow(clippy::needless_range_loop, reason = "the compiler vectorizes plain loops over arrays of equal length")]

use super::simd::{self, Level};
use crate::kernels::{self, CpuKernel};

mod attention;
mod attention_backward_key;
mod attention_backward_query;
mod head_logits;
mod heads;
mod lora_down;
mod lora_gradient;
mod lora_up;
mod products;
mod scores;

/// Expands to the implementation of a kernel for the instruction set `$level`, which the processor must support. The body
/// of the kernel is a function that must be `#[inline(always)]`. On x86-64, it is compiled three times: for the baseline,
/// for AVX2 and for AVX-512. If `<WideTile>` follows the name of the body, each version is given the [`WideTile`] of its
/// instruction set as a type parameter.
///
/// [`WideTile`]: crate::compute::cpu::simd::wide::WideTile
macro_rules! compiled {
    (@levels $level:expr, [$($avx512:tt)+] [$($avx2:tt)+] [$($baseline:tt)+]) => {
        match $level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => compiled!(@features "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", $($avx512)+),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => compiled!(@features "avx2", $($avx2)+),
            _ => |params, units, reads, writes| $($baseline)+(params, units, reads, writes),
        }
    };
    (@features $features:literal, $($body:tt)+) => {
        |params, units, reads, writes| {
            #[target_feature(enable = $features)]
            fn with_features(
                params: &[u32],
                units: std::ops::Range<usize>,
                reads: &[&[u32]],
                writes: &mut [&mut [u32]],
            ) -> kernels::Saturated {
                $($body)+(params, units, reads, writes)
            }
            // SAFETY: `implementation` returns this function only if the processor supports the level.
            unsafe { with_features(params, units, reads, writes) }
        }
    };
    ($level:expr, $($body:ident)::+) => {
        compiled!(@levels $level, [$($body)::+] [$($body)::+] [$($body)::+])
    };
    ($level:expr, $($body:ident)::+ <WideTile>) => {
        compiled!(@levels $level, [$($body)::+::<simd::Avx512>] [$($body)::+::<simd::Avx2>] [$($body)::+::<simd::Baseline>])
    };
}

/// Returns the optimized implementation of the kernel with this name for an instruction set. Returns `None` if the kernel
/// has no optimized implementation, or if the processor does not support the instruction set.
pub(super) fn implementation(level: Level, kernel_name: &str) -> Option<CpuKernel> {
    if !level.is_available() {
        return None;
    }
    Some(match kernel_name {
        "attention" => compiled!(level, attention::body<WideTile>),
        "attention_backward_key" => compiled!(level, attention_backward_key::body<WideTile>),
        "attention_backward_query" => compiled!(level, attention_backward_query::body<WideTile>),
        "cross_entropy" => compiled!(level, kernels::cross_entropy::reference),
        "embed" => compiled!(level, kernels::embed::reference),
        "gated_relu_squared" => compiled!(level, kernels::gated_relu_squared::reference),
        "gated_relu_squared_backward" => compiled!(level, kernels::gated_relu_squared_backward::reference),
        "gradient_quantize" => compiled!(level, kernels::gradient_quantize::reference),
        "head_backward" => compiled!(level, kernels::head_backward::reference),
        "head_gradient_quantize" => compiled!(level, kernels::head_gradient_quantize::reference),
        "head_logits" => compiled!(level, head_logits::body<WideTile>),
        "logits_max" => compiled!(level, kernels::logits_max::reference),
        "logits_sum" => compiled!(level, kernels::logits_sum::reference),
        "lora_down" => compiled!(level, lora_down::forward),
        "lora_down_backward" => compiled!(level, lora_down::backward),
        "lora_fold" => compiled!(level, kernels::lora_fold::reference),
        "lora_gradient_a" => compiled!(level, lora_gradient::a<WideTile>),
        "lora_gradient_b" => compiled!(level, lora_gradient::b<WideTile>),
        "lora_up" => compiled!(level, lora_up::body<WideTile>),
        "residual_add" => compiled!(level, kernels::residual_add::reference),
        "rms_norm_backward" => compiled!(level, kernels::rms_norm_backward::reference),
        "rms_norm_quantize" => compiled!(level, kernels::rms_norm_quantize::reference),
        "rms_norm_wide" => compiled!(level, kernels::rms_norm_wide::reference),
        "rope" => compiled!(level, kernels::rope::reference),
        "rope_backward" => compiled!(level, kernels::rope_backward::reference),
        _ => return None,
    })
}
