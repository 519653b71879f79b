//! Times all lowerings (WGSL implementations) of the ternary matrix products and, for comparison, a tiled f32 product
//! of the same shape.
//!
//! `cargo bench --bench gpu_matmul -- [DEVICE] [checked] [TOKENSxFEATURES]`
//!
//! `DEVICE` is the index of a GPU or a part of its name (default: the first GPU). With `checked`, wgpu adds its runtime
//! checks to all kernels. `TOKENSxFEATURES` is the shape that is timed: the number of tokens, and the side of a square
//! weight matrix (default: 128x2048).
//!
//! Before the timing, every lowering must reproduce the result of the reference kernel for 128 tokens and 2048
//! features. Then each lowering is run seven times, in turn with the others. The shortest time counts, because other
//! work on the machine can only make a run slower.

mod products;

use pollster::block_on;
use products::Shape;
use r3mes_wgpu::{
    compute::{
        gpu::{Checks, Gpu, GpuExecutor, LoweringChoice, Options, devices, find, passes},
        recording::Recording,
    },
    error::Error,
    kernels::{Lowering, cases::Case},
};
use std::{sync::OnceLock, time::Instant};

const SHAPE: Shape = Shape { tokens: 128, features: 2048 };
const ROUNDS: usize = 7;
/// The number of launches of a kernel in one timed run. The time per launch is the time of the run divided by this
/// number. With eight launches in a run, the time per launch contains only a small part of the fixed cost of submitting
/// the run.
const LAUNCHES: usize = 8;

/// One line of the printed table: a lowering (WGSL implementation of a kernel), and its shortest time per launch.
struct Timed {
    label: String,
    executor: GpuExecutor,
    fastest_ms: f64,
}

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let checked = arguments.iter().any(|argument| argument == "checked");
    let shape = |argument: &String| {
        let (tokens, features) = argument.split_once('x')?;
        Some(Shape { tokens: tokens.parse().ok()?, features: features.parse().ok()? })
    };
    let Shape { tokens, features } = arguments.iter().find_map(shape).unwrap_or(SHAPE);
    let wanted = arguments.iter().find(|argument| *argument != "checked" && shape(argument).is_none());
    let devices = block_on(devices());
    let device = find(&devices, wanted.map_or("0", String::as_str))?;
    let options = Options {
        slice_ms: f64::INFINITY,
        checks: if checked { Checks::Checked } else { Checks::Trusted },
        ..Options::new(clock)
    };
    println!(
        "{device}; {tokens} tokens, {features} × {features} matrix; runtime checks in shaders: {:?}",
        options.checks
    );
    let gpu = block_on(Gpu::open(device, options))?;

    let mut table = Vec::new();
    for ((what, known), (_, case)) in SHAPE.cases(0).into_iter().zip((Shape { tokens, features }).cases(0)) {
        for lowering in case.kernel.lowerings {
            block_on(passes(&gpu, lowering, &known))?;
            let executor = block_on(executor(&gpu, lowering, &case))?;
            table.push(Timed { label: format!("{what:<20}{}", lowering.name), executor, fastest_ms: f64::INFINITY });
        }
    }
    for _ in 0..ROUNDS {
        for timed in &mut table {
            let start = clock();
            block_on(timed.executor.run(0..LAUNCHES))?;
            timed.fastest_ms = timed.fastest_ms.min((clock() - start) / LAUNCHES as f64);
        }
    }
    let unit = table[0].fastest_ms;
    let operations = 2.0 * tokens as f64 * (features * features) as f64;
    for Timed { label, fastest_ms, .. } in &table {
        let (times, rate) = (unit / fastest_ms, operations / fastest_ms / 1e9);
        println!(
            "{label:<28}{fastest_ms:10.3} ms per launch,{times:8.2} times as fast as the f32 product,{rate:8.2} TOP/s"
        );
    }
    Ok(())
}

fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

async fn executor(gpu: &Gpu, lowering: &'static Lowering, case: &Case) -> Result<GpuExecutor, Error> {
    let (mut recording, ids) = Recording::single(case);
    for _ in 1..LAUNCHES {
        recording.dispatch(&case.label, case.kernel, case.params.clone(), &ids);
    }
    let executor = GpuExecutor::new(gpu, &recording, &LoweringChoice::default().with(case.kernel, lowering)).await?;
    for (id, words) in ids.iter().zip(&case.inputs) {
        executor.write(*id, words).await?;
    }
    Ok(executor)
}
