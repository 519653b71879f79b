//! Tests that training with the integer gradient reaches the same loss as with the f64 gradient: after 200 steps of one
//! sequence, the losses differ by less than 0.01 nat, or 0.5 % if that is more.

use super::cases;
use r3mes_reference::{
    network::{Adapter, Network},
    quantize::absmax_int8,
    rounding::exactly,
};
use r3mes_wgpu::{
    model::{config::ModelConfig, transformer::Targets, weights::Model},
    numbers::lora::{LoraAdapter, MASTER_FRACTION_BITS},
    training::{session::JOB_EXPONENT, step::nats},
};

/// The Adam optimizer (Kingma and Ba, 2015) with β = 0.9 and 0.99.
struct Adam {
    moments: Vec<(f64, f64)>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, rate: f64, parameters: &mut [Vec<f64>], grads: impl Iterator<Item = f64>) {
        self.steps += 1;
        let (first, second) = (1.0 - 0.9f64.powi(self.steps), 1.0 - 0.99f64.powi(self.steps));
        let parameters = parameters.iter_mut().flatten();
        for ((parameter, grad), (mean, square)) in parameters.zip(grads).zip(&mut self.moments) {
            *mean += 0.1 * (grad - *mean);
            *square += 0.01 * (grad * grad - *square);
            *parameter -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
        }
    }
}

/// A training run: a backbone, a synthetic language and an adapter that starts at b = 0.
struct Run {
    model: Model,
    targets: Targets,
    start: LoraAdapter,
    steps: usize,
    rate: f64,
    seed: u64,
}

impl Run {
    /// Returns the text of step `step`. All seeds have the same language, but different texts.
    fn sequence(&self, step: usize) -> Vec<u32> {
        let seed = self.seed * 1_000_000 + step as u64;
        cases::text(self.model.config.vocab, self.model.config.context, seed)
    }

    fn held_out(&self) -> Vec<u32> {
        (0..8).flat_map(|i| cases::text(self.model.config.vocab, self.model.config.context, !i)).collect()
    }

    /// Trains with the gradients that `gradient` computes, and returns the adapter.
    fn train(&self, mut adapter: Adapter, mut gradient: impl FnMut(&Adapter, &[u32], u64) -> Vec<f64>) -> Adapter {
        let moments = vec![(0.0, 0.0); adapter.matrices.iter().map(Vec::len).sum()];
        let mut adam = Adam { moments, steps: 0 };
        for step in 0..self.steps {
            let grads = gradient(&adapter, &self.sequence(step), step as u64);
            let rate = self.rate * (1.0 - step as f64 / self.steps as f64);
            adam.step(rate, &mut adapter.matrices, grads.into_iter());
        }
        adapter
    }

    /// Returns the master parameters nearest to an adapter.
    fn masters(&self, adapter: &Adapter) -> LoraAdapter {
        let mut masters = self.start.clone();
        for (matrix, real) in masters.matrices.iter_mut().zip(&adapter.matrices) {
            let fixed = |value: &f64| (value * 2f64.powi(MASTER_FRACTION_BITS as i32)).round_ties_even() as i32;
            matrix.values = real.iter().map(fixed).collect();
        }
        masters
    }

    /// Trains with the f64 reference, starting from initial values scaled by 1 + `nudge`. Returns the held-out loss in
    /// nats per token, and the adapter.
    fn real(&self, nudge: f64) -> (f64, Adapter) {
        let network = Network::new(&self.model, &self.targets.linears, absmax_int8, exactly);
        let mut start = Adapter::new(&self.start);
        start.matrices.iter_mut().flatten().for_each(|value| *value *= 1.0 + nudge);
        let adapter = self.train(start, |adapter, chunk, _| network.gradient(adapter, chunk).1.concat());
        (self.loss(&adapter), adapter)
    }

    fn loss(&self, adapter: &Adapter) -> f64 {
        let (network, chunk) =
            (Network::new(&self.model, &self.targets.linears, absmax_int8, exactly), self.held_out());
        network.gradient(adapter, &chunk).0 / (chunk.len() - 1) as f64
    }

    /// Trains with the integer implementation. Returns the held-out loss as computed by that implementation and by the
    /// reference.
    fn integer(&self) -> (f64, f64) {
        let mut trainer = cases::trainer(&self.model, &self.targets, &self.start, 1, 1);
        let adapter = self.train(Adapter::new(&self.start), |adapter, chunk, step| {
            trainer.load(&self.masters(adapter), JOB_EXPONENT);
            let gradient = trainer.gradient(chunk, &[self.seed as u8; 32], step);
            assert!(!gradient.saturated);
            let values = gradient.matrices.iter().flat_map(|matrix| &matrix.values);
            values.map(|&value| value as f64 * 2f64.powi(JOB_EXPONENT)).collect()
        });
        let chunk = self.held_out();
        trainer.load(&self.masters(&adapter), JOB_EXPONENT);
        let (bits, saturated) = trainer.evaluate(&chunk);
        assert!(!saturated);
        (nats(bits, chunk.len() - 1), self.loss(&adapter))
    }
}

/// Trains with several seeds, prints the losses, and checks that integer and f64 runs end with nearly the same loss.
///
/// `rate` must be small enough that runs are not chaotic. At 0.01, a change of 2^-20 in the initial values changes the
/// final loss of the f64 run by up to 0.07 nat, because some int8 values then round the other way.
fn compare_runs(config: &ModelConfig, steps: usize, rate: f64, seeds: u64) {
    let targets = cases::targets(4);
    let model = cases::model(config.clone(), 1);
    println!("seed  before  f64     nudged  integer (by f64)");
    let run = |seed| {
        let start = cases::adapter(&model.config, &targets, [1.7, 0.0], seed);
        let run = Run { model: model.clone(), targets: targets.clone(), start, steps, rate, seed };
        let (before, real, nudged) = (run.loss(&Adapter::new(&run.start)), run.real(0.0).0, run.real(2f64.powi(-20)).0);
        let (integer, by_real) = run.integer();
        println!("{seed:4}  {before:.4}  {real:.4}  {nudged:.4}  {integer:.4}  {by_real:.4}  {:+.4}", integer - real);
        [before, real, nudged, integer]
    };
    let runs: Vec<_> = (1..=seeds).map(run).collect();
    let mean = |of: &dyn Fn(&[f64; 4]) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let [before, real, nudged, integer] = [0, 1, 2, 3].map(|i| mean(&|run| run[i]));
    let spread = (mean(&|run| (run[1] - real).powi(2)) * seeds as f64 / (seeds - 1) as f64).sqrt();
    println!(
        "mean  {before:.4}  {real:.4}  {nudged:.4}  {integer:.4}  {:+.4}, spread of seeds {spread:.4}",
        integer - real
    );
    assert!(before - real > 0.3, "training did not reduce the loss");
    for [_, real, _, integer] in runs {
        assert!((integer - real).abs() < (0.005 * real).max(0.01), "{integer} instead of {real}");
    }
    assert!((integer - real).abs() < spread, "{integer} instead of {real}");
}

/// Trains a tiny model, which takes a few seconds.
#[test]
fn two_hundred_steps() {
    let tiny =
        ModelConfig { width: 32, heads: 2, kv_heads: 1, ffn_width: 48, vocab: 32, context: 24, ..cases::small() };
    compare_runs(&tiny, 200, 0.003, 3);
}

/// Trains a larger model with more seeds: `cargo test --test reference three_hundred -- --ignored --nocapture`.
#[test]
#[ignore = "minutes"]
fn three_hundred_steps() {
    compare_runs(&cases::small(), 300, 0.002, 5);
}
