//! Tokens of texts, and texts of tokens: bytes, or what a model's own `tokenizer.json` says, as Hugging AppState's `tokenizers`
//! reads it.

use anyhow::{Context, Result, anyhow, ensure};
use r3mes_wgpu::protocol::{CHUNK_TOKENS, Chunk};
use std::{fs, path::Path};
use tokenizers::{
    DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// The file beside a model.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// What a model's tokens are.
pub(crate) enum Tokens {
    /// A vocabulary of 256 without a file.
    Bytes,
    /// Those of a file.
    Learned(Box<Tokenizer>),
}

impl Tokens {
    /// Those of the model in a folder, whose ids it knows all.
    pub(crate) fn of(dir: &Path, vocab: usize) -> Result<Self> {
        let path = dir.join(TOKENIZER);
        if !path.exists() {
            ensure!(vocab == 256, "a text for a vocabulary of {vocab} needs {}", path.display());
            return Ok(Self::Bytes);
        }
        let failed = || format!("the tokenizer in {}", path.display());
        let bytes = fs::read(&path).with_context(failed)?;
        let tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| anyhow!("{error}")).with_context(failed)?;
        let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        ensure!(largest < vocab, "{}: token {largest} is beyond the model's vocabulary of {vocab}", path.display());
        Ok(Self::Learned(Box::new(tokenizer)))
    }

    /// The ids of one text, with the special tokens that the tokenizer puts around it: as Python's
    /// `tokenizer.encode(text).ids`.
    pub(crate) fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.iter().map(|byte| u32::from(*byte)).collect()),
            Self::Learned(tokenizer) => {
                let text = std::str::from_utf8(text).context("not UTF-8")?;
                Ok(tokenizer.encode_fast(text, true).map_err(|error| anyhow!("{error}"))?.get_ids().to_vec())
            }
        }
    }

    /// Texts one after another, cut into chunks of 2048 tokens. Tokens after the last whole chunk are left out.
    pub(crate) fn chunks(&self, texts: &[(String, Vec<u8>)], vocab: usize) -> Result<Vec<Chunk>> {
        let mut ids = Vec::new();
        for (name, text) in texts {
            ids.extend(self.encode(text).with_context(|| format!("tokenizing {name}"))?);
        }
        let (chunks, _rest) = ids.as_chunks::<CHUNK_TOKENS>();
        chunks.iter().map(|chunk| Ok(Chunk::new(chunk.to_vec(), vocab as u32)?)).collect()
    }

    /// Says tokens as they come.
    pub(crate) fn spoken(&self) -> Spoken<'_> {
        match self {
            Self::Bytes => Spoken::Bytes(Vec::new()),
            Self::Learned(tokenizer) => Spoken::Learned(tokenizer.decode_stream(true)),
        }
    }
}

/// A text that comes token by token, and is told by whole characters.
pub(crate) enum Spoken<'a> {
    /// Bytes of a character that is not whole yet.
    Bytes(Vec<u8>),
    /// The tokenizer's own stream.
    Learned(Stream<'a>),
}

type Stream<'a> =
    DecodeStream<'a, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

impl Spoken<'_> {
    /// What can be told now that `token` has come.
    pub(crate) fn hear(&mut self, token: u32) -> Result<String> {
        match self {
            Self::Bytes(held) => {
                held.push(token as u8);
                // an error without a length is a character that what follows may still make whole
                let has_pending = std::str::from_utf8(held).is_err_and(|error| error.error_len().is_none());
                Ok(if has_pending {
                    String::new()
                } else {
                    String::from_utf8_lossy(&std::mem::take(held)).into_owned()
                })
            }
            Self::Learned(stream) => Ok(stream.step(token).map_err(|error| anyhow!("{error}"))?.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// `tests/data/bitnet/make.py` says what made it.
    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bitnet/tokenizer");

    #[test]
    fn ids_are_those_of_python() {
        let tokens = Tokens::of(Path::new(DATA), 1200).unwrap();
        let read = |name: &str| fs::read_to_string(Path::new(DATA).join(name)).unwrap();
        let mut lines: Vec<String> = serde_json::from_str(&read("odd_lines.json")).unwrap();
        // as Python reads a text
        let book = include_str!("../../data/moby-dick.txt").replace("\r\n", "\n");
        lines.extend(book.split('\n').take(5000).map(str::to_owned));
        let expected = read("digests.txt");
        assert!(lines.len() > 5000 && expected.lines().count() == lines.len().div_ceil(100));
        for (number, (lines, expected)) in lines.chunks(100).zip(expected.lines()).enumerate() {
            let mut digest = Sha256::new();
            for line in lines {
                let ids = tokens.encode(line.as_bytes()).unwrap();
                digest.update((ids.len() as u32).to_le_bytes());
                ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
            }
            assert_eq!(&crate::output::hex(&digest.finalize())[..16], expected, "lines from {}", 100 * number);
        }
    }

    #[test]
    fn a_tokenizer_of_more_tokens_than_the_model_is_refused() {
        let said = Tokens::of(Path::new(DATA), 1199).err().unwrap().to_string();
        assert!(said.contains("token 1199 is beyond the model's vocabulary of 1199"), "{said}");
    }

    #[test]
    fn what_is_spoken_is_what_was_encoded() {
        let text = "The whale — “Moby Dick” — is white.\nça va, 鯨?";
        for tokens in [Tokens::Bytes, Tokens::of(Path::new(DATA), 1200).unwrap()] {
            let (ids, mut spoken) = (tokens.encode(text.as_bytes()).unwrap(), tokens.spoken());
            let heard: Vec<_> = ids.iter().map(|id| spoken.hear(*id).unwrap()).collect();
            assert_eq!(heard.concat(), text);
            assert!(heard.iter().any(String::is_empty) && heard.iter().all(|heard| !heard.contains('\u{fffd}')));
        }
        assert_eq!(Tokens::Bytes.spoken().hear(0xff).unwrap(), "\u{fffd}");
    }
}
