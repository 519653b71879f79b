//! Tests that dividing the vocabulary into shards keeps each buffer within the size limit, and changes no bit of the
//! gradient.

use crate::cases::{adapter, model, small, targets, text};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, cpu, recording::BufferContent},
    model::transformer::RecordedStep,
    training::{session::JOB_EXPONENT, step::Trainer},
};

#[test]
fn shards_change_no_bit() {
    let config = small();
    let (model, targets) = (model(config.clone(), 7), targets(4));
    let adapter = adapter(&config, &targets, [1.0, 1.0], 7);
    let chunk = text(config.vocab, 75, 7);
    for kernels in [cpu::scalar, cpu::fastest] {
        let backend = Backend::Cpu { threads: 2, kernels };
        let gradient = |step: RecordedStep| {
            let mut trainer = block_on(Trainer::prepare(step, &backend)).unwrap();
            block_on(trainer.load(&adapter, &vec![JOB_EXPONENT; adapter.matrices.len()])).unwrap();
            block_on(trainer.gradient(&chunk, &[9; 32], 3)).unwrap()
        };
        let whole = gradient(RecordedStep::new(&model, &targets, 1));
        assert!(whole.loss > 0 && !whole.saturated);
        // an embedding row of 64 features takes 64 bytes; the logits of one vocabulary entry for 32 tokens of text take
        // 128 bytes
        for (binding_bytes, shards) in [(1 << 14, 1), (6000, 3), (2048, 8), (1, 32)] {
            let step = RecordedStep::sharded(&model, &targets, 1, binding_bytes);
            let embeds = step.recording.dispatches().iter().filter(|dispatch| dispatch.kernel.name == "embed");
            assert_eq!(embeds.count(), shards, "limit of {binding_bytes} bytes");
            for buffer in step.recording.buffers() {
                let of_the_vocabulary = ["embedding", "head.z"].contains(&buffer.name.as_str());
                assert!(!of_the_vocabulary || shards == 32 || 4 * buffer.words <= binding_bytes, "{}", buffer.name);
            }
            assert!(gradient(step) == whole, "{shards} shards");
        }
    }
}

#[test]
fn a_step_of_2048_tokens_at_the_full_vocabulary_fits_the_default_limits() {
    // the width and the vocabulary of BitNet b1.58 2B4T, with one layer
    let config =
        r3mes_wgpu::model::config::ModelConfig { layers: 1, ..r3mes_wgpu::model::config::ModelConfig::BITNET_2B4T };
    let mut model = r3mes_wgpu::model::generator::seeded(
        r3mes_wgpu::model::config::ModelConfig { vocab: 4, ..config.clone() },
        [1; 32],
    )
    .unwrap();
    model.config = config;
    model.embedding.words = vec![0; 128_256 * 640].into();
    model.embedding.row_scales = vec![1; 128_256].into();
    let step = RecordedStep::new(&model.check().unwrap(), &targets(8), 1);
    let largest = step.recording.plan().slot_words.into_iter().max().unwrap();
    assert!(4 * largest <= 128 << 20, "largest buffer: {largest} words");
    let embedding = step.recording.buffers().iter().filter(|buffer| buffer.name == "embedding");
    let words: usize = embedding.clone().map(|buffer| buffer.words).sum();
    assert!(embedding.clone().all(|buffer| matches!(buffer.content, BufferContent::Constant(_))));
    assert_eq!(words, 128_256 * 640);
}
