//! Tests that every proof fits in a move. The buffers have the sizes that occur with the model BitNet 2B4T, an adapter
//! of rank 64 on all seven kinds of linear layers, and sequences of 2048 tokens. The test runs no task: it computes the
//! size of each proof from the tiles that a step of a word program reads.

use crate::{
    dispute::{
        judge::{
            Hash, MAX_MOVE_BYTES, Move, Proof, RevealedBuffer, RevealedTiles, RootProof, TraceLeaf,
            tensor::{tile_words, tiles},
            trace::MAX_SLOTS,
            word_program::{StepContext, WordFault, WordMemory, WordPlace, WordProgram},
        },
        prover::{ArtifactEncoding, Program},
    },
    kernels::{Access, digest::TILE},
    model::{
        config::{Linear, ModelConfig},
        transformer::{RecordedStep, Targets},
        weights::{Embedding, Gain, Layer, Model},
    },
    numbers::{
        fixed::Scale,
        ternary::{Ternary, row_words},
    },
    protocol::{MatrixSpec, Transport},
};
use std::collections::{BTreeMap, BTreeSet};

/// Returns the configuration of BitNet 2B4T, reduced to one layer and to one shard of the vocabulary (16,384 tokens).
/// The buffers of further layers and shards would have the same sizes.
fn config() -> ModelConfig {
    ModelConfig { layers: 1, vocab: 16_384, ..ModelConfig::BITNET_2B4T }
}

fn model(config: &ModelConfig) -> Model {
    let gain = |width: usize| Gain { mantissas: vec![0; width].into(), exponent: 0 };
    let linear = |linear: &Linear| {
        let (columns, rows) = linear.shape(config);
        let words = vec![0; row_words(rows) * row_words(columns)].into();
        Ternary { rows, columns, words, dequant_scale: Scale::ONE }
    };
    let layer = Layer {
        attention_norm: gain(config.width),
        attention_sub_norm: gain(config.heads * config.head_dim),
        ffn_norm: gain(config.width),
        ffn_sub_norm: gain(config.ffn_width),
        linears: Linear::ALL.iter().map(linear).collect(),
    };
    let embedding = Embedding {
        words: vec![0; config.vocab * row_words(config.width)].into(),
        row_scales: vec![1; config.vocab].into(),
        exponent: 0,
    };
    Model { config: config.clone(), embedding, layers: vec![layer], final_norm: gain(config.width) }
}

/// A memory that notes which tiles (256 words each) a step reads or writes. Its words are chosen so that the step
/// accesses as many tiles as possible.
struct Counting {
    names: Vec<&'static str>,
    touched: Vec<BTreeSet<usize>>,
    scratch: Vec<u32>,
    touched_scratch: BTreeSet<usize>,
}

impl WordMemory for Counting {
    fn word(&mut self, binding: usize, at: usize) -> Result<u32, WordFault> {
        self.touched[binding].insert(at / TILE);
        Ok(match (self.names[binding], at % 8) {
            ("positions", _) => at as u32,
            ("spans", _) => [16 * at as u32, 32][at % 2],
            ("stats", 1) => 1 << 30,
            ("stats", 2) => 30,
            ("sum", _) => [1 << 30, 0][at % 2],
            _ => 0,
        })
    }
    fn scratch(&mut self, at: usize) -> Result<u32, WordFault> {
        self.touched_scratch.insert(at / TILE);
        Ok(self.scratch[at])
    }
    fn set(&mut self, at: usize, word: u32) -> Result<(), WordFault> {
        self.touched_scratch.insert(at / TILE);
        self.scratch[at] = word;
        Ok(())
    }
}

/// Returns the number of hashes in a Merkle proof of the leaves with the indexes `shown`. The tree has `count` leaves,
/// with indexes from `first` on. `first` is not 0 if the tree is a subtree of a larger tree.
fn rest(count: usize, shown: &[usize], first: usize) -> usize {
    match (count, shown) {
        (_, []) => 1,
        (0 | 1, _) => 0,
        _ => {
            let half = count.next_power_of_two() / 2;
            let (left, right) = shown.split_at(shown.partition_point(|at| *at < first + half));
            rest(half, left, first) + rest(count - half, right, first + half)
        }
    }
}

fn some_tiles(words: usize, touched: &BTreeSet<usize>) -> RevealedTiles {
    let shown: Vec<_> = touched.iter().copied().collect();
    let bytes = shown.iter().map(|at| 4 * tile_words(words, *at).len()).sum();
    let rest = if shown.is_empty() { 0 } else { rest(tiles(words), &shown, 0) };
    RevealedTiles {
        at: shown.iter().map(|at| *at as u32).collect(),
        words: vec![0; bytes],
        rest: vec![Hash([0; 32]); rest],
    }
}

