//! Tests that a transaction which a Cosmos SDK node would refuse is refused with the same code. If the content of the
//! transaction is reason enough, the transaction must be refused before any signature is checked.

use super::*;
use crate::tx::{MsgSetPayout, Transfer, Unsigned, canonical_address, signature_checks};
use cosmrs::{
    Any,
    proto::cosmos::{
        bank::v1beta1::MsgSend,
        base::v1beta1::Coin,
        tx::v1beta1::{AuthInfo, SignDoc, Tip, TxBody, TxRaw},
    },
};
use k256::ecdsa::{Signature, SigningKey, signature::Signer};
use prost::{Message as _, Name};

fn transfer(from: u8, to: u8, amount: u64) -> Message {
    Message::Send(Transfer { from: address(from), to: address(to), amount })
}

/// Signs a transaction of account `number` with the sequence 0, after `change` has altered its body and its signer
/// information.
fn changed(number: u8, message: &Message, change: impl FnOnce(&mut Vec<u8>, &mut Vec<u8>)) -> Vec<u8> {
    let fee = Fee { amount: 1, granter: None };
    let mut unsigned =
        Unsigned::new(&key(number).public_key(), 0, &fee, std::slice::from_ref(message)).expect("a message");
    change(&mut unsigned.body_bytes, &mut unsigned.auth_info_bytes);
    let secret = SigningKey::from_slice(&[number; 32]).unwrap();
    let Unsigned { body_bytes, auth_info_bytes } = unsigned.clone();
    let document = SignDoc { body_bytes, auth_info_bytes, chain_id: CHAIN.to_owned(), account_number: 0 };
    let signature: Signature = secret.sign(&document.encode_to_vec());
    unsigned.assemble(signature.to_vec()).unwrap()
}

/// Signs a transaction of account 1 whose body `change` has altered.
fn with_body(change: impl FnOnce(&mut TxBody)) -> Vec<u8> {
    changed(1, &transfer(1, 2, 5), |body, _| {
        let mut decoded = TxBody::decode(&**body).unwrap();
        change(&mut decoded);
        *body = decoded.encode_to_vec();
    })
}

/// Returns a protobuf field with the number `number`, the wire type for bytes, and 2 bytes of data.
fn unknown_field(number: u32) -> Vec<u8> {
    let mut field = Vec::new();
    prost::encoding::bytes::encode(number, &vec![1, 2], &mut field);
    field
}

/// Executes one transaction on a new ledger, and returns the code of its outcome. Checks that the same code is returned
/// when the transaction is admitted to the next block.
fn code_of(tx: Vec<u8>) -> u32 {
    let mut world = small(2);
    let admitted = world.ledger.next().admit(&tx).map_or_else(|refusal| refusal.code, |_| 0);
    let code = world.block(vec![tx])[0].code;
    assert_eq!(admitted, code, "admission and execution differ");
    world.check();
    code
}

