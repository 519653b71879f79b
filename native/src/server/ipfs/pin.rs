//! `pin/add`, `pin/ls`, `pin/rm`: the owner's pins, which are recursive.

use super::{Refusal, Shared, options::Options};
use axum::{Json, extract::State, http::StatusCode};
use r3mes_wgpu::store::Cid;
use serde_json::{Map, Value, json};

/// Pins each argument and all its parts.
pub(super) async fn add(State(peer): Shared, options: Options) -> Result<Json<Value>, Refusal> {
    peer.only_owner()?;
    options.only("recursive", "true")?;
    let roots = options.cids()?;
    let told = pins(&roots);
    peer.with(move |store| roots.iter().try_for_each(|root| store.pin(root))).await?;
    Ok(told)
}

/// What is pinned: by the owner, and by the node for its ledger. With arguments, those of them; one that is not is an
/// error.
pub(super) async fn list(State(peer): Shared, options: Options) -> Result<Json<Value>, Refusal> {
    if !matches!(options.text("type"), None | Some("all" | "recursive")) {
        return Err(Refusal::bad("type: all or recursive is meant"));
    }
    let asked = options.text("arg").map(|_| options.cids()).transpose()?;
    let (user, system) = peer.with(|store| Ok((store.pins()?, store.kept()?))).await?;
    let named = |cids: Vec<Cid>, name: &'static str| {
        cids.into_iter().map(move |cid| (cid, json!({ "Type": "recursive", "Name": name })))
    };
    let mut keys: Map<String, Value> =
        named(system, "ledger").chain(named(user, "")).map(|(cid, pin)| (cid.to_string(), pin)).collect();
    if let Some(asked) = asked {
        let of = |cid: &Cid| {
            let pin = keys.remove(&cid.to_string());
            let pin = pin.ok_or_else(|| not_pinned(cid))?;
            Ok((cid.to_string(), pin))
        };
        keys = asked.iter().map(of).collect::<Result<_, Refusal>>()?;
    }
    Ok(Json(json!({ "Keys": keys })))
}

/// Takes pins of the owner's away.
pub(super) async fn remove(State(peer): Shared, options: Options) -> Result<Json<Value>, Refusal> {
    peer.only_owner()?;
    options.only("recursive", "true")?;
    let roots = options.cids()?;
    let told = pins(&roots);
    let removed = peer.with(move |store| {
        roots.into_iter().map(|root| Ok((root, store.unpin(&root)?))).collect::<anyhow::Result<Vec<_>>>()
    });
    match removed.await?.iter().find(|(_, was_there)| !was_there) {
        Some((root, _)) => Err(not_pinned(root)),
        None => Ok(told),
    }
}

fn pins(roots: &[Cid]) -> Json<Value> {
    Json(json!({ "Pins": roots.iter().map(Cid::to_string).collect::<Vec<_>>() }))
}

fn not_pinned(cid: &Cid) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{cid} is not pinned, or only as a part of another"))
}
