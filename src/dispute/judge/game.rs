//! A game between one answer, a trace's root that ends in the claimed outcome, and one challenger.
//!
//! Everything that the answer commits to is a tree of which each leaf follows from leaves to its left. The miner's side
//! opens nodes, the challenger picks the first part that it disagrees with; so all that lies to the left of the last leaf
//! is agreed, and that one leaf is recomputed. An honest answer has no wrong leaf, and a wrong one has a first.

use super::{
    error::{DisputeError, below},
    moves::{LeafChallenge, Move},
    phase::{Bisection, DisputedDispatch, DisputedWord, Phase, Side},
    program::{DispatchEntry, Subject},
    proof::{Path, Proof, StepClaim, StepResult, answer_leaf, judge},
    tensor::{from_bytes, tile_hash, tile_words, tiles},
    trace::{MAX_SLOTS, TaskOutcome, TraceLeaf},
    tree::{self, Hash},
    word_program::WordPlace,
};
use crate::{kernels::digest::TILE, store::dag_cbor};
use serde::{Deserialize, Serialize};

const ANSWER_FORMAT: &str = "r3mes/dispute-answer/1";
const GAME_FORMAT: &str = "r3mes/dispute-game/1";

/// A trace's root, and that it ends in the claimed outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Root of the trace.
    pub trace: Hash,
    /// Its last leaf.
    pub last: TraceLeaf,
    /// From it to the root.
    pub path: Path,
}

impl Answer {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(ANSWER_FORMAT, self)
    }

    /// Reads canonical bytes, at most [`MAX_MOVE_BYTES`](super::MAX_MOVE_BYTES).
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        match bytes.len() {
            0..=super::MAX_MOVE_BYTES => Ok(dag_cbor::decode(ANSWER_FORMAT, bytes)?),
            bytes => Err(DisputeError::TooLarge { bytes, limit: super::MAX_MOVE_BYTES }),
        }
    }
}

/// A game as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Game {
    pub(in crate::dispute) subject: Subject,
    pub(in crate::dispute) trace: Hash,
    pub(in crate::dispute) phase: Phase,
    deadline: u64,
    patience: u64,
}

impl Game {
    /// A game over an answer, from block `height` on; each turn has `patience` blocks.
    pub fn new(
        subject: Subject,
        outcome: TaskOutcome,
        answer: &Answer,
        height: u64,
        patience: u64,
    ) -> Result<Self, DisputeError> {
        let leaves = subject.leaves();
        let last = [(leaves.saturating_sub(1), answer.last.hash())];
        if tree::proven_root(leaves, &last, &answer.path) != Some(answer.trace) {
            return Err(DisputeError::Root("the last leaf of the trace"));
        }
        if !outcome.is_of(&answer.last) {
            return Err(DisputeError::Root("the claimed outcome"));
        }
        let phase = Phase::Trace(Bisection::new(answer.trace, leaves));
        Ok(Self { subject, trace: answer.trace, phase, deadline: height.saturating_add(patience), patience })
    }

    /// The canonical bytes, for who follows it.
    pub fn encode(&self) -> Vec<u8> {
        dag_cbor::encode(GAME_FORMAT, self)
    }

