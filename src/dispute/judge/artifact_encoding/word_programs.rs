//! The word programs of the artifact encoding, the last dispatches of a task, which encode its gradient. A word program
//! computes one output word of a dispatch in small steps. SHA-256 processes 64 bytes at a time, so a step can hash some
//! of the bytes and store the state of SHA-256 for the next step.

use super::{
    block_digest, gradient_max, matrix_leaf, outcome, transport,
    words::{hash_words, words_hash},
};
use crate::{
    dispute::judge::{
        tree::Hash,
        word_program::{RESULT, StepContext, WordFault, WordPlace, WordProgram, part},
    },
    numbers::rng::Dither,
    protocol::MAX_GRADIENT_BITS,
    store::LEAF_BYTES,
};
use sha2::block_api::compress256;
use std::ops::Range;

pub(in crate::dispute) const GRADIENT_MAX: WordProgram = WordProgram {
    kernel: &gradient_max::KERNEL,
    scratch: |_| RESULT + 2,
    steps: |p, _| (gradient_max::Params::read(p).elements as usize).div_ceil(ELEMENTS),
    step: gradient_max,
};

pub(in crate::dispute) const TRANSPORT: WordProgram =
    WordProgram { kernel: &transport::KERNEL, scratch: |_| RESULT, steps: |_, _| 1, step: transport };

pub(in crate::dispute) const BLOCK_DIGEST: WordProgram = WordProgram {
    kernel: &block_digest::KERNEL,
    scratch: |_| RESULT + 8,
    steps: |p, place| block(block_digest::Params::read(p), place).len().div_ceil(HASHED),
    step: block_digest,
};

pub(in crate::dispute) const MATRIX_LEAF: WordProgram =
    WordProgram { kernel: &matrix_leaf::KERNEL, scratch: |_| RESULT, steps: |_, _| 1, step: matrix_leaf };

pub(in crate::dispute) const OUTCOME: WordProgram = WordProgram {
    kernel: &outcome::KERNEL,
    scratch: |_| RESULT + 8 * LEVELS,
    steps: |p, _| (outcome::Params::read(p).matrices as usize).div_ceil(LEAVES),
    step: outcome,
};

/// The largest number of gradient elements that one step of the word program [`GRADIENT_MAX`] reads.
const ELEMENTS: usize = 2048;
/// The largest number of bytes that one step of the word program [`BLOCK_DIGEST`] hashes.
const HASHED: usize = 1 << 15;
/// The largest number of leaves that one step of the word program [`OUTCOME`] appends to the Merkle tree.
const LEAVES: usize = 256;
/// The number of tree levels for which subtree roots can be stored. It suffices for 4096 matrices, the most that a
/// training job may have.
const LEVELS: usize = 14;

fn gradient_max(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let elements = gradient_max::Params::read(ctx.params).elements as usize;
    let mut max = ctx.load_sum(RESULT)? as u64;
    for i in part(elements, ELEMENTS, at) {
        max = max.max((ctx.pair(0, 2 * i)? as i64).unsigned_abs());
    }
    ctx.store_i64(RESULT, max as i64)?;
    ctx.saturate(max >= 1 << MAX_GRADIENT_BITS)?;
    ctx.set_result((max >> (32 * ctx.place.word)) as u32)
}

fn transport(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = transport::Params::read(ctx.params);
    let max = ctx.pair(1, 0)?;
    let key = Dither([ctx.word(2, 2 * p.matrix as usize)?, ctx.word(2, 2 * p.matrix as usize + 1)?]);
    let mut elements = Vec::with_capacity(4);
    for at in p.in_word(ctx.place.word as usize) {
        elements.push(p.rounded(ctx.pair(0, 2 * at)? as i64, at, max, key));
    }
    ctx.set_result(p.packed(elements.into_iter()))
}

/// Returns the range of the matrix's bytes that are hashed to compute the word at `place`. The word is a part of the
/// digest of these bytes.
fn block(p: &block_digest::Params, place: WordPlace) -> Range<usize> {
    part(p.bytes as usize, LEAF_BYTES, place.word as usize / 8)
}

