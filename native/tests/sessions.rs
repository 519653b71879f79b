//! Tests of sessions over HTTP. A session key must be able to mine for the account that granted the session, and to pay
//! fees from that account up to a cap, until the grant expires or is revoked.

use crate::node_process::{CHAIN, NodeProcess, claim, refused};
use crate::work_dir::{WorkDir, accepted};
use r3mes_wgpu::tx::{
    Fee, GRANTABLE, GrantPair, Message, MsgClaimTask, MsgCloseSession, MsgOpenSession, MsgSetPayout, Session,
    SessionKey,
};
use std::{
    fs,
    process::Output,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The reward for an accepted gradient, in micro-units.
const REWARD: u64 = 1_000_000;

/// Returns the current Unix time in seconds.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns two keys: that of the account that grants the session (the granter), and the session key.
fn keys() -> (SessionKey, SessionKey) {
    (SessionKey::new(&[11; 32]).unwrap(), SessionKey::new(&[12; 32]).unwrap())
}

/// Returns two addresses: that of the granter, and that of the session key, which is the grantee.
fn pair() -> GrantPair {
    let (account, session) = keys();
    GrantPair { granter: account.address().to_owned(), grantee: session.address().to_owned() }
}

/// Returns a session that expires `seconds` seconds from now. The session may spend at most `cap` micro-units on fees.
fn session(cap: u64, seconds: u64) -> Session {
    Session { pair: pair(), cap, expires: now() + seconds }
}

/// Runs `mine` with the session key, so that the granter receives the rewards.
fn mine(name: &str, url: &str, tasks: &str) -> Output {
    let home = WorkDir::new(name);
    fs::create_dir_all(home.data()).unwrap();
    fs::write(home.data().join("session.key"), [12; 32]).unwrap();
    home.mine_for(url, tasks).args(["--granter", &pair().granter]).output().unwrap()
}

/// Checks that a miner exited with code 5 because the node refused a transaction, and that its stderr contains `words`.
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains(words), "{said}");
}

/// Returns the amount that the session may still spend on fees, in micro-units.
fn allowance(node: &NodeProcess) -> u64 {
    let GrantPair { granter, grantee } = pair();
    let found = node.get(&format!("/cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}"));
    found["allowance"]["allowance"]["allowance"]["spend_limit"][0]["amount"].as_str().unwrap().parse().unwrap()
}

