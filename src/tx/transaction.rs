//! Reads and verifies transactions: `TxRaw` bytes with one signature, either in the mode `SIGN_MODE_DIRECT` or in the
//! mode `SIGN_MODE_LEGACY_AMINO_JSON`.
//!
//! The format is described at <https://docs.cosmos.network/v0.50/learn/advanced/transactions>. On this chain, the
//! account number of every account is 0. The sequence prevents a transaction from being executed twice, and the chain
//! ID prevents its execution on another chain.

use super::{
    DENOM, MAX_MESSAGES, Message, TxError,
    address::{address, canonical_address},
    amino,
    encoding::{decode, decode_body, decode_canonical},
    grants, submission,
};
use cosmrs::{
    Any,
    crypto::PublicKey,
    proto::cosmos::{
        base::v1beta1::Coin,
        tx::{
            signing::v1beta1::SignMode,
            v1beta1::{
                self as proto, AuthInfo, ModeInfo, SignDoc, TxBody, TxRaw,
                mode_info::{Single, Sum},
            },
        },
    },
};
use data_encoding::HEXUPPER;
use k256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
use prost::Message as _;
use sha2::{Digest, Sha256};

/// The largest size of a transaction in bytes. The largest move of a dispute fits into a transaction of this size.
pub const MAX_TX_BYTES: usize = 80 << 10;
/// The largest length of a transaction's memo in bytes. It is the default of the Cosmos SDK.
pub const MAX_MEMO_BYTES: usize = 256;
/// The largest number of signatures in a transaction: its own signature, one in each submission, and one in each
/// message that opens or closes a session. It is the default of the Cosmos SDK.
pub const MAX_SIGNATURES: usize = 7;
/// The size of a signature in bytes.
const SIGNATURE_BYTES: usize = 64;
/// The account number, which the Cosmos SDK includes in the bytes to be signed. Every account of this chain has the
/// same number.
pub(super) const ACCOUNT_NUMBER: u64 = 0;

/// Returns the bytes that are signed in a transaction with this body and this signer information. The signer
/// information states the sign mode.
pub(super) fn sign_bytes(body_bytes: &[u8], auth_info_bytes: &[u8], chain_id: &str) -> Result<Vec<u8>, TxError> {
    let auth_info: AuthInfo = decode(auth_info_bytes)?;
    match sign_mode(&auth_info)? {
        SignMode::LegacyAminoJson => Ok(amino::sign_bytes(&amino::sign_doc(body_bytes, auth_info_bytes, chain_id)?)),
        _ => {
            let document = SignDoc {
                body_bytes: body_bytes.to_vec(),
                auth_info_bytes: auth_info_bytes.to_vec(),
                chain_id: chain_id.to_owned(),
                account_number: ACCOUNT_NUMBER,
            };
            Ok(document.encode_to_vec())
        }
    }
}

/// Returns the sign mode of a transaction's only signer. Fails if it is neither `SIGN_MODE_DIRECT` nor
/// `SIGN_MODE_LEGACY_AMINO_JSON`.
fn sign_mode(auth_info: &AuthInfo) -> Result<SignMode, TxError> {
    let mode = auth_info.signer_infos.first().and_then(|info| info.mode_info.as_ref()?.sum.as_ref());
    match mode {
        Some(Sum::Single(single)) => match single.mode() {
            mode @ (SignMode::Direct | SignMode::LegacyAminoJson) => Ok(mode),
            _ => Err(unsupported_mode()),
        },
        _ => Err(unsupported_mode()),
    }
}

fn unsupported_mode() -> TxError {
    TxError::Malformed("the sign mode must be SIGN_MODE_DIRECT or SIGN_MODE_LEGACY_AMINO_JSON".to_owned())
}

/// The fee of a transaction, and the account that pays it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fee {
    /// Amount of the fee in micro-units.
    pub amount: u64,
    /// Address of the account that pays the fee because it has given the signer a fee allowance; `None` if the signer
    /// pays.
    pub granter: Option<String>,
}

impl Fee {
    fn read(fee: Option<proto::Fee>, signer: &str) -> Result<Self, TxError> {
        let proto::Fee { amount, payer, granter, .. } = fee.unwrap_or_default();
        if !payer.is_empty() && canonical_address(&payer)? != signer {
            return Err(TxError::Signer { signer: payer, found: signer.to_owned() });
        }
        let granter = Some(granter).filter(|granter| !granter.is_empty());
        let granter = granter.map(|granter| canonical_address(&granter)).transpose()?;
        let granter = granter.filter(|granter| granter != signer);
        Ok(Self { amount: grants::amount(&amount)?.unwrap_or_default(), granter })
    }
}