/// The initial state of SHA-256 (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

fn block_digest(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let p = block_digest::Params::read(ctx.params);
    let block = block(p, ctx.place);
    let mut state = INITIAL;
    if at > 0 {
        for (word, state) in state.iter_mut().enumerate() {
            *state = ctx.load(RESULT + word)?;
        }
    }
    let hashed = part(block.len(), HASHED, at);
    let last = hashed.end == block.len();
    let mut bytes = Vec::with_capacity(HASHED + 72);
    for byte in (block.start + hashed.start..block.start + hashed.end).step_by(4) {
        bytes.extend(ctx.word(0, byte / 4)?.to_le_bytes());
    }
    bytes.truncate(hashed.len());
    if last {
        bytes.push(0x80);
        bytes.resize((bytes.len() + 8).next_multiple_of(64) - 8, 0);
        bytes.extend((8 * block.len() as u64).to_be_bytes());
    }
    compress256(&mut state, bytes.as_chunks().0);
    for (word, state) in state.into_iter().enumerate() {
        ctx.store(RESULT + word, state)?;
    }
    ctx.set_result(state[ctx.place.word as usize % 8].swap_bytes())
}

fn matrix_leaf(ctx: &mut StepContext, _: usize) -> Result<(), WordFault> {
    let p = matrix_leaf::Params::read(ctx.params);
    let Some(word) = (ctx.place.word as usize).checked_sub(8 * p.matrix as usize).filter(|word| *word < 8) else {
        let before = ctx.before()?;
        return ctx.set_result(before);
    };
    let max = ctx.pair(0, 0)?;
    let digests = (0..8 * p.blocks()).map(|at| ctx.word(1, at)).collect::<Result<Vec<_>, _>>()?;
    let name = (0..(p.name_bytes as usize).div_ceil(4)).map(|at| ctx.word(2, at)).collect::<Result<Vec<_>, _>>()?;
    let leaf = p.leaf(max, &digests, &name).ok_or(WordFault::Format("the name of a matrix"))?;
    ctx.set_result(leaf[word])
}

/// Executes the step with index `at` of the word program [`OUTCOME`]. It appends up to [`LEAVES`] leaves to the Merkle
/// tree whose root is the gradient root. The stored subtrees work like a binary counter: the root of a subtree of
/// 2^level leaves is stored while bit `level` of the number of appended leaves is set. The last step sets the result,
/// one word of the outcome.
fn outcome(ctx: &mut StepContext, at: usize) -> Result<(), WordFault> {
    let count = outcome::Params::read(ctx.params).matrices as usize;
    for leaf in part(count, LEAVES, at) {
        let (mut node, mut level) = (read_hash(|word| ctx.word(0, 8 * leaf + word))?, 0);
        while leaf >> level & 1 == 1 {
            let left = read_hash(|word| ctx.load(RESULT + 8 * level + word))?;
            node = Hash::node(left, node);
            level += 1;
        }
        for (word, value) in hash_words(&node.0).into_iter().enumerate() {
            ctx.store(RESULT + 8 * level + word, value)?;
        }
    }
    if (at + 1) * LEAVES < count {
        return Ok(());
    }
    if let Some(word) = (ctx.place.word as usize).checked_sub(8) {
        let loss = ctx.word(1, word)?;
        return ctx.set_result(loss);
    }
    let mut root: Option<Hash> = None;
    for level in (0..LEVELS).filter(|level| count >> level & 1 == 1) {
        let left = read_hash(|word| ctx.load(RESULT + 8 * level + word))?;
        root = Some(root.map_or(left, |right| Hash::node(left, right)));
    }
    let root = root.ok_or(WordFault::Format("the number of matrices"))?;
    ctx.set_result(hash_words(&root.0)[ctx.place.word as usize])
}

fn read_hash(mut word: impl FnMut(usize) -> Result<u32, WordFault>) -> Result<Hash, WordFault> {
    let mut words = [0; 8];
    for (at, read) in words.iter_mut().enumerate() {
        *read = word(at)?;
    }
    Ok(Hash(words_hash(&words)))
}
