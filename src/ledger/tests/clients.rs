//! Tests of the data that wallets and block explorers request: the events of transactions, simulations, and the supply
//! of coins.

use super::*;
use crate::tx::{MinimumFee, TRANSFER_GAS, Transfer, Unsigned};
use cosmrs::proto::cosmos::tx::v1beta1::{SimulateRequest, SimulateResponse, Tx as ProtoTx};
use prost::Message as _;

fn transfer(from: u8, to: u8, amount: u64) -> Message {
    Message::Send(Transfer { from: address(from), to: address(to), amount })
}

/// Returns events as texts, such as `transfer recipient=… sender=…`. The addresses of the accounts 1 to 3 are replaced
/// by `<1>` to `<3>`, and signatures are left out.
fn texts(events: &[CosmosEvent]) -> Vec<String> {
    let text = |event: &CosmosEvent| {
        let attributes = event.attributes.iter().filter(|(name, _)| name != "signature");
        let attributes = attributes.map(|(name, value)| format!(" {name}={value}")).collect::<String>();
        let text = format!("{}{attributes}", event.kind);
        (1..=3).fold(text, |text, number| text.replace(&address(number), &format!("<{number}>")))
    };
    events.iter().map(text).collect()
}

#[test]
fn a_transfer_has_the_events_of_the_cosmos_sdk() {
    let mut world = small(2);
    let fee = Fee { amount: 7, granter: None };
    let good = key(1).sign(CHAIN, 0, &fee, &[transfer(1, 2, 10), transfer(1, 3, 4)]).unwrap();
    let bad = key(1).sign(CHAIN, 1, &Fee::default(), &[transfer(1, 2, COINS)]).unwrap();
    let refused = key(1).sign(CHAIN, 1, &Fee::default(), &[transfer(1, 2, 1)]).unwrap();
    let outcomes = world.block(vec![good.clone(), bad.clone(), refused.clone()]);
    assert_eq!(
        texts(&outcomes[0].cosmos_events(&good)),
        [
            "coin_spent spender=<1> amount=7uremes",
            "burn burner=<1> amount=7uremes",
            "tx fee=7uremes fee_payer=<1>",
            "tx acc_seq=<1>/0",
            "tx",
            "message action=/cosmos.bank.v1beta1.MsgSend sender=<1> module=bank msg_index=0",
            "coin_spent spender=<1> amount=10uremes msg_index=0",
            "coin_received receiver=<2> amount=10uremes msg_index=0",
            "transfer recipient=<2> sender=<1> amount=10uremes msg_index=0",
            "message sender=<1> msg_index=0",
            "message action=/cosmos.bank.v1beta1.MsgSend sender=<1> module=bank msg_index=1",
            "coin_spent spender=<1> amount=4uremes msg_index=1",
            "coin_received receiver=<3> amount=4uremes msg_index=1",
            "transfer recipient=<3> sender=<1> amount=4uremes msg_index=1",
            "message sender=<1> msg_index=1",
        ]
    );
    assert_eq!(texts(&outcomes[1].cosmos_events(&bad)), ["tx fee= fee_payer=<1>", "tx acc_seq=<1>/1", "tx"]);
    assert_eq!(outcomes[2].code, 32);
    assert!(outcomes[2].cosmos_events(&refused).is_empty(), "a transaction that is not admitted has no events");
}

#[test]
fn the_ledgers_own_events_come_after_those_of_the_sdk() {
    let mut world = small(2);
    let fee = Fee { amount: 0, granter: Some(fee_waiver()) };
    let claim = world.sign(1, &[world.claim(1, 0)]);
    let events = world.block(vec![claim.clone()])[0].cosmos_events(&claim);
    assert_eq!(
        texts(&events)[3..],
        [
            "message action=/remes.remes.v1.MsgClaimTask sender=<1> module=remes msg_index=0",
            "claimed miner=<1> position=0 round=0",
        ]
    );
    assert_eq!(fees::payer(&Signed { fee, ..Signed::unsigned(&claim).unwrap() }), None, "a waived fee has no payer");
}

/// Returns a transaction without a signature, in the form in which CosmJS simulates it: without a fee and a sign mode.
fn unsigned(number: u8, sequence: u64, messages: &[Message]) -> Vec<u8> {
    let Unsigned { body_bytes, auth_info_bytes } =
        Unsigned::new(&key(number).public_key(), sequence, &Fee::default(), messages).unwrap();
    let parts = [(10, body_bytes), (18, auth_info_bytes), (26, Vec::new())];
    let mut tx = ProtoTx::decode(&*parts.iter().fold(Vec::new(), |mut tx, (tag, part)| {
        tx.push(*tag);
        prost::encoding::encode_varint(part.len() as u64, &mut tx);
        tx.extend(part);
        tx
    }))
    .unwrap();
    let info = tx.auth_info.as_mut().unwrap();
    info.fee = Some(Default::default());
    info.signer_infos[0].mode_info = None;
    tx.encode_to_vec()
}

