//! `TxRaw` with one signature, `SIGN_MODE_DIRECT`.
//!
//! <https://docs.cosmos.network/v0.50/learn/advanced/transactions>. Every account of this chain has number 0: sequences
//! alone tell transactions of one account apart, and the chain's id those of different chains.

use super::{ADDRESS_PREFIX, ChainError, Message};
use cosmrs::{
    AccountId, Any, Coin,
    crypto::{PublicKey, secp256k1::SigningKey},
    proto::{
        cosmos::tx::v1beta1::{AuthInfo, SignDoc, TxBody, TxRaw, mode_info::Sum},
        traits::MessageExt,
    },
    tx::{Body, Fee, SignDoc as Unsigned, SignerInfo},
};
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// Most bytes of a transaction.
pub const MAX_TX_BYTES: usize = 64 << 10;
/// Number of every account.
const ACCOUNT_NUMBER: u64 = 0;
const GAS: u64 = 200_000;
const SIGN_MODE_DIRECT: i32 = 1;

/// The hash that names a transaction: SHA-256 of its bytes, upper-case hexadecimal.
pub fn tx_hash(tx: &[u8]) -> String {
    Sha256::digest(tx).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// A secp256k1 key that signs transactions of its own address.
pub struct SessionKey {
    key: SigningKey,
    address: String,
}

impl SessionKey {
    /// Takes a secret of 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Result<Self, ChainError> {
        let key = SigningKey::from_slice(secret).map_err(|_| ChainError::Key)?;
        let address = address(&key.public_key())?;
        Ok(Self { key, address })
    }

    /// `remes1…`: bech32 of RIPEMD-160 of SHA-256 of the public key.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A transaction with these messages, without a fee.
    pub fn sign(&self, chain_id: &str, sequence: u64, messages: &[Message]) -> Result<Vec<u8>, ChainError> {
        let malformed = |error: cosmrs::ErrorReport| ChainError::Malformed(error.to_string());
        let chain = chain_id.parse().map_err(|_| ChainError::Malformed(format!("chain id {chain_id:?}")))?;
        let body = Body::new(messages.iter().map(Message::to_any), "", 0u32);
        let info = SignerInfo::single_direct(Some(self.key.public_key()), sequence);
        let info = info.auth_info(Fee { amount: Vec::<Coin>::new(), gas_limit: GAS, payer: None, granter: None });
        let unsigned = Unsigned::new(&body, &info, &chain, ACCOUNT_NUMBER).map_err(malformed)?;
        unsigned.sign(&self.key).map_err(malformed)?.to_bytes().map_err(malformed)
    }
}

/// A transaction whose signature was verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// Who signed.
    pub signer: String,
    /// Transactions of the signer before it.
    pub sequence: u64,
    /// What is asked, in order; each is the signer's own.
    pub messages: Vec<Message>,
}

impl Signed {
    /// Reads `TxRaw` bytes, verifies the signature, and checks that every message is the signer's.
    pub fn open(tx: &[u8], chain_id: &str) -> Result<Self, ChainError> {
        let malformed = |what: &str| ChainError::Malformed(what.to_owned());
        if tx.len() > MAX_TX_BYTES {
            return Err(malformed(&format!("{} bytes, at most {MAX_TX_BYTES}", tx.len())));
        }
        let raw = TxRaw::decode(tx).map_err(|_| malformed("not a TxRaw"))?;
        let body = TxBody::decode(&*raw.body_bytes).map_err(|_| malformed("not a TxBody"))?;
        let info = AuthInfo::decode(&*raw.auth_info_bytes).map_err(|_| malformed("not an AuthInfo"))?;
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

        let mut messages = Vec::new();
        for any in &body.messages {
            let any = Any { type_url: any.type_url.clone(), value: any.value.clone() };
            let message = Message::read(&any)?;
            if message.signer() != signer {
                return Err(ChainError::Signer { signer: message.signer().to_owned(), found: signer });
            }
            messages.push(message);
        }
        if messages.is_empty() {
            return Err(malformed("no message"));
        }
        Ok(Self { signer, sequence: info.sequence, messages })
    }
}

