//! Tests the explanation of why a training step saturates (a value leaves the range of its number format). The
//! explanation must name the first kernel launch in which this happens, and say whether the model or the adapter is the
//! cause.

use crate::cases::{adapter, model, small, targets, text};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, cpu},
    model::{transformer::RecordedStep, weights::Model},
    numbers::lora::LoraAdapter,
    training::{
        optimizer::{Optimizer, Settings},
        saturation::Saturation,
        session::TrainingSession,
        step::Trainer,
    },
};

/// Takes one training step, and returns why it saturates, or `None` if no value leaves the range of its number format.
fn explain(model: &Model, adapter: &LoraAdapter) -> Option<Saturation> {
    let backend = Backend::Cpu { threads: 1, kernels: cpu::fastest };
    let trainer = block_on(Trainer::prepare(RecordedStep::new(model, &targets(4), 1), &backend)).unwrap();
    let optimizer = Optimizer::new(Settings::ADAMW, adapter).unwrap();
    let mut session = TrainingSession::new(trainer, adapter.clone(), optimizer, [1; 32]);
    let chunk = text(model.config.vocab, 40, 1);
    let found = block_on(session.explain_saturation(&[&chunk])).unwrap();
    // the search does not change the session: the next step saturates if and only if the search has found an
    // explanation
    let step = block_on(session.step(&[&chunk])).unwrap();
    assert_eq!(step.report.is_none(), found.is_some());
    assert_eq!(block_on(session.evaluate(&[&chunk])).unwrap().is_none(), found.is_some());
    found
}

#[test]
fn the_model_or_the_adapter_is_named_as_the_cause() {
    let (usual, config) = (model(small(), 3), small());
    let fine = adapter(&config, &targets(4), [1.0, 0.1], 3);
    assert_eq!(explain(&usual, &fine), None);

    let mut loud = usual.clone();
    loud.final_norm.exponent += 14;
    let found = explain(&loud, &fine).unwrap();
    assert_eq!((found.dispatch.as_str(), found.kernel, found.with_new_adapter), ("head logits", "head_logits", true));
    let message = found.to_string();
    assert!(message.contains("±710 nats") && message.contains("no learning rate avoids it"), "{message}");

    let mut grown = fine.clone();
    grown.alpha = 1 << 10;
    grown.matrices.iter_mut().for_each(|matrix| matrix.values.fill(i32::MAX));
    let found = explain(&usual, &grown).unwrap();
    assert!(!found.with_new_adapter && found.dispatch.contains("layers.0."), "{found}");
    assert!(found.to_string().contains("lower learning rate"), "{found}");
}
