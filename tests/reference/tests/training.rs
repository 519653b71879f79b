//! Tests that training with integer gradients reaches nearly the same loss as training with f64 gradients. After 200
//! steps, each on one sequence, the two losses must differ by less than 0.01 nat or 0.5 %, whichever is more.

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

/// The Adam optimizer (Kingma and Ba, 2015) with β₁ = 0.9 and β₂ = 0.99.
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

/// The settings of a training run: the model, the linear layers to adapt, the initial adapter (whose factors b are 0),
/// the number of steps, the initial learning rate, and the seed of the training texts.
struct Run {
    model: Model,
    targets: Targets,
    start: LoraAdapter,
    steps: usize,
    rate: f64,
    seed: u64,
}

impl Run {
    /// Returns the training text of a step. It has as many tokens as the model's context. Each pair of seed and step
    /// has a different text, but all texts are in the same artificial language.
    fn sequence(&self, step: usize) -> Vec<u32> {
        let seed = self.seed * 1_000_000 + step as u64;
        cases::text(self.model.config.vocab, self.model.config.context, seed)
    }

    fn held_out(&self) -> Vec<u32> {
        (0..8).flat_map(|i| cases::text(self.model.config.vocab, self.model.config.context, !i)).collect()
    }

    /// Trains an adapter and returns it. `gradient` computes the gradient of each step, given the adapter, the text and
    /// the index of the step.
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

    /// Rounds the f64 parameters of an adapter to the fixed-point numbers that the integer implementation trains.
    fn masters(&self, adapter: &Adapter) -> LoraAdapter {
        let mut masters = self.start.clone();
        for (matrix, real) in masters.matrices.iter_mut().zip(&adapter.matrices) {
            let fixed = |value: &f64| (value * 2f64.powi(MASTER_FRACTION_BITS as i32)).round_ties_even() as i32;
            matrix.values = real.iter().map(fixed).collect();
        }
        masters
    }

    /// Trains with the gradients of the f64 reference, after multiplying all initial parameters by 1 + `nudge`. Returns
    /// the held-out loss in nats per token, and the trained adapter.
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

    /// Trains with integer gradients. Returns two values for the held-out loss of the trained adapter, in nats per
    /// token: the one that the integer implementation computes, and the one that the f64 reference computes.
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

/// Trains once with integer gradients and once with f64 gradients for each seed from 1 to `seeds`, prints the losses,
/// and checks that both runs of a seed end with nearly the same loss.
///
/// The learning rate `rate` must be small enough that training is not chaotic. At a rate of 0.01, a relative change of
/// 2^-20 in the initial parameters changes the final loss of the f64 run by up to 0.07 nat, because some activations
/// are then rounded to different int8 values.
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
        assert!((integer - real).abs() < (0.005 * real).max(0.01), "loss {integer} instead of {real}");
    }
    assert!((integer - real).abs() < spread, "mean loss {integer} instead of {real}");
}

/// Checks that 200 steps with integer gradients and 200 steps with f64 gradients end with nearly the same loss, for a
/// tiny model. Takes a few seconds.
#[test]
fn two_hundred_steps() {
    let tiny =
        ModelConfig { width: 32, heads: 2, kv_heads: 1, ffn_width: 48, vocab: 32, context: 24, ..cases::small() };
    compare_runs(&tiny, 200, 0.003, 3);
}

/// Checks that 300 steps with integer gradients and 300 steps with f64 gradients end with nearly the same loss, for a
/// larger model and five seeds. Takes minutes:
/// `cargo test --test reference three_hundred -- --ignored --nocapture`.
#[test]
#[ignore = "minutes"]
fn three_hundred_steps() {
    compare_runs(&cases::small(), 300, 0.002, 5);
}
