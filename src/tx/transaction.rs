//! Reads and verifies transactions: `TxRaw` bytes with one signature in the mode `SIGN_MODE_DIRECT`.
//!
//! The format is described at <https://docs.cosmos.network/v0.50/learn/advanced/transactions>. On this chain, the
//! account number of every account is 0. The sequence prevents a transaction from being executed twice, and the chain
//! ID prevents its execution on another chain.

use super::{
    MAX_MESSAGES, Message, TxError,
    address::{address, check_address},
    grants, submission,
};
use cosmrs::{
    crypto::PublicKey,
    proto::{
        cosmos::tx::v1beta1::{self as proto, AuthInfo, SignDoc, TxBody, TxRaw, mode_info::Sum},
        traits::MessageExt,
    },
};
use data_encoding::HEXUPPER;
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// The largest size of a transaction in bytes. The largest move of a dispute fits into a transaction of this size.
pub const MAX_TX_BYTES: usize = 80 << 10;
/// The account number, which the Cosmos SDK includes in the bytes to be signed. Every account of this chain has the
/// same number.
pub(super) const ACCOUNT_NUMBER: u64 = 0;
const SIGN_MODE_DIRECT: i32 = 1;

/// The fee of a transaction, and the account that pays it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fee {
    /// Amount of the fee in micro-units.
    pub amount: u64,
    /// Address of the account whose fee allowance pays; `None` if the signer pays.
    pub granter: Option<String>,
}

impl Fee {
    fn read(fee: Option<proto::Fee>, signer: &str) -> Result<Self, TxError> {
        let proto::Fee { amount, payer, granter, .. } = fee.unwrap_or_default();
        if !payer.is_empty() && payer != signer {
            return Err(TxError::Signer { signer: payer, found: signer.to_owned() });
        }
        let granter = Some(granter).filter(|granter| !granter.is_empty() && granter != signer);
        granter.as_deref().map_or(Ok(()), check_address)?;
        Ok(Self { amount: grants::amount(&amount)?.unwrap_or_default(), granter })
    }
}

/// Returns the hash of a transaction: SHA-256 of its bytes, in upper-case hexadecimal.
pub fn tx_hash(tx: &[u8]) -> String {
    HEXUPPER.encode(&Sha256::digest(tx))
}

/// A transaction whose signatures have been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// Address of the signer.
    pub signer: String,
    /// The sequence that the signer declared: the number of transactions that the signer's account sent before this
    /// one.
    pub sequence: u64,
    /// The fee that the signer declared.
    pub fee: Fee,
    /// The messages, in the order in which the transaction contains them. Each of them requires the signature of
    /// `signer`.
    pub messages: Vec<Message>,
}

impl Signed {
    /// Decodes a transaction from `TxRaw` bytes. Verifies its signature and the inner signatures of its submissions,
    /// and checks that the account that must sign each message is the one that signed the transaction.
    pub fn open(tx: &[u8], chain_id: &str) -> Result<Self, TxError> {
        let malformed = |what: &str| TxError::Malformed(what.to_owned());
        if tx.len() > MAX_TX_BYTES {
            return Err(malformed(&format!("a transaction of {} bytes exceeds the limit of {MAX_TX_BYTES}", tx.len())));
        }
        let raw = TxRaw::decode(tx).map_err(|_| malformed("not a TxRaw"))?;
        let body = TxBody::decode(&*raw.body_bytes).map_err(|_| malformed("not a TxBody"))?;
        let info = AuthInfo::decode(&*raw.auth_info_bytes).map_err(|_| malformed("not an AuthInfo"))?;
        let fee = info.fee;
        let ([info], [signature]) = (&info.signer_infos[..], &raw.signatures[..]) else {
            return Err(malformed("a transaction must have exactly one signer and one signature"));
        };
        match info.mode_info.as_ref().and_then(|mode| mode.sum.as_ref()) {
            Some(Sum::Single(single)) if single.mode == SIGN_MODE_DIRECT => {}
            _ => return Err(malformed("the sign mode must be SIGN_MODE_DIRECT")),
        }
        let key = info.public_key.clone().ok_or_else(|| malformed("the signer's public key is missing"))?;
        let key = PublicKey::try_from(key).map_err(|_| TxError::Key)?;
        let signer = address(&key)?;
        let signed = SignDoc {
            body_bytes: raw.body_bytes.clone(),
            auth_info_bytes: raw.auth_info_bytes.clone(),
            chain_id: chain_id.to_owned(),
            account_number: ACCOUNT_NUMBER,
        };
        let signed = signed.to_bytes().map_err(|_| malformed("the bytes to be signed cannot be encoded"))?;
        let verifier = VerifyingKey::from_sec1_bytes(&key.to_bytes()).map_err(|_| TxError::Key)?;
        let parsed = Signature::from_slice(signature).map_err(|_| TxError::Signature(signer.clone()))?;
        verifier.verify(&signed, &parsed).map_err(|_| TxError::Signature(signer.clone()))?;

        if body.messages.is_empty() || body.messages.len() > MAX_MESSAGES {
            return Err(malformed(&format!("it has {} messages instead of 1 to {MAX_MESSAGES}", body.messages.len())));
        }
        let mut messages = Vec::new();
        for any in &body.messages {
            let message = Message::read(any, chain_id)?;
            if message.signer() != signer {
                return Err(TxError::Signer { signer: message.signer().to_owned(), found: signer });
            }
            submission::verify(&message, chain_id, &verifier)?;
            messages.push(message);
        }
        let fee = Fee::read(fee, &signer)?;
        Ok(Self { signer, sequence: info.sequence, fee, messages })
    }
}
