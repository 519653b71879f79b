//! The commands `pin/add`, `pin/ls` and `pin/rm` of Kubo's RPC. All pins are recursive.

use super::{error::IpfsError, owner::Caller, query::KuboQuery, state::SharedIpfs};
use axum::{Json, extract::State, http::StatusCode};
use r3mes_wgpu::store::Cid;
use serde_json::{Map, Value, json};

/// Pins the DAG under each CID that is given as an argument.
pub(super) async fn add(State(ipfs): SharedIpfs, caller: Caller, query: KuboQuery) -> Result<Json<Value>, IpfsError> {
    caller.only_owner()?;
    query.options(&["name", "recursive"])?;
    query.only("recursive", "true")?;
    let roots = query.cids()?;
    let response = pins(&roots);
    ipfs.with(move |store| store.pin_all(&roots)).await?;
    Ok(response)
}

/// Lists the pins of the node's owner, and the pins that the node itself has set for its ledger. If CIDs are given as
/// arguments, lists only these, and returns an error if any of them is not pinned.
pub(super) async fn list(State(ipfs): SharedIpfs, query: KuboQuery) -> Result<Json<Value>, IpfsError> {
    query.options(&["names", "type"])?;
    if !matches!(query.text("type"), None | Some("all" | "recursive")) {
        return Err(IpfsError::bad("type: expected all or recursive"));
    }
    let wanted = query.text("arg").map(|_| query.cids()).transpose()?;
    let (user, system) = ipfs.with(|store| Ok((store.user_pins()?, store.system_pins()?))).await?;
    let named = |cids: Vec<Cid>, name: &'static str| {
        cids.into_iter().map(move |cid| (cid, json!({ "Type": "recursive", "Name": name })))
    };
    let mut keys: Map<String, Value> =
        named(system, "ledger").chain(named(user, "")).map(|(cid, pin)| (cid.to_string(), pin)).collect();
    if let Some(wanted) = wanted {
        let of = |cid: &Cid| {
            let pin = keys.remove(&cid.to_string());
            let pin = pin.ok_or_else(|| not_pinned(cid))?;
            Ok((cid.to_string(), pin))
        };
        keys = wanted.iter().map(of).collect::<Result<_, IpfsError>>()?;
    }
    Ok(Json(json!({ "Keys": keys })))
}

/// Removes the owner's pins of the CIDs that are given as arguments. If any of these pins does not exist, removes the
/// others and returns an error.
pub(super) async fn remove(
    State(ipfs): SharedIpfs,
    caller: Caller,
    query: KuboQuery,
) -> Result<Json<Value>, IpfsError> {
    caller.only_owner()?;
    query.options(&["recursive"])?;
    query.only("recursive", "true")?;
    let roots = query.cids()?;
    let response = pins(&roots);
    let removed = ipfs.with(move |store| {
        roots.into_iter().map(|root| Ok((root, store.unpin(&root)?))).collect::<anyhow::Result<Vec<_>>>()
    });
    match removed.await?.iter().find(|(_, was_there)| !was_there) {
        Some((root, _)) => Err(not_pinned(root)),
        None => Ok(response),
    }
}

fn pins(roots: &[Cid]) -> Json<Value> {
    Json(json!({ "Pins": roots.iter().map(Cid::to_string).collect::<Vec<_>>() }))
}

fn not_pinned(cid: &Cid) -> IpfsError {
    IpfsError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{cid} is not pinned, or is only a part of a pinned DAG"))
}
