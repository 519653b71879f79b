//! A Kubo daemon by its RPC. <https://docs.ipfs.tech/reference/kubo/rpc/>

use super::{Failure, parse};
use crate::{
    client::{Host, Request, Response, gateway::ask, put_blocks},
    store::{Block, Cid, Dag},
};
use serde::Deserialize;

/// Most addresses of a daemon that are passed on.
const MAX_ADDRESSES: usize = 16;

/// A daemon.
pub struct Kubo<H> {
    url: String,
    pub(super) host: H,
}

impl<H: Host> Kubo<H> {
    /// The daemon that `host` asks; `url` is for people.
    pub fn new(url: String, host: H) -> Self {
        Self { url, host }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stores all blocks of a DAG and pins them, then reads the root and one other block back.
    ///
    /// The pin is of the DAG's [pin_list](Dag::pin_list): a recursive one of the root itself would follow its links to blocks
    /// that are nobody's business.
    pub async fn put(&self, dag: &Dag) -> Result<(), Failure> {
        let pin_list = dag.pin_list()?;
        put_blocks(&self.host, &dag.blocks).await.map_err(Failure::of)?;
        put_blocks(&self.host, std::slice::from_ref(&pin_list)).await.map_err(Failure::of)?;
        self.pin(&pin_list.cid()).await?;
        for cid in dag.spot_check_cids() {
            self.get(&cid).await?;
        }
        Ok(())
    }

    /// Pins a block and all that it links to, of what the daemon has.
    pub async fn pin(&self, root: &Cid) -> Result<(), Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Pinned {
            pins: Vec<String>,
        }
        let Pinned { pins } = parse(&self.call(&format!("pin/add?arg={root}&offline=true")).await?)?;
        if pins == [root.to_string()] {
            return Ok(());
        }
        Err(Failure::OtherCid { expected: *root, found: super::words(&pins.join(" ")) })
    }

    /// A block of the daemon's own, checked.
    pub async fn get(&self, cid: &Cid) -> Result<Vec<u8>, Failure> {
        let forgot = |reason: String| Failure::BlockLost { cid: *cid, reason };
        let path = format!("/api/v0/block/get?arg={cid}&offline=true");
        // not by `ask`: to say no is to have forgotten
        let Response { status, body } = self.post(&path).await?;
        if status != 200 {
            return Err(forgot(format!("{status}: {}", super::words(&String::from_utf8_lossy(&body)))));
        }
        Block::check(*cid, body).map(Block::into_bytes).map_err(|error| forgot(error.to_string()))
    }

    /// Where other daemons reach this one.
    pub async fn addresses(&self) -> Result<Vec<String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Identity {
            addresses: Option<Vec<String>>,
        }
        let Identity { addresses } = parse(&self.call("id").await?)?;
        Ok(addresses.unwrap_or_default().into_iter().take(MAX_ADDRESSES).collect())
    }

    async fn call(&self, command: &str) -> Result<Vec<u8>, Failure> {
        ask(&self.host, &format!("/api/v0/{command}"), NOTHING).await.map_err(Failure::of)
    }

    async fn post(&self, path: &str) -> Result<Response, Failure> {
        self.host.request(Request { path, body: NOTHING }).await.map_err(|offline| Failure::Offline(offline.0))
    }
}

/// Commands are posted, also without a body.
const NOTHING: Option<(&str, &[u8])> = Some(("application/octet-stream", &[]));
