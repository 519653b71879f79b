//! `cos(integer gradient, f64 gradient) ≥ 0.998`: the quality gates of a whole step.
//!
//! What is left pair the two is less the kernels' rounding (`references` bounds that by 4e-4 of a row's maximum) than BitNet's
//! own: a value that one path rounds up to the next int8 step and the other down moves everything behind it by a step.
//! `yardstick` measures that, where a network is too sensitive for fixed gates.

use super::cases::{self, Random};
use r3mes_reference::{
    network::{Adapter, Network},
    quantize::absmax_int8,
    rounding::exactly,
};
use r3mes_wgpu::{
    model::{
        config::{Linear, ModelConfig},
        transformer::Targets,
        weights::Model,
    },
    numbers::lora::{GradientMatrix, LoraAdapter},
    training::step::ChunkGradient,
};

/// A model, what is trained, and a text.
struct Case {
    model: Model,
    targets: Targets,
    adapter: LoraAdapter,
    chunk: Vec<u32>,
}

/// cos and |got| / |want|.
fn compare(got: &[f64], want: &[f64]) -> (f64, f64) {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (x, y) = (norm(got), norm(want));
    (dot(got, want) / (x * y), x / y)
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn real(matrix: &GradientMatrix) -> Vec<f64> {
    matrix.values.iter().map(|&value| value as f64 * 2f64.powi(matrix.exponent)).collect()
}

impl Case {
    fn new(config: ModelConfig, tokens: usize, targets: Targets, reach: [f64; 2], seed: u64) -> Self {
        let model = cases::model(config, seed);
        let adapter = cases::adapter(&model.config, &targets, reach, seed);
        let chunk = cases::text(model.config.vocab, tokens, seed);
        Self { model, targets, adapter, chunk }
    }

    fn reference(&self, quantize: fn(&mut [f64])) -> (f64, Vec<Vec<f64>>) {
        let network = Network::new(&self.model, &self.targets.linears, quantize, exactly);
        network.gradient(&Adapter::new(&self.adapter), &self.chunk)
    }

    fn integer(&self) -> ChunkGradient {
        let mut trainer = cases::trainer(&self.model, &self.targets, &self.adapter, 2, 2);
        trainer.gradient(&self.chunk, &[7; 32], 3)
    }

    /// Holds the integer gradient to the gates.
    fn check(&self, name: &str) {
        let (loss, want) = self.reference(absmax_int8);
        let got = self.integer();
        assert!(!got.saturated, "{name}");
        let loss = loss / got.supervised as f64;
        let all: Vec<f64> = got.matrices.iter().flat_map(real).collect();
        let (cosine, ratio) = compare(&all, &want.concat());
        let least = 1e-6 * norm(&want.concat());
        let mut worst = (1.0, String::new());
        for (got, want) in got.matrices.iter().zip(&want) {
            if norm(want) < least {
                let error: Vec<f64> = real(got).iter().zip(want).map(|(got, want)| got - want).collect();
                assert!(norm(&error) < least, "{name} {}: {} beside {}", got.name, norm(&error), norm(want));
                continue;
            }
            let cosine = compare(&real(got), want).0;
            if cosine < worst.0 {
                worst = (cosine, got.name.clone());
            }
        }
        println!(
            "{name}: cosine {cosine:.6}, ratio {ratio:.5}, worst {:.6} ({}), loss {:.5} for {loss:.5}",
            worst.0,
            worst.1,
            got.mean_loss()
        );
        assert!(cosine >= 0.998, "{name}: cosine {cosine}");
        assert!(worst.0 >= 0.98, "{name}: {worst:?}");
        assert!((0.98..=1.02).contains(&ratio), "{name}: ratio {ratio}");
        // a flipped int8 step moves single logits by 1/127 of a feature's share; their mean over tens of tokens is 0.1 % of
        // the loss at the worst seen
        assert!((got.mean_loss() - loss).abs() < 0.01 * loss, "{name}: loss {} for {loss}", got.mean_loss());
    }
}

#[test]
fn small_models() {
    for seed in 1..=4 {
        Case::new(cases::small(), 128, cases::targets(8), [1.7, 0.3], seed).check(&format!("small {seed}"));
    }
    let wide = ModelConfig { width: 128, ffn_width: 320, head_dim: 32, vocab: 256, context: 64, ..cases::small() };
    Case::new(wide, 128, cases::targets(16), [1.7, 0.3], 5).check("width 128");
}

/// No size a multiple of a block; groups of three heads; a text that ends inside a sequence.
#[test]
fn odd_shapes() {
    let odd =
        ModelConfig { width: 36, heads: 6, kv_heads: 2, head_dim: 6, ffn_width: 50, context: 33, ..cases::small() };
    let odd = ModelConfig { vocab: 67, ..odd };
    for seed in 1..=3 {
        Case::new(odd.clone(), 92, cases::targets(5), [1.7, 0.3], seed).check(&format!("odd {seed}"));
    }
    let even = ModelConfig { kv_heads: 6, context: 70, ..odd };
    Case::new(even, 140, cases::targets(4), [1.7, 0.3], 5).check("as many key heads, three blocks");
}

/// Adapters from the very first step (b almost 0) to far into training, and fewer linears.
#[test]
fn adapters() {
    for b in [1e-7, 0.003, 0.03, 1.0] {
        Case::new(cases::small(), 64, cases::targets(8), [1.7, b], 1).check(&format!("b within ±{b}/√rank"));
    }
    Case::new(cases::small(), 64, cases::targets(8), [1.7, 0.0], 1).check("b = 0");
    let linears = vec![Linear::Query, Linear::Value];
    Case::new(cases::small(), 64, Targets { rank: 64, linears }, [1.7, 0.3], 2).check("rank 64, queries and values");
}

/// Residual streams that few bits hold, and many.
#[test]
fn residual_bits() {
    for residual_fraction_bits in [12, 16, 24, 27] {
        let config = ModelConfig { residual_fraction_bits, ..cases::small() };
        let name = format!("{residual_fraction_bits} fraction bits");
        Case::new(config, 64, cases::targets(8), [1.7, 0.3], 3).check(&name);
    }
}

/// int8 steps of a row whose every value moved by up to 2^-15 of the largest, in a way that `SEED` draws.
fn shaken_int8<const SEED: u64>(x: &mut [f64]) {
    let reach = x.iter().fold(0f64, |max, x| max.max(x.abs())) / f64::from(1 << 15);
    x.iter_mut().for_each(|x| *x += Random(SEED ^ x.to_bits()).within(-reach, reach));
    absmax_int8(x);
}

/// Integers come nearer to the reference than the reference to itself when what it quantises moves by 2^-15.
#[test]
fn yardstick() {
    let six = ModelConfig { layers: 6, ..cases::small() };
    let narrow = ModelConfig { heads: 3, kv_heads: 1, head_dim: 2, width: 33, ffn_width: 50, ..cases::small() };
    for (name, config, seed) in
        [("two layers", cases::small(), 1), ("six layers", six, 6), ("heads of two features", narrow, 4)]
    {
        let case = Case::new(config, 92, cases::targets(4), [1.7, 0.3], seed);
        let want = case.reference(absmax_int8).1.concat();
        let distance = |got: &[f64]| {
            let error: Vec<f64> = got.iter().zip(&want).map(|(got, want)| got - want).collect();
            norm(&error) / norm(&want)
        };
        let shaken = [shaken_int8::<1>, shaken_int8::<2>, shaken_int8::<3>, shaken_int8::<4>];
        let shaken = norm(&shaken.map(|quantize| distance(&case.reference(quantize).1.concat()))) / 2.0;
        let integer: Vec<f64> = case.integer().matrices.iter().flat_map(real).collect();
        let (cosine, _) = compare(&integer, &want);
        println!(
            "{name}: integers {:.4} away (cosine {cosine:.5}), the shaken reference {shaken:.4}",
            distance(&integer)
        );
        assert!(distance(&integer) < shaken, "{name}");
    }
}
