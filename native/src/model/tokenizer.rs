//! Converts between text and tokens. Either every byte is a token, or the model's `tokenizer.json` defines the tokens.
//! Hugging Face's crate `tokenizers` reads this file.

use super::tokenizer_file;
use anyhow::{Context, Result, anyhow, bail, ensure};
use r3mes_wgpu::protocol::{CHUNK_TOKENS, Chunk};
use std::{fs, path::Path};
use tokenizers::{
    DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// The name of the tokenizer file in a model's folder.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// The tokenizer of a model: one token per byte, or a `tokenizer.json`.
pub(crate) enum TextTokenizer {
    /// Every byte is a token. The model has a vocabulary of 256 and no tokenizer file.
    Bytes,
    /// The tokenizer that the model's `tokenizer.json` defines.
    Learned {
        tokenizer: Box<Tokenizer>,
        /// The number of tokens in the model's vocabulary. The tokenizer may define more tokens, but a text that
        /// contains one of the additional tokens is refused.
        vocab: usize,
    },
}

impl TextTokenizer {
    /// Opens the tokenizer of the model in the folder `dir`. The model's vocabulary has `vocab` tokens.
    ///
    /// Returns an error if the tokenizer file cannot be read, or if there is no such file and `vocab` is not 256.
    pub(crate) fn open(dir: &Path, vocab: usize) -> Result<Self> {
        let path = dir.join(TOKENIZER);
        if !path.exists() {
            ensure!(vocab == 256, "the model has a vocabulary of {vocab}, so reading text needs {}", path.display());
            return Ok(Self::Bytes);
        }
        let failed = || format!("reading the tokenizer in {}", path.display());
        let bytes = fs::read(&path).with_context(failed)?;
        let tokenizer = tokenizer_file::parse(&bytes).with_context(failed)?;
        Ok(Self::Learned { tokenizer: Box::new(tokenizer), vocab })
    }

    /// Returns the token IDs of one text, including the special tokens that the tokenizer adds. They are equal to the
    /// IDs that the Python library `transformers` returns as `tokenizer(text).input_ids`. Returns an error if an ID is
    /// not in the model's vocabulary.
    pub(crate) fn encode(&self, text: &[u8]) -> Result<Vec<u32>> {
        match self {
            Self::Bytes => Ok(text.iter().map(|byte| u32::from(*byte)).collect()),
            Self::Learned { tokenizer, vocab } => {
                let text = std::str::from_utf8(text).context("not UTF-8")?;
                let ids = tokenizer.encode_fast(text, true).map_err(|error| anyhow!("{error}"))?.get_ids().to_vec();
                if let Some(&id) = ids.iter().find(|id| **id as usize >= *vocab) {
                    let token = tokenizer.id_to_token(id).unwrap_or_default();
                    bail!(
                        "the text contains the token {token:?} with the ID {id}, but the model's vocabulary has only \
                         {vocab} tokens; use the tokenizer.json that belongs to this model, or remove the token from \
                         the text"
                    );
                }
                Ok(ids)
            }
        }
    }

    /// Concatenates the tokens of all texts, given as pairs `(name, bytes)`, and cuts them into chunks of 2048 tokens.
    /// Tokens after the last complete chunk are dropped.
    pub(crate) fn chunks(&self, texts: &[(String, Vec<u8>)], vocab: usize) -> Result<Vec<Chunk>> {
        let mut ids = Vec::new();
        for (name, text) in texts {
            ids.extend(self.encode(text).with_context(|| format!("tokenizing {name}"))?);
        }
        let (chunks, _rest) = ids.as_chunks::<CHUNK_TOKENS>();
        chunks.iter().map(|chunk| Ok(Chunk::new(chunk.to_vec(), vocab as u32)?)).collect()
    }

    /// Returns a decoder that converts tokens to text. It receives one token at a time, and returns the text as
    /// soon as the characters are complete.
    pub(crate) fn stream(&self) -> TextStream<'_> {
        match self {
            Self::Bytes => TextStream::Bytes(Vec::new()),
            Self::Learned { tokenizer, .. } => TextStream::Learned(tokenizer.decode_stream(true)),
        }
    }
}

