//! Tests that a signed transaction can be read back, and that altered or unauthorized transactions are refused.

mod cosmjs;
mod encodings;

use super::*;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::{
    Any,
    proto::{
        cosmos::{
            authz::v1beta1::MsgExec,
            crypto::secp256k1::PubKey,
            tx::{
                signing::v1beta1::SignMode,
                v1beta1::{
                    AuthInfo, ModeInfo, SignDoc, TxBody, TxRaw,
                    mode_info::{Single, Sum},
                },
            },
        },
        traits::MessageExt,
    },
};
use data_encoding::HEXLOWER;
use k256::ecdsa::{Signature, VerifyingKey};
use prost::{Message as _, Name};

const CHAIN: &str = "r3mes-test-1";

fn key() -> SessionKey {
    SessionKey::new(&[7; 32]).unwrap()
}

fn other() -> SessionKey {
    SessionKey::new(&[8; 32]).unwrap()
}

fn session() -> Session {
    let pair = GrantPair { granter: key().address().to_owned(), grantee: other().address().to_owned() };
    Session { pair, cap: 500_000, expires: 1_800_000_000 }
}

fn opening(number: u64) -> Message {
    let (grantee, pub_key) = (other().address().to_owned(), key().public_key());
    let mut opening =
        MsgOpenSession { grantee, pub_key, expiration: 1_800_000_000, cap: 500_000, number, signature: vec![] };
    opening.signature = key().sign_text(&opening.statement(CHAIN)).unwrap();
    Message::OpenSession(Box::new(opening))
}

fn claim(miner: &str) -> Message {
    Message::ClaimTask(MsgClaimTask { miner: miner.to_owned(), pool_id: 3, chunk_id: 9 })
}

#[test]
fn a_signed_transaction_can_be_opened() {
    let key = key();
    let payout = MsgSetPayout { miner: key.address().to_owned(), payout: key.address().to_owned() };
    let messages = vec![claim(key.address()), Message::SetPayout(payout)];
    let tx = key.sign(CHAIN, 41, &Fee::default(), &messages).unwrap();
    let signed = Signed::open(&tx, CHAIN).unwrap();
    assert_eq!(
        signed,
        Signed {
            signer: key.address().to_owned(),
            sequence: 41,
            fee: Fee::default(),
            timeout_height: 0,
            bytes: tx.len(),
            messages
        }
    );
    assert_eq!(canonical_address(key.address()).as_deref(), Ok(key.address()));
}

#[test]
fn every_flipped_bit_is_refused() {
    let key = key();
    let tx = key.sign(CHAIN, 41, &Fee::default(), &[claim(key.address())]).unwrap();
    let (session, fee) = (session(), Fee { amount: 7, granter: Some(other().address().to_owned()) });
    for tx in [
        &tx,
        &key.sign(CHAIN, 41, &fee, &session.grant()).unwrap(),
        &other().sign(CHAIN, 0, &fee, &[opening(3)]).unwrap(),
        &other()
            .sign(CHAIN, 0, &fee, &[Message::Exec(other().address().to_owned(), vec![claim(key.address())])])
            .unwrap(),
    ] {
        assert!(Signed::open(tx, CHAIN).is_ok());
        for bit in 0..8 * tx.len() {
            let mut flipped = tx.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Signed::open(&flipped, CHAIN).is_err(), "bit {bit}");
        }
        for length in 0..tx.len() {
            assert!(Signed::open(&tx[..length], CHAIN).is_err(), "{length} bytes");
        }
    }
    let other_chain = Signed::open(&tx, "r3mes-test-2");
    assert_eq!(other_chain, Err(TxError::Signature(key.address().to_owned())));
}

/// Checks that the signature `(r, n − s)` is refused, where `(r, s)` is a valid signature and `n` is the order of the
/// group. Plain ECDSA accepts both, so the same transaction could have two hashes.
#[test]
fn the_other_form_of_a_signature_is_refused() {
    let key = key();
    let mut raw = TxRaw::decode(&*key.sign(CHAIN, 0, &Fee::default(), &[claim(key.address())]).unwrap()).unwrap();
    let signature = Signature::from_slice(&raw.signatures[0]).unwrap();
    let (r, s) = (signature.r(), -*signature.s());
    raw.signatures[0] = Signature::from_scalars(*r, s).unwrap().to_vec();
    let refused = Signed::open(&raw.encode_to_vec(), CHAIN);
    assert_eq!(refused, Err(TxError::Signature(key.address().to_owned())));
}