/// Returns the types of the messages that the session may send in the granter's name.
fn granted(node: &NodeProcess) -> Vec<String> {
    let GrantPair { granter, grantee } = pair();
    let found = node.get(&format!("/cosmos/authz/v1beta1/grants?granter={granter}&grantee={grantee}"));
    let grants = found["grants"].as_array().unwrap().iter();
    grants.map(|grant| grant["authorization"]["msg"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_session_mines_for_its_granter_until_its_cap_is_spent() {
    const FEE: u64 = 1000;
    let work_dir = WorkDir::new("session-cap");
    let (account, key) = keys();
    let node = NodeProcess::start(&work_dir);
    assert_refused(&mine("session-none", &node.url, "1"), "granted");
    let free = Fee::default();
    assert_eq!(node.pay(&account, &free, &session(5 * FEE, 600).grant()), (0, String::new()));
    assert_eq!((granted(&node), allowance(&node)), (GRANTABLE.map(str::to_owned).to_vec(), 5 * FEE));
    let output = mine("session-free", &node.url, "2");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(accepted(&output.stdout).last().unwrap()["balance"].as_u64(), Some(2 * REWARD));
    assert_eq!((node.balance(account.address()), node.balance(key.address())), (2 * REWARD, 0));
    assert_eq!(allowance(&node), 5 * FEE, "a node without fees takes none");
    drop(node);

    let node = NodeProcess::run(work_dir.node("0").args(["--min-fee", &FEE.to_string()]));
    assert_eq!(node.get("/remes/remes/v1/params")["params"]["min_fee"], FEE.to_string());
    refused(node.pay(&key, &free, &[claim(&key, node.next_chunk())]), 13, "required 1000uremes");
    let own = Fee { amount: FEE, granter: None };
    refused(node.pay(&key, &own, &[claim(&key, node.next_chunk())]), 5, "has only 0uremes");
    // each task needs two transactions and the cap pays for five, so the third task is claimed but not submitted
    let output = mine("session-fee", &node.url, "3");
    assert_refused(&output, "but the fee allowance from");
    assert_eq!(accepted(&output.stdout).len(), 2);
    let fees = 5 * FEE;
    assert_eq!((allowance(&node), node.balance(account.address())), (0, 4 * REWARD - fees));
    let paid = node.get("/stats")["fees"].as_u64();
    assert_eq!(paid, Some(fees), "the operator's own transactions are duties, which cost nothing");

    let other = SessionKey::new(&[13; 32]).unwrap();
    let theirs = Fee { amount: FEE, granter: Some(account.address().to_owned()) };
    refused(node.pay(&other, &theirs, &[claim(&other, node.next_chunk())]), 4, "only for MsgExec");
    let mine_too = Message::Exec(other.address().to_owned(), vec![claim(&account, node.next_chunk())]);
    refused(node.pay(&other, &theirs, &[mine_too]), 4, "granted");
}

#[test]
fn an_expired_revoked_or_foreign_grant_is_refused() {
    let work_dir = WorkDir::new("session-end");
    let node = NodeProcess::start(&work_dir);
    let (account, key) = keys();
    let free = Fee::default();
    let chunk = node.next_chunk();
    let exec = |of: &SessionKey| Message::Exec(key.address().to_owned(), vec![claim(of, chunk)]);
    assert_eq!(node.pay(&account, &free, &session(9, 2).grant()), (0, String::new()));
    refused(node.pay(&account, &free, &session(9, 2).grant()), 2, "already exists");
    assert_eq!(node.pay(&key, &free, &[exec(&account)]), (0, String::new()));
    std::thread::sleep(Duration::from_millis(2100));
    refused(node.pay(&key, &free, &[exec(&account)]), 4, "expired");
    assert!(granted(&node).is_empty());
    refused(node.pay(&account, &free, &session(9, 0).grant()), 2, "already expired");

    assert_eq!(node.pay(&account, &free, &session(9, 600).grant()), (0, String::new()));
    assert_eq!(node.pay(&key, &free, &[exec(&account)]), (0, String::new()), "claiming the held chunk again succeeds");
    let foreign = SessionKey::new(&[13; 32]).unwrap();
    refused(node.pay(&key, &free, &[exec(&foreign)]), 4, "granted");
    let payout = MsgSetPayout { miner: account.address().to_owned(), payout: key.address().to_owned() };
    refused(
        node.pay(&key, &free, &[Message::Exec(key.address().to_owned(), vec![Message::SetPayout(payout)])]),
        4,
        "cannot be granted",
    );
    let claims = Message::ClaimTask(MsgClaimTask { miner: account.address().to_owned(), pool_id: 0, chunk_id: 0 });
    refused(node.pay(&key, &free, &[claims]), 4, "signed");
    let mixed = [Message::RevokeAllowance(pair()), claim(&account, node.next_chunk())];
    refused(node.pay(&account, &free, &mixed), 1101, "holds chunk");
    assert_eq!(allowance(&node), 9, "a failed transaction changes nothing");

    let revoke = GRANTABLE.map(|message| Message::Revoke(pair(), message.to_owned()));
    // a transaction whose last message fails changes nothing, although the first ones succeed
    let twice = [&revoke[..], &revoke[..1]].concat();
    refused(node.pay(&account, &free, &twice), 38, "granted");
    assert_eq!(granted(&node).len(), 2);
    let all = [&revoke[..], &[Message::RevokeAllowance(pair())]].concat();
    assert_eq!(node.pay(&account, &free, &all), (0, String::new()));
    refused(node.pay(&key, &free, &[exec(&account)]), 4, "or has revoked it");
    assert_refused(&mine("session-revoked", &node.url, "1"), "or has revoked it");
    let GrantPair { granter, grantee } = pair();
    assert_eq!(node.bytes(&format!("/cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}")).0, 404);
}

#[test]
fn a_signed_statement_opens_a_session_once_and_not_after_it_was_closed() {
    const FEE: u64 = 10;
    let work_dir = WorkDir::new("session-statement");
    let (account, key) = keys();
    let (pub_key, grantee) = (account.public_key(), key.address().to_owned());
    let open = |cap: u64, number: u64| {
        let expiration = now() + 600;
        let (pub_key, grantee) = (pub_key.clone(), grantee.clone());
        let mut opening = MsgOpenSession { grantee, pub_key, expiration, cap, number, signature: Vec::new() };
        opening.signature = account.sign_text(&opening.statement(CHAIN)).unwrap();
        Message::OpenSession(Box::new(opening))
    };
    let close = |sender: &SessionKey, number: u64| {
        let (sender, pub_key, grantee) = (sender.address().to_owned(), pub_key.clone(), grantee.clone());
        let mut closing = MsgCloseSession { sender, grantee, pub_key, number, signature: Vec::new() };
        closing.signature = account.sign_text(&closing.statement(CHAIN)).unwrap();
        Message::CloseSession(Box::new(closing))
    };
    let node = NodeProcess::start(&work_dir);
    let free = Fee::default();
    let (first, never_sent) = (open(40, 0), open(1_000_000, 0));
    assert_eq!(node.pay(&key, &free, std::slice::from_ref(&first)), (0, String::new()));
    assert_eq!((granted(&node).len(), allowance(&node)), (2, 40));
    refused(node.pay(&key, &free, &[never_sent]), 4, "it was used or revoked");
    let output = mine("session-by-statement", &node.url, "1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(node.balance(account.address()), REWARD);

    let unused = open(1_000_000, 1);
    let anyone = SessionKey::new(&[13; 32]).unwrap();
    assert_eq!(node.pay(&anyone, &free, &[close(&anyone, 1)]), (0, String::new()));
    assert!(granted(&node).is_empty());
    for older in [first, unused] {
        refused(node.pay(&key, &free, &[older]), 4, "it was used or revoked");
    }
    assert_refused(&mine("session-closed", &node.url, "1"), "or has revoked it");
    drop(node);

    // the fee of opening a session counts against its cap
    let node = NodeProcess::run(work_dir.node("0").args(["--min-fee", &FEE.to_string()]));
    let of_account = |amount: u64| Fee { amount, granter: Some(account.address().to_owned()) };
    refused(node.pay(&key, &of_account(41), &[open(40, 2)]), 5, "has 40uremes left");
    assert_eq!(node.pay(&key, &of_account(FEE), &[open(40, 2)]), (0, String::new()));
    assert_eq!((allowance(&node), node.balance(account.address())), (30, REWARD - FEE));
    assert_eq!(node.pay(&key, &of_account(FEE), &[close(&key, 3)]), (0, String::new()));
    assert_eq!(node.balance(account.address()), REWARD - 2 * FEE);
    assert_eq!(node.get(&format!("/r3mes/wgpu/v1/sessions/{}/{grantee}", account.address()))["number"], "4");
}