    /// Reads canonical bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DisputeError> {
        Ok(dag_cbor::decode(GAME_FORMAT, bytes)?)
    }

    /// The root of the trace that is in doubt.
    pub fn trace(&self) -> Hash {
        self.trace
    }

    /// Who is to move; who won, once it is over.
    pub fn turn(&self) -> Side {
        match &self.phase {
            Phase::Trace(bisection) | Phase::RevealedBuffer(_, _, bisection) | Phase::WordProgram(_, bisection) => {
                bisection.turn()
            }
            Phase::DisputedDispatch(_) | Phase::Tile(..) => Side::Challenger,
            Phase::Saturation(_) | Phase::DisputedWord(_) | Phase::Step(..) => Side::Miner,
            Phase::Over(winner) => *winner,
        }
    }

    /// Who won.
    pub fn winner(&self) -> Option<Side> {
        if let Phase::Over(winner) = self.phase { Some(winner) } else { None }
    }

    /// The last block in which the side whose turn it is may move.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What is in doubt.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Ends the game where the deadline has passed: who was to move has lost.
    pub fn expire(&mut self, height: u64) {
        if height > self.deadline && self.winner().is_none() {
            let winner = if self.turn() == Side::Miner { Side::Challenger } else { Side::Miner };
            self.phase = Phase::Over(winner);
        }
    }

    /// Makes a move in a block. A move that is refused changes nothing.
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
        self.deadline = height.saturating_add(self.patience);
        Ok(())
    }

    fn next(&self, found: &Move) -> Result<Phase, DisputeError> {
        let wanted = |expected| Err(DisputeError::Turn { expected, found: found.name() });
        match (self.phase.clone(), found) {
            (Phase::Trace(bisection), _) if bisection.leaf().is_some() => self.dispatch(&bisection, found),
            (Phase::Trace(mut bisection), _) => bisection.apply(found).map(|()| Phase::Trace(bisection)),
            (Phase::DisputedDispatch(dispatch), Move::LeafChallenge(doubt)) => doubted(dispatch, *doubt),
            (Phase::DisputedDispatch(_), _) => wanted("a doubt"),
            (Phase::RevealedBuffer(dispatch, slot, bisection), _) if bisection.leaf().is_some() => {
                tile(dispatch, slot, &bisection, found)
            }
            (Phase::RevealedBuffer(dispatch, slot, mut bisection), _) => {
                bisection.apply(found).map(|()| Phase::RevealedBuffer(dispatch, slot, bisection))
            }
            (Phase::Tile(dispatch, slot, tile, words), Move::Word(at)) => {
                let words = from_bytes(&words).unwrap_or_default();
                let at = below("word", (*at).into(), words.len())?;
                let binding = dispatch.entry.written()?[slot as usize] as u32;
                let place = WordPlace { binding, word: (tile * TILE + at) as u64 };
                // what no unit owns, nothing writes
                if place.word >= dispatch.entry.owned(binding as usize)? as u64 {
                    return Ok(Phase::Over(if words[at] == 0 { Side::Miner } else { Side::Challenger }));
                }
                word_in_doubt(*dispatch, place, Some(words[at]), None)
            }
            (Phase::Tile(..), _) => wanted("a word"),
            (Phase::Saturation(dispatch), Move::Witness(place)) => {
                check_place(&dispatch.entry, *place)?;
                word_in_doubt(*dispatch, *place, None, Some(true))
            }
            (Phase::Saturation(_), _) => wanted("a witness"),
            (Phase::DisputedWord(word_in_doubt), _) => word_program(word_in_doubt, found),
            (Phase::WordProgram(word_in_doubt, mut bisection), _) => {
                bisection.apply(found)?;
                Ok(match bisection.leaf() {
                    Some(step) => step_phase(word_in_doubt, step, bisection.node)?,
                    None => Phase::WordProgram(word_in_doubt, bisection),
                })
            }
            (Phase::Step(word_in_doubt, step, left), _) => self.step(word_in_doubt, step, left, found),
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
        let shown = [(subject.entry(at), entry.hash())];
        if tree::proven_root(subject.entries(), &shown, path) != Some(subject.program) {
            return Err(DisputeError::Root("the dispatch"));
        }
        let saturated_before = match (at.checked_sub(1), before) {
            (None, None) => false,
            (Some(at), Some((leaf, path))) => {
                if tree::proven_root(subject.leaves(), &[(at, leaf.hash())], path) != Some(self.trace) {
                    return Err(DisputeError::Root("the leaf before"));
                }
                leaf.saturated
            }
            _ => return Err(DisputeError::Root("the leaf before")),
        };
        // a flag is never cleared, and a dispatch leaves as many tensors as it writes
        if (saturated_before && !leaf.saturated) || leaf.roots.len() != entry.written()?.len() {
            return Ok(Phase::Over(Side::Challenger));
        }
        let (leaf, entry) = (leaf.clone(), (**entry).clone());
        Ok(Phase::DisputedDispatch(Box::new(DisputedDispatch { at, leaf, entry, saturated_before })))
    }

    fn step(
        &self,
        word_in_doubt: Box<DisputedWord>,
        step: usize,
        left: Option<Hash>,
        found: &Move,
    ) -> Result<Phase, DisputeError> {
        let Move::Proof(proof) = found else {
            return Err(DisputeError::Turn { expected: "a proof", found: found.name() });
        };
        let right = self.judged(&word_in_doubt, step, left, proof)?;
        Ok(Phase::Over(if right { Side::Miner } else { Side::Challenger }))
    }

    /// Whether the step in doubt is as the answer says.
    fn judged(
        &self,
        word_in_doubt: &DisputedWord,
        step: usize,
        left: Option<Hash>,
        proof: &Proof,
    ) -> Result<bool, DisputeError> {
        let left = match left {
            Some(hash) => StepResult::Scratch(hash),
            None => StepResult::Answer { word: word_in_doubt.word, saturated: word_in_doubt.saturated },
        };
        let claim = StepClaim {
            subject: &self.subject,
            trace: self.trace,
            leaf: word_in_doubt.dispatch.at,
            entry: &word_in_doubt.dispatch.entry,
            place: word_in_doubt.place,
            word_program: word_in_doubt.word_program,
            step,
            left,
        };
        judge(&claim, proof)
    }
}

