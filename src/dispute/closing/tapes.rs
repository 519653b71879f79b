//! The tapes of the closing kernels. SHA-256 goes block by block, so its state is noted between steps.

use super::{block_digest, gradient_max, hash_words, matrix_leaf, outcome, transport, words_hash};
use crate::{
    dispute::{
        tape::{ANSWER, Desk, Fault, Place, Tape},
        tree::Hash,
    },
    rng::Dither,
    store::LEAF_BYTES,
    work::MAX_GRADIENT_BITS,
};
use sha2::block_api::compress256;
use std::ops::Range;

pub(in crate::dispute) const GRADIENT_MAX: Tape = Tape {
    kernel: &gradient_max::KERNEL,
    scratch: |_| ANSWER + 2,
    steps: |p, _| (gradient_max::Params::read(p).elements as usize).div_ceil(ELEMENTS),
    step: gradient_max,
};

pub(in crate::dispute) const TRANSPORT: Tape =
    Tape { kernel: &transport::KERNEL, scratch: |_| ANSWER, steps: |_, _| 1, step: transport };

pub(in crate::dispute) const BLOCK_DIGEST: Tape = Tape {
    kernel: &block_digest::KERNEL,
    scratch: |_| ANSWER + 8,
    steps: |p, place| block(block_digest::Params::read(p), place).len().div_ceil(HASHED),
    step: block_digest,
};

pub(in crate::dispute) const MATRIX_LEAF: Tape =
    Tape { kernel: &matrix_leaf::KERNEL, scratch: |_| ANSWER, steps: |_, _| 1, step: matrix_leaf };

pub(in crate::dispute) const OUTCOME: Tape = Tape {
    kernel: &outcome::KERNEL,
    scratch: |_| ANSWER + 8 * LEVELS,
    steps: |p, _| (outcome::Params::read(p).matrices as usize).div_ceil(LEAVES),
    step: outcome,
};

/// Elements whose magnitudes one step compares.
const ELEMENTS: usize = 2048;
/// Bytes that one step hashes.
const HASHED: usize = 1 << 15;
/// Leaves that one step adds to the tree.
const LEAVES: usize = 256;
/// Levels of the tree: matrices are at most 4096.
const LEVELS: usize = 14;

fn part(length: usize, size: usize, at: usize) -> Range<usize> {
    at * size..length.min((at + 1) * size)
}

fn gradient_max(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let elements = gradient_max::Params::read(desk.params).elements as usize;
    let mut max = desk.noted_sum(ANSWER)? as u64;
    for i in part(elements, ELEMENTS, at) {
        max = max.max((desk.pair(0, 2 * i)? as i64).unsigned_abs());
    }
    desk.note_long(ANSWER, max as i64)?;
    desk.saturate(max >= 1 << MAX_GRADIENT_BITS)?;
    desk.answer((max >> (32 * desk.place.word)) as u32)
}

fn transport(desk: &mut Desk, _: usize) -> Result<(), Fault> {
    let p = transport::Params::read(desk.params);
    let max = desk.pair(1, 0)?;
    let key = Dither([desk.word(2, 2 * p.matrix as usize)?, desk.word(2, 2 * p.matrix as usize + 1)?]);
    let mut elements = Vec::with_capacity(4);
    for at in p.in_word(desk.place.word as usize) {
        elements.push(p.rounded(desk.pair(0, 2 * at)? as i64, at, max, key));
    }
    desk.answer(p.packed(elements.into_iter()))
}

/// The bytes of the block whose digest is asked for.
fn block(p: &block_digest::Params, place: Place) -> Range<usize> {
    part(p.bytes as usize, LEAF_BYTES, place.word as usize / 8)
}

/// The state before the first block (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

fn block_digest(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let p = block_digest::Params::read(desk.params);
    let block = block(p, desk.place);
    let mut state = INITIAL;
    if at > 0 {
        for (word, state) in state.iter_mut().enumerate() {
            *state = desk.noted(ANSWER + word)?;
        }
    }
    let hashed = part(block.len(), HASHED, at);
    let last = hashed.end == block.len();
    let mut bytes = Vec::with_capacity(HASHED + 72);
    for byte in (block.start + hashed.start..block.start + hashed.end).step_by(4) {
        bytes.extend(desk.word(0, byte / 4)?.to_le_bytes());
    }
    bytes.truncate(hashed.len());
    if last {
        bytes.push(0x80);
        bytes.resize((bytes.len() + 8).next_multiple_of(64) - 8, 0);
        bytes.extend((8 * block.len() as u64).to_be_bytes());
    }
    compress256(&mut state, bytes.as_chunks().0);
    for (word, state) in state.into_iter().enumerate() {
        desk.note(ANSWER + word, state)?;
    }
    desk.answer(state[desk.place.word as usize % 8].swap_bytes())
}

fn matrix_leaf(desk: &mut Desk, _: usize) -> Result<(), Fault> {
    let p = matrix_leaf::Params::read(desk.params);
    let Some(word) = (desk.place.word as usize).checked_sub(8 * p.matrix as usize).filter(|word| *word < 8) else {
        let before = desk.before()?;
        return desk.answer(before);
    };
    let max = desk.pair(0, 0)?;
    let digests = (0..8 * p.blocks()).map(|at| desk.word(1, at)).collect::<Result<Vec<_>, _>>()?;
    let name = (0..(p.name_bytes as usize).div_ceil(4)).map(|at| desk.word(2, at)).collect::<Result<Vec<_>, _>>()?;
    let leaf = p.leaf(max, &digests, &name).ok_or(Fault::Format("a matrix's name"))?;
    desk.answer(leaf[word])
}

/// Appends leaves as a counter counts: a subtree of 2^level leaves is noted where the count has that bit.
fn outcome(desk: &mut Desk, at: usize) -> Result<(), Fault> {
    let count = outcome::Params::read(desk.params).matrices as usize;
    for leaf in part(count, LEAVES, at) {
        let (mut node, mut level) = (read_hash(|word| desk.word(0, 8 * leaf + word))?, 0);
        while leaf >> level & 1 == 1 {
            let left = read_hash(|word| desk.noted(ANSWER + 8 * level + word))?;
            node = Hash::node(left, node);
            level += 1;
        }
        for (word, value) in hash_words(&node.0).into_iter().enumerate() {
            desk.note(ANSWER + 8 * level + word, value)?;
        }
    }
    if (at + 1) * LEAVES < count {
        return Ok(());
    }
    if let Some(word) = (desk.place.word as usize).checked_sub(8) {
        let loss = desk.word(1, word)?;
        return desk.answer(loss);
    }
    let mut root: Option<Hash> = None;
    for level in (0..LEVELS).filter(|level| count >> level & 1 == 1) {
        let left = read_hash(|word| desk.noted(ANSWER + 8 * level + word))?;
        root = Some(root.map_or(left, |right| Hash::node(left, right)));
    }
    let root = root.ok_or(Fault::Format("a job"))?;
    desk.answer(hash_words(&root.0)[desk.place.word as usize])
}

fn read_hash(mut word: impl FnMut(usize) -> Result<u32, Fault>) -> Result<Hash, Fault> {
    let mut words = [0; 8];
    for (at, read) in words.iter_mut().enumerate() {
        *read = word(at)?;
    }
    Ok(Hash(words_hash(&words)))
}
