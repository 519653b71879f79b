//! The commands `repo/stat`, `repo/gc`, `id` and `version`.

use super::{block::lines, error::IpfsError, state::SharedIpfs};
use axum::{Json, extract::State, response::Response};
use serde_json::{Value, json};

/// Returns the number and the total size of the stored blocks, and the size limit.
pub(super) async fn stat(State(ipfs): SharedIpfs) -> Result<Json<Value>, IpfsError> {
    let (usage, quota) = ipfs.with(|store| Ok((store.usage()?, store.quota()))).await?;
    Ok(Json(json!({
        "NumObjects": usage.blocks, "RepoSize": usage.bytes, "StorageMax": quota.total_bytes,
        "LooseSize": usage.loose_bytes, "LooseMax": quota.loose_bytes, "RepoPath": "blocks.redb", "Version": "r3mes-blocks@1",
    })))
}

/// Deletes all unpinned blocks and returns their CIDs.
pub(super) async fn collect(State(ipfs): SharedIpfs) -> Result<Response, IpfsError> {
    ipfs.only_owner()?;
    let deleted = ipfs.with(|store| store.collect(u64::MAX)).await?;
    Ok(lines(deleted.into_iter().map(|cid| json!({ "Key": { "/": cid.to_string() } }))))
}

/// Returns an empty libp2p identity, because the node has no libp2p key and no address.
pub(super) async fn id() -> Json<Value> {
    Json(json!({ "ID": "", "PublicKey": "", "Addresses": [], "AgentVersion": agent(), "Protocols": [] }))
}

/// Returns the name and the version of the program.
pub(super) async fn version() -> Json<Value> {
    let system = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
    Json(json!({ "Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "", "System": system, "Agent": agent() }))
}

fn agent() -> String {
    format!("r3mes-wgpu/{}", env!("CARGO_PKG_VERSION"))
}
