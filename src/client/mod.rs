//! A client of an R3MES node, used by miners, verifiers, proposers and challengers. A node offers routes of a Cosmos
//! node, of an IPFS gateway and of a Kubo daemon. The client uses these:
//!
//! | Route | What the route returns or accepts |
//! |---|---|
//! | `GET /r3mes/wgpu/v1/job` | the training job: chain ID, model, current round |
//! | `GET /remes/remes/v1/params` | the chain ID and the required fee |
//! | `GET /remes/remes/v1/task_pool/active`, `/{pool}/available_chunks` | chunks that can be claimed |
//! | `GET /r3mes/wgpu/v1/tasks/{address}` | the task that a miner has claimed |
//! | `GET /remes/remes/v1/stored_gradient/{id}` | the status of a submitted gradient |
//! | `GET /remes/remes/v1/miner_score/{address}` | a miner's rewards in escrow |
//! | `GET /remes/remes/v1/node_registration/{address}` | the roles and the stake of a verifier or a proposer |
//! | `GET /r3mes/wgpu/v1/challenges/{address}`, `/aggregations/{address}` | what a verifier or proposer must do |
//! | `GET /r3mes/wgpu/v1/disputes` | the gradients that can be disputed, and the open disputes |
//! | `GET /ipfs/{cid}?format=raw`, `POST /api/v0/block/put` | single IPFS blocks |
//! | `GET /ipfs/{cid}?format=car` | all blocks of an adapter or an artifact |
//! | `GET /r3mes/wgpu/v1/model/{name}` | files of the trained model |
//! | `GET /cosmos/auth/v1beta1/accounts/{address}` | the sequence number of an account |
//! | `POST /cosmos/tx/v1beta1/txs`, `GET /cosmos/tx/v1beta1/txs/{hash}` | transactions and their results |
//! | `GET /cosmos/bank/v1beta1/balances/{address}` | the balance of an account |
//! | `GET /cosmos/authz/v1beta1/grants` | the messages that one account may send for another |
//! | `GET /cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}` | the fees that one account will pay for another |
//!
//! A program that uses the client implements up to five traits: always [`Connection`] and [`Timer`]; [`BlockSource`]
//! and [`BlockCache`] if the client fetches blocks; and [`WorkFile`] if the client mines.

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
pub use duties::{
    AggregationInput, AggregationJob, GradientStatus, NodeRegistration, VerificationDuty, VerifierDuties,
};
pub use endpoints::{EndpointError, Endpoints};
pub use error::{Classify, ClientError, ErrorClass};
pub use progress::ProgressMonitor;
pub use sending::ExecutedTx;
pub use sessions::ActiveGrants;

use crate::{
    ledger::Ledger,
    store::Cid,
    tx::{MinimumFee, SessionKey},
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The interface that a program must implement so that an agent (a miner, verifier, proposer or challenger) can run in
/// it. For a miner, the program must also implement [`WorkFile`].
pub trait Host: Connection + Timer + BlockSource + BlockCache {}

impl<H: Connection + Timer + BlockSource + BlockCache> Host for H {}

/// Path of the route that returns the [`JobInfo`] of a node.
const JOB: &str = "/r3mes/wgpu/v1/job";

/// What a node reports about its chain: the training job that all miners of the chain share, and the chain's progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// ID of the chain. Every signed transaction contains it, so a transaction is valid on one chain only.
    pub chain_id: String,
    /// Hash of the genesis, the initial state of the chain, in hexadecimal.
    pub genesis: String,
    /// Height of the latest block.
    pub height: u64,
    /// The time of the latest block or the node's clock, whichever is later, in seconds since 1970 (UTC).
    pub time: u64,
    /// Version of the specification of the exact arithmetic by which all gradients of the chain are computed.
    pub arithmetic_version: u32,
    /// CID of the trained model, as text.
    pub model: String,
    /// Rank of the LoRA adapter that is trained.
    pub rank: u32,
    /// Names of the linear layers that have an adapter, the same in each transformer layer.
    pub targets: Vec<String>,
    /// Index of the current training round. The first round has the index 0.
    pub round: u64,
    /// The number of gradients that the ledger has accepted in all rounds so far.
    pub accepted: u64,
    /// Reward for each accepted gradient, in micro-units.
    pub reward: u64,
}

impl JobInfo {
    /// Returns a node's description of the job and the progress of its chain, read from the node's ledger. `now` is the
    /// time that the node's clock shows, in seconds since 1970.
    pub fn of(ledger: &Ledger, now: u64) -> Self {
        let (genesis, head) = (ledger.genesis(), ledger.state().head());
        Self {
            chain_id: genesis.chain_id.clone(),
            genesis: HEXLOWER.encode(&genesis.hash()),
            height: head.height,
            time: head.time.max(now),
            arithmetic_version: genesis.job.arithmetic_version,
            model: genesis.job.model.to_string(),
            rank: genesis.job.rank,
            targets: genesis.job.targets.clone(),
            round: head.round,
            accepted: head.accepted_total,
            reward: genesis.params.reward,
        }
    }
}

/// A task that a miner has claimed, with the values that the miner must repeat when it submits the gradient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// CID of the claimed task.
    #[serde(with = "text")]
    pub task: Cid,
    /// The number of leading zero bits that the proof of work of the submission must have; 0 if none is required.
    #[serde(default)]
    pub proof_of_work_bits: u32,
    /// Index of the round in which the task was claimed.
    pub round: u64,
    /// A number from 0 to 99 that the ledger derives from the miner's address and the round of the claim. The miner
    /// must repeat it in the submission: the network's message formats have a field for it, named `shard_id`.
    pub shard_id: u64,
    /// Seed of the round, which the ledger derives from the block with which the round began.
    #[serde(with = "text")]
    pub global_seed: u64,
}

