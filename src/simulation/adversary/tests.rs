//! Tests that in the simulation an honest coalition of accounts earns as expected and harms nobody, and dishonest ones
//! do not gain; and that the search for a coalition's most profitable strategy finds the same strategies each time.

use super::*;

fn outcome(tasks: u64, strategy: &str) -> Outcome {
    outcome_of(tasks, strategy, 1)
}

fn outcome_of(tasks: u64, strategy: &str, seed: u64) -> Outcome {
    let conditions = Conditions { quota: 4, tasks, params: LedgerParams::NETWORK };
    play(&conditions, &Strategy::parse(strategy).unwrap(), seed)
}

#[test]
fn an_honest_coalition_earns_the_reward_minus_the_cost_and_harms_nobody() {
    for strategy in ["honest", "wallet=stake", "wallet=empty miners=2", "wallet=fresh join=one"] {
        let Outcome { profit, loss, captured, halted, kept, submitted, .. } = outcome(8, strategy);
        assert!((0.39..0.401).contains(&profit), "apart from fees, {strategy} earns {profit}");
        assert_eq!((loss, captured, halted, kept[1], submitted), (0.0, 0, false, 0, 8), "{strategy}");
    }
    let verifies = outcome(8, "coins=1000 nodes=2");
    assert!(verifies.profit > 0.4 && verifies.loss == 0.0, "verifiers earn too: {verifies:?}");
}

#[test]
fn many_gradients_at_once_make_no_verifier_late() {
    let conditions = Conditions { quota: 64, tasks: 64, params: LedgerParams::NETWORK };
    for strategy in ["miners=64", "miners=64 first=hidden pace=flood after=45 appeal=own leave=1"] {
        let found = play(&conditions.clone().shortened(3), &Strategy::parse(strategy).unwrap(), 1);
        assert_eq!((found.loss, found.captured, found.halted), (0.0, 0, false), "{strategy}: {found:?}");
    }
}

#[test]
fn wrong_gradients_are_found_and_cost_their_miner() {
    let forges = outcome(8, "wallet=stake then=forged");
    assert!(forges.profit < 0.0 && forges.kept[1] == 0, "honest challengers dispute what was accepted: {forges:?}");
    let garbage = outcome(8, "wallet=fresh then=garbage");
    assert!(garbage.profit <= 0.0 && garbage.kept[1] == 0 && garbage.loss == 0.0, "{garbage:?}");
}

#[test]
fn withholding_artifacts_neither_pays_nor_harms() {
    for strategy in ["then=withheld", "then=withheld serve=00001", "wallet=stake then=withheld manifest=no"] {
        let withheld = outcome(4, strategy);
        assert!(withheld.profit <= 0.4 + 1e-9 && withheld.loss == 0.0, "{strategy}: {withheld:?}");
    }
    let busy = outcome(4, "wallet=stake then=withheld absence=busy coins=100 propose=other");
    assert!(!busy.halted && busy.captured == 0 && busy.loss == 0.0 && busy.profit < 0.4, "{busy:?}");
    let partly = outcome_of(4, "then=withheld serve=00111 coins=2400 nodes=2 propose=other beacon=silent", 4);
    assert!(!partly.halted && partly.captured == 0 && partly.loss == 0.0, "operators pass artifacts on: {partly:?}");
    let hidden = outcome(4, "wallet=stake then=hidden");
    assert!(hidden.profit <= 0.0 && hidden.loss == 0.0 && hidden.kept[1] == 0, "{hidden:?}");
}

#[test]
fn strategies_are_read_as_they_are_written() {
    let mut random = Random(7);
    for _ in 0..200 {
        let strategy = Strategy::random(&mut random).mutated(&mut random);
        assert_eq!(Strategy::parse(&strategy.to_string()), Ok(strategy));
    }
    assert!(Strategy::parse("first=lazy").is_err() && Strategy::parse("coins").is_err());
}

#[test]
fn a_search_finds_the_same_strategies_again() {
    let search = |threads| {
        let params = LedgerParams::NETWORK;
        let mut search = Search::new(Conditions { quota: 4, tasks: 4, params }, 5, threads);
        search.offer(&[Strategy::honest()]);
        let steps: Vec<_> = [false, true].map(|climbs| search.step(climbs, &OBJECTIVES)).into();
        (steps, search.best().clone())
    };
    let (first, second) = (search(1), search(2));
    assert_eq!(first, second);
    assert!(first.1["profit"].0 < 0.05, "no strategy is better than honest work, apart from luck");
}
