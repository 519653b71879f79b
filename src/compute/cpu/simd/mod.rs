//! SIMD implementations of the two ternary matrix products, forward and backward, and of the inner products in `wide`,
//! which the optimized kernels use. The ternary products multiply rows of integers, one row for each token, by a
//! matrix of trits (−1, 0 or 1).
//!
//! Most of the implementations multiply by codes instead of trits. A code is a trit plus 1, so the sum of the row is
//! subtracted from the result. For token `t` and column `c` of the result, where `s` runs over the elements of the row:
//! `out[t, c] = Σ_s row[t, s] · code[s, c] − Σ_s row[t, s]`.
//!
//! The module `product` computes both products for every level (instruction set). Each level has a file of its own,
//! with the part that is computed in registers. Functions that correspond have the same name in all these files.
//!
//! The `unsafe` code of the CPU backend is here and in the module `optimized`. It calls functions that are compiled for
//! a certain instruction set, and does so only if the processor supports that instruction set.

use crate::kernels::{CpuKernel, ternary_matmul as forward, ternary_matmul_backward as backward};

/// Expands to a call of the function `$call` with the const parameter `ROWS` equal to `$count`, a number that is known
/// only at run time. `$count` must be one of the literals `$rows`, which are given in brackets; otherwise, the code
/// panics.
macro_rules! for_rows {
    ($count:expr, [$($rows:literal),+], $call:ident $arguments:tt) => {
        match $count { $($rows => $call::<$rows> $arguments,)+ rows => unreachable!("{rows} rows") }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

mod panel;
mod product;
mod ternary_matmul;
mod ternary_matmul_backward;
pub(super) mod wide;

/// The register tile of the instruction set that needs no check at run time: NEON on AArch64 (also without the dot
/// product), simd128 on WebAssembly if the module was compiled for it, and otherwise no certain instruction set.
#[cfg(target_arch = "aarch64")]
pub(super) use neon::Tile as Baseline;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) use simd128::Tile as Baseline;
#[cfg(not(any(target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
pub(super) use wide::Portable as Baseline;
#[cfg(target_arch = "x86_64")]
pub(super) use {avx2::Tile as Avx2, avx512::Tile as Avx512};

/// An instruction set for which there are implementations of the ternary matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// No SIMD instructions: the reference kernels are used.
    Scalar,
    /// The simd128 instructions of WebAssembly. They are used if the WebAssembly module was compiled for them.
    Simd128,
    /// The NEON instructions of AArch64, with the dot product of Armv8.2.
    Neon,
    /// The AVX2 instructions of x86-64.
    Avx2,
    /// The AVX-512 instructions of x86-64, with VNNI.
    Avx512,
}

impl Level {
    const ALL: [Self; 5] = [Self::Scalar, Self::Simd128, Self::Neon, Self::Avx2, Self::Avx512];

    /// Returns the fastest level (instruction set) that this processor supports.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rfind(|level| level.is_available()).unwrap_or(Self::Scalar)
    }

    /// Returns the second fastest level (instruction set) that this processor supports. If that would be
    /// [`Scalar`](Self::Scalar), returns the fastest level instead.
    pub fn second() -> Self {
        match Self::available()[..] {
            [Self::Scalar, .., second, _] => second,
            _ => Self::detect(),
        }
    }

    /// Returns all levels (instruction sets) that this processor supports, in order from the slowest to the fastest.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    /// Returns the name of the level (instruction set), as used in messages and command-line flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd128 => "simd128",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Returns whether this processor supports the level.
    pub(super) fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            _ => false,
        }
    }
}

/// Returns the implementation of the kernel `kernel_name` for the instruction set `level`. Returns `None` if the
/// processor does not support this instruction set, or if the kernel is not one of the two ternary matrix products.
/// Each call of the implementation unpacks all weights once for each group of up to 256 rows. Its callers should
/// therefore divide the work units into few, large ranges.
pub fn implementation(level: Level, kernel_name: &str) -> Option<CpuKernel> {
    let [forward_kernel, backward_kernel]: [CpuKernel; 2] = match level {
        _ if !level.is_available() => return None,
        Level::Scalar => [forward::KERNEL.reference, backward::KERNEL.reference],
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Level::Simd128 => {
            [ternary_matmul::implementation::<simd128::Tile>, ternary_matmul_backward::implementation::<simd128::Tile>]
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon => {
            [ternary_matmul::implementation::<neon::Tile>, ternary_matmul_backward::implementation::<neon::Tile>]
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            [ternary_matmul::implementation::<avx2::Tile>, ternary_matmul_backward::implementation::<avx2::Tile>]
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            [ternary_matmul::implementation::<avx512::Tile>, ternary_matmul_backward::implementation::<avx512::Tile>]
        }
        _ => return None,
    };
    match kernel_name {
        name if name == forward::KERNEL.name => Some(forward_kernel),
        name if name == backward::KERNEL.name => Some(backward_kernel),
        _ => None,
    }
}
