//! The kernels of a training step. Each kernel consists of WGSL text, a reference kernel in Rust, and an entry in
//! [`ALL`]. The reference kernel defines the results. It is in the module with the kernel's name.
//!
//! A kernel reads some buffers of 32-bit words and writes others. Its work is divided into *work units*; in most
//! kernels, a work unit is the row of one token. Work unit `u` owns the words `u·n .. (u+1)·n` of each buffer that the
//! kernel writes, and no other work unit writes them. The number `n` of words may differ between buffers. Work units
//! may therefore run in any order, on any number of threads or workgroups, with the same result.
//!
//! Several kernels share these formats:
//! - *byte rows* `[rows, row_words(width)]`: int8 values, four packed into each 32-bit word. A row is padded with
//!   zeros to `row_words(width)` words;
//! - *wide rows* `[rows, 2, row_words(width)]`: integers of magnitude ≤ 2^14, each split into two int8 values as
//!   `256 · high + low`. All high values of a row come first (its high plane), then all low values (its low plane).
//!   Both planes are padded with zeros;
//! - *row info* `[rows, 4]`: the mantissa and the exponent of the row's [`Scale`](crate::numbers::fixed::Scale), the
//!   sum of the row's integers, and one word whose meaning depends on the kernel that writes it;
//! - *i32 rows* `[rows, width + 4]`: the integers of a row, followed by its row info;
//! - *i64*: two words, the low word first.

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

/// The number of words in the row info of one row: the mantissa and the exponent of the row's scale, the sum of its
/// integers, and one word whose meaning depends on the kernel.
pub const INFO: usize = 4;

/// A kernel: its interface, the reference kernel that defines its results, and its implementations in WGSL.
pub struct Kernel {
    /// The name of the kernel. Its files are `shaders/<name>.wgsl` and `src/kernels/<name>.rs`.
    pub name: &'static str,
    /// The names of the fields of WGSL's `struct Params`, in order. Every field has 32 bits.
    pub params: &'static [&'static str],
    /// The storage buffers, in the order of their `@binding` numbers, which start at 1. Binding 0 is the uniform buffer
    /// with the parameters.
    pub bindings: &'static [Binding],
    /// A function that returns the number of work units (in most kernels, one for each token) of a dispatch with the
    /// given parameters.
    pub units: fn(&[u32]) -> usize,
    /// The reference kernel: the scalar CPU implementation that defines the result.
    pub reference: CpuKernel,
    /// The implementations in WGSL. All of them return the same bits as the reference kernel. The first is named
    /// `plain`.
    pub lowerings: &'static [Lowering],
}

/// A storage buffer that a kernel reads or writes.
pub struct Binding {
    /// The name of the variable that is bound to the buffer in WGSL.
    pub name: &'static str,
    /// Whether the kernel reads the buffer, writes it, or uses it as the saturation flag (set when a value leaves its
    /// range).
    pub access: Access,
}

/// How a kernel accesses a storage buffer.
pub enum Access {
    /// The kernel only reads the buffer. Every work unit may read any word of the buffer.
    Read,
    /// The kernel writes the buffer. This variant contains a function that returns, for given parameters, the number of
    /// words that each work unit owns. Only this work unit writes these words; it may also read them.
    Write(fn(&[u32]) -> usize),
    /// The buffer is the saturation flag, which states whether a value has left the range of its number format. All
    /// dispatches (kernel launches) of a recording share the flag. WGSL code sets it to 1 with `atomicMax` and never
    /// reads it. CPU kernels do not get this buffer; they return [`Saturated`] instead.
    Flag,
}

/// Whether a value has left the range of its number format. If so, the result of the whole training step is void.
pub type Saturated = bool;

/// A CPU implementation of a kernel. Its arguments are the parameters; the range of work units to compute; the buffers
/// that the kernel reads; and, for each buffer that the kernel writes, the words that these work units own. It returns
/// whether a value has left the range of its number format.
pub type CpuKernel = fn(&[u32], Range<usize>, &[&[u32]], &mut [&mut [u32]]) -> Saturated;

