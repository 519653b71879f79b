//! A gradient matrix, rounded to int8 or int16: an element g of the exact gradient becomes
//! `t = ⌊g / 2^shift + dither⌋`, where the dither is in [0, 1). Aggregation sums `t · 2^shift`.
//!
//! The shift is the smallest one for which `⌈max / 2^shift⌉` is within the limit of the format, where `max` is the
//! largest `|g|` of the matrix. It is therefore a function of the exact gradient. The dither is pseudo-random. It is a
//! function of the task key, the name `transport.<name of the matrix>`, and the element's row and column.

use super::{
    error::{ProtocolError, in_range},
    job::MatrixSpec,
    task::Task,
    transport::Transport,
};
use crate::numbers::{fixed::round_dither, lora::GradientMatrix, rng::dither_key};

/// The largest number of bits that the magnitude of a gradient element can have. If an element has more bits, the
/// artifact is void: it contains no gradient.
pub const MAX_GRADIENT_BITS: u32 = 54;

/// One gradient matrix, rounded for transport. An element is an integer times `2^(shift + exponent)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportMatrix {
    pub(super) spec: MatrixSpec,
    pub(super) shift: u32,
    pub(super) values: Vec<i16>,
}

impl TransportMatrix {
    /// Rounds a matrix of an exact gradient. Returns `None` if an element has more than [`MAX_GRADIENT_BITS`] bits.
    pub(super) fn round(task: &Task, spec: &MatrixSpec, gradient: &GradientMatrix) -> Option<Self> {
        let max = gradient.values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
        if max >= 1 << MAX_GRADIENT_BITS {
            return None;
        }
        let shift = task.job.transport.shift(max);
        let dither = dither_key(&task.key(), 0, &format!("transport.{}", spec.name));
        let mut values = Vec::with_capacity(spec.len());
        for (row, elements) in (0..).zip(gradient.values.chunks(gradient.columns)) {
            for (column, &element) in (0..).zip(elements) {
                values.push(round_dither(element, shift, dither.at(row, column)) as i16);
            }
        }
        Some(Self { spec: spec.clone(), shift, values })
    }

    /// Decodes a matrix from `bytes`, the joined contents of the leaves (data blocks) that store it. Returns an error
    /// if the number of bytes is wrong, if a value is outside the range of the format `transport`, or if
    /// [`round`](Self::round) would have used a smaller shift than `shift`.
    pub(super) fn from_bytes(
        transport: Transport,
        spec: &MatrixSpec,
        shift: u32,
        bytes: &[u8],
    ) -> Result<Self, ProtocolError> {
        let expected = (spec.len() * transport.bytes()) as i64;
        in_range("number of bytes in a gradient matrix", bytes.len() as i64, expected, expected)?;
        let values: Vec<i16> = match transport {
            Transport::Int8 => bytes.iter().map(|byte| i16::from(*byte as i8)).collect(),
            Transport::Int16 => bytes.as_chunks().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect(),
        };
        let max = values.iter().map(|value| u64::from(value.unsigned_abs())).max().unwrap_or(0);
        in_range("magnitude of a gradient element", max as i64, 0, transport.limit() as i64)?;
        // If a shift s is > 0, the largest |g| exceeded limit · 2^(s−1), so the largest |t| is at least ⌊limit / 2⌋.
        let plausible = shift == 0 || max >= transport.limit() / 2;
        if !plausible || shift > transport.shift((1 << MAX_GRADIENT_BITS) - 1) {
            return Err(ProtocolError::Shift { name: spec.name.clone(), max, shift });
        }
        Ok(Self { spec: spec.clone(), shift, values })
    }

    /// Returns the rounded integers as bytes, row by row. For storage, these bytes are split into leaves (data blocks).
    pub(super) fn to_bytes(&self, transport: Transport) -> Vec<u8> {
        match transport {
            Transport::Int8 => self.values.iter().map(|value| *value as u8).collect(),
            Transport::Int16 => self.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    /// Returns the name, shape and exponent of the matrix, as the job states them.
    pub fn spec(&self) -> &MatrixSpec {
        &self.spec
    }

    /// Returns the number of bits by which rounding shifted the exact gradient to the right.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// Returns the rounded integers `[rows, columns]`, row by row. They are within the limit of the transport format.
    pub fn values(&self) -> &[i16] {
        &self.values
    }

    /// Returns the matrix that is added to an aggregate. Each element is `t · 2^shift`, where `t` is the rounded
    /// integer. The unit of the elements is `2^exponent`, with the exponent that the job states for the matrix.
    pub fn dequantized(&self) -> GradientMatrix {
        GradientMatrix {
            name: self.spec.name.clone(),
            rows: self.spec.rows as usize,
            columns: self.spec.columns as usize,
            exponent: self.spec.exponent,
            values: self.values.iter().map(|value| i64::from(*value) << self.shift).collect(),
        }
    }
}