fn address(key: &PublicKey) -> Result<String, ChainError> {
    Ok(key.account_id(ADDRESS_PREFIX).map_err(|_| ChainError::Key)?.to_string())
}

/// Checks a bech32 address of this chain.
pub fn check_address(text: &str) -> Result<(), ChainError> {
    match text.parse::<AccountId>() {
        Ok(id) if id.prefix() == ADDRESS_PREFIX && id.to_bytes().len() == 20 => Ok(()),
        _ => Err(ChainError::Address(text.chars().take(64).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{MsgClaimTask, MsgSetPayout};

    const CHAIN: &str = "r3mes-test-1";

    fn key() -> SessionKey {
        SessionKey::new(&[7; 32]).unwrap()
    }

    fn claim(miner: &str) -> Message {
        Message::ClaimTask(MsgClaimTask { miner: miner.to_owned(), pool_id: 3, chunk_id: 9 })
    }

    #[test]
    fn what_is_signed_is_opened() {
        let key = key();
        let payout = MsgSetPayout { miner: key.address().to_owned(), payout: key.address().to_owned() };
        let messages = vec![claim(key.address()), Message::SetPayout(payout)];
        let tx = key.sign(CHAIN, 41, &messages).unwrap();
        let signed = Signed::open(&tx, CHAIN).unwrap();
        assert_eq!(signed, Signed { signer: key.address().to_owned(), sequence: 41, messages });
        assert!(check_address(key.address()).is_ok());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let key = key();
        let tx = key.sign(CHAIN, 41, &[claim(key.address())]).unwrap();
        for bit in 0..8 * tx.len() {
            let mut flipped = tx.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Signed::open(&flipped, CHAIN).is_err(), "bit {bit}");
        }
        for length in 0..tx.len() {
            assert!(Signed::open(&tx[..length], CHAIN).is_err(), "{length} bytes");
        }
        let other_chain = Signed::open(&tx, "r3mes-test-2");
        assert_eq!(other_chain, Err(ChainError::Signature(key.address().to_owned())));
    }

    /// `(r, n − s)` verifies too in plain ECDSA: one transaction would have two hashes.
    #[test]
    fn the_other_form_of_a_signature_is_refused() {
        let key = key();
        let mut raw = TxRaw::decode(&*key.sign(CHAIN, 0, &[claim(key.address())]).unwrap()).unwrap();
        let signature = Signature::from_slice(&raw.signatures[0]).unwrap();
        let (r, s) = (signature.r(), -*signature.s());
        raw.signatures[0] = Signature::from_scalars(*r, s).unwrap().to_vec();
        let refused = Signed::open(&raw.encode_to_vec(), CHAIN);
        assert_eq!(refused, Err(ChainError::Signature(key.address().to_owned())));
    }

    #[test]
    fn nobody_signs_for_another() {
        let (key, other) = (key(), SessionKey::new(&[8; 32]).unwrap());
        let tx = key.sign(CHAIN, 0, &[claim(other.address())]).unwrap();
        let (signer, found) = (other.address().to_owned(), key.address().to_owned());
        assert_eq!(Signed::open(&tx, CHAIN), Err(ChainError::Signer { signer, found }));
        assert!(matches!(SessionKey::new(&[0; 32]), Err(ChainError::Key)));
        for address in ["", "remes1", "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu", &key.address()[..40]] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }

    /// Made by @cosmjs/proto-signing 0.39 from the same key, sequence and messages: `tests/data/cosmjs_tx_hash.mjs`.
    #[test]
    fn the_bytes_are_those_of_cosmjs() {
        let key = key();
        let tx = key.sign(CHAIN, 41, &[claim(key.address())]).unwrap();
        assert_eq!(tx_hash(&tx), include_str!("../../tests/data/cosmjs_tx_hash.txt").trim());
    }
}
