//! `model import`: converts a model from another program's format into a folder that the other commands can read.

use crate::{
    model::{
        files::ModelFiles,
        tokenizer::{TOKENIZER, TextTokenizer},
    },
    output::{Exit, note, say},
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use r3mes_wgpu::model::{file, manifest::model_manifest, weights::Model};
use std::{
    fs::{self, File},
    io::{BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

#[derive(Args)]
pub(crate) struct ModelImportArgs {
    /// A folder with config.json and safetensors files, or a .gguf file
    source: PathBuf,
    /// Write the model to this folder, which must either not exist or be empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Converts a model: writes it to a temporary folder next to `--out`, reads it back to check it, and then renames the
/// temporary folder to `--out`.
pub(crate) fn run(args: &ModelImportArgs) -> Result<Exit> {
    let out = &args.out;
    ensure!(is_free(out)?, "{} already exists and is not empty", out.display());
    let source = ModelFiles::open(&args.source)?;
    let bar = progress();
    let mut on_layer = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let model =
        source.read(&mut on_layer).with_context(|| format!("reading the model in {}", args.source.display()))?;
    bar.finish_and_clear();
    if let Some(advice) = source.unstated()? {
        note!("{advice}");
    }
    let partial = create_partial(out)?;
    let convert = || -> Result<()> {
        write(&model, &partial)?;
        let tokenizer = args.source.join(TOKENIZER);
        if tokenizer.is_file() {
            TextTokenizer::open(&args.source, model.config.vocab)?;
            fs::copy(&tokenizer, partial.join(TOKENIZER))
                .with_context(|| format!("copying {}", tokenizer.display()))?;
        }
        let (found, expected) = (model_manifest(&crate::model::read(&partial)?)?.cid(), model_manifest(&model)?.cid());
        ensure!(found == expected, "the written model has the CID {found}, expected {expected}");
        if out.exists() {
            fs::remove_dir(out)?;
        }
        fs::rename(&partial, out).with_context(|| format!("renaming to {}", out.display()))?;
        say!("model {expected}");
        Ok(())
    };
    convert().inspect_err(|_| {
        // an incomplete model is deleted; if that fails, the next import of this name deletes it
        let _ = fs::remove_dir_all(&partial);
    })?;
    let tokenizer = if out.join(TOKENIZER).exists() { "" } else { "; the source has no tokenizer.json" };
    note!("Saved a model with {1} ternary weights in {0}{tokenizer}.", out.display(), model.config.ternary_weights());
    Ok(Exit::Ok)
}

/// Returns whether the folder `out` can be created: its path does not exist, or is an empty folder.
fn is_free(out: &Path) -> Result<bool> {
    if !out.exists() {
        return Ok(true);
    }
    Ok(out.is_dir() && fs::read_dir(out).with_context(|| format!("reading {}", out.display()))?.next().is_none())
}

/// Creates the temporary folder next to `out`. Before that, deletes the temporary folder of an earlier import that was
/// interrupted.
fn create_partial(out: &Path) -> Result<PathBuf> {
    let mut name = out.file_name().with_context(|| format!("{} has no name", out.display()))?.to_owned();
    name.push(".partial");
    let partial = out.with_file_name(name);
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    Ok(partial)
}

/// Writes the files of the model to the folder `dir`, and returns once they are on disk.
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
