//! Signs transactions, either with a [`SessionKey`] or with a wallet. The wallet receives the bytes of an [`Unsigned`]
//! transaction and returns the signature.

use super::{
    DENOM, Fee, Message, TRANSFER_GAS, TxError, address::address, amino, encoding::decode, submission, text_sign_bytes,
    transaction,
};
use cosmrs::{
    AccountId, Coin,
    crypto::{PublicKey, secp256k1::SigningKey},
    proto::{
        cosmos::tx::{
            signing::v1beta1::SignMode,
            v1beta1::{
                AuthInfo, ModeInfo, TxRaw,
                mode_info::{Single, Sum},
            },
        },
        traits::MessageExt,
    },
    tx::{self, Body, SignerInfo},
};
use k256::ecdsa::VerifyingKey;
use prost::Message as _;
use sha2::{Digest, Sha256};

/// A transaction without its signature, in two encoded parts. The signature covers both of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// The `TxBody`, which holds the messages, encoded as protobuf.
    pub body_bytes: Vec<u8>,
    /// The `AuthInfo`, which holds the signer's key, the sequence and the fee, encoded as protobuf.
    pub auth_info_bytes: Vec<u8>,
}

impl Unsigned {
    /// Makes a transaction that the owner of `public_key`, a compressed secp256k1 key, is to sign. `sequence` is the
    /// number of transactions that the owner's account has sent so far.
    pub fn new(public_key: &[u8], sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Self, TxError> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| TxError::Key)?;
        Self::with_key(PublicKey::from(key), sequence, fee, messages)
    }

    fn with_key(key: PublicKey, sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Self, TxError> {
        let malformed = |error: cosmrs::ErrorReport| TxError::Malformed(error.to_string());
        let body = Body::new(messages.iter().map(Message::to_any), "", 0u32);
        let amount = match fee.amount {
            0 => Vec::new(),
            amount => vec![Coin::new(amount.into(), DENOM).map_err(malformed)?],
        };
        let granter =
            fee.granter.as_ref().map(|granter| granter.parse::<AccountId>()).transpose().map_err(malformed)?;
        let info = SignerInfo::single_direct(Some(key), sequence);
        let info = info.auth_info(tx::Fee { amount, gas_limit: TRANSFER_GAS, payer: None, granter });
        let (body_bytes, auth_info_bytes) =
            (body.into_bytes().map_err(malformed)?, info.into_bytes().map_err(malformed)?);
        Ok(Self { body_bytes, auth_info_bytes })
    }

    /// Changes the sign mode of the transaction from `SIGN_MODE_DIRECT` to `SIGN_MODE_LEGACY_AMINO_JSON`, the only mode
    /// in which Ledger hardware wallets sign.
    pub fn in_amino(self) -> Result<Self, TxError> {
        let mut info: AuthInfo = decode(&self.auth_info_bytes)?;
        for signer in &mut info.signer_infos {
            let mode = Single { mode: SignMode::LegacyAminoJson.into() };
            signer.mode_info = Some(ModeInfo { sum: Some(Sum::Single(mode)) });
        }
        Ok(Self { auth_info_bytes: info.encode_to_vec(), ..self })
    }

    /// Returns the document that a wallet shows and signs if the sign mode is `SIGN_MODE_LEGACY_AMINO_JSON`, a
    /// `StdSignDoc` in JSON with sorted keys.
    pub fn amino_document(&self, chain_id: &str) -> Result<String, TxError> {
        Ok(amino::sign_doc(&self.body_bytes, &self.auth_info_bytes, chain_id)?.to_string())
    }

    /// Adds a wallet's signature of the document `signed`. Returns the signed transaction, encoded as a `TxRaw`. Fails
    /// if `signed` differs from the document that [`Self::amino_document`] returns, for example because the wallet's
    /// owner has changed the fee or the memo.
    pub fn assemble_amino(self, chain_id: &str, signed: &str, signature: Vec<u8>) -> Result<Vec<u8>, TxError> {
        let document = amino::sign_doc(&self.body_bytes, &self.auth_info_bytes, chain_id)?;
        match serde_json::from_str::<serde_json::Value>(signed).is_ok_and(|signed| signed == document) {
            true => self.assemble(signature),
            false => Err(TxError::Amino("the wallet has signed another document than the proposed one".to_owned())),
        }
    }

    /// Returns the bytes that the owner of the key must sign. In the mode `SIGN_MODE_DIRECT`, these are the encoded
    /// `SignDoc`. In the mode `SIGN_MODE_LEGACY_AMINO_JSON`, they are the document that [`Self::amino_document`]
    /// returns, with the characters `&`, `<` and `>` written as escape sequences.
    pub fn sign_bytes(&self, chain_id: &str) -> Result<Vec<u8>, TxError> {
        transaction::sign_bytes(&self.body_bytes, &self.auth_info_bytes, chain_id)
    }

    /// Adds the signature, which must be 64 bytes long. Returns the signed transaction, encoded as a `TxRaw`.
    pub fn assemble(self, signature: Vec<u8>) -> Result<Vec<u8>, TxError> {
        let Self { body_bytes, auth_info_bytes } = self;
        let raw = TxRaw { body_bytes, auth_info_bytes, signatures: vec![signature] };
        raw.to_bytes().map_err(|error| TxError::Malformed(error.to_string()))
    }
}

