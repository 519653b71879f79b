//! A client of a node: the routes of a Cosmos node, of an IPFS gateway and of a Kubo daemon, as far as miners need them.
//!
//! | route | |
//! |---|---|
//! | `GET /r3mes/wgpu/v1/job` | what is trained: chain id, model, round |
//! | `GET /remes/remes/v1/params` | chain id and fee |
//! | `GET /remes/remes/v1/task_pool/active`, `/{pool}/available_chunks` | what can be claimed |
//! | `GET /r3mes/wgpu/v1/tasks/{address}` | the task that an address holds |
//! | `GET /remes/remes/v1/stored_gradient/{id}` | where a submission stands |
//! | `GET /remes/remes/v1/miner_score/{address}` | what is in escrow |
//! | `GET /r3mes/wgpu/v1/challenges/{address}`, `/aggregations/{address}` | what a verifier or a proposer is to do |
//! | `GET /r3mes/wgpu/v1/disputes` | what a challenger may doubt, and how disputes stand |
//! | `GET /ipfs/{cid}?format=raw`, `POST /api/v0/block/put` | blocks |
//! | `GET /ipfs/{cid}?format=car` | adapters and artifacts |
//! | `GET /cosmos/auth/v1beta1/accounts/{address}` | an account's sequence |
//! | `POST /cosmos/tx/v1beta1/txs`, `GET /cosmos/tx/v1beta1/txs/{hash}` | transactions |
//! | `GET /cosmos/bank/v1beta1/balances/{address}` | a balance |
//! | `GET /cosmos/authz/v1beta1/grants`, `GET /cosmos/feegrant/v1beta1/allowance/{granter}/{grantee}` | a session |

mod disputes;
mod duties;
mod endpoints;
mod fetch;
pub mod gateway;
mod incoming;
mod put;
mod sending;
mod sessions;
pub mod stores;
mod watch;

pub use disputes::{Claimed, Docket, GivenAnswer, OpenDispute, Watched};
pub use duties::{AggregationInput, AggregationJob, Duty, Registered, Stored};
pub use endpoints::{Endpoints, Unfit};
pub use fetch::{Blocks, FetchError};
pub(crate) use put::put_blocks;
pub use sending::Sent;
pub use sessions::Granted;
pub use watch::Watch;

use crate::{
    store::{Cid, StoreError},
    tx::{SessionKey, TxError, code},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::ops::ControlFlow;

/// What a client needs of the program around it.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Host {
    /// Asks the node by a path like `/health`; fails only where no answer comes.
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline>;
    /// Asks for a block: the node first, then any gateways, by their numbers; `None` where there is no such gateway.
    async fn gateway(&self, at: usize, path: &str) -> Option<Result<Response, Offline>> {
        if at == 0 { Some(self.request(Request { path, body: None }).await) } else { None }
    }
    /// Asks for a DAG as [for a block](Self::gateway), but gives `take` the bytes as they come, also those of an answer
    /// that breaks off; of a refusal none. Answers its status.
    async fn dag(&self, at: usize, path: &str, take: Take<'_>) -> Option<Result<u16, Offline>> {
        let answer = self.gateway(at, path).await?;
        Some(answer.map(|Response { status, body }| {
            if (200..300).contains(&status) {
                // it is all that there is
                let _ = take(&body);
            }
            status
        }))
    }
    /// The gateway of this number was passed over for the next.
    fn passed_over(&self, _at: usize, _why: &ClientError) {}
    /// A block of this height was seen.
    fn saw(&self, _height: u64) {}
    /// The node was of no use: another is asked from now on, where there is one.
    fn another(&self) {}
    /// Waits.
    async fn sleep(&self, milliseconds: u32);
    /// The bytes of a block that was kept, if they still are; they are checked.
    async fn kept(&self, _cid: &Cid) -> Option<Vec<u8>> {
        None
    }
    /// A block that was got: worth keeping.
    async fn keep(&self, _cid: &Cid, _bytes: &[u8]) {}
    /// What was saved last, if it still is; it is checked.
    async fn saved(&self) -> Option<Vec<u8>> {
        None
    }
    /// Saves the work at hand, over what was saved before.
    async fn save(&self, _bytes: &[u8]) {}
}

/// Takes the bytes of an answer as they come, and breaks where it wants no more.
pub type Take<'a> = &'a mut dyn FnMut(&[u8]) -> ControlFlow<()>;

