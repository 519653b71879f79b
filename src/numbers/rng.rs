//! Counter-based pseudo-random bits. They are used as the dither of stochastic rounding, and to generate models and
//! adapters from a seed.
//!
//! The generator is Threefry-2x32 with 13 rounds (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1,
//! 2, 3*, SC 2011), which needs only addition, xor and rotation.

use sha2::{Digest, Sha256};

/// Returns 64 pseudo-random bits, which are a function of a 64-bit key and a 64-bit counter.
///
/// The rounds are unrolled by hand, so that the compiler can vectorize loops over counters.
#[inline(always)]
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let mut state = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    state = four_rounds(state, [13, 15, 26, 6], [keys[1], keys[2].wrapping_add(1)]);
    state = four_rounds(state, [17, 29, 16, 24], [keys[2], keys[0].wrapping_add(2)]);
    state = four_rounds(state, [13, 15, 26, 6], [keys[0], keys[1].wrapping_add(3)]);
    round(state, 17)
}

#[inline(always)]
fn four_rounds(state: [u32; 2], rotations: [u32; 4], keys: [u32; 2]) -> [u32; 2] {
    let state = round(round(state, rotations[0]), rotations[1]);
    let [x, y] = round(round(state, rotations[2]), rotations[3]);
    [x.wrapping_add(keys[0]), y.wrapping_add(keys[1])]
}

#[inline(always)]
fn round([x, y]: [u32; 2], rotation: u32) -> [u32; 2] {
    let x = x.wrapping_add(y);
    [x, y.rotate_left(rotation) ^ x]
}

/// The stream of dither values (16-bit pseudo-random integers for stochastic rounding) for one tensor, in one step of
/// one task. The field is the key from which the values are derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dither(pub [u32; 2]);

impl Dither {
    /// Returns the 16-bit dither value of the element (`row`, `column`). One call of Threefry yields the dither values
    /// of four columns.
    #[inline(always)]
    pub fn at(self, row: u32, column: u32) -> u32 {
        let words = threefry(self.0, [row, column >> 2]);
        (words[(column >> 1 & 1) as usize] >> (16 * (column & 1))) & 0xffff
    }

    /// Returns the dither values of 32 consecutive columns of the row `row`. `first` is the first of these columns, and
    /// must be a multiple of 4.
    #[inline(always)]
    pub fn columns(self, row: u32, first: u32) -> [u32; 32] {
        let (mut low, mut high) = ([0; 8], [0; 8]);
        for at in 0..8 {
            [low[at], high[at]] = threefry(self.0, [row, (first >> 2) + at as u32]);
        }
        let mut dithers = [0; 32];
        for at in 0..8 {
            dithers[4 * at] = low[at] & 0xffff;
            dithers[4 * at + 1] = low[at] >> 16;
            dithers[4 * at + 2] = high[at] & 0xffff;
            dithers[4 * at + 3] = high[at] >> 16;
        }
        dithers
    }

    /// Returns the dither values of the column `column` in the 32 given rows.
    #[inline(always)]
    pub fn rows(self, rows: &[u32; 32], column: u32) -> [u32; 32] {
        let mut dithers = [0; 32];
        for at in 0..32 {
            let [low, high] = threefry(self.0, [rows[at], column >> 2]);
            let word = if column & 2 == 0 { low } else { high };
            dithers[at] = (word >> (16 * (column & 1))) & 0xffff;
        }
        dithers
    }
}

/// Returns the dither stream of a tensor at a step of a task. The key of the stream is the first 64 bits of
/// `SHA-256(task key ‖ step ‖ tensor name)`, where the step is a little-endian u64.
pub fn dither_key(task_key: &[u8; 32], step: u64, tensor: &str) -> Dither {
    let hash = Sha256::new().chain_update(task_key).chain_update(step.to_le_bytes()).chain_update(tensor).finalize();
    let word = |at: usize| u32::from_le_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
    Dither([word(0), word(4)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_dithers_are_as_one_by_one() {
        let dither = Dither([3, 5]);
        let rows = std::array::from_fn(|at| 7 * at as u32);
        for column in 0..8 {
            assert_eq!(dither.rows(&rows, column), rows.map(|row| dither.at(row, column)));
            assert_eq!(dither.columns(9, 4 * column), std::array::from_fn(|at| dither.at(9, 4 * column + at as u32)));
        }
    }

    /// Checks the generator against the known answers that Random123 publishes for 13 rounds.
    #[test]
    fn threefry_known_answers() {
        assert_eq!(threefry([0, 0], [0, 0]), [0x9d1c_5ec6, 0x8bd5_0731]);
        assert_eq!(threefry([!0, !0], [!0, !0]), [0xfd36_d048, 0x2d17_272c]);
        assert_eq!(threefry([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3]), [0xba3e_4725, 0xf27d_669e]);
    }
}