/// A WGSL implementation of a kernel.
pub struct Lowering {
    /// The name of the implementation: `plain`, `tiled`, `f32` or `swar`. The implementations of a kernel differ only
    /// in speed.
    pub name: &'static str,
    /// The contents of the files in `shaders/` whose concatenation is the WGSL source. The first file is
    /// `<kernel>.wgsl`, which belongs to this kernel. The other files are in `shaders/fragments/`, and other lowerings
    /// may contain them too.
    pub texts: &'static [&'static str],
    /// A function that returns how many workgroups a dispatch with the given parameters has along x.
    pub groups_x: fn(&[u32]) -> u32,
    /// The number of work units that the workgroups with the same y index compute together.
    pub units_per_group: u32,
    /// A function that returns the value of the WGSL override `keys_held` for the given parameters; `None` if the WGSL
    /// has no such override. The value is the length, in words, of an array in workgroup memory. It should not be
    /// larger than needed, because a browser writes zeros to the array for each workgroup.
    pub keys_held: Option<fn(&[u32]) -> u32>,
    /// Whether the lowering is for hardware GPUs only. The drivers of software GPUs take up to a minute to compile it, so
    /// it is not tried there when lowerings are chosen.
    pub hardware_only: bool,
}

impl Lowering {
    /// Returns the complete WGSL source: the lowering's own files, followed by [`SHARED`].
    pub fn wgsl(&self) -> String {
        self.texts.concat() + SHARED
    }

    /// Returns this WGSL implementation with the function `words`, which computes the value of the WGSL override
    /// `keys_held`.
    const fn keys_held(self, words: fn(&[u32]) -> u32) -> Self {
        Self { keys_held: Some(words), ..self }
    }

    /// Returns this WGSL implementation, marked as one for hardware GPUs only.
    const fn hardware_only(self) -> Self {
        Self { hardware_only: true, ..self }
    }
}

/// Expands to a slice with the contents of the given files in `shaders/`.
macro_rules! texts {
    ($($file:expr),+ $(,)?) => { &[$(include_str!(concat!("../../shaders/", $file))),+] };
}
pub(crate) use texts;

/// Expands to the contents of the files that form a WGSL implementation of a ternary product: the kernel's own file,
/// the fragment that reads the operands, the fragment that locates the input rows and writes the output, and the
/// fragment that multiplies.
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

/// Declares the struct `Params` of a kernel. Every field has 32 bits. The first field is `first_group`, and the others
/// are those given to the macro.
macro_rules! params {
    ($($(#[$doc:meta])* $field:ident: $type:ty),* $(,)?) => {
        /// The parameters of the kernel, in the memory layout of WGSL's uniform buffer.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            /// The y index of the first workgroup of a launch. It is 0 unless a GPU executor divides the dispatch into
            /// several launches.
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

/// The text of the WGSL functions that every kernel may call. It is appended to the source of each lowering (WGSL
/// implementation).
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

/// All kernels of a training step, in the order in which a step first uses them.
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

/// Returns a lowering (WGSL implementation) that does not have the override `keys_held`.
pub const fn lowering(
    name: &'static str,
    texts: &'static [&'static str],
    groups_x: fn(&[u32]) -> u32,
    units_per_group: u32,
) -> Lowering {
    Lowering { name, texts, groups_x, units_per_group, keys_held: None, hardware_only: false }
}

/// Reinterprets 32-bit words as signed bytes, four for each word.
pub fn as_bytes(words: &[u32]) -> &[i8] {
    bytemuck::cast_slice(words)
}

/// Reinterprets 32-bit words as signed bytes, four for each word.
pub fn as_bytes_mut(words: &mut [u32]) -> &mut [i8] {
    bytemuck::cast_slice_mut(words)
}

/// Reinterprets 32-bit words as signed integers.
pub fn as_i32(words: &[u32]) -> &[i32] {
    bytemuck::cast_slice(words)
}

/// Reinterprets 32-bit words as signed integers.
pub fn as_i32_mut(words: &mut [u32]) -> &mut [i32] {
    bytemuck::cast_slice_mut(words)
}
