//! Seconds of one training step on the CPU, whole and kernel by kernel, for two model sizes.
//!
//! `cargo bench --bench step -- [scalar] [threads]`: `scalar` plays every kernel's scalar twin.

use r3mes_wgpu::{
    backend::cpu::{fastest, player::CpuPlayer, scalar},
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        lora::LoraAdapter,
        transformer::{Step, Targets},
    },
    rng::threefry,
    training::{session::JOB_EXPONENT, trial::WIDE},
};
use std::{collections::BTreeMap, sync::Arc, time::Instant};

const RUNS: usize = 5;

/// As many layers as a model that learns needs, in few weights.
const DEEP: ModelConfig = ModelConfig {
    layers: 6,
    width: 256,
    heads: 8,
    kv_heads: 4,
    head_dim: 32,
    ffn_width: 768,
    vocab: 256,
    context: 256,
    residual_fraction_bits: 20,
    ..WIDE
};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let threads = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(0);
    let slow = arguments.iter().any(|argument| argument == "scalar");
    let chosen = if slow { scalar } else { fastest };
    for (name, config, sequences) in [("deep", DEEP, 8), ("wide", WIDE, 1)] {
        let tokens = sequences * config.context;
        let vocab = config.vocab as u32;
        let model = seeded(config, [7; 32]).expect("a valid model");
        let targets = Targets { rank: 8, linears: Linear::ALL.to_vec() };
        let shapes = targets.shapes(&model.config);
        let step = Step::new(&model, &targets, sequences);
        let recording = Arc::new(step.recording.clone());
        let mut player = CpuPlayer::new(recording.clone(), threads, chosen);
        let words = |count: usize, stream| (0..count as u32).map(move |at| threefry([2026, stream], [at, 0])[0]);
        let mut write = |id, words: Vec<u32>| player.write(id, &words).expect("the buffer's length");
        write(step.ids, words(tokens, 1).map(|word| word % vocab).collect());
        write(step.labels, words(tokens, 2).map(|word| word % vocab).collect());
        write(step.dither, [0, 0].into_iter().chain(words(2 * step.streams.names().len(), 3)).collect());
        let mut adapter = LoraAdapter::seeded(8, 16, &shapes, [9; 32]).expect("a valid rank");
        for matrix in &mut adapter.matrices {
            matrix
                .values
                .iter_mut()
                .zip(words(usize::MAX >> 40, 4))
                .for_each(|(value, word)| *value = word as i32 >> 10);
        }
        for ((_, buffers), pair) in step.adapted.iter().zip(adapter.matrices.chunks_exact(2)) {
            for (id, words) in buffers.pack(adapter.alpha, &pair[0], &pair[1], (JOB_EXPONENT, JOB_EXPONENT)) {
                write(id, words);
            }
        }
        let runs = if slow { 1 } else { RUNS };
        let mut best = vec![f64::INFINITY; recording.dispatches().len()];
        let mut whole = f64::INFINITY;
        for _ in 0..runs {
            let start = Instant::now();
            player.play(0..recording.dispatches().len(), 0..usize::MAX).expect("nothing is audited");
            whole = whole.min(start.elapsed().as_secs_f64());
            for (at, best) in best.iter_mut().enumerate() {
                let start = Instant::now();
                player.play(at..at + 1, 0..usize::MAX).expect("nothing is audited");
                *best = best.min(start.elapsed().as_secs_f64());
            }
        }
        let mut kernels = BTreeMap::new();
        for (dispatch, seconds) in recording.dispatches().iter().zip(best) {
            *kernels.entry(dispatch.kernel.name).or_insert(0.0) += seconds;
        }
        let mut kernels: Vec<_> = kernels.into_iter().collect();
        kernels.sort_by(|a, b| b.1.total_cmp(&a.1));
        println!("{name}: {tokens} tokens, {:.1} ms, {:.0} tokens/s", 1e3 * whole, tokens as f64 / whole);
        for (kernel, seconds) in kernels {
            println!("  {kernel:28} {:9.2} ms", 1e3 * seconds);
        }
    }
}
