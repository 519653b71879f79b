//! Traces. A trace holds, for every dispatch of a task, the tensor roots of the buffers that the dispatch wrote. Runs
//! follow one another.
//!
//! The tensor of a buffer consists of all its words after the dispatch. Words that nothing has written in the run are
//! 0.

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

/// The most buffers that a dispatch writes.
pub(in crate::dispute) const MAX_SLOTS: usize = 4;

/// The hashes of what one dispatch wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceLeaf {
    /// Tensor roots of the buffers that the dispatch wrote, in binding order.
    pub roots: Vec<Hash>,
    /// The flag: whether a value has left its range in this dispatch or an earlier one.
    pub saturated: bool,
}

impl TraceLeaf {
    /// Returns the hash by which the trace's tree contains the leaf.
    pub fn hash(&self) -> Hash {
        Hash::leaf(&dag_cbor::encode(FORMAT, self))
    }
}

/// The trace of a task, with all its leaves.
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

/// The outcome that an artifact claims for its task. (The number of supervised tokens follows from the chunk.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TaskOutcome {
    /// A value saturated, so the task has no gradient.
    Void,
    /// The task has a gradient.
    Gradient {
        /// Gradient root, as [`Artifact::gradient_root`] returns it.
        root: Hash,
        /// Loss in units of 2^-20 bits.
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

    /// Returns the outcome that an artifact's manifest claims; `None` if the manifest's number of supervised tokens is
    /// not that of a chunk.
    pub fn from_claim(claim: &ArtifactClaim) -> Option<Self> {
        match claim.loss_and_tokens {
            None => Some(Self::Void),
            // every token except the last one has a successor
            Some((loss, tokens)) if tokens as usize == CHUNK_TOKENS - 1 => {
                Some(Self::Gradient { root: Hash(claim.gradient_root), loss })
            }
            Some(_) => None,
        }
    }

    /// Returns whether a trace that ends in this leaf has this outcome.
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
