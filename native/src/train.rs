//! Local fine-tuning: the same step as mining, without a node.

use super::{
    cli::{OptimizerKind, TrainArgs},
    compute, engine,
    interrupt::Interrupt,
    model,
    output::{self, Exit, say},
    place,
};
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use r3mes_wgpu::model::transformer::Step;
use r3mes_wgpu::training::{
    checkpoint,
    optimizer::{Optimizer, Settings},
    session::Session,
    step::Trainer,
};
use r3mes_wgpu::work::{CHUNK_TOKENS, Chunk, task_key};
use serde_json::json;
use std::{fs, io::IsTerminal, sync::Arc};

/// Steps between checkpoints and evaluations.
const CHECKPOINT_STEPS: u64 = 20;
/// Sequences a play.
const SEQUENCES: usize = 4;

/// Trains until `--steps`, or Ctrl-C; what is done is kept.
pub(crate) fn run(args: TrainArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let data_dir = place::data_dir(args.job.data_dir.clone())?;
    let model_dir = model::dir(args.job.model.as_deref(), &data_dir)?;
    let model = model::read(&model_dir)?;
    let targets = model::targets(args.job.rank);
    let chunks = model::chunks(&args.job, &model_dir, &model)?;
    let (train, held_out) = split(&chunks);
    let compute = compute::choose(&args.compute)?;
    let seed = task_key(&[0; 32], &format!("train {}", args.seed));
    let settings = settings(args.optimizer, args.learning_rate);

    fs::create_dir_all(&args.out).with_context(|| format!("creating {}", args.out.display()))?;
    let path = args.out.join("checkpoint.safetensors");
    let (adapter, optimizer) = if path.exists() {
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let (adapter, optimizer) = checkpoint::read(&bytes).with_context(|| format!("{}", path.display()))?;
        ensure!(adapter.rank == args.job.rank, "{} is of rank {}", path.display(), adapter.rank);
        eprintln!("continuing at step {}", optimizer.steps());
        (adapter, optimizer)
    } else {
        let (_, state) = engine::job(&model, &targets, settings, seed)?;
        let optimizer = Optimizer::from_bytes(&state.optimizer)?;
        (state.adapter, optimizer)
    };
    let step = Step::new(&model, &targets, SEQUENCES.min(CHUNK_TOKENS.div_ceil(model.config.context)));
    let player = block_on(compute.backend.player(&Arc::new(step.recording.clone())))?;
    let mut session = Session::new(Trainer::new(step, player), adapter, optimizer, seed);
    eprintln!("training on {}: {} chunks, {} held out", compute.name, train.len(), held_out.len());

    let bar = progress(&args, session.optimizer().steps());
    while session.optimizer().steps() < args.steps && !interrupt.asked() {
        let number = session.optimizer().steps();
        let at = |i: u64| train[((number * u64::from(args.chunks) + i) % train.len() as u64) as usize].tokens();
        let batch: Vec<_> = (0..u64::from(args.chunks)).map(at).collect();
        let done = block_on(session.step(&batch))?;
        let report = done.report.context("a value saturated: the learning rate is too high for this model")?;
        bar.inc(1);
        bar.set_message(format!("loss {:.4}", done.loss));
        if args.json {
            output::line(json!({
                "event": "step", "step": number + 1, "loss": done.loss, "gradient_norm": report.gradient_norm,
                "clipped": report.clipped, "learning_rate": report.learning_rate,
            }));
        }
        if (number + 1).is_multiple_of(CHECKPOINT_STEPS) || number + 1 == args.steps {
            save(&session, &path)?;
            evaluate(&mut session, held_out, &args, &bar)?;
        }
    }
    save(&session, &path)?;
    bar.finish();
    eprintln!("step {}: {}", session.optimizer().steps(), path.display());
    Ok(if interrupt.asked() { Exit::Interrupted } else { Exit::Ok })
}

/// The settings of a first step.
pub(crate) fn settings(kind: OptimizerKind, learning_rate: Option<f64>) -> Settings {
    let settings = match kind {
        OptimizerKind::Adamw => Settings { learning_rate: 0.002, ..Settings::ADAMW },
        OptimizerKind::Lion => Settings::LION,
    };
    Settings { learning_rate: learning_rate.unwrap_or(settings.learning_rate), ..settings }
}

/// The last tenth, at most four chunks, is held out where there is more than one.
fn split(chunks: &[Chunk]) -> (&[Chunk], &[Chunk]) {
    chunks.split_at(chunks.len() - (chunks.len() / 10).clamp(usize::from(chunks.len() > 1), 4))
}

fn save(session: &Session, path: &std::path::Path) -> Result<()> {
    place::write_whole(path, &checkpoint::write(session.adapter(), session.optimizer())?)
}

fn evaluate(session: &mut Session, held_out: &[Chunk], args: &TrainArgs, bar: &ProgressBar) -> Result<()> {
    let chunks: Vec<_> = held_out.iter().map(Chunk::tokens).collect();
    if chunks.is_empty() {
        return Ok(());
    }
    let (step, loss) = (session.optimizer().steps(), block_on(session.evaluate(&chunks))?);
    if args.json {
        output::line(json!({ "event": "evaluation", "step": step, "held_out_loss": loss }));
    } else {
        bar.suspend(|| say!("step {step}: held-out loss {loss:.4} nats per token"));
    }
    Ok(())
}

fn progress(args: &TrainArgs, done: u64) -> ProgressBar {
    if args.json || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}");
    let bar = ProgressBar::new(args.steps).with_position(done);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
