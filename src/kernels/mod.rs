//! Kernels: one WGSL entry point, one scalar reference that states what it means, one line in [`ALL`].
//!
//! A kernel reads buffers of 32-bit words and writes others. Its work is a list of *units*
//! (usually token rows); unit `u` owns words `u·n .. (u+1)·n` of each buffer it writes, so units
//! may run in any order, on any number of threads or workgroups, with the same result.
//!
//! Formats that several kernels share:
//! - *byte rows* `[rows, row_words(width)]`: int8, four to a word, zero padded;
//! - *wide rows* `[rows, 2, row_words(width)]`: magnitude ≤ 2^14 as two int8 planes,
//!   `256 · plane 0 + plane 1`, zero padded;
//! - *row info* `[rows, 4]`: mantissa and exponent of the row's [`Scale`](crate::numbers::fixed::Scale),
//!   the sum of the row's integers, one word that the writer names;
//! - *i32 rows* `[rows, width + 4]`: integers, then their row info;
//! - *i64*: two words, low first.

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

/// Words of one row info.
pub const INFO: usize = 4;

/// A kernel: its interface, its reference, its WGSL.
pub struct Kernel {
    /// The name of `shaders/<name>.wgsl` and `src/kernels/<name>.rs`.
    pub name: &'static str,
    /// Names of the 32-bit fields of WGSL's `struct Params`, in order.
    pub params: &'static [&'static str],
    /// What is bound, in the order of `@binding`, from 1 (0 is `params`).
    pub bindings: &'static [Binding],
    /// How many units these params ask for.
    pub units: fn(&[u32]) -> usize,
    /// The scalar meaning.
    pub reference: CpuKernel,
    /// WGSL that computes the same bits; the first is the plain `shaders/<name>.wgsl`.
    pub lowerings: &'static [Lowering],
}

/// One storage buffer of a kernel.
pub struct Binding {
    /// The WGSL variable.
    pub name: &'static str,
    /// How the kernel touches it.
    pub access: Access,
}

/// How a kernel touches a buffer.
pub enum Access {
    /// Reads any of it.
    Read,
    /// Each unit owns this many words, which it may also read.
    Write(fn(&[u32]) -> usize),
    /// The recording's saturation flag: set to 1 by atomic max, never read. Not passed to references,
    /// which return the flag.
    Flag,
}

/// Whether a value left its range; the step's result is then void.
pub type Saturated = bool;

/// Computes a range of units: params, units, buffers read, and the words of each written buffer
/// that belong to these units.
pub type CpuKernel = fn(&[u32], Range<usize>, &[&[u32]], &mut [&mut [u32]]) -> Saturated;

/// One WGSL text of a kernel.
pub struct Lowering {
    /// `plain`, or the middle of `shaders/lowerings/<kernel>.<name>.wgsl`.
    pub name: &'static str,
    /// The text on disk.
    pub wgsl: &'static str,
    /// Workgroups along x for these params.
    pub groups_x: fn(&[u32]) -> u32,
    /// Units that one workgroup along y computes.
    pub units_per_group: u32,
    /// The text's override `keys_held`, where it has one, for these params: words of workgroup memory, which a browser
    /// zeroes for every workgroup, so that many more than needed cost time.
    pub keys_held: Option<fn(&[u32]) -> u32>,
}

/// Declares a kernel's `Params`: named 32-bit fields after `first_group`, the workgroup along y
/// that a dispatch starts at when a player cuts it.
macro_rules! params {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        /// Uniform parameters, as WGSL sees them.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            /// First workgroup along y; only a GPU player sets it.
            pub first_group: u32,
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Params {
            pub(crate) const NAMES: &'static [&'static str] = &["first_group", $(stringify!($field)),*];

            pub(crate) fn read(words: &[u32]) -> &Self {
                bytemuck::from_bytes(bytemuck::cast_slice(words))
            }

            /// The params as words.
            pub fn words(&self) -> Vec<u32> {
                bytemuck::cast_slice(bytemuck::bytes_of(self)).to_vec()
            }
        }
    };
}
pub(crate) use params;

/// What every kernel's text is followed by.
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

/// Every kernel of a training step, in the order that one meets them.
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

/// Words as the signed bytes they pack.
pub fn as_bytes(words: &[u32]) -> &[i8] {
    bytemuck::cast_slice(words)
}

/// Words as the signed bytes they pack.
pub fn as_bytes_mut(words: &mut [u32]) -> &mut [i8] {
    bytemuck::cast_slice_mut(words)
}

/// Words as signed integers.
pub fn as_i32(words: &[u32]) -> &[i32] {
    bytemuck::cast_slice(words)
}

/// Words as signed integers.
pub fn as_i32_mut(words: &mut [u32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}
