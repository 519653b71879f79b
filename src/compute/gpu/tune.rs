//! A tuning: the lowering that each kernel runs by on one GPU, and what the others did there.
//!
//! Every lowering answers the kernel's cases; one wrong bit, or a compiler that refuses it, and it
//! is out. Where several are left, the fastest wins.

use super::{Choice, Gpu, GpuExecutor, passes};
use crate::{
    compute::recording::Recording,
    error::Error,
    kernels::{
        Kernel, Lowering,
        cases::{Case, cases, representative},
    },
};
use futures_util::future::try_join_all;
use std::fmt;

/// What to run, and why.
pub struct Tuning {
    /// What to run.
    pub choice: Choice,
    /// Each kernel asked about, in order.
    pub kernels: Vec<Tuned>,
}

/// One kernel on one GPU.
pub struct Tuned {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The lowering chosen.
    pub chosen: &'static Lowering,
    /// All of its lowerings, in their order.
    pub tried: Vec<(&'static Lowering, TuneOutcome)>,
}

/// What a lowering did.
pub enum TuneOutcome {
    /// The right bits; timed only where there is a choice.
    Passes {
        /// One launch of the representative case.
        launch_ms: Option<f64>,
    },
    /// Wrong bits, or none.
    Fails(Error),
}

impl Tuning {
    /// Milliseconds of one launch of each kernel that there was a choice for: what GPUs are compared by.
    pub fn timed_ms(&self) -> f64 {
        let chosen =
            |tuned: &Tuned| match tuned.tried.iter().find(|(lowering, _)| lowering.name == tuned.chosen.name)?.1 {
                TuneOutcome::Passes { launch_ms } => launch_ms,
                TuneOutcome::Fails(_) => None,
            };
        self.kernels.iter().filter_map(chosen).sum()
    }
}

/// Chooses a lowering for each kernel. Fails with [`Error::GpuUnfit`] where a kernel has none that
/// passes: such a GPU may not be used. `seed` makes the random cases.
pub async fn tune(gpu: &Gpu, kernels: &[&'static Kernel], seed: u64) -> Result<Tuning, Error> {
    let mut tuning = Tuning { choice: Choice::default(), kernels: Vec::new() };
    for kernel in kernels {
        let tuned = tune_kernel(gpu, kernel, seed).await?;
        tuning.choice = tuning.choice.with(kernel, tuned.chosen);
        tuning.kernels.push(tuned);
    }
    Ok(tuning)
}

async fn tune_kernel(gpu: &Gpu, kernel: &'static Kernel, seed: u64) -> Result<Tuned, Error> {
    let cases = cases(kernel, seed);
    let mut tried = Vec::new();
    for lowering in kernel.lowerings {
        let outcome = match check(gpu, lowering, &cases).await {
            Ok(()) => TuneOutcome::Passes { launch_ms: None },
            Err(error @ Error::GpuLost { .. }) => return Err(error),
            Err(error) => TuneOutcome::Fails(error),
        };
        tried.push((lowering, outcome));
    }
    let passing = tried.iter().filter(|(_, outcome)| matches!(outcome, TuneOutcome::Passes { .. })).count();
    let tokens = if gpu.device().software { 16 } else { 256 };
    if let Some(case) = representative(kernel, tokens).or(cases.into_iter().last()).filter(|_| passing > 1) {
        for (lowering, outcome) in &mut tried {
            if let TuneOutcome::Passes { launch_ms } = outcome {
                *launch_ms = Some(time(gpu, lowering, &case).await?);
            }
        }
    }
    let launch_ms = |outcome: &TuneOutcome| match outcome {
        TuneOutcome::Passes { launch_ms } => Some(launch_ms.unwrap_or(0.0)),
        TuneOutcome::Fails(_) => None,
    };
    let fastest = tried.iter().filter_map(|(lowering, outcome)| Some((*lowering, launch_ms(outcome)?)));
    match fastest.min_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((chosen, _)) => Ok(Tuned { kernel, chosen, tried }),
        None => Err(unfit(gpu, kernel, &tried)),
    }
}

/// Without a case nothing is known, so nothing passes. A browser that answers late answers all cases together.
async fn check(gpu: &Gpu, lowering: &'static Lowering, cases: &[Case]) -> Result<(), Error> {
    if cases.is_empty() {
        return Err(Error::Shape { what: "known answers", expected: 1, found: 0 });
    }
    try_join_all(cases.iter().map(|case| passes(gpu, lowering, case))).await?;
    Ok(())
}

/// Launches in one play, so that the play's own cost does not count.
const LAUNCHES: usize = 8;
/// Plays; the fastest counts, since noise only adds.
const PLAYS: usize = 3;

/// Milliseconds of one launch.
async fn time(gpu: &Gpu, lowering: &'static Lowering, case: &Case) -> Result<f64, Error> {
    let (mut recording, ids) = Recording::single(case);
    for _ in 1..LAUNCHES {
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
    }
    let mut executor = GpuExecutor::new(gpu, &recording, &Choice::default().with(case.kernel, lowering)).await?;
    for (id, words) in ids.iter().zip(&case.inputs) {
        executor.write(*id, words).await?;
    }
    executor.run(0..LAUNCHES).await?;
    let mut fastest = f64::INFINITY;
    for _ in 0..PLAYS {
        let start = (gpu.0.options.clock)();
        executor.run(0..LAUNCHES).await?;
        fastest = fastest.min((gpu.0.options.clock)() - start);
    }
    Ok(fastest / LAUNCHES as f64)
}

fn unfit(gpu: &Gpu, kernel: &'static Kernel, tried: &[(&Lowering, TuneOutcome)]) -> Error {
    let reasons: Vec<_> = tried.iter().map(|(lowering, outcome)| format!("{}: {outcome}", lowering.name)).collect();
    let reasons = if reasons.is_empty() { "it has no WGSL".to_owned() } else { reasons.join("; ") };
    Error::GpuUnfit { gpu: gpu.device().to_string(), kernel: kernel.name, reasons }
}

impl fmt::Display for TuneOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passes { launch_ms: Some(launch_ms) } => write!(f, "{launch_ms:.3} ms"),
            Self::Passes { launch_ms: None } => f.write_str("passes"),
            Self::Fails(error) => write!(f, "{error}"),
        }
    }
}

/// One line: `ternary_matmul: tiled (plain 1.20 ms, tiled 0.31 ms)`.
impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (", self.kernel.name, self.chosen.name)?;
        for (at, (lowering, outcome)) in self.tried.iter().enumerate() {
            write!(f, "{}{} {outcome}", if at == 0 { "" } else { ", " }, lowering.name)?;
        }
        f.write_str(")")
    }
}
