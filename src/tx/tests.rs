//! Transactions as they are signed, opened and refused.

use super::*;
use cosmrs::{
    Any,
    proto::{
        cosmos::{authz::v1beta1::MsgExec, tx::v1beta1::TxRaw},
        traits::MessageExt,
    },
};
use k256::ecdsa::Signature;
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
fn what_is_signed_is_opened() {
    let key = key();
    let payout = MsgSetPayout { miner: key.address().to_owned(), payout: key.address().to_owned() };
    let messages = vec![claim(key.address()), Message::SetPayout(payout)];
    let tx = key.sign(CHAIN, 41, &Fee::default(), &messages).unwrap();
    let signed = Signed::open(&tx, CHAIN).unwrap();
    assert_eq!(signed, Signed { signer: key.address().to_owned(), sequence: 41, fee: Fee::default(), messages });
    assert!(check_address(key.address()).is_ok());
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
    assert_eq!(other_chain, Err(ChainError::Signature(key.address().to_owned())));
}

/// `(r, n − s)` verifies too in plain ECDSA: one transaction would have two hashes.
#[test]
fn the_other_form_of_a_signature_is_refused() {
    let key = key();
    let mut raw = TxRaw::decode(&*key.sign(CHAIN, 0, &Fee::default(), &[claim(key.address())]).unwrap()).unwrap();
    let signature = Signature::from_slice(&raw.signatures[0]).unwrap();
    let (r, s) = (signature.r(), -*signature.s());
    raw.signatures[0] = Signature::from_scalars(*r, s).unwrap().to_vec();
    let refused = Signed::open(&raw.encode_to_vec(), CHAIN);
    assert_eq!(refused, Err(ChainError::Signature(key.address().to_owned())));
}

#[test]
fn nobody_signs_for_another() {
    let (key, other) = (key(), other());
    let tx = key.sign(CHAIN, 0, &Fee::default(), &[claim(other.address())]).unwrap();
    let (signer, found) = (other.address().to_owned(), key.address().to_owned());
    assert_eq!(Signed::open(&tx, CHAIN), Err(ChainError::Signer { signer, found }));
    assert!(matches!(SessionKey::new(&[0; 32]), Err(ChainError::Key)));
    for address in ["", "remes1", "cosmos1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5lzv7xu", &key.address()[..40]] {
        assert!(check_address(address).is_err(), "{address}");
    }
}

/// Opens what a transaction of these bytes would be, signed well.
fn opened(key: &SessionKey, messages: &[Message]) -> Result<Signed, ChainError> {
    Signed::open(&key.sign(CHAIN, 0, &Fee::default(), messages).unwrap(), CHAIN)
}

#[test]
fn a_session_is_granted_and_revoked_in_the_words_of_cosmos() {
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
    assert!(matches!(opened(&other(), &messages), Err(ChainError::Signer { .. })), "the granter's alone");
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
        assert_eq!(
            refused(&|grant| message.clone_into(&mut grant.message)),
            ChainError::Ungrantable(message.to_owned())
        );
    }
    assert!(refused(&|grant| grant.expires = 0).to_string().contains("expiry"));
    assert!(refused(&|grant| grant.expires = u64::MAX).to_string().contains("expiry"));
    assert!(refused(&|grant| grant.pair.grantee = key.address().to_owned()).to_string().contains("one account"));
    assert!(matches!(refused(&|grant| grant.pair.grantee = "cosmos1".to_owned()), ChainError::Address(_)));
}

#[test]
fn only_mining_stands_in_an_exec() {
    let (key, other) = (key(), other());
    let exec = |messages: Vec<Message>| Message::Exec(key.address().to_owned(), messages);
    let mine = claim(other.address());
    let held = opened(&key, &[exec(vec![mine.clone(), mine.clone()])]).unwrap();
    assert_eq!(held.messages[0].work().len(), 2);
    let payout = MsgSetPayout { miner: other.address().to_owned(), payout: key.address().to_owned() };
    for nested in
        [exec(vec![mine.clone()]), Message::SetPayout(payout), Message::Grant(session().grants().next().unwrap())]
    {
        assert!(matches!(opened(&key, &[exec(vec![nested])]), Err(ChainError::Ungrantable(_))));
    }
    assert!(opened(&key, &[exec(vec![])]).is_err());
    assert!(opened(&key, &[exec(vec![mine.clone(); MAX_MESSAGES + 1])]).is_err());
    assert!(opened(&key, &vec![exec(vec![mine.clone()]); MAX_MESSAGES + 1]).is_err());
    assert!(matches!(opened(&other, &[exec(vec![mine])]), Err(ChainError::Signer { .. })), "the grantee's alone");
    // deep nesting is refused at its first level, before anything below is read
    let mut any = claim(key.address()).to_any();
    for _ in 0..200 {
        let exec = MsgExec { grantee: key.address().to_owned(), msgs: vec![any] };
        any = Any { type_url: MsgExec::type_url(), value: exec.to_bytes().unwrap() };
    }
    assert!(matches!(Message::read(&any, CHAIN), Err(ChainError::Ungrantable(_))));
}

