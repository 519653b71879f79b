//! Counter-based random bits: the dither of stochastic rounding and the seeded default backbone.
//!
//! Threefry-2x32 with 13 rounds (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy
//! as 1, 2, 3*, SC 2011), chosen because it needs only add, xor and rotate.

use sha2::{Digest, Sha256};

const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// 64 bits from a 64-bit key and a 64-bit counter.
#[inline(always)]
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let [mut x, mut y] = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for round in 0..13 {
        x = x.wrapping_add(y);
        y = y.rotate_left(ROTATIONS[round % 8]) ^ x;
        if round % 4 == 3 {
            let group = round / 4 + 1;
            x = x.wrapping_add(keys[group % 3]);
            y = y.wrapping_add(keys[(group + 1) % 3]).wrapping_add(group as u32);
        }
    }
    [x, y]
}

/// A source of 16-bit dithers for one tensor of one step of one miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dither(pub [u32; 2]);

impl Dither {
    /// The 16-bit dither of element (`row`, `column`): four columns share one Threefry call.
    #[inline(always)]
    pub fn at(self, row: u32, column: u32) -> u32 {
        let words = threefry(self.0, [row, column >> 2]);
        (words[(column >> 1 & 1) as usize] >> (16 * (column & 1))) & 0xffff
    }
}

/// Key of the dither stream named `tensor` at `step` under a 32-byte task key: the first 64 bits of
/// `SHA-256(task key ‖ step as u64 LE ‖ tensor name)`.
pub fn dither_key(task_key: &[u8; 32], step: u64, tensor: &str) -> Dither {
    let hash = Sha256::new().chain_update(task_key).chain_update(step.to_le_bytes()).chain_update(tensor).finalize();
    let word = |at: usize| u32::from_le_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
    Dither([word(0), word(4)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 for 13 rounds.
    #[test]
    fn threefry_known_answers() {
        assert_eq!(threefry([0, 0], [0, 0]), [0x9d1c_5ec6, 0x8bd5_0731]);
        assert_eq!(threefry([!0, !0], [!0, !0]), [0xfd36_d048, 0x2d17_272c]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xba3e_4725, 0xf27d_669e]);
    }
}
