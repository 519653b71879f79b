//! Opens a model's files and maps them into memory. A model is one GGUF file, or a folder with `config.json` and
//! safetensors files that Hugging Face's libraries or this program have written.

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

/// The maximum size of `config.json` in bytes; a larger file is rejected. Real files are far smaller.
const CONFIG_BYTES: u64 = 1 << 20;
/// The maximum size of `model.safetensors.index.json` in bytes; a larger file is rejected. Real files are far smaller.
const INDEX_BYTES: u64 = 64 << 20;

/// The opened files of a model: those of a folder, or one GGUF file.
pub(crate) enum ModelFiles {
    Folder { config: Vec<u8>, pieces: Vec<Mmap> },
    Gguf(Mmap),
}

impl ModelFiles {
    /// Opens the model at `path`, which is a GGUF file, or a folder with `config.json` and safetensors files.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).with_context(|| format!("opening {}", path.display()))?;
        if metadata.is_file() {
            return Ok(Self::Gguf(map(path)?));
        }
        let config = limited(&path.join("config.json"), CONFIG_BYTES)?;
        let pieces = pieces(path)?.iter().map(|piece| map(piece)).collect::<Result<_>>()?;
        Ok(Self::Folder { config, pieces })
    }

    /// Reads the model from the opened files. Calls `progress` after each layer with the number of layers read so far
    /// and the total number of layers.
    pub(crate) fn read(&self, progress: Progress<'_>) -> Result<Model> {
        Ok(match self {
            Self::Gguf(bytes) => file::read_gguf(bytes, progress)?,
            Self::Folder { config, pieces } => {
                let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
                file::read_pieces(config, &pieces, progress)?
            }
        })
    }

    /// Returns the total size of the weight files in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let pieces = match self {
            Self::Gguf(bytes) => std::slice::from_ref(bytes),
            Self::Folder { pieces, .. } => pieces,
        };
        pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// Returns the safetensors files of a folder: `model.safetensors`, or, if that file is missing, the files that
/// `model.safetensors.index.json` names.
fn pieces(dir: &Path) -> Result<Vec<PathBuf>> {
    let (one, index) = (dir.join("model.safetensors"), dir.join("model.safetensors.index.json"));
    if one.exists() || !index.exists() {
        return Ok(vec![one]);
    }
    let named = || -> Result<BTreeSet<String>> {
        let json: serde_json::Value = serde_json::from_slice(&limited(&index, INDEX_BYTES)?)?;
        let map = json["weight_map"].as_object().context("the file has no weight_map")?;
        let name = |name: &serde_json::Value| {
            Ok(name.as_str().context("a file name in weight_map is not a string")?.to_owned())
        };
        map.values().map(name).collect()
    };
    let named = named().with_context(|| format!("reading {}", index.display()))?;
    ensure!(!named.is_empty(), "{} names no file", index.display());
    for name in &named {
        // a path could lead out of the folder
        if Path::new(name).file_name() != Some(name.as_ref()) {
            bail!("{} refers to {name:?}, which is not a plain file name", index.display());
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
    // SAFETY: the mapping is read-only, its bytes are validated as they are read, and users do not change a model's
    // files while a program has them open. If somebody truncates one anyway, the system ends this process with SIGBUS.
    let mapped = unsafe { Mmap::map(&file) };
    mapped.with_context(|| format!("mapping {}", path.display()))
}
