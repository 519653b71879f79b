//! A panel is a part of a ternary matrix, unpacked so that int8 rows can be multiplied by it. Its shape is `[steps,
//! columns]`: for a few columns of the product (the result of the multiplication), it contains codes (trits plus 1),
//! four codes in each word.
//!
//! Each element of the product is a sum over one axis of the matrix. A *step* covers four neighboring elements of this
//! axis. In one step, one word of a row (four bytes) is multiplied by one word of each column (four codes).

use crate::numbers::ternary::transpose_block;

/// Size of a panel (an unpacked part of a ternary matrix) in bytes. It is half of a first-level cache of 32 KiB. The
/// other half is left for the rows by which the panel is multiplied.
const PANEL_BYTES: usize = 16384;

/// The 16 words of a cache line. They are aligned, so that no vector load reads from two cache lines.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct CacheLine([u32; 16]);

/// The memory of a panel (an unpacked part of a ternary matrix), and of the packed 4×4 blocks from which the panel is
/// unpacked.
pub(super) struct Panel {
    codes: [CacheLine; PANEL_BYTES / 64],
    blocks: [u32; PANEL_BYTES / 16],
}

/// The axis of a ternary matrix over which a matrix product sums. The matrix is stored in
/// [blocks](crate::numbers::ternary) of 4×4 trits, one word each.
#[derive(Clone, Copy)]
pub(super) enum Contracted {
    /// The product is a sum over the columns of the matrix. The rows of the matrix become the columns of the result.
    Columns,
    /// The product is a sum over the rows of the matrix. The columns of the matrix become the columns of the result.
    Rows,
}

/// A ternary matrix in 4×4 blocks, or a part of it. The part begins at a given column of the product and at a given
/// step (four neighboring elements of the summed axis).
#[derive(Clone, Copy)]
pub(super) struct MatrixBlocks<'a> {
    /// The 4×4 blocks of the matrix, one word each, from the block at which the part begins to the last block of the
    /// matrix.
    pub(super) words: &'a [u32],
    /// The number of words from a block to the block below it, which is the number of blocks in a row of blocks.
    pub(super) stride: usize,
    /// The axis of the matrix over which the product sums.
    pub(super) contracted: Contracted,
}

impl MatrixBlocks<'_> {
    /// Returns the part of the matrix that begins at the given column of the product and at element `4 * step` of the
    /// summed axis. `column` must be a multiple of 4.
    pub(super) fn from(self, step: usize, column: usize) -> Self {
        let block = match self.contracted {
            Contracted::Columns => column / 4 * self.stride + step,
            Contracted::Rows => step * self.stride + column / 4,
        };
        Self { words: &self.words[block..], ..self }
    }
}

impl Panel {
    /// Returns the number of steps (of four elements each) for which a panel (an unpacked part of a ternary matrix) of
    /// this many columns has room.
    pub(super) const fn steps(columns: usize) -> usize {
        PANEL_BYTES / 4 / columns
    }

    /// Creates a panel whose memory is all zeros.
    pub(super) const fn new() -> Self {
        Self { codes: [CacheLine([0; 16]); PANEL_BYTES / 64], blocks: [0; PANEL_BYTES / 16] }
    }

    /// Returns the words of the panel (the unpacked part of a ternary matrix), `[steps, columns]`. Each word contains
    /// four codes (trits plus 1).
    pub(super) fn codes(&self, steps: usize, columns: usize) -> &[u32] {
        &bytemuck::cast_slice(&self.codes)[..steps * columns]
    }

    /// Returns mutable access to the words of the panel (the unpacked part of a ternary matrix), `[steps, columns]`.
    /// The implementation for simd128 replaces the codes (trits plus 1) by pairs of trits, which take up the same
    /// space.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub(super) fn codes_mut(&mut self, steps: usize, columns: usize) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut(&mut self.codes)[..steps * columns]
    }

    /// Unpacks a part of the ternary matrix `from` into the panel: the first `4 · BLOCKS` columns, and the first `4 ·
    /// steps` elements of each. This function is inlined into the code for each level (instruction set), so that the
    /// compiler uses the vector instructions of that level.
    #[inline(always)]
    pub(super) fn unpack<const BLOCKS: usize>(&mut self, steps: usize, from: MatrixBlocks<'_>) {
        let (blocks, _) = self.blocks.as_chunks_mut::<BLOCKS>();
        let blocks = &mut blocks[..steps];
        match from.contracted {
            Contracted::Columns => {
                let rows: [_; BLOCKS] = std::array::from_fn(|block| &from.words[block * from.stride..][..steps]);
                blocks.iter_mut().enumerate().for_each(|(step, blocks)| *blocks = rows.map(|row| row[step]));
            }
            Contracted::Rows => {
                let words = from.words.chunks(from.stride);
                blocks.iter_mut().zip(words).for_each(|(blocks, words)| blocks.copy_from_slice(&words[..BLOCKS]));
                let blocks = blocks.as_flattened_mut();
                blocks.iter_mut().for_each(|block| *block = transpose_block(*block));
            }
        }
        let (codes, _) = bytemuck::cast_slice_mut(&mut self.codes).as_chunks_mut::<4>();
        codes.iter_mut().zip(blocks.as_flattened()).for_each(|(codes, block)| *codes = codes_of(*block));
    }
}

/// Returns the four rows of a 4×4 block of a ternary matrix, each as a word of four codes (trits plus 1).
#[inline(always)]
fn codes_of(block: u32) -> [u32; 4] {
    [0, 2, 4, 6].map(|bit| block >> bit & 0x0303_0303)
}
