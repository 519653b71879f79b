//! The folder of the page: each file in memory, hashed and compressed once for each version on disk.

use axum::{body::Bytes, http::HeaderValue};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Larger files are no page's.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// Files by their names, as they were when last asked for.
pub(super) struct Folder {
    path: PathBuf,
    files: Mutex<HashMap<String, Arc<File>>>,
}

/// One version of a file.
pub(super) struct File {
    modified: SystemTime,
    length: u64,
    pub(super) kind: &'static str,
    pub(super) plain: Form,
    pub(super) gzip: Form,
}

/// Bytes as they are sent, and a strong validator of them: another hash, other bytes.
pub(super) struct Form {
    pub(super) etag: HeaderValue,
    pub(super) bytes: Bytes,
}

impl Folder {
    /// Reads nothing yet; the folder may come later.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: Mutex::default() }
    }

    /// The file of a name like `check.html` or `folder/file.js`; `None` where there is none.
    ///
    /// A name is made of letters, digits, `.`, `-` and `_`, no part begins with a dot: there is no way out of the folder.
    pub(super) fn get(&self, name: &str) -> io::Result<Option<Arc<File>>> {
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if !name.split('/').all(plain) {
            return Ok(None);
        }
        let path = self.path.join(name);
        let Ok(metadata) = fs::metadata(&path) else { return Ok(None) };
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Ok(None);
        }
        let (modified, length) = (metadata.modified()?, metadata.len());
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(file) = known.filter(|file| (file.modified, file.length) == (modified, length)) {
            return Ok(Some(file));
        }
        let file = Arc::new(File::new(modified, length, kind(name), fs::read(&path)?)?);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), file.clone());
        Ok(Some(file))
    }
}

impl File {
    fn new(modified: SystemTime, length: u64, kind: &'static str, bytes: Vec<u8>) -> io::Result<Self> {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        let form = |suffix: &str, bytes: Vec<u8>| -> io::Result<Form> {
            let etag = HeaderValue::try_from(format!("\"{hash}{suffix}\"")).map_err(io::Error::other)?;
            Ok(Form { etag, bytes: bytes.into() })
        };
        Ok(Self { modified, length, kind, gzip: form("-gzip", gzip.finish()?)?, plain: form("", bytes)? })
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
