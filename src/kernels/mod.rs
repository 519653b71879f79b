//! Kernels. Each consists of WGSL text, a reference kernel in the Rust module of the same name, which defines the
//! result, and an entry in [`ALL`].
//!
//! A kernel reads some buffers of 32-bit words and writes others. Its work is divided into *work units*, mostly token
//! rows. Unit `u` owns words `u·n .. (u+1)·n` of each buffer that the kernel writes (`n` may differ between buffers),
//! so units may run in any order, on any number of threads or workgroups, with the same result.
//!
//! Formats that several kernels share:
//! - *byte rows* `[rows, row_words(width)]`: int8, four to a word, zero padded;
//! - *wide rows* `[rows, 2, row_words(width)]`: integers of magnitude ≤ 2^14 as two int8 planes,
//!   `256 · plane 0 + plane 1`, zero padded;
//! - *row info* `[rows, 4]`: mantissa and exponent of the row's [`Scale`](crate::numbers::fixed::Scale), the sum of the
//!   row's integers, and one word whose meaning depends on the kernel that writes it;
//! - *i32 rows* `[rows, width + 4]`: integers, then their row info;
//! - *i64*: two words, the low one first.

use std::ops::Range;

pub mod attention;
pub mod attention_backward_key;
pub mod attention_backward_query;
pub mod cases;
pub mod cross_entropy;
pub mod digest;
pub mod embed;
pub mod gated_relu_squared;
pub mod gated_relu_squared_backward;
pub mod gradient_quantize;
pub mod head_backward;
pub mod head_gradient_quantize;
pub mod head_logits;
pub mod logits_max;
pub mod logits_sum;
pub mod lora_down;
pub mod lora_down_backward;
pub mod lora_fold;
pub mod lora_gradient_a;
pub mod lora_gradient_b;
pub mod lora_up;
pub mod loss_sum;
pub mod residual_add;
pub mod rms_norm_backward;
pub mod rms_norm_quantize;
pub mod rms_norm_wide;
pub mod rope;
pub mod rope_backward;
pub mod shared;
pub mod ternary_matmul;
pub mod ternary_matmul_backward;

/// The number of words of one row info.
pub const INFO: usize = 4;

/// A kernel: its interface, its reference kernel, and its WGSL.
pub struct Kernel {
    /// The name of `shaders/<name>.wgsl` and `src/kernels/<name>.rs`.
    pub name: &'static str,
    /// Names of the 32-bit fields of WGSL's `struct Params`, in order.
    pub params: &'static [&'static str],
    /// The storage buffers, in the order of their `@binding` numbers, which start at 1; the parameters are at 0.
    pub bindings: &'static [Binding],
    /// Returns the number of work units for the given parameters.
    pub units: fn(&[u32]) -> usize,
    /// The reference kernel: the scalar CPU implementation that defines the result.
    pub reference: CpuKernel,
    /// WGSL implementations, which all return the bits of the reference kernel. The first is `plain`.
    pub lowerings: &'static [Lowering],
}

/// A storage buffer of a kernel.
pub struct Binding {
    /// The name of the WGSL variable.
    pub name: &'static str,
    /// How the kernel uses the buffer.
    pub access: Access,
}

/// How a kernel uses a buffer.
pub enum Access {
    /// The kernel only reads the buffer. Any unit may read any word.
    Read,
    /// Each unit owns the number of words that the function returns for the given parameters. The unit writes these
    /// words and may also read them.
    Write(fn(&[u32]) -> usize),
    /// The recording's saturation flag, which WGSL sets to 1 by atomic max and never reads. A CPU kernel does not get
    /// this buffer; it returns [`Saturated`] instead.
    Flag,
}

/// Whether a value left its range, which makes the step's result void.
pub type Saturated = bool;

/// A CPU implementation of a kernel. Its arguments are the parameters, the range of work units to compute, the buffers
/// that the kernel reads, and, for each buffer that the kernel writes, the words that these units own.
pub type CpuKernel = fn(&[u32], Range<usize>, &[&[u32]], &mut [&mut [u32]]) -> Saturated;

/// A WGSL implementation of a kernel.
pub struct Lowering {
    /// Name of the lowering: `plain`, `tiled`, `f32` or `swar`.
    pub name: &'static str,
    /// The texts of files in `shaders/`, which are concatenated. The first file is the kernel's own, `<kernel>.wgsl`;
    /// the others are in `fragments/`, and other lowerings may use them too.
    pub texts: &'static [&'static str],
    /// Returns the number of workgroups along x for the given parameters.
    pub groups_x: fn(&[u32]) -> u32,
    /// The number of work units that each workgroup along y computes.
    pub units_per_group: u32,
    /// Returns the value of WGSL's override `keys_held` for the given parameters; `None` if the WGSL has no such
    /// override. The value is a number of words of workgroup memory. A browser zeroes these words for each workgroup,
    /// so more of them than needed cost time.
    pub keys_held: Option<fn(&[u32]) -> u32>,
}

impl Lowering {
    /// Returns the complete WGSL: the lowering's texts, then [`SHARED`].
    pub fn wgsl(&self) -> String {
        self.texts.concat() + SHARED
    }

