//! Fuzz targets for transactions, queries and short texts such as addresses.

use k256::ecdsa::{Signature, SigningKey, signature::Signer};
use r3mes_wgpu::{
    dispute::judge::Move,
    ledger::{ChainBlock, Ledger, LedgerParams, Tx},
    protocol::Commitment,
    simulation::{CHAIN, Network, address, genesis, honest, job, key},
    store::{Cid, Codec},
    tx::{
        Fee, GrantPair, MAX_MESSAGES, MAX_TX_BYTES, Message, MsgClaimTask, MsgCommitAggregation, MsgCommitAttestation,
        MsgMoveDispute, MsgOpenDispute, MsgOpenSession, MsgRegisterNode, MsgRevealAggregation, MsgRevealAttestation,
        MsgRevealBeacon, MsgSetConsensusKey, MsgSetPayout, MsgSubmitCPUVerification, MsgSubmitGradient,
        MsgUnregisterNode, MsgWithdraw, Session, Signed, Transfer, Unsigned, canonical_address, tx_hash,
    },
};
use std::sync::LazyLock;

/// The number of accounts that send transactions. The last of them is also a verifier and a proposer.
const ACCOUNTS: u8 = 4;

/// A ledger in which account 1 has submitted a gradient, the last account must recompute this gradient, and account 2
/// has claimed a task.
static LEDGER: LazyLock<Ledger> = LazyLock::new(|| {
    let nodes = [(ACCOUNTS, LedgerParams::EMBEDDED.min_stake)];
    let mut network = Network::new(genesis(2, LedgerParams::EMBEDDED, &nodes));
    network.mine(1, honest);
    network.done(2, network.claim(2, 1));
    let ledger = network.ledger;
    let assignments = ledger.assignments(&address(ACCOUNTS));
    assert_eq!(assignments.len(), 1, "the last account must recompute the gradient");
    ledger
});

fn sign(ledger: &Ledger, number: u8, messages: &[Message]) -> Vec<u8> {
    let sequence = ledger.state().account_of(&address(number)).sequence;
    key(number).sign(CHAIN, sequence, &Fee::default(), messages).expect("protobuf")
}

/// Applies a block with one transaction, and returns the new ledger. Panics if the new ledger violates an invariant.
fn deliver(ledger: &Ledger, tx: Vec<u8>) -> Ledger {
    let head = ledger.state().head();
    let hash = tx_hash(&tx);
    let block = ChainBlock::new(head.height + 1, head.time + 1, ledger.root(), vec![Tx(tx)]);
    let (after, applied) = ledger.apply(&block);
    let head = after.state().head();
    assert_eq!(after.state().coins(), u128::from(head.minted - head.burned), "no coin appears or is lost");
    assert_eq!(applied.outcomes.len(), 1, "every transaction has an outcome");
    assert_eq!(applied.outcomes[0].hash, hash, "the outcome has the transaction's hash");
    after
}

/// Executes the bytes as a transaction. Panics if they are not a valid transaction and an account changes nevertheless.
pub(crate) fn transaction(bytes: &[u8]) {
    let opened = Signed::open(bytes, CHAIN);
    let after = deliver(&LEDGER, bytes.to_vec());
    if opened.is_err() {
        let accounts = |ledger: &Ledger| {
            (1..=ACCOUNTS).map(|number| ledger.state().account_of(&address(number))).collect::<Vec<_>>()
        };
        assert_eq!(accounts(&after), accounts(&LEDGER), "a transaction that cannot be opened changes no account");
    }
}

/// Executes up to 16 transactions on the ledger. `bytes` contains one record for each transaction: one byte that
/// selects the sending account, two bytes with the length of the transaction's body (a `TxBody`), and the body. This
/// function adds a valid signature of the account.
pub(crate) fn ledger(bytes: &[u8]) {
    let (mut ledger, mut rest) = (LEDGER.clone(), bytes);
    for _ in 0..16 {
        let Some(([number, low, high], after)) = rest.split_first_chunk() else { break };
        let (body, after) = after.split_at(after.len().min(usize::from(u16::from_le_bytes([*low, *high]))));
        ledger = deliver(&ledger, signed(&ledger, 1 + number % ACCOUNTS, body));
        rest = after;
    }
    let restored = Ledger::restore(ledger.genesis().clone(), &ledger.rows()).expect("its own rows");
    assert_eq!(restored.root(), ledger.root(), "the rows are the complete state");
}

fn signed(ledger: &Ledger, number: u8, body: &[u8]) -> Vec<u8> {
    let sequence = ledger.state().account_of(&address(number)).sequence;
    let auth = Unsigned::new(&key(number).public_key(), sequence, &Fee::default(), &[]).expect("no messages");
    with_signature(number, Unsigned { body_bytes: body.to_vec(), ..auth })
}

