//! The artifact encoding: the list of dispatches (kernel launches) that round the exact gradient of a chunk to the
//! integers of the artifact, and compute the gradient root, a hash that identifies the gradient. An executor runs the
//! list once for each chunk.

use crate::{
    compute::recording::{BufferContent, BufferId, Recording},
    dispute::judge::artifact_encoding::{OUTCOME_WORDS, block_digest, gradient_max, matrix_leaf, outcome, transport},
    protocol::{MatrixSpec, Transport},
    store::LEAF_BYTES,
};

/// The dispatches (kernel launches) of the artifact encoding, with the IDs of their input and output buffers. They
/// compute the gradient root of a chunk from its exact gradient.
pub struct ArtifactEncoding {
    /// The list of the dispatches (kernel launches). They are executed after the last sequence of the chunk.
    pub recording: Recording,
    /// Input: for each matrix, the buffer of its exact gradient, `[rows, columns]` i64. The order is that of the
    /// matrices in the job.
    pub gradients: Vec<BufferId>,
    /// Input: the buffer of the chunk's loss, an i64 in units of 2^-20 bits of information.
    pub loss: BufferId,
    /// Input: the buffer of the dither keys, two words for each matrix. The pseudorandom bits with which a matrix is
    /// rounded are derived from its key.
    pub keys: BufferId,
    /// Output: the buffer that holds the gradient root (eight words) and then the loss (two words).
    pub outcome: BufferId,
}

impl ArtifactEncoding {
    /// Records the dispatches (kernel launches) that encode the gradients of `matrices`. `transport` is the integer
    /// format to which the elements are rounded.
    pub fn new(matrices: &[MatrixSpec], transport: Transport) -> Self {
        let mut recording = Recording::default();
        let count = matrices.len();
        let keys = recording.buffer("transport keys", 2 * count, BufferContent::Persistent);
        let loss = recording.buffer("loss", 2, BufferContent::Persistent);
        let leaves = recording.scratch("leaves", 8 * count);
        let mut gradients = Vec::with_capacity(count);
        for (at, spec) in matrices.iter().enumerate() {
            let (name, elements) = (&spec.name, spec.len());
            let bytes = elements * transport.bytes();
            let gradient = recording.buffer(name, 2 * elements, BufferContent::Persistent);
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