#[test]
fn a_statement_is_the_account_s_word_for_word() {
    let other = other();
    let Message::OpenSession(opening) = opening(3) else { unreachable!() };
    assert_eq!(opening.session().unwrap(), session());
    assert_eq!(
        opening.statement(CHAIN),
        format!(
            "Open an R3MES mining session.\n\nChain: {CHAIN}\nSession key: {}\nIt may claim tasks and submit gradients in \
             my name; rewards are mine.\nIt may spend on fees, in all: 500000 uremes\nExpires: 2027-01-15T08:00:00Z\n\
             Number: 3",
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
        assert!(matches!(opened(&other, &[Message::OpenSession(changed)]), Err(ChainError::Signature(_))));
    }
    let elsewhere = other.sign("r3mes-test-2", 0, &Fee::default(), &[Message::OpenSession(opening.clone())]).unwrap();
    assert_eq!(Signed::open(&elsewhere, "r3mes-test-2"), Err(ChainError::Signature(key().address().to_owned())));
    assert!(matches!(opened(&key(), &[Message::OpenSession(opening)]), Err(ChainError::Signer { .. })));
}

#[test]
fn fees_are_of_one_coin() {
    let key = key();
    let fee = Fee { amount: 12, granter: Some(other().address().to_owned()) };
    let tx = key.sign(CHAIN, 0, &fee, &[claim(key.address())]).unwrap();
    assert_eq!(Signed::open(&tx, CHAIN).unwrap().fee, fee);
    let nobody = Fee { amount: 12, granter: Some("cosmos1nobody".to_owned()) };
    assert!(key.sign(CHAIN, 0, &nobody, &[claim(key.address())]).is_err());
}

#[test]
fn a_transfer_is_of_one_coin_and_some_of_it() {
    let key = key();
    let transfer = |to: &str, amount| Transfer { from: key.address().to_owned(), to: to.to_owned(), amount };
    let sent = [Message::Send(transfer(other().address(), 12))];
    assert_eq!(opened(&key, &sent).unwrap().messages, sent);
    assert!(matches!(opened(&other(), &sent), Err(ChainError::Signer { .. })));
    let fee = Fee { amount: 250, granter: None };
    let tx = key.sign(CHAIN, 3, &fee, &[Message::Send(transfer(other().address(), 1_234_567))]).unwrap();
    assert_eq!(tx_hash(&tx), include_str!("../../tests/data/cosmjs_send_hash.txt").trim(), "that of CosmJS");
    assert!(opened(&key, &[Message::Send(transfer(other().address(), 0))]).is_err());
    assert!(matches!(opened(&key, &[Message::Send(transfer("cosmos1", 1))]), Err(ChainError::Address(_))));
}

/// Made by @cosmjs/proto-signing 0.39 from the same key, sequence and messages: `tests/data/cosmjs_tx_hash.mjs`.
#[test]
fn the_bytes_are_those_of_cosmjs() {
    let key = key();
    let tx = key.sign(CHAIN, 41, &Fee::default(), &[claim(key.address())]).unwrap();
    assert_eq!(tx_hash(&tx), include_str!("../../tests/data/cosmjs_tx_hash.txt").trim());
}

/// Of every message: `tests/data/cosmjs_messages.mjs`, by CosmJS and protobufjs.
#[test]
fn every_message_s_bytes_are_those_of_cosmjs() {
    let (key, hash) = (key(), "ab".repeat(32));
    let who = || key.address().to_owned();
    let resources = NodeResources {
        cpu_cores: 2,
        memory_gb: 24,
        gpu_count: 1,
        gpu_memory_gb: 8,
        storage_gb: 100,
        network_bandwidth_mbps: 50,
    };
    let messages = [
        claim(key.address()),
        Message::SubmitGradient(Box::new(MsgSubmitGradient {
            miner: who(),
            ipfs_hash: "bafyartifact".to_owned(),
            model_version: "bafymodel".to_owned(),
            training_round_id: 5,
            shard_id: 17,
            gradient_hash: hash.clone(),
            gpu_architecture: "cpu".to_owned(),
            nonce: 99,
            proof_of_work_nonce: 12,
            global_seed: 77,
            claimed_loss: "1.5".to_owned(),
            token_count: 2048,
            ..Default::default()
        })),
        Message::CompleteTask(MsgCompleteTask {
            miner: who(),
            pool_id: 3,
            chunk_id: 9,
            gradient_hash: hash.clone(),
            gradient_ipfs_hash: "bafyartifact".to_owned(),
            miner_gpu: "cpu".to_owned(),
        }),
        Message::RegisterNode(MsgRegisterNode {
            node_address: who(),
            node_type: 3,
            resources: Some(resources),
            stake: "1000uremes".to_owned(),
            roles: vec![1, 4],
            resource_proof_ipfs_hash: "bafyproof".to_owned(),
        }),
        Message::Attest(Box::new(MsgSubmitRandomVerifierResult {
            verifier: who(),
            challenge_id: 4,
            result: "match".to_owned(),
            gradient_hash: hash.clone(),
            evidence: "leaf:salt".to_owned(),
            verifier_loss: "1.5".to_owned(),
            loss_match: true,
            data_batch_seed: 6,
        })),
        Message::Arbitrate(MsgSubmitCPUVerification {
            validator: who(),
            challenge_id: 4,
            is_valid: true,
            computed_hash: hash.clone(),
            expected_hash: hash.clone(),
            leaf: hash.clone(),
        }),
        Message::CommitAggregation(MsgCommitAggregation {
            proposer: who(),
            commitment_hash: hash.clone(),
            training_round_id: 5,
            gradient_ids: vec![1, 2, 300],
        }),
        Message::RevealAggregation(Box::new(MsgRevealAggregation {
            proposer: who(),
            commitment_id: 8,
            aggregated_gradient_ipfs_hash: "bafyadapter".to_owned(),
            merkle_root: hash.clone(),
            gradient_ids: vec![1, 2, 300],
            training_round_id: 5,
            model_version: "bafymodel".to_owned(),
            salt: "salt".to_owned(),
        })),
        Message::SetPayout(MsgSetPayout { miner: who(), payout: who() }),
        Message::CommitAttestation(MsgCommitAttestation { verifier: who(), challenge_id: 4, commitment: vec![5; 32] }),
        Message::UnregisterNode(MsgUnregisterNode { node_address: who() }),
        Message::AnswerTrap(MsgSubmitTrapJobResult {
            miner: who(),
            trap_job_id: "trap-7".to_owned(),
            gradient_ipfs_hash: "bafyartifact".to_owned(),
            gradient_hash: hash.clone(),
        }),
        Message::Withdraw(MsgWithdraw { miner: who() }),
        Message::OpenDispute(Box::new(MsgOpenDispute {
            challenger: who(),
            stored_gradient_id: 6,
            chunk: vec![1; 8],
            manifest: vec![2; 9],
        })),
        Message::Appeal(Box::new(MsgAppeal {
            sender: who(),
            challenge_id: 4,
            chunk: vec![1; 8],
            manifest: vec![2; 9],
        })),
        Message::AnswerDispute(MsgAnswerDispute { sender: who(), dispute_id: 3, answer: vec![4; 7] }),
        Message::MoveDispute(MsgMoveDispute { sender: who(), dispute_id: 3, answer: 1, step: vec![8; 6] }),
    ];
    let expected: Vec<_> = include_str!("../../tests/data/cosmjs_messages.tsv").lines().collect();
    assert_eq!(expected.len(), messages.len());
    for (message, expected) in messages.iter().zip(expected) {
        let tx = key.sign(CHAIN, 41, &Fee::default(), std::slice::from_ref(message)).unwrap();
        assert_eq!(format!("{}\t{}", message.to_any().type_url, tx_hash(&tx)), expected);
        let read = Signed::open(&tx, CHAIN).unwrap().messages;
        assert_eq!(read[0].to_any().type_url, message.to_any().type_url);
        assert!(matches!(message, Message::SubmitGradient(_)) || read == [message.clone()]);
    }
}

/// By the same program: the two grants and the allowance, and the statement as CosmJS's amino wallet signs it.
#[test]
fn a_session_s_bytes_are_those_of_cosmjs() {
    let tx = key().sign(CHAIN, 41, &Fee::default(), &session().grant()).unwrap();
    assert_eq!(tx_hash(&tx), include_str!("../../tests/data/cosmjs_grant_hash.txt").trim());
    let Message::OpenSession(opening) = opening(3) else { unreachable!() };
    let signature: String = opening.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, include_str!("../../tests/data/cosmjs_statement_signature.txt").trim());
}

