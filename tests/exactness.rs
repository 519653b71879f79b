//! Tests that the bits of a gradient depend only on the inputs of the task (such as the chunk, the adapter and the task
//! key), and that extreme values saturate without an integer overflow.

use crate::cases::{self, Random, model, small, targets, text, trainer};
use r3mes_wgpu::{
    model::{
        config::{Linear, ModelConfig},
        transformer::Targets,
        weights::{Embedding, Gain, Model},
    },
    numbers::{fixed::Scale, lora::LoraAdapter},
    training::{session::JOB_EXPONENT, step::ChunkGradient},
};

const KEY: [u8; 32] = [7; 32];

/// Returns a model configuration in which three query heads share a key/value head, and no size is a multiple of the
/// block size of a kernel.
fn odd() -> ModelConfig {
    let sizes = ModelConfig { layers: 2, width: 36, heads: 6, kv_heads: 2, head_dim: 6, ffn_width: 50, ..small() };
    ModelConfig { vocab: 37, context: 33, ..sizes }
}

fn adapter(model: &Model, targets: &Targets, seed: u64) -> LoraAdapter {
    cases::adapter(&model.config, targets, [1.7, 0.3], seed)
}

fn reals(gradient: &ChunkGradient) -> Vec<f64> {
    gradient.matrices.iter().flat_map(|matrix| &matrix.values).map(|&value| value as f64).collect()
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    dot(x, y) / (dot(x, x) * dot(y, y)).sqrt()
}

/// Checks that a gradient has the same bits for every number of threads and every batch size (number of sequences in a
/// run). This must also hold if the chunk's last sequence or its last batch is incomplete.
#[test]
fn batch_size_and_threads_change_no_bit() {
    let (model, targets) = (model(odd(), 1), targets(5));
    let adapter = adapter(&model, &targets, 1);
    for tokens in [1, 2, 33, 3 * 33, 3 * 33 + 1, 5 * 33 - 2] {
        let chunk = text(37, tokens, tokens as u64);
        let gradient =
            |sequences, threads| trainer(&model, &targets, &adapter, sequences, threads).gradient(&chunk, &KEY, 3);
        let one = gradient(1, 1);
        assert!(!one.saturated);
        assert_eq!(one.supervised, tokens - 1);
        assert_eq!(reals(&one).iter().any(|&value| value != 0.0), tokens > 1);
        for (sequences, threads) in [(1, 2), (2, 1), (3, 2), (7, 1)] {
            assert!(gradient(sequences, threads) == one, "{tokens} tokens, {sequences} per run, {threads} threads");
        }
    }
}

/// Checks that a trainer which has already computed other gradients gives the same gradient and loss as a new trainer.
#[test]
fn a_trainer_has_no_state_between_chunks() {
    let (model, targets) = (model(odd(), 2), targets(4));
    let [first, second] = [1, 2].map(|seed| adapter(&model, &targets, seed));
    let chunk = text(37, 70, 2);
    let fresh = trainer(&model, &targets, &second, 2, 1).gradient(&chunk, &KEY, 0);
    let mut used = trainer(&model, &targets, &first, 2, 1);
    used.gradient(&text(37, 132, 3), &KEY, 1);
    used.load(&second, JOB_EXPONENT);
    assert_eq!(used.evaluate(&chunk), (fresh.loss, false));
    assert!(used.gradient(&chunk, &KEY, 0) == fresh);
}

/// Checks that the task key and the number of the training step affect only the rounding: gradients of the same chunk
/// with another key or number are different, but close to each other.
#[test]
fn keys_and_steps_change_the_rounding_only() {
    let (model, targets) = (model(small(), 3), targets(8));
    let adapter = adapter(&model, &targets, 3);
    let chunk = text(128, 64, 3);
    let mut trainer = trainer(&model, &targets, &adapter, 2, 1);
    let one = trainer.gradient(&chunk, &KEY, 0);
    for other in [trainer.gradient(&chunk, &[8; 32], 0), trainer.gradient(&chunk, &KEY, 1)] {
        assert_eq!(one.loss, other.loss);
        for (one, other) in one.matrices.iter().zip(&other.matrices) {
            assert_ne!(one.values, other.values, "{}", one.name);
        }
        let cosine = cosine(&reals(&one), &reals(&other));
        assert!(cosine > 0.9999 && cosine < 1.0, "{cosine}");
    }
}

