//! `generate`: continues a text token by token. The same seed gives the same text on every backend.

use super::adapter;
use crate::{
    compute::{self, ComputeArgs},
    interrupt::Interrupt,
    model::{self, TextTokenizer},
    output::{self, Exit, note},
    paths,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pollster::block_on;
use r3mes_wgpu::{
    error::Error,
    model::{decoder::Decoder, sampling::Sampler},
};
use serde_json::json;
use std::{path::PathBuf, time::Instant};

/// The sentence that is printed before an error that occurs while text is generated.
const GENERATION: &str = "the model, or the adapter in it, cannot continue the text (logits must be within ±710 nats)";

#[derive(Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Use the model in this folder, which `model import` has written [default: the bundled model]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Use this adapter: a checkpoint of `train` or its folder, a PEFT folder, a data folder, or the URL of a node
    #[arg(long, value_name = "SOURCE")]
    adapter: Option<String>,
    /// Continue this text
    #[arg(long, value_name = "TEXT")]
    prompt: String,
    /// Generate at most this many tokens
    #[arg(long, value_name = "N", default_value_t = 400)]
    max_tokens: usize,
    /// Divide the logits by this temperature: 0 always takes the likeliest token, 1 samples with the model's
    /// probabilities
    #[arg(long, value_name = "X", default_value_t = 0.7)]
    temperature: f64,
    /// Sample from only this many of the likeliest tokens; 0 means all tokens
    #[arg(long, value_name = "N", default_value_t = 40)]
    top: usize,
    /// Seed the random sampling; the same seed gives the same text on every GPU and CPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Look for models in this folder [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Print one JSON object on stdout at the end, instead of the text as it is generated
    #[arg(long)]
    json: bool,
}

/// Continues the prompt until `--max-tokens` tokens are generated or Ctrl-C is pressed.
pub(crate) fn run(args: GenerateArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen();
    let data_dir = paths::data_dir(args.data_dir)?;
    let dir = model::dir(args.model.as_deref(), &data_dir)?;
    let model = model::read(&dir)?;
    let tokenizer = TextTokenizer::open(&dir, model.config.vocab)?;
    let adapter = args.adapter.as_deref().map(adapter::read).transpose()?;
    let prompt = tokenizer.encode(args.prompt.as_bytes())?;
    ensure!(!prompt.is_empty(), "the prompt is empty");
    let mut sampler = Sampler::new(args.temperature, args.top, args.seed)?;
    let compute = compute::choose(&args.compute)?;

    let window = prompt.len().saturating_add(args.max_tokens);
    let mut decoder = block_on(Decoder::new(&model, adapter.as_ref(), window, &compute.backend))?;
    let start = Instant::now();
    // if the prompt does not fit into the context with room to continue, only its end is read: half a context
    let room = decoder.remaining();
    let kept = if prompt.len() < room { prompt.len() } else { room / 2 + 1 };
    let mut scores = block_on(decoder.read(&prompt[prompt.len() - kept..])).context(GENERATION)?;
    if !args.json {
        output::piece(&args.prompt);
    }
    let (mut text, mut stream, mut generated) = (String::new(), tokenizer.stream(), 0);
    while generated < args.max_tokens && !interrupt.is_requested() {
        let token = sampler.next(&scores);
        let piece = stream.push(token)?;
        if !args.json {
            output::piece(&piece);
        }
        text += &piece;
        generated += 1;
        scores = match decoder.remaining() {
            0 => block_on(shift_window(&mut decoder, token)),
            _ => block_on(decoder.read(&[token])),
        }
        .context(GENERATION)?;
    }
    let rate = generated as f64 / start.elapsed().as_secs_f64().max(1e-9);
    if args.json {
        output::line(json!({
            "prompt": args.prompt, "text": text, "tokens": generated, "seed": args.seed, "backend": compute.name,
            "tokens_per_second": rate,
        }));
    } else {
        output::piece("\n");
        note!("Generated {generated} tokens on {} at {rate:.0} tokens/s.", compute.name);
    }
    Ok(if interrupt.is_requested() { Exit::Interrupted } else { Exit::Ok })
}

/// Makes room in a full context: drops the earlier half of its tokens, appends the new token, and computes the context
/// anew from these tokens. Returns the logits for the token that follows.
async fn shift_window(decoder: &mut Decoder, token: u32) -> Result<Vec<i32>, Error> {
    let mut tokens = decoder.tokens().to_vec();
    tokens.drain(..tokens.len().div_ceil(2));
    tokens.push(token);
    decoder.reset();
    decoder.read(&tokens).await
}
