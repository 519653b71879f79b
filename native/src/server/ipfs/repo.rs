//! The commands `repo/stat`, `repo/gc`, `id` and `version` of Kubo's RPC.

use super::{block::lines, error::IpfsError, state::SharedIpfs};
use axum::{Json, extract::State, response::Response};
use serde_json::{Value, json};

/// Returns the number of stored blocks, their total size, and the size limits, all sizes in bytes.
pub(super) async fn stat(State(ipfs): SharedIpfs) -> Result<Json<Value>, IpfsError> {
    let (usage, quota) = ipfs.with(|store| Ok((store.usage()?, store.quota()))).await?;
    Ok(Json(json!({
        "NumObjects": usage.blocks, "RepoSize": usage.bytes, "StorageMax": quota.total_bytes,
        "UnpinnedSize": usage.unpinned_bytes, "UnpinnedMax": quota.unpinned_bytes, "RepoPath": "blocks.redb", "Version": "r3mes-blocks@1",
    })))
}

/// Deletes all unpinned blocks and returns the CIDs of the deleted blocks.
pub(super) async fn collect(State(ipfs): SharedIpfs) -> Result<Response, IpfsError> {
    ipfs.only_owner()?;
    let deleted = ipfs.with(|store| store.collect(u64::MAX)).await?;
    Ok(lines(deleted.into_iter().map(|cid| json!({ "Key": { "/": cid.to_string() } }))))
}

/// Returns the node's identity. The fields for the libp2p key and the libp2p addresses are empty, because the node has
/// neither.
pub(super) async fn id() -> Json<Value> {
    Json(json!({ "ID": "", "PublicKey": "", "Addresses": [], "AgentVersion": agent(), "Protocols": [] }))
}

/// Returns the version of the program, with its name and platform.
pub(super) async fn version() -> Json<Value> {
    let system = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
    Json(json!({ "Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "", "System": system, "Agent": agent() }))
}

fn agent() -> String {
    format!("r3mes-wgpu/{}", env!("CARGO_PKG_VERSION"))
}
