//! A panel holds the unpacked codes of a few columns of a product, `[steps, columns]` words of four codes.
//!
//! A *step* is four elements of the axis that is summed over: one word of a row of bytes is multiplied by one word of
//! each column.

use crate::numbers::ternary::transpose_block;

/// Size of a panel in bytes: half of a first-level cache of 32 KiB, whose other half is for the rows.
const PANEL_BYTES: usize = 16384;

/// The 16 words of a cache line, aligned so that no vector load extends over two lines.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct CacheLine([u32; 16]);

/// Memory for a panel and for the blocks from which the panel is unpacked.
pub(super) struct Panel {
    codes: [CacheLine; PANEL_BYTES / 64],
    blocks: [u32; PANEL_BYTES / 16],
}

/// The axis of a matrix in [block words](crate::numbers::ternary) that a product sums over.
#[derive(Clone, Copy)]
pub(super) enum Contracted {
    /// The columns; the matrix's rows are the product's columns.
    Columns,
    /// The rows; the matrix's columns are the product's columns.
    Rows,
}

/// The part of a matrix that starts at a given step and column of the product.
#[derive(Clone, Copy)]
pub(super) struct MatrixBlocks<'a> {
    /// Block words of the part.
    pub(super) words: &'a [u32],
    /// The number of words from a block to the one below it.
    pub(super) stride: usize,
    /// The axis that the product sums over.
    pub(super) contracted: Contracted,
}

impl MatrixBlocks<'_> {
    /// Returns the part that starts at a step and a column, which is a multiple of 4.
    pub(super) fn from(self, step: usize, column: usize) -> Self {
        let block = match self.contracted {
            Contracted::Columns => column / 4 * self.stride + step,
            Contracted::Rows => step * self.stride + column / 4,
        };
        Self { words: &self.words[block..], ..self }
    }
}

impl Panel {
    /// Returns the number of steps that fit in a panel with this number of columns.
    pub(super) const fn steps(columns: usize) -> usize {
        PANEL_BYTES / 4 / columns
    }

    /// Returns an empty panel.
    pub(super) const fn new() -> Self {
        Self { codes: [CacheLine([0; 16]); PANEL_BYTES / 64], blocks: [0; PANEL_BYTES / 16] }
    }

    /// Returns the codes `[steps, columns]`.
    pub(super) fn codes(&self, steps: usize, columns: usize) -> &[u32] {
        &bytemuck::cast_slice(&self.codes)[..steps * columns]
    }

    /// Returns the codes `[steps, columns]`, for a level that stores them in another form of the same length.
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    pub(super) fn codes_mut(&mut self, steps: usize, columns: usize) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut(&mut self.codes)[..steps * columns]
    }

    /// Unpacks `steps` steps of `4 · BLOCKS` columns. It is inlined into each level, so that the compiler uses that
    /// level's vectors.
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

/// Returns the rows of a block, four codes each.
#[inline(always)]
fn codes_of(block: u32) -> [u32; 4] {
    [0, 2, 4, 6].map(|bit| block >> bit & 0x0303_0303)
}
