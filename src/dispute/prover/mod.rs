//! The prover runs a task again, and computes all moves of one party in a dispute. This party is either the challenger
//! or on the miner's side.

mod adapter_layout;
mod artifact_encoding;
mod attestation;
pub(super) mod memory;
mod program;
mod replay;

pub use adapter_layout::AdapterLayout;
pub use artifact_encoding::ArtifactEncoding;
pub use attestation::SelectedTile;
pub use program::Program;
#[cfg(test)]
pub(crate) use replay::Tampering;
pub use replay::{Replay, Snapshot, TaskInputs};

use super::judge::{
    Move,
    error::DisputeError,
    game::{Answer, Game, steps},
    moves::LeafChallenge,
    phase::{Bisection, DisputedDispatch, DisputedWord, Phase, Side},
    program::Origin,
    proof::{Proof, RevealedBuffer, RevealedTiles, RootProof, result_leaf, scratch_leaf},
    tensor::{from_bytes, tensor_root, tile_hash, tile_hashes, tile_words, to_bytes},
    trace::Trace,
    tree::{self, Hash, OPENED_LEVELS},
    word_program::{StepContext, WordPlace},
};
use crate::kernels::Access;
use memory::FullMemory;
use std::collections::BTreeSet;

/// Computes the moves of one party in a dispute about a task. The prover does not keep the contents of all buffers. If
/// a move needs contents that are missing, the prover runs the task again.
pub struct Prover {
    replay: Replay,
    trace: Trace,
    hashes: Vec<Hash>,
    snapshot: Option<(usize, Snapshot)>,
    word_program: Option<(usize, WordPlace, WordProgramRun)>,
}

/// The result of a complete run of a word program, which computes one output word of a dispatch in steps.
#[derive(Clone)]
pub(super) struct WordProgramRun {
    /// Leaves of the Merkle tree over the steps of the word program. The leaf of a step is the hash of the intermediate
    /// values after the step; the last leaf is the hash of the computed word and its saturation flag.
    leaves: Vec<Hash>,
    word: u32,
    saturated: bool,
}

impl WordProgramRun {
    #[cfg(test)]
    pub(super) fn word(&self) -> u32 {
        self.word
    }

    /// Replaces the computed word and its saturation flag with the values that the prover's side has already claimed in
    /// the dispute. An honest side has claimed the computed values, so nothing changes.
    fn claiming(mut self, disputed: &DisputedWord) -> Self {
        self.word = disputed.word.unwrap_or(self.word);
        self.saturated = disputed.saturated.unwrap_or(self.saturated);
        self.leaves.pop();
        self.leaves.push(result_leaf(self.word, self.saturated));
        self
    }
}

impl Prover {
    /// Creates a prover. Runs the task once to obtain its trace (the hashes of what each dispatch writes).
    pub async fn new(mut replay: Replay) -> Result<Self, DisputeError> {
        let trace = replay.trace().await?;
        let hashes = trace.hashes();
        Ok(Self { replay, trace, hashes, snapshot: None, word_program: None })
    }

