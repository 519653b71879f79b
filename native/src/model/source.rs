//! A model's files, mapped into memory: a folder of Hugging AppState's form or ours, or one GGUF file.

use anyhow::{Context, Result, bail, ensure};
use memmap2::Mmap;
use r3mes_wgpu::model::{
    file::{self, Progress},
    weights::Model,
};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

/// More than any `config.json` has.
const CONFIG_BYTES: u64 = 1 << 20;
/// More than any `model.safetensors.index.json` has.
const INDEX_BYTES: u64 = 64 << 20;

/// Opened files.
pub(crate) enum Source {
    Folder { config: Vec<u8>, pieces: Vec<Mmap> },
    Gguf(Mmap),
}

impl Source {
    /// Opens what is at a path, by what it is.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).with_context(|| format!("opening {}", path.display()))?;
        if metadata.is_file() {
            return Ok(Self::Gguf(map(path)?));
        }
        let config = limited(&path.join("config.json"), CONFIG_BYTES)?;
        let pieces = pieces(path)?.iter().map(|piece| map(piece)).collect::<Result<_>>()?;
        Ok(Self::Folder { config, pieces })
    }

    /// Reads the model.
    pub(crate) fn read(&self, progress: Progress<'_>) -> Result<Model> {
        Ok(match self {
            Self::Gguf(bytes) => file::read_gguf(bytes, progress)?,
            Self::Folder { config, pieces } => {
                let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
                file::read_pieces(config, &pieces, progress)?
            }
        })
    }

    /// Bytes of its weights' files.
    pub(crate) fn bytes(&self) -> u64 {
        let pieces = match self {
            Self::Gguf(bytes) => std::slice::from_ref(bytes),
            Self::Folder { pieces, .. } => pieces,
        };
        pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// The safetensors of a folder: those that its index names, else the one.
fn pieces(dir: &Path) -> Result<Vec<PathBuf>> {
    let (one, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
    if one.exists() || !index.exists() {
        return Ok(vec![one]);
    }
    let named = || -> Result<BTreeSet<String>> {
        let json: serde_json::Value = serde_json::from_slice(&limited(&index, INDEX_BYTES)?)?;
        let map = json["weight_map"].as_object().context("no weight_map")?;
        let name = |name: &serde_json::Value| Ok(name.as_str().context("a file's name is no text")?.to_owned());
        map.values().map(name).collect()
    };
    let named = named().with_context(|| format!("{}", index.display()))?;
    ensure!(!named.is_empty(), "{} names no file", index.display());
    for name in &named {
        // a file beside the index, and nothing else
        if Path::new(name).file_name() != Some(name.as_ref()) {
            bail!("{} names {name:?}, which is no file in its folder", index.display());
        }
    }
    Ok(named.iter().map(|name| dir.join(name)).collect())
}

fn limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    file.take(limit + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
    ensure!(bytes.len() as u64 <= limit, "{} has more than {limit} bytes", path.display());
    Ok(bytes)
}

fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    // SAFETY: the bytes are read-only here and checked as they are read, and a model's files are nobody else's to change
    // while a program has them open. Where somebody cuts one short nevertheless, the system ends this process (SIGBUS).
    let mapped = unsafe { Mmap::map(&file) };
    mapped.with_context(|| format!("mapping {}", path.display()))
}