fn with_signature(number: u8, unsigned: Unsigned) -> Vec<u8> {
    let signing = SigningKey::from_slice(&[number; 32]).expect("a small number is a key");
    let signature: Signature = signing.sign(&unsigned.sign_bytes(CHAIN).expect("protobuf"));
    unsigned.assemble(signature.to_vec()).expect("protobuf")
}

/// Returns messages of most types that a transaction can contain. All of them are sent by account `number`.
fn messages(number: u8) -> Vec<Message> {
    let (own, other) = (address(number), address(1 + number % ACCOUNTS));
    let pair = GrantPair { granter: own.clone(), grantee: other.clone() };
    let cid = Codec::DagCbor.cid(b"artifact").to_string();
    let digits = "ab".repeat(32);
    let session = Session { pair: pair.clone(), cap: 1000, expires: 10_000 };
    let mut all = session.grant();
    all.extend([
        Message::ClaimTask(MsgClaimTask { miner: own.clone(), pool_id: 0, chunk_id: 0 }),
        Message::SubmitGradient(Box::new(MsgSubmitGradient {
            miner: own.clone(),
            ipfs_hash: cid.clone(),
            model_version: job().model.to_string(),
            gradient_hash: digits.clone(),
            nonce: 1,
            token_count: 2048,
            ..Default::default()
        })),
        Message::RegisterNode(MsgRegisterNode {
            node_address: own.clone(),
            node_type: 3,
            stake: "1000000uremes".to_owned(),
            roles: vec![4],
            ..Default::default()
        }),
        Message::UnregisterNode(MsgUnregisterNode { node_address: own.clone() }),
        Message::SetConsensusKey(MsgSetConsensusKey { node_address: own.clone(), key: vec![6; 32] }),
        Message::Withdraw(MsgWithdraw { miner: own.clone() }),
        Message::OpenDispute(Box::new(MsgOpenDispute {
            challenger: own.clone(),
            stored_gradient_id: 1,
            chunk: vec![0; 64],
            manifest: vec![0xa0],
        })),
        Message::MoveDispute(MsgMoveDispute {
            sender: own.clone(),
            dispute_id: 1,
            answer: 0,
            step: Move::Pick(0).encode(),
        }),
        Message::CommitAttestation(MsgCommitAttestation {
            verifier: own.clone(),
            challenge_id: 1,
            commitment: vec![7; 32],
        }),
        Message::RevealBeacon(MsgRevealBeacon {
            validator: own.clone(),
            epoch: 0,
            number: vec![1; 32],
            next: vec![2; 32],
        }),
        Message::RevealAttestation(Box::new(MsgRevealAttestation {
            verifier: own.clone(),
            challenge_id: 1,
            result: "match".to_owned(),
            gradient_hash: digits.clone(),
            leaf: "leaf".to_owned(),
            salt: vec![3; 32],
        })),
        Message::Arbitrate(MsgSubmitCPUVerification {
            validator: own.clone(),
            challenge_id: 1,
            is_valid: true,
            computed_hash: digits.clone(),
            expected_hash: digits.clone(),
            leaf: digits.clone(),
        }),
        Message::CommitAggregation(MsgCommitAggregation {
            proposer: own.clone(),
            commitment_hash: digits.clone(),
            training_round_id: 0,
            gradient_ids: vec![1, 2],
        }),
        Message::RevealAggregation(Box::new(MsgRevealAggregation {
            proposer: own.clone(),
            commitment_id: 1,
            adapter: cid,
            layout_root: digits.clone(),
            merkle_root: digits,
            gradient_ids: vec![1, 2],
            model_version: job().model.to_string(),
            salt: vec![0; 32],
            ..Default::default()
        })),
        Message::SetPayout(MsgSetPayout { miner: own.clone(), payout: other.clone() }),
        Message::Send(Transfer { from: own.clone(), to: other.clone(), amount: 5 }),
        Message::RevokeAllowance(pair),
        Message::Exec(own.clone(), vec![Message::ClaimTask(MsgClaimTask { miner: other, pool_id: 0, chunk_id: 1 })]),
        Message::OpenSession(Box::new(MsgOpenSession {
            grantee: own,
            pub_key: key(2).public_key(),
            expiration: 10_000,
            cap: 1000,
            number: 0,
            signature: vec![1; 64],
        })),
    ]);
    all
}

