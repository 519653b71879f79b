//! How a chunk's exact gradient becomes its artifact, as dispatches, so that a trace ends in what the artifact's CID covers.
//!
//! For each matrix: its largest magnitude, its bytes, the digests of their blocks, its leaf of the gradient root. Then the
//! root. These kernels have twins only: they run once a chunk.

pub mod block_digest;
pub mod gradient_max;
pub mod matrix_leaf;
pub mod outcome;
pub(super) mod tapes;
pub mod transport;

pub use outcome::OUTCOME_WORDS;

use crate::{
    kernels::Kernel,
    recording::{BufferId, Content, Recording},
    store::LEAF_BYTES,
    work::{MatrixSpec, Transport},
};

/// In the order of their use.
pub static KERNELS: &[&Kernel] =
    &[&gradient_max::KERNEL, &transport::KERNEL, &block_digest::KERNEL, &matrix_leaf::KERNEL, &outcome::KERNEL];

/// A recording from gradients to the gradient root.
pub struct Closing {
    /// The dispatches.
    pub recording: Recording,
    /// `[rows, columns]` i64 of every matrix, in the job's order.
    pub gradients: Vec<BufferId>,
    /// i64.
    pub loss: BufferId,
    /// `[matrices, 2]`: the keys of the transport streams.
    pub keys: BufferId,
    /// Gradient root, then loss.
    pub outcome: BufferId,
}

impl Closing {
    /// Records the rounding of `matrices` for transport.
    pub fn new(matrices: &[MatrixSpec], transport: Transport) -> Self {
        let mut recording = Recording::default();
        let count = matrices.len();
        let keys = recording.buffer("transport keys", 2 * count, Content::Kept);
        let loss = recording.buffer("loss", 2, Content::Kept);
        let leaves = recording.scratch("leaves", 8 * count);
        let mut gradients = Vec::with_capacity(count);
        for (at, spec) in matrices.iter().enumerate() {
            let (name, elements) = (&spec.name, spec.len());
            let bytes = elements * transport.bytes();
            let gradient = recording.buffer(name, 2 * elements, Content::Kept);
            let max = recording.scratch(format!("{name}.max"), 2);
            let params = gradient_max::Params { elements: elements as u32, ..Default::default() };
            recording.dispatch(format!("{name} max"), &gradient_max::KERNEL, params.words(), &[gradient, max]);

            let data = recording.scratch(format!("{name}.bytes"), bytes.div_ceil(4));
            let params = transport::Params {
                elements: elements as u32,
                columns: spec.columns,
                bytes: transport.bytes() as u32,
                matrix: at as u32,
                ..Default::default()
            };
            let buffers = [gradient, max, keys, data];
            recording.dispatch(format!("{name} transport"), &transport::KERNEL, params.words(), &buffers);

            let digests = recording.scratch(format!("{name}.digests"), 8 * bytes.div_ceil(LEAF_BYTES));
            let params = block_digest::Params { bytes: bytes as u32, ..Default::default() };
            recording.dispatch(format!("{name} blocks"), &block_digest::KERNEL, params.words(), &[data, digests]);

            let mut padded = name.clone().into_bytes();
            padded.resize(padded.len().next_multiple_of(4), 0);
            let words: Vec<u32> = padded.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
            let text = recording.constant(format!("{name}.name"), words);
            let params = matrix_leaf::Params {
                name_bytes: name.len() as u32,
                rows: spec.rows,
                columns: spec.columns,
                exponent: spec.exponent,
                bytes: transport.bytes() as u32,
                matrix: at as u32,
                matrices: count as u32,
                ..Default::default()
            };
            let buffers = [max, digests, text, leaves];
            recording.dispatch(format!("{name} leaf"), &matrix_leaf::KERNEL, params.words(), &buffers);
            gradients.push(gradient);
        }
        let outcome = recording.scratch("outcome", OUTCOME_WORDS);
        let params = outcome::Params { matrices: count as u32, ..Default::default() };
        recording.dispatch("outcome", &outcome::KERNEL, params.words(), &[leaves, loss, outcome]);
        Self { recording, gradients, loss, keys, outcome }
    }
}

/// The transport of elements of so many bytes.
fn of_bytes(bytes: u32) -> Transport {
    if bytes == 1 { Transport::Int8 } else { Transport::Int16 }
}

/// A hash as words, its bytes in order.
pub(super) fn hash_words(hash: &[u8; 32]) -> [u32; 8] {
    std::array::from_fn(|at| u32::from_le_bytes([hash[4 * at], hash[4 * at + 1], hash[4 * at + 2], hash[4 * at + 3]]))
}

/// A hash of eight words.
fn words_hash(words: &[u32]) -> [u8; 32] {
    std::array::from_fn(|at| words[at / 4].to_le_bytes()[at % 4])
}