/// A request to the node.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// From the first slash on.
    pub path: &'a str,
    /// What is posted, and its content type; without it the request is a GET.
    pub body: Option<(&'a str, &'a [u8])>,
}

/// A node's answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// As HTTP has it.
    pub status: u16,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// No answer: why, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node does not answer: {0}")]
pub struct Offline(pub String);

/// The route of [`JobInfo`].
const JOB: &str = "/r3mes/wgpu/v1/job";
/// Most bytes that a host reads of one answer.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Why something asked of a node was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody there: worth trying again.
    #[error(transparent)]
    Offline(#[from] Offline),
    /// The node says no.
    #[error("the node answers {status}: {message}")]
    Refused {
        /// As HTTP has it.
        status: u16,
        /// As the node puts it.
        message: String,
    },
    /// The transaction ran, and failed.
    #[error("transaction {hash} failed with code {code}: {log}")]
    Failed {
        /// Its name.
        hash: String,
        /// Not 0.
        code: u32,
        /// As the node puts it.
        log: String,
    },
    /// The node took a transaction and never ran it.
    #[error("transaction {0} is in no block after ten minutes")]
    Lost(String),
    /// No block comes.
    #[error("the chain stands at height {height}: no block came for {seconds} s")]
    Halted {
        /// Of the last block.
        height: u64,
        /// So long it was watched.
        seconds: u32,
    },
    /// The node has not got what it said that it stored.
    #[error("the node took {cid} and does not give it back: {reason}")]
    BlockLost {
        /// A block.
        cid: Box<Cid>,
        /// What came instead.
        reason: String,
    },
    /// Not a node of this program's kind, or an older one.
    #[error("the node lacks the route {0}, which a chain's own nodes need not have: r3mes-wgpu nodes do")]
    Unsupported(String),
    /// An answer that makes no sense.
    #[error("the node's answer to {path} makes no sense: {reason}")]
    InvalidResponse {
        /// What was asked.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Blocks that are not what their name says, or too large.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A transaction could not be made.
    #[error(transparent)]
    Chain(#[from] TxError),
}

/// What to hope for after something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same may work later, or with another node.
    Retryable,
    /// Another node may do better; this one will not.
    Failover,
    /// Nothing: the chain itself says no, or this program is at fault.
    Fatal,
}

impl ClientError {
    /// Nobody answered, the node is busy or stands, or it speaks for itself alone.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Offline(_) | Self::Halted { .. } | Self::Lost(_) | Self::BlockLost { .. } => ErrorClass::Retryable,
            Self::Refused { status: 429 | 502..=504, .. } => ErrorClass::Retryable,
            Self::Failed { code: code::MEMPOOL_FULL | code::WRONG_SEQUENCE, .. } => ErrorClass::Retryable,
            Self::Refused { .. } | Self::InvalidResponse { .. } | Self::Unsupported(_) | Self::Store(_) => {
                ErrorClass::Failover
            }
            Self::Failed { .. } | Self::Chain(_) => ErrorClass::Fatal,
        }
    }

    /// Whether the same may work later.
    pub fn is_temporary(&self) -> bool {
        self.class() == ErrorClass::Retryable
    }
}

/// What a node trains, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// What signatures are bound to.
    pub chain_id: String,
    /// Hash of the genesis, hexadecimal.
    pub genesis: String,
    /// Of the last block.
    pub height: u64,
    /// The chain's time, in seconds since 1970: of its last block, or of the one that comes.
    pub time: u64,
    /// By which specification.
    pub arithmetic_version: u32,
    /// CID of the model's manifest.
    pub model: String,
    /// Of the adapter.
    pub rank: u32,
    /// The adapted linears of a layer.
    pub targets: Vec<String>,
    /// Rounds closed.
    pub round: u64,
    /// Accepted ever.
    pub accepted: u64,
    /// Micro-units for an accepted task.
    pub reward: u64,
}

/// A task that a miner holds, and what its submission must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTask {
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// Its round.
    pub round: u64,
    /// The miner's shard in this round.
    pub shard_id: u64,
    /// The round's seed.
    #[serde(with = "text")]
    pub global_seed: u64,
}

/// What JSON has as text: CIDs, and numbers that may exceed 2^53.
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

/// What transactions must say and pay.
struct Params {
    chain_id: String,
    min_fee: u64,
    /// The account that pays newcomers' fees, on chains that have one.
    fee_pool: Option<String>,
}

/// A node, and the key that signs what is sent to it.
pub struct Client<H> {
    host: H,
    key: SessionKey,
    granter: Option<String>,
}

