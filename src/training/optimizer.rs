//! The optimizer, which updates the parameters of an adapter:
//! `adapter' = adapter − learning_rate · update(gradient, moments)`. It always runs on the CPU.
//!
//! Every platform computes the same bits, because the optimizer uses only the IEEE operations `+ − × ÷ √` on f64
//! values, in a fixed order, and rounds each result once, to f32 or to Q3.28. It uses no fused operations, powers or
//! exponentials.

mod settings;
mod state;

pub use settings::{Method, Settings};

use crate::{
    error::Error,
    numbers::{
        fixed::power_of_two_f64,
        lora::{GradientMatrix, LoraAdapter, LoraMatrix, MASTER_FRACTION_BITS},
    },
    protocol::MAX_EXPONENT,
};

/// Statistics of one optimizer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The Euclidean norm of the mean gradient, over all matrices and before clipping.
    pub gradient_norm: f64,
    /// Whether the norm of the gradient exceeded the clipping norm, so that the gradient was scaled down.
    pub clipped: bool,
    /// The learning rate with which this step was taken.
    pub learning_rate: f64,
    /// The number of parameters that left the range ±(8 − 2^-28) in this step and were clamped to it.
    pub saturated: u64,
}

/// An optimizer: its settings, and the state that it keeps from one step to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    settings: Settings,
    step: u64,
    /// The products `beta1^step` and `beta2^step`, which AdamW uses for bias correction. Each step multiplies the first
    /// product by `beta1` and the second by `beta2`.
    beta_products: [f64; 2],
    moments: Vec<Moments>,
}

/// The moments that the optimizer keeps for one matrix of the adapter.
#[derive(Clone, Debug, PartialEq)]
struct Moments {
    name: String,
    rows: usize,
    columns: usize,
    /// The exponentially decaying mean of the gradient, `[rows, columns]`.
    first: Vec<f32>,
    /// The exponentially decaying mean of the squared gradient, `[rows, columns]`. Its elements are at least 0. It is
    /// empty for Lion.
    second: Vec<f32>,
}

/// The largest length of the name of a matrix, in bytes.
const MAX_NAME_BYTES: usize = 256;

impl Moments {
    fn zero(matrix: &LoraMatrix, method: Method) -> Result<Self, Error> {
        let LoraMatrix { name, rows, columns, values } = matrix;
        if name.len() > MAX_NAME_BYTES {
            return Err(Error::Value { what: "length of a matrix's name", value: name.len() as i64 });
        }
        if rows.checked_mul(*columns) != Some(values.len()) {
            let expected = rows.saturating_mul(*columns);
            return Err(Error::Shape { what: "values of an adapter's matrix", expected, found: values.len() });
        }
        let second = if method.has_second_moment() { values.len() } else { 0 };
        let [first, second] = [values.len(), second].map(|length| vec![0.0; length]);
        Ok(Self { name: name.clone(), rows: *rows, columns: *columns, first, second })
    }
}

impl Optimizer {
    /// Returns a new optimizer for `adapter`. It has taken no steps, and all of its moments are 0.
    pub fn new(settings: Settings, adapter: &LoraAdapter) -> Result<Self, Error> {
        settings.check()?;
        let moments = adapter.matrices.iter().map(|matrix| Moments::zero(matrix, settings.method));
        let moments = moments.collect::<Result<_, _>>()?;
        Ok(Self { settings, step: 0, beta_products: [1.0; 2], moments })
    }

    /// Returns the number of steps that this optimizer has taken, including those before it was stored and loaded.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Returns the settings with which this optimizer was created.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Updates `adapter` by one step, which is computed from the mean gradient. Returns statistics of the step.
    ///
    /// `gradients` contains one gradient for each matrix of the adapter, in the adapter's order. The mean gradient of a
    /// matrix is `values · 2^exponent / supervised_tokens`, with the values and the exponent of its gradient;
    /// `supervised_tokens` is the number of tokens that have a label. If an error is returned, neither the adapter nor
    /// the optimizer has changed.
    pub fn step(
        &mut self,
        adapter: &mut LoraAdapter,
        gradients: &[GradientMatrix],
        supervised_tokens: u64,
    ) -> Result<StepReport, Error> {
        self.check(adapter, gradients)?;
        if supervised_tokens == 0 {
            return Err(Error::Value { what: "supervised tokens of a step", value: 0 });
        }
        let tokens = supervised_tokens as f64;
        let gradient_norm = norm(gradients, tokens);
        let clipped = gradient_norm > self.settings.clip_norm;
        let factor = if clipped { self.settings.clip_norm / gradient_norm } else { 1.0 };

        self.step += 1;
        let learning_rate = self.settings.learning_rate_at(self.step);
        let [beta1, beta2] = self.settings.method.betas();
        self.beta_products[0] *= beta1;
        self.beta_products[1] *= beta2;
        let rule = UpdateRule { settings: self.settings, learning_rate, beta_products: self.beta_products };

        let mut saturated = 0;
        for ((matrix, gradient), moments) in adapter.matrices.iter_mut().zip(gradients).zip(&mut self.moments) {
            let scale = power_of_two_f64(gradient.exponent);
            let (mut second, mut unused) = (moments.second.iter_mut(), 0.0);
            let rest = gradient.values.iter().zip(&mut moments.first);
            for (master, (value, first)) in matrix.values.iter_mut().zip(rest) {
                let mean = *value as f64 * scale / tokens * factor;
                let second = second.next().unwrap_or(&mut unused);
                let next = rule.apply(from_master(*master), mean, first, second);
                let (rounded, out_of_range) = to_master(next);
                *master = rounded;
                saturated += u64::from(out_of_range);
            }
        }
        Ok(StepReport { gradient_norm, clipped, learning_rate, saturated })
    }

