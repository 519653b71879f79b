//! Tests that transactions have the same bytes as those that CosmJS, the JavaScript client of the Cosmos SDK, makes.

use super::*;

/// Checks that a transaction has the hash that @cosmjs/proto-signing 0.39 computed for the same key, sequence and
/// messages. The expected hash was made by `tests/data/cosmjs_tx_hash.mjs`.
#[test]
fn transactions_have_the_same_bytes_as_from_cosmjs() {
    let key = key();
    let tx = key.sign(CHAIN, 41, &Fee::default(), &[claim(key.address())]).unwrap();
    assert_eq!(tx_hash(&tx), include_str!("../../../tests/data/cosmjs_tx_hash.txt").trim());
}

/// Checks, for a message of each type, that a transaction with this message has the hash that CosmJS and protobufjs
/// computed. The expected hashes were made by `tests/data/cosmjs_messages.mjs`.
#[test]
fn every_message_has_the_same_bytes_as_from_cosmjs() {
    let (key, hash) = (key(), "ab".repeat(32));
    let address = || key.address().to_owned();
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
            miner: address(),
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
            miner: address(),
            pool_id: 3,
            chunk_id: 9,
            gradient_hash: hash.clone(),
            gradient_ipfs_hash: "bafyartifact".to_owned(),
            miner_gpu: "cpu".to_owned(),
        }),
        Message::RegisterNode(MsgRegisterNode {
            node_address: address(),
            node_type: 3,
            resources: Some(resources),
            stake: "1000uremes".to_owned(),
            roles: vec![1, 4],
            resource_proof_ipfs_hash: "bafyproof".to_owned(),
        }),
        Message::RevealBeacon(MsgRevealBeacon {
            validator: address(),
            epoch: 9,
            number: vec![7; 32],
            next: vec![8; 32],
        }),
        Message::RevealAttestation(Box::new(MsgRevealAttestation {
            verifier: address(),
            challenge_id: 4,
            result: "match".to_owned(),
            gradient_hash: hash.clone(),
            leaf: hash.clone(),
            salt: vec![6; 32],
        })),
        Message::Arbitrate(MsgSubmitCPUVerification {
            validator: address(),
            challenge_id: 4,
            is_valid: true,
            computed_hash: hash.clone(),
            expected_hash: hash.clone(),
            leaf: hash.clone(),
        }),
        Message::CommitAggregation(MsgCommitAggregation {
            proposer: address(),
            commitment_hash: hash.clone(),
            training_round_id: 5,
            gradient_ids: vec![1, 2, 300],
        }),
        Message::RevealAggregation(Box::new(MsgRevealAggregation {
            proposer: address(),
            commitment_id: 8,
            training_round_id: 5,
            gradient_ids: vec![1, 2, 300],
            merkle_root: hash.clone(),
            adapter: "bafyadapter".to_owned(),
            layout_root: hash.clone(),
            model_version: "bafymodel".to_owned(),
            salt: vec![7; 32],
        })),
        Message::SetPayout(MsgSetPayout { miner: address(), payout: address() }),
        Message::CommitAttestation(MsgCommitAttestation {
            verifier: address(),
            challenge_id: 4,
            commitment: vec![5; 32],
        }),
        Message::UnregisterNode(MsgUnregisterNode { node_address: address() }),
        Message::SetConsensusKey(MsgSetConsensusKey { node_address: address(), key: vec![6; 32] }),
        Message::AnswerTrap(MsgSubmitTrapJobResult {
            miner: address(),
            trap_job_id: "trap-7".to_owned(),
            gradient_ipfs_hash: "bafyartifact".to_owned(),
            gradient_hash: hash.clone(),
        }),
        Message::Withdraw(MsgWithdraw { miner: address() }),
        Message::OpenDispute(Box::new(MsgOpenDispute {
            challenger: address(),
            stored_gradient_id: 6,
            chunk: vec![1; 8],
            manifest: vec![2; 9],
        })),
        Message::Appeal(Box::new(MsgAppeal {
            sender: address(),
            challenge_id: 4,
            chunk: vec![1; 8],
            manifest: vec![2; 9],
        })),
        Message::AnswerDispute(MsgAnswerDispute { sender: address(), dispute_id: 3, answer: vec![4; 7] }),
        Message::MoveDispute(MsgMoveDispute { sender: address(), dispute_id: 3, answer: 1, step: vec![8; 6] }),
    ];
    let expected: Vec<_> = include_str!("../../../tests/data/cosmjs_messages.tsv").lines().collect();
    assert_eq!(expected.len(), messages.len());
    for (message, expected) in messages.iter().zip(expected) {
        let tx = key.sign(CHAIN, 41, &Fee::default(), std::slice::from_ref(message)).unwrap();
        assert_eq!(format!("{}\t{}", message.to_any().type_url, tx_hash(&tx)), expected);
        let read = Signed::open(&tx, CHAIN).unwrap().messages;
        assert_eq!(read[0].to_any().type_url, message.to_any().type_url);
        assert!(matches!(message, Message::SubmitGradient(_)) || read == [message.clone()]);
    }
}

/// Checks the hash of the transaction with the grants and the fee allowance of a session, and the signature of the
/// statement that opens a session. CosmJS computed both expected values, in `tests/data/cosmjs_session.mjs`.
#[test]
fn a_session_has_the_same_bytes_as_from_cosmjs() {
    let tx = key().sign(CHAIN, 41, &Fee::default(), &session().grant()).unwrap();
    assert_eq!(tx_hash(&tx), include_str!("../../../tests/data/cosmjs_grant_hash.txt").trim());
    let Message::OpenSession(opening) = opening(3) else { unreachable!() };
    assert_eq!(
        HEXLOWER.encode(&opening.signature),
        include_str!("../../../tests/data/cosmjs_statement_signature.txt").trim()
    );
}

