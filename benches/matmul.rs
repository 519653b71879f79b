//! Measures the speed of the ternary matrix products on the CPU in GOP/s (billions of operations per second):
//! `2 · tokens · in_features · out_features / seconds / 10^9`.
//!
//! For comparison, it also measures an f32 product of the same shape, and the highest rate at which this machine can
//! execute `vpmaddubsw`, the AVX2 instruction that multiplies 32 pairs of bytes.
//!
//! Every product runs 200 times, in turn with the others. The summary shows the fastest run of each product, because
//! other work on the machine can only make a run slower. With `-- --stats`, criterion's statistics of each product
//! follow.

use criterion::Criterion;
use r3mes_wgpu::{
    compute::cpu::simd::{Level, implementation},
    kernels::{CpuKernel, INFO, ternary_matmul, ternary_matmul_backward},
    numbers::rng::threefry,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

const TOKENS: usize = 128;
const FEATURES: usize = 2048;
const OPERATIONS: f64 = 2.0 * (TOKENS * FEATURES * FEATURES) as f64;

/// Returns random 32-bit words. If they serve as packed ternary weights, which have two bits each, the caller masks
/// them with `0x5555_5555`, because the two-bit code 3 is invalid. Then only the codes 0 and 1 occur. The kernels take
/// the same time for all codes.
fn random_words(count: usize, stream: u32) -> Vec<u32> {
    (0..count as u32).map(|at| threefry([2026, stream], [at, 0])[0]).collect()
}

/// One call of a ternary product kernel for all tokens, with its operands and its output.
struct Dispatch {
    kernel: CpuKernel,
    params: Vec<u32>,
    reads: [Vec<u32>; 3],
    out: Vec<u32>,
}

impl Dispatch {
    fn new(level: Level, kernel: &str, planes: usize) -> Self {
        let (tokens, in_features, out_features) = (TOKENS as u32, FEATURES as u32, FEATURES as u32);
        let params = match kernel {
            "ternary_matmul" => {
                ternary_matmul::Params { tokens, in_features, out_features, ..Default::default() }.words()
            }
            _ => {
                let (slots, planes) = (1, planes as u32);
                ternary_matmul_backward::Params {
                    tokens,
                    in_features,
                    out_features,
                    slots,
                    planes,
                    ..Default::default()
                }
                .words()
            }
        };
        let row_words = planes * FEATURES / 4;
        let mut weights = random_words(FEATURES * FEATURES / 16, 1);
        weights.iter_mut().for_each(|word| *word &= 0x5555_5555);
        Self {
            kernel: implementation(level, kernel).expect("an available level"),
            params,
            reads: [random_words(TOKENS * row_words, 2), vec![0; TOKENS * 4], weights],
            out: vec![0; TOKENS * (FEATURES + INFO)],
        }
    }

    fn run(&mut self) {
        let reads = self.reads.each_ref().map(Vec::as_slice);
        (self.kernel)(&self.params, 0..TOKENS, &reads, &mut [&mut self.out]);
        black_box(&mut self.out);
    }

    /// Computes the product on two threads, half of the tokens on each.
    fn run_on_two(&mut self) {
        let reads = self.reads.each_ref().map(Vec::as_slice);
        let (low, high) = self.out.split_at_mut(TOKENS / 2 * (FEATURES + INFO));
        let (kernel, params) = (self.kernel, &self.params);
        rayon::join(
            || kernel(params, 0..TOKENS / 2, &reads, &mut [low]),
            || kernel(params, TOKENS / 2..TOKENS, &reads, &mut [high]),
        );
        black_box(&mut self.out);
    }
}

/// The f32 product `out[t, n] = Σ_k x[t, k] · weights[n, k]`, computed by the crate `gemm` on one thread.
struct Float {
    x: Vec<f32>,
    weights: Vec<f32>,
    out: Vec<f32>,
}

impl Float {
    fn new() -> Self {
        let values =
            |count, stream| random_words(count, stream).iter().map(|word| (word % 255) as f32 - 127.0).collect();
        Self {
            x: values(TOKENS * FEATURES, 3),
            weights: values(FEATURES * FEATURES, 4),
            out: vec![0.0; TOKENS * FEATURES],
        }
    }

    fn run(&mut self) {
        let (n, width) = (FEATURES, FEATURES as isize);
        let (out, x, weights) = (self.out.as_mut_ptr(), self.x.as_ptr(), self.weights.as_ptr());
        let one_thread = gemm::Parallelism::None;
        // SAFETY: the strides are those of the row-major matrices that `new` sized.
        unsafe {
            gemm::gemm(
                TOKENS, n, n, out, 1, width, false, x, 1, width, weights, width, 1, 0.0, 1.0, false, false, false,
                one_thread,
            );
        }
        black_box(&mut self.out);
    }
}

/// Executes `vpmaddubsw`, the AVX2 instruction that multiplies 32 pairs of bytes, until it has computed 1/`share` of
/// the number of multiplications of one matrix product. All operands stay in registers. The instructions form twelve
/// independent chains, so that the processor need not wait for the result of one instruction before it starts the next.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn multiply_in_registers(share: usize) {
    use std::arch::x86_64::*;
    let mut chains = [_mm256_set1_epi8(black_box(1)); 12];
    let bytes = _mm256_set1_epi8(black_box(3));
    for _ in 0..TOKENS * FEATURES * FEATURES / 32 / chains.len() / share {
        for chain in &mut chains {
            *chain = _mm256_maddubs_epi16(*chain, bytes);
        }
    }
    black_box(chains);
}