    /// Returns this lowering with a value for the override `keys_held`.
    const fn keys_held(self, words: fn(&[u32]) -> u32) -> Self {
        Self { keys_held: Some(words), ..self }
    }
}

/// Expands to the texts of the given files in `shaders/`.
macro_rules! texts {
    ($($file:expr),+ $(,)?) => { &[$(include_str!(concat!("../../shaders/", $file))),+] };
}
pub(crate) use texts;

/// Expands to the texts of a ternary product's lowering: the kernel's own text, the fragment that reads its operands,
/// the fragment that selects rows, and the fragment that multiplies.
macro_rules! product_texts {
    ($kernel:literal, $operands:literal, $product:literal) => {
        super::texts!(
            concat!($kernel, ".wgsl"),
            concat!("fragments/", $kernel, ".", $operands, ".wgsl"),
            "fragments/ternary_product.rows.wgsl",
            concat!("fragments/ternary_product.", $product, ".wgsl"),
        )
    };
}
use product_texts;

/// Declares a kernel's `Params`, a struct of 32-bit fields. The first field is `first_group`: the workgroup along y at
/// which a launch starts if the executor divides the dispatch into several launches.
macro_rules! params {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        /// The parameters of the kernel, laid out like the uniform buffer in WGSL.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            /// Index along y of the first workgroup. Only a GPU executor sets it.
            pub first_group: u32,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Params {
            pub(crate) const NAMES: &'static [&'static str] = &["first_group", $(stringify!($field)),*];

            pub(crate) fn read(words: &[u32]) -> &Self {
                bytemuck::from_bytes(bytemuck::cast_slice(words))
            }

            /// Returns the parameters as 32-bit words, in the order of the fields.
            pub fn words(&self) -> Vec<u32> {
                bytemuck::cast_slice(bytemuck::bytes_of(self)).to_vec()
            }
        }
    };
}
pub(crate) use params;

/// WGSL functions that every kernel may call. They follow the texts of each lowering.
pub const SHARED: &str = concat!(
    include_str!("../../shaders/shared/dither.wgsl"),
    include_str!("../../shaders/shared/fixed.wgsl"),
    include_str!("../../shaders/shared/gradients.wgsl"),
    include_str!("../../shaders/shared/heads.wgsl"),
    include_str!("../../shaders/shared/lanes.wgsl"),
    include_str!("../../shaders/shared/pairs.wgsl"),
    include_str!("../../shaders/shared/rms.wgsl"),
    include_str!("../../shaders/shared/rows.wgsl"),
    include_str!("../../shaders/shared/scores.wgsl"),
    include_str!("../../shaders/shared/ternary.wgsl"),
    include_str!("../../shaders/shared/tile.wgsl"),
);

/// All kernels of a training step, in the order of their first use.
pub static ALL: &[&Kernel] = &[
    &embed::KERNEL,
    &rms_norm_quantize::KERNEL,
    &lora_down::KERNEL,
    &ternary_matmul::KERNEL,
    &lora_up::KERNEL,
    &rope::KERNEL,
    &attention::KERNEL,
    &residual_add::KERNEL,
    &gated_relu_squared::KERNEL,
    &rms_norm_wide::KERNEL,
    &head_logits::KERNEL,
    &logits_max::KERNEL,
    &logits_sum::KERNEL,
    &cross_entropy::KERNEL,
    &loss_sum::KERNEL,
    &head_backward::KERNEL,
    &rms_norm_backward::KERNEL,
    &gradient_quantize::KERNEL,
    &lora_down_backward::KERNEL,
    &ternary_matmul_backward::KERNEL,
    &gated_relu_squared_backward::KERNEL,
    &head_gradient_quantize::KERNEL,
    &attention_backward_query::KERNEL,
    &attention_backward_key::KERNEL,
    &rope_backward::KERNEL,
    &lora_fold::KERNEL,
    &lora_gradient_a::KERNEL,
    &lora_gradient_b::KERNEL,
    &digest::KERNEL,
];

pub(crate) const fn read(name: &'static str) -> Binding {
    Binding { name, access: Access::Read }
}

pub(crate) const fn write(name: &'static str, words_per_unit: fn(&[u32]) -> usize) -> Binding {
    Binding { name, access: Access::Write(words_per_unit) }
}

pub(crate) const fn flag() -> Binding {
    Binding { name: "flag", access: Access::Flag }
}

pub(crate) const fn lowering(
    name: &'static str,
    texts: &'static [&'static str],
    groups_x: fn(&[u32]) -> u32,
    units_per_group: u32,
) -> Lowering {
    Lowering { name, texts, groups_x, units_per_group, keys_held: None }
}

/// Returns words as the signed bytes that they hold, four to a word.
pub fn as_bytes(words: &[u32]) -> &[i8] {
    bytemuck::cast_slice(words)
}

/// Returns words as the signed bytes that they hold, four to a word.
pub fn as_bytes_mut(words: &mut [u32]) -> &mut [i8] {
    bytemuck::cast_slice_mut(words)
}

/// Returns words as signed integers.
pub fn as_i32(words: &[u32]) -> &[i32] {
    bytemuck::cast_slice(words)
}

/// Returns words as signed integers.
pub fn as_i32_mut(words: &mut [u32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}
