//! `model info`: reports the sizes of a model, and how much memory a training step takes.

use crate::{
    model::{files::ModelFiles, tokenizer::TOKENIZER},
    output::{self, Exit, say},
};
use anyhow::{Context, Result};
use clap::Args;
use r3mes_wgpu::{
    compute::recording::{BufferContent, Recording},
    model::{
        manifest::model_manifest,
        transformer::{BINDING_BYTES, RecordedStep},
        weights::Model,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::PathBuf};

/// The size of the largest buffer that WebGPU's default limits allow, in bytes.
const BUFFER_BYTES: usize = 256 << 20;

#[derive(Args)]
pub(crate) struct ModelInfoArgs {
    /// A folder with a model, or a .gguf file
    model: PathBuf,
    /// Report the memory of a step of this many tokens [default: the model's context]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    tokens: Option<u32>,
    /// Report the memory for an adapter of this rank, 4 to 64
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(4..=64))]
    rank: u32,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Reads the model, plans a training step without running it, and prints the report.
pub(crate) fn run(args: &ModelInfoArgs) -> Result<Exit> {
    let source = ModelFiles::open(&args.model)?;
    let model =
        source.read(&mut |_, _| ()).with_context(|| format!("reading the model in {}", args.model.display()))?;
    let (config, embedding) = (&model.config, &model.embedding);
    let cid = model_manifest(&model)?.cid().to_string();
    let gains = config.layers * (2 * config.width + config.heads * config.head_dim + config.ffn_width) + config.width;
    let embedded = config.vocab * config.width;
    let tokens = args.tokens.map_or(config.context, |tokens| tokens as usize);
    let plan = StepMemory::new(&model, tokens, args.rank as usize);
    let tokenizer = args.model.join(TOKENIZER).exists();
    let texts = match (tokenizer, config.vocab) {
        (true, _) => "text is read with tokenizer.json",
        (false, 256) => "text is read as bytes",
        (false, _) => "no tokenizer.json, so no text can be read",
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
        "{} layers of width {}, {} query heads and {} key-value heads of {}, feed-forward {}, vocabulary {}, context {}",
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
    say!("parameters: {} = {ternary} ternary + {embedded} embedding + {gains} norm gains", ternary + embedded + gains);
    say!("files: {}; {texts}", mega(source.bytes() as usize));
    plan.print();
    Ok(Exit::Ok)
}

/// The memory that a training step takes. All sizes are in bytes.
struct StepMemory {
    tokens: usize,
    sequences: usize,
    rank: usize,
    /// Total size of the constant buffers: packed weights, embeddings and tables.
    weights: usize,
    /// Total size of all buffers that are not constant.
    other: usize,
    /// Name and size of the largest buffer.
    largest: (String, usize),
    /// The tensors that are split into shards (several buffers). Each entry contains the tensor's name, the number of
    /// its shards, the size of the largest shard, and the total size.
    sharded: Vec<(String, usize, usize, usize)>,
}

impl StepMemory {
    /// Computes the memory of a training step that has one sequence of `tokens` tokens. If `tokens` exceeds the model's
    /// context, the step instead has the smallest number of full-length sequences that hold `tokens` tokens.
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

    /// Returns whether every buffer is within WebGPU's default limits.
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

    fn print(&self) {
        let Self { tokens, sequences, rank, weights, other, largest: (name, bytes), sharded } = self;
        say!("a training step of {tokens} tokens in {sequences} sequences, rank {rank} on all seven linear layers:");
        say!("  {} of weights and tables, {} of other buffers", mega(*weights), mega(*other));
        for (name, pieces, largest, all) in sharded {
            say!("  {name}: {} in {pieces} shards of at most {}", mega(*all), mega(*largest));
        }
        let limit = mega(BINDING_BYTES);
        let fits = if self.fits() { "within" } else { "beyond" };
        say!("  largest binding: {name}, {}; {fits} WebGPU's default limit of {limit}", mega(*bytes));
    }
}

/// Returns the tensors that are split into several buffers because their size grows with the vocabulary. Each entry
/// contains the tensor's name, the number of its buffers, the size of the largest one in bytes, and the total size in
/// bytes.
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

/// Returns how much memory it takes to run a recording (a list of kernel launches, such as a training step), in bytes:
/// first the memory of the constants (packed weights, embeddings, tables), then the memory of all other buffers.
pub(in crate::commands) fn planned_bytes(recording: &Recording) -> (usize, usize) {
    let all: usize = recording.plan().slot_words.iter().sum();
    let constant = |content: &BufferContent| matches!(content, BufferContent::Constant(_));
    let constants = recording.buffers().iter().filter(|buffer| constant(&buffer.content)).map(|buffer| buffer.words);
    let constants: usize = constants.sum();
    (4 * constants, 4 * (all - constants))
}

fn mega(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
