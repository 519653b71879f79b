//! Opens a model's files and maps them into memory. A model is one GGUF file, which may be split into parts, or a
//! folder with `config.json` and safetensors files that Hugging Face's libraries or this program have written.

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

/// The opened files of a model: `config.json` and safetensors files from a folder, or the parts of a GGUF file.
pub(crate) enum ModelFiles {
    Folder { config: Vec<u8>, pieces: Vec<Mmap> },
    Gguf(Vec<Mmap>),
}

impl ModelFiles {
    /// Opens the model at `path`, which is a GGUF file, or a folder. A folder contains `config.json` and safetensors
    /// files, or a single GGUF file. If the file name shows that the GGUF file is one part of a split file, all parts
    /// are opened.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let metadata = fs::metadata(path).with_context(|| format!("opening {}", path.display()))?;
        if metadata.is_file() {
            return Ok(Self::Gguf(map_all(&parts(path))?));
        }
        let pieces = pieces(path)?;
        if let Some(gguf) = only_gguf(path, &pieces)? {
            return Ok(Self::Gguf(map_all(&parts(&gguf))?));
        }
        let config = limited(&path.join("config.json"), CONFIG_BYTES)?;
        let mapped = map_all(&pieces)?;
        for (bytes, path) in mapped.iter().zip(&pieces) {
            file::parse_safetensors("safetensors", bytes).with_context(|| format!("reading {}", path.display()))?;
        }
        Ok(Self::Folder { config, pieces: mapped })
    }

    /// Reads the model from the opened files. Calls `progress` after each layer with the number of layers read so far
    /// and the total number of layers.
    pub(crate) fn read(&self, progress: Progress<'_>) -> Result<Model> {
        let (Self::Gguf(mapped) | Self::Folder { pieces: mapped, .. }) = self;
        let slices: Vec<&[u8]> = mapped.iter().map(|file| &file[..]).collect();
        Ok(match self {
            Self::Gguf(_) => file::read_gguf(&slices, progress)?,
            Self::Folder { config, .. } => file::read_pieces(config, &slices, progress)?,
        })
    }

    /// Returns a message if the files do not state the activation function of the model, otherwise `None`. The message
    /// says which function is assumed, and how the user can check it.
    pub(crate) fn unstated(&self) -> Result<Option<&'static str>> {
        let Self::Gguf(parts) = self else { return Ok(None) };
        let slices: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
        Ok((file::gguf_architecture(&slices)? == "bitnet").then_some(
            "The file does not state its activation, and is read with relu². llama.cpp uses SiLU for the architecture \
             \"bitnet\"; check in the config.json of the original model that its hidden_act is \"relu2\".",
        ))
    }

    /// Returns the total size of the weight files in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let (Self::Gguf(pieces) | Self::Folder { pieces, .. }) = self;
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
        let json: serde_json::Value = serde_json::from_slice(file::without_bom(&limited(&index, INDEX_BYTES)?))?;
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
            bail!(
                "the index {} refers to the file {name:?}, but may refer only to files in its own folder",
                index.display()
            );
        }
    }
    Ok(named.iter().map(|name| dir.join(name)).collect())
}

/// Returns the only GGUF file in a folder, or the first part of its only split GGUF file. Returns `None` if one of the
/// safetensors files `pieces` exists, or if the folder has no model file. Returns an error if there are several GGUF
/// files, or if a pickle file of PyTorch is the only model file.
fn only_gguf(dir: &Path, pieces: &[PathBuf]) -> Result<Option<PathBuf>> {
    if pieces.iter().any(|piece| piece.exists()) {
        return Ok(None);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let with = |extensions: &[&str]| -> Vec<&PathBuf> {
        let has =
            |path: &&PathBuf| path.extension().is_some_and(|found| extensions.iter().any(|known| found == *known));
        paths.iter().filter(has).collect()
    };
    let ggufs = with(&["gguf"]);
    match ggufs.first() {
        Some(first) if parts(first).len() == ggufs.len() => return Ok(Some((*first).clone())),
        Some(_) => {
            let names: Vec<_> = ggufs.iter().filter_map(|path| path.file_name()?.to_str()).collect();
            bail!(
                "the folder {} contains several GGUF files; pass the path of one of these: {}",
                dir.display(),
                names.join(", ")
            );
        }
        None => {}
    }
    if let Some(pickle) = with(&["bin", "pt", "pth"]).first() {
        bail!(
            "{} has no safetensors file. {} is a pickle of PyTorch, which can execute code and is therefore not read; \
             convert it to safetensors with save_pretrained of transformers",
            dir.display(),
            pickle.display()
        );
    }
    Ok(None)
}

/// Returns the paths of all parts of a split GGUF file if `path` is one of them, or else only `path`. llama.cpp's
/// `gguf-split` names the parts NAME-00001-of-00002.gguf and so on.
fn parts(path: &Path) -> Vec<PathBuf> {
    let numbers = || {
        let (rest, count) = path.file_name()?.to_str()?.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (name, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        (digits(count) && digits(number)).then_some((name, count))
    };
    let Some((name, count)) = numbers() else { return vec![path.to_owned()] };
    let part = |number: u32| path.with_file_name(format!("{name}-{number:05}-of-{count}.gguf"));
    (1..=count.parse().unwrap_or(1)).map(part).collect()
}

fn map_all(paths: &[PathBuf]) -> Result<Vec<Mmap>> {
    paths.iter().map(|path| map(path)).collect()
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
