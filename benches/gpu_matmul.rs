//! Times every lowering of the two ternary products beside a plain tiled f32 product of the same shape.
//!
//! `cargo bench --bench gpu_matmul -- [DEVICE] [checked]`; DEVICE is a number or a part of a name, the first
//! device if left out. The same player, and the same checks, run all of them; every answer is compared
//! with the twin's first. Rounds are interleaved and the fastest launch counts, since noise only adds.

use pollster::block_on;
use r3mes_wgpu::{
    backend::gpu::{Checks, Choice, Gpu, GpuPlayer, Options, devices, find, passes},
    error::Error,
    fixed::Scale,
    kernels::{
        Access, Binding, INFO, Kernel, Lowering, as_bytes_mut,
        cases::{Case, Source},
        ternary_matmul, ternary_matmul_backward,
    },
    recording::Recording,
    ternary::{Ternary, row_words},
};
use std::{sync::OnceLock, time::Instant};

const TOKENS: usize = 128;
const FEATURES: usize = 2048;
const ROUNDS: usize = 7;

/// Operands are small integers, so the sums are exact and the twin may add in any order.
static GEMM_F32: Kernel = Kernel {
    name: "gemm_f32",
    params: &["first_group", "tokens", "in_features", "out_features"],
    bindings: &[
        Binding { name: "x", access: Access::Read },
        Binding { name: "weights", access: Access::Read },
        Binding { name: "out", access: Access::Write(|_| FEATURES) },
    ],
    units: |_| TOKENS,
    twin: |_, units, reads, writes| {
        let row = |matrix: usize, at: usize| &reads[matrix][at * FEATURES..][..FEATURES];
        for (t, out) in units.zip(writes[0].chunks_exact_mut(FEATURES)) {
            for (n, out) in out.iter_mut().enumerate() {
                let products = row(0, t).iter().zip(row(1, n)).map(|(x, w)| f32::from_bits(*x) * f32::from_bits(*w));
                *out = products.sum::<f32>().to_bits();
            }
        }
        false
    },
    lowerings: &[Lowering {
        name: "plain",
        wgsl: include_str!("gemm_f32.wgsl"),
        groups_x: |_| (FEATURES / 64) as u32,
        units_per_group: 64,
    }],
};

/// One line of the table.
struct Timed {
    label: String,
    player: GpuPlayer,
    fastest_ms: f64,
}

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let checked = arguments.iter().any(|argument| argument == "checked");
    let wanted = arguments.iter().find(|argument| *argument != "checked");
    let devices = block_on(devices());
    let device = find(&devices, wanted.map_or("0", String::as_str))?;
    let options = Options {
        slice_ms: f64::INFINITY,
        checks: if checked { Checks::Checked } else { Checks::Trusted },
        ..Options::new(clock)
    };
    println!("{device}, {:?}: {TOKENS} tokens, {FEATURES} × {FEATURES}", options.checks);
    let gpu = block_on(Gpu::open(device, options))?;

    let source = &mut Source::new(0);
    let mut table = Vec::new();
    for (what, case) in [
        ("f32 product", gemm_case(source)),
        ("forward, int8 x", forward_case(source)),
        ("backward, int8 dy", backward_case(source, 1)),
        ("backward, int16 dy", backward_case(source, 2)),
    ] {
        for lowering in case.kernel.lowerings {
            block_on(passes(&gpu, lowering, &case))?;
            let player = block_on(player(&gpu, lowering, &case))?;
            table.push(Timed { label: format!("{what:<20}{}", lowering.name), player, fastest_ms: f64::INFINITY });
        }
    }
    for _ in 0..ROUNDS {
        for timed in &mut table {
            let start = clock();
            block_on(timed.player.play(0..1))?;
            timed.fastest_ms = timed.fastest_ms.min(clock() - start);
        }
    }
    let unit = table[0].fastest_ms;
    for Timed { label, fastest_ms, .. } in &table {
        println!("{label:<28}{fastest_ms:9.2} ms{:8.2} ×", unit / fastest_ms);
    }
    Ok(())
}

fn clock() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1e3
}

async fn player(gpu: &Gpu, lowering: &'static Lowering, case: &Case) -> Result<GpuPlayer, Error> {
    let (recording, ids) = Recording::single(case);
    let player = GpuPlayer::new(gpu, &recording, &Choice::default().with(case.kernel, lowering)).await?;
    for (id, words) in ids.iter().zip(&case.inputs) {
        player.write(*id, words).await?;
    }
    Ok(player)
}

fn gemm_case(source: &mut Source) -> Case {
    let mut values =
        |rows: usize, high: i32| (0..rows * FEATURES).map(|_| (source.within(-high, high) as f32).to_bits()).collect();
    let inputs = vec![values(TOKENS, 127), values(FEATURES, 1), vec![0; TOKENS * FEATURES]];
    let params = vec![0, TOKENS as u32, FEATURES as u32, FEATURES as u32];
    Case { kernel: &GEMM_F32, label: "f32".to_owned(), params, inputs }
}

fn forward_case(source: &mut Source) -> Case {
    let params = ternary_matmul::Params {
        tokens: TOKENS as u32,
        in_features: FEATURES as u32,
        out_features: FEATURES as u32,
        ..Default::default()
    };
    Case {
        kernel: &ternary_matmul::KERNEL,
        label: "forward".to_owned(),
        params: params.words(),
        inputs: inputs(source, 1),
    }
}

fn backward_case(source: &mut Source, planes: u32) -> Case {
    let params = ternary_matmul_backward::Params {
        tokens: TOKENS as u32,
        in_features: FEATURES as u32,
        out_features: FEATURES as u32,
        slots: 1,
        planes,
        ..Default::default()
    };
    Case {
        kernel: &ternary_matmul_backward::KERNEL,
        label: "backward".to_owned(),
        params: params.words(),
        inputs: inputs(source, planes as usize),
    }
}

/// Rows of int8 or int16 within ±2^14 as planes, their sums, a ternary matrix, room for the result.
fn inputs(source: &mut Source, planes: usize) -> Vec<Vec<u32>> {
    let stride = 4 * row_words(FEATURES);
    let mut rows = vec![0; TOKENS * planes * stride / 4];
    let mut info = vec![0; TOKENS * INFO];
    for (token, row) in as_bytes_mut(&mut rows).chunks_exact_mut(planes * stride).enumerate() {
        for column in 0..FEATURES {
            let value = if planes == 1 { source.within(-127, 127) } else { source.within(-(1 << 14), 1 << 14) };
            info[token * INFO + 2] = (info[token * INFO + 2] as i32 + value) as u32;
            row[column] = if planes == 1 { value as i8 } else { ((value + 128) >> 8) as i8 };
            if planes == 2 {
                row[stride + column] = value as i8;
            }
        }
    }
    let trits: Vec<i8> = (0..FEATURES * FEATURES).map(|_| source.within(-1, 1) as i8).collect();
    let weights = Ternary::pack(FEATURES, FEATURES, &trits, Scale::ONE).expect("trits, as many as the shape has");
    vec![rows, info, weights.words.to_vec(), vec![0; TOKENS * (FEATURES + INFO)]]
}
