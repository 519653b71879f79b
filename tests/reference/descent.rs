//! `|loss(integer run) − loss(f64 run)| ≤ 0.01 nat` after 200 steps of one sequence: training by either gradient ends alike.

use super::{
    cases::{self, EXPONENT},
    network::{Adapter, Network},
    quantize::absmax_int8,
};
use r3mes_wgpu::model::{
    config::ModelConfig,
    lora::{LoraAdapter, MASTER_FRACTION_BITS},
    transformer::Targets,
    weights::Model,
};

/// Adam (Kingma, Ba 2015) with β = 0.9, 0.99.
struct Adam {
    rate: f64,
    moments: Vec<(f64, f64)>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, parameters: &mut [Vec<f64>], grads: impl Iterator<Item = f64>) {
        self.steps += 1;
        let (first, second) = (1.0 - 0.9f64.powi(self.steps), 1.0 - 0.99f64.powi(self.steps));
        let parameters = parameters.iter_mut().flatten();
        for ((parameter, grad), (mean, square)) in parameters.zip(grads).zip(&mut self.moments) {
            *mean += 0.1 * (grad - *mean);
            *square += 0.01 * (grad * grad - *square);
            *parameter -= self.rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
        }
    }
}

/// One task: a backbone, a language and an adapter that starts at b = 0.
struct Run {
    model: Model,
    targets: Targets,
    start: LoraAdapter,
    steps: usize,
    rate: f64,
    seed: u64,
}

impl Run {
    /// The text of step `step`; the language is one for all seeds, the order of its texts is not.
    fn sequence(&self, step: usize) -> Vec<u32> {
        let seed = self.seed * 1_000_000 + step as u64;
        cases::text(self.model.config.vocab, self.model.config.context, seed)
    }

    fn held_out(&self) -> Vec<u32> {
        (0..8).flat_map(|i| cases::text(self.model.config.vocab, self.model.config.context, !i)).collect()
    }

    /// Trains by the gradients that `gradient` returns and hands back the adapter.
    fn train(&self, mut gradient: impl FnMut(&Adapter, &[u32], u64) -> Vec<f64>) -> Adapter {
        let mut adapter = Adapter::new(&self.start);
        let moments = vec![(0.0, 0.0); adapter.matrices.iter().map(Vec::len).sum()];
        let mut adam = Adam { rate: self.rate, moments, steps: 0 };
        for step in 0..self.steps {
            let grads = gradient(&adapter, &self.sequence(step), step as u64);
            adam.step(&mut adapter.matrices, grads.into_iter());
        }
        adapter
    }

    /// Master parameters nearest to an adapter.
    fn masters(&self, adapter: &Adapter) -> LoraAdapter {
        let mut masters = self.start.clone();
        for (matrix, real) in masters.matrices.iter_mut().zip(&adapter.matrices) {
            let fixed = |value: &f64| (value * 2f64.powi(MASTER_FRACTION_BITS as i32)).round_ties_even() as i32;
            matrix.values = real.iter().map(fixed).collect();
        }
        masters
    }

    /// Held-out losses in nats a token: before, after the f64 run, after the integer run (by its own evaluation).
    fn losses(&self) -> [f64; 3] {
        let network = Network::new(&self.model, &self.targets.linears, absmax_int8);
        let real = self.train(|adapter, chunk, _| network.gradient(adapter, chunk).1.concat());
        let mut trainer = cases::trainer(&self.model, &self.targets, &self.start, 1, 1);
        let exponents = vec![EXPONENT; self.start.matrices.len()];
        let integer = self.train(|adapter, chunk, step| {
            trainer.load(&self.masters(adapter), &exponents).unwrap();
            let gradient = trainer.gradient(chunk, &[self.seed as u8; 32], step);
            assert!(!gradient.saturated);
            let values = gradient.matrices.iter().flat_map(|matrix| &matrix.values);
            values.map(|&value| value as f64 * 2f64.powi(EXPONENT)).collect()
        });
        let chunk = self.held_out();
        let labels = (chunk.len() - 1) as f64;
        let loss = |adapter: &Adapter| network.gradient(adapter, &chunk).0 / labels;
        trainer.load(&self.masters(&integer), &exponents).unwrap();
        let (bits, saturated) = trainer.evaluate(&chunk);
        assert!(!saturated);
        [loss(&Adapter::new(&self.start)), loss(&real), r3mes_wgpu::training::step::nats(bits, chunk.len() - 1)]
    }
}

fn run(config: ModelConfig, steps: usize, rate: f64, seed: u64) -> [f64; 3] {
    let targets = cases::targets(4);
    let model = cases::model(config, 1);
    let start = cases::adapter(&model.config, &targets, [1.7, 0.0], seed);
    Run { model, targets, start, steps, rate, seed }.losses()
}

/// Runs seeds and prints them; the gate is on the mean, and each run's distance stays within the spread of seeds.
fn gate(config: &ModelConfig, steps: usize, rate: f64, seeds: u64) {
    let runs: Vec<_> = (1..=seeds).map(|seed| run(config.clone(), steps, rate, seed)).collect();
    println!("seed  before  f64     integer  difference");
    for (seed, [before, real, integer]) in runs.iter().enumerate() {
        println!("{:4}  {before:.4}  {real:.4}  {integer:.4}  {:+.4}", seed + 1, integer - real);
    }
    let mean = |of: &dyn Fn(&[f64; 3]) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let [before, real, integer] = [0, 1, 2].map(|i| mean(&|run| run[i]));
    let spread = (mean(&|run| (run[1] - real).powi(2)) * seeds as f64 / (seeds - 1) as f64).sqrt();
    println!("mean  {before:.4}  {real:.4}  {integer:.4}  {:+.4}, spread of f64 seeds {spread:.4}", integer - real);
    assert!(before - real > 0.3, "nothing was learnt");
    assert!((integer - real).abs() < (0.005 * real).max(0.01), "{integer} for {real}");
}

/// Two hundred steps of a model that takes a few seconds.
#[test]
fn two_hundred_steps() {
    let tiny =
        ModelConfig { width: 32, heads: 2, kv_heads: 1, ffn_width: 48, vocab: 32, context: 24, ..cases::small() };
    gate(&tiny, 200, 0.01, 3);
}

/// More seeds of a larger model, for the record: `cargo test --test reference three_hundred -- --ignored --nocapture`.
#[test]
#[ignore = "minutes"]
fn three_hundred_steps() {
    gate(&cases::small(), 300, 0.01, 5);
}
