//! The commands `repo/stat`, `repo/gc`, `id` and `version` of Kubo's RPC.

use super::{block::lines, error::IpfsError, owner::Caller, state::SharedIpfs};
use axum::{Json, extract::State, response::Response};
use r3mes_wgpu::store::{Block, Codec};
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
pub(super) async fn collect(State(ipfs): SharedIpfs, caller: Caller) -> Result<Response, IpfsError> {
    caller.only_owner()?;
    let deleted = ipfs.with(|store| store.collect(u64::MAX)).await?;
    Ok(lines(deleted.into_iter().map(|cid| json!({ "Key": { "/": cid.to_string() } }))))
}

/// Returns the node's identity. The ID has the form of a libp2p peer ID, because clients parse it as one, but no key
/// belongs to it. The fields for the key and the addresses are empty, because the node has no libp2p key and no libp2p
/// addresses.
pub(super) async fn id(State(ipfs): SharedIpfs) -> Json<Value> {
    let id = Block::new(Codec::DagPb, ipfs.owner.public_id().to_vec()).map(|block| block.with_version_0().cid());
    let id = id.map(|cid| cid.to_string()).unwrap_or_default();
    Json(json!({ "ID": id, "PublicKey": "", "Addresses": [], "AgentVersion": agent(), "Protocols": [] }))
}

/// Returns the version of the program, with its name and platform.
pub(super) async fn version() -> Json<Value> {
    let system = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
    Json(json!({ "Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "", "System": system, "Agent": agent() }))
}

fn agent() -> String {
    format!("r3mes-wgpu/{}", env!("CARGO_PKG_VERSION"))
}
