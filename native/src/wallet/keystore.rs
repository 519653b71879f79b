//! A keystore: `ciphertext = XChaCha20-Poly1305(argon2id(passphrase, salt), nonce, entropy)`, the entropy a mnemonic's.
//!
//! One JSON object in one encoding: a file that is not byte for byte what it would be written as is refused. What stands
//! beside the ciphertext is authenticated with it: the associated data are the file's own bytes with an empty ciphertext.
//! So a changed byte anywhere is an error, and what a file claims is checked before memory is spent on it.

use super::secrets::Secret;
use crate::output::hex;
use anyhow::{Context, Result, anyhow, bail, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use r3mes_wgpu::tx::{KeyPath, MNEMONIC_WORDS, Mnemonic, SessionKey, check_address};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

const FORMAT: &str = "r3mes/keystore/1";
/// Most bytes of a file.
pub(crate) const MAX_BYTES: usize = 2048;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// What finding a passphrase costs, each time it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cost {
    /// Memory in KiB, 8 to 262,144.
    memory_kib: u32,
    /// Passes over it, 1 to 16.
    passes: u32,
    /// Lanes of it, 1 to 4; the memory is at least 8 KiB for each.
    lanes: u32,
}

/// The second recommended option of RFC 9106, in one lane: about 0.2 s on one core.
pub(crate) const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 1 };

impl Cost {
    fn params(self) -> Result<Params> {
        let Self { memory_kib, passes, lanes } = self;
        let within = (8..=262_144).contains(&memory_kib) && (1..=16).contains(&passes) && (1..=4).contains(&lanes);
        ensure!(within, "argon2id with {memory_kib} KiB, {passes} passes, {lanes} lanes: at most 262144, 16 and 4");
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(|error| anyhow!("argon2id: {error}"))
    }

    /// The key that a passphrase gives, in memory that is overwritten.
    fn key(self, passphrase: &Secret, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let params = self.params()?;
        let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase.text().as_bytes(), salt, &mut key[..], &mut memory[..])
            .map_err(|error| anyhow!("argon2id: {error}"))?;
        Ok(key)
    }
}

/// A file's content; all but the ciphertext is for anyone to read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keystore {
    format: String,
    address: String,
    path: String,
    argon2id: Cost,
    /// 16 bytes, hexadecimal.
    salt: String,
    /// 24 bytes, hexadecimal.
    nonce: String,
    /// The entropy's bytes and a tag of 16, hexadecimal.
    ciphertext: String,
}

/// Random bytes that a keystore is made with, never used twice.
pub(crate) struct Fresh {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Keystore {
    /// Puts a mnemonic under a passphrase.
    pub(crate) fn seal(
        mnemonic: &Mnemonic,
        path: KeyPath,
        passphrase: &Secret,
        cost: Cost,
        fresh: &Fresh,
    ) -> Result<Self> {
        let mut sealed = Self {
            format: FORMAT.to_owned(),
            address: mnemonic.key(path)?.address().to_owned(),
            path: path.to_string(),
            argon2id: cost,
            salt: hex(&fresh.salt),
            nonce: hex(&fresh.nonce),
            ciphertext: String::new(),
        };
        let (entropy, aad) = (mnemonic.entropy(), sealed.to_text());
        let payload = Payload { msg: &entropy, aad: aad.as_bytes() };
        let ciphertext = sealed.cipher(passphrase)?.encrypt(&fresh.nonce.into(), payload);
        sealed.ciphertext = hex(&ciphertext.map_err(|_| anyhow!("XChaCha20-Poly1305 failed"))?);
        Ok(sealed)
    }

    /// Reads a file, and checks all that can be checked without its passphrase.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() <= MAX_BYTES, "more than {MAX_BYTES} bytes, so no keystore");
        let read: Self = serde_json::from_slice(bytes).context("not a keystore")?;
        ensure!(read.format == FORMAT, "its format is {:?}, not {FORMAT:?}", read.format);
        ensure!(read.to_text().as_bytes() == bytes, "not written as keystores are: it was changed");
        check_address(&read.address)?;
        KeyPath::read(&read.path)?;
        read.argon2id.params()?;
        array::<SALT_BYTES>(&read.salt).context("its salt")?;
        array::<NONCE_BYTES>(&read.nonce).context("its nonce")?;
        read.sealed_bytes().context("its ciphertext")?;
        Ok(read)
    }

    /// The mnemonic, with the right passphrase.
    pub(crate) fn open(&self, passphrase: &Secret) -> Result<Mnemonic> {
        let nonce: [u8; NONCE_BYTES] = array(&self.nonce)?;
        let aad = Self { ciphertext: String::new(), ..self.clone() }.to_text();
        let payload = Payload { msg: &self.sealed_bytes()?, aad: aad.as_bytes() };
        let Ok(entropy) = self.cipher(passphrase)?.decrypt(&nonce.into(), payload) else {
            bail!("the passphrase is wrong, or the file was changed");
        };
        let mnemonic = Mnemonic::from_entropy(&Zeroizing::new(entropy))?;
        ensure!(mnemonic.key(KeyPath::read(&self.path)?)?.address() == self.address, "its address is not its key's");
        Ok(mnemonic)
    }