/// Steps towards a word.
pub(in crate::dispute) fn steps(word_in_doubt: &DisputedWord) -> Result<usize, DisputeError> {
    Ok((word_in_doubt.dispatch.entry.word_program()?.steps)(&word_in_doubt.dispatch.entry.params, word_in_doubt.place))
}

fn step_phase(word_in_doubt: Box<DisputedWord>, step: usize, node: Hash) -> Result<Phase, DisputeError> {
    let last = step + 1 == steps(&word_in_doubt)?;
    Ok(Phase::Step(word_in_doubt, step, (!last).then_some(node)))
}

/// A word of one step goes straight to its proof.
fn word_in_doubt(
    dispatch: DisputedDispatch,
    place: WordPlace,
    word: Option<u32>,
    saturated: Option<bool>,
) -> Result<Phase, DisputeError> {
    let word_in_doubt = Box::new(DisputedWord { dispatch, place, word, saturated, word_program: None });
    Ok(if steps(&word_in_doubt)? == 1 {
        Phase::Step(word_in_doubt, 0, None)
    } else {
        Phase::DisputedWord(word_in_doubt)
    })
}

/// That a place is one that the dispatch writes.
fn check_place(entry: &DispatchEntry, place: WordPlace) -> Result<(), DisputeError> {
    let binding = below("buffer", place.binding.into(), entry.bindings.len())?;
    below("word", place.word, entry.owned(binding)?).map(|_| ())
}

fn doubted(dispatch: Box<DisputedDispatch>, doubt: LeafChallenge) -> Result<Phase, DisputeError> {
    match doubt {
        LeafChallenge::Output(slot) => {
            let at = below("slot", slot.into(), dispatch.leaf.roots.len())?;
            let words = dispatch.entry.bindings[dispatch.entry.written()?[at]].words as usize;
            let bisection = Bisection::new(dispatch.leaf.roots[at], tiles(words));
            Ok(Phase::RevealedBuffer(dispatch, slot, bisection))
        }
        LeafChallenge::Saturates(place) if !dispatch.leaf.saturated => {
            check_place(&dispatch.entry, place)?;
            word_in_doubt(*dispatch, place, None, Some(false))
        }
        LeafChallenge::Sound if dispatch.leaf.saturated && !dispatch.saturated_before => {
            Ok(Phase::Saturation(dispatch))
        }
        _ => Err(DisputeError::Turn { expected: "a doubt that the leaf's flag allows", found: "another" }),
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

fn word_program(mut word_in_doubt: Box<DisputedWord>, found: &Move) -> Result<Phase, DisputeError> {
    let steps = steps(&word_in_doubt)?;
    let Move::WordProgram { root, word, saturated, path } = found else {
        return Err(DisputeError::Turn { expected: "a word_program", found: found.name() });
    };
    let agrees = word_in_doubt.word.is_none_or(|said| said == *word)
        && word_in_doubt.saturated.is_none_or(|said| said == *saturated);
    let last = [(steps - 1, answer_leaf(*word, *saturated))];
    if !agrees || tree::proven_root(steps, &last, path) != Some(*root) {
        return Err(DisputeError::Root("the answer"));
    }
    (word_in_doubt.word, word_in_doubt.saturated, word_in_doubt.word_program) =
        (Some(*word), Some(*saturated), Some(*root));
    Ok(Phase::WordProgram(word_in_doubt, Bisection::new(*root, steps)))
}
