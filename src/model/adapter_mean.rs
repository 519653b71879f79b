//! The weighted mean of adapters of the same shape. Each parameter of the mean is `Σ weight · parameter / Σ weight`,
//! where the sums are over the adapters.
//!
//! The factors `a` and `b` are averaged separately, as in federated averaging. This suits adapters that were trained
//! from the same seed. The result is not the mean of the products `b·a`, so it is a poor average of adapters with
//! different initial values.

use crate::{
    error::Error,
    numbers::lora::{LoraAdapter, LoraMatrix},
};

/// The largest number of adapters that [`LoraAdapter::mean`] accepts.
pub const MAX_ADAPTERS: usize = 256;

impl LoraAdapter {
    /// Returns the weighted mean of `adapters`, each of which is given as (adapter, weight). The parameters of the mean
    /// are rounded to nearest, ties to even.
    ///
    /// Returns an error if the adapters differ in rank, alpha or shape, if the list is empty or longer than
    /// [`MAX_ADAPTERS`], or if all weights are 0.
    pub fn mean(adapters: &[(Self, u32)]) -> Result<Self, Error> {
        let first = match adapters {
            [(first, _), ..] if adapters.len() <= MAX_ADAPTERS => first,
            _ => return Err(Error::Value { what: "number of adapters in a mean", value: adapters.len() as i64 }),
        };
        let total: i64 = adapters.iter().map(|(_, weight)| i64::from(*weight)).sum();
        if total == 0 {
            return Err(Error::Value { what: "sum of the weights", value: 0 });
        }
        for (adapter, _) in adapters {
            first.check_same(adapter)?;
        }
        let mean = |at: usize, place: usize| {
            // 2^8 products of 63 bits stay below 2^71
            let term =
                |(adapter, weight): &(Self, u32)| i128::from(adapter.matrices[at].values[place]) * i128::from(*weight);
            round_even_quotient(adapters.iter().map(term).sum(), i128::from(total)) as i32
        };
        let matrices = first.matrices.iter().enumerate().map(|(at, matrix)| LoraMatrix {
            values: (0..matrix.values.len()).map(|place| mean(at, place)).collect(),
            ..matrix.clone()
        });
        Ok(Self { matrices: matrices.collect(), ..*first })
    }

    /// Returns an error unless both adapters have the same rank, the same alpha, and matrices of the same names and
    /// shapes.
    fn check_same(&self, other: &Self) -> Result<(), Error> {
        let differ = |what, expected: String, found: String| match expected == found {
            true => Ok(()),
            false => Err(Error::Mismatch { what, expected, found }),
        };
        differ("rank of an adapter", self.rank.to_string(), other.rank.to_string())?;
        differ("alpha of an adapter", self.alpha.to_string(), other.alpha.to_string())?;
        differ("matrices of an adapter", self.matrices.len().to_string(), other.matrices.len().to_string())?;
        let shape = |matrix: &LoraMatrix| {
            format!("{} [{}, {}]", matrix.name, matrix.values.len() / matrix.columns.max(1), matrix.columns)
        };
        self.matrices
            .iter()
            .zip(&other.matrices)
            .try_for_each(|(a, b)| differ("matrix of an adapter", shape(a), shape(b)))
    }

    /// Returns an error unless the adapter has exactly the matrices for the linear layers in `shapes`, in the same
    /// order. Each layer is given as (name, in_features, out_features).
    pub fn check_shapes(&self, shapes: &[(String, usize, usize)]) -> Result<(), Error> {
        let expected = shapes
            .iter()
            .flat_map(|(name, inputs, outputs)| [(format!("{name}.a"), *inputs), (format!("{name}.b"), *outputs)]);
        let expected: Vec<_> = expected.collect();
        let shape = |name: &str, columns: usize| format!("{name} [{}, {columns}]", self.rank);
        for at in 0..expected.len().max(self.matrices.len()) {
            let expected = expected.get(at).map_or("none".into(), |(name, columns)| shape(name, *columns));
            let found = self.matrices.get(at).map_or("none".into(), |matrix| shape(&matrix.name, matrix.columns));
            if expected != found {
                return Err(Error::Mismatch { what: "matrix of the adapter", expected, found });
            }
        }
        Ok(())
    }
}

/// Returns `numerator / denominator`, rounded to nearest, ties to even. The denominator must be positive.
fn round_even_quotient(numerator: i128, denominator: i128) -> i128 {
    let (quotient, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal => quotient + (quotient & 1),
        std::cmp::Ordering::Greater => quotient + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_round_to_nearest_and_ties_to_even() {
        for (numerator, denominator, rounded) in
            [(7, 2, 4), (5, 2, 2), (-5, 2, -2), (-7, 2, -4), (1, 3, 0), (2, 3, 1), (-1, 3, 0), (-2, 3, -1)]
        {
            assert_eq!(round_even_quotient(numerator, denominator), rounded, "{numerator} / {denominator}");
        }
    }

    #[test]
    fn a_mean_is_weighted_and_stays_in_range() {
        let shapes = [("layers.0.attention.q".to_owned(), 5, 7)];
        let adapter = |value: i32| {
            let mut adapter = LoraAdapter::seeded(4, 8, &shapes, [9; 32]).unwrap();
            adapter.matrices.iter_mut().for_each(|matrix| matrix.values.fill(value));
            adapter
        };
        let mean = |parts: &[(i32, u32)]| {
            let parts: Vec<_> = parts.iter().map(|&(value, weight)| (adapter(value), weight)).collect();
            LoraAdapter::mean(&parts).unwrap()
        };
        assert_eq!(mean(&[(10, 1), (20, 3)]), adapter(18));
        assert_eq!(mean(&[(i32::MAX, u32::MAX), (i32::MAX, u32::MAX)]), adapter(i32::MAX));
        assert_eq!(mean(&[(5, 1), (100, 0)]), adapter(5));
        assert!(LoraAdapter::mean(&[]).is_err());
        assert!(LoraAdapter::mean(&[(adapter(1), 0)]).is_err());
        let other = LoraAdapter { alpha: 9, ..adapter(1) };
        let error = LoraAdapter::mean(&[(adapter(1), 1), (other, 1)]).unwrap_err();
        assert_eq!(error.to_string(), "alpha of an adapter: expected 8, found 9");
        assert!(adapter(1).check_shapes(&shapes).is_ok());
        assert!(adapter(1).check_shapes(&[]).is_err());
        assert!(adapter(1).check_shapes(&[("layers.0.attention.q".to_owned(), 5, 8)]).is_err());
    }
}
