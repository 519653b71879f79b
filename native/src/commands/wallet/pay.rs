//! The commands `wallet send`, `wallet grant` and `wallet revoke`, which send transactions to a node.

use super::flags::WalletStoreArgs;
use crate::{
    client::transport::{Remote, exit_if_refused},
    clock::unix_seconds,
    commands::amounts::micro,
    output::{Exit, note, say},
    paths,
    wallet::{session_key, unlock},
};
use anyhow::{Result, ensure};
use clap::Args;
use pollster::block_on;
use r3mes_wgpu::{
    client::{Client, ClientError, ExecutedTx},
    tx::{DENOM, GrantPair, Message, Session, SessionKey, Transfer, canonical_address, rfc3339},
};
use serde_json::{Value, json};

/// Flags of the commands that send a transaction: they select the node and the wallet.
#[derive(Args, Clone)]
struct OnChainArgs {
    /// Use the node at this URL
    #[arg(long, value_name = "URL", env = "R3MES_NODE")]
    node: String,
    /// Sign with the key of this wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    wallet: String,
    #[command(flatten)]
    kept: WalletStoreArgs,
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// Address of the recipient
    to: String,
    /// Amount in micro-units, such as 1500000 or 1500000uremes
    #[arg(value_parser = micro)]
    amount: u64,
    #[command(flatten)]
    on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct GrantArgs {
    /// Address of the session key that gets the permissions [default: the session key in the data folder]
    session: Option<String>,
    /// Let the session key spend at most this many micro-units of the wallet's balance on fees
    #[arg(long, value_name = "MICRO", value_parser = micro)]
    cap: u64,
    /// Let the permissions expire after this time, such as 30d, 12h, 90m or 600s
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: u64,
    #[command(flatten)]
    on: OnChainArgs,
}

#[derive(Args)]
pub(crate) struct RevokeArgs {
    /// Address of the session key that loses its permissions [default: the session key in the data folder]
    session: Option<String>,
    #[command(flatten)]
    on: OnChainArgs,
}

/// Sends coins, and waits until a block contains the transaction.
pub(super) fn send(args: &SendArgs) -> Result<Exit> {
    let SendArgs { to, amount, on } = args;
    let to = canonical_address(to)?;
    ensure!(*amount > 0, "the amount must be greater than 0");
    let client = client(on)?;
    let from = client.address().to_owned();
    note!("Sending {amount}{DENOM} from {from} to {to}");
    let transfer = Transfer { from: from.clone(), to: to.clone(), amount: *amount };
    let ExecutedTx { hash, fee, .. } = exit_if_refused(block_on(client.send(Message::Send(transfer))))?;
    let balance = exit_if_refused(block_on(client.balance(&from)))?;
    print(
        on,
        &json!({
            "event": "sent", "from": from, "to": to, "amount": amount, "fee": fee, "transaction": hash,
            "balance": balance,
        }),
        &format!(
            "sent {amount}{DENOM} to {to}, with a fee of {fee}{DENOM}; the new balance is {balance}{DENOM}\ntransaction {hash}"
        ),
    );
    Ok(Exit::Ok)
}

/// Allows a session key to mine for the wallet until an expiry, and to pay fees from the wallet. Replaces the
/// permissions that the key already has from this wallet.
pub(super) fn grant(args: &GrantArgs) -> Result<Exit> {
    let GrantArgs { session, cap, expires, on } = args;
    let grantee = session_address(session.as_ref(), on)?;
    let client = client(on)?;
    let pair = GrantPair { granter: client.address().to_owned(), grantee };
    ensure!(pair.granter != pair.grantee, "the wallet and the session key are the same account");
    let session = Session { pair, cap: *cap, expires: chain_time(&client)? + expires };
    let granted = exit_if_refused(block_on(client.granted(&session.pair)))?;
    let hash = exit_if_refused(block_on(client.send_all(granted.replace(&session))))?.hash;
    let Session { pair: GrantPair { granter, grantee }, cap, expires } = &session;
    let until = rfc3339(*expires);
    print(
        on,
        &json!({
            "event": "granted", "granter": granter, "grantee": grantee, "cap": cap, "expires": until,
            "transaction": hash,
        }),
        &format!(
            "{grantee} can mine for {granter} until {until}, and spend up to {cap}{DENOM} on fees\ntransaction {hash}\n\
             on the mining machine, run: r3mes-wgpu mine --node {} --granter {granter}",
            on.node
        ),
    );
    Ok(Exit::Ok)
}

/// Revokes the permissions that the wallet has granted to a session key.
pub(super) fn revoke(args: &RevokeArgs) -> Result<Exit> {
    let RevokeArgs { session, on } = args;
    let grantee = session_address(session.as_ref(), on)?;
    let client = client(on)?;
    let pair = GrantPair { granter: client.address().to_owned(), grantee };
    let messages = exit_if_refused(block_on(client.granted(&pair)))?.revoke(&pair);
    let GrantPair { granter, grantee } = &pair;
    ensure!(!messages.is_empty(), "{granter} has granted nothing to {grantee}, or the grant has ended");
    let hash = exit_if_refused(block_on(client.send_all(messages)))?.hash;
    print(
        on,
        &json!({ "event": "revoked", "granter": granter, "grantee": grantee, "transaction": hash }),
        &format!("{grantee} can no longer mine for {granter}\ntransaction {hash}"),
    );
    Ok(Exit::Ok)
}

fn client(on: &OnChainArgs) -> Result<Client<Remote>> {
    let data_dir = paths::data_dir(on.kept.data_dir.clone())?;
    // parses the URL first, so that an invalid one is reported before the prompt for a passphrase
    let remote = Remote::node(&on.node)?;
    let key: SessionKey = unlock(&data_dir, &on.wallet, on.kept.passphrase_file.as_deref())?;
    Ok(Client::new(remote, key))
}

/// Returns the chain's time in seconds since 1970, which decides when a session expires. If the node does not report
/// the chain's time, returns the time of this machine's clock.
fn chain_time(client: &Client<Remote>) -> Result<u64> {
    match block_on(client.job()) {
        Ok(job) => Ok(job.time),
        Err(error @ ClientError::Unsupported(_)) => {
            note!("{error}. The expiry of the session is computed from this machine's clock.");
            Ok(unix_seconds())
        }
        Err(error) => exit_if_refused(Err(error)),
    }
}

/// Returns `named`, the address given on the command line. If it is `None`, returns the address of this machine's
/// session key.
fn session_address(named: Option<&String>, on: &OnChainArgs) -> Result<String> {
    let Some(address) = named else {
        return Ok(session_key(&paths::data_dir(on.kept.data_dir.clone())?)?.address().to_owned());
    };
    Ok(canonical_address(address)?)
}

/// Prints the result of a command: `object` if `--json` is given, otherwise `words`.
fn print(on: &OnChainArgs, object: &Value, words: &str) {
    match on.kept.json {
        true => say!("{object}"),
        false => say!("{words}"),
    }
}

/// Parses a duration with a unit, such as `30d`, `12h`, `90m` or `600s`. Returns it in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let found = units.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds =
        found.and_then(|(digits, seconds)| digits.parse::<u32>().ok().map(|count| u64::from(count) * seconds));
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "expected a time such as 30d, 12h, 90m or 600s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_with_a_unit() {
        assert_eq!((seconds("30d"), seconds("90m"), seconds("600s")), (Ok(2_592_000), Ok(5400), Ok(600)));
        for wrong in ["", "d", "0d", "-1h", "1.5h", "600", "4294967296s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