#[test]
fn unknown_fields_and_other_encodings_of_what_is_not_signed_are_refused() {
    let good = with_body(|_| {});
    assert_eq!(code_of(good.clone()), 0);

    // these changes need no key: with them, anyone could give a transaction another hash
    assert_eq!(code_of([good.clone(), unknown_field(15)].concat()), 2, "an unknown field of TxRaw");
    assert_eq!(code_of([good.clone(), unknown_field(2047)].concat()), 2, "an unknown, non-critical field of TxRaw");
    let TxRaw { body_bytes, auth_info_bytes, signatures } = TxRaw::decode(&*good).unwrap();
    let part = |body: &[u8], info: &[u8], signatures: &[Vec<u8>]| {
        TxRaw { body_bytes: body.to_vec(), auth_info_bytes: info.to_vec(), signatures: signatures.to_vec() }
            .encode_to_vec()
    };
    let reordered = [part(&[], &[], &signatures), part(&body_bytes, &auth_info_bytes, &[])].concat();
    assert_eq!(code_of(reordered), 2, "fields of TxRaw in another order");
    let repeated = [part(&[1], &[], &[]), good.clone()].concat();
    assert_eq!(code_of(repeated), 2, "a field of TxRaw that occurs twice");

    // these changes are signed
    let body = |extra: Vec<u8>| changed(1, &transfer(1, 2, 5), |body, _| body.extend(extra));
    assert_eq!(code_of(body(unknown_field(4))), 2, "an unknown field of TxBody");
    assert_eq!(code_of(body(unknown_field(1023 - 512))), 2, "an unknown field of TxBody");
    assert_eq!(code_of(body(unknown_field(1024 + 9))), 0, "an unknown field of TxBody that is not critical");
    assert_eq!(code_of(body(unknown_field(2048 + 9))), 2, "an unknown field of TxBody");
    let info = |extra: Vec<u8>| changed(1, &transfer(1, 2, 5), |_, info| info.extend(extra));
    assert_eq!(code_of(info(unknown_field(9))), 2, "an unknown field of AuthInfo");
    assert_eq!(code_of(info(unknown_field(1024 + 9))), 2, "an unknown field of AuthInfo");
    let tip = |info: &mut Vec<u8>| {
        let mut decoded = AuthInfo::decode(&**info).unwrap();
        #[allow(deprecated, reason = "the field is refused")]
        let tip = Tip { amount: Vec::new(), tipper: address(2) };
        #[allow(deprecated, reason = "the field is refused")]
        {
            decoded.tip = Some(tip);
        }
        *info = decoded.encode_to_vec();
    };
    assert_eq!(code_of(changed(1, &transfer(1, 2, 5), |_, info| tip(info))), 2, "a tip");

    let message = |extra: Vec<u8>| with_body(|body| body.messages[0].value.extend(extra));
    assert_eq!(code_of(message(unknown_field(9))), 2, "an unknown field of a message");
    assert_eq!(code_of(message(unknown_field(1024 + 9))), 2, "an unknown field of a message");
    let reordered = with_body(|body| {
        let send = MsgSend::decode(&*body.messages[0].value).unwrap();
        let to = MsgSend { to_address: send.to_address.clone(), ..Default::default() };
        let rest = MsgSend { to_address: String::new(), ..send };
        body.messages[0].value = [to.encode_to_vec(), rest.encode_to_vec()].concat();
    });
    assert_eq!(code_of(reordered), 0, "fields of a message in another order");

    // clients that use protobufjs may write fields with default values
    assert_eq!(code_of(body(vec![0x12, 0])), 0, "an empty memo");
    assert_eq!(code_of(info(vec![0x12, 2, 0x1a, 0])), 0, "an empty payer of the fee");
    let claim = Message::ClaimTask(crate::tx::MsgClaimTask { miner: address(1), pool_id: 0, chunk_id: 0 });
    let with_zeros = |body: &mut Vec<u8>, _: &mut Vec<u8>| {
        let mut decoded = TxBody::decode(&**body).unwrap();
        decoded.messages[0].value.extend([0x10, 0, 0x18, 0]);
        *body = decoded.encode_to_vec();
    };
    assert_eq!(code_of(changed(1, &claim, with_zeros)), 0, "a message with the numbers 0");
}

#[test]
fn a_transaction_is_refused_after_its_timeout_height() {
    for (timeout, code) in [(1, 30), (2, 30), (3, 0), (4, 0), (0, 0)] {
        let tx = with_body(|body| body.timeout_height = timeout);
        let mut world = small(2);
        world.wait(2);
        let admitted = world.ledger.next().admit(&tx).map_or_else(|refusal| refusal.code, |_| 0);
        assert_eq!((admitted, world.block(vec![tx])[0].code), (code, code), "timeout {timeout} in block 3");
    }
}

#[test]
fn critical_extension_options_are_refused() {
    let option = Any { type_url: "/example.Option".to_owned(), value: vec![1, 2, 3] };
    assert_eq!(code_of(with_body(|body| body.extension_options.push(option.clone()))), 31);
    assert_eq!(code_of(with_body(|body| body.non_critical_extension_options.push(option))), 0);
}

#[test]
fn a_memo_has_at_most_256_bytes() {
    for (length, code) in [(1, 0), (256, 0), (257, 12), (50_000, 12)] {
        assert_eq!(code_of(with_body(|body| body.memo = "m".repeat(length))), code, "{length}");
    }
}

#[test]
fn a_transaction_above_the_size_limit_is_refused() {
    assert_eq!(code_of(with_body(|body| body.memo = "m".repeat(crate::tx::MAX_TX_BYTES))), 21);
}

#[test]
fn a_transaction_with_many_signatures_is_refused_before_any_of_them_is_checked() {
    let submission = || Message::SubmitGradient(Box::default());
    let exec = |count: usize| {
        let miner = address(2);
        let messages = (0..count).map(|_| {
            let mut message = submission();
            if let Message::SubmitGradient(message) = &mut message {
                message.miner = miner.clone();
            }
            message
        });
        Message::Exec(address(1), messages.collect())
    };
    let world = small(2);
    let checked = |messages: &[Message]| {
        let tx = key(1).sign(CHAIN, 0, &Fee::default(), messages).unwrap();
        let before = signature_checks();
        let refusal = world.ledger.next().admit(&tx).unwrap_err();
        (refusal.code, signature_checks() - before)
    };
    assert_eq!(checked(&vec![exec(16); 16]), (14, 0));
    assert_eq!(checked(&[exec(7)]), (14, 0), "7 submissions and the transaction itself");
    assert_eq!(checked(&[exec(6)]), (4, 0), "there is no grant");
}