/// Checks that transactions which CosmJS signed in the mode `SIGN_MODE_LEGACY_AMINO_JSON` are accepted, and that this
/// library signs the same bytes as CosmJS. The script `tests/data/cosmjs_amino.mjs` made the table of transactions.
#[test]
fn amino_signatures_cover_the_same_bytes_as_from_cosmjs() {
    let mut urls = Vec::new();
    for row in include_str!("../../../tests/data/cosmjs_amino.tsv").lines() {
        let [row_urls, json, hash, tx] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let tx = BASE64.decode(tx).unwrap();
        assert_eq!(tx_hash(&tx), hash);
        let TxRaw { body_bytes, auth_info_bytes, .. } = TxRaw::decode(&*tx).unwrap();
        let unsigned = Unsigned { body_bytes, auth_info_bytes };
        assert_eq!(String::from_utf8(unsigned.sign_bytes(CHAIN).unwrap()).unwrap(), json);
        assert_eq!(amino::sign_bytes(&serde_json::from_str(json).unwrap()), json.as_bytes());
        let signed = Signed::open(&tx, CHAIN).unwrap_or_else(|error| panic!("{row_urls}: {error}"));
        assert_eq!((signed.signer.as_str(), signed.sequence), (key().address(), 41));
        assert_eq!(signed.messages.iter().map(Message::type_url).collect::<Vec<_>>().join(","), row_urls);
        urls.extend(signed.messages.iter().map(Message::type_url));

        // the library makes the same transaction, unless it has a memo or the like
        let own = Unsigned::new(&key().public_key(), 41, &signed.fee, &signed.messages).unwrap().in_amino().unwrap();
        if own.body_bytes == unsigned.body_bytes && own.auth_info_bytes == unsigned.auth_info_bytes {
            let signature = key().sign_bytes(&own.sign_bytes(CHAIN).unwrap()).unwrap();
            assert_eq!(own.clone().assemble_amino(CHAIN, json, signature.clone()).unwrap(), tx);
            let changed = json.replace("\"memo\":\"\"", "\"memo\":\"a\"");
            assert!(matches!(own.assemble_amino(CHAIN, &changed, signature), Err(TxError::Amino(_))));
        } else {
            assert!(json.contains("timeout_height") || json.contains("00012Z"), "{row}");
        }
        for byte in 0..tx.len() {
            let mut flipped = tx.clone();
            flipped[byte] ^= 1 << (byte % 8);
            assert!(Signed::open(&flipped, CHAIN).is_err(), "{row_urls}: byte {byte}");
        }
    }
    urls.sort_unstable();
    urls.dedup();
    let mut all = Message::TYPE_URLS.to_vec();
    all.sort_unstable();
    assert_eq!(urls, all, "there is a row for each type of message");
}

/// Checks that a transaction which is signed as amino JSON is refused if it contains something that the JSON cannot
/// contain, because the signature would not cover it.
#[test]
fn amino_signatures_cover_the_whole_transaction() {
    let refused = |change: &dyn Fn(&mut TxBody, &mut AuthInfo, &mut Vec<u8>)| {
        let message = claim(key().address());
        let mut unsigned = Unsigned::new(&key().public_key(), 0, &Fee::default(), &[message]).unwrap();
        unsigned = unsigned.in_amino().unwrap();
        let signature = key().sign_bytes(&unsigned.sign_bytes(CHAIN).unwrap()).unwrap();
        let mut body = TxBody::decode(&*unsigned.body_bytes).unwrap();
        let mut info = AuthInfo::decode(&*unsigned.auth_info_bytes).unwrap();
        let mut unknown = Vec::new();
        change(&mut body, &mut info, &mut unknown);
        let body_bytes = [body.encode_to_vec(), unknown].concat();
        let changed = Unsigned { body_bytes, auth_info_bytes: info.encode_to_vec() };
        Signed::open(&changed.assemble(signature).unwrap(), CHAIN).err()
    };
    let option = Any { type_url: "/example.Option".to_owned(), value: vec![1] };
    assert_eq!(refused(&|_, _, _| {}), None);
    let amino = |error: Option<TxError>| assert!(matches!(error, Some(TxError::Amino(_))), "{error:?}");
    amino(refused(&|body, _, _| body.non_critical_extension_options.push(option.clone())));
    amino(refused(&|_, _, unknown| prost::encoding::bytes::encode(1033, &vec![1], unknown)));
    amino(refused(&|_, info, _| info.fee = None));
    let uncompressed = |info: &mut AuthInfo| {
        let point = VerifyingKey::from_sec1_bytes(&key().public_key()).unwrap().to_encoded_point(false);
        let value = PubKey { key: point.as_bytes().to_vec() }.encode_to_vec();
        info.signer_infos[0].public_key.as_mut().unwrap().value = value;
    };
    assert_eq!(refused(&|_, info, _| uncompressed(info)), Some(TxError::Key));
    let textual = |info: &mut AuthInfo| {
        let mode = Single { mode: SignMode::Textual.into() };
        info.signer_infos[0].mode_info = Some(ModeInfo { sum: Some(Sum::Single(mode)) });
    };
    assert!(matches!(refused(&|_, info, _| textual(info)), Some(TxError::Malformed(_))));
}
