//! `genesis`: what a network of its own starts from, as a file that its nodes share.

use crate::{
    cli::{GenesisArgs, Rules},
    node::{
        Terms,
        embedded::{Embedded, OPERATOR_ROLES},
    },
    output::{Exit, say},
    paths, wallet,
};
use anyhow::Result;
use r3mes_wgpu::{
    ledger::{LedgerParams, fee_pool},
    tx::{SessionKey, check_address},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Prints the genesis of a network of this model and text.
pub(crate) fn run(args: GenesisArgs) -> Result<Exit> {
    let GenesisArgs { job, rules, chain_id, quota, mut operator, pool, mut account } = args;
    let params = match rules {
        Rules::Embedded => LedgerParams::EMBEDDED,
        Rules::Network => LedgerParams::NETWORK,
    };
    if operator.is_empty() {
        let secret = wallet::operator_secret(&paths::data_dir(job.data_dir.clone())?)?;
        // a penalty leaves it enough to go on
        operator.push((SessionKey::new(&secret)?.address().to_owned(), 10 * params.min_stake));
    }
    if pool > 0 {
        account.push((fee_pool(), pool));
    }
    // of the chain's own, so that no gradient of one network is one of another
    let seed = Sha256::new().chain_update("r3mes-wgpu genesis 1").chain_update(&chain_id).finalize().into();
    let nodes = operator.into_iter().map(|(address, stake)| (address, stake, OPERATOR_ROLES.to_vec())).collect();
    let rank = job.rank as u32;
    let terms = Terms { chain_id, params, rank, seed, quota, accounts: account, nodes };
    let genesis: Value = serde_json::from_str(&Embedded::of(&job, terms)?.genesis().to_json())?;
    say!("{genesis:#}");
    Ok(Exit::Ok)
}

/// Reads `ADDRESS=MICRO`.
pub(crate) fn coins(text: &str) -> Result<(String, u64), String> {
    let (address, amount) = text.split_once('=').ok_or("an address, `=`, and micro-units are asked for")?;
    check_address(address).map_err(|error| error.to_string())?;
    Ok((address.to_owned(), crate::commands::wallet::micro(amount)?))
}
