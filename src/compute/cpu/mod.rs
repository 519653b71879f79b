//! The CPU backend, which runs the reference kernels or equivalent optimized implementations on several threads.

pub mod executor;
mod optimized;
pub mod simd;

use crate::kernels::{CpuKernel, Kernel};

/// Returns the implementation of a kernel for an instruction set. `None` means the reference kernel, or an instruction
/// set that this processor does not support.
pub fn implementation(level: simd::Level, kernel: &Kernel) -> Option<CpuKernel> {
    simd::implementation(level, kernel.name).or_else(|| optimized::implementation(level, kernel.name))
}

/// Returns the fastest implementation of a kernel on this processor. `None` means the reference kernel.
pub fn fastest(kernel: &Kernel) -> Option<CpuKernel> {
    implementation(simd::Level::detect(), kernel)
}

/// Returns the implementation of a kernel for the second fastest instruction set of this processor. `None` means the
/// reference kernel. The returned implementation serves to check the results of [`fastest`]. The two are the same if the
/// processor supports only one of the SIMD instruction sets in [`simd::Level`].
pub fn second(kernel: &Kernel) -> Option<CpuKernel> {
    implementation(simd::Level::second(), kernel)
}

/// Returns `None` for every kernel, so that an executor uses reference kernels only.
pub fn scalar(_: &Kernel) -> Option<CpuKernel> {
    None
}

/// Returns the number of ranges per thread into which the work units of a dispatch (one launch of a kernel) are
/// divided. The number is 1 for kernels that decode a whole operand for each range, so that no more ranges than
/// necessary repeat this work. It is 4 for other kernels, so that all threads finish at about the same time even if the
/// units differ in cost.
fn ranges_per_thread(kernel: &Kernel) -> usize {
    match kernel.name {
        "ternary_matmul" | "ternary_matmul_backward" | "head_logits" => 1,
        "lora_down" | "lora_down_backward" | "lora_up" | "lora_gradient_a" | "lora_gradient_b" => 1,
        _ => 4,
    }
}
