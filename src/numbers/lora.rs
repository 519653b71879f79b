//! LoRA adapters (Hu et al., 2021). An adapter adds `(alpha / rank) · x · aᵀ · bᵀ` to the output of a frozen linear
//! layer, where x is the input of the layer, and a and b are the trained factors.
//!
//! Both factors have `rank` rows: `a [rank, in_features]` and `b [rank, out_features]`. PEFT's `lora_B` is the
//! transpose of this `b`.

use crate::{
    error::Error,
    numbers::{
        fixed::round_even,
        rng::{dither_key, threefry},
    },
};

/// The LoRA ranks that are supported.
pub const RANKS: std::ops::RangeInclusive<usize> = 4..=64;

/// The largest number of input features, and of output features, that an adapted linear layer can have.
pub const MAX_FEATURES: usize = 1 << 24;

/// The number of fraction bits of a LoRA parameter. Parameters are i32 in Q3.28, so they represent values within ±8.
pub const MASTER_FRACTION_BITS: u32 = 28;

/// One of the two LoRA factors of an adapted linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraMatrix {
    /// Name of the matrix: `layers.<i>.<linear>.a` or `layers.<i>.<linear>.b`, such as `layers.0.attention.q.a`.
    pub name: String,
    /// The number of rows, which is the LoRA rank.
    pub rows: usize,
    /// The number of columns, which is `in_features` for the factor a, and `out_features` for the factor b.
    pub columns: usize,
    /// The elements `[rows, columns]`, row by row, in Q3.28.
    pub values: Vec<i32>,
}

/// The trainable parameters of a model. Their canonical order is by decoder layer, then by linear layer, and then the
/// factor a before the factor b.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoraAdapter {
    /// The LoRA rank, which is in 4..=64.
    pub rank: usize,
    /// The numerator of `alpha / rank`, the factor by which the output of the adapter is multiplied.
    pub alpha: u32,
    /// The factors of all adapted linear layers, in canonical order.
    pub matrices: Vec<LoraMatrix>,
}

/// The gradient of the summed loss with respect to one [`LoraMatrix`]. An element is an integer times `2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradientMatrix {
    /// Name of the [`LoraMatrix`] to which the gradient belongs.
    pub name: String,
    /// The number of rows, the same as in the [`LoraMatrix`].
    pub rows: usize,
    /// The number of columns, the same as in the [`LoraMatrix`].
    pub columns: usize,
    /// The exponent of all elements. It is one of the settings that all tasks of a network have in common, so that
    /// gradients of different miners can be added exactly.
    pub exponent: i32,
    /// The integers `[rows, columns]`, row by row, in units of `2^exponent`.
    pub values: Vec<i64>,
}

impl LoraAdapter {
    /// Returns a new adapter for the linear layers in `shapes`, each given by its name, `in_features` and
    /// `out_features`. The elements of the factor a are random and approximately normal, with mean 0 and standard
    /// deviation 0.01. The factor b is 0, so the model initially has the same output as the backbone.
    ///
    /// Each element of a depends only on the seed, the name of the matrix, and the row and column of the element. Fails
    /// if `rank` is not in [`RANKS`], or if a number of features is 0 or exceeds [`MAX_FEATURES`].
    pub fn seeded(rank: usize, alpha: u32, shapes: &[(String, usize, usize)], seed: [u8; 32]) -> Result<Self, Error> {
        if !RANKS.contains(&rank) {
            return Err(Error::Value { what: "LoRA rank", value: rank as i64 });
        }
        let mut matrices = Vec::with_capacity(2 * shapes.len());
        for (linear, in_features, out_features) in shapes {
            for features in [*in_features, *out_features] {
                if !(1..=MAX_FEATURES).contains(&features) {
                    return Err(Error::Value { what: "adapted layer's feature count", value: features as i64 });
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

    /// Returns the size of all parameters in bytes: `4 · rank · Σ(in_features + out_features)`, summed over the adapted
    /// linear layers. The parameters have the same size in f32.
    pub fn size_bytes(&self) -> u64 {
        self.matrices.iter().map(|matrix| 4 * matrix.values.len() as u64).sum()
    }
}

/// Returns an element of the factor a, in Q3.28. It is random and approximately normal, with mean 0 and standard
/// deviation 0.01. The element depends only on `row`, `column` and `key`, the key of the matrix for the random number
/// generator. `column` must be < 2^30.
///
/// The element is computed from the sum of twelve uniform 16-bit integers. The sum has mean 12 · 32767.5 and standard
/// deviation 2^16 · (1 − 2^-33) (Irwin–Hall distribution). The mean is subtracted, and the difference is multiplied by
/// 0.01 / 2^16. The magnitude of the difference is at most 12 · 32767.5. Therefore the magnitude of the element is at
/// most 0.06.
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
            // With 8,192 samples, the standard errors of the moments are 0.011, 0.016 and 0.11. The kurtosis of a sum
            // of twelve uniform values is 2.9.
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
