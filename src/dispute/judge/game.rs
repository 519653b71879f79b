//! A game about one answer to a challenger's dispute. The answer is the Merkle root of a trace (the hashes of what each
//! dispatch of a task wrote) that ends in the claimed outcome.
//!
//! The two sides search a Merkle tree for the first leaf on which they disagree. The miner's side reveals the nodes
//! below the root, and the challenger picks the first of these nodes with which it disagrees. The search continues
//! below the picked node until a leaf is picked. Both sides then agree on all leaves to the left of this leaf. A leaf
//! follows from the leaves to its left and from facts on which both sides agreed at the beginning. It is therefore
//! enough to recompute the picked leaf. An honest answer contains no wrong leaf. A wrong answer contains a first wrong
//! leaf, which the challenger can pick.

use super::{
    error::{DisputeError, below},
    moves::{LeafChallenge, Move},
    phase::{Bisection, DisputedDispatch, DisputedWord, Phase, Side},
    program::{DispatchEntry, Subject},
    proof::{Path, Proof, StepClaim, StepResult, judge, result_leaf},
    tensor::{from_bytes, tile_hash, tile_words, tiles},
    trace::{MAX_SLOTS, TaskOutcome, TraceLeaf},
    tree::{self, Hash},
    word_program::WordPlace,
};
use crate::{kernels::digest::TILE, store::dag_cbor};
use serde::{Deserialize, Serialize};

const ANSWER_FORMAT: &str = "r3mes/dispute-answer/1";
const GAME_FORMAT: &str = "r3mes/dispute-game/1";

/// An answer: the root of a trace, with a proof that the trace ends in the claimed outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Trace root: the Merkle root over the leaves of the trace.
    pub trace: Hash,
    /// The last leaf of the trace, which commits to the outcome.
    pub last: TraceLeaf,
    /// Merkle path from the last leaf to the trace root.
    pub path: Path,
}

impl Answer {
    /// Encodes the answer in canonical DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(ANSWER_FORMAT, self)
    }

    /// Decodes an answer from canonical DAG-CBOR of at most [`MAX_MOVE_BYTES`](super::MAX_MOVE_BYTES) bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        match bytes.len() {
            0..=super::MAX_MOVE_BYTES => Ok(dag_cbor::decode(ANSWER_FORMAT, bytes)?),
            bytes => Err(DisputeError::TooLarge { bytes, limit: super::MAX_MOVE_BYTES }),
        }
    }
}

/// A game between a challenger and the side that defends an answer. Its state consists of the subject (the facts on
/// which both sides agree), the answer's trace root, the current phase, and the deadline of the current turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Game {
    pub(in crate::dispute) subject: Subject,
    pub(in crate::dispute) trace: Hash,
    pub(in crate::dispute) phase: Phase,
    deadline: u64,
    turn_blocks: u64,
}

impl Game {
    /// Starts a game about `answer` in block `height`. Each turn lasts `turn_blocks` blocks. Fails if the trace of the
    /// answer does not end in `outcome`.
    pub fn new(
        subject: Subject,
        outcome: TaskOutcome,
        answer: &Answer,
        height: u64,
        turn_blocks: u64,
    ) -> Result<Self, DisputeError> {
        let leaves = subject.leaves();
        let last = [(leaves.saturating_sub(1), answer.last.hash())];
        if tree::proven_root(leaves, &last, &answer.path) != Some(answer.trace) {
            return Err(DisputeError::Root("the last leaf of the trace"));
        }
        if !outcome.matches(&answer.last) {
            return Err(DisputeError::Root("the claimed outcome"));
        }
        let phase = Phase::Trace(Bisection::new(answer.trace, leaves));
        Ok(Self { subject, trace: answer.trace, phase, deadline: height.saturating_add(turn_blocks), turn_blocks })
    }

