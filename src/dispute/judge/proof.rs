//! One-step proofs. A one-step proof reveals the tiles (256 words each) that one step of a word program reads, each
//! with a Merkle path to a root on which both sides agree. The judge executes the step on these tiles to find out which
//! side is right.

use super::{
    error::{DisputeError, below},
    memory::{PartialMemory, RevealedTensor},
    program::{BoundBuffer, DispatchEntry, Origin, Subject},
    tensor::{from_bytes, tensor_root, tile_words, tiles},
    trace::TraceLeaf,
    tree::{self, Hash},
    word_program::{StepContext, WordFault, WordPlace},
};
use serde::{Deserialize, Serialize};

/// Some tiles (256 words each) of a tensor, with hashes of the rest of the tensor. The tensor root (the Merkle root
/// over all tiles) can be computed from the tiles and the hashes together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedTiles {
    /// Indexes of the revealed tiles, in ascending order.
    pub at: Vec<u32>,
    /// Words of the tiles as little-endian bytes, one tile after the other.
    #[serde(with = "serde_bytes")]
    pub words: Vec<u8>,
    /// The hashes of the largest subtrees of the tensor's Merkle tree that contain no revealed tile, as [`tree::prove`]
    /// returns them.
    pub rest: Vec<Hash>,
}

/// A Merkle path: the hashes that prove that a leaf is in a tree, as [`tree::prove`] returns them.
pub type Path = Vec<Hash>;

/// How a proof shows that both sides agree on the tensor root of a buffer (the Merkle root over its words).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RootProof {
    /// The program (the list of the task's dispatches) states the tensor root, because the buffer is a constant of the
    /// model.
    Program,
    /// The buffer is an input of the task or a part of the adapter.
    Input {
        /// Tensor root of the buffer.
        root: Hash,
        /// Merkle path from this tensor root to the inputs root of the task, or to the adapter layout root if the
        /// buffer is part of the adapter.
        path: Path,
    },
    /// An earlier leaf of the trace states the tensor root.
    Leaf {
        /// The leaf of the trace that states the tensor root.
        leaf: TraceLeaf,
        /// Merkle path from the leaf to the trace root.
        path: Path,
    },
}

/// Some tiles of one buffer, with a proof that the buffer holds them before the disputed dispatch. The buffer's tensor
/// root (the Merkle root over all of its tiles) is computed from [`tiles`](Self::tiles), and [`known`](Self::known)
/// proves that both sides agree on this root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedBuffer {
    /// Index of the buffer in binding order.
    pub binding: u32,
    /// The proof that both sides agree on the buffer's tensor root.
    pub known: RootProof,
    /// The tiles of the buffer that the step reads.
    pub tiles: RevealedTiles,
}

/// A one-step proof: the tiles that one step of a word program reads, with the hashes that prove that both sides agree
/// on these tiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The buffers that the step reads. A buffer that no dispatch has written yet is not listed, because all of its
    /// words are 0.
    pub tensors: Vec<RevealedBuffer>,
    /// Merkle root of the scratch tensor (the intermediate values) before the step. Before the first step, all words of
    /// this tensor are 0.
    pub scratch: Hash,
    /// Merkle path from the scratch tensor before the step to the root of the word program's Merkle tree; empty for the
    /// first step.
    pub path: Path,
    /// The tiles of the scratch tensor that the step reads or writes, with their words before the step.
    pub tiles: RevealedTiles,
}

/// A disputed step of a [word program](super::word_program), with the result that the answer claims for the step.
pub(in crate::dispute) struct StepClaim<'a> {
    pub(in crate::dispute) subject: &'a Subject,
    /// Trace root of the answer: the Merkle root over the leaves of its trace.
    pub(in crate::dispute) trace: Hash,
    /// Index of the disputed leaf in the trace.
    pub(in crate::dispute) leaf: usize,
    pub(in crate::dispute) entry: &'a DispatchEntry,
    pub(in crate::dispute) place: WordPlace,
    /// Root of the Merkle tree of the word program; `None` if the word program has only one step.
    pub(in crate::dispute) word_program: Option<Hash>,
    /// Index of the step in the word program.
    pub(in crate::dispute) step: usize,
    pub(in crate::dispute) left: StepResult,
}

