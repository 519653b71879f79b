//! Quality: what exactness costs. A model's gradients and its losses after some steps, by integers, beside the same in f64,
//! in f32 one unit in the last place off, and in bfloat16.

mod report;

use crate::{
    cli::{JobArgs, QualityArgs},
    compute::{self, Compute},
    engine, model,
    output::Exit,
    paths,
};
use anyhow::{Context, Result, ensure};
use pollster::block_on;
use r3mes_reference::{
    network::{Adapter, Network},
    quantize::absmax_int8,
    rounding::{Round, bfloat16, binary32_off_by_one_ulp, exactly},
};
use r3mes_wgpu::{
    model::{
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::{GradientMatrix, LoraAdapter},
    protocol::task_key,
    training::{
        optimizer::{Optimizer, Settings},
        session::JOB_EXPONENT,
        step::Trainer,
    },
};
use report::{Gradients, Report, Row};
use std::{sync::Arc, thread};

/// Held-out sequences that losses are told of.
const HELD_OUT: usize = 4;
/// Dither of the integer steps.
const SEED: u64 = 1;

/// A way to compute.
#[derive(Clone, Copy)]
enum Way {
    Integers,
    Reals { round: Round },
}

/// An adapter, a sequence and its number to gradients.
type Differentiate<'a> = dyn FnMut(&LoraAdapter, &[u32], u64) -> Result<Gradients> + 'a;

const WAYS: [(&str, Way); 4] = [
    ("f64", Way::Reals { round: exactly }),
    ("integers", Way::Integers),
    ("f32 beside", Way::Reals { round: binary32_off_by_one_ulp }),
    ("bfloat16", Way::Reals { round: bfloat16 }),
];

/// What is trained on what.
struct Case {
    model: Model,
    targets: Targets,
    compute: Compute,
    start: LoraAdapter,
    /// Of one sequence each.
    train: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
}

/// Prints the report.
pub(crate) fn run(args: QualityArgs) -> Result<Exit> {
    let case = &Case::new(&args.job, &args)?;
    let steps = args.steps as usize;
    eprintln!("training {steps} steps of one sequence by integers, f64, f32 and bfloat16: minutes");
    let ends: Vec<LoraAdapter> = thread::scope(|scope| {
        let runs = WAYS.map(|(_, way)| scope.spawn(move || case.train(way, steps)));
        runs.into_iter().map(|run| run.join().expect("a run does not panic")).collect::<Result<_>>()
    })?;
    // b is 0 at the start, and then the gradient of a too: gradients are compared where f64 has come to
    let (at, sequences) = (&ends[0], args.sequences as usize);
    let gradients: Vec<Gradients> = thread::scope(|scope| {
        let runs = WAYS.map(|(_, way)| scope.spawn(move || case.gradients(way, at, sequences)));
        runs.into_iter().map(|run| run.join().expect("a run does not panic")).collect::<Result<_>>()
    })?;
    let before = case.loss(&case.start);
    let names = case.start.matrices.iter().map(|matrix| matrix.name.clone()).collect();
    let rows = WAYS.iter().zip(&ends).zip(gradients);
    let rows = rows.map(|(((name, _), end), gradients)| Row { name, gradients, loss: case.loss(end) }).collect();
    Report { names, before, steps, sequences, rows }.tell(args.json);
    Ok(Exit::Ok)
}

impl Case {
    fn new(job: &JobArgs, args: &QualityArgs) -> Result<Self> {
        let data_dir = paths::data_dir(job.data_dir.clone())?;
        let dir = model::dir(job.model.as_deref(), &data_dir)?;
        let model = model::read(&dir)?;
        let context = model.config.context;
        let chunks = model::chunks(job, &dir, &model)?;
        let sequence =
            |chunk: &[u32]| chunk.chunks(context).filter(|part| part.len() == context).map(<[u32]>::to_vec).collect();
        let mut all: Vec<Vec<u32>> = chunks.iter().flat_map(|chunk| -> Vec<_> { sequence(chunk.tokens()) }).collect();
        let needed = args.steps.max(args.sequences) as usize + HELD_OUT;
        ensure!(all.len() >= needed, "the text has {} sequences of {context} tokens, {needed} are needed", all.len());
        let held_out = all.split_off(all.len() - HELD_OUT);
        let targets = model::targets(job.rank);
        let (_, state) = engine::job(&model, &targets, Settings::ADAMW, task_key(&[0; 32], "quality"))?;
        let compute = compute::choose(&args.compute)?;
        Ok(Self { model, targets, compute, start: state.adapter, train: all, held_out })
    }

    fn network(&self, round: Round) -> Network {
        Network::new(&self.model, &self.targets.linears, absmax_int8, round)
    }

    fn trainer(&self) -> Result<Trainer> {
        let step = RecordedStep::new(&self.model, &self.targets, 1);
        let executor = block_on(self.compute.backend.executor(&Arc::new(step.recording.clone())))?;
        Ok(Trainer::new(step, executor))
    }

    /// Trains by AdamW, a sequence a step; only the gradients' way differs.
    fn train(&self, way: Way, steps: usize) -> Result<LoraAdapter> {
        let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
        let (mut adapter, mut optimizer) = (self.start.clone(), Optimizer::new(settings, &self.start)?);
        let mut gradient = self.gradient(way)?;
        for (number, sequence) in self.train.iter().take(steps).enumerate() {
            let values = gradient(&adapter, sequence, number as u64)?;
            let matrices = adapter.matrices.iter().zip(values).map(|(matrix, values)| GradientMatrix {
                name: matrix.name.clone(),
                rows: matrix.rows,
                columns: matrix.columns,
                exponent: JOB_EXPONENT,
                values: values
                    .iter()
                    .map(|value| (value * 2f64.powi(-JOB_EXPONENT)).round_ties_even() as i64)
                    .collect(),
            });
            let matrices: Vec<_> = matrices.collect();
            optimizer.step(&mut adapter, &matrices, sequence.len() as u64 - 1)?;
        }
        Ok(adapter)
    }

    /// What computes the gradients of a sequence's summed loss, matrix by matrix.
    fn gradient(&self, way: Way) -> Result<Box<Differentiate<'_>>> {
        Ok(match way {
            Way::Reals { round } => {
                let network = self.network(round);
                Box::new(move |adapter, sequence, _| Ok(network.gradient(&Adapter::new(adapter), sequence).1))
            }
            Way::Integers => {
                let mut trainer = self.trainer()?;
                let exponents = vec![JOB_EXPONENT; self.start.matrices.len()];
                let key = task_key(&[0; 32], &format!("quality {SEED}"));
                Box::new(move |adapter, sequence, number| {
                    block_on(trainer.load(adapter, &exponents))?;
                    let found = block_on(trainer.gradient(sequence, &key, number))?;
                    let real = |matrix: &GradientMatrix| {
                        matrix.values.iter().map(|value| *value as f64 * 2f64.powi(matrix.exponent)).collect()
                    };
                    (!found.saturated).then(|| found.matrices.iter().map(real).collect()).context("a value saturated")
                })
            }
        })
    }

    /// Summed over sequences.
    fn gradients(&self, way: Way, adapter: &LoraAdapter, sequences: usize) -> Result<Gradients> {
        let mut gradient = self.gradient(way)?;
        let mut sum: Gradients = adapter.matrices.iter().map(|matrix| vec![0.0; matrix.values.len()]).collect();
        for (number, sequence) in self.train.iter().take(sequences).enumerate() {
            for (sum, part) in
                sum.iter_mut().flatten().zip(gradient(adapter, sequence, number as u64)?.iter().flatten())
            {
                *sum += part;
            }
        }
        Ok(sum)
    }

    /// Held-out, in f64, nats a token.
    fn loss(&self, adapter: &LoraAdapter) -> f64 {
        let (network, adapter) = (self.network(exactly), Adapter::new(adapter));
        let loss: f64 = self.held_out.iter().map(|sequence| network.loss(&adapter, sequence)).sum();
        loss / self.held_out.iter().map(|sequence| sequence.len() as f64 - 1.0).sum::<f64>()
    }
}
