//! Traces. A trace has one leaf for every dispatch of a task, with the tensor roots (Merkle roots) of the buffers that
//! the dispatch wrote. The leaves of each run follow those of the previous run.
//!
//! A tensor root is computed from all words that the buffer holds after the dispatch. Words that no dispatch of the run
//! has written are 0.

use super::{
    artifact_encoding::hash_words,
    tensor::tensor_root,
    tree::{self, Hash},
};
use crate::{
    protocol::{Artifact, ArtifactBody, ArtifactClaim, CHUNK_TOKENS},
    store::dag_cbor,
};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/trace-leaf/1";

/// The largest number of buffers that a dispatch writes.
pub(in crate::dispute) const MAX_SLOTS: usize = 4;

/// A leaf of a trace: the hashes of what one dispatch wrote, and the saturation flag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceLeaf {
    /// Tensor roots of the buffers that the dispatch wrote, in binding order.
    pub roots: Vec<Hash>,
    /// The saturation flag: whether a value has left its range in this dispatch or an earlier one.
    pub saturated: bool,
}

impl TraceLeaf {
    /// Returns the hash of the leaf in the trace's Merkle tree.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }
}

/// The complete trace of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// One leaf for each dispatch, in the order of execution.
    pub leaves: Vec<TraceLeaf>,
}

impl Trace {
    /// Returns the hashes of the leaves.
    pub fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(TraceLeaf::hash).collect()
    }

    /// Returns the trace root, which is the Merkle root over the leaves.
    pub fn root(&self) -> Hash {
        tree::root(&self.hashes())
    }
}

/// The outcome that an artifact claims for its task. It does not include the number of supervised tokens (tokens that
/// enter the loss), which follows from the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskOutcome {
    /// A value left its range, so the task has no gradient.
    Void,
    /// The task has a gradient.
    Gradient {
        /// Gradient root: the Merkle root over the matrices of the gradient, as [`Artifact::gradient_root`] returns it.
        root: Hash,
        /// Loss, summed over the tokens of the chunk, in units of 2^-20 bits of information.
        loss: i64,
    },
}

impl TaskOutcome {
    /// Returns the outcome that an artifact claims.
    pub fn from_artifact(artifact: &Artifact) -> Self {
        match artifact.body() {
            ArtifactBody::Void => Self::Void,
            ArtifactBody::Gradient(gradient) => {
                Self::Gradient { root: Hash(artifact.gradient_root()), loss: gradient.loss }
            }
        }
    }

    /// Returns the outcome that the manifest of an artifact claims. Every chunk has 2047 supervised tokens (tokens that
    /// enter the loss). Returns `None` if the manifest states a gradient with a different number of supervised tokens.
    pub fn from_claim(claim: &ArtifactClaim) -> Option<Self> {
        match claim.loss_and_tokens {
            None => Some(Self::Void),
            // every token of a chunk except the last one has a label, its successor
            Some((loss, tokens)) if tokens as usize == CHUNK_TOKENS - 1 => {
                Some(Self::Gradient { root: Hash(claim.gradient_root), loss })
            }
            Some(_) => None,
        }
    }

    /// Returns whether a trace has this outcome, given the last leaf of the trace.
    pub fn matches(&self, last: &TraceLeaf) -> bool {
        match self {
            Self::Void => last.saturated,
            Self::Gradient { root, loss } => {
                let words = [&hash_words(&root.0)[..], &[*loss as u32, (*loss >> 32) as u32]].concat();
                !last.saturated && last.roots == [tensor_root(&words)]
            }
        }
    }
}