/// Checks that adding several gradients gives the same sum in every order, and that all gradient matrices have the
/// exponent `JOB_EXPONENT`.
#[test]
fn sums_of_gradients_do_not_depend_on_the_order() {
    let (model, targets) = (model(odd(), 4), targets(4));
    let adapter = adapter(&model, &targets, 4);
    let mut trainer = trainer(&model, &targets, &adapter, 2, 1);
    let mut gradient = |seed: u64| trainer.gradient(&text(37, 66, seed), &[seed as u8; 32], 0);
    let parts = [gradient(1), gradient(2), gradient(3)];
    let sum = |order: [usize; 3]| -> Vec<i64> {
        let values = |i: usize| parts[i].matrices.iter().flat_map(|matrix| matrix.values.iter().copied());
        let mut sum: Vec<i64> = values(order[0]).collect();
        for i in &order[1..] {
            sum.iter_mut().zip(values(*i)).for_each(|(sum, value)| *sum = sum.wrapping_add(value));
        }
        sum
    };
    let one = sum([0, 1, 2]);
    assert!(one.iter().any(|&value| value != 0));
    assert!([[0, 2, 1], [1, 0, 2], [2, 1, 0]].into_iter().all(|order| sum(order) == one));
    let matrices = || parts.iter().map(|part| part.matrices.iter().map(|matrix| matrix.exponent));
    assert!(matrices().all(|exponents| exponents.eq(std::iter::repeat_n(JOB_EXPONENT, 28))));
}

/// Checks that linear layers whose LoRA factor `b` is 0 can be removed from the adapter without changing the loss or
/// the gradients of the other linear layers.
#[test]
fn adapters_with_zero_b_can_be_removed() {
    let model = model(odd(), 5);
    let all = targets(4);
    let some = Targets { rank: 4, linears: vec![Linear::Query, Linear::Value, Linear::Up] };
    let chunk = text(37, 66, 5);
    let mut full = adapter(&model, &all, 5);
    let remains = |name: &str| [".q.", ".v.", ".up."].iter().any(|part| name.contains(part));
    for matrix in &mut full.matrices {
        if !remains(&matrix.name) && matrix.name.ends_with(".b") {
            matrix.values.fill(0);
        }
    }
    let matrices = full.matrices.iter().filter(|matrix| remains(&matrix.name)).cloned().collect();
    let less = LoraAdapter { matrices, ..full.clone() };
    let full = trainer(&model, &all, &full, 2, 1).gradient(&chunk, &KEY, 0);
    let less = trainer(&model, &some, &less, 2, 1).gradient(&chunk, &KEY, 0);
    assert_eq!(full.loss, less.loss);
    assert!(full.matrices.iter().filter(|matrix| remains(&matrix.name)).eq(&less.matrices));
}

/// Checks that a training step reports saturation, and does not panic, if the adapter's values or the exponent of the
/// gradients are extreme.
#[test]
fn saturation_is_reported() {
    let model = model(small(), 6);
    let targets = targets(64);
    let mut adapter = adapter(&model, &targets, 6);
    let ends = [i32::MAX, i32::MIN];
    let mut random = Random(6);
    for matrix in &mut adapter.matrices {
        matrix.values.iter_mut().for_each(|value| *value = ends[(random.word() & 1) as usize]);
    }
    let chunk = text(128, 40, 6);
    let one = trainer(&model, &targets, &adapter, 1, 1).gradient(&chunk, &KEY, 0);
    assert!(one.saturated);
    assert!(trainer(&model, &targets, &adapter, 2, 2).gradient(&chunk, &KEY, 0).saturated);
    // a gradient also saturates if it exceeds the range of i64 with the given exponent
    let adapter = cases::adapter(&model.config, &targets, [1.7, 0.3], 6);
    let mut trainer = trainer(&model, &targets, &adapter, 2, 1);
    trainer.load(&adapter, -100);
    assert!(trainer.gradient(&chunk, &KEY, 0).saturated);
    assert!([i32::MIN, i32::MAX].into_iter().all(|far| trainer.try_load(&adapter, far).is_err()));
    trainer.load(&adapter, 512);
    assert!(!trainer.gradient(&chunk, &KEY, 0).saturated);
}

