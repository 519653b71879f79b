//! Texts in tokens of a model's own `tokenizer.json`, as Hugging Face's `tokenizers` cuts them.

use anyhow::{Context, Result, anyhow, ensure};
use r3mes_wgpu::work::{CHUNK_TOKENS, Chunk};
use std::{fs, path::Path};
use tokenizers::Tokenizer;

/// The file beside a model.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Reads a tokenizer whose ids a model of this vocabulary knows.
pub(crate) fn open(path: &Path, vocab: usize) -> Result<Tokenizer> {
    let failed = || format!("the tokenizer in {}", path.display());
    let bytes = fs::read(path).with_context(failed)?;
    let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| anyhow!("{error}")).with_context(failed)?;
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
    ensure!(largest < vocab, "{}: token {largest} is beyond the model's vocabulary of {vocab}", path.display());
    Ok(tokenizer)
}

/// Texts one after another, each with the special tokens that the tokenizer puts around a text, cut into chunks of 2048
/// tokens. Tokens after the last whole chunk are left out.
pub(crate) fn chunks(tokenizer: &Tokenizer, texts: &[(String, Vec<u8>)], vocab: usize) -> Result<Vec<Chunk>> {
    let mut ids = Vec::new();
    for (name, text) in texts {
        let text = std::str::from_utf8(text).with_context(|| format!("{name} is not UTF-8"))?;
        ids.extend(encode(tokenizer, text).with_context(|| format!("tokenizing {name}"))?);
    }
    let (chunks, _rest) = ids.as_chunks::<CHUNK_TOKENS>();
    chunks.iter().map(|chunk| Ok(Chunk::new(chunk.to_vec(), vocab as u32)?)).collect()
}

/// The ids of one text, as Python's `tokenizer.encode(text).ids`.
fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    Ok(tokenizer.encode_fast(text, true).map_err(|error| anyhow!("{error}"))?.get_ids().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// `tests/data/bitnet/make.py` says what made it.
    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bitnet/tokenizer");

    #[test]
    fn ids_are_those_of_python() {
        let tokenizer = open(&Path::new(DATA).join(TOKENIZER), 1200).unwrap();
        let read = |name: &str| fs::read_to_string(Path::new(DATA).join(name)).unwrap();
        let mut lines: Vec<String> = serde_json::from_str(&read("odd_lines.json")).unwrap();
        // as Python reads a text
        let book = include_str!("../data/moby-dick.txt").replace("\r\n", "\n");
        lines.extend(book.split('\n').take(5000).map(str::to_owned));
        let expected = read("digests.txt");
        assert!(lines.len() > 5000 && expected.lines().count() == lines.len().div_ceil(100));
        for (number, (lines, expected)) in lines.chunks(100).zip(expected.lines()).enumerate() {
            let mut digest = Sha256::new();
            for line in lines {
                let ids = encode(&tokenizer, line).unwrap();
                digest.update((ids.len() as u32).to_le_bytes());
                ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
            }
            assert_eq!(&crate::output::hex(&digest.finalize())[..16], expected, "lines from {}", 100 * number);
        }
    }

    #[test]
    fn a_tokenizer_of_more_tokens_than_the_model_is_refused() {
        let said = open(&Path::new(DATA).join(TOKENIZER), 1199).unwrap_err().to_string();
        assert!(said.contains("token 1199 is beyond the model's vocabulary of 1199"), "{said}");
    }
}