/// Returns the hash of a transaction: SHA-256 of its bytes, in upper-case hexadecimal.
pub fn tx_hash(tx: &[u8]) -> String {
    HEXUPPER.encode(&Sha256::digest(tx))
}

/// The content of a signed transaction. All addresses in it are in lower case.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed {
    /// Address of the signer.
    pub signer: String,
    /// The sequence that the signer declared: the number of transactions that the signer's account sent before this
    /// one.
    pub sequence: u64,
    /// The fee that the signer declared.
    pub fee: Fee,
    /// The height of the last block that may contain the transaction; 0 if every block may contain it.
    pub timeout_height: u64,
    /// Size of the encoded transaction in bytes.
    pub bytes: usize,
    /// The messages, in the order in which the transaction contains them. Each of them requires the signature of
    /// `signer`.
    pub messages: Vec<Message>,
}

impl Signed {
    /// Decodes a transaction from `TxRaw` bytes and checks its signatures. This is [`DecodedTx::decode`] followed by
    /// [`DecodedTx::verify`].
    pub fn open(tx: &[u8], chain_id: &str) -> Result<Self, TxError> {
        DecodedTx::decode(tx)?.verify(chain_id)
    }

    /// Decodes a transaction that is to be simulated, from `TxRaw` bytes. The transaction needs no signature, no key,
    /// no sign mode and no fee. The account that must sign its first message counts as its signer. The returned size is
    /// the one that the transaction would have if it were signed and stated the largest possible fee.
    pub fn unsigned(tx: &[u8]) -> Result<Self, TxError> {
        let (mut raw, body, mut info) = parts(tx)?;
        let [signer_info] = &mut info.signer_infos[..] else { return Err(one_signer()) };
        let sequence = signer_info.sequence;
        let messages = messages(&body)?;
        let signer = messages[0].signer().to_owned();
        let fee = Fee::read(info.fee.clone(), &signer)?;

        signer_info
            .public_key
            .get_or_insert(Any { type_url: PublicKey::SECP256K1_TYPE_URL.to_owned(), value: vec![0; 35] });
        let mode = Single { mode: SignMode::LegacyAminoJson.into() };
        signer_info.mode_info = Some(ModeInfo { sum: Some(Sum::Single(mode)) });
        let longest = info.fee.get_or_insert_default();
        longest.amount = vec![Coin { denom: DENOM.to_owned(), amount: u64::MAX.to_string() }];
        longest.gas_limit = u64::MAX;
        raw.auth_info_bytes = info.encode_to_vec();
        raw.signatures = vec![vec![0; SIGNATURE_BYTES]];
        check_messages(&messages, &signer)?;
        Ok(Self { signer, sequence, fee, timeout_height: body.timeout_height, bytes: raw.encoded_len(), messages })
    }
}

/// A transaction whose signatures have not been checked yet. Checking signatures takes much longer than decoding.
/// Therefore, a node first looks at the content, and checks the signatures only if the content gives no reason to
/// refuse the transaction.
pub struct DecodedTx {
    content: Signed,
    key: VerifyingKey,
    raw: TxRaw,
}

impl DecodedTx {
    /// Decodes a transaction from `TxRaw` bytes. Fails if the `TxRaw` is not in the canonical encoding, if a part of
    /// the transaction has unknown critical fields, if the transaction exceeds a limit (on its size, its memo or its
    /// number of signatures), or if one of the messages must be signed by an account other than the signer of the
    /// transaction.
    ///
    /// This function does not check the signatures. It also does not check whether all parts of a transaction that is
    /// signed as amino JSON are in the canonical encoding. [`Self::verify`] checks both.
    pub fn decode(tx: &[u8]) -> Result<Self, TxError> {
        let (raw, body, info) = parts(tx)?;
        let ([signer_info], [_]) = (&info.signer_infos[..], &raw.signatures[..]) else { return Err(one_signer()) };
        sign_mode(&info)?;
        let any = signer_info.public_key.as_ref().ok_or_else(|| malformed("the signer's public key is missing"))?;
        let key = PublicKey::try_from(any).map_err(|_| TxError::Key)?;
        // the same key in another encoding would give the transaction another hash
        if key.to_any().ok().as_ref() != Some(any) {
            return Err(TxError::Key);
        }
        let (signer, key) = (address(&key)?, VerifyingKey::from_sec1_bytes(&key.to_bytes()).map_err(|_| TxError::Key)?);
        let messages = messages(&body)?;
        check_messages(&messages, &signer)?;
        let (fee, sequence, timeout_height) =
            (Fee::read(info.fee.clone(), &signer)?, signer_info.sequence, body.timeout_height);
        Ok(Self { content: Signed { signer, sequence, fee, timeout_height, bytes: tx.len(), messages }, key, raw })
    }