    /// Encodes the game in canonical DAG-CBOR.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(GAME_FORMAT, self)
    }

    /// Decodes a game from canonical DAG-CBOR.
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        Ok(dag_cbor::decode(GAME_FORMAT, bytes)?)
    }

    /// Returns the trace root of the answer.
    pub fn trace(&self) -> Hash {
        self.trace
    }

    /// Returns the side whose turn it is, or the winner if the game is over.
    pub fn turn(&self) -> Side {
        match &self.phase {
            Phase::Trace(bisection) | Phase::Tensor(_, _, bisection) | Phase::WordProgram(_, bisection) => {
                bisection.turn()
            }
            Phase::Dispatch(_) | Phase::Tile(..) => Side::Challenger,
            Phase::Saturation(_) | Phase::Word(_) | Phase::Step(..) => Side::Miner,
            Phase::Over(winner) => *winner,
        }
    }

    /// Returns the winner if the game is over, otherwise `None`.
    pub fn winner(&self) -> Option<Side> {
        if let Phase::Over(winner) = self.phase { Some(winner) } else { None }
    }

    /// Returns the height of the last block in which the side whose turn it is may make a move.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Returns the phase of the game, which states what is currently disputed.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Ends the game if the deadline is before block `height`. The side whose turn it is has then lost.
    pub fn expire(&mut self, height: u64) {
        if height > self.deadline && self.winner().is_none() {
            let winner = if self.turn() == Side::Miner { Side::Challenger } else { Side::Miner };
            self.phase = Phase::Over(winner);
        }
    }

    /// Makes the move `found` in block `height`. Fails if the move is refused. A refused move changes nothing.
    pub fn apply(&mut self, found: &Move, height: u64) -> Result<(), DisputeError> {
        if self.winner().is_some() {
            return Err(DisputeError::Over);
        }
        if height > self.deadline {
            return Err(DisputeError::Late { height, deadline: self.deadline });
        }
        let bytes = found.encode().len();
        if bytes > super::MAX_MOVE_BYTES {
            return Err(DisputeError::TooLarge { bytes, limit: super::MAX_MOVE_BYTES });
        }
        self.phase = self.next(found)?;
        self.deadline = height.saturating_add(self.turn_blocks);
        Ok(())
    }

    fn next(&self, found: &Move) -> Result<Phase, DisputeError> {
        let wanted = |expected| Err(DisputeError::Turn { expected, found: found.name() });
        match (self.phase.clone(), found) {
            (Phase::Trace(bisection), _) if bisection.leaf().is_some() => self.dispatch(&bisection, found),
            (Phase::Trace(mut bisection), _) => bisection.apply(found).map(|()| Phase::Trace(bisection)),
            (Phase::Dispatch(dispatch), Move::Challenge(challenge)) => challenged(dispatch, *challenge),
            (Phase::Dispatch(_), _) => wanted("a challenge"),
            (Phase::Tensor(dispatch, slot, bisection), _) if bisection.leaf().is_some() => {
                tile(dispatch, slot, &bisection, found)
            }
            (Phase::Tensor(dispatch, slot, mut bisection), _) => {
                bisection.apply(found).map(|()| Phase::Tensor(dispatch, slot, bisection))
            }
            (Phase::Tile(dispatch, slot, tile, words), Move::Word(at)) => {
                let words = from_bytes(&words).unwrap_or_default();
                let at = below("word", (*at).into(), words.len())?;
                let binding = dispatch.entry.written()?[slot as usize] as u32;
                let place = WordPlace { binding, word: (tile * TILE + at) as u64 };
                // no work unit writes the word, so it must be zero
                if place.word >= dispatch.entry.owned(binding as usize)? as u64 {
                    return Ok(Phase::Over(if words[at] == 0 { Side::Miner } else { Side::Challenger }));
                }
                dispute_word(*dispatch, place, Some(words[at]), None)
            }
            (Phase::Tile(..), _) => wanted("a word"),
            (Phase::Saturation(dispatch), Move::Witness(place)) => {
                check_place(&dispatch.entry, *place)?;
                dispute_word(*dispatch, *place, None, Some(true))
            }
            (Phase::Saturation(_), _) => wanted("a witness"),
            (Phase::Word(disputed), _) => word_program(disputed, found),
            (Phase::WordProgram(disputed, mut bisection), _) => {
                bisection.apply(found)?;
                Ok(match bisection.leaf() {
                    Some(step) => step_phase(disputed, step, bisection.node)?,
                    None => Phase::WordProgram(disputed, bisection),
                })
            }
            (Phase::Step(disputed, step, left), _) => self.step(disputed, step, left, found),
            (Phase::Over(_), _) => Err(DisputeError::Over),
        }
    }

    fn dispatch(&self, bisection: &Bisection, found: &Move) -> Result<Phase, DisputeError> {
        let Move::Leaf { leaf, entry, path, before } = found else {
            return Err(DisputeError::Turn { expected: "a leaf", found: found.name() });
        };
        let (at, subject) = (bisection.range.start, &self.subject);
        if leaf.hash() != bisection.node || leaf.roots.len() > MAX_SLOTS {
            return Err(DisputeError::Root("the leaf"));
        }
        let revealed = [(subject.entry(at), entry.hash())];
        if tree::proven_root(subject.entries(), &revealed, path) != Some(subject.program) {
            return Err(DisputeError::Root("the dispatch"));
        }
        let saturated_before = match (at.checked_sub(1), before) {
            (None, None) => false,
            (Some(at), Some((leaf, path))) => {
                if tree::proven_root(subject.leaves(), &[(at, leaf.hash())], path) != Some(self.trace) {
                    return Err(DisputeError::Root("the preceding leaf"));
                }
                leaf.saturated
            }
            _ => return Err(DisputeError::Root("the preceding leaf")),
        };
        // a flag is never cleared, and a leaf has one root for each buffer that the dispatch writes
        if (saturated_before && !leaf.saturated) || leaf.roots.len() != entry.written()?.len() {
            return Ok(Phase::Over(Side::Challenger));
        }
        let (leaf, entry) = (leaf.clone(), (**entry).clone());
        Ok(Phase::Dispatch(Box::new(DisputedDispatch { at, leaf, entry, saturated_before })))
    }

    fn step(
        &self,
        disputed: Box<DisputedWord>,
        step: usize,
        left: Option<Hash>,
        found: &Move,
    ) -> Result<Phase, DisputeError> {
        let Move::Proof(proof) = found else {
            return Err(DisputeError::Turn { expected: "a proof", found: found.name() });
        };
        let right = self.is_right(&disputed, step, left, proof)?;
        Ok(Phase::Over(if right { Side::Miner } else { Side::Challenger }))
    }

    /// Executes the disputed step of a word program (which computes one output word in steps) on the words that `proof`
    /// reveals. Returns whether the result that the answer claims for this step is correct. The result of the last step
    /// is the output word with its saturation flag; the claimed result is then in `disputed`, and `left` is `None`. The
    /// result of an earlier step is the scratch tensor (the intermediate values) after the step; `left` is then the
    /// claimed hash of this tensor. Fails if the proof does not match the roots on which both sides agree, or lacks a
    /// tile that the step reads.
    fn is_right(
        &self,
        disputed: &DisputedWord,
        step: usize,
        left: Option<Hash>,
        proof: &Proof,
    ) -> Result<bool, DisputeError> {
        let left = match left {
            Some(hash) => StepResult::Scratch(hash),
            None => StepResult::Word { word: disputed.word, saturated: disputed.saturated },
        };
        let claim = StepClaim {
            subject: &self.subject,
            trace: self.trace,
            leaf: disputed.dispatch.at,
            entry: &disputed.dispatch.entry,
            place: disputed.place,
            word_program: disputed.word_program,
            step,
            left,
        };
        judge(&claim, proof)
    }
}