#[test]
fn a_message_must_be_signed_by_its_signer() {
    let (key, other) = (key(), other());
    let tx = key.sign(CHAIN, 0, &Fee::default(), &[claim(other.address())]).unwrap();
    let (signer, found) = (other.address().to_owned(), key.address().to_owned());
    assert_eq!(Signed::open(&tx, CHAIN), Err(TxError::Signer { signer, found }));
    assert!(matches!(SessionKey::new(&[0; 32]), Err(TxError::Key)));
    for address in ["", "remes1", "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu", &key.address()[..40]] {
        assert!(canonical_address(address).is_err(), "{address}");
    }
}

/// Signs a transaction that consists of these messages, and returns the result of reading it back.
fn opened(key: &SessionKey, messages: &[Message]) -> Result<Signed, TxError> {
    Signed::open(&key.sign(CHAIN, 0, &Fee::default(), messages).unwrap(), CHAIN)
}

#[test]
fn a_session_is_granted_and_revoked_by_messages_of_the_cosmos_sdk() {
    let (key, session) = (key(), session());
    let mut messages = session.grant();
    assert_eq!(
        messages.iter().map(|message| message.to_any().type_url).collect::<Vec<_>>(),
        [
            "/cosmos.authz.v1beta1.MsgGrant",
            "/cosmos.authz.v1beta1.MsgGrant",
            "/cosmos.feegrant.v1beta1.MsgGrantAllowance"
        ]
    );
    messages.extend(GRANTABLE.map(|message| Message::Revoke(session.pair.clone(), message.to_owned())));
    messages.push(Message::RevokeAllowance(session.pair.clone()));
    assert_eq!(opened(&key, &messages).unwrap().messages, messages);
    assert!(matches!(opened(&other(), &messages), Err(TxError::Signer { .. })), "only the granter may sign");
    assert_eq!(GRANTABLE.to_vec(), [MsgClaimTask::type_url(), MsgSubmitGradient::type_url()]);
}

#[test]
fn grants_of_other_forms_are_refused() {
    let (key, session) = (key(), session());
    let refused = |change: &dyn Fn(&mut Grant)| {
        let mut grant = session.grants().next().unwrap();
        change(&mut grant);
        opened(&key, &[Message::Grant(grant)]).unwrap_err()
    };
    for message in ["/r3mes.wgpu.v1.MsgSetPayout", "/cosmos.authz.v1beta1.MsgExec", "/cosmos.bank.v1beta1.MsgSend", ""]
    {
        assert_eq!(refused(&|grant| message.clone_into(&mut grant.message)), TxError::Ungrantable(message.to_owned()));
    }
    assert!(refused(&|grant| grant.expires = 0).to_string().contains("expiry"));
    assert!(refused(&|grant| grant.expires = u64::MAX).to_string().contains("expiry"));
    assert!(refused(&|grant| grant.pair.grantee = key.address().to_owned()).to_string().contains("same account"));
    assert!(matches!(refused(&|grant| grant.pair.grantee = "cosmos1".to_owned()), TxError::Address(_)));
}

