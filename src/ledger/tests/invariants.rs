//! Tests with random transactions and rows: the coins in the state must add up, equal states must have equal roots, and
//! invalid input must change nothing.

use super::*;
use crate::tx::{
    MsgCompleteTask, MsgRegisterNode, MsgSetConsensusKey, MsgSetPayout, MsgUnregisterNode, MsgWithdraw, Transfer,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Returns a message of account `number`, which the ledger may refuse. `kind` selects the type of the message.
fn message(world: &Network, number: u8, kind: u8, amount: u64) -> Message {
    let other = 1 + (amount % 9) as u8;
    match kind % 14 {
        0 | 1 => world.claim(number, world.ledger.state().available().next().unwrap_or(amount % 8)),
        2 | 3 if world.ledger.held(&address(number)).unwrap().is_some() => {
            let commitment = if amount.is_multiple_of(5) { wrong } else { honest };
            Message::SubmitGradient(Box::new(world.submission(number, commitment)))
        }
        4 => Message::Send(Transfer { from: address(number), to: address(other), amount }),
        5 => Message::RegisterNode(MsgRegisterNode {
            node_address: address(number),
            node_type: 1 + (amount % 4) as i32,
            stake: format!("{}uremes", amount % (2 * COINS)),
            roles: vec![3, 4],
            ..Default::default()
        }),
        6 => Message::UnregisterNode(MsgUnregisterNode { node_address: address(number) }),
        7 => Message::SetPayout(MsgSetPayout { miner: address(number), payout: address(other) }),
        8 => Message::CompleteTask(MsgCompleteTask { miner: address(number), chunk_id: amount, ..Default::default() }),
        9 => Message::Withdraw(MsgWithdraw { miner: address(number) }),
        10 => {
            let duty = world.ledger.beacon_duty(&address(number));
            world.beacon_message(
                number,
                duty.unwrap_or(BeaconDuty { epoch: amount % 4, reveals: amount.is_multiple_of(2) }),
            )
        }
        11 => {
            let key = vec![(amount % 12) as u8; 32];
            Message::SetConsensusKey(MsgSetConsensusKey { node_address: address(number), key })
        }
        _ => {
            let find = |_: u8, task: &Task, claimed| match amount % 7 {
                0 => Finding::Match,
                1 => Finding::Mismatch,
                2 => Finding::Unavailable,
                _ => honest_finding(0, task, claimed),
            };
            let messages = world.pending_messages(number, &find);
            messages.into_iter().next().unwrap_or_else(|| world.claim(number, amount))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_coin_appears_or_is_lost_and_roots_agree(steps in prop::collection::vec((1u8..=9, 0u8..14, 0u64..2_000_000_000, 0u64..40), 1..90), beacon in 0u64..3) {
        let params = LedgerParams {
            min_stake: 1_000_000, sampling: ALL / 2, claim_bond: 50, probation: 2, silence_penalty: 10,
            attestation_blocks: 4, decision_blocks: 4, unbonding_blocks: 5, draw_after: 2, challenge_blocks: 3,
            trap_share: ALL / 2, quarantine_blocks: 4, epoch_blocks: beacon, beacon_penalty: 50, ..NETWORK
        };
        let consensus_keys = BTreeMap::from([7, 8].map(|number| (address(number), ConsensusKey::new([number; 32]))));
        let genesis = genesis(2, params, &[(7, 2_000_000), (8, 2_000_000), (9, 4_000_000)]);
        let mut world = Network::new(Genesis { consensus_keys, ..genesis });
        // the validators of CometBFT, which learns only the changes of the voting powers
        let powers = |ledger: &Ledger| ledger.voting_powers().map(|(key, power)| (*key, power)).collect();
        let mut validators: BTreeMap<ConsensusKey, u64> = powers(&world.ledger);
        for (number, kind, amount, pause) in steps {
            let fee = Fee { amount: amount % 3, granter: None };
            let sequence = world.ledger.state().account_of(&address(number)).sequence;
            let tx = key(number).sign(CHAIN, sequence, &fee, &[message(&world, number, kind, amount)]).unwrap();
            world.time += pause;
            let mut cut = tx.clone();
            cut.truncate(amount as usize % (tx.len() + 1));
            let before = world.ledger.clone();
            world.block(vec![tx, cut]);
            validators.extend(world.ledger.voting_power_changes(&before));
            validators.retain(|_, power| *power > 0);
            prop_assert!(!validators.is_empty());
            prop_assert_eq!(&validators, &powers(&world.ledger));
        }
        world.check();
    }

    #[test]
    fn invalid_transactions_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut world = small(2);
        let before = world.ledger.state().clone();
        let outcome = world.block(vec![bytes]).remove(0);
        prop_assert_ne!(outcome.code, 0);
        let mut after = world.ledger.state().clone();
        after.head = before.head.clone();
        prop_assert_eq!(after, before);
    }

    #[test]
    fn an_altered_transaction_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut world = small(2);
        let mut tx = world.sign(1, &[Message::Send(Transfer { from: address(1), to: address(2), amount: 5 })]);
        let at = at.index(tx.len());
        tx[at] ^= 1 << bit;
        let outcome = world.block(vec![tx]).remove(0);
        prop_assert_eq!((outcome.code == 0, world.balance(2)), (false, COINS));
    }

    #[test]
    fn malformed_rows_are_refused(key in prop::collection::vec(any::<u8>(), 0..60), value in prop::collection::vec(any::<u8>(), 0..60)) {
        let world = small(2);
        let mut rows = world.ledger.rows();
        rows.push(StateRow { key, value: Some(value) });
        prop_assert!(Ledger::restore(world.ledger.genesis().clone(), &rows).is_err());
    }
}