/// The claimed result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispute) enum StepResult {
    /// The scratch tensor (the intermediate values) after the step, given by the hash of its leaf in the Merkle tree of
    /// the word program.
    Scratch(Hash),
    /// The disputed word and its saturation flag, which the last step computes. The word or the flag is `None` if the
    /// answer does not claim a value for it.
    Word { word: Option<u32>, saturated: Option<bool> },
}

/// Returns the hash of a step's leaf in the Merkle tree of a word program. `root` is the tensor root of the scratch
/// tensor (the intermediate values) after the step.
pub(in crate::dispute) fn scratch_leaf(root: Hash) -> Hash {
    Hash::leaf(&root.0)
}

/// Returns the last leaf in the Merkle tree of a word program, which is the hash of the computed word and its
/// saturation flag.
pub(in crate::dispute) fn result_leaf(word: u32, saturated: bool) -> Hash {
    Hash::leaf(&[&word.to_le_bytes()[..], &[saturated.into()]].concat())
}

/// Returns the tensor root of a scratch tensor of `words` words before the first step, when all words are 0.
pub(in crate::dispute) fn empty_scratch(words: usize) -> Hash {
    tensor_root(&vec![0; words])
}

impl RevealedTiles {
    /// Returns the tiles as parts of a tensor of `words` words. Fails if a tile is not in the tensor, occurs twice or
    /// has the wrong length.
    fn read(&self, words: usize) -> Result<RevealedTensor, DisputeError> {
        let mut rest = from_bytes(&self.words).ok_or(DisputeError::Root("a tile"))?;
        let mut revealed = RevealedTensor { words, ..RevealedTensor::default() };
        for &at in &self.at {
            let at = below("tile", at.into(), tiles(words))?;
            let length = tile_words(words, at).len();
            if rest.len() < length {
                return Err(DisputeError::Root("a tile"));
            }
            let after = rest.split_off(length);
            revealed.tiles.insert(at, std::mem::replace(&mut rest, after));
        }
        if rest.is_empty() && revealed.tiles.len() == self.at.len() {
            Ok(revealed)
        } else {
            Err(DisputeError::Root("a tile"))
        }
    }
}

/// Executes a step of a word program on the words that `proof` reveals, and returns whether the claimed result is
/// correct. Returns false if the step reads a word in a format that no kernel writes. Fails if the proof does not match
/// the roots on which both sides agree, or lacks a tile that the step reads.
pub(in crate::dispute) fn judge(claim: &StepClaim, proof: &Proof) -> Result<bool, DisputeError> {
    let word_program = claim.entry.word_program()?;
    let steps = (word_program.steps)(&claim.entry.params, claim.place);
    let scratch = scratch(claim, proof, (word_program.scratch)(&claim.entry.params), steps)?;
    let mut memory = PartialMemory { buffers: buffers(claim, proof)?, scratch };
    let params = &claim.entry.params;
    let mut ctx = StepContext { params, place: claim.place, memory: &mut memory };
    let executed = (word_program.step)(&mut ctx, claim.step).and_then(|()| match claim.left {
        StepResult::Scratch(_) => Ok(None),
        StepResult::Word { .. } => Ok(Some((ctx.load(0)?, ctx.load(1)? != 0))),
    });
    match (executed, claim.left) {
        // no kernel writes words of such a format, so the answer that commits to them is wrong
        (Err(WordFault::Format(_)), _) => Ok(false),
        (Err(fault), _) => Err(fault.into()),
        (Ok(_), StepResult::Scratch(left)) => Ok(scratch_root(&memory.scratch, proof).map(scratch_leaf) == Some(left)),
        (Ok(result), StepResult::Word { word, saturated }) => {
            let found = result.unwrap_or_default();
            Ok(word.is_none_or(|word| word == found.0) && saturated.is_none_or(|saturated| saturated == found.1))
        }
    }
}

