//! A party: someone who can play the task and so knows every move, as the miner's side or as the challenger.

use super::{
    Move,
    error::DisputeError,
    game::{Answer, Game, steps},
    memory::Whole,
    moves::Doubt,
    phase::{Asked, Descent, Phase, Side, Spot},
    play::{Replay, Snapshot},
    program::Origin,
    proof::{Known, Proof, Tensor, Tiles, answer_leaf, scratch_leaf},
    tape::{Desk, Place},
    tensor::{from_bytes, tensor_root, tile_hash, tile_hashes, tile_words, to_bytes},
    trace::Trace,
    tree::{self, Hash, OPENED_LEVELS},
};
use crate::kernels::Access;
use std::collections::BTreeSet;

/// Who plays a task as often as a game asks.
pub struct Party {
    replay: Replay,
    trace: Trace,
    hashes: Vec<Hash>,
    snapshot: Option<(usize, Snapshot)>,
    tape: Option<(usize, Place, Taped)>,
}

/// The steps towards a word, taken.
#[derive(Clone)]
pub(super) struct Taped {
    /// Leaves of the tape's tree.
    leaves: Vec<Hash>,
    word: u32,
    saturated: bool,
}

impl Taped {
    #[cfg(test)]
    pub(super) fn word(&self) -> u32 {
        self.word
    }

    /// With the answer that is claimed: the own one, of whoever is honest.
    fn claiming(mut self, asked: &Asked) -> Self {
        self.word = asked.word.unwrap_or(self.word);
        self.saturated = asked.saturated.unwrap_or(self.saturated);
        self.leaves.pop();
        self.leaves.push(answer_leaf(self.word, self.saturated));
        self
    }
}

impl Party {
    /// Plays the task once.
    pub async fn new(mut replay: Replay) -> Result<Self, DisputeError> {
        let trace = replay.trace().await?;
        let hashes = trace.hashes();
        Ok(Self { replay, trace, hashes, snapshot: None, tape: None })
    }

