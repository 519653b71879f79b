//! The CPU backend: every kernel's twin, on all cores.

pub mod player;
pub mod simd;

use crate::kernels::{Kernel, Twin};

/// The fastest twin of a kernel on this processor, `None` where that is the kernel's own.
pub fn fastest(kernel: &Kernel) -> Option<Twin> {
    simd::twin(simd::Level::detect(), kernel.name)
}

/// Every kernel's own twin: the oracle.
pub fn scalar(_: &Kernel) -> Option<Twin> {
    None
}
