//! Times the lowerings (WGSL implementations) of kernels on one GPU, each with a dispatch of a size that occurs in
//! training.
//!
//! `cargo bench --bench lowerings -- DEVICE TOKENS KERNEL...`
//!
//! `DEVICE` is the index of a GPU or a part of its name, and `TOKENS` is the number of tokens, for example
//! `llvmpipe 2048 attention attention_backward_query attention_backward_key`. The attention kernels process one sequence
//! of two heads with 128 features.
//!
//! Before the timing, every lowering must give the results of the reference kernel for the kernel's known answers. Then
//! each lowering is run three times, in turn with the others. The shortest time counts, because other work on the machine
//! can only make a run slower.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        gpu::{Gpu, GpuExecutor, LoweringChoice, Options, devices, find, passes},
        recording::Recording,
    },
    error::Error,
    kernels::{self, Kernel, Lowering, cases},
};
use std::{sync::OnceLock, time::Instant};

const ROUNDS: usize = 3;

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [device, tokens, names @ ..] = &arguments[..] else {
        eprintln!("usage: cargo bench --bench lowerings -- DEVICE TOKENS KERNEL...");
        std::process::exit(2);
    };
    let tokens: usize = tokens.parse().expect("TOKENS is a number");
    let devices = block_on(devices());
    let device = find(&devices, device)?;
    println!("{device}; {tokens} tokens");
    let gpu = block_on(Gpu::open(device, Options { slice_ms: f64::INFINITY, ..Options::new(clock) }))?;
    for name in names {
        let kernel = kernels::ALL.iter().find(|kernel| kernel.name == name);
        let kernel = kernel.unwrap_or_else(|| panic!("there is no kernel {name}"));
        for (lowering, fastest_ms) in block_on(times(&gpu, kernel, tokens))? {
            println!("{:<36}{fastest_ms:12.1} ms", [kernel.name, lowering.name].join("."));
        }
    }
    Ok(())
}

fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

/// Returns the shortest time of each lowering of a kernel, in milliseconds.
async fn times(gpu: &Gpu, kernel: &'static Kernel, tokens: usize) -> Result<Vec<(&'static Lowering, f64)>, Error> {
    let known = cases::cases(kernel, 0);
    let case = cases::representative(kernel, tokens).or(known.last().cloned()).expect("every kernel has known answers");
    let (recording, ids) = Recording::single(&case);
    let mut timed = Vec::new();
    for lowering in kernel.lowerings {
        for case in &known {
            passes(gpu, lowering, case).await?;
        }
        let executor = GpuExecutor::new(gpu, &recording, &LoweringChoice::default().with(kernel, lowering)).await?;
        for (id, words) in ids.iter().zip(&case.inputs) {
            executor.write(*id, words).await?;
        }
        timed.push((lowering, executor, f64::INFINITY));
    }
    for _ in 0..ROUNDS {
        for (_, executor, fastest_ms) in &mut timed {
            let start = clock();
            executor.run(0..1).await?;
            *fastest_ms = fastest_ms.min(clock() - start);
        }
    }
    Ok(timed.into_iter().map(|(lowering, _, fastest_ms)| (lowering, fastest_ms)).collect())
}
