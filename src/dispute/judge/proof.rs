//! A proof: the tiles that one step of a tape reads, each under a root that both sides agree on. Whoever has it redoes the
//! step and knows who is right.

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

/// Some tiles and the rest of the tree that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedTiles {
    /// Numbers, ascending.
    pub at: Vec<u32>,
    /// Their words, one after the other.
    #[serde(with = "serde_bytes")]
    pub words: Vec<u8>,
    /// As [`tree::prove`].
    pub rest: Vec<Hash>,
}

/// That a hash is in a tree.
pub type Path = Vec<Hash>;

/// How the root of a tensor is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum CommittedBuffer {
    /// By the program.
    Program,
    /// As an input of the task or a buffer of the adapter.
    Input {
        /// The tensor's root.
        root: Hash,
        /// To the root over them.
        path: Path,
    },
    /// By a leaf of the trace.
    Leaf {
        /// The leaf.
        leaf: TraceLeaf,
        /// To the trace's root.
        path: Path,
    },
}

/// The tiles of one buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevealedBuffer {
    /// Which buffer.
    pub binding: u32,
    /// How its root is known.
    pub known: CommittedBuffer,
    /// Of it.
    pub tiles: RevealedTiles,
}

/// All that a step reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Of the dispatch's buffers, those that it reads, by binding.
    pub tensors: Vec<RevealedBuffer>,
    /// The scratch tensor's root before the step; that of zeros for the first.
    pub scratch: Hash,
    /// That it is what the step before left; empty for the first.
    pub path: Path,
    /// Of the scratch tensor, before the step.
    pub tiles: RevealedTiles,
}

/// A step, and what is claimed of it.
pub(in crate::dispute) struct StepClaim<'a> {
    pub(in crate::dispute) subject: &'a Subject,
    /// The trace's root.
    pub(in crate::dispute) trace: Hash,
    pub(in crate::dispute) leaf: usize,
    pub(in crate::dispute) entry: &'a DispatchEntry,
    pub(in crate::dispute) place: WordPlace,
    /// Root over the scratch tensors that steps left, where there is more than one step.
    pub(in crate::dispute) word_program: Option<Hash>,
    pub(in crate::dispute) step: usize,
    pub(in crate::dispute) left: StepResult,
}

/// What a step is said to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispute) enum StepResult {
    /// A scratch tensor, by the hash that stands for its root in the tape's tree.
    Scratch(Hash),
    /// The answer; what is not claimed of it is `None`.
    Answer { word: Option<u32>, saturated: Option<bool> },
}

/// The hash of a scratch tensor's root in a tape's tree.
pub(in crate::dispute) fn scratch_leaf(root: Hash) -> Hash {
    Hash::leaf(&root.0)
}

/// The hash of the answer, which is the tree's last leaf.
pub(in crate::dispute) fn answer_leaf(word: u32, saturated: bool) -> Hash {
    Hash::leaf(&[&word.to_le_bytes()[..], &[saturated.into()]].concat())
}

/// The root of a scratch tensor before the first step.
pub(in crate::dispute) fn empty_scratch(words: usize) -> Hash {
    tensor_root(&vec![0; words])
}

impl RevealedTiles {
    /// Reads the tiles of a tensor of so many words.
    fn read(&self, words: usize) -> Result<RevealedTensor, DisputeError> {
        let mut rest = from_bytes(&self.words).ok_or(DisputeError::Root("a tile"))?;
        let mut shown = RevealedTensor { words, ..RevealedTensor::default() };
        for &at in &self.at {
            let at = below("tile", at.into(), tiles(words))?;
            let length = tile_words(words, at).len();
            if rest.len() < length {
                return Err(DisputeError::Root("a tile"));
            }
            let after = rest.split_off(length);
            shown.tiles.insert(at, std::mem::replace(&mut rest, after));
        }
        if rest.is_empty() && shown.tiles.len() == self.at.len() {
            Ok(shown)
        } else {
            Err(DisputeError::Root("a tile"))
        }
    }
}

