//! `quality`: measures how much accuracy the integer arithmetic costs. It trains an adapter and computes gradients with
//! four methods: f64, exact integers, f32 with an error of one unit in the last place (ulp) in every result, and
//! bfloat16. The report compares the last three methods with f64.

mod report;

use crate::{
    compute::{self, Compute, ComputeArgs},
    job,
    model::{self, JobArgs},
    output::{Exit, note},
    paths,
};
use anyhow::{Result, bail, ensure};
use clap::Args;
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
use report::{Gradients, MethodResult, QualityReport};
use std::thread;

/// The number of held-out sequences over which the reported loss is averaged.
const HELD_OUT: usize = 4;
/// The seed of the dither (the random bits for rounding) in integer training steps.
const SEED: u64 = 1;

#[derive(Args)]
pub(crate) struct QualityArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    job: JobArgs,
    /// With each method, train this many steps of one sequence each before losses and gradients are compared
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    steps: u32,
    /// Compare gradients that are summed over this many sequences
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    sequences: u32,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// The arithmetic in which gradients are computed.
#[derive(Clone, Copy)]
enum GradientMethod {
    Integers,
    Reals { round: Round },
}

/// A function that takes an adapter, the tokens of a sequence and the sequence's index, and returns the gradients. The
/// dither (the random bits for rounding) depends on the index.
type Differentiate<'a> = dyn FnMut(&LoraAdapter, &[u32], u64) -> Result<Gradients> + 'a;

const METHODS: [(&str, GradientMethod); 4] = [
    ("f64", GradientMethod::Reals { round: exactly }),
    ("integers", GradientMethod::Integers),
    ("f32, one ulp off", GradientMethod::Reals { round: binary32_off_by_one_ulp }),
    ("bfloat16", GradientMethod::Reals { round: bfloat16 }),
];

/// What all compared methods of computing gradients share: the model, the backend, the initial adapter and the text.
struct QualityRun {
    model: Model,
    targets: Targets,
    compute: Compute,
    start: LoraAdapter,
    /// The tokens of each training sequence.
    train: Vec<Vec<u32>>,
    /// The tokens of each held-out sequence, which no method trains on.
    held_out: Vec<Vec<u32>>,
}

/// Trains an adapter with each method, compares the methods, and prints the report.
pub(crate) fn run(args: QualityArgs) -> Result<Exit> {
    let case = &QualityRun::new(&args.job, &args)?;
    let steps = args.steps as usize;
    note!("Training {steps} steps with each of f64, integers, f32 and bfloat16. This takes minutes.");
    let ends: Vec<LoraAdapter> = thread::scope(|scope| {
        let runs = METHODS.map(|(_, method)| scope.spawn(move || case.train(method, steps)));
        runs.into_iter().map(|run| run.join().expect("a run does not panic")).collect::<Result<_>>()
    })?;
    // the LoRA factor b is 0 in the initial adapter, so the gradient of the factor a would be 0 too; gradients are
    // therefore compared at the adapter that was trained in f64
    let (at, sequences) = (&ends[0], args.sequences as usize);
    let gradients: Vec<Gradients> = thread::scope(|scope| {
        let runs = METHODS.map(|(_, method)| scope.spawn(move || case.gradients(method, at, sequences)));
        runs.into_iter().map(|run| run.join().expect("a run does not panic")).collect::<Result<_>>()
    })?;
    let before = case.loss(&case.start);
    let names = case.start.matrices.iter().map(|matrix| matrix.name.clone()).collect();
    let rows = METHODS.iter().zip(&ends).zip(gradients);
    let rows =
        rows.map(|(((name, _), end), gradients)| MethodResult { name, gradients, loss: case.loss(end) }).collect();
    QualityReport { names, before, steps, sequences, rows }.print(args.json);
    Ok(Exit::Ok)
}

impl QualityRun {
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
        ensure!(all.len() >= needed, "the text has {} sequences of {context} tokens; {needed} are needed", all.len());
        let held_out = all.split_off(all.len() - HELD_OUT);
        let targets = model::targets(job.rank);
        let (_, state) = job::create(&model, &targets, Settings::ADAMW, task_key(&[0; 32], "quality"))?;
        let compute = compute::choose(&args.compute)?;
        Ok(Self { model, targets, compute, start: state.adapter, train: all, held_out })
    }

    fn network(&self, round: Round) -> Network {
        Network::new(&self.model, &self.targets.linears, absmax_int8, round)
    }

    fn trainer(&self) -> Result<Trainer> {
        let step = RecordedStep::new(&self.model, &self.targets, 1);
        Ok(block_on(Trainer::prepare(step, &self.compute.backend))?)
    }

    /// Trains an adapter with AdamW, one sequence per step. The methods differ only in how the gradients are computed.
    fn train(&self, method: GradientMethod, steps: usize) -> Result<LoraAdapter> {
        let settings = Settings { learning_rate: 0.002, ..Settings::ADAMW };
        let (mut adapter, mut optimizer) = (self.start.clone(), Optimizer::new(settings, &self.start)?);
        let mut gradient = self.gradient(method)?;
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

    /// Returns a function that computes the gradient of each matrix of the adapter for one sequence. The loss is summed
    /// over the tokens of the sequence.
    fn gradient(&self, method: GradientMethod) -> Result<Box<Differentiate<'_>>> {
        Ok(match method {
            GradientMethod::Reals { round } => {
                let network = self.network(round);
                Box::new(move |adapter, sequence, _| Ok(network.gradient(&Adapter::new(adapter), sequence).1))
            }
            GradientMethod::Integers => {
                let mut trainer = self.trainer()?;
                let exponents = vec![JOB_EXPONENT; self.start.matrices.len()];
                let key = task_key(&[0; 32], &format!("quality {SEED}"));
                Box::new(move |adapter, sequence, number| {
                    block_on(trainer.load(adapter, &exponents))?;
                    let found = block_on(trainer.gradient(sequence, &key, number))?;
                    let real = |matrix: &GradientMatrix| {
                        matrix.values.iter().map(|value| *value as f64 * 2f64.powi(matrix.exponent)).collect()
                    };
                    if found.saturated {
                        let cause = block_on(trainer.explain_saturation(adapter, sequence, &key, number))?;
                        let cause = cause.map_or_else(String::new, |cause| cause.to_string());
                        bail!("training step {number} cannot be computed with integers: {cause}");
                    }
                    Ok(found.matrices.iter().map(real).collect())
                })
            }
        })
    }

    /// Returns the gradient of each matrix of `adapter`, summed over the first `sequences` training sequences.
    fn gradients(&self, method: GradientMethod, adapter: &LoraAdapter, sequences: usize) -> Result<Gradients> {
        let mut gradient = self.gradient(method)?;
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

    /// Returns the mean loss of the adapter on the held-out sequences, computed in f64, in nats per token.
    fn loss(&self, adapter: &LoraAdapter) -> f64 {
        let (network, adapter) = (self.network(exactly), Adapter::new(adapter));
        let loss: f64 = self.held_out.iter().map(|sequence| network.loss(&adapter, sequence)).sum();
        loss / self.held_out.iter().map(|sequence| sequence.len() as f64 - 1.0).sum::<f64>()
    }
}
