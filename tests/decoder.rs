//! Tests that the decoder gives the same scores whether it reads tokens one by one, in parts or all at once. The
//! training step must also give these scores, and a seed must determine the generated text.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{fastest, scalar},
    },
    error::Error,
    model::{
        config::{Linear, ModelConfig},
        decoder::Decoder,
        generator::seeded,
        sampling::Sampler,
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
};
use std::sync::Arc;

const WINDOW: usize = 70;

fn model() -> Model {
    let config = ModelConfig {
        layers: 2,
        width: 48,
        heads: 4,
        kv_heads: 2,
        head_dim: 12,
        ffn_width: 80,
        vocab: 61,
        context: 100,
        ..ModelConfig::TINY
    };
    seeded(config, [3; 32]).unwrap()
}

/// Returns an adapter for four of the seven linear layers of each decoder layer. All of its factors are nonzero
/// matrices.
fn adapter(model: &Model) -> LoraAdapter {
    let linears = vec![Linear::Query, Linear::Value, Linear::Gate, Linear::Down];
    let targets = Targets { rank: 5, linears };
    let mut adapter = LoraAdapter::seeded(5, 16, &targets.shapes(&model.config), [4; 32]).unwrap();
    for (number, matrix) in adapter.matrices.iter_mut().enumerate() {
        for (at, value) in matrix.values.iter_mut().enumerate() {
            *value += ((at * 2_654_435_761 + number) % (1 << 25)) as i32 - (1 << 24);
        }
    }
    adapter
}

fn tokens() -> Vec<u32> {
    (0..WINDOW as u32).map(|at| at * at * 31 % 61).collect()
}

fn cpu(threads: usize) -> Backend {
    Backend::Cpu { threads, kernels: if threads == 1 { scalar } else { fastest } }
}

/// Feeds the test text to a decoder in parts of the given lengths. Returns, for each part, the scores of all possible
/// next tokens after the part.
fn read(backend: &Backend, parts: &[usize]) -> Vec<Vec<i32>> {
    let model = model();
    let adapter = adapter(&model);
    let mut decoder = block_on(Decoder::new(&model, Some(&adapter), WINDOW, backend)).unwrap();
    let (mut at, tokens) = (0, tokens());
    let scores = parts.iter().map(|&part| {
        at += part;
        block_on(decoder.read(&tokens[at - part..at])).unwrap()
    });
    scores.collect()
}

#[test]
fn scores_do_not_depend_on_how_tokens_are_split() {
    let one_by_one = read(&cpu(1), &[1; WINDOW]);
    assert_eq!(read(&cpu(2), &[1; WINDOW]), one_by_one);
    assert_eq!(read(&cpu(1), &[WINDOW])[0], one_by_one[WINDOW - 1]);
    let parts = [7, 1, 30, 2, 30];
    let mut end = 0;
    for (part, scores) in parts.iter().zip(read(&cpu(3), &parts)) {
        end += part;
        assert_eq!(scores, one_by_one[end - 1], "after {end} tokens");
    }
}

#[test]
fn scores_are_those_of_the_training_step() {
    let model = model();
    let context = model.config.context;
    let targets = Targets { rank: 5, linears: Vec::new() };
    let step = RecordedStep::new(&model, &targets, 1);
    let recording = Arc::new(step.recording.clone());
    let mut executor = block_on(cpu(1).executor(&recording)).unwrap();
    let mut ids = tokens();
    ids.resize(context, 0);
    block_on(executor.write(step.ids, &ids)).unwrap();
    let logits = recording.dispatches().iter().position(|dispatch| dispatch.label == "head logits").unwrap();
    block_on(executor.run(0..logits + 1)).unwrap();
    let z = *recording.dispatches()[logits].buffers.last().unwrap();
    let rows = block_on(executor.read(z)).unwrap();
    let mut decoder = block_on(Decoder::new(&model, None, WINDOW, &cpu(2))).unwrap();
    for (at, token) in tokens().into_iter().enumerate() {
        let expected: Vec<_> = rows[at * 61..(at + 1) * 61].iter().map(|score| *score as i32).collect();
        assert_eq!(block_on(decoder.read(&[token])).unwrap(), expected, "token {at}");
    }
}

#[test]
fn a_full_window_and_invalid_tokens_are_refused() {
    let model = model();
    let mut decoder = block_on(Decoder::new(&model, None, 8, &cpu(1))).unwrap();
    let first = block_on(decoder.read(&[1, 2, 3, 4, 5])).unwrap();
    assert!(matches!(block_on(decoder.read(&[1; 4])), Err(Error::Shape { expected: 3, found: 4, .. })));
    assert!(matches!(block_on(decoder.read(&[])), Err(Error::Shape { .. })));
    assert!(matches!(block_on(decoder.read(&[61])), Err(Error::Value { value: 61, .. })));
    assert_eq!((decoder.remaining(), decoder.tokens()), (3, &[1, 2, 3, 4, 5][..]));
    decoder.reset();
    assert_eq!(block_on(decoder.read(&[1, 2, 3, 4, 5])).unwrap(), first);
    assert_eq!(block_on(Decoder::new(&model, None, 1000, &cpu(1))).unwrap().remaining(), 100);
}

#[test]
fn a_seed_determines_the_text() {
    let text = |seed, threads| {
        let model = model();
        let mut decoder = block_on(Decoder::new(&model, None, 40, &cpu(threads))).unwrap();
        let mut sampler = Sampler::new(0.9, 20, seed).unwrap();
        let mut scores = block_on(decoder.read(&[1, 2, 3])).unwrap();
        while decoder.remaining() > 0 {
            scores = block_on(decoder.read(&[sampler.next(&scores)])).unwrap();
        }
        decoder.tokens().to_vec()
    };
    assert_eq!(text(1, 1), text(1, 3));
    assert_ne!(text(1, 1), text(2, 1));
}
