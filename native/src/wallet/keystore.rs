//! A keystore: the entropy of a mnemonic, encrypted with a passphrase.
//!
//! `ciphertext = XChaCha20-Poly1305(key = argon2id(passphrase, salt), nonce, entropy)`
//!
//! A keystore is one JSON object in canonical form: a file is rejected unless it equals, byte for byte, what this
//! program would write. The associated data of the encryption is the text of the file with an empty ciphertext, so the
//! other fields are authenticated too. A file in which any byte was changed is therefore rejected. The cost parameters
//! of argon2id are checked before memory is allocated for it.

use super::secrets::Secret;
use crate::output::hex;
use anyhow::{Context, Result, anyhow, bail, ensure};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use r3mes_wgpu::tx::{KeyPath, MNEMONIC_WORDS, Mnemonic, SessionKey, canonical_address};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

const FORMAT: &str = "r3mes/keystore/1";
/// The maximum size of a keystore file in bytes.
pub(crate) const MAX_BYTES: usize = 2048;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// The cost parameters of argon2id. The higher they are, the more memory and time each guess at a passphrase takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KdfCost {
    /// The memory in KiB: 8 to 262,144, and at least 8 KiB per lane.
    memory_kib: u32,
    /// The number of passes over the memory: 1 to 16.
    passes: u32,
    /// The number of lanes into which the memory is divided: 1 to 4.
    lanes: u32,
}

/// The cost of new keystores: the second option that RFC 9106 recommends, but with one lane instead of four. Deriving a
/// key takes about 0.2 s on one core.
pub(crate) const COST: KdfCost = KdfCost { memory_kib: 65_536, passes: 3, lanes: 1 };

impl KdfCost {
    fn params(self) -> Result<Params> {
        let Self { memory_kib, passes, lanes } = self;
        let within = (8..=262_144).contains(&memory_kib) && (1..=16).contains(&passes) && (1..=4).contains(&lanes);
        ensure!(
            within,
            "argon2id with {memory_kib} KiB, {passes} passes and {lanes} lanes is outside the limits: 8 to 262144 KiB, \
             1 to 16 passes, 1 to 4 lanes"
        );
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(|error| anyhow!("argon2id: {error}"))
    }

    /// Derives the encryption key from a passphrase. The memory that argon2id has used is overwritten afterwards.
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

/// The fields of a keystore file. Only the ciphertext is encrypted; anybody who has the file can read the other fields.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keystore {
    format: String,
    address: String,
    path: String,
    argon2id: KdfCost,
    /// The salt of argon2id: 16 bytes in hexadecimal.
    salt: String,
    /// The nonce of XChaCha20-Poly1305: 24 bytes in hexadecimal.
    nonce: String,
    /// The encrypted entropy followed by the authentication tag of 16 bytes, both in hexadecimal.
    ciphertext: String,
}

/// The random bytes of a new keystore. Each keystore must have its own random bytes: the same bytes must never be used
/// for two keystores.
pub(crate) struct SaltAndNonce {
    pub(crate) salt: [u8; SALT_BYTES],
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Keystore {
    /// Encrypts a mnemonic with a passphrase. `path` is the derivation path of the wallet's key.
    pub(crate) fn seal(
        mnemonic: &Mnemonic,
        path: KeyPath,
        passphrase: &Secret,
        cost: KdfCost,
        random: &SaltAndNonce,
    ) -> Result<Self> {
        let mut sealed = Self {
            format: FORMAT.to_owned(),
            address: mnemonic.key(path)?.address().to_owned(),
            path: path.to_string(),
            argon2id: cost,
            salt: hex(&random.salt),
            nonce: hex(&random.nonce),
            ciphertext: String::new(),
        };
        let (entropy, aad) = (mnemonic.entropy(), sealed.to_text());
        let payload = Payload { msg: &entropy, aad: aad.as_bytes() };
        let ciphertext = sealed.cipher(passphrase)?.encrypt(&random.nonce.into(), payload);
        sealed.ciphertext =
            hex(&ciphertext.map_err(|_| anyhow!("encrypting the mnemonic with XChaCha20-Poly1305 failed"))?);
        Ok(sealed)
    }

    /// Parses a keystore file and checks everything that can be checked without the passphrase.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        ensure!(bytes.len() <= MAX_BYTES, "not a keystore: more than {MAX_BYTES} bytes");
        let read: Self = serde_json::from_slice(bytes).context("not a keystore")?;
        ensure!(read.format == FORMAT, "the format is {:?}, expected {FORMAT:?}", read.format);
        ensure!(read.to_text().as_bytes() == bytes, "the keystore was changed: its JSON is not in canonical form");
        ensure!(canonical_address(&read.address)? == read.address, "the address in the keystore is not in lower case");
        KeyPath::read(&read.path)?;
        read.argon2id.params()?;
        array::<SALT_BYTES>(&read.salt).context("salt")?;
        array::<NONCE_BYTES>(&read.nonce).context("nonce")?;
        read.sealed_bytes().context("ciphertext")?;
        Ok(read)
    }

