//! Tests `BitLinear`, a single linear layer. Its output and gradients must be close to those of the formula `y = x·wᵀ +
//! (alpha / rank)·x·aᵀ·bᵀ`, computed in f64 with activations that are not quantized. They must have the same bits with
//! scalar and with optimized kernels, and invalid arguments must be refused.

use pollster::block_on;
use r3mes_wgpu::{
    compute::{
        Backend,
        cpu::{fastest, scalar},
    },
    model::bit_linear::{BitLinear, Ternarize},
    numbers::rng::threefry,
    protocol::task_key,
};
use sha2::{Digest, Sha256};

const TOKENS: usize = 32;
const FEATURES: usize = 768;
const RANK: usize = 8;
const ALPHA: u32 = 16;
const BACKEND: Backend = Backend::Cpu { threads: 0, kernels: fastest };

/// Returns `count` values from an approximately normal distribution with mean 0 and the given standard deviation. Each
/// value is a sum of twelve uniform values.
fn normal(count: usize, stream: u32, deviation: f64) -> Vec<f32> {
    let value = |at: u32| {
        let words = (0..6).flat_map(|word| threefry([2027, stream], [at, word]));
        let sum: f64 = words.map(|word| f64::from(word) / f64::from(u32::MAX)).sum();
        ((sum - 6.0) * deviation) as f32
    };
    (0..count as u32).map(value).collect()
}

/// Returns the matrix product `left · rightᵀ [m, n]` of `left [m, columns]` and `right [n, columns]`.
fn product(left: &[f64], right: &[f64], columns: usize) -> Vec<f64> {
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum();
    left.chunks_exact(columns).flat_map(|left| right.chunks_exact(columns).map(move |right| dot(left, right))).collect()
}

fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| value.into()).collect()
}

fn cosine(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let found = wide(found);
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum::<f64>();
    dot(&found, expected) / (dot(&found, &found) * dot(expected, expected)).sqrt()
}

fn trained(weights: &[f32], ternarize: Ternarize) -> BitLinear {
    let mut layer = BitLinear::new(weights, FEATURES, FEATURES, ternarize, (RANK, ALPHA), [7; 32]).unwrap();
    let (a, b, alpha) = layer.lora_parameters();
    assert_eq!((a.len(), b.len(), alpha), (RANK * FEATURES, FEATURES * RANK, 16.0));
    assert!(b.iter().all(|&b| b == 0.0));
    layer.set_lora_parameters(&a, &normal(FEATURES * RANK, 3, 0.02)).unwrap();
    layer
}

/// The expected output of a layer, `y = x·wᵀ + (alpha / rank)·x·aᵀ·bᵀ`, and the expected gradients of `a`, `b` and `x`,
/// in f64.
struct Formula {
    y: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    x: Vec<f64>,
}

impl Formula {
    /// Computes `y` and the gradients from the weights `w [out, in]`, the LoRA factors `a [rank, in]` and `b [out,
    /// rank]`, the input `x [tokens, in]`, and the gradient `dy [tokens, out]` of the output.
    fn new(w: &[f64], a: &[f32], b: &[f32], x: &[f32], dy: &[f32]) -> Self {
        let (a, b, x, dy) = (wide(a), wide(b), wide(x), wide(dy));
        let scaling = f64::from(ALPHA) / RANK as f64;
        let scaled = |values: Vec<f64>| values.into_iter().map(|value| scaling * value).collect::<Vec<_>>();
        let sum = |left: Vec<f64>, right: Vec<f64>| left.iter().zip(right).map(|(l, r)| l + r).collect::<Vec<_>>();
        let u = product(&x, &a, FEATURES); // [tokens, rank]
        let v = product(&dy, &transposed(&b, RANK), FEATURES); // [tokens, rank]
        let dx = product(&dy, &transposed(w, FEATURES), FEATURES);
        Self {
            y: sum(product(&x, w, FEATURES), scaled(product(&u, &b, RANK))),
            a: scaled(product(&transposed(&v, RANK), &transposed(&x, FEATURES), TOKENS)),
            b: scaled(product(&transposed(&dy, FEATURES), &transposed(&u, RANK), TOKENS)),
            x: sum(dx, scaled(product(&v, &transposed(&a, FEATURES), RANK))),
        }
    }
}

/// Compares a layer with the f64 [`Formula`], forward and backward. Returns the cosine similarity of the outputs `y`,
/// and the smallest of the cosine similarities of the gradients of `a`, `b` and `x`. `trit` computes a weight for the
/// formula from an original weight (before ternarization) and the mean magnitude of all original weights.
fn compare(ternarize: Ternarize, trit: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let weights = normal(FEATURES * FEATURES, 1, 0.5);
    let layer = trained(&weights, ternarize);
    let (x, dy) = (normal(TOKENS * FEATURES, 2, 1.0), normal(TOKENS * FEATURES, 4, 0.01));
    let mut executor = block_on(layer.executor(&BACKEND, TOKENS)).unwrap();
    let y = block_on(executor.forward(&x)).unwrap();
    let gradients = block_on(executor.backward(&dy, &[9; 32])).unwrap();

    let mean = weights.iter().map(|&w| f64::from(w.abs())).sum::<f64>() / weights.len() as f64;
    let w: Vec<f64> = weights.iter().map(|&w| trit(w.into(), mean)).collect();
    let (a, b, _) = layer.lora_parameters();
    let expected = Formula::new(&w, &a, &b, &x, &dy);
    let worst = [(&gradients.a, expected.a), (&gradients.b, expected.b), (&gradients.x, expected.x)]
        .map(|(found, expected)| cosine(found, &expected))
        .into_iter()
        .fold(1.0, f64::min);
    (cosine(&y, &expected.y), worst)
}

