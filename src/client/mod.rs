//! A client of a node: the routes of a Cosmos node, of an IPFS gateway and of a Kubo daemon that miners and operators
//! use.
//!
//! | Route | Content |
//! |---|---|
//! | `GET /r3mes/wgpu/v1/job` | what is trained: chain id, model, round |
//! | `GET /remes/remes/v1/params` | chain id and fee |
//! | `GET /remes/remes/v1/task_pool/active`, `/{pool}/available_chunks` | the chunks that can be claimed |
//! | `GET /r3mes/wgpu/v1/tasks/{address}` | the task that an address has claimed |
//! | `GET /remes/remes/v1/stored_gradient/{id}` | the status of a submission |
//! | `GET /remes/remes/v1/miner_score/{address}` | the amount in escrow |
//! | `GET /r3mes/wgpu/v1/challenges/{address}`, `/aggregations/{address}` | the duties of a verifier or a proposer |
//! | `GET /r3mes/wgpu/v1/disputes` | the gradients that can be disputed, and the open disputes |
//! | `GET /ipfs/{cid}?format=raw`, `POST /api/v0/block/put` | blocks |
//! | `GET /ipfs/{cid}?format=car` | adapters and artifacts |
//! | `GET /cosmos/auth/v1beta1/accounts/{address}` | the sequence number of an account |
//! | `POST /cosmos/tx/v1beta1/txs`, `GET /cosmos/tx/v1beta1/txs/{hash}` | transactions |
//! | `GET /cosmos/bank/v1beta1/balances/{address}` | the balance of an account |
//! | `GET /cosmos/authz/v1beta1/grants`, `GET /cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}` | a session |
//!
//! The program around a client implements small traits: [`Connection`] and [`Timer`] for every client, [`BlockSource`]
//! and [`BlockCache`] if it fetches blocks, and [`WorkFile`] if it mines.

mod backoff;
pub mod blocks;
mod connection;
mod disputes;
mod duties;
mod endpoints;
mod error;
mod progress;
mod sending;
mod sessions;
pub mod stores;

pub use backoff::{Backoff, Retry, RetryPolicy};
pub use blocks::{BlockCache, BlockSource, BlockStore, Blocks, ChunkSink, FetchError};
pub use connection::{Connection, MAX_RESPONSE_BYTES, NoResponse, Request, Response, Timer, WorkFile, model_file};
pub use disputes::{ClaimedGradient, DisputableGradient, DisputeList, GivenAnswer, OpenDispute};
pub use duties::{AggregationInput, AggregationJob, GradientStatus, NodeRegistration, VerificationDuty};
pub use endpoints::{EndpointError, Endpoints};
pub use error::{Classify, ClientError, ErrorClass};
pub use progress::ProgressMonitor;
pub use sending::ExecutedTx;
pub use sessions::ActiveGrants;

use crate::{store::Cid, tx::SessionKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// All traits that agents need the program around them to implement, except [`WorkFile`].
pub trait Host: Connection + Timer + BlockSource + BlockCache {}

impl<H: Connection + Timer + BlockSource + BlockCache> Host for H {}

/// Path of the route that returns [`JobInfo`].
const JOB: &str = "/r3mes/wgpu/v1/job";

/// The job that a node trains, and the state of its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// The chain id, which every signature must cover.
    pub chain_id: String,
    /// Hash of the genesis, hexadecimal.
    pub genesis: String,
    /// Height of the last block.
    pub height: u64,
    /// The chain's time in seconds since 1970: the time of the last block, or of the next one.
    pub time: u64,
    /// Version of the arithmetic that the network computes with.
    pub arithmetic_version: u32,
    /// CID of the model's manifest.
    pub model: String,
    /// Rank of the trained adapter.
    pub rank: u32,
    /// Names of the linear layers that are adapted in each transformer layer.
    pub targets: Vec<String>,
    /// The number of closed rounds, which is also the index of the current round.
    pub round: u64,
    /// The number of gradients accepted since the genesis.
    pub accepted: u64,
    /// Reward for an accepted task, in micro-units.
    pub reward: u64,
}

/// A task that a miner has claimed, with the fields that the submission must repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// Index of the task's round.
    pub round: u64,
    /// ID of the miner's shard in this round.
    pub shard_id: u64,
    /// Seed of the task's round.
    #[serde(with = "text")]
    pub global_seed: u64,
}

/// Serde of values that JSON carries as text: CIDs, and integers that may exceed 2^53.
mod text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{fmt::Display, str::FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The chain's parameters that a transaction must follow.
struct TxParams {
    chain_id: String,
    min_fee: u64,
    /// The account that pays the fees of newcomers, on chains that have one.
    fee_pool: Option<String>,
}

/// A client of one node, with the key that signs its transactions.
pub struct Client<H> {
    host: H,
    key: SessionKey,
    granter: Option<String>,
}

impl<H> Client<H> {
    /// Creates a client. Sends nothing yet.
    pub fn new(host: H, key: SessionKey) -> Self {
        Self { host, key, granter: None }
    }

