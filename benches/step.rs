//! Measures how many milliseconds a training step takes, in total and in each kernel, for three model sizes.
//!
//! `cargo bench --bench step -- [THREADS] [scalar | gpu DEVICE] [--model MODEL] [--sequences N] [--runs N] [--json]`
//!
//! By default, the step runs on the CPU with one thread per core, or with `THREADS` threads. With `scalar`, the CPU
//! runs the reference kernels. With `gpu`, the step runs on the GPU with the index `DEVICE` or with `DEVICE` in its
//! name, and each kernel uses the lowering (WGSL implementation) that is fastest on this GPU. `--model` selects one of
//! the models: `deep`, `wide` or `long`. `--sequences` is the number of sequences in a step, by default 8 for `deep` and 1
//! for the others. Each time is the fastest of `N` runs, by default five (one with `scalar`). With `--json`, the times of
//! each model are printed as one line of JSON.
//!
//! Each dispatch (one launch of a kernel) is also run by itself. The time of the fastest dispatch is mostly the
//! overhead of starting a run, so it is subtracted from the time of every dispatch.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{fastest, scalar},
        gpu::{self, Gpu, Options},
    },
    error::Error,
    kernels,
    model::{
        config::{Linear, ModelConfig},
        generator::seeded,
        transformer::{RecordedStep, Targets},
    },
    numbers::{lora::LoraAdapter, rng::threefry},
    training::{session::JOB_EXPONENT, trial::WIDE},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

/// A small model with six layers, in the shape of the model that the program contains. It has few weights, but it is
/// deep enough to learn from text.
const DEEP: ModelConfig = ModelConfig {
    layers: 6,
    width: 256,
    heads: 8,
    kv_heads: 4,
    head_dim: 32,
    ffn_width: 768,
    vocab: 1024,
    context: 256,
    residual_fraction_bits: 20,
    ..WIDE
};

/// One layer of BitNet b1.58 2B4T, with a context of 2048 tokens and a vocabulary of only 512 tokens.
const LONG: ModelConfig = ModelConfig { layers: 1, vocab: 512, ..ModelConfig::BITNET_2B4T };

fn main() -> Result<(), Error> {
    let mut arguments: Vec<String> = std::env::args().collect();
    let mut value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.drain(at..(at + 2).min(arguments.len())).nth(1)
    };
    let (model, runs) = (value("--model"), value("--runs").and_then(|runs| runs.parse().ok()));
    let only_sequences = value("--sequences").and_then(|sequences| sequences.parse().ok());
    let slow = arguments.iter().any(|argument| argument == "scalar");
    let backend = match arguments.iter().position(|argument| argument == "gpu") {
        Some(at) => block_on(tuned(arguments.get(at + 1).map_or("0", String::as_str)))?,
        None => Backend::Cpu {
            threads: arguments[1..].iter().find_map(|argument| argument.parse().ok()).unwrap_or(0),
            kernels: if slow { scalar } else { fastest },
        },
    };
    let runs = runs.unwrap_or(if slow { 1 } else { 5 });
    let json = arguments.iter().any(|argument| argument == "--json");
    let models = [("deep", DEEP, 8), ("wide", WIDE, 1), ("long", LONG, 1)];
    if let Some(model) = &model {
        assert!(models.iter().any(|(name, ..)| name == model), "--model is {model}, but must be deep, wide or long");
    }
    for (name, config, sequences) in models {
        if model.as_ref().is_some_and(|model| model != name) {
            continue;
        }
        let sequences: usize = only_sequences.unwrap_or(sequences);
        let tokens = sequences * config.context;
        let vocab = config.vocab as u32;
        let model = seeded(config, [7; 32])?;
        let targets = Targets { rank: 8, linears: Linear::ALL.to_vec() };
        let shapes = targets.shapes(&model.config);
        let step = RecordedStep::new(&model, &targets, sequences);
        let recording = Arc::new(step.recording.clone());
        let mut executor = block_on(backend.executor(&recording))?;
        let words = |count: usize, stream| (0..count as u32).map(move |at| threefry([2026, stream], [at, 0])[0]);
        let mut writes: Vec<(_, Vec<u32>)> = vec![
            (step.ids, words(tokens, 1).map(|word| word % vocab).collect()),
            (step.labels, words(tokens, 2).map(|word| word % vocab).collect()),
            (step.dither, [0, 0].into_iter().chain(words(2 * step.streams.names().len(), 3)).collect()),
        ];
        let mut adapter = LoraAdapter::seeded(8, 16, &shapes, [9; 32])?;
        for matrix in &mut adapter.matrices {
            matrix
                .values
                .iter_mut()
                .zip(words(usize::MAX >> 40, 4))
                .for_each(|(value, word)| *value = word as i32 >> 10);
        }
        for ((_, buffers), pair) in step.adapted_linears.iter().zip(adapter.matrices.chunks_exact(2)) {
            writes.extend(buffers.pack(adapter.alpha, &pair[0], &pair[1], (JOB_EXPONENT, JOB_EXPONENT)));
        }
        block_on(executor.write_all(&writes))?;
        let dispatches = recording.dispatches();
        let mut run_ms = |range| -> Result<f64, Error> {
            let start = clock();
            block_on(executor.run(range))?;
            Ok(clock() - start)
        };
        let mut fastest_ms = vec![f64::INFINITY; dispatches.len()];
        let mut whole_ms = f64::INFINITY;
        for _ in 0..runs {
            whole_ms = whole_ms.min(run_ms(0..dispatches.len())?);
            for (at, fastest_ms) in fastest_ms.iter_mut().enumerate() {
                *fastest_ms = fastest_ms.min(run_ms(at..at + 1)?);
            }
        }
        let run_ms = fastest_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let mut kernels = BTreeMap::<_, (usize, f64)>::new();
        for (dispatch, ms) in dispatches.iter().zip(fastest_ms) {
            let (count, sum_ms) = kernels.entry(dispatch.kernel.name).or_default();
            (*count, *sum_ms) = (*count + 1, *sum_ms + ms - run_ms);
        }
        let mut kernels: Vec<_> = kernels.into_iter().collect();
        kernels.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
        if json {
            let kernels: BTreeMap<_, _> = kernels.iter().map(|(kernel, (_, ms))| (kernel, ms)).collect();
            println!("{}", serde_json::json!({"model": name, "tokens": tokens, "ms": whole_ms, "kernels": kernels}));
            continue;
        }
        println!("{name}: {tokens} tokens in {whole_ms:.1} ms, {:.0} tokens/s", 1e3 * tokens as f64 / whole_ms);
        for (kernel, (count, ms)) in kernels {
            println!("  {kernel:28} {ms:9.2} ms in {count} dispatches");
        }
        println!(
            "  each dispatch was timed separately; {run_ms:.2} ms, the overhead of a launch, was subtracted each time"
        );
    }
    Ok(())
}

fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Opens a GPU, and selects the fastest lowering of each kernel on it.
async fn tuned(device: &str) -> Result<Backend, Error> {
    let devices = gpu::devices().await;
    let gpu =
        Gpu::open(gpu::find(&devices, device)?, Options { slice_ms: f64::INFINITY, ..Options::new(clock) }).await?;
    let choice = gpu::tune(&gpu, kernels::ALL, 0).await?.choice;
    Ok(Backend::Gpu { gpu, choice })
}
