//! The data folder: `models/<name>/`, `<job>/ledger.redb`, `<job>/receipts/`.

use anyhow::{Context, Result};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The folder given, or the user's own.
pub(crate) fn data_dir(given: Option<PathBuf>) -> Result<PathBuf> {
    let dir = match given {
        Some(dir) => dir,
        None => directories::ProjectDirs::from("", "", "r3mes-wgpu")
            .context("no home folder; name one by --data-dir")?
            .data_dir()
            .to_owned(),
    };
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// Writes a whole file or leaves the old one: aside, synced, renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("partial");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Writes a new file that only its user may read, where the system knows of users.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> std::io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// A folder, made if it is not there, that only its user may enter, where the system knows of users.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| format!("creating {}", path.display()))
}

/// Makes a new name in a folder survive a power cut.
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(fs::File::open(folder)?.sync_all()?)
}

/// Windows keeps names in the journal and cannot sync a folder.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_path: &Path) -> Result<()> {
    Ok(())
}
