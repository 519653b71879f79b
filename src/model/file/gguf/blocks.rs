//! Reads the ternary tensors of GGUF files. Each of these tensors has one of three types.
//!
//! - `TQ1_0` and `TQ2_0` are defined by ggml, in the functions `dequantize_row_tq1_0` and `dequantize_row_tq2_0` of
//!   `ggml/src/ggml-quants.c`. A block has 256 weights and a scale in binary16 (half precision). In this program a
//!   matrix has only one scale, so all of its blocks must have the same scale. Blocks with the scale 0 are exempt:
//!   their weights are all 0.
//! - `i2_s` is defined by bitnet.cpp, in the function `quantize_i2_s` of `src/ggml-bitnet-mad.cpp`. The published files
//!   have the layout for x86 (`QK_I2_S` is 128), in which 128 weights take 32 bytes: weight j is in byte j mod 32, at
//!   bit `6 − 2 · floor(j / 32)`. The scale of the matrix follows after all weights, in binary32 (single precision).
//!
//! In all three types, a weight is stored as a code, which is the trit (−1, 0 or 1) plus 1.

use super::{stored_tensor::StoredTensor, types};
use crate::{
    error::Error,
    model::float_conversion::binary16,
    numbers::{fixed::Scale, ternary::Ternary},
};

/// The number of weights in one block of the type TQ1_0 or TQ2_0.
const TQ_BLOCK: usize = 256;
/// The number of weights in one block of the type i2_s.
const I2_S_BLOCK: usize = 128;

/// A function that unpacks the bytes of one block into the codes of its weights. A code is a trit plus 1.
type UnpackBlock = fn(&[u8], &mut [u8]);

/// Reads the ternary weights of a linear layer, `[rows, columns]`. Returns an error unless the tensor is of the type
/// i2_s, TQ1_0 or TQ2_0, its rows consist of whole blocks, its bytes are present, and its scale is positive.
pub(super) fn linear(stored: &StoredTensor, rows: usize, columns: usize) -> Result<Ternary, Error> {
    let (block, bytes, unpack): (usize, usize, UnpackBlock) = match stored.number {
        types::TQ1_0 => (TQ_BLOCK, 54, tq1_0),
        types::TQ2_0 => (TQ_BLOCK, 66, tq2_0),
        types::I2_S => (I2_S_BLOCK, 32, i2_s),
        _ => return Err(stored.error("the type of a linear layer must be i2_s, TQ1_0 or TQ2_0")),
    };
    if !columns.is_multiple_of(block) {
        return Err(stored.error(format_args!("the length of a row is not a multiple of the block size {block}")));
    }
    let size = rows * columns / block * bytes;
    let (data, value) = if stored.number == types::I2_S {
        let (data, scale) = stored.bytes(size + 4)?.split_at(size);
        let value = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        (data, value)
    } else {
        let data = stored.bytes(size)?;
        (data, common_scale(stored, data, bytes)?)
    };
    let scale = Scale::from_f64(value.into()).filter(|scale| scale.mantissa != 0);
    let scale = scale.ok_or_else(|| stored.error(format_args!("the scale {value} is not a positive number")))?;
    let row_bytes = columns / block * bytes;
    let has_scale = stored.number != types::I2_S;
    Ternary::from_codes(rows, columns, scale, |row, codes| {
        let blocks = data[row * row_bytes..][..row_bytes].chunks_exact(bytes);
        for (bytes, codes) in blocks.zip(codes.chunks_exact_mut(block)) {
            if has_scale && block_scale(bytes) == 0.0 {
                codes.fill(1);
            } else {
                unpack(bytes, codes);
            }
        }
        Ok(())
    })
    .map_err(|error| stored.error(error))
}

/// Returns the scale that all blocks of a matrix have in common. Blocks with the scale 0 are ignored. Returns an error
/// if two of the other blocks have different scales. `bytes` is the size of one block.
fn common_scale(stored: &StoredTensor, data: &[u8], bytes: usize) -> Result<f32, Error> {
    let mut scales = data.chunks_exact(bytes).map(block_scale).filter(|scale| *scale != 0.0);
    let first = scales.next().ok_or_else(|| stored.error("all blocks have the scale 0"))?;
    match scales.find(|scale| *scale != first) {
        None => Ok(first),
        Some(other) => Err(stored.error(format_args!(
            "the blocks have the scales {first} and {other}; only one scale for each matrix is supported"
        ))),
    }
}

fn block_scale(block: &[u8]) -> f32 {
    binary16(u16::from_le_bytes([block[block.len() - 2], block[block.len() - 1]]))
}

/// Unpacks a block of the type TQ1_0: 48 bytes with five trits each, then 4 bytes with four trits each. A byte divided
/// by 256 is a fraction whose first digits in base 3 are the codes of its trits, in order.
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

/// Unpacks a block of the type TQ2_0: two groups of 32 bytes. Each byte contains four weights, two bits each. The first
/// 32 weights of a group are in the lowest two bits of its bytes, the next 32 in the next two bits, and so on.
fn tq2_0(block: &[u8], codes: &mut [u8]) {
    for (bytes, codes) in block[..64].chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (i, codes) in codes.chunks_exact_mut(32).enumerate() {
            codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte >> (2 * i) & 3);
        }
    }
}

/// Unpacks a block of the type i2_s: 32 bytes with four weights each, two bits for a weight. The first 32 weights are
/// in the highest two bits of the bytes, the next 32 in the two bits below those, and so on.
fn i2_s(block: &[u8], codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(32).enumerate() {
        codes.iter_mut().zip(block).for_each(|(code, byte)| *code = byte >> (6 - 2 * i) & 3);
    }
}