    /// The trace.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The task.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    #[cfg(test)]
    pub(super) fn replay_mut(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// What stands for the claim; `None` for a task without dispatches.
    pub fn answer(&self) -> Option<Answer> {
        let last = self.trace.leaves.last()?.clone();
        let path = tree::prove(&self.hashes, &[self.hashes.len() - 1]);
        Some(Answer { trace: tree::root(&self.hashes), last, path })
    }

    /// The move of the side whose turn it is, by what this party has computed itself; `None` where it has none to make.
    pub async fn next(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        match game.phase() {
            Phase::Over(_) => Ok(None),
            _ if game.turn() == Side::Challenger => self.doubt(game).await,
            _ => self.defend(game).await,
        }
    }

    async fn defend(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        Ok(match game.phase() {
            Phase::Trace(descent) if descent.range.len() == 1 => Some(self.leaf(descent.range.start)?),
            Phase::Trace(descent) => Some(open(&self.hashes, descent)),
            Phase::Tensor(spot, slot, descent) => {
                let words = self.written(spot, *slot).await?;
                Some(match descent.range.len() {
                    1 => Move::Tile(to_bytes(&words[tile_words(words.len(), descent.range.start)])),
                    _ => open(&tile_hashes(&words), descent),
                })
            }
            Phase::Saturation(spot) => self.saturating(spot).await?.map(Move::Witness),
            Phase::Asked(asked) => {
                let taped = self.taped(asked).await?.claiming(asked);
                let path = tree::prove(&taped.leaves, &[taped.leaves.len() - 1]);
                let root = tree::root(&taped.leaves);
                Some(Move::Tape { root, word: taped.word, saturated: taped.saturated, path })
            }
            Phase::Tape(asked, descent) => Some(open(&self.taped(asked).await?.claiming(asked).leaves, descent)),
            Phase::Step(asked, step, _) => Some(Move::Proof(Box::new(self.proof(asked, *step).await?))),
            Phase::Spot(_) | Phase::Tile(..) | Phase::Over(_) => None,
        })
    }

    async fn doubt(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        Ok(match game.phase() {
            Phase::Trace(descent) => pick(&self.hashes, descent),
            Phase::Spot(spot) => self.doubt_leaf(spot).await?.map(Move::Doubt),
            Phase::Tensor(spot, slot, descent) => pick(&tile_hashes(&self.written(spot, *slot).await?), descent),
            Phase::Tile(spot, slot, tile, found) => {
                let words = self.written(spot, *slot).await?;
                let own = &words[tile_words(words.len(), *tile)];
                let found = from_bytes(found).unwrap_or_default();
                (0..own.len()).find(|at| own.get(*at) != found.get(*at)).map(|at| Move::Word(at as u32))
            }
            Phase::Tape(asked, descent) => pick(&self.taped(asked).await?.leaves, descent),
            Phase::Saturation(_) | Phase::Asked(_) | Phase::Step(..) | Phase::Over(_) => None,
        })
    }

    /// The first thing in which a leaf is not this party's.
    async fn doubt_leaf(&mut self, spot: &Spot) -> Result<Option<Doubt>, DisputeError> {
        let own = &self.trace.leaves[spot.at];
        if let Some(slot) = (0..own.roots.len()).find(|slot| own.roots.get(*slot) != spot.leaf.roots.get(*slot)) {
            return Ok(Some(Doubt::Output(slot as u32)));
        }
        Ok(match (own.saturated, spot.leaf.saturated) {
            (true, false) => self.saturating(spot).await?.map(Doubt::Saturates),
            (false, true) => Some(Doubt::Sound),
            _ => None,
        })
    }

    fn leaf(&self, at: usize) -> Result<Move, DisputeError> {
        let program = self.replay.program().hashes();
        let number = self.replay.subject().entry(at);
        let entry = self.replay.program().entries().nth(number).ok_or(DisputeError::Root("the dispatch"))?;
        let before = at.checked_sub(1).map(|at| (self.trace.leaves[at].clone(), tree::prove(&self.hashes, &[at])));
        let (leaf, entry) = (self.trace.leaves[at].clone(), Box::new(entry.clone()));
        Ok(Move::Leaf { leaf, entry, path: tree::prove(&program, &[number]), before })
    }

    async fn snapshot(&mut self, leaf: usize) -> Result<&Snapshot, DisputeError> {
        if self.snapshot.as_ref().is_none_or(|(at, _)| *at != leaf) {
            self.snapshot = Some((leaf, self.replay.snapshot(leaf).await?));
        }
        let found = self.snapshot.as_ref().map(|(_, found)| found);
        found.ok_or(DisputeError::Root("the leaf"))
    }

    async fn written(&mut self, spot: &Spot, slot: u32) -> Result<Vec<u32>, DisputeError> {
        let binding = spot.entry.written()?[slot as usize];
        Ok(self.snapshot(spot.at).await?.after[binding].clone())
    }

    /// A word that leaves its range, where there is one: found by unit with the twin, then by word.
    async fn saturating(&mut self, spot: &Spot) -> Result<Option<Place>, DisputeError> {
        let (kernel, params) = (spot.entry.tape()?.kernel, &spot.entry.params);
        let before = self.snapshot(spot.at).await?.before.clone();
        let bound: Vec<_> = kernel.bindings.iter().filter(|b| !matches!(b.access, Access::Flag)).collect();
        for unit in 0..(kernel.units)(params) {
            let (mut reads, mut owned) = (Vec::new(), Vec::new());
            for (binding, words) in bound.iter().zip(&before) {
                match binding.access {
                    Access::Write(each) => owned.push(words[unit * each(params)..(unit + 1) * each(params)].to_vec()),
                    _ => reads.push(&words[..]),
                }
            }
            let mut writes: Vec<_> = owned.iter_mut().map(|words| &mut words[..]).collect();
            if !(kernel.twin)(params, unit..unit + 1, &reads, &mut writes) {
                continue;
            }
            for (number, binding) in bound.iter().enumerate() {
                let Access::Write(each) = binding.access else { continue };
                for word in unit * each(params)..(unit + 1) * each(params) {
                    let place = Place { binding: number as u32, word: word as u64 };
                    if take(&spot.entry, place, &before)?.saturated {
                        return Ok(Some(place));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn taped(&mut self, asked: &Asked) -> Result<Taped, DisputeError> {
        let (leaf, place) = (asked.spot.at, asked.place);
        if let Some((_, _, taped)) = self.tape.as_ref().filter(|(at, known, _)| (*at, *known) == (leaf, place)) {
            return Ok(taped.clone());
        }
        let taped = take(&asked.spot.entry, place, &self.snapshot(leaf).await?.before)?;
        self.tape = Some((leaf, place, taped.clone()));
        Ok(taped)
    }

    /// What a step reads, under the roots of this party's trace.
    async fn proof(&mut self, asked: &Asked, step: usize) -> Result<Proof, DisputeError> {
        let (entry, leaf) = (&asked.spot.entry, asked.spot.at);
        let taped = if steps(asked)? > 1 { self.taped(asked).await?.claiming(asked).leaves } else { Vec::new() };
        let before = self.snapshot(leaf).await?.before.clone();
        let mut memory = Whole::new(&before, vec![0; (entry.tape()?.scratch)(&entry.params)]);
        for at in 0..step {
            step_on(entry, asked.place, at, &mut memory)?;
        }
        let scratch = memory.scratch.clone();
        let mut memory = Whole::new(&before, scratch.clone());
        step_on(entry, asked.place, step, &mut memory)?;
        if step + 1 == steps(asked)? {
            memory.noted.insert(0);
        }
        let mut tensors = Vec::new();
        for (binding, touched) in memory.read.iter().enumerate().filter(|(_, touched)| !touched.is_empty()) {
            let known = match self.replay.subject().origin(entry.bindings[binding].source, leaf) {
                Origin::Zero => continue,
                Origin::Known(_) => Known::Program,
                Origin::Input(at) => input(self.replay.inputs(), at),
                Origin::Adapter(at) => input(self.replay.adapter(), at),
                Origin::Leaf { leaf, .. } => {
                    Known::Leaf { leaf: self.trace.leaves[leaf].clone(), path: tree::prove(&self.hashes, &[leaf]) }
                }
            };
            tensors.push(Tensor { binding: binding as u32, known, tiles: show(&before[binding], touched) });
        }
        let path = step.checked_sub(1).map(|at| tree::prove(&taped, &[at])).unwrap_or_default();
        Ok(Proof { tensors, scratch: tensor_root(&scratch), path, tiles: show(&scratch, &memory.noted) })
    }
}

fn input(roots: &[Hash], at: usize) -> Known {
    Known::Input { root: roots[at], path: tree::prove(roots, &[at]) }
}

/// Some tiles of a tensor.
fn show(words: &[u32], touched: &BTreeSet<usize>) -> Tiles {
    let shown: Vec<_> = touched.iter().copied().collect();
    let bytes = shown.iter().flat_map(|at| to_bytes(&words[tile_words(words.len(), *at)])).collect();
    let rest = if shown.is_empty() { Vec::new() } else { tree::prove(&tile_hashes(words), &shown) };
    Tiles { at: shown.iter().map(|at| *at as u32).collect(), words: bytes, rest }
}

fn step_on(entry: &super::Entry, place: Place, at: usize, memory: &mut Whole) -> Result<(), DisputeError> {
    let mut desk = Desk { params: &entry.params, place, memory };
    Ok((entry.tape()?.step)(&mut desk, at)?)
}

/// Takes all steps towards a word.
pub(super) fn take(entry: &super::Entry, place: Place, before: &[Vec<u32>]) -> Result<Taped, DisputeError> {
    let tape = entry.tape()?;
    let count = (tape.steps)(&entry.params, place);
    let mut memory = Whole::new(before, vec![0; (tape.scratch)(&entry.params)]);
    let mut tiles = tile_hashes(&memory.scratch);
    let mut leaves = Vec::with_capacity(count);
    for at in 0..count {
        memory.noted.clear();
        step_on(entry, place, at, &mut memory)?;
        for &tile in &memory.noted {
            tiles[tile] = tile_hash(&memory.scratch[tile_words(memory.scratch.len(), tile)]);
        }
        leaves.push(scratch_leaf(tree::root(&tiles)));
    }
    let (word, saturated) = (memory.scratch[0], memory.scratch[1] != 0);
    leaves.pop();
    leaves.push(answer_leaf(word, saturated));
    Ok(Taped { leaves, word, saturated })
}

/// The nodes below the one in doubt.
fn open(leaves: &[Hash], descent: &Descent) -> Move {
    let parts = tree::parts(descent.range.clone(), OPENED_LEVELS);
    Move::Open(parts.into_iter().map(|part| tree::root(&leaves[part])).collect())
}

/// The first part that is not as these leaves have it.
fn pick(leaves: &[Hash], descent: &Descent) -> Option<Move> {
    let parts = tree::parts(descent.range.clone(), OPENED_LEVELS);
    let found = descent.opened.as_ref()?;
    let own = parts.into_iter().map(|part| tree::root(&leaves[part]));
    let at = own.zip(found).position(|(own, found)| own != *found)?;
    Some(Move::Pick(at as u32))
}
