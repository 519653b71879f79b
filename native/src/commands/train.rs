//! `train`: fine-tunes an adapter on a text, with the same training step as mining and without a node.

use super::adapter;
use crate::{
    compute::{self, ComputeArgs},
    interrupt::Interrupt,
    job,
    model::{self, JobArgs, TextTokenizer},
    output::{self, Exit, note, say},
    paths,
};
use anyhow::{Context, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use r3mes_wgpu::{
    model::{
        transformer::{RecordedStep, Targets},
        weights::Model,
    },
    numbers::lora::LoraAdapter,
    protocol::{CHUNK_TOKENS, Chunk, task_key},
    training::{
        checkpoint,
        optimizer::{Optimizer, Settings},
        session::TrainingSession,
        step::Trainer,
    },
};
use serde_json::json;
use std::{
    f64::consts::LN_2,
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
};

/// The number of sequences that the CPU or a software GPU computes together. A hardware GPU computes all sequences of a
/// chunk together. The number does not affect the result.
const SEQUENCES: usize = 4;

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    job: JobArgs,
    /// Train until the adapter has taken this many optimizer steps, including those of an existing checkpoint
    #[arg(long, value_name = "N", default_value_t = 100)]
    steps: u64,
    /// Use this many chunks of 2048 tokens for each step, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    chunks: u32,
    /// Set the learning rate [default: 0.002 for AdamW, 0.00003 for Lion]
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Select the optimizer
    #[arg(long, value_enum, default_value_t = OptimizerKind::Adamw)]
    optimizer: OptimizerKind,
    /// Report the loss on the whole text of this file, also in bits per byte [default: the loss on the chunks that are
    /// held out of training (the last tenth, but at most four)]
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    /// Evaluate the loss and write the checkpoint every N steps
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    eval_steps: u64,
    /// Write checkpoint.safetensors to this folder; if the file exists, training continues from it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed the initial adapter and the dither (the random bits for rounding)
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object per step and per evaluation on stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OptimizerKind {
    Adamw,
    Lion,
}

/// Trains until `--steps` is reached or Ctrl-C is pressed, and then writes a checkpoint.
pub(crate) fn run(args: TrainArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen();
    let data_dir = paths::data_dir(args.job.data_dir.clone())?;
    let model_dir = model::dir(args.job.model.as_deref(), &data_dir)?;
    let model = model::read(&model_dir)?;
    let chunks = model::chunks(&args.job, &model_dir, &model)?;
    let (train, held_out) = match &args.eval {
        Some(path) => (&chunks[..], HeldOutText::read(path, &model_dir, &model)?),
        None => split(&chunks),
    };
    let compute = compute::choose(&args.compute)?;
    let seed = task_key(&[0; 32], &format!("train {}", args.seed));
    let settings = settings(args.optimizer, args.learning_rate);

    fs::create_dir_all(&args.out).with_context(|| format!("creating {}", args.out.display()))?;
    let path = args.out.join("checkpoint.safetensors");
    let (adapter, optimizer) = if path.exists() {
        read_checkpoint(&path, &args, &model)?
    } else {
        let (_, state) = job::create(&model, &model::targets(args.job.rank), settings, seed)?;
        let optimizer = Optimizer::from_bytes(&state.optimizer)?;
        (state.adapter, optimizer)
    };
    let targets = Targets::from_adapter(&adapter);
    let sequences = compute.backend.sequences_per_run(SEQUENCES).min(CHUNK_TOKENS.div_ceil(model.config.context));
    let step = RecordedStep::new(&model, &targets, sequences);
    let trainer = block_on(Trainer::prepare(step, &compute.backend))?;
    let mut session = TrainingSession::new(trainer, adapter, optimizer, seed);
    note!("Training on {} with {} chunks; {} tokens are held out.", compute.name, train.len(), held_out.tokens());

    let bar = progress(&args, session.optimizer().steps());
    held_out.report(&mut session, &args, &bar)?;
    while session.optimizer().steps() < args.steps && !interrupt.is_requested() {
        let number = session.optimizer().steps();
        let at = |i: u64| train[((number * u64::from(args.chunks) + i) % train.len() as u64) as usize].tokens();
        let batch: Vec<_> = (0..u64::from(args.chunks)).map(at).collect();
        let done = block_on(session.step(&batch))?;
        let Some(report) = done.report else { return Err(no_gradient(&mut session, &batch)?) };
        bar.inc(1);
        bar.set_message(format!("loss {:.4}", done.loss));
        if args.json {
            output::line(json!({
                "event": "step", "step": number + 1, "loss": done.loss, "gradient_norm": report.gradient_norm,
                "clipped": report.clipped, "learning_rate": report.learning_rate,
            }));
        }
        if (number + 1).is_multiple_of(args.eval_steps) || number + 1 == args.steps {
            save(&session, &path)?;
            held_out.report(&mut session, &args, &bar)?;
        }
    }
    save(&session, &path)?;
    bar.finish();
    note!("Saved step {} in {}.", session.optimizer().steps(), path.display());
    Ok(if interrupt.is_requested() { Exit::Interrupted } else { Exit::Ok })
}

/// Reads the checkpoint from which training continues. Its adapter may adapt only some of the seven kinds of linear
/// layers; then only these layers are trained. Returns an error if the adapter does not fit the model, or has another
/// rank than `--rank`.
fn read_checkpoint(path: &Path, args: &TrainArgs, model: &Model) -> Result<(LoraAdapter, Optimizer)> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (adapter, optimizer) = checkpoint::read(&bytes).with_context(|| format!("{}", path.display()))?;
    let rank = adapter.rank;
    ensure!(rank == args.job.rank, "{} has rank {rank}; pass --rank {rank}", path.display());
    adapter::check_fits(&adapter, &model.config)
        .with_context(|| format!("the adapter in {} does not fit the model", path.display()))?;
    note!("Continuing from step {}.", optimizer.steps());
    Ok((adapter, optimizer))
}

