//! Tests that the logits and gradients of the integer implementation are close to those that `transformers` and PEFT
//! computed with the same adapter.

use super::{adapter, fixture, model};
use crate::cases;
use pollster::block_on;
use r3mes_wgpu::{
    compute::Backend,
    kernels::cross_entropy::IGNORE,
    model::{peft, transformer::RecordedStep, weights::Model},
    numbers::lora::LoraAdapter,
    training::{session::JOB_EXPONENT, step::Trainer},
};
use safetensors::SafeTensors;
use std::sync::Arc;

const CPU: Backend = Backend::Cpu { threads: 1, kernels: |_| None };

/// The logits, loss and gradients that `transformers` and PEFT computed, as the bytes of a safetensors file.
struct Reference(Vec<u8>);

impl Reference {
    fn words(&self, name: &str) -> Vec<[u8; 4]> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.tensor(name).unwrap().data().as_chunks().0.to_vec()
    }

    fn reals(&self, name: &str) -> Vec<f64> {
        self.words(name).into_iter().map(|word| f32::from_le_bytes(word).into()).collect()
    }

    fn ids(&self) -> Vec<u32> {
        self.words("ids").into_iter().map(u32::from_le_bytes).collect()
    }
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / (norm(x) * norm(y))
}

/// Computes the logits `[tokens, vocab]` of a model with an adapter, by the integer implementation. The result is in
/// nats.
fn logits(model: &Model, adapter: &LoraAdapter, ids: &[u32]) -> Vec<f64> {
    let step = RecordedStep::new(model, &cases::targets(adapter.rank), ids.len() / model.config.context);
    let (at, head) =
        step.recording.dispatches().iter().enumerate().find(|(_, dispatch)| dispatch.label == "head logits").unwrap();
    let scores = *head.buffers.last().unwrap();
    let mut executor = block_on(CPU.executor(&Arc::new(step.recording.clone()))).unwrap();
    for ((_, buffers), pair) in step.adapted_linears.iter().zip(adapter.matrices.chunks_exact(2)) {
        for (id, words) in buffers.pack(adapter.alpha, &pair[0], &pair[1], (JOB_EXPONENT, JOB_EXPONENT)) {
            block_on(executor.write(id, &words)).unwrap();
        }
    }
    block_on(executor.write(step.ids, ids)).unwrap();
    block_on(executor.write(step.labels, &vec![IGNORE; ids.len()])).unwrap();
    assert!(!block_on(executor.run(0..at + 1)).unwrap());
    let unit = std::f64::consts::LN_2 / f64::from(1 << 20);
    block_on(executor.read(scores)).unwrap().into_iter().map(|score| f64::from(score as i32) * unit).collect()
}

/// Checks that the logits are close to those of PEFT, in two comparisons. PEFT applies LoRA to the input `x` of a
/// linear layer, whereas this implementation applies LoRA to `x` rounded to int8. The first comparison includes this
/// difference.
///
/// For the second comparison, PEFT too applied LoRA to `x` rounded to int8. The two implementations then differ only
/// where they round a value to different int8 values, so their logits must be closer than in the first comparison.
#[test]
fn logits_are_close_to_those_of_peft() {
    let reference = Reference(fixture("reference.safetensors"));
    let got = logits(&model(), &adapter(), &reference.ids());
    let compare = |name: &str| {
        let want = reference.reals(name);
        let error: Vec<f64> = got.iter().zip(&want).map(|(got, want)| got - want).collect();
        let largest = error.iter().fold(0f64, |max, error| max.max(error.abs()));
        let (distance, cosine) = (norm(&error) / norm(&want), cosine(&got, &want));
        println!("{name}: cosine {cosine:.7}, relative distance {distance:.5}, largest error {largest:.4} nats");
        (cosine, distance, largest)
    };
    let (cosine, distance, largest) = compare("logits");
    assert!(
        cosine >= 0.9999 && distance < 0.01 && largest < 0.25,
        "cosine {cosine}, relative distance {distance}, largest error {largest} nats"
    );
    let (cosine, int8_distance, largest) = compare("logits_int8");
    assert!(cosine >= 0.9999 && largest < 0.25, "with x in int8: cosine {cosine}, error {largest}");
    assert!(int8_distance < distance, "distance with x in int8 {int8_distance}, without {distance}");
    // the logits without the adapter must be far from those with the adapter
    let mut none = adapter();
    none.matrices.iter_mut().for_each(|matrix| matrix.values.fill(0));
    let bare = logits(&model(), &none, &reference.ids());
    let moved: Vec<f64> = bare.iter().zip(&got).map(|(bare, got)| bare - got).collect();
    println!("without the adapter: relative distance {:.5}", norm(&moved) / norm(&got));
    assert!(norm(&moved) > 0.1 * norm(&got));
}

/// Checks that the gradients are close to those of PEFT: by the cosine similarity of all matrices together, by the
/// smallest cosine similarity of a single matrix, and by the ratio of the norms. Also checks that the losses are close.
#[test]
fn gradients_are_close_to_those_of_peft() {
    let reference = Reference(fixture("reference.safetensors"));
    let (model, adapter, ids) = (model(), adapter(), reference.ids());
    let step = RecordedStep::new(&model, &cases::targets(adapter.rank), ids.len() / model.config.context);
    let mut trainer = block_on(Trainer::prepare(step, &CPU)).unwrap();
    block_on(trainer.load(&adapter, &vec![JOB_EXPONENT; adapter.matrices.len()])).unwrap();
    let got = block_on(trainer.gradient(&ids, &[7; 32], 0)).unwrap();
    assert!(!got.saturated);
    let (mut all_got, mut all_want, mut worst) = (Vec::new(), Vec::new(), (1.0, String::new()));
    for matrix in &got.matrices {
        let unit = 2f64.powi(matrix.exponent);
        let values: Vec<f64> = matrix.values.iter().map(|&value| value as f64 * unit).collect();
        let (_, _, factor) = peft::parse_matrix_name(&matrix.name).unwrap();
        let (_, values) = peft::to_peft_layout(factor, matrix.rows, matrix.columns, &values);
        let name = peft::tensor_name(&matrix.name).unwrap();
        let want = reference.reals(&name);
        let cosine = cosine(&values, &want);
        if cosine < worst.0 {
            worst = (cosine, name);
        }
        all_got.extend(values);
        all_want.extend(want);
    }
    let (cosine, ratio) = (cosine(&all_got, &all_want), norm(&all_got) / norm(&all_want));
    let (loss, want) = (got.mean_loss(), reference.reals("loss")[0] / got.supervised as f64);
    println!("gradients: cosine {cosine:.6}, ratio of norms {ratio:.5}, worst cosine {:.6} ({})", worst.0, worst.1);
    println!("loss: {loss:.5} nats per token, with PEFT {want:.5}");
    assert!(cosine >= 0.998 && worst.0 >= 0.98 && (0.98..=1.02).contains(&ratio), "{cosine} {worst:?} {ratio}");
    assert!((loss - want).abs() < 0.01 * want);
}
