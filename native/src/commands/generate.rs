//! Generation: a text continued, a token at a time, the same for a seed on every backend.

use super::adapter;
use crate::{
    cli::GenerateArgs,
    compute,
    interrupt::Interrupt,
    model::{self, Tokens},
    output::{self, Exit},
    paths,
};
use anyhow::{Result, ensure};
use pollster::block_on;
use r3mes_wgpu::model::{decoder::Decoder, sampling::Sampler};
use serde_json::json;
use std::time::Instant;

/// Continues the prompt until `--max-tokens` or Ctrl-C.
pub(crate) fn run(args: GenerateArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let data_dir = paths::data_dir(args.data_dir)?;
    let dir = model::dir(args.model.as_deref(), &data_dir)?;
    let model = model::read(&dir)?;
    let tokens = Tokens::of(&dir, model.config.vocab)?;
    let adapter = args.adapter.as_deref().map(adapter::read).transpose()?;
    let prompt = tokens.encode(args.prompt.as_bytes())?;
    ensure!(!prompt.is_empty(), "the prompt is empty");
    let mut sampler = Sampler::new(args.temperature, args.top, args.seed)?;
    let compute = compute::choose(&args.compute)?;

    let window = prompt.len().saturating_add(args.max_tokens);
    let mut decoder = block_on(Decoder::new(&model, adapter.as_ref(), window, &compute.backend))?;
    let start = Instant::now();
    // a prompt longer than the window: its end, so that there is room for more
    let room = decoder.remaining();
    let kept = if prompt.len() < room { prompt.len() } else { room / 2 + 1 };
    let mut scores = block_on(decoder.read(&prompt[prompt.len() - kept..]))?;
    if !args.json {
        output::piece(&args.prompt);
    }
    let (mut text, mut spoken, mut made) = (String::new(), tokens.spoken(), 0);
    while made < args.max_tokens && !interrupt.is_requested() {
        let token = sampler.next(&scores);
        let heard = spoken.hear(token)?;
        if !args.json {
            output::piece(&heard);
        }
        text += &heard;
        made += 1;
        scores = match decoder.remaining() {
            0 => block_on(read_again(&mut decoder, token))?,
            _ => block_on(decoder.read(&[token]))?,
        };
    }
    let rate = made as f64 / start.elapsed().as_secs_f64().max(1e-9);
    if args.json {
        output::line(json!({
            "prompt": args.prompt, "text": text, "tokens": made, "seed": args.seed, "backend": compute.name,
            "tokens_per_second": rate,
        }));
    } else {
        output::piece("\n");
        eprintln!("{made} tokens by {}, {rate:.0} a second", compute.name);
    }
    Ok(if interrupt.is_requested() { Exit::Interrupted } else { Exit::Ok })
}

/// The window is full: its later half is read again from its start, then the new token.
async fn read_again(decoder: &mut Decoder, token: u32) -> Result<Vec<i32>> {
    let mut tokens = decoder.tokens().to_vec();
    tokens.drain(..tokens.len().div_ceil(2));
    tokens.push(token);
    decoder.reset();
    Ok(decoder.read(&tokens).await?)
}
