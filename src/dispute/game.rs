//! A game between one answer, a trace's root that ends in the claimed outcome, and one challenger.
//!
//! Everything that the answer commits to is a tree of which each leaf follows from leaves to its left. The miner's side
//! opens nodes, the challenger picks the first part that it disagrees with; so all that lies to the left of the last leaf
//! is agreed, and that one leaf is recomputed. An honest answer has no wrong leaf, and a wrong one has a first.

use super::{
    error::{DisputeError, below},
    moves::{Doubt, Move},
    phase::{Asked, Descent, Phase, Side, Spot},
    program::{Entry, Subject},
    proof::{Claim, Left, Path, Proof, answer_leaf, judge},
    tape::Place,
    tensor::{from_bytes, tile_hash, tile_words, tiles},
    trace::{MAX_SLOTS, Outcome, TraceLeaf},
    tree::{self, Hash},
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
    pub(super) subject: Subject,
    pub(super) trace: Hash,
    pub(super) phase: Phase,
    deadline: u64,
    patience: u64,
}

impl Game {
    /// A game over an answer, from block `height` on; each turn has `patience` blocks.
    pub fn new(
        subject: Subject,
        outcome: Outcome,
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
        let phase = Phase::Trace(Descent::new(answer.trace, leaves));
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
            Phase::Trace(descent) | Phase::Tensor(_, _, descent) | Phase::Tape(_, descent) => descent.turn(),
            Phase::Spot(_) | Phase::Tile(..) => Side::Challenger,
            Phase::Saturation(_) | Phase::Asked(_) | Phase::Step(..) => Side::Miner,
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
            (Phase::Trace(descent), _) if descent.leaf().is_some() => self.spot(&descent, found),
            (Phase::Trace(mut descent), _) => descent.apply(found).map(|()| Phase::Trace(descent)),
            (Phase::Spot(spot), Move::Doubt(doubt)) => doubted(spot, *doubt),
            (Phase::Spot(_), _) => wanted("a doubt"),
            (Phase::Tensor(spot, slot, descent), _) if descent.leaf().is_some() => tile(spot, slot, &descent, found),
            (Phase::Tensor(spot, slot, mut descent), _) => {
                descent.apply(found).map(|()| Phase::Tensor(spot, slot, descent))
            }
            (Phase::Tile(spot, slot, tile, words), Move::Word(at)) => {
                let words = from_bytes(&words).unwrap_or_default();
                let at = below("word", (*at).into(), words.len())?;
                let binding = spot.entry.written()?[slot as usize] as u32;
                let place = Place { binding, word: (tile * TILE + at) as u64 };
                // what no unit owns, nothing writes
                if place.word >= spot.entry.owned(binding as usize)? as u64 {
                    return Ok(Phase::Over(if words[at] == 0 { Side::Miner } else { Side::Challenger }));
                }
                asked(*spot, place, Some(words[at]), None)
            }
            (Phase::Tile(..), _) => wanted("a word"),
            (Phase::Saturation(spot), Move::Witness(place)) => {
                check_place(&spot.entry, *place)?;
                asked(*spot, *place, None, Some(true))
            }
            (Phase::Saturation(_), _) => wanted("a witness"),
            (Phase::Asked(asked), _) => tape(asked, found),
            (Phase::Tape(asked, mut descent), _) => {
                descent.apply(found)?;
                Ok(match descent.leaf() {
                    Some(step) => step_phase(asked, step, descent.node)?,
                    None => Phase::Tape(asked, descent),
                })
            }
            (Phase::Step(asked, step, left), _) => self.step(asked, step, left, found),
            (Phase::Over(_), _) => Err(DisputeError::Over),
        }
    }

    fn spot(&self, descent: &Descent, found: &Move) -> Result<Phase, DisputeError> {
        let Move::Leaf { leaf, entry, path, before } = found else {
            return Err(DisputeError::Turn { expected: "a leaf", found: found.name() });
        };
        let (at, subject) = (descent.range.start, &self.subject);
        if leaf.hash() != descent.node || leaf.roots.len() > MAX_SLOTS {
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
        Ok(Phase::Spot(Box::new(Spot { at, leaf, entry, saturated_before })))
    }

    fn step(&self, asked: Box<Asked>, step: usize, left: Option<Hash>, found: &Move) -> Result<Phase, DisputeError> {
        let Move::Proof(proof) = found else {
            return Err(DisputeError::Turn { expected: "a proof", found: found.name() });
        };
        let right = self.judged(&asked, step, left, proof)?;
        Ok(Phase::Over(if right { Side::Miner } else { Side::Challenger }))
    }

    /// Whether the step in doubt is as the answer says.
    fn judged(&self, asked: &Asked, step: usize, left: Option<Hash>, proof: &Proof) -> Result<bool, DisputeError> {
        let left = match left {
            Some(hash) => Left::Scratch(hash),
            None => Left::Answer { word: asked.word, saturated: asked.saturated },
        };
        let claim = Claim {
            subject: &self.subject,
            trace: self.trace,
            leaf: asked.spot.at,
            entry: &asked.spot.entry,
            place: asked.place,
            tape: asked.tape,
            step,
            left,
        };
        judge(&claim, proof)
    }
}

