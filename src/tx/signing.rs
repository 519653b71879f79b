//! Signing: a session's key by itself, and what a wallet is given to sign.

use super::{
    ChainError, DENOM, Fee, Message, submission, text_sign_bytes,
    transaction::{ACCOUNT_NUMBER, address},
};
use cosmrs::{
    AccountId, Coin,
    crypto::{PublicKey, secp256k1::SigningKey},
    proto::{
        cosmos::tx::v1beta1::{SignDoc, TxRaw},
        traits::MessageExt,
    },
    tx::{self, Body, SignerInfo},
};
use k256::ecdsa::VerifyingKey;
use sha2::{Digest, Sha256};

/// The Cosmos SDK's wallets show it; nothing here is counted in it.
const GAS: u64 = 200_000;

/// The two halves of a transaction that a signature covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// `TxBody`.
    pub body_bytes: Vec<u8>,
    /// `AuthInfo`.
    pub auth_info_bytes: Vec<u8>,
}

impl Unsigned {
    /// A transaction for the owner of a compressed secp256k1 key to sign.
    pub fn new(public_key: &[u8], sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Self, ChainError> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| ChainError::Key)?;
        Self::of(PublicKey::from(key), sequence, fee, messages)
    }

    fn of(key: PublicKey, sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Self, ChainError> {
        let malformed = |error: cosmrs::ErrorReport| ChainError::Malformed(error.to_string());
        let body = Body::new(messages.iter().map(Message::to_any), "", 0u32);
        let amount = match fee.amount {
            0 => Vec::new(),
            amount => vec![Coin::new(amount.into(), DENOM).map_err(malformed)?],
        };
        let granter =
            fee.granter.as_ref().map(|granter| granter.parse::<AccountId>()).transpose().map_err(malformed)?;
        let info = SignerInfo::single_direct(Some(key), sequence);
        let info = info.auth_info(tx::Fee { amount, gas_limit: GAS, payer: None, granter });
        let (body_bytes, auth_info_bytes) =
            (body.into_bytes().map_err(malformed)?, info.into_bytes().map_err(malformed)?);
        Ok(Self { body_bytes, auth_info_bytes })
    }

    /// The bytes under the signature.
    pub fn sign_bytes(&self, chain_id: &str) -> Result<Vec<u8>, ChainError> {
        let Self { body_bytes, auth_info_bytes } = self.clone();
        let chain_id = chain_id.to_owned();
        let unsigned = SignDoc { body_bytes, auth_info_bytes, chain_id, account_number: ACCOUNT_NUMBER };
        unsigned.to_bytes().map_err(|error| ChainError::Malformed(error.to_string()))
    }

    /// `TxRaw`, with a signature of 64 bytes.
    pub fn assemble(self, signature: Vec<u8>) -> Result<Vec<u8>, ChainError> {
        let Self { body_bytes, auth_info_bytes } = self;
        let raw = TxRaw { body_bytes, auth_info_bytes, signatures: vec![signature] };
        raw.to_bytes().map_err(|error| ChainError::Malformed(error.to_string()))
    }
}

/// A secp256k1 key that signs transactions of its own address: a session's, or an account's.
pub struct SessionKey {
    key: SigningKey,
    address: String,
}

impl SessionKey {
    /// Takes a secret of 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Result<Self, ChainError> {
        Self::of(SigningKey::from_slice(secret).map_err(|_| ChainError::Key)?)
    }

    pub(super) fn of(key: SigningKey) -> Result<Self, ChainError> {
        let address = address(&key.public_key())?;
        Ok(Self { key, address })
    }

    /// `remes1…`: bech32 of RIPEMD-160 of SHA-256 of the public key.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Compressed.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().to_bytes()
    }

    /// A text, as ADR-36 has it.
    pub fn sign_text(&self, text: &str) -> Result<Vec<u8>, ChainError> {
        self.sign_bytes(&text_sign_bytes(&self.address, text))
    }

    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, ChainError> {
        Ok(self.key.sign(bytes).map_err(|_| ChainError::Key)?.to_vec())
    }

    /// 32 bytes that only the key's owner can compute, the same each time for a purpose.
    ///
    /// A hash of a signature that nobody else sees: of no transaction and no ADR-36 text.
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], ChainError> {
        let signature = self.sign_bytes(format!("r3mes-wgpu secret: {purpose}").as_bytes())?;
        Ok(Sha256::digest(signature).into())
    }

    /// A transaction with these messages; submissions among them get their own signatures too.
    pub fn sign(&self, chain_id: &str, sequence: u64, fee: &Fee, messages: &[Message]) -> Result<Vec<u8>, ChainError> {
        let messages: Vec<_> =
            messages.iter().map(|message| submission::sign(message, chain_id, self)).collect::<Result<_, _>>()?;
        let unsigned = Unsigned::of(self.key.public_key(), sequence, fee, &messages)?;
        let signature = self.sign_bytes(&unsigned.sign_bytes(chain_id)?)?;
        unsigned.assemble(signature)
    }
}