/// Returns the number of steps in the word program that computes a disputed word.
pub(in crate::dispute) fn steps(disputed: &DisputedWord) -> Result<usize, DisputeError> {
    Ok((disputed.dispatch.entry.word_program()?.steps)(&disputed.dispatch.entry.params, disputed.place))
}

fn step_phase(disputed: Box<DisputedWord>, step: usize, node: Hash) -> Result<Phase, DisputeError> {
    let last = step + 1 == steps(&disputed)?;
    Ok(Phase::Step(disputed, step, (!last).then_some(node)))
}

/// Returns the phase that begins when a word becomes disputed. If one step computes the word, the next move must prove
/// this step. Otherwise, the next move must commit to all steps of the word program. `word` is the value that the
/// answer claims for the word. `saturated` states whether, according to the answer, a value leaves its range in the
/// computation of the word. Each of these two arguments is `None` if the answer makes no such claim.
fn dispute_word(
    dispatch: DisputedDispatch,
    place: WordPlace,
    word: Option<u32>,
    saturated: Option<bool>,
) -> Result<Phase, DisputeError> {
    let disputed = Box::new(DisputedWord { dispatch, place, word, saturated, word_program: None });
    Ok(if steps(&disputed)? == 1 { Phase::Step(disputed, 0, None) } else { Phase::Word(disputed) })
}