/// A decoder that receives one token at a time and returns only complete characters.
pub(crate) enum TextStream<'a> {
    /// Decodes tokens that are bytes. The field holds the bytes of a character that is not complete yet.
    Bytes(Vec<u8>),
    /// Converts token IDs to text with the vocabulary of a `tokenizer.json`.
    Learned(Stream<'a>),
}

type Stream<'a> =
    DecodeStream<'a, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

impl TextStream<'_> {
    /// Adds a token and returns the text that this token completes. The text may be empty.
    pub(crate) fn push(&mut self, token: u32) -> Result<String> {
        match self {
            Self::Bytes(held) => {
                held.push(token as u8);
                // `error_len` is `None` if more bytes may still complete the character
                let incomplete = std::str::from_utf8(held).is_err_and(|error| error.error_len().is_none());
                Ok(if incomplete { String::new() } else { String::from_utf8_lossy(&std::mem::take(held)).into_owned() })
            }
            Self::Learned(stream) => Ok(stream.step(token).map_err(|error| anyhow!("{error}"))?.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// The folder of the test tokenizer that `tests/data/bitnet/make.py` creates.
    const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bitnet/tokenizer");

    #[test]
    fn token_ids_match_those_of_python() {
        let tokenizer = TextTokenizer::open(Path::new(DATA), 1200).unwrap();
        let read = |name: &str| fs::read_to_string(Path::new(DATA).join(name)).unwrap();
        let mut lines: Vec<String> = serde_json::from_str(&read("odd_lines.json")).unwrap();
        // Python converts line ends when it reads a text file
        let book = include_str!("../../data/moby-dick.txt").replace("\r\n", "\n");
        lines.extend(book.split('\n').take(5000).map(str::to_owned));
        let expected = read("digests.txt");
        assert!(lines.len() > 5000 && expected.lines().count() == lines.len().div_ceil(100));
        for (number, (lines, expected)) in lines.chunks(100).zip(expected.lines()).enumerate() {
            let mut digest = Sha256::new();
            for line in lines {
                let ids = tokenizer.encode(line.as_bytes()).unwrap();
                digest.update((ids.len() as u32).to_le_bytes());
                ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
            }
            assert_eq!(&crate::output::hex(&digest.finalize())[..16], expected, "lines from {}", 100 * number);
        }
    }

    #[test]
    fn only_a_text_that_uses_a_token_beyond_the_vocabulary_is_rejected() {
        let whole = TextTokenizer::open(Path::new(DATA), 1200).unwrap();
        let text = "Call me Ishmael.".as_bytes();
        let ids = whole.encode(text).unwrap();
        let largest = ids.iter().copied().max().unwrap();
        let enough = TextTokenizer::open(Path::new(DATA), largest as usize + 1).unwrap();
        assert_eq!(enough.encode(text).unwrap(), ids);
        let error = TextTokenizer::open(Path::new(DATA), largest as usize).unwrap().encode(text).unwrap_err();
        let error = error.to_string();
        let TextTokenizer::Learned { tokenizer, .. } = whole else { unreachable!() };
        let token = tokenizer.id_to_token(largest).unwrap();
        assert!(error.contains(&format!("the token {token:?} with the ID {largest}")), "{error}");
    }

    #[test]
    fn decoding_token_by_token_returns_the_encoded_text() {
        let text = "The whale — “Moby Dick” — is white.\nça va, 鯨?";
        for tokenizer in [TextTokenizer::Bytes, TextTokenizer::open(Path::new(DATA), 1200).unwrap()] {
            let (ids, mut stream) = (tokenizer.encode(text.as_bytes()).unwrap(), tokenizer.stream());
            let pieces: Vec<_> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
            assert_eq!(pieces.concat(), text);
            assert!(pieces.iter().any(String::is_empty) && pieces.iter().all(|piece| !piece.contains('\u{fffd}')));
        }
        assert_eq!(TextTokenizer::Bytes.stream().push(0xff).unwrap(), "\u{fffd}");
    }
}