fn ceiling(share: usize) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        unsafe { multiply_in_registers(share) };
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    rayon::ThreadPoolBuilder::new().num_threads(2).use_current_thread().build_global().expect("two threads");
    let mut float = Float::new();
    let mut cases: Vec<(String, Box<dyn FnMut()>)> = vec![
        ("gemm f32".into(), Box::new(move || float.run())),
        ("vpmaddubsw ceiling".into(), Box::new(|| ceiling(1))),
        (
            "vpmaddubsw ceiling, two threads".into(),
            Box::new(|| {
                rayon::join(|| ceiling(2), || ceiling(2));
            }),
        ),
    ];
    for level in Level::available().into_iter().filter(|level| *level != Level::Scalar) {
        let products = [
            ("forward", "ternary_matmul", 1),
            ("backward int8", "ternary_matmul_backward", 1),
            ("backward int16", "ternary_matmul_backward", 2),
        ];
        for (name, kernel, planes) in products {
            let mut one = Dispatch::new(level, kernel, planes);
            let mut two = Dispatch::new(level, kernel, planes);
            cases.push((format!("{} {name}", level.name()), Box::new(move || one.run())));
            cases.push((format!("{} {name}, two threads", level.name()), Box::new(move || two.run_on_two())));
        }
    }
    let mut fastest = vec![f64::INFINITY; cases.len()];
    for _ in 0..200 {
        for ((_, run), fastest) in cases.iter_mut().zip(&mut fastest) {
            let start = Instant::now();
            run();
            *fastest = fastest.min(start.elapsed().as_secs_f64());
        }
    }
    println!(
        "products of {TOKENS} tokens and a {FEATURES} × {FEATURES} matrix; each row shows the fastest of 200 runs"
    );
    println!(
        "{:36} 10^9 operations/s  speed relative to f32  % of vpmaddubsw ceiling  speed relative to one thread",
        "product"
    );
    for (at, (name, _)) in cases.iter().enumerate() {
        let scale = if name.contains("two") { format!("{:.2}", fastest[at - 1] / fastest[at]) } else { String::new() };
        println!(
            "{name:36} {:17.1} {:22.2} {:23.1}% {scale:>29}",
            OPERATIONS / fastest[at] / 1e9,
            fastest[0] / fastest[at],
            100.0 * fastest[1] / fastest[at],
        );
    }
    if std::env::args().any(|argument| argument == "--stats") {
        for (name, run) in &mut cases {
            criterion.bench_function(name, |bencher| bencher.iter(&mut *run));
        }
        criterion.final_summary();
    }
}
