//! Decodes the formats Q4_K and Q6_K (k-quants) of GGUF files, with the same f32 operations as the functions
//! `dequantize_row_q4_K` and `dequantize_row_q6_K` of `ggml/src/ggml-quants.c` in llama.cpp. A block has 256 elements.

use crate::model::float_conversion::binary16;

/// The number of elements in a block.
pub(super) const BLOCK: usize = 256;
/// The size of a Q4_K block in bytes.
pub(super) const Q4_K_BYTES: usize = 144;
/// The size of a Q6_K block in bytes.
pub(super) const Q6_K_BYTES: usize = 210;

fn half(bytes: &[u8]) -> f32 {
    binary16(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// Decodes a row of Q4_K blocks. A block consists of two binary16 numbers d and m, 12 bytes with eight pairs of 6-bit
/// integers (scale and minimum), and 128 bytes with 4-bit integers. Each pair belongs to 32 elements: an element with
/// the integer q has the value `d · scale · q − m · minimum`.
pub(super) fn q4_k_row(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(Q4_K_BYTES).zip(out.chunks_exact_mut(BLOCK)) {
        let (d, m, packed) = (half(block), half(&block[2..]), &block[4..16]);
        let groups = block[16..].chunks_exact(32).flat_map(|bytes| [(bytes, 0), (bytes, 4)]);
        for (group, ((bytes, shift), out)) in groups.zip(out.chunks_exact_mut(32)).enumerate() {
            let (scale, minimum) = q4_k_scales(packed, group);
            let (scale, minimum) = (d * f32::from(scale), m * f32::from(minimum));
            out.iter_mut().zip(bytes).for_each(|(out, byte)| *out = scale * f32::from(byte >> shift & 15) - minimum);
        }
    }
}

/// Returns the scale and the minimum, two 6-bit integers, of a group of 32 elements in a Q4_K block. `packed` has 12
/// bytes. The integers of the first four groups are in the low 6 bits of the first eight bytes. The integers of the
/// last four groups have their low 4 bits in the last four bytes, and their high 2 bits in the high bits of the first
/// eight bytes.
fn q4_k_scales(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}

/// Decodes a row of Q6_K blocks. A block consists of 128 bytes with the low 4 bits of the elements, 64 bytes with their
/// high 2 bits, 16 signed scales of 8 bits, and a binary16 number d. Each scale belongs to 16 elements: an element with
/// the 6-bit integer q has the value `d · scale · (q − 32)`.
pub(super) fn q6_k_row(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in bytes.chunks_exact(Q6_K_BYTES).zip(out.chunks_exact_mut(BLOCK)) {
        let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], half(&block[208..]));
        for (at, out) in out.iter_mut().enumerate() {
            // each half of the block has 128 elements: four groups of 32, which share 32 bytes of high bits
            let (part, group, lane) = (at / 128, at / 32 % 4, at % 32);
            let low = low[64 * part + 32 * (group % 2) + lane] >> (4 * (group / 2)) & 15;
            let high = high[32 * part + lane] >> (2 * group) & 3;
            let scale = f32::from(scales[at / 16] as i8);
            *out = d * scale * f32::from((low | high << 4) as i8 - 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn values_are_those_of_the_package_gguf() {
        let file = SafeTensors::deserialize(include_bytes!("../../../tests/data/bitnet/k_quants.safetensors")).unwrap();
        for name in ["Q4_K", "Q6_K"] {
            let expected = file.tensor(&format!("{name}.values")).unwrap();
            let expected =
                expected.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<_>>();
            let mut found = vec![0.0; expected.len()];
            let decode = if name == "Q4_K" { q4_k_row } else { q6_k_row };
            decode(file.tensor(name).unwrap().data(), &mut found);
            assert_eq!(found, expected, "{name}");
        }
    }
}
