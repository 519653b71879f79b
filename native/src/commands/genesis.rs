//! `genesis`: prints the genesis file of a new network, from which all nodes of the network start.

use super::amounts::{address_and_coins, address_and_key};
use crate::{
    model::JobArgs,
    node::GenesisTerms,
    output::{Exit, say},
    paths,
    service::embedded::{Embedded, OPERATOR_ROLES, QUOTA},
    wallet,
};
use anyhow::Result;
use clap::{Args, ValueEnum};
use r3mes_wgpu::ledger::{ConsensusKey, LedgerParams};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A set of ledger parameters from which a genesis can be made. docs/LEDGER.md describes both sets.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rules {
    /// For a network of one process: all gradients are recomputed, and nothing is at stake
    Embedded,
    /// For a network of participants who do not trust each other
    Network,
}

#[derive(Args)]
pub(crate) struct GenesisArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Use this set of ledger parameters; the printed file lists every parameter, so each can be changed there
    #[arg(long, value_enum, default_value_t = Rules::Network)]
    rules: Rules,
    /// Use this chain id, which every signature covers
    #[arg(long, value_name = "ID", default_value = "r3mes-1")]
    chain_id: String,
    /// End each round after this many accepted tasks, 1 to 4096
    #[arg(long, value_name = "N", default_value_t = QUOTA)]
    quota: u32,
    /// Add a node with the roles validator and proposer and with this stake in micro-units; may be repeated [default:
    /// this machine's operator key, with ten times the minimum stake]
    #[arg(long, value_name = "ADDRESS=MICRO", value_parser = address_and_coins)]
    operator: Vec<(String, u64)>,
    /// Let the voting power in CometBFT follow the stakes, and set the key of the CometBFT process of this operator, in
    /// base64, as `cometbft show-validator` prints it; repeat it for every operator [default: the voting power is always
    /// that of CometBFT's genesis]
    #[arg(long, value_name = "ADDRESS=KEY", value_parser = address_and_key)]
    consensus_key: Vec<(String, ConsensusKey)>,
    /// Add an account with this initial balance in micro-units; may be repeated
    #[arg(long, value_name = "ADDRESS=MICRO", value_parser = address_and_coins)]
    account: Vec<(String, u64)>,
}

/// Prints the genesis of a network for the given model and text.
pub(crate) fn run(args: GenesisArgs) -> Result<Exit> {
    let GenesisArgs { job, rules, chain_id, quota, mut operator, consensus_key, account } = args;
    let params = match rules {
        Rules::Embedded => LedgerParams::EMBEDDED,
        Rules::Network => LedgerParams::NETWORK,
    };
    if operator.is_empty() {
        let key = wallet::operator_key(&paths::data_dir(job.data_dir.clone())?, None, None)?;
        // ten times the minimum, so that the stake is still large enough after a penalty
        operator.push((key.address().to_owned(), 10 * params.min_stake));
    }
    // the seed depends on the chain id, so that a gradient computed for one network is invalid in another
    let seed = Sha256::new().chain_update("r3mes-wgpu genesis 1").chain_update(&chain_id).finalize().into();
    let nodes = operator.into_iter().map(|(address, stake)| (address, stake, OPERATOR_ROLES.to_vec())).collect();
    let rank = job.rank as u32;
    let consensus_keys = consensus_key.into_iter().collect();
    let terms = GenesisTerms { chain_id, params, rank, seed, quota, accounts: account, nodes, consensus_keys };
    let genesis: Value = serde_json::from_str(&Embedded::of(&job, terms)?.genesis().to_json())?;
    say!("{genesis:#}");
    Ok(Exit::Ok)
}
