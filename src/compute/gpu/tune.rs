//! Tuning chooses a lowering (WGSL implementation) of each kernel for one GPU.
//!
//! Every lowering runs the kernel's test cases, except that a software GPU does not run lowerings that are for hardware
//! GPUs only. A lowering is excluded if even one bit of a result is wrong or the compiler refuses it. If several lowerings
//! remain, the fastest is chosen.

use super::{Gpu, GpuExecutor, LoweringChoice, passes};
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

/// The lowerings that were chosen for one GPU, and the results of testing and timing all lowerings.
pub struct Tuning {
    /// The chosen lowering of each kernel.
    pub choice: LoweringChoice,
    /// The result for each kernel, in the order in which [`tune`] was given the kernels.
    pub kernels: Vec<Tuned>,
}

/// The result of tuning one kernel on one GPU.
pub struct Tuned {
    /// The kernel whose lowerings were tested.
    pub kernel: &'static Kernel,
    /// The lowering that was chosen: the fastest of those that passed.
    pub chosen: &'static Lowering,
    /// The outcome of each tested lowering, in the order of [`Kernel::lowerings`].
    pub tried: Vec<(&'static Lowering, TuneOutcome)>,
}

/// The outcome of testing one lowering of a kernel.
pub enum TuneOutcome {
    /// All results of the lowering equal those of the reference kernel.
    Passes {
        /// The time of one launch of a representative test case, in milliseconds; `None` if no other lowering passed,
        /// because timing is then unnecessary.
        launch_ms: Option<f64>,
    },
    /// A result differs from that of the reference kernel, or the lowering does not run on this GPU.
    Fails(Error),
}

impl Tuning {
    /// Returns the time that one launch of every chosen lowering takes in total, in milliseconds. If only one lowering
    /// of a kernel passed, that lowering has not been timed and adds nothing. The total serves to compare GPUs.
    pub fn timed_ms(&self) -> f64 {
        let chosen =
            |tuned: &Tuned| match tuned.tried.iter().find(|(lowering, _)| lowering.name == tuned.chosen.name)?.1 {
                TuneOutcome::Passes { launch_ms } => launch_ms,
                TuneOutcome::Fails(_) => None,
            };
        self.kernels.iter().filter_map(chosen).sum()
    }
}

/// Tests all lowerings (WGSL implementations) of the given kernels, and chooses one lowering for each kernel. `seed`
/// determines the random test cases. Returns [`Error::GpuUnfit`] if no lowering of a kernel passes; such a GPU must not
/// be used.
pub async fn tune(gpu: &Gpu, kernels: &[&'static Kernel], seed: u64) -> Result<Tuning, Error> {
    let mut tuning = Tuning { choice: LoweringChoice::default(), kernels: Vec::new() };
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
    for lowering in kernel.lowerings.iter().filter(|lowering| gpu.may_choose(lowering)) {
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

/// Tests a lowering with all `cases`. A browser may report the completion of a case late, so the cases run
/// concurrently, to wait for these reports together. Returns an error if there are no cases, because the lowering would
/// then remain untested.
async fn check(gpu: &Gpu, lowering: &'static Lowering, cases: &[Case]) -> Result<(), Error> {
    if cases.is_empty() {
        return Err(Error::Shape { what: "known answers", expected: 1, found: 0 });
    }
    try_join_all(cases.iter().map(|case| passes(gpu, lowering, case))).await?;
    Ok(())
}

/// The number of launches in one timed run on a hardware GPU. It is so large that the fixed cost of a run, and a late
/// report of its end, hardly affect the measured time of a launch. On a software GPU, a launch takes so long that one
/// is enough.
const LAUNCHES: usize = 8;
/// The number of timed runs. The fastest run determines the result, because disturbances only make a run slower.
const RUNS: usize = 3;

/// Times a lowering with one test case. Returns the time of one launch, in milliseconds, in the fastest timed run.
async fn time(gpu: &Gpu, lowering: &'static Lowering, case: &Case) -> Result<f64, Error> {
    let (mut recording, ids) = Recording::single(case);
    let launches = if gpu.device().software { 1 } else { LAUNCHES };
    for _ in 1..launches {
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
    }
    let mut executor =
        GpuExecutor::new(gpu, &recording, &LoweringChoice::default().with(case.kernel, lowering)).await?;
    for (id, words) in ids.iter().zip(&case.inputs) {
        executor.write(*id, words).await?;
    }
    executor.run(0..launches).await?;
    let mut fastest = f64::INFINITY;
    for _ in 0..RUNS {
        let start = (gpu.0.options.clock)();
        executor.run(0..launches).await?;
        fastest = fastest.min((gpu.0.options.clock)() - start);
    }
    Ok(fastest / launches as f64)
}

fn unfit(gpu: &Gpu, kernel: &'static Kernel, tried: &[(&Lowering, TuneOutcome)]) -> Error {
    let reasons: Vec<_> = tried.iter().map(|(lowering, outcome)| format!("{}: {outcome}", lowering.name)).collect();
    let reasons = if reasons.is_empty() { "the kernel has no WGSL".to_owned() } else { reasons.join("; ") };
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

/// Writes the result as one line, such as `ternary_matmul: tiled (plain 1.200 ms, tiled 0.310 ms)`.
impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (", self.kernel.name, self.chosen.name)?;
        for (at, (lowering, outcome)) in self.tried.iter().enumerate() {
            write!(f, "{}{} {outcome}", if at == 0 { "" } else { ", " }, lowering.name)?;
        }
        f.write_str(")")
    }
}