/// Steps towards a word.
pub(super) fn steps(asked: &Asked) -> Result<usize, DisputeError> {
    Ok((asked.spot.entry.tape()?.steps)(&asked.spot.entry.params, asked.place))
}

fn step_phase(asked: Box<Asked>, step: usize, node: Hash) -> Result<Phase, DisputeError> {
    let last = step + 1 == steps(&asked)?;
    Ok(Phase::Step(asked, step, (!last).then_some(node)))
}

/// A word of one step goes straight to its proof.
fn asked(spot: Spot, place: Place, word: Option<u32>, saturated: Option<bool>) -> Result<Phase, DisputeError> {
    let asked = Box::new(Asked { spot, place, word, saturated, tape: None });
    Ok(if steps(&asked)? == 1 { Phase::Step(asked, 0, None) } else { Phase::Asked(asked) })
}

/// That a place is one that the dispatch writes.
fn check_place(entry: &Entry, place: Place) -> Result<(), DisputeError> {
    let binding = below("buffer", place.binding.into(), entry.bindings.len())?;
    below("word", place.word, entry.owned(binding)?).map(|_| ())
}

fn doubted(spot: Box<Spot>, doubt: Doubt) -> Result<Phase, DisputeError> {
    match doubt {
        Doubt::Output(slot) => {
            let at = below("slot", slot.into(), spot.leaf.roots.len())?;
            let words = spot.entry.bindings[spot.entry.written()?[at]].words as usize;
            let descent = Descent::new(spot.leaf.roots[at], tiles(words));
            Ok(Phase::Tensor(spot, slot, descent))
        }
        Doubt::Saturates(place) if !spot.leaf.saturated => {
            check_place(&spot.entry, place)?;
            asked(*spot, place, None, Some(false))
        }
        Doubt::Sound if spot.leaf.saturated && !spot.saturated_before => Ok(Phase::Saturation(spot)),
        _ => Err(DisputeError::Turn { expected: "a doubt that the leaf's flag allows", found: "another" }),
    }
}

fn tile(spot: Box<Spot>, slot: u32, descent: &Descent, found: &Move) -> Result<Phase, DisputeError> {
    let Move::Tile(bytes) = found else {
        return Err(DisputeError::Turn { expected: "a tile", found: found.name() });
    };
    let all = spot.entry.bindings[spot.entry.written()?[slot as usize]].words as usize;
    let at = descent.range.start;
    let words = from_bytes(bytes).filter(|words| words.len() == tile_words(all, at).len());
    match words.filter(|words| tile_hash(words) == descent.node) {
        Some(_) => Ok(Phase::Tile(spot, slot, at, bytes.clone())),
        None => Err(DisputeError::Root("the tile")),
    }
}

fn tape(mut asked: Box<Asked>, found: &Move) -> Result<Phase, DisputeError> {
    let steps = steps(&asked)?;
    let Move::Tape { root, word, saturated, path } = found else {
        return Err(DisputeError::Turn { expected: "a tape", found: found.name() });
    };
    let agrees = asked.word.is_none_or(|said| said == *word) && asked.saturated.is_none_or(|said| said == *saturated);
    let last = [(steps - 1, answer_leaf(*word, *saturated))];
    if !agrees || tree::proven_root(steps, &last, path) != Some(*root) {
        return Err(DisputeError::Root("the answer"));
    }
    (asked.word, asked.saturated, asked.tape) = (Some(*word), Some(*saturated), Some(*root));
    Ok(Phase::Tape(asked, Descent::new(*root, steps)))
}
