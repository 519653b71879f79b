//! `model info`: what a model is, and what a step of training takes.

use super::InfoArgs;
use crate::{
    model::{source::Source, tokens::TOKENIZER},
    output::{self, Exit, say},
};
use anyhow::{Context, Result};
use r3mes_wgpu::{
    compute::recording::{Content, Recording},
    model::{
        manifest::model_manifest,
        transformer::{BINDING_BYTES, RecordedStep},
        weights::Model,
    },
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Largest buffer under WebGPU's default limits.
const BUFFER_BYTES: usize = 256 << 20;

/// Reads the model, records a step and says what it holds.
pub(crate) fn run(args: &InfoArgs) -> Result<Exit> {
    let source = Source::open(&args.model)?;
    let model = source.read(&mut |_, _| ()).with_context(|| format!("the model in {}", args.model.display()))?;
    let (config, embedding) = (&model.config, &model.embedding);
    let cid = model_manifest(&model)?.cid().to_string();
    let gains = config.layers * (2 * config.width + config.heads * config.head_dim + config.ffn_width) + config.width;
    let embedded = config.vocab * config.width;
    let tokens = args.tokens.map_or(config.context, |tokens| tokens as usize);
    let plan = Plan::new(&model, tokens, args.rank as usize);
    let tokenizer = args.model.join(TOKENIZER).exists();
    let texts = match (tokenizer, config.vocab) {
        (true, _) => "texts in tokenizer.json's tokens",
        (false, 256) => "texts in bytes",
        (false, _) => "no tokenizer.json, so no texts",
    };
    if args.json {
        let parameters = json!({ "ternary": config.ternary_weights(), "embedding": embedded, "gains": gains });
        output::line(json!({
            "model": cid, "config": config, "parameters": parameters, "tokenizer": tokenizer,
            "file_bytes": source.bytes(), "embedding_bytes": 4 * (embedding.words.len() + embedding.row_scales.len()),
            "step": plan.json(),
        }));
        return Ok(Exit::Ok);
    }
    say!("model {cid}");
    say!(
        "{} layers of width {}, {} heads over {} of {}, feed-forward {}, vocabulary {}, context {}",
        config.layers,
        config.width,
        config.heads,
        config.kv_heads,
        config.head_dim,
        config.ffn_width,
        config.vocab,
        config.context
    );
    let ternary = config.ternary_weights();
    say!("parameters: {} = {ternary} ternary + {embedded} embedding + {gains} gains", ternary + embedded + gains);
    say!("files: {}; {texts}", mega(source.bytes() as usize));
    plan.say();
    Ok(Exit::Ok)
}

/// Memory of a step.
struct Plan {
    tokens: usize,
    sequences: usize,
    rank: usize,
    weights: usize,
    other: usize,
    largest: (String, usize),
    /// Names of what is cut, pieces, bytes of the largest and of all.
    sharded: Vec<(String, usize, usize, usize)>,
}

impl Plan {
    /// Of a step of one sequence of so many tokens, or of as many whole ones as that takes.
    fn new(model: &Model, tokens: usize, rank: usize) -> Self {
        let mut model = model.clone();
        model.config.context = model.config.context.min(tokens);
        let sequences = tokens.div_ceil(model.config.context);
        let recording = RecordedStep::new(&model, &crate::model::targets(rank), sequences).recording;
        let (weights, other) = planned_bytes(&recording);
        let (slots, names) = (recording.plan(), recording.buffers());
        let largest = (0..slots.slot_words.len()).max_by_key(|slot| slots.slot_words[*slot]).unwrap_or(0);
        let held = names.iter().zip(&slots.slot_of).filter(|(_, slot)| **slot == largest).map(|(buffer, _)| buffer);
        let name = held.max_by_key(|buffer| buffer.words).map_or_else(String::new, |buffer| buffer.name.clone());
        let largest = (name, 4 * slots.slot_words.get(largest).copied().unwrap_or(0));
        Self {
            tokens: sequences * model.config.context,
            sequences,
            rank,
            weights,
            other,
            largest,
            sharded: sharded(&recording),
        }
    }

    /// Whether every buffer fits a binding and a buffer of WebGPU's default limits.
    fn fits(&self) -> bool {
        self.largest.1 <= BINDING_BYTES.min(BUFFER_BYTES)
    }

    fn json(&self) -> Value {
        let shards = self.sharded.iter().map(|(name, pieces, largest, all)| {
            json!({ "buffer": name, "shards": pieces, "largest_bytes": largest, "bytes": all })
        });
        json!({
            "tokens": self.tokens, "sequences": self.sequences, "rank": self.rank,
            "constant_bytes": self.weights, "planned_bytes": self.other,
            "largest_binding": { "buffer": self.largest.0, "bytes": self.largest.1 },
            "binding_limit_bytes": BINDING_BYTES, "buffer_limit_bytes": BUFFER_BYTES,
            "sharded": shards.collect::<Vec<_>>(), "fits_webgpu_defaults": self.fits(),
        })
    }

    fn say(&self) {
        let Self { tokens, sequences, rank, weights, other, largest: (name, bytes), sharded } = self;
        say!("a step of {tokens} tokens in {sequences} sequences, rank {rank} on all seven linears:");
        say!("  {} of weights and tables, {} of everything else", mega(*weights), mega(*other));
        for (name, pieces, largest, all) in sharded {
            say!("  {name}: {} in {pieces} shards of at most {}", mega(*all), mega(*largest));
        }
        let limit = mega(BINDING_BYTES);
        let fits = if self.fits() { "fits" } else { "does not fit" };
        say!("  largest binding: {name}, {}; {fits} WebGPU's default limits ({limit} a binding)", mega(*bytes));
    }
}

/// What the vocabulary is as long as, where it lies in several buffers.
fn sharded(recording: &Recording) -> Vec<(String, usize, usize, usize)> {
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let vocabulary = recording.buffers().iter().filter(|buffer| {
        ["embedding", "embedding.row_scales", "head.z", "head.dlogits"].contains(&buffer.name.as_str())
    });
    for buffer in vocabulary {
        by_name.entry(&buffer.name).or_default().push(4 * buffer.words);
    }
    let several = by_name.into_iter().filter(|(_, pieces)| pieces.len() > 1);
    several
        .map(|(name, pieces)| {
            let (largest, all) = (pieces.iter().max().copied().unwrap_or(0), pieces.iter().sum());
            (name.to_owned(), pieces.len(), largest, all)
        })
        .collect()
}

/// Bytes of constants (packed weights, embeddings, tables) and of everything else that a player keeps.
pub(crate) fn planned_bytes(recording: &Recording) -> (usize, usize) {
    let all: usize = recording.plan().slot_words.iter().sum();
    let constant = |content: &Content| matches!(content, Content::Constant(_));
    let constants = recording.buffers().iter().filter(|buffer| constant(&buffer.content)).map(|buffer| buffer.words);
    let constants: usize = constants.sum();
    (4 * constants, 4 * (all - constants))
}

fn mega(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