    /// Makes the client act for the account `granter`, which has granted a session to the client's key.
    pub fn for_granter(self, granter: String) -> Self {
        Self { granter: Some(granter), ..self }
    }

    /// Returns the host: the program around the client, which connects it to the node.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Returns the address of the client's own key, which signs its transactions.
    pub fn address(&self) -> &str {
        self.key.address()
    }

    /// Derives a secret from the key for a purpose. See [`SessionKey::secret`].
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], ClientError> {
        Ok(self.key.secret(purpose)?)
    }

    /// Returns the address that mines: the granter's if there is one, else the key's own.
    pub fn miner(&self) -> &str {
        self.granter.as_deref().unwrap_or(self.address())
    }
}

impl<H: Connection> Client<H> {
    /// Returns what the node trains, and the state of its chain.
    pub async fn job(&self) -> Result<JobInfo, ClientError> {
        self.json(JOB).await
    }

    /// Returns the fee that the node requires for a transaction, in micro-units.
    pub async fn min_fee(&self) -> Result<u64, ClientError> {
        Ok(self.params().await?.min_fee)
    }

    async fn params(&self) -> Result<TxParams, ClientError> {
        #[derive(Deserialize)]
        struct ChainParams {
            chain_id: String,
            min_fee: String,
            fee_pool: Option<String>,
        }
        #[derive(Deserialize)]
        struct ParamsResponse {
            params: ChainParams,
        }
        let path = "/remes/remes/v1/params";
        let ParamsResponse { params: ChainParams { chain_id, min_fee, fee_pool } } = self.json(path).await?;
        let min_fee = min_fee.parse().map_err(|_| invalid_response(path, "the fee is not a number"))?;
        Ok(TxParams { chain_id, min_fee, fee_pool })
    }

    /// Returns a file of the node's model. See the function [`model_file`] for the names.
    pub async fn model_file(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        model_file(&self.host, name).await
    }

    /// Returns the balance of an address, in micro-units.
    pub async fn balance(&self, address: &str) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Balances {
            balances: Vec<Coin>,
        }
        let path = format!("/cosmos/bank/v1beta1/balances/{address}");
        let Balances { balances } = self.json(&path).await?;
        amount(&path, &balances)
    }

    /// Returns the ID of the active pool and the IDs of at most `limit` of its chunks that can be claimed. Returns
    /// `None` if no pool is active.
    pub async fn available(&self, limit: u32) -> Result<Option<(u64, Vec<u64>)>, ClientError> {
        #[derive(Deserialize)]
        struct Pool {
            pool_id: String,
        }
        #[derive(Deserialize)]
        struct Pools {
            pools: Vec<Pool>,
        }
        #[derive(Deserialize)]
        struct AvailableChunk {
            chunk_id: String,
        }
        #[derive(Deserialize)]
        struct AvailableChunks {
            chunks: Vec<AvailableChunk>,
        }
        let path = "/remes/remes/v1/task_pool/active";
        let Pools { pools } = self.json(path).await?;
        let Some(pool) = pools.first() else { return Ok(None) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| invalid_response(path, "an id is not a number"));
        let pool = number(&pool.pool_id)?;
        let AvailableChunks { chunks } =
            self.json(&format!("/remes/remes/v1/task_pool/{pool}/available_chunks?limit={limit}")).await?;
        let chunks = chunks.iter().map(|chunk| number(&chunk.chunk_id)).collect::<Result<_, _>>()?;
        Ok(Some((pool, chunks)))
    }

    /// Returns the task that the miner has claimed, or `None` if it has claimed none.
    pub async fn held_task(&self) -> Result<Option<HeldTask>, ClientError> {
        #[derive(Deserialize)]
        struct TaskResponse {
            held: Option<HeldTask>,
        }
        let TaskResponse { held } = self.json(&format!("/r3mes/wgpu/v1/tasks/{}", self.miner())).await?;
        Ok(held)
    }

    /// Requests a path of the node and parses the JSON of the response.
    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        match connection::send(&self.host, path, None).await {
            Err(ClientError::Refused { status: 404 | 405 | 501, .. }) if path.starts_with("/r3mes/") => {
                Err(ClientError::Unsupported(path.to_owned()))
            }
            body => parse(path, &body?),
        }
    }
}

/// A coin in a response, of which only the amount is read.
#[derive(Deserialize)]
struct Coin {
    amount: String,
}

/// Returns the amount of the first coin, or 0 if the list is empty. `path` is the request's, for the error message.
fn amount(path: &str, coins: &[Coin]) -> Result<u64, ClientError> {
    let amount = coins.first().map_or("0", |coin| &coin.amount);
    amount.parse().map_err(|_| invalid_response(path, "an amount is not a number"))
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| invalid_response(path, &error.to_string()))
}

fn invalid_response(path: &str, reason: &str) -> ClientError {
    ClientError::InvalidResponse { path: path.to_owned(), reason: reason.to_owned() }
}
