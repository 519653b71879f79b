//! A client of a node: the routes of a Cosmos node, of an IPFS gateway and of a Kubo daemon, as far as miners need them.
//!
//! | route | |
//! |---|---|
//! | `GET /r3mes/wgpu/v1/job` | what is trained: chain id, model, round |
//! | `GET /remes/remes/v1/task_pool/active`, `/{pool}/available_chunks` | what can be claimed |
//! | `GET /r3mes/wgpu/v1/tasks/{address}` | CID of the task that an address holds |
//! | `GET /ipfs/{cid}?format=raw`, `POST /api/v0/block/put` | blocks |
//! | `GET /cosmos/auth/v1beta1/accounts/{address}` | an account's sequence |
//! | `POST /cosmos/tx/v1beta1/txs`, `GET /cosmos/tx/v1beta1/txs/{hash}` | transactions |
//! | `GET /cosmos/bank/v1beta1/balances/{address}` | a balance |

use super::{ChainError, Message, SessionKey, gateway, tx_hash};
use crate::store::{Block, Cid, Codec, Dag, StoreError};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;

/// What a client needs of the program around it.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Host {
    /// Asks the node by a path like `/health`; fails only where no answer comes.
    async fn request(&self, request: Request<'_>) -> Result<Response, Offline>;
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

/// Most bytes that a host reads of one answer.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// Most bytes of blocks in one request.
const MAX_PUT_BYTES: usize = 8 << 20;
/// Between two looks for a transaction.
const POLL_MS: u32 = 250;
/// Looks for a transaction before giving up: ten minutes.
const POLLS: u32 = 2400;

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
    /// An answer that makes no sense.
    #[error("the node's answer to {path} makes no sense: {reason}")]
    Senseless {
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
    Chain(#[from] ChainError),
}

/// What a node trains, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// What signatures are bound to.
    pub chain_id: String,
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

/// A node, and the key that signs what is sent to it.
pub struct Client<H> {
    host: H,
    key: SessionKey,
}

impl<H: Host> Client<H> {
    /// Asks nothing yet.
    pub fn new(host: H, key: SessionKey) -> Self {
        Self { host, key }
    }

    /// The program around.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The address that signs.
    pub fn address(&self) -> &str {
        self.key.address()
    }

    /// What is trained.
    pub async fn job(&self) -> Result<JobInfo, ClientError> {
        self.json("/r3mes/wgpu/v1/job").await
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
        amount.parse().map_err(|_| senseless(&path, "an amount that is no number"))
    }

    /// CIDs of chunks of the active pool that nobody has: pool and chunk numbers.
    pub async fn available(&self) -> Result<Option<(u64, u64)>, ClientError> {
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
        let number = |text: &str| text.parse::<u64>().map_err(|_| senseless(path, "a number that is none"));
        let pool = number(&pool.pool_id)?;
        let Chunks { chunks } =
            self.json(&format!("/remes/remes/v1/task_pool/{pool}/available_chunks?limit=1")).await?;
        chunks.first().map(|chunk| Ok((pool, number(&chunk.chunk_id)?))).transpose()
    }

    /// The CID of the task that this address holds.
    pub async fn held_task(&self) -> Result<Option<(Cid, u64)>, ClientError> {
        #[derive(Deserialize)]
        struct Held {
            task: Option<String>,
            round: u64,
        }
        let path = format!("/r3mes/wgpu/v1/tasks/{}", self.address());
        let Held { task, round } = self.json(&path).await?;
        let cid = |text: String| Cid::try_from(text.as_str()).map_err(|_| senseless(&path, "a CID that is none"));
        Ok(task.map(cid).transpose()?.map(|task| (task, round)))
    }

    /// As [`gateway::block`].
    pub async fn block(&self, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        gateway::block(&self.host, codec, cid).await
    }

    /// Stores all blocks of a DAG, and checks the names that the node gives them.
    pub async fn put(&self, dag: &Dag) -> Result<(), ClientError> {
        for (codec, name) in [(Codec::Raw, "raw"), (Codec::DagCbor, "dag-cbor")] {
            let mut batch = Vec::new();
            let mut bytes = 0;
            for block in dag.blocks.iter().filter(|block| block.cid().codec() == codec.code()) {
                if bytes + block.bytes().len() > MAX_PUT_BYTES && !batch.is_empty() {
                    self.put_batch(name, &std::mem::take(&mut batch)).await?;
                    bytes = 0;
                }
                bytes += block.bytes().len();
                batch.push(block);
            }
            if !batch.is_empty() {
                self.put_batch(name, &batch).await?;
            }
        }
        Ok(())
    }

    async fn put_batch(&self, codec: &str, blocks: &[&Block]) -> Result<(), ClientError> {
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
        let path = format!("/api/v0/block/put?cid-codec={codec}&mhtype=sha2-256");
        let answer = self.ask(&path, Some((&format!("multipart/form-data; boundary={BOUNDARY}"), &body))).await?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let keys: Result<Vec<Put>, _> = lines.map(serde_json::from_slice).collect();
        let keys = keys.map_err(|error| senseless(&path, &error.to_string()))?;
        if !keys.iter().map(|put| put.key.clone()).eq(blocks.iter().map(|block| block.cid().to_string())) {
            return Err(senseless(&path, "other CIDs than those of the blocks sent"));
        }
        Ok(())
    }

    /// Signs a message, sends it, and waits until it ran; returns the transaction's hash.
    pub async fn send(&self, message: Message) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct Account {
            sequence: String,
        }
        #[derive(Deserialize)]
        struct Accounts {
            account: Account,
        }
        let path = format!("/cosmos/auth/v1beta1/accounts/{}", self.address());
        let Accounts { account } = self.json(&path).await?;
        let sequence = account.sequence.parse().map_err(|_| senseless(&path, "a sequence that is no number"))?;
        let chain_id = self.job().await?.chain_id;
        let tx = self.key.sign(&chain_id, sequence, &[message])?;
        self.broadcast(&tx).await
    }

    /// Sends a signed transaction and waits until it ran. Sending it again is no harm.
    async fn broadcast(&self, tx: &[u8]) -> Result<String, ClientError> {
        #[derive(Deserialize)]
        struct TxResponse {
            code: u32,
            raw_log: String,
        }
        #[derive(Deserialize)]
        struct Answer {
            tx_response: TxResponse,
        }
        let hash = tx_hash(tx);
        let body = json!({ "tx_bytes": BASE64.encode(tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
        let path = "/cosmos/tx/v1beta1/txs";
        let answer = self.ask(path, Some(("application/json", body.as_bytes()))).await?;
        let Answer { tx_response } = parse(path, &answer)?;
        let done = |TxResponse { code, raw_log }: TxResponse| match code {
            0 => Ok(hash.clone()),
            code => Err(ClientError::Failed { hash: hash.clone(), code, log: raw_log }),
        };
        if tx_response.code != 0 {
            return done(tx_response);
        }
        let path = format!("/cosmos/tx/v1beta1/txs/{hash}");
        for _ in 0..POLLS {
            match self.json::<Answer>(&path).await {
                Ok(Answer { tx_response }) => return done(tx_response),
                Err(ClientError::Refused { status: 404, .. }) => self.host.sleep(POLL_MS).await,
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::Lost(hash))
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(path, &self.get(path).await?)
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.ask(path, None).await
    }

    async fn ask(&self, path: &str, body: Option<(&str, &[u8])>) -> Result<Vec<u8>, ClientError> {
        gateway::ask(&self.host, path, body).await
    }
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| senseless(path, &error.to_string()))
}

fn senseless(path: &str, reason: &str) -> ClientError {
    ClientError::Senseless { path: path.to_owned(), reason: reason.to_owned() }
}