    /// Returns the content of the transaction. Anybody can have made it, because the signatures have not been checked.
    pub fn content(&self) -> &Signed {
        &self.content
    }

    /// Checks the signature of the transaction, then the signatures inside its messages: that of each submission, and
    /// that of each text which opens or closes a session. Returns the content of the transaction.
    pub fn verify(self, chain_id: &str) -> Result<Signed, TxError> {
        let Self { content, key, raw: TxRaw { body_bytes, auth_info_bytes, signatures } } = self;
        let signed = sign_bytes(&body_bytes, &auth_info_bytes, chain_id)?;
        if !signatures.iter().all(|signature| check_signature(&key, &signed, signature)) {
            return Err(TxError::Signature(content.signer));
        }
        for message in &content.messages {
            match message {
                Message::OpenSession(opening) => opening.verify(chain_id)?,
                Message::CloseSession(closing) => closing.verify(chain_id)?,
                message => submission::verify(message, chain_id, &key)?,
            }
        }
        Ok(content)
    }
}

/// Decodes the three parts of a transaction: the `TxRaw`, the body and the signer information. Fails if the transaction
/// or its memo is too large, or if it has extension options or a tip.
fn parts(tx: &[u8]) -> Result<(TxRaw, TxBody, AuthInfo), TxError> {
    if tx.len() > MAX_TX_BYTES {
        return Err(TxError::TooLarge(tx.len()));
    }
    let raw: TxRaw = decode_canonical(tx)?;
    let (body, _) = decode_body(&raw.body_bytes)?;
    let info: AuthInfo = decode(&raw.auth_info_bytes)?;
    #[expect(deprecated, reason = "the field is refused")]
    if info.tip.is_some() {
        return Err(malformed("tips are not supported"));
    }
    if !body.extension_options.is_empty() {
        return Err(TxError::ExtensionOptions);
    }
    if body.memo.len() > MAX_MEMO_BYTES {
        return Err(TxError::MemoTooLong(body.memo.len()));
    }
    Ok((raw, body, info))
}

/// Decodes the messages of a transaction. Fails unless there are 1 to [`MAX_MESSAGES`] messages.
fn messages(body: &TxBody) -> Result<Vec<Message>, TxError> {
    if body.messages.is_empty() || body.messages.len() > MAX_MESSAGES {
        return Err(malformed(format!(
            "the number of messages is {} instead of 1 to {MAX_MESSAGES}",
            body.messages.len()
        )));
    }
    body.messages.iter().map(Message::read).collect()
}

/// Checks that `signer` is the account that must sign each of the messages, and that the transaction has at most
/// [`MAX_SIGNATURES`] signatures, including those inside the messages.
fn check_messages(messages: &[Message], signer: &str) -> Result<(), TxError> {
    if let Some(message) = messages.iter().find(|message| message.signer() != signer) {
        return Err(TxError::Signer { signer: message.signer().to_owned(), found: signer.to_owned() });
    }
    let signatures = 1 + messages.iter().map(inner_signatures).sum::<usize>();
    if signatures > MAX_SIGNATURES {
        return Err(TxError::TooManySignatures(signatures));
    }
    Ok(())
}

fn malformed(what: impl Into<String>) -> TxError {
    TxError::Malformed(what.into())
}

fn one_signer() -> TxError {
    malformed("a transaction must have exactly one signer and one signature")
}

/// Returns the number of signatures that a message contains.
fn inner_signatures(message: &Message) -> usize {
    match message {
        Message::OpenSession(_) | Message::CloseSession(_) => 1,
        message => {
            message.mining_messages().iter().filter(|message| matches!(message, Message::SubmitGradient(_))).count()
        }
    }
}

/// Returns whether `signature`, 64 bytes, is a signature of `bytes` by the key. All signatures of transactions are
/// checked by this function. ECDSA permits two signatures of the same bytes, `(r, s)` and `(r, n − s)`, where `n` is
/// the order of the group. Only the one with the smaller second value is accepted.
pub(super) fn check_signature(key: &VerifyingKey, bytes: &[u8], signature: &[u8]) -> bool {
    #[cfg(test)]
    SIGNATURE_CHECKS.set(SIGNATURE_CHECKS.get() + 1);
    Signature::from_slice(signature).is_ok_and(|signature| key.verify(bytes, &signature).is_ok())
}

#[cfg(test)]
thread_local! {
    static SIGNATURE_CHECKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns how many signatures the current thread has checked so far.
#[cfg(test)]
pub(crate) fn signature_checks() -> usize {
    SIGNATURE_CHECKS.get()
}
