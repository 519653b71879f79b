//! Tests that training on the CPU gives the golden digests with the reference kernels, with optimized kernels and at
//! every SIMD level. The number of threads and the number of sequences in a run must not affect the digests.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{executor::CpuKernels, fastest, implementation, scalar, second, simd::Level},
    },
    kernels::{CpuKernel, Kernel},
    training::conformance::{GOLDEN, digests},
};

fn golden(kernels: CpuKernels, threads: usize, sequences: usize) {
    assert_eq!(block_on(digests(&Backend::Cpu { threads, kernels }, sequences)).unwrap(), GOLDEN);
}

#[test]
fn reference_kernels_give_the_golden_digests() {
    golden(scalar, 1, 2);
}

#[test]
fn optimized_kernels_give_the_golden_digests_with_any_threads_and_sequences() {
    for (threads, sequences) in [(1, 1), (2, 1), (3, 2), (2, 3), (5, 4)] {
        golden(fastest, threads, sequences);
    }
    golden(second, 2, 3);
}

#[test]
fn every_simd_level_gives_the_golden_digests() {
    fn portable(kernel: &Kernel) -> Option<CpuKernel> {
        implementation(Level::Scalar, kernel)
    }
    fn avx2(kernel: &Kernel) -> Option<CpuKernel> {
        implementation(Level::Avx2, kernel)
    }
    fn avx512(kernel: &Kernel) -> Option<CpuKernel> {
        implementation(Level::Avx512, kernel)
    }
    fn neon(kernel: &Kernel) -> Option<CpuKernel> {
        implementation(Level::Neon, kernel)
    }
    for level in Level::available() {
        match level {
            Level::Avx2 => golden(avx2, 2, 2),
            Level::Avx512 => golden(avx512, 2, 2),
            Level::Neon => golden(neon, 2, 2),
            Level::Scalar => golden(portable, 2, 2),
            Level::Simd128 => {}
        }
    }
}