/// Its signature is made by CosmJS's crypto too: `tests/data/cosmjs_submission_signature.mjs`.
#[test]
fn a_submission_is_signed_by_who_sends_it() {
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
    let [Message::SubmitGradient(signed)] = messages[0].work() else { panic!("{messages:?}") };
    let signature: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signature, include_str!("../../tests/data/cosmjs_submission_signature.txt").trim());

    // what a program of one's own may put under a good signature of the transaction
    let sent = |message: &Message| {
        let unsigned = Unsigned::new(&session.public_key(), 0, &Fee::default(), std::slice::from_ref(message)).unwrap();
        let signature = session.sign_bytes(&unsigned.sign_bytes(CHAIN).unwrap()).unwrap();
        Signed::open(&unsigned.assemble(signature).unwrap(), CHAIN)
    };
    assert!(sent(&exec(signed)).is_ok());
    let refused = Err(ChainError::Submission(account.address().to_owned()));
    assert_eq!(sent(&exec(&message)), refused, "none");
    let by_account = account.sign_bytes(message.signed_text(CHAIN).as_bytes()).unwrap();
    assert_eq!(sent(&exec(&MsgSubmitGradient { signature: by_account, ..message.clone() })), refused);
    let elsewhere = session.sign_bytes(message.signed_text("r3mes-test-2").as_bytes()).unwrap();
    assert_eq!(sent(&exec(&MsgSubmitGradient { signature: elsewhere, ..message.clone() })), refused);
    let other_nonce = MsgSubmitGradient { nonce: 100, ..*signed.clone() };
    assert_eq!(sent(&exec(&other_nonce)), refused);
}
