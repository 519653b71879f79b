//! Selects the next token at random. Only integer arithmetic is used, so that a seed gives the same text on every
//! machine.

use crate::{
    error::Error,
    kernels::shared::scores::exp2,
    numbers::{
        rng::{dither_key, threefry},
        tables::exp2_table,
    },
};
use std::cmp::Reverse;

/// Selects tokens at random, with probabilities that follow from the scores of the tokens.
pub struct Sampler {
    /// The reciprocal of the temperature, in Q16 (with 16 fraction bits). If it is `None`, the likeliest token is
    /// always selected.
    inverse_temperature: Option<u64>,
    candidates: usize,
    key: [u32; 2],
    draws: u32,
    exponentials: Vec<u32>,
}

impl Sampler {
    /// Returns a sampler that divides scores by `temperature`, which must be in 0.01..=100, or 0 to always select the
    /// likeliest token. It selects among the `candidates` likeliest tokens, or among all tokens if `candidates` is 0.
    pub fn new(temperature: f64, candidates: usize, seed: u64) -> Result<Self, Error> {
        let inverse_temperature = match temperature {
            0.0 => None,
            0.01..=100.0 => Some((65_536.0 / temperature).round_ties_even() as u64),
            _ => return Err(Error::Value { what: "temperature (0, or 0.01..=100)", value: temperature as i64 }),
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let key = dither_key(&key, 0, "sampling").0;
        Ok(Self { inverse_temperature, candidates, key, draws: 0, exponentials: exp2_table() })
    }

    /// Selects the next token, and returns its ID. `scores` contains one score for each token of the vocabulary: the
    /// base-2 logarithm of the token's unnormalized probability, in Q20 (20 fraction bits). Returns 0 if `scores` is
    /// empty.
    pub fn next(&mut self, scores: &[i32]) -> u32 {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_unstable_by_key(|&token| (Reverse(scores[token as usize]), token));
        let Some(&likeliest) = order.first() else { return 0 };
        let Some(inverse_temperature) = self.inverse_temperature else { return likeliest };
        if self.candidates > 0 {
            order.truncate(self.candidates);
        }
        let weight = |token: &u32| {
            let below = i64::from(scores[likeliest as usize]) - i64::from(scores[*token as usize]);
            let below = (below as u64 * inverse_temperature) >> 16;
            u64::from(exp2(&self.exponentials, u32::try_from(below).unwrap_or(u32::MAX)))
        };
        let sum: u64 = order.iter().map(weight).sum();
        let [low, high] = threefry(self.key, [self.draws, 0]);
        self.draws = self.draws.wrapping_add(1);
        let draws = u64::from(high) << 32 | u64::from(low);
        let mut left = ((u128::from(draws) * u128::from(sum)) >> 64) as u64;
        for token in &order {
            match left.checked_sub(weight(token)) {
                Some(rest) => left = rest,
                None => return *token,
            }
        }
        likeliest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 20;

    fn share(sampler: &mut Sampler, scores: &[i32], token: u32) -> f64 {
        const DRAWS: usize = 4000;
        (0..DRAWS).filter(|_| sampler.next(scores) == token).count() as f64 / DRAWS as f64
    }

    #[test]
    fn tokens_occur_as_often_as_their_scores_say() {
        // The probabilities are 1/7, 4/7 and 2/7.
        let scores = [0, 2 * ONE, ONE];
        let mut sampler = Sampler::new(1.0, 0, 1).unwrap();
        assert!((share(&mut sampler, &scores, 1) - 4.0 / 7.0).abs() < 0.03);
        // Half the temperature doubles the scores, so the probabilities are 1/21, 16/21 and 4/21.
        let mut cold = Sampler::new(0.5, 0, 2).unwrap();
        assert!((share(&mut cold, &scores, 1) - 16.0 / 21.0).abs() < 0.03);
        let mut two = Sampler::new(1.0, 2, 3).unwrap();
        assert!((share(&mut two, &scores, 2) - 1.0 / 3.0).abs() < 0.03);
        assert!(share(&mut two, &scores, 0) == 0.0);
        assert!(share(&mut Sampler::new(0.0, 0, 4).unwrap(), &scores, 1) == 1.0);
    }

    #[test]
    fn a_seed_determines_the_tokens_and_extreme_scores_are_valid() {
        let scores: Vec<i32> = (0..300).map(|at| (at * 7919 % 300 - 150) * (ONE / 50)).collect();
        let text = |seed| {
            let mut sampler = Sampler::new(0.8, 40, seed).unwrap();
            (0..20).map(|_| sampler.next(&scores)).collect::<Vec<_>>()
        };
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
        let mut sampler = Sampler::new(0.01, 0, 1).unwrap();
        assert_eq!(sampler.next(&[-(1 << 30), 1 << 30]), 1);
        assert_eq!(sampler.next(&[]), 0);
        assert!(Sampler::new(f64::NAN, 0, 1).is_err() && Sampler::new(-1.0, 0, 1).is_err());
    }
}