/// Runs training steps with sizes and values at the limits of their ranges, and checks that no integer overflows. An
/// overflow would panic in the test profile; values that are too large may only set the saturation flag.
#[test]
fn extreme_values_do_not_overflow() {
    let config =
        ModelConfig { width: 20, heads: 2, kv_heads: 1, head_dim: 6, ffn_width: 24, vocab: 11, context: 9, ..small() };
    let run = |name: &str, model: Model, rank: usize, reach: [f64; 2], chunk: &[u32]| {
        let targets = targets(rank);
        let adapter = cases::adapter(&model.config, &targets, reach, 9);
        let one = trainer(&model.check().unwrap(), &targets, &adapter, 2, 1).gradient(chunk, &KEY, 0);
        println!("{name}: loss {:.4} nats per token, saturated: {}", one.mean_loss(), one.saturated);
        one
    };
    let usual = [1.7, 0.3];
    let chunk = text(11, 25, 9);
    let zero = |gradient: &ChunkGradient, factor: &str| {
        let of = gradient.matrices.iter().filter(|matrix| matrix.name.ends_with(factor));
        of.flat_map(|matrix| &matrix.values).all(|&value| value == 0)
    };

    assert!(!run("rank 64", model(config.clone(), 1), 64, usual, &chunk).saturated);
    let b_zero = run("b = 0", model(config.clone(), 1), 4, [1.7, 0.0], &chunk);
    assert!(zero(&b_zero, ".a") && !zero(&b_zero, ".b"));
    let a_zero = run("a = 0", model(config.clone(), 1), 4, [0.0, 0.3], &chunk);
    assert!(!zero(&a_zero, ".a") && zero(&a_zero, ".b"));
    let both_zero = run("a = b = 0", model(config.clone(), 1), 4, [0.0, 0.0], &chunk);
    assert!(zero(&both_zero, ".a") && zero(&both_zero, ".b"));
    assert!(!run("the same token repeated", model(config.clone(), 1), 4, usual, &[3; 25]).saturated);
    assert_eq!(run("no token", model(config.clone(), 1), 4, usual, &[]).supervised, 0);

    for fraction_bits in [0, 8, 30] {
        let config = ModelConfig { residual_fraction_bits: fraction_bits, ..config.clone() };
        run(&format!("residual with {fraction_bits} fraction bits"), model(config, 1), 4, usual, &chunk);
    }
    for epsilon in [1e-12, 1.0] {
        run("epsilon", model(ModelConfig { norm_epsilon: epsilon, ..config.clone() }, 1), 4, usual, &chunk);
    }
    let least = ModelConfig {
        layers: 1,
        width: 1,
        heads: 1,
        kv_heads: 1,
        head_dim: 2,
        ffn_width: 1,
        vocab: 1,
        context: 1,
        ..config.clone()
    };
    run("smallest sizes", model(least, 1), 4, usual, &[0; 3]);

    let all_gains = |gain: Gain| {
        let mut model = model(config.clone(), 1);
        let of =
            |width: usize| Gain { mantissas: gain.mantissas.iter().copied().cycle().take(width).collect(), ..gain };
        for layer in &mut model.layers {
            layer.attention_norm = of(config.width);
            layer.attention_sub_norm = of(config.heads * config.head_dim);
            layer.ffn_norm = of(config.width);
            layer.ffn_sub_norm = of(config.ffn_width);
        }
        model.final_norm = of(config.width);
        model
    };
    for exponent in [-150, -40, -16, 0, 20, 112] {
        for mantissas in [vec![65_535, -65_535i32 as u32], vec![1, 0, 65_535], vec![0]] {
            let name = format!("gains {mantissas:?} · 2^{exponent}");
            run(&name, all_gains(Gain { mantissas: mantissas.into(), exponent }), 4, usual, &chunk);
        }
    }
    for exponent in [-120, -60, -31, 0, 60] {
        let mut model = model(config.clone(), 1);
        for matrix in model.layers.iter_mut().flat_map(|layer| &mut layer.linears) {
            matrix.dequant_scale = Scale { mantissa: (1 << 31) - 1, exponent };
        }
        run(&format!("weights worth 2^{exponent}"), model, 4, usual, &chunk);
    }
    for reach in [1e-30f32, 1e-6, 1e3, 1e30] {
        let mut model = model(config.clone(), 1);
        let values: Vec<f32> =
            (0..11 * 20).map(|i| if i / 20 == 3 { 0.0 } else { reach * (i % 7 - 3) as f32 }).collect();
        model.embedding = Embedding::quantize(&values, 20).unwrap();
        run(&format!("embeddings of {reach}"), model, 4, usual, &chunk);
    }
}

