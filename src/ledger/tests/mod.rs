//! Tests that use the ledger as a node does: they apply blocks of signed transactions and examine the results.

mod appeals;
mod attestations;
mod beacon;
mod clients;
mod coins;
mod dispute_network;
mod disputes;
mod invariants;
mod room;
mod rounds;
mod sessions;
mod settlement;
mod transactions;
mod traps;
mod voting_power;

use super::*;
use crate::{
    protocol::{Commitment, Task},
    simulation::{CHAIN, COINS, NETWORK, Network, address, genesis, honest, honest_finding, key, wrong},
    tx::{Fee, Message},
};

/// Returns a network in which account 9 is the only verifier and proposer.
fn small(quota: u32) -> Network {
    Network::new(genesis(quota, LedgerParams::EMBEDDED, &[(9, 1_000_000)]))
}