/// Whether what is claimed of a step is so. Fails where the proof is not of the roots, or shows too little.
pub(in crate::dispute) fn judge(claim: &StepClaim, proof: &Proof) -> Result<bool, DisputeError> {
    let word_program = claim.entry.word_program()?;
    let steps = (word_program.steps)(&claim.entry.params, claim.place);
    let scratch = scratch(claim, proof, (word_program.scratch)(&claim.entry.params), steps)?;
    let mut memory = PartialMemory { buffers: buffers(claim, proof)?, scratch };
    let params = &claim.entry.params;
    let mut ctx = StepContext { params, place: claim.place, memory: &mut memory };
    let played = (word_program.step)(&mut ctx, claim.step).and_then(|()| match claim.left {
        StepResult::Scratch(_) => Ok(None),
        StepResult::Answer { .. } => Ok(Some((ctx.load(0)?, ctx.load(1)? != 0))),
    });
    match (played, claim.left) {
        // what was committed to is of no format that a kernel leaves: whoever committed to it is wrong
        (Err(WordFault::Format(_)), _) => Ok(false),
        (Err(fault), _) => Err(fault.into()),
        (Ok(_), StepResult::Scratch(left)) => Ok(scratch_root(&memory.scratch, proof).map(scratch_leaf) == Some(left)),
        (Ok(answer), StepResult::Answer { word, saturated }) => {
            let found = answer.unwrap_or_default();
            Ok(word.is_none_or(|word| word == found.0) && saturated.is_none_or(|saturated| saturated == found.1))
        }
    }
}

/// The scratch tensor before the step.
fn scratch(claim: &StepClaim, proof: &Proof, words: usize, steps: usize) -> Result<RevealedTensor, DisputeError> {
    let before = match claim.step.checked_sub(1) {
        None => proof.path.is_empty() && proof.scratch == empty_scratch(words),
        Some(before) => {
            let leaf = [(before, scratch_leaf(proof.scratch))];
            claim.word_program.is_some() && tree::proven_root(steps, &leaf, &proof.path) == claim.word_program
        }
    };
    let shown = proof.tiles.read(words)?;
    if before && scratch_root(&shown, proof) == Some(proof.scratch) {
        Ok(shown)
    } else {
        Err(DisputeError::Root("the scratch tensor"))
    }
}

/// The scratch tensor's root by its tiles; where a step touches none it stays what it was.
fn scratch_root(shown: &RevealedTensor, proof: &Proof) -> Option<Hash> {
    if shown.tiles.is_empty() { Some(proof.scratch) } else { shown.root(&proof.tiles.rest) }
}

/// The dispatch's buffers before it.
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
        let shown = tensor.tiles.read(bindings[binding].words as usize)?;
        if shown.root(&tensor.tiles.rest) != Some(root(claim, &bindings[binding], &tensor.known)?) {
            return Err(DisputeError::Root("a tensor"));
        }
        buffers[binding] = shown;
    }
    Ok(buffers)
}

/// The root of a buffer, which must be known the way that the program says.
fn root(claim: &StepClaim, bound: &BoundBuffer, known: &CommittedBuffer) -> Result<Hash, DisputeError> {
    let subject = claim.subject;
    let found = match (subject.origin(bound.source, claim.leaf), known) {
        (Origin::CommittedBuffer(root), CommittedBuffer::Program) => Some(root),
        (Origin::Input(at), CommittedBuffer::Input { root, path }) => {
            let agreed = tree::proven_root(subject.input_count(), &[(at, *root)], path) == Some(subject.inputs);
            agreed.then_some(*root)
        }
        (Origin::Adapter(at), CommittedBuffer::Input { root, path }) => {
            let agreed = tree::proven_root(subject.shared as usize, &[(at, *root)], path) == Some(subject.adapter);
            agreed.then_some(*root)
        }
        (Origin::Leaf { leaf: at, slot }, CommittedBuffer::Leaf { leaf, path }) => {
            let agreed = tree::proven_root(subject.leaves(), &[(at, leaf.hash())], path) == Some(claim.trace);
            agreed.then(|| leaf.roots.get(slot).copied()).flatten()
        }
        _ => None,
    };
    found.ok_or(DisputeError::Root("the root of a tensor"))
}
