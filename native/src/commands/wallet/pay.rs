//! `wallet send`, `wallet grant` and `wallet revoke`: transactions that a wallet signs and a node settles.

use super::{GrantArgs, OnChainArgs, RevokeArgs, SendArgs};
use crate::{
    client::transport::{Remote, asked},
    output::{Exit, say},
    paths,
    server::now,
    wallet::{session_key, unlock},
};
use anyhow::{Result, ensure};
use pollster::block_on;
use r3mes_wgpu::{
    client::{Client, ClientError},
    tx::{DENOM, GrantPair, Message, Session, SessionKey, Transfer, check_address, rfc3339},
};
use serde_json::{Value, json};

/// Sends coins, and waits until they are there.
pub(super) fn send(args: &SendArgs) -> Result<Exit> {
    let SendArgs { to, amount, on } = args;
    check_address(to)?;
    ensure!(*amount > 0, "nothing is to be sent: the amount is 0");
    let client = client(on)?;
    let fee = asked(block_on(client.min_fee()))?;
    let from = client.address().to_owned();
    eprintln!("sending {amount}{DENOM} from {from} to {to}, for a fee of {fee}{DENOM}");
    let transfer = Transfer { from: from.clone(), to: to.clone(), amount: *amount };
    let hash = asked(block_on(client.send(Message::Send(transfer))))?.hash;
    let balance = asked(block_on(client.balance(&from)))?;
    tell(
        on,
        &json!({
            "event": "sent", "from": from, "to": to, "amount": amount, "fee": fee, "transaction": hash,
            "balance": balance,
        }),
        &format!("sent {amount}{DENOM} to {to}; {balance}{DENOM} are left\ntransaction {hash}"),
    );
    Ok(Exit::Ok)
}

/// Opens a session, instead of one that is there.
pub(super) fn grant(args: &GrantArgs) -> Result<Exit> {
    let GrantArgs { session, cap, expires, on } = args;
    let grantee = session_address(session.as_ref(), on)?;
    let client = client(on)?;
    let pair = GrantPair { granter: client.address().to_owned(), grantee };
    ensure!(pair.granter != pair.grantee, "the wallet and the session are one account");
    let session = Session { pair, cap: *cap, expires: chain_time(&client)? + expires };
    let granted = asked(block_on(client.granted(&session.pair)))?;
    let hash = asked(block_on(client.send_all(granted.replace(&session))))?.hash;
    let Session { pair: GrantPair { granter, grantee }, cap, expires } = &session;
    let until = rfc3339(*expires);
    tell(
        on,
        &json!({
            "event": "granted", "granter": granter, "grantee": grantee, "cap": cap, "expires": until,
            "transaction": hash,
        }),
        &format!(
            "{grantee} may mine for {granter} until {until}, and spend {cap}{DENOM} on fees\ntransaction {hash}\n\
             there: r3mes-wgpu mine --node {} --granter {granter}",
            on.node
        ),
    );
    Ok(Exit::Ok)
}

/// Ends a session.
pub(super) fn revoke(args: &RevokeArgs) -> Result<Exit> {
    let RevokeArgs { session, on } = args;
    let grantee = session_address(session.as_ref(), on)?;
    let client = client(on)?;
    let pair = GrantPair { granter: client.address().to_owned(), grantee };
    let messages = asked(block_on(client.granted(&pair)))?.revoke(&pair);
    let GrantPair { granter, grantee } = &pair;
    ensure!(!messages.is_empty(), "{granter} grants {grantee} nothing, or not any more");
    let hash = asked(block_on(client.send_all(messages)))?.hash;
    tell(
        on,
        &json!({ "event": "revoked", "granter": granter, "grantee": grantee, "transaction": hash }),
        &format!("{grantee} may not mine for {granter} any more\ntransaction {hash}"),
    );
    Ok(Exit::Ok)
}

fn client(on: &OnChainArgs) -> Result<Client<Remote>> {
    let data_dir = paths::data_dir(on.kept.data_dir.clone())?;
    // checked before anybody is asked for a passphrase
    let remote = Remote::node(&on.node)?;
    let key: SessionKey = unlock(&data_dir, &on.wallet, on.kept.passphrase_file.as_deref())?;
    Ok(Client::new(remote, key))
}

/// Seconds since 1970 by the chain's clock, which sessions end by; this machine's may be wrong.
fn chain_time(client: &Client<Remote>) -> Result<u64> {
    match block_on(client.job()) {
        Ok(job) => Ok(job.time),
        Err(error @ ClientError::Unsupported(_)) => {
            eprintln!("{error}: the session ends by this machine's clock");
            Ok(now())
        }
        Err(error) => asked(Err(error)),
    }
}

/// The address named, else that of this machine's session.
fn session_address(named: Option<&String>, on: &OnChainArgs) -> Result<String> {
    let Some(address) = named else {
        return Ok(session_key(&paths::data_dir(on.kept.data_dir.clone())?)?.address().to_owned());
    };
    check_address(address)?;
    Ok(address.clone())
}

fn tell(on: &OnChainArgs, object: &Value, words: &str) {
    match on.kept.json {
        true => say!("{object}"),
        false => say!("{words}"),
    }
}