#[test]
fn an_exec_carries_messages_of_mining_only() {
    let (key, other) = (key(), other());
    let exec = |messages: Vec<Message>| Message::Exec(key.address().to_owned(), messages);
    let mine = claim(other.address());
    let held = opened(&key, &[exec(vec![mine.clone(), mine.clone()])]).unwrap();
    assert_eq!(held.messages[0].mining_messages().len(), 2);
    let payout = MsgSetPayout { miner: other.address().to_owned(), payout: key.address().to_owned() };
    for nested in
        [exec(vec![mine.clone()]), Message::SetPayout(payout), Message::Grant(session().grants().next().unwrap())]
    {
        assert!(matches!(opened(&key, &[exec(vec![nested])]), Err(TxError::Ungrantable(_))));
    }
    assert!(opened(&key, &[exec(vec![])]).is_err());
    assert!(opened(&key, &[exec(vec![mine.clone(); MAX_MESSAGES + 1])]).is_err());
    assert!(opened(&key, &vec![exec(vec![mine.clone()]); MAX_MESSAGES + 1]).is_err());
    assert!(matches!(opened(&other, &[exec(vec![mine])]), Err(TxError::Signer { .. })), "only the grantee may sign");
    // deep nesting is refused at its outermost level, before any inner message is read
    let mut any = claim(key.address()).to_any();
    for _ in 0..200 {
        let exec = MsgExec { grantee: key.address().to_owned(), msgs: vec![any] };
        any = Any { type_url: MsgExec::type_url(), value: exec.to_bytes().unwrap() };
    }
    assert!(matches!(Message::read(&any), Err(TxError::Ungrantable(_))));
}

#[test]
fn a_statement_has_a_fixed_text_and_is_signed_by_the_account() {
    let other = other();
    let Message::OpenSession(opening) = opening(3) else { unreachable!() };
    assert_eq!(opening.session().unwrap(), session());
    assert_eq!(
        opening.statement(CHAIN),
        format!(
            "Open an R3MES mining session.\n\nChain: {CHAIN}\nSession key: {}\nIt may claim tasks and submit gradients in \
             my name; rewards are mine.\nIt may spend on fees, in all: 500000 uremes\nExpires: 2027-01-15T08:00:00Z\n\
             Statement number: 3",
            other.address()
        )
    );
    assert!(opened(&other, &[Message::OpenSession(opening.clone())]).is_ok());
    let changes: [&dyn Fn(&mut MsgOpenSession); 5] = [
        &|opening| opening.cap += 1,
        &|opening| opening.expiration += 1,
        &|opening| opening.number += 1,
        &|opening| opening.pub_key = SessionKey::new(&[9; 32]).unwrap().public_key(),
        &|opening| opening.signature.truncate(63),
    ];
    for change in changes {
        let mut changed = opening.clone();
        change(&mut changed);
        assert!(matches!(opened(&other, &[Message::OpenSession(changed)]), Err(TxError::Signature(_))));
    }
    let elsewhere = other.sign("r3mes-test-2", 0, &Fee::default(), &[Message::OpenSession(opening.clone())]).unwrap();
    assert_eq!(Signed::open(&elsewhere, "r3mes-test-2"), Err(TxError::Signature(key().address().to_owned())));
    assert!(matches!(opened(&key(), &[Message::OpenSession(opening)]), Err(TxError::Signer { .. })));
}

#[test]
fn a_fee_granter_must_be_an_address() {
    let key = key();
    let fee = Fee { amount: 12, granter: Some(other().address().to_owned()) };
    let tx = key.sign(CHAIN, 0, &fee, &[claim(key.address())]).unwrap();
    assert_eq!(Signed::open(&tx, CHAIN).unwrap().fee, fee);
    let nobody = Fee { amount: 12, granter: Some("cosmos1nobody".to_owned()) };
    assert!(key.sign(CHAIN, 0, &nobody, &[claim(key.address())]).is_err());
}

#[test]
fn a_transfer_moves_at_least_one_coin() {
    let key = key();
    let transfer = |to: &str, amount| Transfer { from: key.address().to_owned(), to: to.to_owned(), amount };
    let sent = [Message::Send(transfer(other().address(), 12))];
    assert_eq!(opened(&key, &sent).unwrap().messages, sent);
    assert!(matches!(opened(&other(), &sent), Err(TxError::Signer { .. })));
    let fee = Fee { amount: 250, granter: None };
    let tx = key.sign(CHAIN, 3, &fee, &[Message::Send(transfer(other().address(), 1_234_567))]).unwrap();
    assert_eq!(
        tx_hash(&tx),
        include_str!("../../../tests/data/cosmjs_send_hash.txt").trim(),
        "same hash as from CosmJS"
    );
    assert!(opened(&key, &[Message::Send(transfer(other().address(), 0))]).is_err());
    assert!(matches!(opened(&key, &[Message::Send(transfer("cosmos1", 1))]), Err(TxError::Address(_))));
}