/// Returns the revealed part of the scratch tensor before the step. Fails if the proof does not show that the answer
/// has committed to this tensor.
fn scratch(claim: &StepClaim, proof: &Proof, words: usize, steps: usize) -> Result<RevealedTensor, DisputeError> {
    let before = match claim.step.checked_sub(1) {
        None => proof.path.is_empty() && proof.scratch == empty_scratch(words),
        Some(before) => {
            let leaf = [(before, scratch_leaf(proof.scratch))];
            claim.word_program.is_some() && tree::proven_root(steps, &leaf, &proof.path) == claim.word_program
        }
    };
    let revealed = proof.tiles.read(words)?;
    if before && scratch_root(&revealed, proof) == Some(proof.scratch) {
        Ok(revealed)
    } else {
        Err(DisputeError::Root("the scratch tensor"))
    }
}

/// Returns the tensor root of the scratch tensor, computed from its revealed tiles. If no tile is revealed, returns the
/// root that the proof states.
fn scratch_root(revealed: &RevealedTensor, proof: &Proof) -> Option<Hash> {
    if revealed.tiles.is_empty() { Some(proof.scratch) } else { revealed.root(&proof.tiles.rest) }
}

/// Returns the revealed parts of the buffers of the disputed dispatch, with their words before the dispatch. Fails if
/// the tiles of a buffer do not match its tensor root.
fn buffers(claim: &StepClaim, proof: &Proof) -> Result<Vec<RevealedTensor>, DisputeError> {
    let bindings = &claim.entry.bindings;
    let mut buffers: Vec<_> = bindings
        .iter()
        .map(|bound| RevealedTensor {
            words: bound.words as usize,
            zero: claim.subject.origin(bound.source, claim.leaf) == Origin::Zero,
            ..RevealedTensor::default()
        })
        .collect();
    for tensor in &proof.tensors {
        let binding = below("buffer", tensor.binding.into(), bindings.len())?;
        let revealed = tensor.tiles.read(bindings[binding].words as usize)?;
        if revealed.root(&tensor.tiles.rest) != Some(root(claim, &bindings[binding], &tensor.known)?) {
            return Err(DisputeError::Root("a set of tiles"));
        }
        buffers[binding] = revealed;
    }
    Ok(buffers)
}

/// Returns the tensor root that a buffer has before the dispatch. Fails if `known` does not prove that both sides agree
/// on this root.
fn root(claim: &StepClaim, bound: &BoundBuffer, known: &RootProof) -> Result<Hash, DisputeError> {
    let subject = claim.subject;
    let found = match (subject.origin(bound.source, claim.leaf), known) {
        (Origin::Constant(root), RootProof::Program) => Some(root),
        (Origin::Input(at), RootProof::Input { root, path }) => {
            let agreed = tree::proven_root(subject.input_count(), &[(at, *root)], path) == Some(subject.inputs);
            agreed.then_some(*root)
        }
        (Origin::Adapter(at), RootProof::Input { root, path }) => {
            let agreed =
                tree::proven_root(subject.adapter_buffers as usize, &[(at, *root)], path) == Some(subject.adapter);
            agreed.then_some(*root)
        }
        (Origin::Leaf { leaf: at, slot }, RootProof::Leaf { leaf, path }) => {
            let agreed = tree::proven_root(subject.leaves(), &[(at, leaf.hash())], path) == Some(claim.trace);
            agreed.then(|| leaf.roots.get(slot).copied()).flatten()
        }
        _ => None,
    };
    found.ok_or(DisputeError::Root("the tensor root of a buffer"))
}
