//! A client of a Kubo daemon's RPC. <https://docs.ipfs.tech/reference/kubo/rpc/>

use super::{StorageFailure, parse, printable};
use crate::{
    client::{BlockStore, Connection, Request, Response, blocks::put_blocks, connection::send},
    store::{Block, Cid, Dag},
};
use serde::Deserialize;

/// The largest number of a daemon's addresses that a pinning service is told.
const MAX_ADDRESSES: usize = 16;

/// Content type and body of a command without a body. Kubo's RPC accepts only POST requests, so an empty body is sent.
const EMPTY_BODY: Option<(&str, &[u8])> = Some(("application/octet-stream", &[]));

/// A client of a Kubo daemon.
pub struct Kubo<T> {
    url: String,
    pub(super) connection: T,
}

impl<T: Connection> Kubo<T> {
    /// Creates a client of the daemon that `connection` leads to. `url` is used in messages only.
    pub fn new(url: String, connection: T) -> Self {
        Self { url, connection }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Pins a block, and those blocks under it that the daemon already has.
    pub async fn pin(&self, root: &Cid) -> Result<(), StorageFailure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct PinResponse {
            pins: Vec<String>,
        }
        let PinResponse { pins } = parse(&self.call(&format!("pin/add?arg={root}&offline=true")).await?)?;
        if pins == [root.to_string()] {
            return Ok(());
        }
        Err(StorageFailure::OtherCid { expected: *root, found: printable(&pins.join(" ")) })
    }

    /// Returns the addresses at which other daemons can reach this one, at most 16.
    pub async fn addresses(&self) -> Result<Vec<String>, StorageFailure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Identity {
            addresses: Option<Vec<String>>,
        }
        let Identity { addresses } = parse(&self.call("id").await?)?;
        Ok(addresses.unwrap_or_default().into_iter().take(MAX_ADDRESSES).collect())
    }

    async fn call(&self, command: &str) -> Result<Vec<u8>, StorageFailure> {
        Ok(send(&self.connection, &format!("/api/v0/{command}"), EMPTY_BODY).await?)
    }
}

impl<T: Connection> BlockStore for Kubo<T> {
    type Error = StorageFailure;

    async fn put(&self, blocks: &[Block]) -> Result<(), StorageFailure> {
        Ok(put_blocks(&self.connection, blocks).await?)
    }

    async fn read_back(&self, cid: &Cid) -> Result<Vec<u8>, StorageFailure> {
        let lost = |reason: String| StorageFailure::BlockLost { cid: *cid, reason };
        let path = format!("/api/v0/block/get?arg={cid}&offline=true");
        let request = Request { path: &path, body: EMPTY_BODY };
        let Response { status, body } =
            self.connection.request(request).await.map_err(|error| StorageFailure::NoResponse(error.0))?;
        // an error status of this command means that the daemon has lost the block
        if status != 200 {
            return Err(lost(format!("{status}: {}", printable(&String::from_utf8_lossy(&body)))));
        }
        Block::check(*cid, body).map(Block::into_bytes).map_err(|error| lost(error.to_string()))
    }

    /// Stores and pins all blocks of a DAG, then reads the root and one other block back.
    ///
    /// The DAG's [pin list](Dag::pin_list) is pinned instead of its root, because a recursive pin of the root would
    /// follow links to blocks outside the DAG.
    async fn put_dag(&self, dag: &Dag) -> Result<(), StorageFailure> {
        let pin_list = dag.pin_list()?;
        self.put(&dag.blocks).await?;
        self.put(std::slice::from_ref(&pin_list)).await?;
        self.pin(&pin_list.cid()).await?;
        for cid in dag.spot_check_cids() {
            self.read_back(&cid).await?;
        }
        Ok(())
    }
}
