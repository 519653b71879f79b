//! The CPU backend: reference kernels and their optimized equivalents, on all cores.

pub mod executor;
mod optimized;
pub mod simd;

use crate::kernels::{CpuKernel, Kernel};

/// Returns the fastest implementation of a kernel on this processor; `None` if that is the reference kernel.
pub fn fastest(kernel: &Kernel) -> Option<CpuKernel> {
    simd::implementation(simd::Level::detect(), kernel.name).or_else(|| optimized::implementation(kernel.name))
}

/// Returns an implementation that is independent of [`fastest`] and nearly as fast: the matrix kernels use another
/// instruction set and its tiles, if this processor has two. `None` means the reference kernel.
pub fn second(kernel: &Kernel) -> Option<CpuKernel> {
    simd::implementation(simd::Level::second(), kernel.name).or_else(|| optimized::implementation(kernel.name))
}

/// Returns `None`, which selects the reference kernel of every kernel.
pub fn scalar(_: &Kernel) -> Option<CpuKernel> {
    None
}

/// Returns how many ranges of a dispatch's work units there are for each thread. It is one range if units share decoded
/// operands; otherwise it is several, so that units of unequal cost balance out.
fn ranges_per_thread(kernel: &Kernel) -> usize {
    match kernel.name {
        "ternary_matmul" | "ternary_matmul_backward" | "head_logits" => 1,
        "lora_down" | "lora_down_backward" | "lora_up" | "lora_gradient_a" | "lora_gradient_b" => 1,
        _ => 4,
    }
}
