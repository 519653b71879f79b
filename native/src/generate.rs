//! Generation: a text continued, a token at a time, the same for a seed on every backend.

use super::{
    adapter,
    cli::GenerateArgs,
    compute,
    interrupt::Interrupt,
    model,
    output::{self, Exit},
    place,
};
use anyhow::{Result, ensure};
use pollster::block_on;
use r3mes_wgpu::model::{decoder::Decoder, sampling::Sampler};
use serde_json::json;
use std::time::Instant;

/// Continues the prompt until `--max-tokens` or Ctrl-C.
pub(crate) fn run(args: GenerateArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let data_dir = place::data_dir(args.data_dir)?;
    let model = model::load(args.model.as_deref(), &data_dir)?;
    let adapter = args.adapter.as_deref().map(adapter::read).transpose()?;
    let prompt: Vec<u32> = args.prompt.bytes().map(u32::from).collect();
    ensure!(!prompt.is_empty(), "the prompt is empty");
    ensure!(model.config.vocab >= 256, "texts are bytes, which need a vocabulary of 256, not {}", model.config.vocab);
    let mut sampler = Sampler::new(args.temperature, args.top, args.seed)?;
    let compute = compute::choose(&args.compute)?;

    let window = prompt.len().saturating_add(args.max_tokens);
    let mut decoder = block_on(Decoder::new(&model, adapter.as_ref(), window, &compute.backend))?;
    let start = Instant::now();
    // a prompt longer than the window: its end, so that there is room for more
    let room = decoder.room();
    let kept = if prompt.len() < room { prompt.len() } else { room / 2 + 1 };
    let mut scores = block_on(decoder.read(&prompt[prompt.len() - kept..]))?;
    let mut text = Text { bytes: Vec::new(), said: 0, silent: args.json };
    if !args.json {
        output::piece(&args.prompt);
    }
    while text.bytes.len() < args.max_tokens && !interrupt.asked() {
        let token = sampler.next(&scores);
        text.push(token as u8);
        scores = match decoder.room() {
            0 => block_on(read_again(&mut decoder, token))?,
            _ => block_on(decoder.read(&[token]))?,
        };
    }
    text.finish();
    let seconds = start.elapsed().as_secs_f64();
    let rate = text.bytes.len() as f64 / seconds.max(1e-9);
    if args.json {
        let generated = String::from_utf8_lossy(&text.bytes);
        output::line(json!({
            "prompt": args.prompt, "text": generated, "tokens": text.bytes.len(), "seed": args.seed,
            "backend": compute.name, "tokens_per_second": rate,
        }));
    } else {
        eprintln!("{} tokens by {}, {rate:.0} a second", text.bytes.len(), compute.name);
    }
    Ok(if interrupt.asked() { Exit::Interrupted } else { Exit::Ok })
}

/// The window is full: its later half is read again from its start, then the new token.
async fn read_again(decoder: &mut Decoder, token: u32) -> Result<Vec<i32>> {
    let mut tokens = decoder.tokens().to_vec();
    tokens.drain(..tokens.len().div_ceil(2));
    tokens.push(token);
    decoder.forget();
    Ok(decoder.read(&tokens).await?)
}

/// What was generated; shown a whole character at a time.
struct Text {
    bytes: Vec<u8>,
    said: usize,
    silent: bool,
}

impl Text {
    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        let rest = &self.bytes[self.said..];
        let whole = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            // what follows may still make it a character
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => rest.len(),
        };
        self.say(whole);
    }

    fn finish(&mut self) {
        self.say(self.bytes.len() - self.said);
        if !self.silent {
            output::piece("\n");
        }
    }

    fn say(&mut self, count: usize) {
        if !self.silent && count > 0 {
            output::piece(&String::from_utf8_lossy(&self.bytes[self.said..self.said + count]));
        }
        self.said += count;
    }
}