/// Returns the seeds (the initial inputs) of the fuzz target [`transaction`]. Each seed is a transaction that account 1
/// has signed. For each message that [`messages`] returns, there are two transactions with only this message; one of
/// them is signed as amino JSON. Another transaction contains the maximum number of messages.
pub(crate) fn transactions() -> Vec<Vec<u8>> {
    let all = messages(1);
    let sequence = LEDGER.state().account_of(&address(1)).sequence;
    let in_amino = |messages: &[Message]| {
        let unsigned = Unsigned::new(&key(1).public_key(), sequence, &Fee::default(), messages).expect("messages");
        with_signature(1, unsigned.in_amino().expect("protobuf"))
    };
    let direct = all.chunks(1).chain([&all[..all.len().min(MAX_MESSAGES)]]);
    direct.map(|messages| sign(&LEDGER, 1, messages)).chain(all.chunks(1).map(in_amino)).collect()
}

/// Returns the seeds (the initial inputs) of the fuzz target [`ledger`]. A seed is a sequence of transactions with one
/// message each. For each account, one seed contains all messages that [`messages`] returns for it. For each message
/// that account 1 sends, another seed contains only this message.
pub(crate) fn bodies() -> Vec<Vec<u8>> {
    let framed = |number: u8, messages: &[Message]| {
        let unsigned = Unsigned::new(&key(number).public_key(), 0, &Fee::default(), messages).expect("protobuf");
        let length = u16::try_from(unsigned.body_bytes.len()).expect("short").to_le_bytes();
        [&[number - 1, length[0], length[1]], &unsigned.body_bytes[..]].concat()
    };
    let framed_messages = |number: u8| messages(number).chunks(1).map(|one| framed(number, one)).collect::<Vec<_>>();
    let mut seeds: Vec<Vec<u8>> = (1..=ACCOUNTS).map(|number| framed_messages(number).concat()).collect();
    seeds.extend(framed_messages(1));
    seeds
}

const QUERIES: [&str; 12] = [
    "/cosmos.auth.v1beta1.Query/Account",
    "/cosmos.bank.v1beta1.Query/Balance",
    "/cosmos.bank.v1beta1.Query/AllBalances",
    "/cosmos.bank.v1beta1.Query/SpendableBalances",
    "/cosmos.bank.v1beta1.Query/SpendableBalanceByDenom",
    "/cosmos.bank.v1beta1.Query/TotalSupply",
    "/cosmos.bank.v1beta1.Query/SupplyOf",
    "/cosmos.bank.v1beta1.Query/DenomsMetadata",
    "/cosmos.bank.v1beta1.Query/DenomMetadata",
    "/cosmos.staking.v1beta1.Query/DelegatorDelegations",
    "/cosmos.tx.v1beta1.Service/Simulate",
    "/none",
];

/// Makes the ledger answer a query. The first byte selects the path of the query, and the remaining bytes are its data.
pub(crate) fn query(bytes: &[u8]) {
    let Some((path, data)) = bytes.split_first() else { return };
    let _ = LEDGER.query(QUERIES[usize::from(*path) % QUERIES.len()], data, 0);
}

/// Returns the seeds (the initial inputs) of the fuzz target [`query`]: one query for each path.
pub(crate) fn queries() -> Vec<Vec<u8>> {
    let field = |tag: u8, text: &str| [&[tag, text.len() as u8], text.as_bytes()].concat();
    let ask = |path: usize| [vec![path as u8], field(0x0a, &address(1)), field(0x12, "uremes")].concat();
    (0..QUERIES.len()).map(ask).collect()
}

/// Parses the bytes as an address, as a CID, and as a commitment in hexadecimal digits.
pub(crate) fn text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(address) = canonical_address(text) {
        assert_eq!(address, text.to_lowercase(), "the canonical text is the one in lower case");
        assert_eq!(canonical_address(&address).as_ref(), Ok(&address), "the canonical text is canonical");
    }
    if let Ok(cid) = Cid::try_from(text) {
        let _ = Codec::of(&cid);
    }
    if let Some(commitment) = Commitment::from_hex(text) {
        assert_eq!(commitment.to_string(), text.to_lowercase(), "hexadecimal digits name one hash");
    }
    if text.len() <= MAX_TX_BYTES {
        let _ = tx_hash(bytes);
    }
}

/// Returns the seeds (the initial inputs) of the fuzz target [`text`]: an address, two CIDs, and a commitment in
/// hexadecimal digits.
pub(crate) fn texts() -> Vec<Vec<u8>> {
    let cid = Codec::Raw.cid(b"x");
    [address(1), cid.to_string(), "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG".to_owned(), "ab".repeat(32)]
        .map(String::into_bytes)
        .to_vec()
}