/// Trains a layer with the settings of the original R3MES miner: weights rounded to their sign, a LoRA factor `b` that
/// starts at 0, the mean squared error as the loss, gradients clipped to a norm of 1, and AdamW. Checks that at every
/// step the output and the gradients are close to those of the f64 [`Formula`] with the same parameters, and that the
/// loss decreases.
#[test]
fn close_to_the_formula_during_training() {
    let weights = normal(FEATURES * FEATURES, 1, 0.5);
    let w: Vec<f64> = weights.iter().map(|&w| if w.abs() < 0.1 { 0.0 } else { w.signum().into() }).collect();
    let ternarize = Ternarize::Sign { threshold: 0.1 };
    let layer = BitLinear::new(&weights, FEATURES, FEATURES, ternarize, (RANK, ALPHA), [7; 32]).unwrap();
    let mut executor = block_on(layer.executor(&BACKEND, TOKENS)).unwrap();
    let (x, target) = (normal(TOKENS * FEATURES, 2, 1.0), normal(TOKENS * FEATURES, 5, 1.0));
    let mut moments = vec![(0.0, 0.0); 2 * RANK * FEATURES];
    let mut losses = Vec::new();
    for step in 1..=4 {
        let y = block_on(executor.forward(&x)).unwrap();
        let error: Vec<f32> = y.iter().zip(&target).map(|(y, target)| y - target).collect();
        losses.push(wide(&error).iter().map(|error| error * error).sum::<f64>() / error.len() as f64);
        let dy: Vec<f32> = error.iter().map(|error| 2.0 * error / y.len() as f32).collect();
        let gradients = block_on(executor.backward(&dy, &[step as u8; 32])).unwrap();
        let (a, b, _) = executor.layer().lora_parameters();
        let expected = Formula::new(&w, &a, &b, &x, &dy);
        assert!(cosine(&y, &expected.y) >= 0.9999, "step {step}: y differs from that of the formula");
        for (name, found, expected) in
            [("a", &gradients.a, &expected.a), ("b", &gradients.b, &expected.b), ("x", &gradients.x, &expected.x)]
        {
            if step == 1 && name == "a" {
                assert!(found.iter().all(|&value| value == 0.0) && expected.iter().all(|&value| value == 0.0));
                continue;
            }
            let cosine = cosine(found, expected);
            println!("step {step}: gradient of {name}, cosine {cosine:.6}");
            assert!(cosine >= 0.999, "step {step}: gradient of {name}, cosine {cosine}");
        }
        let gradient = [wide(&gradients.a), wide(&gradients.b)].concat();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let clip = 1.0 / norm.max(1.0);
        let stepped = [a, b].concat().into_iter().zip(&gradient).zip(&mut moments);
        let parameters: Vec<f32> =
            stepped.map(|((parameter, gradient), moments)| adamw(parameter, gradient * clip, moments, step)).collect();
        executor.layer().set_lora_parameters(&parameters[..RANK * FEATURES], &parameters[RANK * FEATURES..]).unwrap();
    }
    println!("losses of the steps: {losses:?}");
    assert!(losses.is_sorted_by(|before, after| before > after), "{losses:?}");
}

/// Returns one parameter after an AdamW step with the settings of the original miner: learning rate 1e-4, weight decay
/// 0.01, betas 0.9 and 0.999, epsilon 1e-8. Updates the parameter's two moments.
fn adamw(parameter: f32, gradient: f64, (first, second): &mut (f64, f64), step: i32) -> f32 {
    *first = 0.9 * *first + 0.1 * gradient;
    *second = 0.999 * *second + 0.001 * gradient * gradient;
    let (mean, square) = (*first / (1.0 - 0.9f64.powi(step)), *second / (1.0 - 0.999f64.powi(step)));
    (f64::from(parameter) * (1.0 - 1e-4 * 0.01) - 1e-4 * mean / (square.sqrt() + 1e-8)) as f32
}

#[test]
fn close_to_the_formula_with_sign_weights() {
    let threshold = 0.1;
    let (y, gradient) = compare(Ternarize::Sign { threshold: 0.1 }, |w, _| {
        if w.abs() < f64::from(threshold as f32) { 0.0 } else { w.signum() }
    });
    println!("cosine of y {y:.6}, smallest cosine of the gradients {gradient:.6}");
    assert!(y >= 0.9999 && gradient >= 0.999, "cosine of y {y}, smallest cosine of the gradients {gradient}");
}

