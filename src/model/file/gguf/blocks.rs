//! Ternary tensors of GGUF.
//!
//! - `TQ1_0`, `TQ2_0`: ggml, `dequantize_row_tq1_0` and `dequantize_row_tq2_0` of `ggml/src/ggml-quants.c`. Blocks of 256
//!   weights with a half each that says what a trit is worth. A matrix has one scale here, so all blocks must say the
//!   same, but for those that say 0, which hold zeros.
//! - `i2_s`: bitnet.cpp, `quantize_i2_s` of `src/ggml-bitnet-mad.cpp` for x86 (`QK_I2_S` 128), whose layout the published
//!   files have. 128 weights are 32 bytes: weight j in byte j mod 32, at bit `6 − 2 · floor(j / 32)`. After all weights
//!   the binary32 that a trit is worth.
//!
//! Codes are trit + 1 in all of them.

use super::{StoredTensor, header};
use crate::{
    error::Error,
    model::file::tensor::half,
    numbers::{fixed::Scale, ternary::Ternary},
};

/// Weights of a TQ_BLOCK block.
const TQ_BLOCK: usize = 256;
/// Weights of an i2_s block.
const I2_S_BLOCK: usize = 128;

/// Codes of one block.
type UnpackBlock = fn(&[u8], &mut [u8]);

/// A linear `[rows, columns]`.
pub(super) fn linear(stored: &StoredTensor, rows: usize, columns: usize) -> Result<Ternary, Error> {
    let (block, bytes, unpack): (usize, usize, UnpackBlock) = match stored.number {
        header::TQ1_0 => (TQ_BLOCK, 54, tq1_0),
        header::TQ2_0 => (TQ_BLOCK, 66, tq2_0),
        header::I2_S => (I2_S_BLOCK, 32, i2_s),
        _ => return Err(stored.error("linears must be i2_s, TQ1_0 or TQ2_0")),
    };
    if !columns.is_multiple_of(block) {
        return Err(stored.error(format_args!("rows are not whole blocks of {block}")));
    }
    let size = rows * columns / block * bytes;
    let (data, worth) = if stored.number == header::I2_S {
        let (data, scale) = stored.bytes(size + 4)?.split_at(size);
        let worth = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        (data, worth)
    } else {
        let data = stored.bytes(size)?;
        (data, common_scale(stored, data, bytes)?)
    };
    let scale = Scale::from_f64(worth.into()).filter(|scale| scale.mantissa != 0);
    let scale = scale.ok_or_else(|| stored.error(format_args!("a scale of {worth}")))?;
    let row_bytes = columns / block * bytes;
    let has_scale = stored.number != header::I2_S;
    Ternary::from_codes(rows, columns, scale, |row, codes| {
        let blocks = data[row * row_bytes..][..row_bytes].chunks_exact(bytes);
        for (bytes, codes) in blocks.zip(codes.chunks_exact_mut(block)) {
            if has_scale && half_at_end(bytes) == 0.0 {
                codes.fill(1);
            } else {
                unpack(bytes, codes);
            }
        }
        Ok(())
    })
    .map_err(|error| stored.error(error))
}

/// The one scale of all blocks that have any.
fn common_scale(stored: &StoredTensor, data: &[u8], bytes: usize) -> Result<f32, Error> {
    let mut scales = data.chunks_exact(bytes).map(half_at_end).filter(|scale| *scale != 0.0);
    let first = scales.next().ok_or_else(|| stored.error("all blocks have the scale 0"))?;
    match scales.find(|scale| *scale != first) {
        None => Ok(first),
        Some(other) => {
            Err(stored.error(format_args!("blocks of scale {first} and {other}; one a matrix is supported")))
        }
    }
}

fn half_at_end(block: &[u8]) -> f32 {
    half([block[block.len() - 2], block[block.len() - 1]])
}

/// 48 bytes of five trits and 4 of four, base 3, the first in the highest digit of a fraction of 256.
fn tq1_0(block: &[u8], codes: &mut [u8]) {
    let digit = |byte: u8, power: u8| ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
    let mut codes = codes.iter_mut();
    for (bytes, powers) in
        [(&block[..32], &[1, 3, 9, 27, 81][..]), (&block[32..48], &[1, 3, 9, 27, 81]), (&block[48..52], &[1, 3, 9, 27])]
    {
        for power in powers {
            for (byte, code) in bytes.iter().zip(&mut codes) {
                *code = digit(*byte, *power);
            }
        }
    }
}

/// Two halves of 32 bytes, each four times 32 weights, the first in the low bits.
fn tq2_0(block: &[u8], codes: &mut [u8]) {
    for (bytes, codes) in block[..64].chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (i, codes) in codes.chunks_exact_mut(32).enumerate() {
            codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte >> (2 * i) & 3);
        }
    }
}

fn i2_s(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(32).enumerate() {
        codes.iter_mut().zip(block).for_each(|(code, byte)| *code = byte >> (6 - 2 * i) & 3);
    }
}