/// Returns the settings of a new optimizer. If `learning_rate` is `None`, the default learning rate of this kind of
/// optimizer applies.
pub(super) fn settings(kind: OptimizerKind, learning_rate: Option<f64>) -> Settings {
    let settings = match kind {
        OptimizerKind::Adamw => Settings { learning_rate: 0.002, ..Settings::ADAMW },
        OptimizerKind::Lion => Settings::LION,
    };
    Settings { learning_rate: learning_rate.unwrap_or(settings.learning_rate), ..settings }
}

/// Splits the chunks into those to train on and those to hold out. The last tenth of the chunks is held out, but at
/// most four chunks, and at least one chunk if there are two or more.
fn split(chunks: &[Chunk]) -> (&[Chunk], HeldOutText) {
    let (train, rest) = chunks.split_at(chunks.len() - (chunks.len() / 10).clamp(usize::from(chunks.len() > 1), 4));
    (train, HeldOutText { texts: rest.iter().map(|chunk| chunk.tokens().to_vec()).collect(), bytes: None })
}

/// The text on which the loss is evaluated.
struct HeldOutText {
    /// The tokens of the text: one list for a whole file, or one list for each chunk that is held out.
    texts: Vec<Vec<u32>>,
    /// Size of the text in bytes if it is a whole file; `None` if it consists of chunks.
    bytes: Option<usize>,
}

impl HeldOutText {
    /// Reads a whole file, and converts it to tokens of the model in the folder `dir`.
    fn read(path: &Path, dir: &Path, model: &Model) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let tokens = TextTokenizer::open(dir, model.config.vocab)?.encode(&text);
        let tokens = tokens.with_context(|| format!("tokenizing {}", path.display()))?;
        ensure!(tokens.len() > 1, "{} has {} tokens; at least 2 are needed", path.display(), tokens.len());
        Ok(Self { texts: vec![tokens], bytes: Some(text.len()) })
    }

    fn tokens(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    /// Prints the mean loss. Each sequence is evaluated by itself, so the first tokens of a sequence have no context
    /// from the text before it.
    fn report(&self, session: &mut TrainingSession, args: &TrainArgs, bar: &ProgressBar) -> Result<()> {
        let texts: Vec<_> = self.texts.iter().map(|text| &text[..]).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let step = session.optimizer().steps();
        let Some(loss) = block_on(session.evaluate(&texts))? else { return Err(no_gradient(session, &texts)?) };
        let predicted = (self.tokens() - texts.len()) as f64;
        let bits = self.bytes.map(|bytes| loss / LN_2 * predicted / bytes as f64);
        if args.json {
            let event = json!({ "event": "evaluation", "step": step, "held_out_loss": loss, "bits_per_byte": bits });
            output::line(event);
        } else {
            let bits = bits.map_or_else(String::new, |bits| format!(" ({bits:.4} bits per byte of text)"));
            bar.suspend(|| say!("step {step}: held-out loss {loss:.4} nats per token{bits}"));
        }
        Ok(())
    }
}

/// Returns an error that says why no gradient or loss can be computed for these chunks.
fn no_gradient(session: &mut TrainingSession, chunks: &[&[u32]]) -> Result<anyhow::Error> {
    let found = block_on(session.explain_saturation(chunks))?;
    let step = session.optimizer().steps();
    Ok(match found {
        Some(reason) => anyhow!("training step {step} cannot be computed: {reason}"),
        None => anyhow!("the loss at step {step} cannot be computed, because a value left the range of the arithmetic"),
    })
}

fn save(session: &TrainingSession, path: &Path) -> Result<()> {
    paths::write_whole(path, &checkpoint::write(session.adapter(), session.optimizer())?)
}

fn progress(args: &TrainArgs, done: u64) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}");
    let bar = ProgressBar::new(args.steps).with_position(done);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
