//! Uploads blocks to a node or to a Kubo daemon (an IPFS server) with the RPC command `block/put`, which both support.

use super::{BlockCache, BlockSource, gateway};
use crate::{
    client::{Client, ClientError, Connection, connection::send, invalid_response},
    store::{Block, Cid, Codec, Dag},
};
use serde::Deserialize;

/// The largest total size of the blocks in one request, in bytes. A block that is larger by itself is sent alone.
const MAX_PUT_BYTES: usize = 8 << 20;

/// A server that stores blocks: a node or a Kubo daemon.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait BlockStore {
    /// The error returned if the store does not keep a block or cannot be reached.
    type Error;

    /// Uploads blocks. Returns an error if the CIDs in the store's response differ from the CIDs of the blocks.
    async fn put(&self, blocks: &[Block]) -> Result<(), Self::Error>;

    /// Downloads a block from this store and checks the bytes against `cid`.
    async fn read_back(&self, cid: &Cid) -> Result<Vec<u8>, Self::Error>;

    /// Uploads all blocks of a DAG, then downloads the root block and one leaf to check that the store has kept them.
    async fn put_dag(&self, dag: &Dag) -> Result<(), Self::Error> {
        self.put(&dag.blocks).await?;
        for cid in dag.spot_check_cids() {
            self.read_back(&cid).await?;
        }
        Ok(())
    }
}

impl<H: Connection> BlockStore for Client<H> {
    type Error = ClientError;

    async fn put(&self, blocks: &[Block]) -> Result<(), ClientError> {
        put_blocks(self.host(), blocks).await
    }

    async fn read_back(&self, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        let lost = |reason: String| ClientError::BlockLost { cid: (*cid).into(), reason };
        let bytes = match send(self.host(), &format!("/ipfs/{cid}?format=raw"), None).await {
            Err(ClientError::Refused { status, message }) => return Err(lost(format!("{status}: {message}"))),
            body => body?,
        };
        Block::check(*cid, bytes).map(Block::into_bytes).map_err(|error| lost(error.to_string()))
    }
}

impl<H: BlockSource + BlockCache> Client<H> {
    /// Returns the bytes of a block, checked against its CID. The bytes come from the cache if it has them, or else
    /// from the first gateway that delivers them.
    pub async fn block(&self, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        gateway::block(self.host(), codec, cid).await
    }
}

/// Uploads blocks with `block/put`. Returns an error if the CIDs in the response differ from the CIDs of the blocks.
pub(crate) async fn put_blocks<T: Connection>(connection: &T, blocks: &[Block]) -> Result<(), ClientError> {
    for codec in Codec::ALL {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for block in blocks.iter().filter(|block| block.cid().codec() == codec.code()) {
            if bytes + block.bytes().len() > MAX_PUT_BYTES && !batch.is_empty() {
                put_batch(connection, codec, &std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += block.bytes().len();
            batch.push(block);
        }
        if !batch.is_empty() {
            put_batch(connection, codec, &batch).await?;
        }
    }
    Ok(())
}

async fn put_batch<T: Connection>(connection: &T, codec: Codec, blocks: &[&Block]) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct StoredBlock {
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
    let response = send(connection, &path, Some((&format!("multipart/form-data; boundary={BOUNDARY}"), &body))).await?;
    let lines = response.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let stored: Result<Vec<StoredBlock>, _> = lines.map(serde_json::from_slice).collect();
    let stored = stored.map_err(|error| invalid_response(&path, &error.to_string()))?;
    if !stored.into_iter().map(|block| block.key).eq(blocks.iter().map(|block| block.cid().to_string())) {
        return Err(invalid_response(&path, "its CIDs are not those of the blocks sent"));
    }
    Ok(())
}
