//! A chunk of training text: exactly 2048 tokens, encoded in 8192 bytes as little-endian u32.
//!
//! Tokens are u32 because some vocabularies have more than 65,536 tokens, and because an encoding of fixed width is
//! unique. A chunk is a raw block, so its CID contains the SHA-256 hash of these 8192 bytes.

use super::error::{ProtocolError, in_range};
use crate::store::{Block, Cid, Codec, Fetch};

/// The number of tokens in every chunk.
pub const CHUNK_TOKENS: usize = 2048;

/// A chunk of 2048 token IDs. All of them have been checked to be below the size of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk(Vec<u32>);

impl Chunk {
    /// Returns a chunk of the given tokens. Returns an error unless there are exactly 2048 tokens, all of them below
    /// `vocab`, the size of the vocabulary.
    pub fn new(tokens: Vec<u32>, vocab: u32) -> Result<Self, ProtocolError> {
        let expected = CHUNK_TOKENS as i64;
        in_range("number of tokens in a chunk", tokens.len() as i64, expected, expected)?;
        for &token in &tokens {
            in_range("token", token.into(), 0, i64::from(vocab) - 1)?;
        }
        Ok(Self(tokens))
    }

    /// Fetches the chunk with the CID `cid`, checks the block against this CID, and decodes the chunk. Returns an error
    /// unless all tokens are below `vocab`, the size of the vocabulary.
    pub fn fetch(cid: &Cid, vocab: u32, fetch: Fetch) -> Result<Self, ProtocolError> {
        let block = Block::fetch(Codec::Raw, cid, fetch)?;
        let expected = 4 * CHUNK_TOKENS as i64;
        in_range("number of bytes in a chunk", block.bytes().len() as i64, expected, expected)?;
        let (words, _) = block.bytes().as_chunks();
        Self::new(words.iter().map(|word| u32::from_le_bytes(*word)).collect(), vocab)
    }

    /// Returns the 2048 token IDs.
    pub fn tokens(&self) -> &[u32] {
        &self.0
    }

    /// Returns the raw block that encodes the chunk.
    pub fn block(&self) -> Block {
        let bytes = self.0.iter().flat_map(|token| token.to_le_bytes()).collect();
        Block::new(Codec::Raw, bytes).expect("8192 bytes are within the block limit")
    }
}

/// Splits a text into chunks of 2048 bytes. Each byte is one token of a vocabulary of 256 tokens. Bytes after the last
/// whole chunk are left out.
pub fn cut_text(text: &[u8]) -> impl ExactSizeIterator<Item = Chunk> + '_ {
    let (chunks, _rest) = text.as_chunks::<CHUNK_TOKENS>();
    chunks.iter().map(|bytes| Chunk(bytes.iter().map(|byte| u32::from(*byte)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;

    #[test]
    fn a_text_is_split_and_read_back() {
        let text: Vec<u8> = (0..2 * CHUNK_TOKENS + 99).map(|at| (at * 7 % 256) as u8).collect();
        let chunks: Vec<Chunk> = cut_text(&text).collect();
        assert_eq!(chunks.len(), 2);
        let tokens: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.tokens()).map(|token| *token as u8).collect();
        assert_eq!(tokens, text[..2 * CHUNK_TOKENS]);
        let block = chunks[1].block();
        let get = |_: &Cid| Ok(block.bytes().to_vec());
        assert_eq!(Chunk::fetch(&block.cid(), 256, &get).as_ref(), Ok(&chunks[1]));
        let small = Chunk::fetch(&block.cid(), 255, &get);
        assert_eq!(small, Err(ProtocolError::Range { what: "token", value: 255, min: 0, max: 254 }));
        assert_eq!(cut_text(&text[..CHUNK_TOKENS - 1]).len(), 0);
    }

    #[test]
    fn every_flipped_bit_and_wrong_length_is_refused() {
        let block = cut_text(&[65; CHUNK_TOKENS]).next().unwrap().block();
        for bit in (0..8 * block.bytes().len()).step_by(13) {
            let mut bytes = block.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = Chunk::fetch(&block.cid(), 256, &|_| Ok(bytes.clone()));
            assert!(matches!(flipped, Err(ProtocolError::Store(StoreError::Mismatch { .. }))));
        }
        for length in [0, 1, 8191, 8193, 16384] {
            let other = Block::new(Codec::Raw, vec![0; length]).unwrap();
            let read = Chunk::fetch(&other.cid(), 256, &|_| Ok(other.bytes().to_vec()));
            assert!(matches!(read, Err(ProtocolError::Range { what: "number of bytes in a chunk", .. })), "{length}");
        }
    }
}
