//! Tests that the optimizer is close to the formulas in the papers on AdamW and Lion, that it reproduces golden
//! digests, that it continues with the same bits after its state has been encoded and decoded, and that it refuses
//! mismatched arguments and altered states.

use r3mes_wgpu::{
    error::Error,
    numbers::{
        lora::{GradientMatrix, LoraAdapter, LoraMatrix},
        rng::threefry,
    },
    training::optimizer::{Method, Optimizer, Settings},
};
use sha2::{Digest, Sha256};

const STEPS: u32 = 50;
const TOKENS: u64 = 37;

fn adapter() -> LoraAdapter {
    let shapes = [("layers.0.attention.q".to_owned(), 24, 16), ("layers.1.ffn.down".to_owned(), 40, 8)];
    LoraAdapter::seeded(4, 8, &shapes, [7; 32]).unwrap()
}

/// Returns gradients of a quadratic loss with added noise, summed over `TOKENS` tokens. Each element is proportional to
/// `3·master − target + noise`, where `master` is the parameter of the adapter, `target` is constant, and `noise`
/// differs from step to step. The gradients change their sign in the course of the test.
fn gradients(adapter: &LoraAdapter, step: u32) -> Vec<GradientMatrix> {
    let matrices = adapter.matrices.iter().enumerate();
    let gradient = |(index, matrix): (usize, &LoraMatrix)| {
        let value = |(at, master): (usize, &i32)| {
            let noise = |step| i64::from(threefry([index as u32, 99], [step, at as u32])[0] as i32);
            TOKENS as i64 * (3 * i64::from(*master) - noise(0) / 128 + noise(step) / 512) * 1000
        };
        GradientMatrix {
            name: matrix.name.clone(),
            rows: matrix.rows,
            columns: matrix.columns,
            exponent: -38 - index as i32,
            values: matrix.values.iter().enumerate().map(value).collect(),
        }
    };
    matrices.map(gradient).collect()
}

fn run(optimizer: &mut Optimizer, adapter: &mut LoraAdapter, steps: std::ops::RangeInclusive<u32>) {
    for step in steps {
        let gradients = gradients(adapter, step);
        optimizer.step(adapter, &gradients, TOKENS).unwrap();
    }
}

