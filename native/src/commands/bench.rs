//! `bench`: measures the speed of whole training steps (forward pass, backward pass and optimizer) in tokens per
//! second. For comparison, it also times an f32 matrix product on the same machine during the same run.

use super::model::info::planned_bytes;
use crate::{
    compute::{self, ComputeArgs},
    model,
    output::{self, Exit, say},
};
use anyhow::{Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, gpu::LoweringChoice},
    kernels,
    model::config::ModelConfig,
    training::{
        conformance::digest,
        trial::{SMALL, Trial, WIDE},
    },
};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrialShape {
    Small,
    Wide,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Time a model with random weights: `small` (3 million ternary weights, 64 tokens per step) or `wide` (51 million
    /// ternary weights, 128 tokens per step)
    #[arg(long, value_enum, default_value_t = TrialShape::Wide)]
    shape: TrialShape,
    /// Time the model in this folder instead of a random one
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    model: Option<PathBuf>,
    /// With --model: compute one sequence of this many tokens per step [default: the model's context]
    #[arg(long, value_name = "N", requires = "model")]
    tokens: Option<usize>,
    /// On the GPU given by --device, run this kernel with this lowering (WGSL implementation); may be repeated. All
    /// other kernels run with the lowering `plain`. The kernels are not tested before the run
    #[arg(long, value_name = "KERNEL=LOWERING")]
    lowering: Vec<String>,
    /// Time this many steps, after one step to warm up
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Exit with code 4 unless the gradient of the first step, the warm-up, has this digest
    #[arg(long, value_name = "HEX")]
    expect: Option<String>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl TrialShape {
    const fn config(self) -> ModelConfig {
        match self {
            Self::Small => SMALL,
            Self::Wide => WIDE,
        }
    }
}

/// Times `--steps` training steps of one sequence each, and prints the report.
pub(crate) fn run(args: BenchArgs) -> Result<Exit> {
    let compute = match args.lowering.is_empty() {
        true => compute::choose(&args.compute)?,
        false => compute::with_lowerings(&args.compute, lowerings(&args.lowering)?)?,
    };
    let (weights, mut trial) = match &args.model {
        None => {
            let config = args.shape.config();
            (config.ternary_weights(), block_on(Trial::new(config, &compute.backend))?)
        }
        Some(dir) => {
            let mut model = model::read(dir)?;
            if let Some(tokens) = args.tokens {
                ensure!(
                    (1..=model.config.context).contains(&tokens),
                    "--tokens must be 1 to {}, the context of the model",
                    model.config.context
                );
                model.config.context = tokens;
            }
            (model.config.ternary_weights(), block_on(Trial::with_model(&model, &compute.backend))?)
        }
    };
    let (constants, planned) = planned_bytes(trial.recording());
    let (constants, planned) = (constants as u64, planned as u64);

    let (mut seconds, mut first, mut resident, mut float) = (Vec::new(), None, None, None);
    let mut gradient_seconds = f64::INFINITY;
    for number in 0..=args.steps {
        let start = Instant::now();
        block_on(trial.load())?;
        let loaded = Instant::now();
        let gradient = block_on(trial.gradient())?;
        gradient_seconds = gradient_seconds.min(loaded.elapsed().as_secs_f64());
        trial.update(&gradient)?;
        let took = start.elapsed().as_secs_f64();
        if number == 0 {
            first = Some(output::hex(&digest(&gradient)));
            drop(gradient);
            resident = memory_bytes("VmRSS:");
            continue;
        }
        seconds.push(took);
        float.get_or_insert_with(FloatProduct::new).time();
    }
    seconds.sort_by(f64::total_cmp);
    let rate = |seconds: f64| trial.tokens() as f64 / seconds;
    let (best, median) = (rate(seconds[0]), rate(seconds[seconds.len() / 2]));
    let float_rate = float.map_or(0.0, |float| float.operations_per_second());
    let digest = first.unwrap_or_default();
    if args.json {
        output::line(json!({
            "backend": compute.name, "ternary_weights": weights, "tokens": trial.tokens(),
            "lowerings": chosen(&compute.backend),
            "step_seconds_min": seconds[0], "step_seconds_median": seconds[seconds.len() / 2],
            "gradient_seconds_min": gradient_seconds, "tokens_per_second": best, "tokens_per_second_median": median,
            "f32_gemm_gop_per_second": float_rate / 1e9, "step_digest": digest,
            "constant_bytes": constants, "planned_bytes": planned, "resident_bytes": resident,
            "peak_bytes": memory_bytes("VmHWM:"),
        }));
    } else {
        let name = &compute.name;
        say!(
            "{name}: {best:.0} tokens/s in the best of {} steps, {median:.0} tokens/s in the median step",
            seconds.len()
        );
        say!(
            "{:.0} tokens/s for the gradient alone, which is what a miner computes for each chunk",
            rate(gradient_seconds)
        );
        say!("f32 matrix product on one thread during the same run: {:.1} GOP/s", float_rate / 1e9);
        say!("step digest {digest}");
        let all = constants + planned;
        let resident = match resident {
            Some(bytes) => format!(
                "{:.1} MB resident in RAM ({:.2} × the size of all buffers)",
                mega(bytes),
                bytes as f64 / all as f64
            ),
            None => "resident size unknown".to_owned(),
        };
        say!(
            "memory: {:.1} MB of weights and tables, {:.1} MB of other buffers, {resident}",
            mega(constants),
            mega(planned)
        );
        if let Some(peak) = memory_bytes("VmHWM:") {
            say!("peak memory: {:.1} MB, including reading the model and recording the step", mega(peak));
        }
    }
    match args.expect {
        Some(expected) if expected != digest => Ok(Exit::Mismatch),
        _ => Ok(Exit::Ok),
    }
}

/// Parses the values of `--lowering`. Each has the form `KERNEL=LOWERING`, and names the WGSL implementation (lowering)
/// that runs a kernel.
fn lowerings(forced: &[String]) -> Result<LoweringChoice> {
    forced.iter().try_fold(LoweringChoice::default(), |choice, forced| {
        let unknown = || {
            anyhow!(
                "--lowering {forced}: expected KERNEL=LOWERING; `devices --test` lists the kernels and their lowerings"
            )
        };
        let (kernel, lowering) = forced.split_once('=').ok_or_else(unknown)?;
        let kernel = kernels::ALL.iter().find(|known| known.name == kernel).ok_or_else(unknown)?;
        let lowering = kernel.lowerings.iter().find(|known| known.name == lowering).ok_or_else(unknown)?;
        Ok(choice.with(kernel, lowering))
    })
}

/// Returns the chosen lowering (WGSL implementation) of each kernel that has several, as `KERNEL=LOWERING`. Returns an
/// empty list for the CPU, which has no lowerings.
fn chosen(backend: &Backend) -> Vec<String> {
    let Backend::Gpu { choice, .. } = backend else { return Vec::new() };
    let several = kernels::ALL.iter().filter(|kernel| kernel.lowerings.len() > 1);
    several.filter_map(|kernel| Some(format!("{}={}", kernel.name, choice.of(kernel)?.name))).collect()
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// An f32 product of a 128 × 2048 matrix with a 2048 × 2048 matrix, computed by the crate `gemm` on one thread. The
/// speed of this product makes results from different machines comparable.
struct FloatProduct {
    x: Vec<f32>,
    weights: Vec<f32>,
    out: Vec<f32>,
    seconds: f64,
}

impl FloatProduct {
    const TOKENS: usize = 128;
    const FEATURES: usize = 2048;

    fn new() -> Self {
        let values = |count: usize| (0..count).map(|at| (at * at % 255) as f32 - 127.0).collect();
        let (x, weights) = (values(Self::TOKENS * Self::FEATURES), values(Self::FEATURES * Self::FEATURES));
        Self { x, weights, out: vec![0.0; Self::TOKENS * Self::FEATURES], seconds: f64::INFINITY }
    }

    /// Computes the product once. Keeps the time if it is the shortest so far.
    fn time(&mut self) {
        let start = Instant::now();
        let (m, n) = (Self::TOKENS, Self::FEATURES);
        let (out, x, weights) = (self.out.as_mut_ptr(), self.x.as_ptr(), self.weights.as_ptr());
        let (row, no) = (n as isize, false);
        // SAFETY: the strides are those of row-major matrices of the lengths that `new` gave them.
        unsafe {
            let one_thread = gemm::Parallelism::None;
            gemm::gemm(m, n, n, out, 1, row, no, x, 1, row, weights, row, 1, 0.0, 1.0, no, no, no, one_thread);
        }
        self.seconds = self.seconds.min(start.elapsed().as_secs_f64());
    }

    fn operations_per_second(&self) -> f64 {
        (2 * Self::TOKENS * Self::FEATURES * Self::FEATURES) as f64 / self.seconds
    }
}

/// Returns the resident memory of this process in bytes. `what` selects a line of `/proc/self/status`: `VmRSS:` for the
/// current size, `VmHWM:` for the peak. Returns `None` on systems without `/proc`.
fn memory_bytes(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