#[test]
fn a_simulation_needs_no_signature_and_changes_nothing() {
    let params = LedgerParams { fee_per_byte: 1, fee_per_row: 5_000, ..LedgerParams::EMBEDDED };
    let mut world = Network::new(genesis(2, params, &[(9, 1_000_000)]));
    let root = world.ledger.root();
    let messages = [transfer(1, 200, 10)];
    let simulated = world.ledger.simulate(&unsigned(1, 0, &messages), 0).unwrap();
    assert_eq!((simulated.outcome.code, simulated.outcome.log.as_str()), (0, ""));
    assert_eq!(texts(&simulated.events).iter().filter(|event| event.starts_with("transfer ")).count(), 1);
    assert_eq!(world.ledger.root(), root);

    // a fee of the reported gas times the gas price is sufficient
    let fees = world.ledger.state().fees(0);
    let price: f64 = fees.gas_price().parse().unwrap();
    let amount = (simulated.gas as f64 * price).ceil() as u64;
    let tx = key(1).sign(CHAIN, 0, &Fee { amount, granter: None }, &messages).unwrap();
    assert_eq!(world.block(vec![tx.clone()])[0].code, 0);
    let least = fees.of(tx.len(), &messages, false);
    assert!((least..least + 64).contains(&amount), "{amount} is not a little more than {least}");

    let failing = |tx: &[u8]| world.ledger.simulate(tx, 0).unwrap().outcome.code;
    assert_eq!(failing(&unsigned(1, 1, &[transfer(1, 2, COINS)])), 5);
    assert_eq!(failing(&unsigned(1, 0, &messages)), 32);
    assert_eq!(world.ledger.simulate(&[1, 2, 3], 0).unwrap_err().code, 2);
}

#[test]
fn gas_is_proportional_to_the_minimum_fee() {
    let fees = MinimumFee { floor: 0, per_byte: 1, per_row: 5_000 };
    assert_eq!((fees.gas(10_512), fees.gas(5_256)), (TRANSFER_GAS, TRANSFER_GAS / 2));
    assert_eq!(fees.gas_price(), "0.052560000000000000");
    let floor = MinimumFee { floor: 1_000, ..Default::default() };
    assert_eq!((floor.gas(1_000), floor.gas_price().as_str()), (TRANSFER_GAS, "0.005000000000000000"));
    let free = MinimumFee::default();
    assert_eq!((free.gas(0), free.gas_price().as_str()), (TRANSFER_GAS, "0.000000000000000000"));
}

#[test]
fn queries_of_clients_are_answered() {
    let world = small(2);
    let query = |path: &str, data: &[u8]| world.ledger.query(path, data, 0);
    let request = |tx_bytes: Vec<u8>| SimulateRequest { tx_bytes, ..Default::default() }.encode_to_vec();
    let path = "/cosmos.tx.v1beta1.Service/Simulate";
    let answer = query(path, &request(unsigned(1, 0, &[transfer(1, 2, 10)]))).unwrap();
    let SimulateResponse { gas_info, result } = SimulateResponse::decode(&*answer).unwrap();
    assert_eq!(gas_info.unwrap().gas_used, TRANSFER_GAS);
    assert_eq!(result.unwrap().msg_responses[0].type_url, "/cosmos.bank.v1beta1.MsgSendResponse");
    let error = query(path, &request(unsigned(1, 0, &[transfer(1, 2, COINS + 1)]))).unwrap_err();
    assert_eq!(error.code, 18);
    assert!(error.log.starts_with("rpc error: code = Unknown desc = spendable balance"), "{}", error.log);

    let supply = world.ledger.state().supply();
    assert_eq!(supply, world.head().minted);
    let contains = |answer: Vec<u8>, text: &str| answer.windows(text.len()).any(|part| part == text.as_bytes());
    for (path, data, text) in [
        ("TotalSupply", &[][..], supply.to_string()),
        ("SupplyOf", b"\x0a\x06uremes", supply.to_string()),
        ("SupplyOf", b"\x0a\x04atom", "atom".to_owned()),
        ("DenomsMetadata", &[], "R3MES".to_owned()),
        ("DenomMetadata", b"\x0a\x06uremes", "R3MES".to_owned()),
    ] {
        assert!(contains(query(&format!("/cosmos.bank.v1beta1.Query/{path}"), data).unwrap(), &text), "{path}");
    }
    assert_eq!(query("/cosmos.bank.v1beta1.Query/DenomMetadata", b"\x0a\x04atom").unwrap_err().code, 22);
    let address = [&[0x0A, address(1).len() as u8], address(1).as_bytes()].concat();
    let balances = query("/cosmos.bank.v1beta1.Query/SpendableBalances", &address).unwrap();
    assert_eq!(balances, query("/cosmos.bank.v1beta1.Query/AllBalances", &address).unwrap());
}