#[test]
fn a_refused_transaction_costs_no_signature_check() {
    let world = small(2);
    let refused = |tx: Vec<u8>| {
        let before = signature_checks();
        let mut ledger = world.ledger.next();
        let code = ledger.admit(&tx).map_or_else(|refusal| refusal.code, |_| 0);
        (code, signature_checks() - before)
    };
    let fee = |amount, granter: Option<u8>| Fee { amount, granter: granter.map(address) };
    let sign = |sequence, fee: &Fee, message| key(1).sign(CHAIN, sequence, fee, &[message]).unwrap();
    assert_eq!(refused(sign(0, &fee(0, None), transfer(1, 2, 5))), (0, 1), "an admitted transaction");
    assert_eq!(refused(sign(7, &fee(0, None), transfer(1, 2, 5))), (32, 0), "a wrong sequence");
    assert_eq!(refused(sign(0, &fee(COINS + 1, None), transfer(1, 2, 5))), (5, 0), "too few coins for the fee");
    assert_eq!(refused(sign(0, &fee(1, Some(2)), transfer(1, 2, 5))), (4, 0), "no fee allowance for this message");
    let exec = Message::Exec(address(1), vec![world.claim(2, 0)]);
    assert_eq!(refused(sign(0, &fee(0, None), exec)), (4, 0), "no grant");
    let mut forged = sign(0, &fee(0, None), transfer(1, 2, 5));
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(refused(forged), (4, 1), "a wrong signature");
}

/// Checks that an address in upper case, which BIP 173 permits, is the same account as in lower case, wherever a
/// transaction or a genesis can state an address.
#[test]
fn an_address_in_upper_case_is_the_same_account() {
    let upper = |number: u8| address(number).to_uppercase();
    let mixed = |number: u8| address(number).replacen('r', "R", 1);
    assert_eq!(canonical_address(&upper(2)), Ok(address(2)));
    for wrong in [mixed(2), address(2).replacen("remes", "REMES", 1), format!(" {}", address(2))] {
        assert!(canonical_address(&wrong).is_err(), "{wrong}");
    }

    let send = |from: String, to: String| {
        let amount = vec![Coin { denom: "uremes".to_owned(), amount: "5".to_owned() }];
        let send = MsgSend { from_address: from, to_address: to, amount };
        with_body(|body| body.messages = vec![Any { type_url: MsgSend::type_url(), value: send.encode_to_vec() }])
    };
    let mut world = small(2);
    assert_eq!(world.block(vec![send(upper(1), upper(2))])[0].log, "");
    assert_eq!((world.balance(1), world.balance(2)), (COINS - 6, COINS + 5));
    assert_eq!(code_of(send(address(1), mixed(2))), 2);
    assert_eq!(code_of(send(mixed(1), address(2))), 2);

    let payout = MsgSetPayout { miner: upper(1), payout: upper(3) };
    world.done(1, Message::SetPayout(payout));
    assert_eq!(world.ledger.state().account_of(&address(1)).payout, Some(address(3)));

    let session = crate::tx::Session {
        pair: crate::tx::GrantPair { granter: upper(1), grantee: upper(30) },
        cap: 10,
        expires: world.time + 100,
    };
    let grant = world.sign(1, &session.grant());
    assert_eq!(world.block(vec![grant])[0].log, "");
    let position = world.free();
    let exec = Message::Exec(
        upper(30),
        vec![Message::ClaimTask(crate::tx::MsgClaimTask { miner: upper(1), pool_id: 0, chunk_id: position })],
    );
    let fee = Fee { amount: 2, granter: Some(upper(1)) };
    let claim = key(30).sign(CHAIN, 0, &fee, &[exec]).unwrap();
    assert_eq!(world.block(vec![claim])[0].log, "");
    let held = world.ledger.held(&address(1)).unwrap().expect("the claim of the account in lower case");
    assert_eq!(held.task.miner, address(1), "the task, from which the commitment is computed, has the canonical text");
    let stake = crate::tx::MsgRegisterNode {
        node_address: upper(4),
        node_type: 3,
        stake: "1000000uremes".to_owned(),
        ..Default::default()
    };
    world.done(4, Message::RegisterNode(stake));
    assert!(world.ledger.state().node(&address(4)).is_some());
    world.check();

    let lower = genesis(2, LedgerParams::EMBEDDED, &[(9, 1_000_000)]);
    let json = lower.to_json();
    let upper_json = json.replace(&address(1), &upper(1)).replace(&address(9), &upper(9));
    assert_ne!(json, upper_json);
    assert_eq!(Genesis::from_json(upper_json.as_bytes()).unwrap(), lower);
    assert!(Genesis::from_json(json.replace(&address(1), &mixed(1)).as_bytes()).is_err());
    let in_memory = Genesis { accounts: vec![(upper(1), 5)], ..lower };
    assert!(Ledger::new(in_memory).is_err(), "a genesis holds canonical addresses");
}
