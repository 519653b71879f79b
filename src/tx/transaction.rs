//! `TxRaw` with one signature, `SIGN_MODE_DIRECT`.
//!
//! <https://docs.cosmos.network/v0.50/learn/advanced/transactions>. Every account of this chain has number 0: sequences
//! alone tell transactions of one account apart, and the chain's id those of different chains.

use super::{ADDRESS_PREFIX, ChainError, MAX_MESSAGES, Message, grants, submission};
use cosmrs::{
    AccountId,
    crypto::PublicKey,
    proto::{
        cosmos::tx::v1beta1::{self as proto, AuthInfo, SignDoc, TxBody, TxRaw, mode_info::Sum},
        traits::MessageExt,
    },
};
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// Most bytes of a transaction: the largest move of a dispute, and what is around it.
pub const MAX_TX_BYTES: usize = 80 << 10;
/// Number of every account.
pub(super) const ACCOUNT_NUMBER: u64 = 0;
const SIGN_MODE_DIRECT: i32 = 1;

/// What a transaction pays, and of whose balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fee {
    /// Micro-units.
    pub amount: u64,
    /// Who pays by an allowance; the signer where it is `None`.
    pub granter: Option<String>,
}

impl Fee {
    fn read(fee: Option<proto::Fee>, signer: &str) -> Result<Self, ChainError> {
        let proto::Fee { amount, payer, granter, .. } = fee.unwrap_or_default();
        if !payer.is_empty() && payer != signer {
            return Err(ChainError::Signer { signer: payer, found: signer.to_owned() });
        }
        let granter = Some(granter).filter(|granter| !granter.is_empty() && granter != signer);
        granter.as_deref().map_or(Ok(()), check_address)?;
        Ok(Self { amount: grants::amount(&amount)?.unwrap_or_default(), granter })
    }
}

/// The hash that names a transaction: SHA-256 of its bytes, upper-case hexadecimal.
pub fn tx_hash(tx: &[u8]) -> String {
    Sha256::digest(tx).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A transaction whose signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// Who signed.
    pub signer: String,
    /// Transactions of the signer before it.
    pub sequence: u64,
    /// What it pays.
    pub fee: Fee,
    /// What is asked, in order; each is the signer's own.
    pub messages: Vec<Message>,
}

impl Signed {
    /// Reads `TxRaw` bytes, verifies the signature and those inside submissions, and checks that every message is
    /// the signer's.
    pub fn open(tx: &[u8], chain_id: &str) -> Result<Self, ChainError> {
        let malformed = |what: &str| ChainError::Malformed(what.to_owned());
        if tx.len() > MAX_TX_BYTES {
            return Err(malformed(&format!("{} bytes, at most {MAX_TX_BYTES}", tx.len())));
        }
        let raw = TxRaw::decode(tx).map_err(|_| malformed("not a TxRaw"))?;
        let body = TxBody::decode(&*raw.body_bytes).map_err(|_| malformed("not a TxBody"))?;
        let info = AuthInfo::decode(&*raw.auth_info_bytes).map_err(|_| malformed("not an AuthInfo"))?;
        let fee = info.fee;
        let ([info], [signature]) = (&info.signer_infos[..], &raw.signatures[..]) else {
            return Err(malformed("one signer and one signature are taken"));
        };
        match info.mode_info.as_ref().and_then(|mode| mode.sum.as_ref()) {
            Some(Sum::Single(single)) if single.mode == SIGN_MODE_DIRECT => {}
            _ => return Err(malformed("only SIGN_MODE_DIRECT is taken")),
        }
        let key = info.public_key.clone().ok_or_else(|| malformed("no public key"))?;
        let key = PublicKey::try_from(key).map_err(|_| ChainError::Key)?;
        let signer = address(&key)?;
        let signed = SignDoc {
            body_bytes: raw.body_bytes.clone(),
            auth_info_bytes: raw.auth_info_bytes.clone(),
            chain_id: chain_id.to_owned(),
            account_number: ACCOUNT_NUMBER,
        };
        let signed = signed.to_bytes().map_err(|_| malformed("its sign bytes"))?;
        let verifier = VerifyingKey::from_sec1_bytes(&key.to_bytes()).map_err(|_| ChainError::Key)?;
        let parsed = Signature::from_slice(signature).map_err(|_| ChainError::Signature(signer.clone()))?;
        verifier.verify(&signed, &parsed).map_err(|_| ChainError::Signature(signer.clone()))?;

        if body.messages.is_empty() || body.messages.len() > MAX_MESSAGES {
            return Err(malformed(&format!("1 to {MAX_MESSAGES} messages are taken")));
        }
        let mut messages = Vec::new();
        for any in &body.messages {
            let message = Message::read(any, chain_id)?;
            if message.signer() != signer {
                return Err(ChainError::Signer { signer: message.signer().to_owned(), found: signer });
            }
            submission::verify(&message, chain_id, &verifier)?;
            messages.push(message);
        }
        let fee = Fee::read(fee, &signer)?;
        Ok(Self { signer, sequence: info.sequence, fee, messages })
    }
}

pub(super) fn address(key: &PublicKey) -> Result<String, ChainError> {
    Ok(key.account_id(ADDRESS_PREFIX).map_err(|_| ChainError::Key)?.to_string())
}

/// Checks a bech32 address of this chain.
pub fn check_address(text: &str) -> Result<(), ChainError> {
    match text.parse::<AccountId>() {
        Ok(id) if id.prefix() == ADDRESS_PREFIX && id.to_bytes().len() == 20 => Ok(()),
        _ => Err(ChainError::Address(text.chars().take(64).collect())),
    }
}
