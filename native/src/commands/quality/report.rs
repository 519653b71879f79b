//! The report of the command `quality`. It compares gradients and losses computed in integers, f32 and bfloat16 with
//! those computed in f64.

use crate::output::{self, say};
use serde_json::json;

/// The gradient of each matrix of the adapter. Each inner list contains the values of one matrix in row-major order.
pub(super) type Gradients = Vec<Vec<f64>>;

/// The gradients that one of the compared methods computes, and the loss of the adapter that this method has trained.
pub(super) struct MethodResult {
    pub(super) name: &'static str,
    pub(super) gradients: Gradients,
    /// Mean loss on the held-out sequences after training, in nats per token.
    pub(super) loss: f64,
}

/// The results of all methods. The first method is f64, with which the report compares the other methods.
pub(super) struct QualityReport {
    /// Names of the adapter's matrices, in the same order as the gradients.
    pub(super) names: Vec<String>,
    /// Mean loss on the held-out sequences before training, in nats per token.
    pub(super) before: f64,
    pub(super) steps: usize,
    pub(super) sequences: usize,
    pub(super) rows: Vec<MethodResult>,
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// Returns the cosine of the angle between two vectors. It is defined as 1 if both vectors are zero, and as 0 if only
/// one vector is zero.
fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let lengths = norm(x) * norm(y);
    if lengths == 0.0 { f64::from(u8::from(norm(x) == norm(y))) } else { dot(x, y) / lengths }
}

impl QualityReport {
    /// Prints the report as text or as one JSON object.
    pub(super) fn print(&self, as_json: bool) {
        let Some((first, others)) = self.rows.split_first() else { return };
        let all = |row: &MethodResult| row.gradients.concat();
        let matrices = |row: &MethodResult| -> Vec<f64> {
            row.gradients.iter().zip(&first.gradients).map(|(x, y)| cosine(x, y)).collect()
        };
        if as_json {
            let rows = others.iter().map(|row| {
                json!({
                    "method": row.name, "cosine": cosine(&all(row), &all(first)),
                    "norm_ratio": norm(&all(row)) / norm(&all(first)), "matrices": matrices(row),
                    "held_out_loss": row.loss, "loss_gap": row.loss - first.loss,
                })
            });
            output::line(json!({
                "steps": self.steps, "sequences": self.sequences, "held_out_loss_before": self.before,
                "held_out_loss_f64": first.loss, "matrices": self.names, "methods": rows.collect::<Vec<_>>(),
            }));
            return;
        }
        say!(
            "gradients summed over {} sequences, after {} training steps, compared with f64",
            self.sequences,
            self.steps
        );
        say!(
            "{:12} {:>10} {:>10} {:>10}  held-out loss, nats per token (before training: {:.4})",
            "",
            "cosine",
            "min cosine",
            "norm ratio",
            self.before
        );
        say!("{:12} {:>10} {:>10} {:>10}  {:.4}", first.name, "", "", "", first.loss);
        for row in others {
            let worst = matrices(row).into_iter().fold(1.0, f64::min);
            let (cosine, ratio) = (cosine(&all(row), &all(first)), norm(&all(row)) / norm(&all(first)));
            let gap = row.loss - first.loss;
            say!("{:12} {cosine:10.6} {worst:10.6} {ratio:10.5}  {:.4} ({gap:+.4})", row.name, row.loss);
        }
        say!("");
        say!("cosine between the gradient of each matrix and its gradient in f64");
        let names = others.iter().map(|row| format!("{:>10}", row.name)).collect::<Vec<_>>().join(" ");
        say!("{:32} {names}", "");
        let columns: Vec<_> = others.iter().map(matrices).collect();
        for (at, name) in self.names.iter().enumerate() {
            let values = columns.iter().map(|column| format!("{:10.6}", column[at])).collect::<Vec<_>>().join(" ");
            say!("{name:32} {values}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_of_zero_vectors_is_defined() {
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[2.0, 0.0]) - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
