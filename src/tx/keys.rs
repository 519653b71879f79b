//! The keys of a wallet, which are derived from a mnemonic:
//! `mnemonic → seed → key with the path m/44'/coin'/account'/0/index → address remes1…`.
//!
//! Derivation follows BIP39 (English word list, no passphrase), BIP32 and BIP44, as in the wallets Keplr and Leap and
//! in the library CosmJS. So a mnemonic gives the same address in all of them. Random bytes are supplied by the caller.
//! Secrets are overwritten when they are dropped, and `Debug` does not print them.

use super::{SessionKey, TxError};
use bip39::{Error, Language};
use cosmrs::{bip32::DerivationPath, crypto::secp256k1::SigningKey};
use std::fmt;
use zeroize::Zeroizing;

/// The BIP44 coin type that wallets use for a Cosmos chain, unless the chain states another one.
pub const COIN_TYPE: u32 = 118;
/// The word counts that a mnemonic may have. Every 3 words encode 4 bytes of entropy.
pub const MNEMONIC_WORDS: [usize; 5] = [12, 15, 18, 21, 24];
/// The largest length of a text that is parsed as a mnemonic, in bytes. Longer texts are refused.
pub const MAX_MNEMONIC_BYTES: usize = 1024;
/// The exclusive upper bound of the numbers in a key path. BIP32 reserves the numbers from 2^31 on for hardened keys.
const HARDENED: u32 = 1 << 31;

/// The derivation path of a key. It selects one of the many keys that can be derived from a mnemonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPath {
    coin_type: u32,
    account: u32,
    index: u32,
}

impl KeyPath {
    /// Returns the path `m/44'/coin_type'/account'/0/index`. Fails unless each of the three numbers is below 2^31.
    pub fn new(coin_type: u32, account: u32, index: u32) -> Result<Self, TxError> {
        match [coin_type, account, index].into_iter().all(|number| number < HARDENED) {
            true => Ok(Self { coin_type, account, index }),
            false => Err(TxError::Malformed("every number of a key path must be below 2^31".to_owned())),
        }
    }

    /// Parses a path such as `m/44'/118'/0'/0/0`. Fails unless the text has exactly the form that [`fmt::Display`]
    /// writes: for example, a number with leading zeros is refused.
    pub fn read(text: &str) -> Result<Self, TxError> {
        let malformed = || TxError::Malformed("a key path must have the form m/44'/coin'/account'/0/index".to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let ["m", "44'", coin_type, account, "0", index] = parts[..] else { return Err(malformed()) };
        let number = |part: Option<&str>| part.and_then(|part| part.parse().ok()).ok_or_else(malformed);
        let (coin_type, account) = (coin_type.strip_suffix('\''), account.strip_suffix('\''));
        let path = Self::new(number(coin_type)?, number(account)?, number(Some(index))?)?;
        match path.to_string() == text {
            true => Ok(path),
            false => Err(malformed()),
        }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coin_type, account, index } = self;
        write!(f, "m/44'/{coin_type}'/{account}'/0/{index}")
    }
}

/// A BIP39 mnemonic: the words from which all keys of a wallet are derived.
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// Makes a mnemonic from random bytes. 16, 20, 24, 28 or 32 bytes yield 12, 15, 18, 21 or 24 words.
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, TxError> {
        let mnemonic = bip39::Mnemonic::from_entropy_in(Language::English, entropy);
        Ok(Self(mnemonic.map_err(|_| {
            reason(format!("the entropy has {} bytes, but must have 16, 20, 24, 28 or 32", entropy.len()))
        })?))
    }

    /// Parses a mnemonic. The words may be in upper or lower case, with any whitespace between them. Error messages
    /// never quote a word, because the words are secret.
    pub fn parse(text: &str) -> Result<Self, TxError> {
        if text.len() > MAX_MNEMONIC_BYTES {
            return Err(reason(format!("the text of the mnemonic has more than {MAX_MNEMONIC_BYTES} bytes")));
        }
        // the full capacity is allocated up front, because growing would leave copies of the words in freed memory
        let mut plain = Zeroizing::new(String::with_capacity(text.len() + 1));
        for word in text.split_whitespace() {
            if !plain.is_empty() {
                plain.push(' ');
            }
            plain.extend(word.chars().map(|letter| letter.to_ascii_lowercase()));
        }
        let mnemonic =
            bip39::Mnemonic::parse_in_normalized(Language::English, &plain).map_err(|error| match error {
                Error::UnknownWord(at) => reason(format!("word number {} is not in BIP39's English list", at + 1)),
                Error::InvalidChecksum => {
                    reason("the checksum is wrong: a word is wrong, or two words are swapped".to_owned())
                }
                _ => reason(format!(
                    "the text has {} words, but the number must be one of {MNEMONIC_WORDS:?}",
                    plain.split_whitespace().count()
                )),
            })?;
        Ok(Self(mnemonic))
    }

    /// Returns the random bytes from which [`Mnemonic::from_entropy`] makes this mnemonic.
    pub fn entropy(&self) -> Zeroizing<Vec<u8>> {
        let (bytes, length) = self.0.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        Zeroizing::new(bytes[..length].to_vec())
    }

    /// Returns the words of the mnemonic, in order.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.words()
    }

    /// Derives the secret key that has the given path.
    pub fn key(&self, path: KeyPath) -> Result<SessionKey, TxError> {
        let seed = Zeroizing::new(self.0.to_seed_normalized(""));
        let path: DerivationPath = path.to_string().parse().map_err(|_| TxError::Key)?;
        let key = SigningKey::derive_from_path(&seed[..], &path).map_err(|_| TxError::Key)?;
        SessionKey::from_signing_key(key)
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mnemonic({} words)", self.0.word_count())
    }
}