    fn check(&self, adapter: &LoraAdapter, gradients: &[GradientMatrix]) -> Result<(), Error> {
        let of_adapter = adapter.matrices.iter().map(|m| (&m.name, m.rows, m.columns, m.values.len()));
        let of_gradients = gradients.iter().map(|m| (&m.name, m.rows, m.columns, m.values.len()));
        same_matrices("matrices of the adapter to step", &self.moments, of_adapter)?;
        same_matrices("matrices of the gradient", &self.moments, of_gradients)?;
        let out = gradients.iter().find(|matrix| matrix.exponent.unsigned_abs() > MAX_EXPONENT as u32);
        out.map_or(Ok(()), |matrix| {
            Err(Error::Value { what: "exponent of a gradient", value: i64::from(matrix.exponent) })
        })
    }
}

fn same_matrices<'a>(
    what: &'static str,
    expected: &[Moments],
    found: impl ExactSizeIterator<Item = (&'a String, usize, usize, usize)>,
) -> Result<(), Error> {
    if found.len() != expected.len() {
        return Err(Error::Shape { what, expected: expected.len(), found: found.len() });
    }
    for (moments, (name, rows, columns, elements)) in expected.iter().zip(found) {
        if (&moments.name, moments.rows, moments.columns) != (name, rows, columns) {
            let text = |name: &str, rows, columns| format!("{name} [{rows}, {columns}]");
            let expected = text(&moments.name, moments.rows, moments.columns);
            return Err(Error::Mismatch { what, expected, found: text(name, rows, columns) });
        }
        if elements != moments.first.len() {
            return Err(Error::Shape { what, expected: moments.first.len(), found: elements });
        }
    }
    Ok(())
}

/// Returns the Euclidean norm of the mean gradient, which is the sum `gradients` divided by `tokens`. The squares are
/// added in a fixed order: matrix by matrix, and row by row.
fn norm(gradients: &[GradientMatrix], tokens: f64) -> f64 {
    let mut sum = 0.0;
    for matrix in gradients {
        let scale = power_of_two_f64(matrix.exponent);
        for value in &matrix.values {
            let mean = *value as f64 * scale / tokens;
            sum += mean * mean;
        }
    }
    sum.sqrt()
}

/// The rule by which one step updates each parameter.
struct UpdateRule {
    settings: Settings,
    learning_rate: f64,
    beta_products: [f64; 2],
}

impl UpdateRule {
    /// Returns the next value of `parameter`, and updates the moments `first` and `second`. The new moments are rounded
    /// to f32 only when they are stored: AdamW computes the update from their unrounded values.
    fn apply(&self, parameter: f64, gradient: f64, first: &mut f32, second: &mut f32) -> f64 {
        let decayed = parameter * (1.0 - self.learning_rate * self.settings.weight_decay);
        match self.settings.method {
            Method::AdamW { beta1, beta2, epsilon } => {
                let mean = beta1 * f64::from(*first) + (1.0 - beta1) * gradient;
                let square = beta2 * f64::from(*second) + (1.0 - beta2) * (gradient * gradient);
                (*first, *second) = (mean as f32, square as f32);
                let unbiased_mean = mean / (1.0 - self.beta_products[0]);
                let unbiased_square = square / (1.0 - self.beta_products[1]);
                decayed - self.learning_rate * (unbiased_mean / (unbiased_square.sqrt() + epsilon))
            }
            Method::Lion { beta1, beta2 } => {
                let direction = beta1 * f64::from(*first) + (1.0 - beta1) * gradient;
                *first = (beta2 * f64::from(*first) + (1.0 - beta2) * gradient) as f32;
                decayed - self.learning_rate * sign(direction)
            }
        }
    }
}

/// Returns the sign of a number: −1, 0 or 1. The sign of 0.0 and of −0.0 is 0, unlike that of `f64::signum`.
fn sign(value: f64) -> f64 {
    f64::from(i8::from(value > 0.0) - i8::from(value < 0.0))
}

fn from_master(master: i32) -> f64 {
    f64::from(master) * power_of_two_f64(-(MASTER_FRACTION_BITS as i32))
}

/// Converts a parameter to Q3.28: clamps it to ±(8 − 2^-28), and rounds it to nearest, ties to even. Also returns
/// whether clamping changed the value.
fn to_master(value: f64) -> (i32, bool) {
    /// A constant that rounds a number to an integer, ties to even, if it is first added to the number and then
    /// subtracted from the sum. The magnitude of the number can be up to 2^51.
    const WHOLE: f64 = (3u64 << 51) as f64;
    let limit = f64::from(i32::MAX);
    let scaled = value * power_of_two_f64(MASTER_FRACTION_BITS as i32);
    let clamped = scaled.clamp(-limit, limit);
    (((clamped + WHOLE) - WHOLE) as i32, clamped != scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn master_parameters_round_ties_to_even_and_are_clamped() {
        let ulp = power_of_two_f64(-28);
        for (units, rounded) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (-2.5, -2), (2.500001, 3)] {
            assert_eq!(to_master(units * ulp), (rounded, false), "{units} units");
        }
        for master in [i32::MAX, -i32::MAX, 12_345, -1, 0] {
            assert_eq!(to_master(from_master(master)), (master, false));
        }
        assert_eq!(to_master(8.0), (i32::MAX, true));
        assert_eq!(to_master(f64::NEG_INFINITY), (-i32::MAX, true));
    }

    #[test]
    fn sign_of_zero_is_zero() {
        assert_eq!([-2.0, -0.0, 0.0, 1e-300].map(sign), [-1.0, 0.0, 0.0, 1.0]);
    }
}
