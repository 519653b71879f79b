//! The recording of the artifact encoding, which an executor runs once per chunk.

use crate::{
    compute::recording::{BufferContent, BufferId, Recording},
    dispute::judge::artifact_encoding::{OUTCOME_WORDS, block_digest, gradient_max, matrix_leaf, outcome, transport},
    protocol::{MatrixSpec, Transport},
    store::LEAF_BYTES,
};

/// The recording from the gradients to the gradient root, and its buffers.
pub struct ArtifactEncoding {
    /// The recording, whose dispatches follow the last run of a task.
    pub recording: Recording,
    /// The gradient of each matrix in the job's order, `[rows, columns]` i64.
    pub gradients: Vec<BufferId>,
    /// The loss, an i64.
    pub loss: BufferId,
    /// The keys of the dither streams that round the matrices for transport, `[matrices, 2]`.
    pub keys: BufferId,
    /// The outcome: the gradient root, then the loss.
    pub outcome: BufferId,
}

impl ArtifactEncoding {
    /// Records the artifact encoding of `matrices`.
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
