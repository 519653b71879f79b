//! A job is what all tasks of one training run share: the arithmetic, the model, and the matrices whose gradient is wanted.

use super::{
    error::{WorkError, in_range, plain_name},
    transport::Transport,
};
use crate::{numbers::lora::LoraAdapter, store::Cid};
use serde::{Deserialize, Serialize};

/// Largest magnitude of a gradient's exponent: keeps the square of its every value, and the sum of
/// 2^60 of them, inside f64.
pub const MAX_EXPONENT: i32 = 256;

/// Most matrices of one adapter.
pub const MAX_MATRICES: usize = 4096;
const MAX_COLUMNS: usize = 1 << 24;
const MAX_NAME_BYTES: usize = 64;

/// What is computed for a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The gradient of the summed loss at the adapter given.
    Gradient,
}

/// One matrix of the gradient, `[rows, columns]`, in units of `2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixSpec {
    /// `layers.<i>.<target>.a` or `.b`.
    pub name: String,
    /// The rank.
    pub rows: u32,
    /// Features: of the input for a, of the output for b.
    pub columns: u32,
    /// Of the accumulated gradient; fixed here so that gradients of different miners add up exactly.
    pub exponent: i32,
}

impl MatrixSpec {
    /// Elements.
    pub fn len(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    /// Never: ranks and features are at least 1.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For people and errors.
    pub(crate) fn describe(name: &str, rows: usize, columns: usize, exponent: i32) -> String {
        format!("{name} [{rows}, {columns}] · 2^{exponent}")
    }
}

impl std::fmt::Display for MatrixSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&Self::describe(&self.name, self.rows as usize, self.columns as usize, self.exponent))
    }
}

/// What all tasks of a run share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Which specification of the arithmetic.
    pub arithmetic_version: u32,
    /// The frozen backbone.
    pub model: Cid,
    /// 4..=64.
    pub rank: u32,
    /// The adapted linears of a layer in canonical order, e.g. `attention.q`.
    pub targets: Vec<String>,
    /// In canonical order: layer, then target, then a before b.
    pub matrices: Vec<MatrixSpec>,
    /// What is computed.
    pub kind: TaskKind,
    /// How gradients travel.
    pub transport: Transport,
}

impl Job {
    /// Every limit and the canonical order.
    pub fn validate(&self) -> Result<(), WorkError> {
        in_range("rank", self.rank.into(), 4, 64)?;
        in_range("number of targets", self.targets.len() as i64, 1, 64)?;
        in_range("number of matrices", self.matrices.len() as i64, 1, MAX_MATRICES as i64)?;
        for (at, target) in self.targets.iter().enumerate() {
            plain_name("target", target, MAX_NAME_BYTES / 2)?;
            if self.targets[..at].contains(target) {
                return Err(WorkError::Name { what: "target", name: target.clone(), problem: "occurs twice" });
            }
        }
        let mut last = None;
        for spec in &self.matrices {
            validate_shape(&spec.name, spec.rows as usize, spec.columns as usize, self.rank as usize)?;
            in_range("gradient exponent", spec.exponent.into(), -i64::from(MAX_EXPONENT), MAX_EXPONENT.into())?;
            let order_key = Some(self.order_key(&spec.name)?);
            if order_key <= last {
                let (what, name) = ("matrix", spec.name.clone());
                return Err(WorkError::Name { what, name, problem: "is not in canonical order" });
            }
            last = order_key;
        }
        Ok(())
    }

    /// That `adapter` has exactly the matrices of this job.
    pub fn check_adapter(&self, adapter: &LoraAdapter) -> Result<(), WorkError> {
        in_range(
            "matrices of the adapter",
            adapter.matrices.len() as i64,
            self.matrices.len() as i64,
            self.matrices.len() as i64,
        )?;
        in_range("rank of the adapter", adapter.rank as i64, self.rank.into(), self.rank.into())?;
        for (at, (spec, matrix)) in self.matrices.iter().zip(&adapter.matrices).enumerate() {
            spec.check(at, &matrix.name, matrix.rows, matrix.columns, spec.exponent)?;
        }
        Ok(())
    }

    /// (layer, target, 0 for a or 1 for b) of a matrix name.
    fn order_key(&self, name: &str) -> Result<(u32, usize, u8), WorkError> {
        let order_key = || {
            let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
            let (target, factor) = rest.rsplit_once('.')?;
            let number: u32 = layer.parse().ok().filter(|number: &u32| number.to_string() == layer)?;
            let target = self.targets.iter().position(|known| known == target)?;
            Some((number, target, ["a", "b"].iter().position(|known| *known == factor)? as u8))
        };
        let problem = "is not layers.<i>.<one of the targets>.<a or b>";
        order_key().ok_or_else(|| WorkError::Name { what: "matrix", name: name.to_owned(), problem })
    }
}

impl MatrixSpec {
    /// That the matrix found at order_key `at` is this one.
    pub(crate) fn check(
        &self,
        at: usize,
        name: &str,
        rows: usize,
        columns: usize,
        exponent: i32,
    ) -> Result<(), WorkError> {
        let same = self.name == name && self.exponent == exponent;
        if same && self.rows as usize == rows && self.columns as usize == columns {
            return Ok(());
        }
        Err(WorkError::Matrix { at, expected: self.to_string(), found: Self::describe(name, rows, columns, exponent) })
    }
}

/// Limits of any adapter matrix.
pub(crate) fn validate_shape(name: &str, rows: usize, columns: usize, rank: usize) -> Result<(), WorkError> {
    plain_name("matrix", name, MAX_NAME_BYTES)?;
    in_range("rows of a matrix", rows as i64, rank as i64, rank as i64)?;
    in_range("columns of a matrix", columns as i64, 1, MAX_COLUMNS as i64)
}
