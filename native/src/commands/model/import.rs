//! `model import`: models of other programs in the one form that the other commands read.

use super::ImportArgs;
use crate::{
    model::{
        source::Source,
        tokens::{TOKENIZER, Tokens},
    },
    output::{Exit, say},
};
use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use r3mes_wgpu::model::{file, manifest::model_manifest, weights::Model};
use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

/// Reads, writes beside the folder to make, reads that again, and gives it its name.
pub(crate) fn run(args: &ImportArgs) -> Result<Exit> {
    let out = &args.out;
    ensure!(is_free(out)?, "{} is there already", out.display());
    let source = Source::open(&args.source)?;
    let bar = progress();
    let mut told = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let model = source.read(&mut told).with_context(|| format!("the model in {}", args.source.display()))?;
    bar.finish_and_clear();
    let aside = aside(out)?;
    let made = || -> Result<()> {
        write(&model, &aside)?;
        let tokenizer = args.source.join(TOKENIZER);
        if tokenizer.is_file() {
            Tokens::of(&args.source, model.config.vocab)?;
            fs::copy(&tokenizer, aside.join(TOKENIZER)).with_context(|| format!("copying {}", tokenizer.display()))?;
        }
        let (found, expected) = (model_manifest(&crate::model::read(&aside)?)?.cid(), model_manifest(&model)?.cid());
        ensure!(found == expected, "what was written reads as {found}, not as {expected}");
        if out.exists() {
            fs::remove_dir(out)?;
        }
        fs::rename(&aside, out).with_context(|| format!("naming {}", out.display()))?;
        say!("model {expected}");
        Ok(())
    };
    made().inspect_err(|_| {
        // half a model is not kept; if it can not be removed, the next import of this name does
        let _ = fs::remove_dir_all(&aside);
    })?;
    let tokenizer = if out.join(TOKENIZER).exists() { "" } else { "; no tokenizer.json came with it" };
    eprintln!("{}: {} ternary weights{tokenizer}", out.display(), model.config.ternary_weights());
    Ok(Exit::Ok)
}

/// Whether a folder of this name can be made: nothing is there, or an empty folder.
fn is_free(out: &Path) -> Result<bool> {
    if !out.exists() {
        return Ok(true);
    }
    Ok(out.is_dir() && fs::read_dir(out).with_context(|| format!("reading {}", out.display()))?.next().is_none())
}

/// The folder beside `out` that is filled first; what an import that was killed left there is removed.
fn aside(out: &Path) -> Result<PathBuf> {
    let mut name = out.file_name().with_context(|| format!("{} has no name", out.display()))?.to_owned();
    name.push(".partial");
    let aside = out.with_file_name(name);
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("removing {}", aside.display()))?;
    }
    fs::create_dir_all(&aside).with_context(|| format!("creating {}", aside.display()))?;
    Ok(aside)
}

fn write(model: &Model, dir: &Path) -> Result<()> {
    let create = |name: &str| File::create(dir.join(name)).with_context(|| format!("creating {name}"));
    let mut tensors = BufWriter::with_capacity(1 << 20, create("model.safetensors")?);
    let mut config = create("config.json")?;
    let mut write = || -> std::io::Result<()> {
        file::write_tensors(model, &mut tensors)?;
        tensors.flush()?;
        tensors.get_ref().sync_all()
    };
    write().with_context(|| format!("writing {}", dir.display()))?;
    config.write_all(&file::config_json(&model.config)?).with_context(|| format!("writing {}", dir.display()))?;
    Ok(config.sync_all()?)
}

fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} layers, {eta} left");
    let bar = ProgressBar::new(1);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