#[test]
fn close_to_the_formula_with_absmean_weights() {
    let (y, gradient) = compare(Ternarize::AbsMean, |w, mean| (w / mean).round_ties_even().clamp(-1.0, 1.0) * mean);
    println!("cosine of y {y:.6}, smallest cosine of the gradients {gradient:.6}");
    assert!(y >= 0.9999 && gradient >= 0.999, "cosine of y {y}, smallest cosine of the gradients {gradient}");
}

#[test]
fn bits_depend_on_the_key_and_not_on_the_backend() {
    let layer = trained(&normal(FEATURES * FEATURES, 1, 0.5), Ternarize::AbsMean);
    let (x, dy) = (normal(TOKENS * FEATURES, 2, 1.0), normal(TOKENS * FEATURES, 4, 0.01));
    let run = |backend: Backend, key| {
        let mut executor = block_on(layer.executor(&backend, TOKENS)).unwrap();
        (block_on(executor.forward(&x)).unwrap(), block_on(executor.backward(&dy, &[key; 32])).unwrap())
    };
    let fast = run(BACKEND, 1);
    assert!(fast == run(Backend::Cpu { threads: 1, kernels: scalar }, 1));
    let other = run(BACKEND, 2);
    assert!(fast.0 == other.0 && fast.1 != other.1);
}

#[test]
fn size_digest_and_initial_adapter_follow_from_the_arguments() {
    let weights = normal(FEATURES * FEATURES, 1, 0.5);
    let new = |rank| BitLinear::new(&weights, FEATURES, FEATURES, Ternarize::AbsMean, (rank, ALPHA), [7; 32]);
    let layer = new(RANK).unwrap();
    assert_eq!(layer.size_mb(), (2 * 768 * 8 * 4) as f64 / 1_048_576.0);
    assert_ne!(layer.backbone_digest(), {
        let other = BitLinear::new(&weights, FEATURES, FEATURES, Ternarize::Sign { threshold: 0.1 }, (8, 16), [7; 32]);
        other.unwrap().backbone_digest()
    });
    let (a, b, _) = trained(&weights, Ternarize::AbsMean).lora_parameters();
    assert_eq!(trained(&weights, Ternarize::AbsMean).lora_parameters(), (a, b, 16.0));
    for rank in [3, 65] {
        assert!(new(rank).is_err());
    }
}

#[test]
fn invalid_arguments_are_refused() {
    let mut layer = BitLinear::new(&[0.5; 6], 3, 2, Ternarize::AbsMean, (4, 8), [0; 32]).unwrap();
    assert!(BitLinear::new(&[0.5; 5], 3, 2, Ternarize::AbsMean, (4, 8), [0; 32]).is_err());
    assert!(BitLinear::new(&[f32::NAN; 6], 3, 2, Ternarize::AbsMean, (4, 8), [0; 32]).is_err());
    assert!(layer.set_lora_parameters(&[0.0; 12], &[8.0; 8]).is_err());
    assert!(layer.set_lora_parameters(&[0.0; 11], &[0.0; 8]).is_err());
    assert!(block_on(layer.executor(&BACKEND, 0)).is_err());
    let mut executor = block_on(layer.executor(&BACKEND, 2)).unwrap();
    assert!(block_on(executor.forward(&[1.0; 5])).is_err());
    assert!(block_on(executor.forward(&[f32::INFINITY; 6])).is_err());
    assert_eq!(block_on(executor.forward(&[0.0; 6])).unwrap(), [0.0; 4]);
    assert_eq!(block_on(executor.backward(&[0.0; 4], &[0; 32])).unwrap().x, [0.0; 6]);
}

/// Checks that the output and the gradients of a layer with seeded random weights have the golden digests in
/// `tests/data/bit_linear.txt`. The test `www/tests/bit_linear.rs` checks that `BitLinear` computes the same digests in
/// a browser.
#[test]
fn golden_digests_of_a_seeded_layer() {
    let ramp =
        |count: usize, unit: f32| -> Vec<f32> { (0..count).map(|i| (i * 37 % 201) as f32 * unit - 1.0).collect() };
    let digest = |values: &[f32]| -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
    };
    let mut layer = BitLinear::seeded(FEATURES, FEATURES, (RANK, ALPHA), task_key(&[0; 32], "BitLinear 7")).unwrap();
    let (a, _, _) = layer.lora_parameters();
    layer.set_lora_parameters(&a, &ramp(FEATURES * RANK, 0.01)).unwrap();
    for kernels in [fastest, scalar] {
        let mut executor = block_on(layer.executor(&Backend::Cpu { threads: 1, kernels }, 3)).unwrap();
        let y = block_on(executor.forward(&ramp(3 * FEATURES, 0.01))).unwrap();
        let gradients = block_on(executor.backward(&y, &[9; 32])).unwrap();
        let found = [&y, &gradients.a, &gradients.b, &gradients.x].map(|values| digest(values)).join("\n");
        assert_eq!(found, include_str!("data/bit_linear.txt").trim_end());
    }
}