impl<H: Host> Client<H> {
    /// Asks nothing yet.
    pub fn new(host: H, key: SessionKey) -> Self {
        Self { host, key, granter: None }
    }

    /// The same, for the account that granted a session to the key.
    pub fn for_granter(self, granter: String) -> Self {
        Self { granter: Some(granter), ..self }
    }

    /// The program around.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The address that signs.
    pub fn address(&self) -> &str {
        self.key.address()
    }

    /// As [`SessionKey::secret`].
    pub fn secret(&self, purpose: &str) -> Result<[u8; 32], ClientError> {
        Ok(self.key.secret(purpose)?)
    }

    /// The address that mines: the granter's, else the one that signs.
    pub fn miner(&self) -> &str {
        self.granter.as_deref().unwrap_or(self.address())
    }

    /// What is trained.
    pub async fn job(&self) -> Result<JobInfo, ClientError> {
        self.json(JOB).await
    }

    /// Micro-units that the node asks for a transaction.
    pub async fn min_fee(&self) -> Result<u64, ClientError> {
        Ok(self.params().await?.min_fee)
    }

    async fn params(&self) -> Result<Params, ClientError> {
        #[derive(Deserialize)]
        struct Told {
            chain_id: String,
            min_fee: String,
            fee_pool: Option<String>,
        }
        #[derive(Deserialize)]
        struct Answer {
            params: Told,
        }
        let path = "/remes/remes/v1/params";
        let Answer { params: Told { chain_id, min_fee, fee_pool } } = self.json(path).await?;
        let min_fee = min_fee.parse().map_err(|_| invalid_response(path, "a fee that is no number"))?;
        Ok(Params { chain_id, min_fee, fee_pool })
    }

    /// As [`gateway::model_file`].
    pub async fn model_file(&self, name: &str) -> Result<Vec<u8>, ClientError> {
        gateway::model_file(&self.host, name).await
    }

    /// Micro-units that an address owns.
    pub async fn balance(&self, address: &str) -> Result<u64, ClientError> {
        #[derive(Deserialize)]
        struct Coin {
            amount: String,
        }
        #[derive(Deserialize)]
        struct Balances {
            balances: Vec<Coin>,
        }
        let path = format!("/cosmos/bank/v1beta1/balances/{address}");
        let Balances { balances } = self.json(&path).await?;
        let amount = balances.first().map_or("0", |coin| &coin.amount);
        amount.parse().map_err(|_| invalid_response(&path, "an amount that is no number"))
    }

    /// Chunks of the active pool that can be claimed, at most `limit`: the pool's number and theirs.
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
        struct Chunk {
            chunk_id: String,
        }
        #[derive(Deserialize)]
        struct Chunks {
            chunks: Vec<Chunk>,
        }
        let path = "/remes/remes/v1/task_pool/active";
        let Pools { pools } = self.json(path).await?;
        let Some(pool) = pools.first() else { return Ok(None) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| invalid_response(path, "a number that is none"));
        let pool = number(&pool.pool_id)?;
        let Chunks { chunks } =
            self.json(&format!("/remes/remes/v1/task_pool/{pool}/available_chunks?limit={limit}")).await?;
        let chunks = chunks.iter().map(|chunk| number(&chunk.chunk_id)).collect::<Result<_, _>>()?;
        Ok(Some((pool, chunks)))
    }

    /// The task that the miner holds.
    pub async fn held_task(&self) -> Result<Option<HeldTask>, ClientError> {
        #[derive(Deserialize)]
        struct Answer {
            held: Option<HeldTask>,
        }
        let Answer { held } = self.json(&format!("/r3mes/wgpu/v1/tasks/{}", self.miner())).await?;
        Ok(held)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        match self.get(path).await {
            Err(ClientError::Refused { status: 404 | 405 | 501, .. }) if path.starts_with("/r3mes/") => {
                Err(ClientError::Unsupported(path.to_owned()))
            }
            answer => parse(path, &answer?),
        }
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.ask(path, None).await
    }

    async fn ask(&self, path: &str, body: Option<(&str, &[u8])>) -> Result<Vec<u8>, ClientError> {
        gateway::ask(&self.host, path, body).await
    }
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| invalid_response(path, &error.to_string()))
}

fn invalid_response(path: &str, reason: &str) -> ClientError {
    ClientError::InvalidResponse { path: path.to_owned(), reason: reason.to_owned() }
}