/// Serialization of values as JSON strings, for serde: CIDs, and integers that may be greater than 2^53.
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

/// The parameters of the chain that are needed to build a transaction.
struct TxParams {
    chain_id: String,
    minimum_fee: MinimumFee,
    /// Address by which an account with too few coins asks the chain to waive a fee: the transaction states this
    /// address as the fee's granter. `None` if the chain waives no fees.
    fee_waiver: Option<String>,
}

/// A client of an R3MES node, with the key with which it signs transactions. `H` is the type that connects the client
/// to the node.
pub struct Client<H> {
    host: H,
    key: SessionKey,
    granter: Option<String>,
}

impl<H> Client<H> {
    /// Creates a client that acts for the account of `key`. No request is sent yet.
    pub fn new(host: H, key: SessionKey) -> Self {
        Self { host, key, granter: None }
    }

    /// Makes the client act for the account `granter`, which must have granted a session (the right to send messages in
    /// its name) to the client's key.
    pub fn for_granter(self, granter: String) -> Self {
        Self { granter: Some(granter), ..self }
    }

    /// Returns the host: the part of the program that connects the client to the node.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// Returns the address of the key with which this client signs transactions.
    pub fn address(&self) -> &str {
        self.key.address()
    }

    /// Derives 32 secret bytes from the client's key. They are always the same for the same `purpose`; see
    /// [`SessionKey::secret`].
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], ClientError> {
        Ok(self.key.secret(purpose)?)
    }

    /// Returns the address of the account that mines. If the client acts for a granter, this is the granter's address;
    /// otherwise, it is the address of the client's own key.
    pub fn miner(&self) -> &str {
        self.granter.as_deref().unwrap_or(self.address())
    }
}

impl<H: Connection> Client<H> {
    /// Requests the description of the training job and the state of the chain.
    pub async fn job(&self) -> Result<JobInfo, ClientError> {
        self.json(JOB).await
    }

    /// Requests the minimum fee of transactions.
    pub async fn minimum_fee(&self) -> Result<MinimumFee, ClientError> {
        Ok(self.params().await?.minimum_fee)
    }

    async fn params(&self) -> Result<TxParams, ClientError> {
        #[derive(Deserialize)]
        struct ChainParams {
            chain_id: String,
            min_fee: String,
            #[serde(default)]
            fee_per_byte: u64,
            #[serde(default)]
            fee_per_row: u64,
            fee_waiver: Option<String>,
        }
        #[derive(Deserialize)]
        struct ParamsResponse {
            params: ChainParams,
        }
        let path = "/remes/remes/v1/params";
        let ParamsResponse { params } = self.json(path).await?;
        let ChainParams { chain_id, min_fee, fee_per_byte: per_byte, fee_per_row: per_row, fee_waiver } = params;
        let floor = min_fee.parse().map_err(|_| invalid_response(path, "the fee is not a number"))?;
        Ok(TxParams { chain_id, minimum_fee: MinimumFee { floor, per_byte, per_row }, fee_waiver })
    }

    /// Downloads a file of the model that the node's network trains, by its name; see the function [`model_file`].
    pub async fn model_file(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        model_file(&self.host, name).await
    }

    /// Requests the balance of the account with this address, in micro-units.
    pub async fn balance(&self, address: &str) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Balances {
            balances: Vec<Coin>,
        }
        let path = format!("/cosmos/bank/v1beta1/balances/{address}");
        let Balances { balances } = self.json(&path).await?;
        amount(&path, &balances)
    }

    /// Returns the ID of the active task pool and the IDs of at most `limit` chunks of the pool that a miner can claim.
    /// Returns `None` if no pool is active.
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
        let number = |text: &str| text.parse::<u64>().map_err(|_| invalid_response(path, "an ID is not a number"));
        let pool = number(&pool.pool_id)?;
        let AvailableChunks { chunks } =
            self.json(&format!("/remes/remes/v1/task_pool/{pool}/available_chunks?limit={limit}")).await?;
        let chunks = chunks.iter().map(|chunk| number(&chunk.chunk_id)).collect::<Result<_, _>>()?;
        Ok(Some((pool, chunks)))
    }

    /// Requests the task that the miner has claimed and not yet submitted; `None` if there is no such task.
    pub async fn held_task(&self) -> Result<Option<HeldTask>, ClientError> {
        #[derive(Deserialize)]
        struct TaskResponse {
            held: Option<HeldTask>,
        }
        let TaskResponse { held } = self.json(&format!("/r3mes/wgpu/v1/tasks/{}", self.miner())).await?;
        Ok(held)
    }

    /// Sends a GET request for `path` to the node and parses the JSON of the response.
    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        match connection::send(&self.host, path, None).await {
            Err(ClientError::Refused { status: 404 | 405 | 501, .. }) if path.starts_with("/r3mes/") => {
                Err(ClientError::Unsupported(path.to_owned()))
            }
            body => parse(path, &body?),
        }
    }
}

/// A coin in a JSON response. Only the field `amount` is read.
#[derive(Deserialize)]
struct Coin {
    amount: String,
}

/// Returns the amount of the first coin, or 0 if the list is empty. If the amount is not a number, the error message
/// names `path`, the path of the request.
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