    /// Decrypts the mnemonic. Returns an error if the passphrase is wrong or the file was changed.
    pub(crate) fn open(&self, passphrase: &Secret) -> Result<Mnemonic> {
        let nonce: [u8; NONCE_BYTES] = array(&self.nonce)?;
        let aad = Self { ciphertext: String::new(), ..self.clone() }.to_text();
        let payload = Payload { msg: &self.sealed_bytes()?, aad: aad.as_bytes() };
        let Ok(entropy) = self.cipher(passphrase)?.decrypt(&nonce.into(), payload) else {
            bail!("the passphrase is wrong, or the keystore file was changed");
        };
        let mnemonic = Mnemonic::from_entropy(&Zeroizing::new(entropy))?;
        ensure!(
            mnemonic.key(KeyPath::read(&self.path)?)?.address() == self.address,
            "the address in the file does not belong to its key"
        );
        Ok(mnemonic)
    }

    /// Decrypts the mnemonic and derives the wallet's signing key. Returns an error if the passphrase is wrong or the
    /// file was changed.
    pub(crate) fn key(&self, passphrase: &Secret) -> Result<SessionKey> {
        Ok(self.open(passphrase)?.key(KeyPath::read(&self.path)?)?)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Returns the text of the keystore file: indented JSON with a newline at the end.
    pub(crate) fn to_text(&self) -> String {
        let object = serde_json::to_string_pretty(self).unwrap_or_default();
        object + "\n"
    }

    fn cipher(&self, passphrase: &Secret) -> Result<XChaCha20Poly1305> {
        let key = self.argon2id.key(passphrase, &array::<SALT_BYTES>(&self.salt)?)?;
        XChaCha20Poly1305::new_from_slice(&key[..])
            .map_err(|_| anyhow!("XChaCha20-Poly1305 rejected a key of 32 bytes"))
    }

    fn sealed_bytes(&self) -> Result<Vec<u8>> {
        let bytes = unhex(&self.ciphertext)?;
        let fits = MNEMONIC_WORDS.iter().any(|words| words / 3 * 4 + TAG_BYTES == bytes.len());
        ensure!(fits, "{} bytes is not the size of an encrypted mnemonic", bytes.len());
        Ok(bytes)
    }
}

/// Decodes a string of lower-case hexadecimal digits.
fn unhex(text: &str) -> Result<Vec<u8>> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).context("expected lower-case hexadecimal digits")
}

fn array<const BYTES: usize>(text: &str) -> Result<[u8; BYTES]> {
    unhex(text)?.try_into().map_err(|_| anyhow!("expected {BYTES} bytes"))
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keystore({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: KdfCost = KdfCost { memory_kib: 8, passes: 1, lanes: 1 };

    fn sealed(cost: KdfCost) -> Keystore {
        let mnemonic = Mnemonic::from_entropy(&[7; 32]).unwrap();
        let fresh = SaltAndNonce { salt: [1; SALT_BYTES], nonce: [2; NONCE_BYTES] };
        let path = KeyPath::new(118, 0, 0).unwrap();
        Keystore::seal(&mnemonic, path, &Secret::of("long enough"), cost, &fresh).unwrap()
    }

    fn opened(bytes: &[u8], passphrase: &str) -> Result<Mnemonic> {
        Keystore::read(bytes)?.open(&Secret::of(passphrase))
    }

    #[test]
    fn only_the_right_passphrase_decrypts_a_keystore() {
        for words in MNEMONIC_WORDS {
            let entropy = vec![words as u8; words / 3 * 4];
            let mnemonic = Mnemonic::from_entropy(&entropy).unwrap();
            let (path, fresh) = (KeyPath::new(118, 1, 2).unwrap(), SaltAndNonce { salt: [3; 16], nonce: [4; 24] });
            let sealed = Keystore::seal(&mnemonic, path, &Secret::of("right"), CHEAP, &fresh).unwrap();
            assert_eq!(*opened(sealed.to_text().as_bytes(), "right").unwrap().entropy(), entropy);
            assert_eq!(sealed.key(&Secret::of("right")).unwrap().address(), sealed.address());
            for wrong in ["", "Right", "right ", "wrong"] {
                let error = opened(sealed.to_text().as_bytes(), wrong).unwrap_err();
                assert_eq!(error.to_string(), "the passphrase is wrong, or the keystore file was changed");
            }
        }
        let text = sealed(CHEAP).to_text();
        assert!(!text.contains(&hex(&[7; 16])), "the entropy is not in the file");
        assert_eq!(format!("{:?}", sealed(CHEAP)), format!("Keystore({})", sealed(CHEAP).address()));
    }

    /// Tests that this program decrypts a keystore that another implementation has encrypted: the JavaScript program
    /// `tests/data/keystore.mjs`, which uses the packages @noble/hashes and @noble/ciphers 2.4.
    #[test]
    fn a_keystore_of_another_implementation_is_decrypted() {
        let text = include_str!("../../../tests/data/keystore.json");
        let words: Vec<_> = opened(text.as_bytes(), "pässphrase, 8 letters or more").unwrap().words().collect();
        let expected = "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling";
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn a_keystore_with_any_bit_flipped_or_cut_short_is_rejected() {
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
            assert!(opened(&longer, "long enough").is_err(), "one more byte at {at}");
        }
    }

    #[test]
    fn cost_parameters_beyond_their_limits_are_rejected() {
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
