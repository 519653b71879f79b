//! LoRA adapters: `y += (alpha / rank) · x · aᵀ · bᵀ` beside a frozen linear layer (Hu et al., 2021).
//!
//! Both factors are stored rank-major: `a [rank, in_features]` and `b [rank, out_features]`
//! (PEFT's `lora_B` is the transpose of ours).

/// Fraction bits of a master parameter: Q3.28, so values lie in ±8.
pub const MASTER_FRACTION_BITS: u32 = 28;

/// One factor of one adapted linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraMatrix {
    /// `layers.<i>.<linear>.a` or `.b`, e.g. `layers.0.attention.q.a`.
    pub name: String,
    /// The rank.
    pub rows: usize,
    /// Features: of the input for a, of the output for b.
    pub columns: usize,
    /// `[rows, columns]` in Q3.28.
    pub values: Vec<i32>,
}

/// The trainable parameters of a model, in canonical order (layer, linear, a before b).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraAdapter {
    /// 4..=64.
    pub rank: usize,
    /// Numerator of the scaling `alpha / rank`.
    pub alpha: u32,
    /// In canonical order.
    pub matrices: Vec<LoraMatrix>,
}

/// The gradient of the summed loss with respect to one [`LoraMatrix`]: `values · 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradientMatrix {
    /// The matrix's name.
    pub name: String,
    /// As the matrix's.
    pub rows: usize,
    /// As the matrix's.
    pub columns: usize,
    /// Fixed by the job, so that gradients of different miners add up exactly.
    pub exponent: i32,
    /// `[rows, columns]`.
    pub values: Vec<i64>,
}