fn reason(what: String) -> TxError {
    TxError::Mnemonic(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tx::ADDRESS_PREFIX;
    use cosmrs::AccountId;
    use data_encoding::HEXLOWER;

    const WORDS_12: &str = "special sign fit simple patrol salute grocery chicken wheat radar tonight ceiling";

    /// Checks that mnemonics and key paths give the same addresses and public keys as the library @cosmjs/proto-signing
    /// 0.39 gives. The script `tests/data/cosmjs_addresses.mjs` has generated the table of the expected values.
    #[test]
    fn addresses_equal_those_of_cosmjs() {
        let rows: Vec<Vec<&str>> = include_str!("../../tests/data/cosmjs_addresses.tsv")
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect())
            .collect();
        assert_eq!(rows.len(), 60);
        for row in rows {
            let [prefix, coin_type, account, index, address, public_key, words] = row[..] else { panic!("{row:?}") };
            let number = |text: &str| text.parse().unwrap();
            let path = KeyPath::new(number(coin_type), number(account), number(index)).unwrap();
            let key = Mnemonic::parse(words).unwrap().key(path).unwrap();
            assert_eq!(HEXLOWER.encode(&key.public_key()), public_key);
            let id: AccountId = key.address().parse().unwrap();
            assert_eq!(
                (id.prefix(), AccountId::new(prefix, &id.to_bytes()).unwrap().as_ref()),
                (ADDRESS_PREFIX, address)
            );
        }
    }

    #[test]
    fn a_mnemonic_and_its_entropy_convert_both_ways() {
        for words in MNEMONIC_WORDS {
            let entropy: Vec<u8> = (0..words / 3 * 4).map(|at| (at * 37 + words) as u8).collect();
            let mnemonic = Mnemonic::from_entropy(&entropy).unwrap();
            assert_eq!(mnemonic.words().count(), words);
            assert_eq!(*mnemonic.entropy(), entropy);
            let text = mnemonic.words().collect::<Vec<_>>().join(" ");
            assert_eq!(*Mnemonic::parse(&text).unwrap().entropy(), entropy);
            let untidy = format!("\t{}\r\n", text.to_uppercase().replace(' ', "  \n"));
            assert_eq!(*Mnemonic::parse(&untidy).unwrap().entropy(), entropy);
        }
        for length in [0, 15, 17, 33, 64] {
            assert!(Mnemonic::from_entropy(&vec![7; length]).is_err());
        }
    }

    #[test]
    fn errors_state_the_fault_without_quoting_a_word() {
        let refused = |text: &str, words: &str| {
            let error = Mnemonic::parse(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert!(!WORDS_12.split(' ').any(|word| error.contains(&format!(" {word}"))), "{error}");
        };
        refused(&WORDS_12.replace("salute", "salut"), "word number 6 is not");
        refused(&WORDS_12.replace("salute", "radar"), "checksum");
        refused("special sign fit", "3 words");
        refused("", "0 words");
        refused(&"special ".repeat(1000), "1024 bytes");
        refused("spéciál", "1 words");
        let debug = format!("{:?}", Mnemonic::parse(WORDS_12).unwrap());
        assert_eq!(debug, "Mnemonic(12 words)");
    }

    #[test]
    fn only_the_written_form_of_a_path_is_parsed() {
        let path = KeyPath::new(COIN_TYPE, 2, 7).unwrap();
        assert_eq!(path.to_string(), "m/44'/118'/2'/0/7");
        assert_eq!(KeyPath::read("m/44'/118'/2'/0/7"), Ok(path));
        let wrong = ["", "m", "m/44'/118'/2'/0/07", "m/44'/118'/2'/0/+7", "m/44'/118'/2'/1/7", "m/44/118/2/0/7"];
        for text in wrong.into_iter().chain(["m/44'/118'/2'/0/2147483648", "m/44'/118'/2'/0/7/", "m/44'/118''/2'/0/7"])
        {
            assert!(KeyPath::read(text).is_err(), "{text}");
        }
    }
}
