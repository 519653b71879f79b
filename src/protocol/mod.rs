//! The data that miners, nodes and verifiers exchange. This module does no I/O.
//!
//! A [`Task`] contains everything that determines a gradient. An [`Artifact`] contains the gradient, encoded in blocks.
//! A [`Commitment`] binds the gradient to the task. A [`Receipt`] contains the task, the CID of the artifact, and the
//! commitment. Anybody who has a receipt can [`verify`] the gradient.

mod adapter;
mod aggregate;
mod artifact;
pub(crate) mod attestation_leaf;
mod chunk;
mod commitment;
mod error;
mod job;
mod merkle;
mod parts;
mod receipt;
mod task;
mod transport;
mod transport_matrix;
mod upload_size;
mod verification;

pub use adapter::AdapterState;
pub use aggregate::Aggregate;
pub(crate) use artifact::matrix_entry;
pub use artifact::{Artifact, ArtifactBody, ArtifactClaim, Gradient, TransportGradient};
pub use attestation_leaf::attestation_leaf;
pub use chunk::{CHUNK_TOKENS, Chunk, cut_text};
pub use commitment::Commitment;
pub use error::ProtocolError;
#[cfg(feature = "compute")]
pub(crate) use error::in_range;
pub use job::{Job, MAX_EXPONENT, MAX_MATRICES, MatrixSpec, TaskKind};
pub use merkle::merkle_root;
pub use parts::parts;
pub use receipt::Receipt;
pub(crate) use task::MAX_MINER_BYTES;
pub use task::{Task, TaskTerms, task_key};
pub use transport::Transport;
pub use transport_matrix::{MAX_GRADIENT_BITS, TransportMatrix};
pub use upload_size::UploadSize;
pub use verification::{Mismatch, compare, open_receipt, verify};

#[cfg(test)]
pub(crate) mod tests;