/// A secp256k1 key that signs transactions for its own address. It can be the key of a session or of an account.
pub struct SessionKey {
    key: SigningKey,
    address: String,
}

impl SessionKey {
    /// Makes a key from 32 secret random bytes. Returns an error if they are not a valid secret key: a number from 1 to
    /// the order of the secp256k1 group minus 1.
    pub fn new(secret: &[u8; 32]) -> Result<Self, TxError> {
        Self::from_signing_key(SigningKey::from_slice(secret).map_err(|_| TxError::Key)?)
    }

    pub(super) fn from_signing_key(key: SigningKey) -> Result<Self, TxError> {
        let address = address(&key.public_key())?;
        Ok(Self { key, address })
    }

    /// Returns the key's address, `remes1…`: the public key is hashed with SHA-256 and then with RIPEMD-160, and the
    /// hash is written in bech32.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the public key in compressed form, which is 33 bytes long.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().to_bytes()
    }

    /// Returns the 64-byte ADR-36 signature of a text. The signed document contains the text and can never be a
    /// transaction.
    pub fn sign_text(&self, text: &str) -> Result<Vec<u8>, TxError> {
        self.sign_bytes(&text_sign_bytes(&self.address, text))
    }

    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, TxError> {
        Ok(self.key.sign(bytes).map_err(|_| TxError::Key)?.to_vec())
    }

    /// Derives a 32-byte secret from the key. Only the key's owner can compute it. The same `purpose` always gives the
    /// same secret.
    ///
    /// The secret is the SHA-256 hash of a signature that is never published. The signed bytes are neither a
    /// transaction nor an ADR-36 text.
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], TxError> {
        let signature = self.sign_bytes(format!("r3mes-wgpu secret: {purpose}").as_bytes())?;
        Ok(Sha256::digest(signature).into())
    }

    /// Makes and signs a transaction that consists of `messages`. Every submission among the messages also gets an
    /// inner signature, which the submission itself contains.
    pub fn sign(&self, chain_id: &str, sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Vec<u8>, TxError> {
        let sign = |bytes: &[u8]| self.sign_bytes(bytes);
        let messages: Vec<_> =
            messages.iter().map(|message| submission::sign(message, chain_id, &sign)).collect::<Result<_, _>>()?;
        let unsigned = Unsigned::with_key(self.key.public_key(), sequence, fee, &messages)?;
        let signature = self.sign_bytes(&unsigned.sign_bytes(chain_id)?)?;
        unsigned.assemble(signature)
    }
}
