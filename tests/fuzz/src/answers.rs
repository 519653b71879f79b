//! Fuzz targets for the responses of nodes. A client that receives arbitrary bytes as a response must read them or
//! return an error, and must never panic.

use crate::blocks::ARTIFACT;
use pollster::block_on;
use r3mes_wgpu::{
    client::{BlockCache, BlockSource, Blocks, Client, Connection, NoResponse, Request, Response, Timer},
    store::{Block, Codec},
    tx::{GrantPair, Message, SessionKey, Transfer},
};
use serde_json::json;

/// A connection to a simulated node that answers every request with the same bytes, the field of this struct. The
/// client does not wait, for example between retries, because `sleep` returns at once.
struct ConstantNode<'a>(&'a [u8]);

impl Connection for ConstantNode<'_> {
    async fn request(&self, _request: Request<'_>) -> Result<Response, NoResponse> {
        Ok(Response { status: 200, body: self.0.to_vec() })
    }
}

impl Timer for ConstantNode<'_> {
    async fn sleep(&self, _milliseconds: u32) {}
}

impl BlockSource for ConstantNode<'_> {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        if gateway == 0 { Some(self.request(Request::get(path)).await) } else { None }
    }
}

impl BlockCache for ConstantNode<'_> {}

/// Makes a client send requests of every kind to a node that answers all of them with `bytes`. The client must not
/// panic.
pub(crate) fn answer(bytes: &[u8]) {
    let key = SessionKey::new(&[1; 32]).expect("a small number is a key");
    let address = key.address().to_owned();
    let client = Client::new(ConstantNode(bytes), key);
    let pair = GrantPair { granter: address.clone(), grantee: address.clone() };
    let cid = Codec::DagCbor.cid(bytes);
    block_on(async {
        let _ = client.job().await;
        let _ = client.minimum_fee().await;
        let _ = client.min_stake().await;
        let _ = client.registration().await;
        let _ = client.balance(&address).await;
        let _ = client.available(64).await;
        let _ = client.held_task().await;
        let _ = client.duties().await;
        let _ = client.aggregation_job().await;
        let _ = client.gradient_status(1).await;
        let _ = client.granted(&pair).await;
        let _ = client.block(Codec::DagCbor, &cid).await;
        let _ = Blocks::of_artifact(client.host(), &cid).await;
        let _ = Blocks::of_adapter(client.host(), &cid).await;
        let _ = client.send(Message::Send(Transfer { from: address.clone(), to: address.clone(), amount: 1 })).await;
    });
}

/// A simulated node that has the blocks of an artifact, but answers a request for the artifact's CAR file with
/// arbitrary bytes, the field of this struct.
struct WrongCar<'a>(&'a [u8]);

impl BlockSource for WrongCar<'_> {
    async fn get(&self, gateway: usize, path: &str) -> Option<Result<Response, NoResponse>> {
        if gateway > 0 {
            return None;
        }
        if path.ends_with("?format=car") {
            return Some(Ok(Response { status: 200, body: self.0.to_vec() }));
        }
        let named = |block: &&Block| path.contains(&block.cid().to_string());
        let block = ARTIFACT.1.blocks.iter().find(named).expect("only blocks of the artifact are requested");
        Some(Ok(Response { status: 200, body: block.bytes().to_vec() }))
    }
}

impl BlockCache for WrongCar<'_> {}

/// Fetches an artifact from a node that returns `bytes` as the artifact's CAR file. The client must get all blocks of
/// the artifact, even if the CAR file is invalid.
pub(crate) fn incoming(bytes: &[u8]) {
    let blocks = block_on(Blocks::of_artifact(&WrongCar(bytes), &ARTIFACT.1.root)).expect("a node that has it");
    let mut expected = ARTIFACT.1.blocks.clone();
    expected.sort_unstable_by_key(Block::cid);
    assert_eq!(blocks.into_blocks(), Ok(expected), "exactly the artifact's blocks");
}

/// Returns the seeds (initial inputs) of the fuzz target [`answer`]: a response that is valid for all requests, and two
/// empty JSON values.
pub(crate) fn answers() -> Vec<Vec<u8>> {
    let cid = Codec::DagCbor.cid(b"any").to_string();
    let digits = "ab".repeat(32);
    let answer = json!({
        "chain_id": "test-1", "genesis": digits, "height": 3, "time": 5, "arithmetic_version": 1, "model": cid, "rank": 4,
        "targets": ["attention.q"], "round": 1, "accepted": 2, "reward": 1_000_000,
        "params": { "chain_id": "test-1", "min_fee": "1", "fee_per_byte": 2, "min_stake": 7 },
        "node_registration": { "roles": [3, 4], "stake": "8" },
        "balances": [{ "denom": "uremes", "amount": "9" }],
        "pools": [{ "pool_id": "0" }], "chunks": [{ "chunk_id": "4" }],
        "held": { "task": cid, "round": 1, "shard_id": 2, "global_seed": "18446744073709551615" },
        "challenges": [{
            "challenge_id": 1, "stage": "commit", "done": false, "blocks_left": 9, "selector": digits, "task": cid,
            "stored_gradient_id": 1, "ipfs_hash": cid, "gradient_hash": digits,
        }],
        "aggregation": {
            "round": 1, "adapter": cid, "gradients": [{ "id": 1, "task": cid, "artifact": cid, "gradient_hash": digits }],
            "may_leave_out": true, "commitment_id": 1, "committed": [1], "revealed": false,
        },
        "stored_gradient": { "status": "accepted", "finding": null, "round": 1 },
        "grants": [{ "authorization": { "msg": "/remes.remes.v1.MsgClaimTask" } }],
        "allowance": { "allowance": { "allowance": { "spend_limit": [{ "amount": "10" }] } } },
        "account": { "sequence": "3" },
        "tx_response": { "height": "4", "code": 0, "raw_log": "", "data": "0A00" },
        "Key": cid,
    });
    vec![answer.to_string().into_bytes(), b"{}".to_vec(), b"[]".to_vec()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seed_is_a_valid_response_to_every_request_for_json() {
        let seed = answers().remove(0);
        let key = SessionKey::new(&[1; 32]).expect("a small number is a key");
        let address = key.address().to_owned();
        let pair = GrantPair { granter: address.clone(), grantee: address.clone() };
        let client = Client::new(ConstantNode(&seed), key);
        let read = block_on(async {
            [
                ("job", client.job().await.is_ok()),
                ("minimum_fee", client.minimum_fee().await.is_ok()),
                ("min_stake", client.min_stake().await.is_ok()),
                ("registration", client.registration().await.is_ok()),
                ("balance", client.balance(&address).await.is_ok()),
                ("available", client.available(64).await.is_ok()),
                ("held_task", client.held_task().await.is_ok()),
                ("duties", client.duties().await.is_ok()),
                ("aggregation_job", client.aggregation_job().await.is_ok_and(|job| job.is_some())),
                ("gradient_status", client.gradient_status(1).await.is_ok()),
                ("granted", client.granted(&pair).await.is_ok()),
            ]
        });
        let refused: Vec<_> = read.iter().filter(|(_, is_read)| !is_read).map(|(request, _)| request).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }
}