    /// Returns the trace (the hashes of what each dispatch writes) that this prover has computed itself by running the
    /// task.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the replay: the prepared task, which this prover can run at any time.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    #[cfg(test)]
    pub(super) fn replay_mut(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// Returns an answer that defends the result that this prover has computed. The answer contains the Merkle root and
    /// the last leaf of the prover's trace (the hashes of what each dispatch writes). Returns `None` if the task has no
    /// dispatches.
    pub fn answer(&self) -> Option<Answer> {
        let last = self.trace.leaves.last()?.clone();
        let path = tree::prove(&self.hashes, &[self.hashes.len() - 1]);
        Some(Answer { trace: tree::root(&self.hashes), last, path })
    }

    /// Returns the next move of the side whose turn it is, computed from this prover's own trace. Returns `None` if the
    /// game is over or there is no valid move, for example because the challenger finds no difference.
    pub async fn next(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        match game.phase() {
            Phase::Over(_) => Ok(None),
            _ if game.turn() == Side::Challenger => self.challenger_move(game).await,
            _ => self.miner_move(game).await,
        }
    }

    async fn miner_move(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        Ok(match game.phase() {
            Phase::Trace(bisection) if bisection.range.len() == 1 => Some(self.leaf(bisection.range.start)?),
            Phase::Trace(bisection) => Some(open(&self.hashes, bisection)),
            Phase::Tensor(dispatch, slot, bisection) => {
                let words = self.written(dispatch, *slot).await?;
                Some(match bisection.range.len() {
                    1 => Move::Tile(to_bytes(&words[tile_words(words.len(), bisection.range.start)])),
                    _ => open(&tile_hashes(&words), bisection),
                })
            }
            Phase::Saturation(dispatch) => self.saturating(dispatch).await?.map(Move::Witness),
            Phase::Word(disputed) => {
                let word_run = self.word_run(disputed).await?.claiming(disputed);
                let path = tree::prove(&word_run.leaves, &[word_run.leaves.len() - 1]);
                let root = tree::root(&word_run.leaves);
                Some(Move::WordProgram { root, word: word_run.word, saturated: word_run.saturated, path })
            }
            Phase::WordProgram(disputed, bisection) => {
                Some(open(&self.word_run(disputed).await?.claiming(disputed).leaves, bisection))
            }
            Phase::Step(disputed, step, _) => Some(Move::Proof(Box::new(self.proof(disputed, *step).await?))),
            Phase::Dispatch(_) | Phase::Tile(..) | Phase::Over(_) => None,
        })
    }

    async fn challenger_move(&mut self, game: &Game) -> Result<Option<Move>, DisputeError> {
        Ok(match game.phase() {
            Phase::Trace(bisection) => pick(&self.hashes, bisection),
            Phase::Dispatch(dispatch) => self.challenge_leaf(dispatch).await?.map(Move::Challenge),
            Phase::Tensor(dispatch, slot, bisection) => {
                pick(&tile_hashes(&self.written(dispatch, *slot).await?), bisection)
            }
            Phase::Tile(dispatch, slot, tile, found) => {
                let words = self.written(dispatch, *slot).await?;
                let own = &words[tile_words(words.len(), *tile)];
                let found = from_bytes(found).unwrap_or_default();
                (0..own.len()).find(|at| own.get(*at) != found.get(*at)).map(|at| Move::Word(at as u32))
            }
            Phase::WordProgram(disputed, bisection) => pick(&self.word_run(disputed).await?.leaves, bisection),
            Phase::Saturation(_) | Phase::Word(_) | Phase::Step(..) | Phase::Over(_) => None,
        })
    }

    /// Compares a disputed leaf of the trace (the hashes of what one dispatch wrote, and the saturation flag) with the
    /// leaf that this prover has computed, and returns a challenge that states the first difference. Returns `None` if
    /// there is no difference.
    async fn challenge_leaf(&mut self, dispatch: &DisputedDispatch) -> Result<Option<LeafChallenge>, DisputeError> {
        let own = &self.trace.leaves[dispatch.at];
        if let Some(slot) = (0..own.roots.len()).find(|slot| own.roots.get(*slot) != dispatch.leaf.roots.get(*slot)) {
            return Ok(Some(LeafChallenge::Output(slot as u32)));
        }
        Ok(match (own.saturated, dispatch.leaf.saturated) {
            (true, false) => self.saturating(dispatch).await?.map(LeafChallenge::Saturates),
            (false, true) => Some(LeafChallenge::Sound),
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

    async fn written(&mut self, dispatch: &DisputedDispatch, slot: u32) -> Result<Vec<u32>, DisputeError> {
        let binding = dispatch.entry.written()?[slot as usize];
        Ok(self.snapshot(dispatch.at).await?.after[binding].clone())
    }

    /// Finds an output word of a dispatch in whose computation a value leaves the range of its number format. Returns
    /// the buffer and the index of the word, or `None` if there is no such word. The dispatch consists of independent
    /// work units. The function runs the reference kernel on one work unit after another, until a value leaves its
    /// range in one of them. It then computes the words of that work unit one after another, and returns the first word
    /// in whose computation a value leaves its range.
    async fn saturating(&mut self, dispatch: &DisputedDispatch) -> Result<Option<WordPlace>, DisputeError> {
        let (kernel, params) = (dispatch.entry.word_program()?.kernel, &dispatch.entry.params);
        let before = self.snapshot(dispatch.at).await?.before.clone();
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
            if !(kernel.reference)(params, unit..unit + 1, &reads, &mut writes) {
                continue;
            }
            for (number, binding) in bound.iter().enumerate() {
                let Access::Write(each) = binding.access else { continue };
                for word in unit * each(params)..(unit + 1) * each(params) {
                    let place = WordPlace { binding: number as u32, word: word as u64 };
                    if run_word_program(&dispatch.entry, place, &before)?.saturated {
                        return Ok(Some(place));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn word_run(&mut self, disputed: &DisputedWord) -> Result<WordProgramRun, DisputeError> {
        let (leaf, place) = (disputed.dispatch.at, disputed.place);
        if let Some((_, _, word_run)) =
            self.word_program.as_ref().filter(|(at, known, _)| (*at, *known) == (leaf, place))
        {
            return Ok(word_run.clone());
        }
        let word_run = run_word_program(&disputed.dispatch.entry, place, &self.snapshot(leaf).await?.before)?;
        self.word_program = Some((leaf, place, word_run.clone()));
        Ok(word_run)
    }

    /// Returns the proof of one step in the computation of the disputed word. It contains the tiles that the step
    /// reads, and the hashes with which the judge checks that these tiles belong to data on which both sides agree.
    async fn proof(&mut self, disputed: &DisputedWord, step: usize) -> Result<Proof, DisputeError> {
        let (entry, leaf) = (&disputed.dispatch.entry, disputed.dispatch.at);
        let word_run =
            if steps(disputed)? > 1 { self.word_run(disputed).await?.claiming(disputed).leaves } else { Vec::new() };
        let before = self.snapshot(leaf).await?.before.clone();
        let mut memory = FullMemory::new(&before, vec![0; (entry.word_program()?.scratch)(&entry.params)]);
        for at in 0..step {
            run_step(entry, disputed.place, at, &mut memory)?;
        }
        let scratch = memory.scratch.clone();
        let mut memory = FullMemory::new(&before, scratch.clone());
        run_step(entry, disputed.place, step, &mut memory)?;
        if step + 1 == steps(disputed)? {
            memory.touched_scratch.insert(0);
        }
        let mut tensors = Vec::new();
        for (binding, touched) in memory.touched.iter().enumerate().filter(|(_, touched)| !touched.is_empty()) {
            let known = match self.replay.subject().origin(entry.bindings[binding].source, leaf) {
                Origin::Zero => continue,
                Origin::Constant(_) => RootProof::Program,
                Origin::Input(at) => input(self.replay.inputs(), at),
                Origin::Adapter(at) => input(self.replay.adapter(), at),
                Origin::Leaf { leaf, .. } => {
                    RootProof::Leaf { leaf: self.trace.leaves[leaf].clone(), path: tree::prove(&self.hashes, &[leaf]) }
                }
            };
            tensors.push(RevealedBuffer { binding: binding as u32, known, tiles: reveal(&before[binding], touched) });
        }
        let path = step.checked_sub(1).map(|at| tree::prove(&word_run, &[at])).unwrap_or_default();
        Ok(Proof { tensors, scratch: tensor_root(&scratch), path, tiles: reveal(&scratch, &memory.touched_scratch) })
    }
}

fn input(roots: &[Hash], at: usize) -> RootProof {
    RootProof::Input { root: roots[at], path: tree::prove(roots, &[at]) }
}

/// Returns those tiles of a tensor whose indexes are in `touched`, and hashes that cover the other tiles. The Merkle
/// root over all tiles can be computed from both together.
fn reveal(words: &[u32], touched: &BTreeSet<usize>) -> RevealedTiles {
    let revealed: Vec<_> = touched.iter().copied().collect();
    let bytes = revealed.iter().flat_map(|at| to_bytes(&words[tile_words(words.len(), *at)])).collect();
    let rest = if revealed.is_empty() { Vec::new() } else { tree::prove(&tile_hashes(words), &revealed) };
    RevealedTiles { at: revealed.iter().map(|at| *at as u32).collect(), words: bytes, rest }
}

fn run_step(
    entry: &super::judge::DispatchEntry,
    place: WordPlace,
    at: usize,
    memory: &mut FullMemory,
) -> Result<(), DisputeError> {
    let mut ctx = StepContext { params: &entry.params, place, memory };
    Ok((entry.word_program()?.step)(&mut ctx, at)?)
}

/// Computes an output word of a dispatch by executing all steps of its word program. Returns the word, its saturation
/// flag, and the leaves of the Merkle tree over the steps. `before` are the words of each buffer before the dispatch.
pub(super) fn run_word_program(
    entry: &super::judge::DispatchEntry,
    place: WordPlace,
    before: &[Vec<u32>],
) -> Result<WordProgramRun, DisputeError> {
    let word_program = entry.word_program()?;
    let count = (word_program.steps)(&entry.params, place);
    let mut memory = FullMemory::new(before, vec![0; (word_program.scratch)(&entry.params)]);
    let mut tiles = tile_hashes(&memory.scratch);
    let mut leaves = Vec::with_capacity(count);
    for at in 0..count {
        memory.touched_scratch.clear();
        run_step(entry, place, at, &mut memory)?;
        for &tile in &memory.touched_scratch {
            tiles[tile] = tile_hash(&memory.scratch[tile_words(memory.scratch.len(), tile)]);
        }
        leaves.push(scratch_leaf(tree::root(&tiles)));
    }
    let (word, saturated) = (memory.scratch[0], memory.scratch[1] != 0);
    leaves.pop();
    leaves.push(result_leaf(word, saturated));
    Ok(WordProgramRun { leaves, word, saturated })
}

/// Returns the move that reveals the nodes below the disputed node of a Merkle tree, so that the challenger can pick
/// one of them. `leaves` are all leaves of this tree.
fn open(leaves: &[Hash], bisection: &Bisection) -> Move {
    let parts = tree::parts(bisection.range.clone(), OPENED_LEVELS);
    Move::Open(parts.into_iter().map(|part| tree::root(&leaves[part])).collect())
}

/// Returns the challenger's next move in the search for the first wrong leaf of a Merkle tree. The other side has
/// revealed nodes of its tree; the move picks the first node whose hash is not the one computed from `leaves`, the
/// challenger's own leaves. Returns `None` if no hash differs, or if no nodes have been revealed.
fn pick(leaves: &[Hash], bisection: &Bisection) -> Option<Move> {
    let parts = tree::parts(bisection.range.clone(), OPENED_LEVELS);
    let found = bisection.opened.as_ref()?;
    let own = parts.into_iter().map(|part| tree::root(&leaves[part]));
    let at = own.zip(found).position(|(own, found)| own != *found)?;
    Some(Move::Pick(at as u32))
}