    /// The key that signs, with the right passphrase.
    pub(crate) fn key(&self, passphrase: &Secret) -> Result<SessionKey> {
        Ok(self.open(passphrase)?.key(KeyPath::read(&self.path)?)?)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The file's content.
    pub(crate) fn to_text(&self) -> String {
        let object = serde_json::to_string_pretty(self).unwrap_or_default();
        object + "\n"
    }

    fn cipher(&self, passphrase: &Secret) -> Result<XChaCha20Poly1305> {
        let key = self.argon2id.key(passphrase, &array::<SALT_BYTES>(&self.salt)?)?;
        XChaCha20Poly1305::new_from_slice(&key[..]).map_err(|_| anyhow!("a key of 32 bytes is none"))
    }

    fn sealed_bytes(&self) -> Result<Vec<u8>> {
        let bytes = unhex(&self.ciphertext)?;
        let of_a_mnemonic = MNEMONIC_WORDS.iter().any(|words| words / 3 * 4 + TAG_BYTES == bytes.len());
        ensure!(of_a_mnemonic, "{} bytes, as no mnemonic has", bytes.len());
        Ok(bytes)
    }
}

/// Bytes of lower-case hexadecimal digits.
fn unhex(text: &str) -> Result<Vec<u8>> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).context("not hexadecimal digits")
}

fn array<const BYTES: usize>(text: &str) -> Result<[u8; BYTES]> {
    unhex(text)?.try_into().map_err(|_| anyhow!("not {BYTES} bytes"))
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

    fn sealed(cost: Cost) -> Keystore {
        let mnemonic = Mnemonic::from_entropy(&[7; 32]).unwrap();
        let fresh = Fresh { salt: [1; SALT_BYTES], nonce: [2; NONCE_BYTES] };
        let path = KeyPath::new(118, 0, 0).unwrap();
        Keystore::seal(&mnemonic, path, &Secret::of("long enough"), cost, &fresh).unwrap()
    }

    fn opened(bytes: &[u8], passphrase: &str) -> Result<Mnemonic> {
        Keystore::read(bytes)?.open(&Secret::of(passphrase))
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_passphrase_alone() {
        for words in MNEMONIC_WORDS {
            let entropy = vec![words as u8; words / 3 * 4];
            let mnemonic = Mnemonic::from_entropy(&entropy).unwrap();
            let (path, fresh) = (KeyPath::new(118, 1, 2).unwrap(), Fresh { salt: [3; 16], nonce: [4; 24] });
            let sealed = Keystore::seal(&mnemonic, path, &Secret::of("right"), CHEAP, &fresh).unwrap();
            assert_eq!(*opened(sealed.to_text().as_bytes(), "right").unwrap().entropy(), entropy);
            assert_eq!(sealed.key(&Secret::of("right")).unwrap().address(), sealed.address());
            for wrong in ["", "Right", "right ", "wrong"] {
                let error = opened(sealed.to_text().as_bytes(), wrong).unwrap_err();
                assert_eq!(error.to_string(), "the passphrase is wrong, or the file was changed");
            }
        }
        let text = sealed(CHEAP).to_text();
        assert!(!text.contains(&hex(&[7; 16])), "the entropy is not in it");
        assert_eq!(format!("{:?}", sealed(CHEAP)), format!("Keystore({})", sealed(CHEAP).address()));
    }

    /// Made by @noble/hashes and @noble/ciphers 2.4: `tests/data/keystore.mjs`.
    #[test]
    fn another_program_s_keystore_is_opened() {
        let text = include_str!("../../../tests/data/keystore.json");
        let words: Vec<_> = opened(text.as_bytes(), "pässphrase, 8 letters or more").unwrap().words().collect();
        let expected = "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = sealed(CHEAP).to_text().into_bytes();
        assert!(opened(&bytes, "long enough").is_ok());
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(opened(&flipped, "long enough").is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(opened(&bytes[..length], "long enough").is_err(), "{length} bytes");
        }
        for (at, byte) in [(0, b' '), (bytes.len() / 2, b'0'), (bytes.len(), b'\n'), (bytes.len() - 1, b' ')] {
            let mut longer = bytes.clone();
            longer.insert(at, byte);
            assert!(opened(&longer, "long enough").is_err(), "a byte more at {at}");
        }
    }

    #[test]
    fn no_file_asks_for_more_memory_than_there_may_be() {
        let text = sealed(CHEAP).to_text();
        for (from, to) in [
            ("\"memory_kib\": 8", "\"memory_kib\": 262145"),
            ("\"memory_kib\": 8", "\"memory_kib\": 4294967295"),
            ("\"memory_kib\": 8", "\"memory_kib\": 7"),
            ("\"passes\": 1", "\"passes\": 17"),
            ("\"passes\": 1", "\"passes\": 0"),
            ("\"lanes\": 1", "\"lanes\": 5"),
            ("\"lanes\": 1", "\"lanes\": 2"),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            let error = Keystore::read(changed.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("argon2id"), "{error}");
        }
        assert!(Keystore::read(&vec![b'['; MAX_BYTES]).is_err());
        assert!(Keystore::read(&vec![b' '; MAX_BYTES + 1]).is_err());
        assert!(Keystore::read(text.replace("keystore/1", "keystore/2").as_bytes()).is_err());
    }
}
