//! Transactions on their way: signed, sent, and waited for.

use super::{Client, ClientError, Host, Params, Watch, invalid_response, parse, text};
use crate::tx::{Fee, Message, tx_hash};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::{
    Any,
    proto::cosmos::{authz::v1beta1::MsgExecResponse, base::abci::v1beta1::TxMsgData},
};
use prost::{Message as _, Name};
use serde::Deserialize;
use serde_json::json;

/// Longest time between two looks for a transaction; the first ones come sooner.
const POLL_MS: u32 = 250;
/// Time after which a transaction is given up.
const PATIENCE_MS: u32 = 600_000;
/// Time after which it is sent again: a node that was killed may have forgotten what it took.
const RESEND_MS: u32 = 5_000;

/// A transaction that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// Its name.
    pub hash: String,
    /// Answers to its messages.
    answers: Vec<Any>,
}

impl Sent {
    /// The first answer of a type, also inside of that to a `MsgExec`.
    pub fn answer<M: prost::Message + Name + Default>(&self) -> Option<M> {
        self.answers.iter().find_map(|answer| match answer.type_url.as_str() {
            url if url == M::type_url() => M::decode(&*answer.value).ok(),
            // the answers inside have no types; a session sends one message at a time
            url if url == MsgExecResponse::type_url() => {
                let inside = MsgExecResponse::decode(&*answer.value).ok()?;
                inside.results.first().and_then(|answer| M::decode(&**answer).ok())
            }
            _ => None,
        })
    }
}

impl<H: Host> Client<H> {
    /// Signs a message of the miner's, sends it, and waits until it ran. The node's fee is the granter's to pay where there
    /// is one, else the session's own; where they own too little, the chain's pool's, if it has one.
    pub async fn send(&self, message: Message) -> Result<Sent, ClientError> {
        self.send_all(vec![message]).await
    }

    /// The same, of messages that happen all together or not at all.
    pub async fn send_all(&self, messages: Vec<Message>) -> Result<Sent, ClientError> {
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
        let sequence = account.sequence.parse().map_err(|_| invalid_response(&path, "a sequence that is no number"))?;
        let Params { chain_id, min_fee, fee_pool } = self.params().await?;
        let (messages, granter) = match &self.granter {
            Some(granter) => (vec![Message::Exec(self.address().to_owned(), messages)], Some(granter.clone())),
            None => (messages, None),
        };
        let newcomer = min_fee > 0 && fee_pool.is_some() && self.balance(self.miner()).await? < min_fee;
        let granter = if newcomer { fee_pool } else { granter.filter(|_| min_fee > 0) };
        let fee = Fee { amount: min_fee, granter };
        self.broadcast(&self.key.sign(&chain_id, sequence, &fee, &messages)?).await
    }

    /// Sends a signed transaction, again now and then, and waits until it ran. Sending it again is no harm.
    async fn broadcast(&self, tx: &[u8]) -> Result<Sent, ClientError> {
        #[derive(Deserialize)]
        struct TxResponse {
            #[serde(with = "text")]
            height: u64,
            code: u32,
            raw_log: String,
            data: String,
        }
        #[derive(Deserialize)]
        struct Answer {
            tx_response: TxResponse,
        }
        let hash = tx_hash(tx);
        let body = json!({ "tx_bytes": BASE64.encode(tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
        let path = "/cosmos/tx/v1beta1/txs";
        let done = |TxResponse { code, raw_log, data, .. }: TxResponse| match code {
            0 => {
                let answers = answers(&data).ok_or_else(|| invalid_response(path, "data that is no TxMsgData"))?;
                Ok(Sent { hash: hash.clone(), answers })
            }
            code => Err(ClientError::Failed { hash: hash.clone(), code, log: raw_log }),
        };
        let found = format!("{path}/{hash}");
        let (mut watch, mut pause, mut send_at) = (Watch::default(), POLL_MS / 16, 0);
        while watch.waited_ms() < PATIENCE_MS {
            let mut refused = None;
            if watch.waited_ms() >= send_at {
                send_at = watch.waited_ms() + RESEND_MS;
                let answer = self.ask(path, Some(("application/json", body.as_bytes()))).await?;
                let Answer { tx_response } = parse(path, &answer)?;
                refused = (tx_response.code != 0).then_some(tx_response);
            }
            match (self.json::<Answer>(&found).await, refused) {
                (Ok(Answer { tx_response }), _) => {
                    self.host.saw(tx_response.height);
                    return done(tx_response);
                }
                // refused when sent again and in no block: it never will be
                (Err(ClientError::Refused { status: 404, .. }), Some(refused)) => return done(refused),
                (Err(ClientError::Refused { status: 404, .. }), None) => watch.wait(self, pause).await?,
                (Err(error), _) => return Err(error),
            }
            pause = (pause * 2).min(POLL_MS);
        }
        Err(ClientError::Lost(hash))
    }
}

/// Reads `TxMsgData` in hexadecimal.
fn answers(data: &str) -> Option<Vec<Any>> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(data.as_bytes()).ok()?;
    Some(TxMsgData::decode(&*bytes).ok()?.msg_responses)
}