/// The number of hashes in the longest Merkle path in a trace of 2^16 leaves.
const PATH: usize = 16;

/// Returns two numbers for a word program (which computes one output word of a dispatch in steps): the size in bytes of
/// the largest move that proves one of its steps, and the number of its steps. `words` are the lengths of the
/// dispatch's buffers in words.
fn largest(word_program: &WordProgram, params: &[u32], words: &[usize], place: WordPlace) -> (usize, usize) {
    let bound = word_program.kernel.bindings.iter().filter(|binding| !matches!(binding.access, Access::Flag));
    let scratch = (word_program.scratch)(params);
    let steps = (word_program.steps)(params, place);
    let mut memory = Counting {
        names: bound.map(|binding| binding.name).collect(),
        touched: vec![BTreeSet::new(); words.len()],
        scratch: vec![0; scratch],
        touched_scratch: BTreeSet::new(),
    };
    let mut bytes = 0;
    for at in 0..steps {
        memory.touched.iter_mut().for_each(BTreeSet::clear);
        memory.touched_scratch = BTreeSet::from([0]);
        let step = (word_program.step)(&mut StepContext { params, place, memory: &mut memory }, at);
        step.unwrap_or_else(|fault| panic!("{}, step {at}: {fault}", word_program.kernel.name));
        let leaf = TraceLeaf { roots: vec![Hash([0; 32]); MAX_SLOTS], saturated: false };
        let known = RootProof::Leaf { leaf, path: vec![Hash([0; 32]); PATH] };
        let touched = memory.touched.iter().enumerate().filter(|(_, touched)| !touched.is_empty());
        let tensors = touched
            .map(|(binding, touched)| RevealedBuffer {
                binding: binding as u32,
                known: known.clone(),
                tiles: some_tiles(words[binding], touched),
            })
            .collect();
        let path = vec![Hash([0; 32]); steps.next_power_of_two().ilog2() as usize];
        let proof =
            Proof { tensors, scratch: Hash([0; 32]), path, tiles: some_tiles(scratch, &memory.touched_scratch) };
        bytes = bytes.max(Move::Proof(Box::new(proof)).encode().len());
    }
    (bytes, steps)
}

#[test]
fn every_proof_fits_at_the_sizes_of_2b4t() {
    let config = config();
    let targets = Targets { rank: 64, linears: Linear::ALL.to_vec() };
    let step = RecordedStep::new(&model(&config), &targets, 1);
    let mut matrices = Vec::new();
    for (name, in_features, out_features) in targets.shapes(&config) {
        for (factor, columns) in [("a", in_features), ("b", out_features)] {
            let (name, columns) = (format!("{name}.{factor}"), columns as u32);
            matrices.push(MatrixSpec { name, rows: 64, columns, exponent: -40 });
        }
    }
    let program = Program::new(&step, &ArtifactEncoding::new(&matrices, Transport::Int16));
    let mut seen = BTreeSet::new();
    let mut table = BTreeMap::<&str, (usize, usize)>::new();
    for entry in program.entries() {
        if !seen.insert((entry.kernel.clone(), entry.params.clone())) {
            continue;
        }
        let word_program = entry.word_program().unwrap();
        let words: Vec<_> = entry.bindings.iter().map(|bound| bound.words as usize).collect();
        let units = (word_program.kernel.units)(&entry.params);
        for binding in entry.written().unwrap() {
            let owned = entry.owned(binding).unwrap();
            let each = owned / units;
            // the first, middle and last words of the last, the middle and the first work unit
            for unit in [units - 1, units / 2, 0] {
                for word in BTreeSet::from([0, each / 3, each / 2, each.saturating_sub(5), each - 1]) {
                    let place = WordPlace { binding: binding as u32, word: (unit * each + word) as u64 };
                    let (bytes, steps) = largest(word_program, &entry.params, &words, place);
                    let row = table.entry(word_program.kernel.name).or_default();
                    *row = (row.0.max(bytes), row.1.max(steps));
                }
            }
        }
    }
    for (kernel, (bytes, steps)) in &table {
        println!("| {kernel} | {steps} | {bytes} |");
    }
    for (kernel, (bytes, _)) in &table {
        assert!(*bytes <= MAX_MOVE_BYTES, "{kernel}: a move of {bytes} bytes is too large");
    }
}
