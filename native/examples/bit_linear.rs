//! Trains a LoRA adapter of rank 8 on one 768 × 768 linear layer with ternary (BitNet) weights, for three steps of
//! gradient descent, and prints the loss of each step.
//!
//! `cargo run --release -p r3mes-wgpu --example bit_linear`

use pollster::block_on;
use r3mes_wgpu::{
    compute::{Backend, cpu::fastest},
    model::bit_linear::{BitLinear, Ternarize},
    numbers::rng::threefry,
};

const TOKENS: usize = 32;
const FEATURES: usize = 768;

/// Returns pseudo-random values that are uniformly distributed in −1..=1.
fn uniform(count: usize, seed: u32) -> Vec<f32> {
    let real = |at: u32| threefry([seed, 0], [at, 0])[0] as i32 as f32 / i32::MAX as f32;
    (0..count as u32).map(real).collect()
}

fn main() -> anyhow::Result<()> {
    let weights = uniform(FEATURES * FEATURES, 1);
    let (rank, alpha, seed) = (8, 16, [0; 32]);
    let ternarize = Ternarize::Sign { threshold: 0.1 };
    let layer = BitLinear::new(&weights, FEATURES, FEATURES, ternarize, (rank, alpha), seed)?;
    let digest = data_encoding::HEXLOWER.encode(&layer.backbone_digest());
    println!("backbone: {FEATURES} × {FEATURES} ternary weights, SHA-256 {digest}");
    println!("adapter: {:.4} MB", layer.size_mb());

    // every backend computes the same bits, so Backend::Gpu { .. } would give the same output
    let backend = Backend::Cpu { threads: 0, kernels: fastest };
    let mut executor = block_on(layer.executor(&backend, TOKENS))?;
    let (x, target) = (uniform(TOKENS * FEATURES, 2), uniform(TOKENS * FEATURES, 3));
    for step in 0..3u8 {
        let y = block_on(executor.forward(&x))?;
        let error: Vec<f32> = y.iter().zip(&target).map(|(y, target)| y - target).collect();
        let loss = error.iter().map(|error| error * error).sum::<f32>() / error.len() as f32;
        println!(
            "step {step}: the output ({TOKENS} tokens × {FEATURES} features) has a mean squared error of {loss:.6}"
        );

        let dy: Vec<f32> = error.iter().map(|error| 2.0 * error / y.len() as f32).collect();
        let gradients = block_on(executor.backward(&dy, &[step; 32]))?;
        let (mut a, mut b, _) = executor.layer().lora_parameters();
        let rate = 4.0;
        a.iter_mut().zip(&gradients.a).for_each(|(a, gradient)| *a -= rate * gradient);
        b.iter_mut().zip(&gradients.b).for_each(|(b, gradient)| *b -= rate * gradient);
        executor.layer().set_lora_parameters(&a, &b)?;
    }
    Ok(())
}
