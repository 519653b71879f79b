//! A client of the RPC interface of a Kubo daemon (an IPFS server): <https://docs.ipfs.tech/reference/kubo/rpc/>

use super::{StorageFailure, parse, printable};
use crate::{
    client::{BlockStore, Connection, Request, Response, blocks::put_blocks, connection::send},
    store::{Block, Cid, Dag},
};
use serde::Deserialize;

/// The largest number of network addresses of a daemon that the client passes to a pinning service.
const MAX_ADDRESSES: usize = 16;

/// The content type and the empty body of an RPC command that has no data to send. Kubo accepts only POST requests, so
/// every request has a body.
const EMPTY_BODY: Option<(&str, &[u8])> = Some(("application/octet-stream", &[]));

/// A client of a Kubo daemon, which stores and pins blocks through the daemon's RPC interface.
pub struct Kubo<T> {
    url: String,
    pub(super) connection: T,
}

impl<T: Connection> Kubo<T> {
    /// Creates a client of the daemon with which `connection` communicates. `url` is the URL of the daemon, which is
    /// used only in error messages.
    pub fn new(url: String, connection: T) -> Self {
        Self { url, connection }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Pins the block `root` and the blocks to which it links, directly or indirectly, so that the daemon keeps them.
    /// The daemon does not fetch blocks that it does not have.
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

    /// Returns at most 16 network addresses at which other IPFS nodes can reach this daemon.
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
        // an error status of `block/get` means that the daemon has lost the block
        if status != 200 {
            return Err(lost(format!("{status}: {}", printable(&String::from_utf8_lossy(&body)))));
        }
        Block::check(*cid, body).map(Block::into_bytes).map_err(|error| lost(error.to_string()))
    }

    /// Uploads and pins all blocks of a DAG, then downloads the root block and one leaf to check that the daemon has
    /// kept them.
    ///
    /// The root block itself is not pinned, because this would also pin blocks to which the DAG links but which are not
    /// part of it, such as the model of an artifact. Instead, the [pin list](Dag::pin_list) is pinned, which keeps only
    /// the blocks of the DAG.
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