/// Fails unless the dispatch writes the word at `place`.
fn check_place(entry: &DispatchEntry, place: WordPlace) -> Result<(), DisputeError> {
    let binding = below("buffer", place.binding.into(), entry.bindings.len())?;
    below("word", place.word, entry.owned(binding)?).map(|_| ())
}

fn challenged(dispatch: Box<DisputedDispatch>, challenge: LeafChallenge) -> Result<Phase, DisputeError> {
    match challenge {
        LeafChallenge::Output(slot) => {
            let at = below("slot", slot.into(), dispatch.leaf.roots.len())?;
            let words = dispatch.entry.bindings[dispatch.entry.written()?[at]].words as usize;
            let bisection = Bisection::new(dispatch.leaf.roots[at], tiles(words));
            Ok(Phase::Tensor(dispatch, slot, bisection))
        }
        LeafChallenge::Saturates(place) if !dispatch.leaf.saturated => {
            check_place(&dispatch.entry, place)?;
            dispute_word(*dispatch, place, None, Some(false))
        }
        LeafChallenge::Sound if dispatch.leaf.saturated && !dispatch.saturated_before => {
            Ok(Phase::Saturation(dispatch))
        }
        _ => Err(DisputeError::Turn { expected: "a challenge that fits the leaf's flag", found: "another challenge" }),
    }
}

fn tile(
    dispatch: Box<DisputedDispatch>,
    slot: u32,
    bisection: &Bisection,
    found: &Move,
) -> Result<Phase, DisputeError> {
    let Move::Tile(bytes) = found else {
        return Err(DisputeError::Turn { expected: "a tile", found: found.name() });
    };
    let all = dispatch.entry.bindings[dispatch.entry.written()?[slot as usize]].words as usize;
    let at = bisection.range.start;
    let words = from_bytes(bytes).filter(|words| words.len() == tile_words(all, at).len());
    match words.filter(|words| tile_hash(words) == bisection.node) {
        Some(_) => Ok(Phase::Tile(dispatch, slot, at, bytes.clone())),
        None => Err(DisputeError::Root("the tile")),
    }
}

fn word_program(mut disputed: Box<DisputedWord>, found: &Move) -> Result<Phase, DisputeError> {
    let steps = steps(&disputed)?;
    let Move::WordProgram { root, word, saturated, path } = found else {
        return Err(DisputeError::Turn { expected: "a word program", found: found.name() });
    };
    let agrees = disputed.word.is_none_or(|claimed| claimed == *word)
        && disputed.saturated.is_none_or(|claimed| claimed == *saturated);
    let last = [(steps - 1, result_leaf(*word, *saturated))];
    if !agrees || tree::proven_root(steps, &last, path) != Some(*root) {
        return Err(DisputeError::Root("the result of the word program"));
    }
    (disputed.word, disputed.saturated, disputed.word_program) = (Some(*word), Some(*saturated), Some(*root));
    Ok(Phase::WordProgram(disputed, Bisection::new(*root, steps)))
}
