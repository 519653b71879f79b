//! The files of the mining page. The node reads, hashes and compresses each version of a file once, and then keeps it
//! in memory.

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

/// The maximum size of a served file in bytes. A larger file is treated as if it did not exist.
const MAX_FILE_BYTES: u64 = 32 << 20;

/// The folder of the mining page, and a cache of the files that clients have requested.
pub(super) struct PageFolder {
    path: PathBuf,
    files: Mutex<HashMap<String, Arc<PageFile>>>,
}

/// One version of a file. The version is current as long as the file on disk has the same modification time and length.
pub(super) struct PageFile {
    modified: SystemTime,
    length: u64,
    /// The media type: the value of the header `Content-Type`.
    pub(super) kind: &'static str,
    pub(super) plain: Representation,
    pub(super) gzip: Representation,
}

/// A response body, plain or compressed with gzip, and its strong ETag. The ETag contains the SHA-256 of the
/// uncompressed file.
pub(super) struct Representation {
    pub(super) etag: HeaderValue,
    pub(super) bytes: Bytes,
}

impl PageFolder {
    /// Creates an empty cache for the folder `path`. The folder need not exist yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, files: Mutex::default() }
    }

    /// Returns the file with a name such as `check.html` or `folder/file.js`, or `None` if it does not exist.
    ///
    /// The parts of a name, which are separated by `/`, may contain letters, digits, `.`, `-` and `_`. No part may
    /// start with a dot, so that a name cannot lead out of the folder.
    pub(super) fn get(&self, name: &str) -> io::Result<Option<Arc<PageFile>>> {
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
        let file = Arc::new(PageFile::new(modified, length, kind(name), fs::read(&path)?)?);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), file.clone());
        Ok(Some(file))
    }
}

impl PageFile {
    fn new(modified: SystemTime, length: u64, kind: &'static str, bytes: Vec<u8>) -> io::Result<Self> {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&bytes));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&bytes)?;
        let represent = |suffix: &str, bytes: Vec<u8>| -> io::Result<Representation> {
            let etag = HeaderValue::try_from(format!("\"{hash}{suffix}\"")).map_err(io::Error::other)?;
            Ok(Representation { etag, bytes: bytes.into() })
        };
        Ok(Self { modified, length, kind, gzip: represent("-gzip", gzip.finish()?)?, plain: represent("", bytes)? })
    }
}

/// Returns the media type of a file, judged by the extension of its name.
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
