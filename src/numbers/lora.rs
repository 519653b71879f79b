//! LoRA adapters, which add `(alpha / rank) · x · aᵀ · bᵀ` to the output of a frozen linear layer (Hu et al., 2021).
//!
//! Both factors are stored rank-major: `a [rank, in_features]` and `b [rank, out_features]`. PEFT's `lora_B` is the
//! transpose of this `b`.

use crate::{
    error::Error,
    numbers::{
        fixed::round_even,
        rng::{dither_key, threefry},
    },
};

/// The ranks that an adapter may have.
pub const RANKS: std::ops::RangeInclusive<usize> = 4..=64;

/// The largest number of input or output features of an adapted linear layer.
pub const MAX_FEATURES: usize = 1 << 24;

/// The number of fraction bits of a parameter. Parameters are in Q3.28, so their values are within ±8.
pub const MASTER_FRACTION_BITS: u32 = 28;

/// One factor of one adapted linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraMatrix {
    /// Name of the matrix, `layers.<i>.<linear>.a` or `.b`, such as `layers.0.attention.q.a`.
    pub name: String,
    /// The number of rows: the rank.
    pub rows: usize,
    /// The number of columns: `in_features` for `a`, `out_features` for `b`.
    pub columns: usize,
    /// Values of the matrix, `[rows, columns]`, in Q3.28.
    pub values: Vec<i32>,
}

/// The trainable parameters of a model, in canonical order: by layer, then by linear layer within it, `a` before `b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraAdapter {
    /// Rank of the adapter, 4..=64.
    pub rank: usize,
    /// Numerator of the scaling `alpha / rank`.
    pub alpha: u32,
    /// The matrices, in canonical order.
    pub matrices: Vec<LoraMatrix>,
}

/// The gradient of the summed loss with respect to one [`LoraMatrix`]: `values · 2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradientMatrix {
    /// Name of the matrix.
    pub name: String,
    /// The number of rows of the matrix.
    pub rows: usize,
    /// The number of columns of the matrix.
    pub columns: usize,
    /// Exponent of the gradient, which the job fixes so that gradients of different miners add up exactly.
    pub exponent: i32,
    /// Integers of the gradient, `[rows, columns]`.
    pub values: Vec<i64>,
}

impl LoraAdapter {
    /// Returns a new adapter for linear layers that are given as tuples of name, `in_features` and `out_features`. The
    /// values of `a` are close to normal(0, 0.01), and `b` is 0, so the model's output is initially that of the
    /// backbone.
    ///
    /// Each value of `a` depends only on the seed, the name of the matrix, and the row and column of the value.
    pub fn seeded(rank: usize, alpha: u32, shapes: &[(String, usize, usize)], seed: [u8; 32]) -> Result<Self, Error> {
        if !RANKS.contains(&rank) {
            return Err(Error::Value { what: "LoRA rank", value: rank as i64 });
        }
        let mut matrices = Vec::with_capacity(2 * shapes.len());
        for (linear, in_features, out_features) in shapes {
            for features in [*in_features, *out_features] {
                if !(1..=MAX_FEATURES).contains(&features) {
                    return Err(Error::Value { what: "features of an adapted layer", value: features as i64 });
                }
            }
            let name = format!("{linear}.a");
            let key = dither_key(&seed, 0, &name).0;
            let place = |at: usize| (at / in_features, at % in_features);
            let value = |(row, column): (usize, usize)| normal(key, row as u32, column as u32);
            let values = (0..rank * in_features).map(place).map(value).collect();
            matrices.push(LoraMatrix { name, rows: rank, columns: *in_features, values });
            let values = vec![0; rank * out_features];
            matrices.push(LoraMatrix { name: format!("{linear}.b"), rows: rank, columns: *out_features, values });
        }
        Ok(Self { rank, alpha, matrices })
    }