/// Checks random combinations of extreme values: no integer may overflow, and the batch size must not change the bits
/// of the gradient.
#[test]
fn random_extreme_values_do_not_overflow() {
    let mut random = Random(11);
    let mut saturated = 0;
    for _ in 0..DRAWS {
        let mut at = |low: i64, high: i64| low + (random.word() % (high - low + 1) as u64) as i64;
        let (kv_heads, group) = (at(1, 2) as usize, at(1, 3) as usize);
        let config = ModelConfig {
            layers: at(1, 2) as usize,
            width: at(1, 40) as usize,
            heads: kv_heads * group,
            kv_heads,
            head_dim: 2 * at(1, 4) as usize,
            ffn_width: at(1, 40) as usize,
            vocab: at(1, 40) as usize,
            context: at(1, 40) as usize,
            residual_fraction_bits: at(0, 27) as u32,
            norm_epsilon: 10f64.powi(at(-12, 0) as i32),
            ..small()
        };
        // shifts the exponent one time in twenty, mostly downward, because large values saturate
        let far = |at: &mut dyn FnMut(i64, i64) -> i64| if at(0, 19) == 0 { at(-90, 30) as i32 } else { 0 };
        let mut model = model(config, at(1, 9) as u64);
        for layer in &mut model.layers {
            for norm in
                [&mut layer.attention_norm, &mut layer.attention_sub_norm, &mut layer.ffn_norm, &mut layer.ffn_sub_norm]
            {
                norm.exponent += far(&mut at);
            }
            for matrix in &mut layer.linears {
                matrix.dequant_scale = matrix.dequant_scale.shift(far(&mut at));
            }
        }
        model.embedding.exponent += far(&mut at) / 3;
        let targets = targets(at(4, 64) as usize);
        let reach = |power: i64| 2f64.powi(power as i32).min(2.0);
        let mut adapter = cases::adapter(&model.config, &targets, [reach(at(-20, 1)), reach(at(-20, 1))], 1);
        adapter.alpha = [1, 16, 256][at(0, 2) as usize];
        let chunk = text(model.config.vocab, at(1, 90) as usize, at(0, 9) as u64);
        let one = trainer(&model, &targets, &adapter, 1, 1).gradient(&chunk, &KEY, 0);
        let other = trainer(&model, &targets, &adapter, 2, 1).gradient(&chunk, &KEY, 0);
        assert!(one.saturated == other.saturated && (one.saturated || one == other), "{:?}", model.config);
        saturated += usize::from(one.saturated);
    }
    println!("{saturated} of {DRAWS} random steps saturated");
    assert!((DRAWS / 10..DRAWS * 9 / 10).contains(&saturated));
}

const DRAWS: usize = 200;
