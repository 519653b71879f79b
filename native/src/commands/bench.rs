//! A whole step, timed: tokens per second of forward, backward and optimizer, beside the f32 products that this
//! machine does in the same seconds.

use super::model::info::planned_bytes;
use crate::{
    cli::{BenchArgs, TrialShape},
    compute, model,
    output::{self, Exit, say},
};
use anyhow::{Result, anyhow, ensure};
use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, gpu::Choice},
    kernels,
    model::config::ModelConfig,
    training::{
        conformance::digest,
        trial::{SMALL, Trial, WIDE},
    },
};
use serde_json::json;
use std::time::Instant;

impl TrialShape {
    const fn config(self) -> ModelConfig {
        match self {
            Self::Small => SMALL,
            Self::Wide => WIDE,
        }
    }
}

/// Times `--steps` steps of one sequence.
pub(crate) fn run(args: BenchArgs) -> Result<Exit> {
    let compute = match args.lowering.is_empty() {
        true => compute::choose(&args.compute)?,
        false => compute::by(&args.compute, lowerings(&args.lowering)?)?,
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
                    "the model has a context of {}",
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
        say!("{name}: {best:.0} tokens/s at best, {median:.0} in the middle of {} steps", seconds.len());
        say!(
            "{:.0} tokens/s of a step's gradient alone, which is what a miner does for each chunk",
            rate(gradient_seconds)
        );
        say!("f32 product of one thread in the same run: {:.1} GOP/s", float_rate / 1e9);
        say!("step {digest}");
        let all = constants + planned;
        let resident = match resident {
            Some(bytes) => format!("{:.1} MB resident: {:.2} times", mega(bytes), bytes as f64 / all as f64),
            None => "resident not available".to_owned(),
        };
        say!("memory: {:.1} MB of weights and tables, {:.1} MB planned, {resident}", mega(constants), mega(planned));
        if let Some(peak) = memory_bytes("VmHWM:") {
            say!("at most {:.1} MB, reading the model and recording the step included", mega(peak));
        }
    }
    match args.expect {
        Some(expected) if expected != digest => Ok(Exit::Mismatch),
        _ => Ok(Exit::Ok),
    }
}

/// The choice that a list of `KERNEL=LOWERING` means.
fn lowerings(forced: &[String]) -> Result<Choice> {
    forced.iter().try_fold(Choice::default(), |choice, forced| {
        let unknown = || anyhow!("no lowering {forced:?}: KERNEL=LOWERING, as `devices --test` lists them");
        let (kernel, lowering) = forced.split_once('=').ok_or_else(unknown)?;
        let kernel = kernels::ALL.iter().find(|known| known.name == kernel).ok_or_else(unknown)?;
        let lowering = kernel.lowerings.iter().find(|known| known.name == lowering).ok_or_else(unknown)?;
        Ok(choice.with(kernel, lowering))
    })
}

/// `KERNEL=LOWERING` of each kernel that a GPU has a choice for.
fn chosen(backend: &Backend) -> Vec<String> {
    let Backend::Gpu { choice, .. } = backend else { return Vec::new() };
    let several = kernels::ALL.iter().filter(|kernel| kernel.lowerings.len() > 1);
    several.filter_map(|kernel| Some(format!("{}={}", kernel.name, choice.of(kernel)?.name))).collect()
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// `gemm`'s f32 product of 128 tokens with a 2048 × 2048 matrix: what other machines are compared by.
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

    /// Does it once and keeps the shortest time.
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

/// What the system says of this process's memory: resident now (`VmRSS:`), or at most so far (`VmHWM:`).
fn memory_bytes(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
