//! Blocks: got by their CIDs from the gateway's routes, put by Kubo's.

use super::{Client, ClientError, Host, gateway, invalid_response};
use crate::store::{Block, Cid, Codec, Dag};
use serde::Deserialize;

/// Most bytes of blocks in one request.
const MAX_PUT_BYTES: usize = 8 << 20;

impl<H: Host> Client<H> {
    /// As [`gateway::block`].
    pub async fn block(&self, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        gateway::block(&self.host, codec, cid).await
    }

    /// Stores all blocks of a DAG, checks the names that the node gives them, and reads the root and one other back.
    pub async fn put(&self, dag: &Dag) -> Result<(), ClientError> {
        put_blocks(&self.host, &dag.blocks).await?;
        for cid in dag.spot_check_cids() {
            let forgot = |reason: String| ClientError::BlockLost { cid: cid.into(), reason };
            let bytes = match self.get(&format!("/ipfs/{cid}?format=raw")).await {
                Err(ClientError::Refused { status, message }) => return Err(forgot(format!("{status}: {message}"))),
                answer => answer?,
            };
            Block::check(cid, bytes).map_err(|error| forgot(error.to_string()))?;
        }
        Ok(())
    }
}

/// Stores blocks by Kubo's `block/put`, and checks the names that they are given.
pub(crate) async fn put_blocks<H: Host>(host: &H, blocks: &[Block]) -> Result<(), ClientError> {
    for codec in Codec::ALL {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for block in blocks.iter().filter(|block| block.cid().codec() == codec.code()) {
            if bytes + block.bytes().len() > MAX_PUT_BYTES && !batch.is_empty() {
                put_batch(host, codec, &std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += block.bytes().len();
            batch.push(block);
        }
        if !batch.is_empty() {
            put_batch(host, codec, &batch).await?;
        }
    }
    Ok(())
}

async fn put_batch<H: Host>(host: &H, codec: Codec, blocks: &[&Block]) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Put {
        key: String,
    }
    const BOUNDARY: &str = "r3mes-block-5f8b2c";
    let mut body = Vec::new();
    for block in blocks {
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"block\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(block.bytes());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let path = format!("/api/v0/block/put?cid-codec={}&mhtype=sha2-256", codec.name());
    let answer = gateway::ask(host, &path, Some((&format!("multipart/form-data; boundary={BOUNDARY}"), &body))).await?;
    let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let keys: Result<Vec<Put>, _> = lines.map(serde_json::from_slice).collect();
    let keys = keys.map_err(|error| invalid_response(&path, &error.to_string()))?;
    if !keys.iter().map(|put| put.key.clone()).eq(blocks.iter().map(|block| block.cid().to_string())) {
        return Err(invalid_response(&path, "other CIDs than those of the blocks sent"));
    }
    Ok(())
}
