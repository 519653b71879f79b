//! SIMD references of the matrix kernels: `out[t, c] = Σ_s row[t, s] · code[s, c] − Σ_s row[t, s]`.
//!
//! One [product] for both kernels and every instruction set; a level is one register tile, in a
//! file of its own with the same names as the others. The only `unsafe` of the library is here and in `fast`:
//! calls of functions compiled for a level, each made only where the processor has it.

use crate::kernels::{CpuKernel, ternary_matmul as forward, ternary_matmul_backward as backward};

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

/// An instruction set that the references are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// None: the kernels' own references.
    Scalar,
    /// WebAssembly simd128, chosen when the module is compiled.
    Simd128,
    /// AArch64 NEON with the dot product of Armv8.2.
    Neon,
    /// x86-64 AVX2.
    Avx2,
    /// x86-64 AVX-512 with VNNI.
    Avx512,
}

impl Level {
    const ALL: [Self; 5] = [Self::Scalar, Self::Simd128, Self::Neon, Self::Avx2, Self::Avx512];

    /// The fastest level of this processor.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rfind(|level| level.is_available()).unwrap_or(Self::Scalar)
    }

    /// The fastest but one; the fastest where none but scalar is left.
    pub fn second() -> Self {
        match Self::available()[..] {
            [Self::Scalar, .., second, _] => second,
            _ => Self::detect(),
        }
    }

    /// Every level of this processor, slowest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|level| level.is_available()).collect()
    }

    /// For people and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd128 => "simd128",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Self::Simd128 => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
            _ => false,
        }
    }
}

/// The reference of a matrix kernel at a level, `None` where the kernel has none or the processor lacks
/// the level. Rows share unpacked weights, so split work into few large ranges of units.
pub fn reference(level: Level, kernel_name: &str) -> Option<CpuKernel> {
    let [forward_twin, backward_twin]: [CpuKernel; 2] = match level {
        _ if !level.is_available() => return None,
        Level::Scalar => [forward::KERNEL.reference, backward::KERNEL.reference],
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Level::Simd128 => {
            [ternary_matmul::reference::<simd128::Tile>, ternary_matmul_backward::reference::<simd128::Tile>]
        }
        #[cfg(target_arch = "aarch64")]
        Level::Neon => [ternary_matmul::reference::<neon::Tile>, ternary_matmul_backward::reference::<neon::Tile>],
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => [ternary_matmul::reference::<avx2::Tile>, ternary_matmul_backward::reference::<avx2::Tile>],
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            [ternary_matmul::reference::<avx512::Tile>, ternary_matmul_backward::reference::<avx512::Tile>]
        }
        _ => return None,
    };
    match kernel_name {
        name if name == forward::KERNEL.name => Some(forward_twin),
        name if name == backward::KERNEL.name => Some(backward_twin),
        _ => None,
    }
}
