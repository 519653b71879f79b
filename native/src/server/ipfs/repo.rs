//! `repo/stat`, `repo/gc`, `id`, `version`.

use super::{Refusal, Shared, block::lines};
use axum::{Json, extract::State, response::Response};
use serde_json::{Value, json};

/// How much there is, and may be.
pub(super) async fn stat(State(peer): Shared) -> Result<Json<Value>, Refusal> {
    let (usage, quota) = peer.with(|store| Ok((store.usage()?, store.quota()))).await?;
    Ok(Json(json!({
        "NumObjects": usage.blocks, "RepoSize": usage.bytes, "StorageMax": quota.total_bytes,
        "LooseSize": usage.loose_bytes, "LooseMax": quota.loose_bytes, "RepoPath": "blocks.redb", "Version": "r3mes-blocks@1",
    })))
}

/// Drops what nothing pins, and names it.
pub(super) async fn collect(State(peer): Shared) -> Result<Response, Refusal> {
    peer.only_owner()?;
    let gone = peer.with(|store| store.collect(u64::MAX)).await?;
    Ok(lines(gone.into_iter().map(|cid| json!({ "Key": { "/": cid.to_string() } }))))
}

/// Who this is: nobody in libp2p, where it has neither a key nor an address.
pub(super) async fn id() -> Json<Value> {
    Json(json!({ "ID": "", "PublicKey": "", "Addresses": [], "AgentVersion": agent(), "Protocols": [] }))
}

/// Which program this is.
pub(super) async fn version() -> Json<Value> {
    let system = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
    Json(json!({ "Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "", "System": system, "Agent": agent() }))
}

fn agent() -> String {
    format!("r3mes-wgpu/{}", env!("CARGO_PKG_VERSION"))
}