    /// Returns the size of all parameters in bytes, `4 · rank · Σ(in_features + out_features)`. The size in f32 is the
    /// same.
    pub fn size_bytes(&self) -> u64 {
        self.matrices.iter().map(|matrix| 4 * matrix.values.len() as u64).sum()
    }
}

/// Returns a value close to normal(0, 0.01), in Q3.28, for the element (`row`, `column`) of the matrix with this dither
/// key.
///
/// The value is derived from the sum of twelve uniform 16-bit integers, whose mean is 12·32767.5 and whose standard
/// deviation is 2^16·(1 − 2^-33) (Irwin and Hall), so |value| ≤ 0.06. `column` < 2^30.
fn normal(key: [u32; 2], row: u32, column: u32) -> i32 {
    const HUNDREDTH: i64 = 2_684_355; // 0.01 · 2^28 = 2,684,354.56
    let words = (0..3).flat_map(|block| threefry(key, [row, 4 * column + block]));
    let sum: u32 = words.map(|word| (word & 0xffff) + (word >> 16)).sum();
    round_even((i64::from(sum) - 393_210) * HUNDREDTH, 16) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(seed: u8) -> LoraAdapter {
        let shapes = [("layers.0.attention.q".to_owned(), 512, 256), ("layers.0.ffn.up".to_owned(), 512, 1024)];
        LoraAdapter::seeded(16, 32, &shapes, [seed; 32]).unwrap()
    }

    #[test]
    fn a_is_normal_and_b_is_zero() {
        let adapter = adapter(1);
        let names: Vec<_> = adapter.matrices.iter().map(|matrix| matrix.name.as_str()).collect();
        assert_eq!(
            names,
            ["layers.0.attention.q.a", "layers.0.attention.q.b", "layers.0.ffn.up.a", "layers.0.ffn.up.b"]
        );
        assert_eq!(adapter.size_bytes(), 4 * 16 * (512 + 256 + 512 + 1024));
        for pair in adapter.matrices.chunks(2) {
            let [a, b] = pair else { unreachable!() };
            assert_eq!((a.values.len(), b.values.len()), (a.rows * a.columns, b.rows * b.columns));
            assert!(b.values.iter().all(|value| *value == 0));
            let unit: Vec<f64> = a.values.iter().map(|value| f64::from(*value) / f64::from(1 << 28) / 0.01).collect();
            let moment = |power| unit.iter().map(|value| value.powi(power)).sum::<f64>() / unit.len() as f64;
            // 8,192 samples: standard errors 0.011, 0.016 and 0.11; the kurtosis of the sum is 2.9.
            assert!(moment(1).abs() < 0.05, "{}", moment(1));
            assert!((moment(2) - 1.0).abs() < 0.07, "{}", moment(2));
            assert!((moment(4) - 2.9).abs() < 0.5, "{}", moment(4));
            let rows_differ = a.values[..a.columns] != a.values[a.columns..2 * a.columns];
            assert!(rows_differ);
        }
        assert_ne!(adapter.matrices[0].values, adapter.matrices[2].values);
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(adapter(1), adapter(1));
        assert_ne!(adapter(1), adapter(2));
        assert_eq!(adapter(1).matrices[0].values[..4], GOLDEN);
    }

    const GOLDEN: [i32; 4] = [-227_861, -5_732_230, -4_234_405, -1_335_091];

    #[test]
    fn rank_and_shape_are_checked() {
        let shapes = |features| [("q".to_owned(), features, 8)];
        for rank in [0, 3, 65] {
            assert!(LoraAdapter::seeded(rank, 16, &shapes(8), [0; 32]).is_err(), "{rank}");
        }
        for features in [0, MAX_FEATURES + 1] {
            assert!(LoraAdapter::seeded(4, 16, &shapes(features), [0; 32]).is_err(), "{features}");
        }
        assert!(LoraAdapter::seeded(4, 16, &shapes(8), [0; 32]).is_ok());
        assert!(LoraAdapter::seeded(64, 16, &shapes(8), [0; 32]).is_ok());
    }
}
