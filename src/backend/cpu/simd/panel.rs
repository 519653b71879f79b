//! A panel: codes unpacked for a few columns, `[steps, COLUMNS]` words of four contracted codes.
//!
//! A *step* is four contracted elements: one word of a row of bytes meets one word of each column.

/// Bytes of a panel: half of a 32 KiB first-level cache, the other half is for the rows.
const PANEL_BYTES: usize = 16384;

/// Sixteen words that share a cache line, so that no vector load straddles two.
#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Line([u32; 16]);

/// Memory of one panel.
pub(super) type Memory = [Line; PANEL_BYTES / 64];

/// An empty panel.
pub(super) const EMPTY: Memory = [Line([0; 16]); PANEL_BYTES / 64];

/// Steps of a panel of `columns`.
pub(super) const fn steps(columns: usize) -> usize {
    PANEL_BYTES / 4 / columns
}

/// Block words whose four columns each become one word of codes a step.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'a> {
    /// From the first step's first block on.
    pub(super) words: &'a [u32],
    /// Words from a block to the same columns' block one step later.
    pub(super) step_stride: usize,
    /// Words from a block to that of the next four columns.
    pub(super) column_stride: usize,
}

impl Blocks<'_> {
    /// Starts at another step and column (a multiple of 4).
    pub(super) fn from(self, step: usize, column: usize) -> Self {
        Self { words: &self.words[step * self.step_stride + column / 4 * self.column_stride..], ..self }
    }

    /// Fills a panel `[steps, COLUMNS]`; `orient` turns a block so that its rows are the columns
    /// here. Inlined into each level, whose vector instructions the compiler then uses.
    #[inline(always)]
    pub(super) fn unpack<const COLUMNS: usize>(self, orient: impl Fn(u32) -> u32, panel: &mut [u32]) {
        for (step, codes) in panel.chunks_exact_mut(COLUMNS).enumerate() {
            for (block, codes) in codes.chunks_exact_mut(4).enumerate() {
                let word = orient(self.words[step * self.step_stride + block * self.column_stride]);
                for (column, codes) in codes.iter_mut().enumerate() {
                    *codes = word >> (2 * column) & 0x0303_0303;
                }
            }
        }
    }
}
