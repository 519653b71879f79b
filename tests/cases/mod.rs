//! Inputs for tests of whole training steps: a small model, the linear layers to adapt, an adapter and a text. The
//! random values in them are derived from a seed.

#![allow(unreachable_pub, reason = "two test binaries include this file")]

use pollster::block_on;
use r3mes_wgpu::{
    compute::Backend,
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
        weights::{Embedding, Gain, Model},
    },
    numbers::lora::{LoraAdapter, LoraMatrix},
    training::{
        session::JOB_EXPONENT,
        step::{ChunkGradient, Trainer},
    },
};

/// The pseudo-random generator SplitMix64 (Steele, Lea, Flood 2014) with its state.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Returns a uniformly distributed number in the range `low..high`.
    pub fn within(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Returns the configuration of a model with two layers, four query heads that share two key/value heads, and 64
/// features.
pub fn small() -> ModelConfig {
    ModelConfig {
        layers: 2,
        width: 64,
        heads: 4,
        kv_heads: 2,
        ffn_width: 160,
        vocab: 128,
        context: 32,
        residual_fraction_bits: 20,
        ..ModelConfig::TINY
    }
}

/// Returns the description of an adapter that adapts all seven linear layers of each decoder layer, with the given
/// rank.
pub fn targets(rank: usize) -> Targets {
    Targets { rank, linears: Linear::ALL.to_vec() }
}

/// Returns a pseudo-random model. The gains of its norms have magnitudes from ½ to 2, and the rows of its embedding
/// have different magnitudes. Therefore a computation that omits a gain or a row scale gives a wrong result.
pub fn model(config: ModelConfig, seed: u64) -> Model {
    let mut random = Random(seed);
    let mut model = seeded(config, [seed as u8; 32]).unwrap();
    let mut vary = |gain: &mut Gain| {
        let sign = |random: &mut Random| if random.word() & 7 == 0 { -1.0 } else { 1.0 };
        let values: Vec<f32> =
            gain.mantissas.iter().map(|_| (random.within(0.5, 2.0) * sign(&mut random)) as f32).collect();
        *gain = Gain::quantize(&values).unwrap();
    };
    for layer in &mut model.layers {
        [&mut layer.attention_norm, &mut layer.attention_sub_norm].into_iter().for_each(&mut vary);
        [&mut layer.ffn_norm, &mut layer.ffn_sub_norm].into_iter().for_each(&mut vary);
    }
    vary(&mut model.final_norm);
    let (vocab, width) = (model.config.vocab, model.config.width);
    let reach = (3.0 / width as f64).sqrt();
    let mut embedding = Vec::with_capacity(vocab * width);
    for _ in 0..vocab {
        let size = random.within(0.25, 1.5) * reach;
        embedding.extend((0..width).map(|_| random.within(-size, size) as f32));
    }
    model.embedding = Embedding::quantize(&embedding, width).unwrap();
    model.check().unwrap()
}

/// Returns a pseudo-random adapter with an alpha of 2 · rank. The elements of its factors are uniformly distributed:
/// those of the first factor of a layer within ±`a / √in_features`, those of the second factor within ±`b / √rank`.
pub fn adapter(config: &ModelConfig, targets: &Targets, [a, b]: [f64; 2], seed: u64) -> LoraAdapter {
    let mut random = Random(seed ^ 0xada9);
    let rank = targets.rank;
    let mut matrix = |name: String, columns: usize, reach: f64| {
        let fixed = |value: f64| (value * f64::from(1u32 << 28)).round_ties_even() as i32;
        let values = (0..rank * columns).map(|_| fixed(random.within(-reach, reach))).collect();
        LoraMatrix { name, rows: rank, columns, values }
    };
    let mut matrices = Vec::new();
    for layer in 0..config.layers {
        for linear in &targets.linears {
            let (in_features, out_features) = linear.shape(config);
            let name = |factor| format!("layers.{layer}.{}.{factor}", linear.name());
            matrices.push(matrix(name("a"), in_features, a / (in_features as f64).sqrt()));
            matrices.push(matrix(name("b"), out_features, b / (rank as f64).sqrt()));
        }
    }
    LoraAdapter { rank, alpha: 2 * rank as u32, matrices }
}

/// Returns pseudo-random tokens of an artificial language. In this language, only four different tokens can follow a
/// given token, and the first of the four does so most often.
pub fn text(vocab: usize, tokens: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed ^ 0x7e87);
    let mut token = random.word() % vocab as u64;
    let next = |token: u64, choice: u64| Random(token * 4 + choice).word() % vocab as u64;
    let mut step = || {
        let choice = (random.word() & 7).saturating_sub(4);
        token = next(token, choice);
        token as u32
    };
    (0..tokens).map(|_| step()).collect()
}

/// A trainer on the CPU. Except for `try_load`, its methods panic on errors.
pub struct CpuTrainer(Trainer);

/// Returns a trainer with the adapter loaded. Each of its runs computes `sequences` sequences, on `threads` threads.
pub fn trainer(
    model: &Model,
    targets: &Targets,
    adapter: &LoraAdapter,
    sequences: usize,
    threads: usize,
) -> CpuTrainer {
    let step = RecordedStep::new(model, targets, sequences);
    let backend = Backend::Cpu { threads, kernels: |_| None };
    let mut trainer = CpuTrainer(block_on(Trainer::prepare(step, &backend)).unwrap());
    trainer.load(adapter, JOB_EXPONENT);
    trainer
}

impl CpuTrainer {
    /// Loads an adapter. Every gradient matrix gets the exponent `exponent`.
    pub fn load(&mut self, adapter: &LoraAdapter, exponent: i32) {
        self.try_load(adapter, exponent).unwrap();
    }

    pub fn try_load(&mut self, adapter: &LoraAdapter, exponent: i32) -> Result<(), Error> {
        block_on(self.0.load(adapter, &vec![exponent; adapter.matrices.len()]))
    }

    pub fn gradient(&mut self, chunk: &[u32], task_key: &[u8; 32], step: u64) -> ChunkGradient {
        block_on(self.0.gradient(chunk, task_key, step)).unwrap()
    }

    pub fn evaluate(&mut self, chunk: &[u32]) -> (i64, bool) {
        block_on(self.0.evaluate(chunk)).unwrap()
    }
}
