//! The job: the settings that all tasks of a training run have in common, such as the arithmetic version, the model,
//! and the matrices whose gradients are computed.

use super::{
    error::{ProtocolError, in_range, plain_name},
    transport::Transport,
};
use crate::{
    numbers::lora::{LoraAdapter, LoraMatrix},
    store::Cid,
};
use serde::{Deserialize, Serialize};

/// The largest magnitude of the exponent of a gradient. With this limit, the square of every gradient element, and the
/// sum of 2^60 such squares, are within the range of f64.
pub const MAX_EXPONENT: i32 = 256;

/// The largest number of matrices in an adapter.
pub const MAX_MATRICES: usize = 4096;
const MAX_COLUMNS: usize = 1 << 24;
const MAX_NAME_BYTES: usize = 64;

/// The kind of computation that a task requires. There is only one kind: to compute a gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The gradient of the summed loss of a chunk with respect to the parameters of a given adapter.
    Gradient,
}

/// The name, shape and exponent of one matrix of the gradient. The elements of this matrix are integers in units of
/// `2^exponent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatrixSpec {
    /// Name of the matrix: `layers.<i>.<target>.a` or `layers.<i>.<target>.b`, where `<i>` is the index of the decoder
    /// layer and `<target>` is the name of an adapted linear layer, such as `attention.q`.
    pub name: String,
    /// The number of rows, which is the LoRA rank.
    pub rows: u32,
    /// The number of columns. In a factor a, this is the number of the linear layer's input features; in a factor b,
    /// the number of its output features.
    pub columns: u32,
    /// The exponent of the gradient's elements. All miners use the same exponent, so that their gradients can be added
    /// exactly.
    pub exponent: i32,
}

impl MatrixSpec {
    /// Returns the spec of the gradient of a LoRA matrix: the name and shape of the matrix, and the given exponent.
    pub fn of(matrix: &LoraMatrix, exponent: i32) -> Self {
        Self { name: matrix.name.clone(), rows: matrix.rows as u32, columns: matrix.columns as u32, exponent }
    }

    /// Returns the number of elements, which is `rows · columns`.
    pub fn len(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    /// Returns whether the matrix has no elements, which is never true in a valid job.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name, shape and exponent of a matrix as text for messages.
    pub(crate) fn describe(name: &str, rows: usize, columns: usize, exponent: i32) -> String {
        format!("{name} [{rows}, {columns}] with the exponent {exponent}")
    }
}

impl std::fmt::Display for MatrixSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&Self::describe(&self.name, self.rows as usize, self.columns as usize, self.exponent))
    }
}

/// The settings that all tasks of a training run have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Version of the arithmetic that defines the bits of every gradient.
    pub arithmetic_version: u32,
    /// The model root: the CID of the manifest of the frozen backbone.
    pub model: Cid,
    /// The LoRA rank, which is in 4..=64.
    pub rank: u32,
    /// Names of the adapted linear layers in a decoder layer, such as `attention.q`, in canonical order.
    pub targets: Vec<String>,
    /// The matrices of the adapter, in canonical order: by decoder layer, then by target (adapted linear layer), and
    /// then the factor a before the factor b.
    pub matrices: Vec<MatrixSpec>,
    /// The kind of computation that each task of the job requires.
    pub kind: TaskKind,
    /// The integer format in which the elements of gradients are sent.
    pub transport: Transport,
}

impl Job {
    /// Returns an error unless every value of the job is within its limits and the matrices are in canonical order.
    pub fn validate(&self) -> Result<(), ProtocolError> {
        in_range("rank", self.rank.into(), 4, 64)?;
        in_range("number of targets", self.targets.len() as i64, 1, 64)?;
        in_range("number of matrices", self.matrices.len() as i64, 1, MAX_MATRICES as i64)?;
        for (at, target) in self.targets.iter().enumerate() {
            plain_name("target", target, MAX_NAME_BYTES / 2)?;
            if self.targets[..at].contains(target) {
                return Err(ProtocolError::Name { what: "target", name: target.clone(), problem: "occurs twice" });
            }
        }
        let mut last = None;
        for spec in &self.matrices {
            validate_shape(&spec.name, spec.rows as usize, spec.columns as usize, self.rank as usize)?;
            in_range("gradient exponent", spec.exponent.into(), -i64::from(MAX_EXPONENT), MAX_EXPONENT.into())?;
            let order_key = Some(self.order_key(&spec.name)?);
            if order_key <= last {
                let (what, name) = ("matrix", spec.name.clone());
                return Err(ProtocolError::Name { what, name, problem: "is not in canonical order" });
            }
            last = order_key;
        }
        Ok(())
    }

    /// Returns an error unless `adapter` has exactly the matrices of this job, in the same order.
    pub fn check_adapter(&self, adapter: &LoraAdapter) -> Result<(), ProtocolError> {
        in_range(
            "number of matrices in the adapter",
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

    /// Returns the key by which the names of matrices are sorted into canonical order: (index of the decoder layer,
    /// index of the target, 0 for the factor a or 1 for b). A target is a linear layer that the job adapts. Returns an
    /// error if the name is not of the form `layers.<i>.<target>.a` or `layers.<i>.<target>.b` with a target of this
    /// job.
    fn order_key(&self, name: &str) -> Result<(u32, usize, u8), ProtocolError> {
        let order_key = || {
            let (layer, rest) = name.strip_prefix("layers.")?.split_once('.')?;
            let (target, factor) = rest.rsplit_once('.')?;
            let number: u32 = layer.parse().ok().filter(|number: &u32| number.to_string() == layer)?;
            let target = self.targets.iter().position(|known| known == target)?;
            Some((number, target, ["a", "b"].iter().position(|known| *known == factor)? as u8))
        };
        let problem = "is not layers.<i>.<one of the targets>.<a or b>";
        order_key().ok_or_else(|| ProtocolError::Name { what: "matrix", name: name.to_owned(), problem })
    }
}

impl MatrixSpec {
    /// Returns an error unless a matrix with the given name, shape and exponent matches this spec. The error states
    /// `at`, the index of the matrix in canonical order.
    pub(crate) fn check(
        &self,
        at: usize,
        name: &str,
        rows: usize,
        columns: usize,
        exponent: i32,
    ) -> Result<(), ProtocolError> {
        let same = self.name == name && self.exponent == exponent;
        if same && self.rows as usize == rows && self.columns as usize == columns {
            return Ok(());
        }
        Err(ProtocolError::Matrix {
            at,
            expected: self.to_string(),
            found: Self::describe(name, rows, columns, exponent),
        })
    }
}

/// Returns an error unless an adapter matrix has a valid name, `rank` rows, and 1 to 2^24 columns.
pub(crate) fn validate_shape(name: &str, rows: usize, columns: usize, rank: usize) -> Result<(), ProtocolError> {
    plain_name("matrix", name, MAX_NAME_BYTES)?;
    in_range("number of rows in a matrix", rows as i64, rank as i64, rank as i64)?;
    in_range("number of columns in a matrix", columns as i64, 1, MAX_COLUMNS as i64)
}