/// Checks that the inner signature of a submission equals the one that CosmJS made (in
/// `tests/data/cosmjs_submission_signature.mjs`), and that a submission with any other inner signature is refused.
#[test]
fn a_submission_is_signed_by_its_sender() {
    let (account, session) = (key(), other());
    let message = MsgSubmitGradient {
        miner: account.address().to_owned(),
        ipfs_hash: "bafyartifact".to_owned(),
        model_version: "bafymodel".to_owned(),
        training_round_id: 5,
        shard_id: 17,
        gradient_hash: "ab".repeat(32),
        gpu_architecture: "cpu".to_owned(),
        nonce: 99,
        ..Default::default()
    };
    let exec = |message: &MsgSubmitGradient| {
        Message::Exec(session.address().to_owned(), vec![Message::SubmitGradient(Box::new(message.clone()))])
    };
    let messages = opened(&session, &[exec(&message)]).unwrap().messages;
    let [Message::SubmitGradient(signed)] = messages[0].mining_messages() else { panic!("{messages:?}") };
    assert_eq!(
        HEXLOWER.encode(&signed.signature),
        include_str!("../../../tests/data/cosmjs_submission_signature.txt").trim()
    );

    // this closure signs only the transaction, so the submission keeps the inner signature that it was given
    let sent = |message: &Message| {
        let unsigned = Unsigned::new(&session.public_key(), 0, &Fee::default(), std::slice::from_ref(message)).unwrap();
        let signature = session.sign_bytes(&unsigned.sign_bytes(CHAIN).unwrap()).unwrap();
        Signed::open(&unsigned.assemble(signature).unwrap(), CHAIN)
    };
    assert!(sent(&exec(signed)).is_ok());
    let refused = Err(TxError::Submission(account.address().to_owned()));
    assert_eq!(sent(&exec(&message)), refused, "no inner signature");
    let by_account = account.sign_bytes(message.signed_text(CHAIN).as_bytes()).unwrap();
    assert_eq!(sent(&exec(&MsgSubmitGradient { signature: by_account, ..message.clone() })), refused);
    let elsewhere = session.sign_bytes(message.signed_text("r3mes-test-2").as_bytes()).unwrap();
    assert_eq!(sent(&exec(&MsgSubmitGradient { signature: elsewhere, ..message.clone() })), refused);
    let other_nonce = MsgSubmitGradient { nonce: 100, ..*signed.clone() };
    assert_eq!(sent(&exec(&other_nonce)), refused);
}

#[test]
fn the_type_url_of_every_foreign_message_is_that_of_its_encoding() {
    let (session, own) = (session(), key().address().to_owned());
    let mut messages = session.grant();
    messages.push(Message::Revoke(session.pair.clone(), GRANTABLE[0].to_owned()));
    messages.push(Message::RevokeAllowance(session.pair));
    messages.push(Message::Send(Transfer { from: own.clone(), to: own.clone(), amount: 1 }));
    messages.push(Message::Exec(own.clone(), vec![claim(&own)]));
    for message in messages {
        assert_eq!(message.type_url(), message.to_any().type_url);
    }
}

#[test]
fn commitments_cover_the_fields_that_are_revealed() {
    let attestation = MsgRevealAttestation { leaf: "ab".repeat(32), salt: vec![1; 32], ..Default::default() };
    let other_leaf = MsgRevealAttestation { leaf: String::new(), ..attestation.clone() };
    let other_salt = MsgRevealAttestation { salt: vec![2; 32], ..attestation.clone() };
    assert_ne!(attestation.commitment(), other_leaf.commitment());
    assert_ne!(attestation.commitment(), other_salt.commitment());
    let aggregation = MsgRevealAggregation { layout_root: "ab".repeat(32), salt: vec![1; 32], ..Default::default() };
    let other_root = MsgRevealAggregation { layout_root: "cd".repeat(32), ..aggregation.clone() };
    let other_salt = MsgRevealAggregation { salt: vec![2; 32], ..aggregation.clone() };
    assert_ne!(aggregation.commitment(), other_root.commitment());
    assert_ne!(aggregation.commitment(), other_salt.commitment());
}