fn digest(adapter: &LoraAdapter, optimizer: &Optimizer) -> String {
    let mut hash = Sha256::new();
    for matrix in &adapter.matrices {
        hash.update(matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    }
    hash.update(optimizer.to_bytes());
    data_encoding::HEXLOWER.encode(&hash.finalize())
}

fn all_settings() -> [Settings; 4] {
    [
        Settings { learning_rate: 2e-3, clip_norm: 0.5, ..Settings::ADAMW },
        Settings { learning_rate: 2e-3, clip_norm: 1e15, warmup_steps: 10, weight_decay: 0.3, ..Settings::ADAMW },
        Settings { learning_rate: 1e-3, clip_norm: 0.5, ..Settings::LION },
        Settings { learning_rate: 1e-3, clip_norm: 0.01, warmup_steps: 7, ..Settings::LION },
    ]
}

/// Checks that the parameters and the state after fifty steps have the golden digests. A Python script with the same
/// formulas computed the same digests. A change of any golden digest requires a new arithmetic version.
#[test]
fn fifty_steps_have_golden_digests() {
    let digests = all_settings().map(|settings| {
        let mut adapter = adapter();
        let mut optimizer = Optimizer::new(settings, &adapter).unwrap();
        run(&mut optimizer, &mut adapter, 1..=STEPS);
        digest(&adapter, &optimizer)
    });
    assert_eq!(digests, GOLDEN);
}

const GOLDEN: [&str; 4] = [
    "91ba44776ffca07f5c20a33837683f350a74eb7835a2707187e79e5e21eaf19e",
    "25a45469b2615f0ee71cbc7053b9ca675e8832bfa2b74178bb9220c08648dd4e",
    "a2ee6e5d7311634f8e94be051c097daa7be0bc528c1a0e80a00adeee384de184",
    "284af355d6791e4ee68a99e670f7aeaed2a3897f6ee90ebb219394ddb1414879",
];

/// A naive optimizer for one vector of f64 parameters. It follows the formulas in the papers literally: it computes
/// powers of the betas and uses no fixed-point numbers.
struct Naive {
    settings: Settings,
    parameters: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Naive {
    fn step(&mut self, gradient: &[f64], step: i32) -> f64 {
        let norm = gradient.iter().map(|g| g.powi(2)).sum::<f64>().sqrt();
        let clip = (self.settings.clip_norm / norm).min(1.0);
        let warmup = self.settings.warmup_steps as f64;
        let rate = self.settings.learning_rate * if warmup > 0.0 { (f64::from(step) / warmup).min(1.0) } else { 1.0 };
        for (at, raw) in gradient.iter().enumerate() {
            let g = raw * clip;
            let (m, v, p) = (&mut self.first[at], &mut self.second[at], &mut self.parameters[at]);
            let update = match self.settings.method {
                Method::AdamW { beta1, beta2, epsilon } => {
                    *m = *m * beta1 + g * (1.0 - beta1);
                    *v = *v * beta2 + g.powi(2) * (1.0 - beta2);
                    (*m / (1.0 - beta1.powi(step))) / ((*v / (1.0 - beta2.powi(step))).sqrt() + epsilon)
                }
                Method::Lion { beta1, beta2 } => {
                    let c = *m * beta1 + g * (1.0 - beta1);
                    *m = *m * beta2 + g * (1.0 - beta2);
                    if c == 0.0 { 0.0 } else { c.signum() }
                }
            };
            *p -= rate * (update + self.settings.weight_decay * *p);
        }
        norm
    }
}

fn real(values: impl Iterator<Item = i32>) -> Vec<f64> {
    values.map(|value| f64::from(value) / 2f64.powi(28)).collect()
}

#[test]
fn steps_are_close_to_the_formulas() {
    for settings in all_settings() {
        let mut adapter = adapter();
        let masters = |adapter: &LoraAdapter| real(adapter.matrices.iter().flat_map(|matrix| matrix.values.clone()));
        let parameters = masters(&adapter);
        let zeros = vec![0.0; parameters.len()];
        let mut naive = Naive { settings, parameters, first: zeros.clone(), second: zeros };
        let mut optimizer = Optimizer::new(settings, &adapter).unwrap();
        let mut clipped_steps = 0;
        for step in 1..=STEPS {
            let gradients = gradients(&adapter, step);
            let mean = |matrix: &GradientMatrix| {
                let scale = 2f64.powi(matrix.exponent) / TOKENS as f64;
                matrix.values.iter().map(move |value| *value as f64 * scale).collect::<Vec<_>>()
            };
            let flat: Vec<f64> = gradients.iter().flat_map(mean).collect();
            let norm = naive.step(&flat, step as i32);
            let report = optimizer.step(&mut adapter, &gradients, TOKENS).unwrap();
            assert!((report.gradient_norm / norm - 1.0).abs() < 1e-12, "{} {norm}", report.gradient_norm);
            assert_eq!(report.clipped, norm > settings.clip_norm);
            assert_eq!(report.saturated, 0);
            clipped_steps += u32::from(report.clipped);
        }
        assert_eq!(clipped_steps > 0, settings.clip_norm < 1e15, "the case does not test clipping");
        let start = real(self::adapter().matrices.iter().flat_map(|matrix| matrix.values.clone()));
        let moved = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let found = masters(&adapter);
        // the tolerance covers fifty roundings by up to 2^-29 each and moments of 24 bits; in comparison, the
        // parameters move by more than 0.01
        assert!(moved(&found, &naive.parameters) < 3e-7, "{settings:?} {}", moved(&found, &naive.parameters));
        assert!(moved(&found, &start) > 0.01, "{settings:?}");
    }
}

#[test]
fn a_decoded_state_continues_with_the_same_bits() {
    for settings in all_settings() {
        let (mut straight, mut resumed) = (adapter(), adapter());
        let mut optimizer = Optimizer::new(settings, &straight).unwrap();
        run(&mut optimizer, &mut straight, 1..=STEPS);

        let mut first = Optimizer::new(settings, &resumed).unwrap();
        run(&mut first, &mut resumed, 1..=20);
        let bytes = first.to_bytes();
        let mut second = Optimizer::from_bytes(&bytes).unwrap();
        assert_eq!(second, first);
        assert_eq!(second.to_bytes(), bytes);
        run(&mut second, &mut resumed, 21..=STEPS);
        assert_eq!(resumed, straight);
        assert_eq!(second.to_bytes(), optimizer.to_bytes());
    }
}

#[test]
fn altered_bytes_are_refused() {
    let adapter = adapter();
    let mut trained = adapter.clone();
    let mut optimizer = Optimizer::new(Settings::ADAMW, &adapter).unwrap();
    run(&mut optimizer, &mut trained, 1..=2);
    let bytes = optimizer.to_bytes();
    for length in 0..bytes.len() {
        assert!(Optimizer::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(Optimizer::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    let with = |at: usize, new: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        Optimizer::from_bytes(&changed)
    };
    assert!(with(0, b"R3OQ").is_err());
    assert!(with(4, &2u32.to_le_bytes()).is_err(), "version");
    assert!(with(8, &1u32.to_le_bytes()).is_err(), "Lion with an epsilon");
    assert!(with(12, &1.0f64.to_le_bytes()).is_err(), "beta1");
    assert!(with(28, &0.0f64.to_le_bytes()).is_err(), "epsilon");
    assert!(with(36, &f64::NAN.to_le_bytes()).is_err(), "learning rate");
    assert!(with(76, &2.0f64.to_le_bytes()).is_err(), "beta product");
    assert!(with(92, &u32::MAX.to_le_bytes()).is_err(), "matrices");
    assert!(with(96, &u32::MAX.to_le_bytes()).is_err(), "name");
    assert!(with(100, &[0xff; 8]).is_err(), "rows and columns");
    assert!(with(bytes.len() - 4, &(-1f32).to_le_bytes()).is_err(), "second moment");
    assert!(with(bytes.len() - 4, &f32::NAN.to_le_bytes()).is_err(), "second moment");
    assert!(with(bytes.len() - 4, &1f32.to_le_bytes()).is_ok());
}

fn with_values(adapter: &LoraAdapter, exponent: i32, value: i64) -> Vec<GradientMatrix> {
    let mut gradients = gradients(adapter, 1);
    for gradient in &mut gradients {
        gradient.exponent = exponent;
        gradient.values.fill(value);
    }
    gradients
}

#[test]
fn a_zero_gradient_applies_weight_decay_only() {
    for settings in [Settings::ADAMW, Settings::LION] {
        let mut adapter = adapter();
        let before = adapter.clone();
        let mut optimizer =
            Optimizer::new(Settings { learning_rate: 0.5, weight_decay: 0.5, ..settings }, &adapter).unwrap();
        let zero = with_values(&adapter, -40, 0);
        let report = optimizer.step(&mut adapter, &zero, TOKENS).unwrap();
        assert_eq!((report.gradient_norm, report.clipped), (0.0, false));
        for (after, before) in adapter.matrices.iter().zip(&before.matrices) {
            let decayed = |value: &i32| (f64::from(*value) * 0.75).round_ties_even() as i32;
            assert_eq!(after.values, before.values.iter().map(decayed).collect::<Vec<_>>());
        }
        // a state with moments that are not finite could not be decoded
        assert_eq!(Optimizer::from_bytes(&optimizer.to_bytes()).unwrap(), optimizer);
    }
}

#[test]
fn lion_uses_the_sign_of_the_gradient_only() {
    let settings = Settings { learning_rate: 0.25, weight_decay: 0.0, ..Settings::LION };
    for (value, expected) in [(1, -(1 << 26)), (i64::MAX, -(1 << 26)), (-3, 1 << 26), (0, 0)] {
        let mut adapter = adapter();
        let before = adapter.clone();
        let gradients = with_values(&adapter, -60, value);
        Optimizer::new(settings, &adapter).unwrap().step(&mut adapter, &gradients, 1).unwrap();
        for (after, before) in adapter.matrices.iter().zip(&before.matrices) {
            assert!(after.values.iter().zip(&before.values).all(|(after, before)| after - before == expected));
        }
    }
}

#[test]
fn the_largest_gradients_stay_finite_and_parameters_are_clamped_at_eight() {
    for settings in [Settings::ADAMW, Settings::LION] {
        let settings = Settings { learning_rate: 1.0, weight_decay: 0.0, clip_norm: 1e15, ..settings };
        let mut adapter = adapter();
        let mut optimizer = Optimizer::new(settings, &adapter).unwrap();
        let elements: usize = adapter.matrices.iter().map(|matrix| matrix.values.len()).sum();
        let mut saturated = 0;
        for _ in 0..10 {
            let gradients = with_values(&adapter, 256, i64::MIN);
            let report = optimizer.step(&mut adapter, &gradients, 1).unwrap();
            assert!(report.gradient_norm.is_finite() && report.clipped);
            saturated = report.saturated;
        }
        assert_eq!(saturated, elements as u64);
        assert!(adapter.matrices.iter().all(|matrix| matrix.values.iter().all(|value| *value == i32::MAX)));
        assert!(Optimizer::from_bytes(&optimizer.to_bytes()).is_ok());
    }
}

#[test]
fn mismatched_arguments_are_refused_and_change_nothing() {
    let adapter = adapter();
    let good = gradients(&adapter, 1);
    let refused = |change: &dyn Fn(&mut LoraAdapter, &mut Vec<GradientMatrix>), tokens: u64| -> Error {
        let mut optimizer = Optimizer::new(Settings::ADAMW, &adapter).unwrap();
        let (mut stepped, mut gradients) = (adapter.clone(), good.clone());
        change(&mut stepped, &mut gradients);
        let (before, bytes) = (stepped.clone(), optimizer.to_bytes());
        let error = optimizer.step(&mut stepped, &gradients, tokens).unwrap_err();
        assert_eq!((stepped, optimizer.to_bytes()), (before, bytes), "{error}");
        error
    };
    assert!(matches!(refused(&|_, g| g[1].name.push('x'), 1), Error::Mismatch { .. }));
    assert!(matches!(refused(&|_, g| g.swap(0, 1), 1), Error::Mismatch { .. }));
    assert!(matches!(refused(&|_, g| g[3].rows += 1, 1), Error::Mismatch { .. }));
    assert!(matches!(refused(&|_, g| g[3].values.truncate(1), 1), Error::Shape { .. }));
    assert!(matches!(refused(&|_, g| g.truncate(3), 1), Error::Shape { .. }));
    assert!(matches!(refused(&|_, g| g[0].exponent = 257, 1), Error::Value { .. }));
    assert!(matches!(refused(&|a, _| a.matrices[2].name.clear(), 1), Error::Mismatch { .. }));
    assert!(matches!(refused(&|a, _| a.matrices[2].values.push(0), 1), Error::Shape { .. }));
    assert!(matches!(refused(&|_, _| (), 0), Error::Value { .. }));
    for settings in [
        Settings { learning_rate: f64::NAN, ..Settings::ADAMW },
        Settings { weight_decay: -0.1, ..Settings::ADAMW },
        Settings { clip_norm: f64::INFINITY, ..Settings::LION },
        Settings { method: Method::Lion { beta1: 0.9, beta2: 1.0 }, ..Settings::LION },
        Settings { method: Method::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 0.0 }, ..Settings::ADAMW },
    ] {
        assert!(Optimizer::new(settings, &adapter).is_err(), "{settings:?}");
    }
}

#[test]
fn the_warm_up_is_linear() {
    let settings = Settings { learning_rate: 0.5, warmup_steps: 4, ..Settings::ADAMW };
    assert_eq!([1, 2, 3, 4, 5, 1000].map(|step| settings.learning_rate_at(step)), [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]);
    assert_eq!(Settings::ADAMW.learning_rate_at(1), 1e-4);
}
