//! The CPU backend: every kernel's reference, on all cores.

pub mod executor;
mod optimized;
pub mod simd;

use crate::kernels::{CpuKernel, Kernel};

/// The fastest reference of a kernel on this processor.
pub fn fastest(kernel: &Kernel) -> Option<CpuKernel> {
    simd::reference(simd::Level::detect(), kernel.name).or_else(|| optimized::reference(kernel.name))
}

/// A reference of another instruction set than [`fastest`], with tiles of its own, where this processor has two: a second
/// opinion at nearly the speed.
pub fn second(kernel: &Kernel) -> Option<CpuKernel> {
    simd::reference(simd::Level::second(), kernel.name).or_else(|| optimized::reference(kernel.name))
}

/// The scalar reference of every kernel: what it means, slowly.
pub fn scalar(_: &Kernel) -> Option<CpuKernel> {
    None
}

/// Ranges of units that each thread gets of a dispatch: one where units share what they decode, else several, so that
/// uneven units even out.
fn ranges_per_thread(kernel: &Kernel) -> usize {
    match kernel.name {
        "ternary_matmul" | "ternary_matmul_backward" | "head_logits" => 1,
        "lora_down" | "lora_down_backward" | "lora_up" | "lora_gradient_a" | "lora_gradient_b" => 1,
        _ => 4,
    }
}
