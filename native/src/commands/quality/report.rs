//! What is said of the ways: each beside f64, which comes first.

use crate::output::{self, say};
use serde_json::json;

/// Of each matrix, row-major.
pub(super) type Gradients = Vec<Vec<f64>>;

/// One way to compute.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) gradients: Gradients,
    /// Held-out after the steps, nats a token.
    pub(super) loss: f64,
}

/// All of it.
pub(super) struct Report {
    /// Of the matrices.
    pub(super) names: Vec<String>,
    /// Held-out loss before the steps.
    pub(super) before: f64,
    pub(super) steps: usize,
    pub(super) sequences: usize,
    pub(super) rows: Vec<Row>,
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// 1 where both vanish.
fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let lengths = norm(x) * norm(y);
    if lengths == 0.0 { f64::from(u8::from(norm(x) == norm(y))) } else { dot(x, y) / lengths }
}

impl Report {
    /// Prints it, for people or as one JSON object.
    pub(super) fn tell(&self, as_json: bool) {
        let Some((first, others)) = self.rows.split_first() else { return };
        let all = |row: &Row| row.gradients.concat();
        let matrices =
            |row: &Row| -> Vec<f64> { row.gradients.iter().zip(&first.gradients).map(|(x, y)| cosine(x, y)).collect() };
        if as_json {
            let rows = others.iter().map(|row| {
                json!({
                    "way": row.name, "cosine": cosine(&all(row), &all(first)),
                    "norm_ratio": norm(&all(row)) / norm(&all(first)), "matrices": matrices(row),
                    "held_out_loss": row.loss, "loss_gap": row.loss - first.loss,
                })
            });
            output::line(json!({
                "steps": self.steps, "sequences": self.sequences, "held_out_loss_before": self.before,
                "held_out_loss_f64": first.loss, "matrices": self.names, "ways": rows.collect::<Vec<_>>(),
            }));
            return;
        }
        say!("gradients of {} sequences after {} steps, beside f64", self.sequences, self.steps);
        say!(
            "{:12} {:>10} {:>10} {:>10}  held-out loss, nats (before: {:.4})",
            "",
            "cosine",
            "worst",
            "norm",
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
        say!("cosine of each matrix");
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
    fn cosines_of_nothing_are_told_apart() {
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[2.0, 0.0]) - 0.5f64.sqrt()).abs() < 1e-12);
    }
}
