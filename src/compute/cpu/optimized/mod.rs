//! Optimized CPU implementations of kernels. They compute the same integers as the reference kernels, but in an order
//! that lets the compiler vectorize the loops.
//!
//! They are written in plain Rust, and the macro `compiled` compiles them for several instruction sets. If the
//! reference kernel is already a loop over a row, it is compiled again without changes; the other kernels have a file
//! of their own here.

#![allow(clippy::needless_range_loop, reason = "the compiler vectorizes plain loops over arrays of equal length")]

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

/// Expands to a kernel implementation whose body is a function that must be `#[inline(always)]`. On x86-64, the body is
/// compiled three times: for the baseline, for AVX2 and for AVX-512. Each call runs the best version that the processor
/// supports. If `<WideTile>` follows the name of the body, each version is given the [`WideTile`] of its instruction
/// set as a type parameter.
///
/// [`WideTile`]: crate::compute::cpu::simd::wide::WideTile
macro_rules! compiled {
    ($($body:ident)::+) => {
        compiled!(@ [$($body)::+] [$($body)::+] [$($body)::+])
    };
    ($($body:ident)::+ <WideTile>) => {
        compiled!(@ [$($body)::+::<simd::Avx512>] [$($body)::+::<simd::Avx2>] [$($body)::+::<simd::Baseline>])
    };
    (@ [$($avx512:tt)+] [$($avx2:tt)+] [$($baseline:tt)+]) => {{
        fn implementation(
            params: &[u32],
            units: Range<usize>,
            reads: &[&[u32]],
            writes: &mut [&mut [u32]],
        ) -> Saturated {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn avx512(
                    params: &[u32],
                    units: Range<usize>,
                    reads: &[&[u32]],
                    writes: &mut [&mut [u32]],
                ) -> Saturated {
                    $($avx512)+(params, units, reads, writes)
                }
                #[target_feature(enable = "avx2")]
                fn avx2(params: &[u32], units: Range<usize>, reads: &[&[u32]], writes: &mut [&mut [u32]]) -> Saturated {
                    $($avx2)+(params, units, reads, writes)
                }
                if simd::Level::Avx512.is_available() {
                    // SAFETY: the processor has all five features.
                    return unsafe { avx512(params, units, reads, writes) };
                }
                if simd::Level::Avx2.is_available() {
                    // SAFETY: the processor has the feature.
                    return unsafe { avx2(params, units, reads, writes) };
                }
            }
            $($baseline)+(params, units, reads, writes)
        }
        implementation
    }};
}

/// Returns the optimized implementation of the kernel with this name; `None` if the kernel has no optimized
/// implementation.
pub(super) fn implementation(kernel_name: &str) -> Option<CpuKernel> {
    use crate::{compute::cpu::simd, kernels::Saturated};
    use std::ops::Range;
    Some(match kernel_name {
        "attention" => compiled!(attention::body<WideTile>),
        "attention_backward_key" => compiled!(attention_backward_key::body<WideTile>),
        "attention_backward_query" => compiled!(attention_backward_query::body<WideTile>),
        "cross_entropy" => compiled!(kernels::cross_entropy::reference),
        "embed" => compiled!(kernels::embed::reference),
        "gated_relu_squared" => compiled!(kernels::gated_relu_squared::reference),
        "gated_relu_squared_backward" => compiled!(kernels::gated_relu_squared_backward::reference),
        "gradient_quantize" => compiled!(kernels::gradient_quantize::reference),
        "head_backward" => compiled!(kernels::head_backward::reference),
        "head_gradient_quantize" => compiled!(kernels::head_gradient_quantize::reference),
        "head_logits" => compiled!(head_logits::body<WideTile>),
        "logits_max" => compiled!(kernels::logits_max::reference),
        "logits_sum" => compiled!(kernels::logits_sum::reference),
        "lora_down" => compiled!(lora_down::forward),
        "lora_down_backward" => compiled!(lora_down::backward),
        "lora_fold" => compiled!(kernels::lora_fold::reference),
        "lora_gradient_a" => compiled!(lora_gradient::a<WideTile>),
        "lora_gradient_b" => compiled!(lora_gradient::b<WideTile>),
        "lora_up" => compiled!(lora_up::body<WideTile>),
        "residual_add" => compiled!(kernels::residual_add::reference),
        "rms_norm_backward" => compiled!(kernels::rms_norm_backward::reference),
        "rms_norm_quantize" => compiled!(kernels::rms_norm_quantize::reference),
        "rms_norm_wide" => compiled!(kernels::rms_norm_wide::reference),
        "rope" => compiled!(kernels::rope::reference),
        "rope_backward" => compiled!(kernels::rope_backward::reference),
        _ => return None,
    })
}
