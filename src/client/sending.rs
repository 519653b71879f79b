//! Signs transactions, sends them to a node, and waits until the chain has executed them.

use super::{
    Client, ClientError, Connection, ProgressMonitor, Timer, TxParams, connection::send, invalid_response, parse, text,
};
use crate::tx::{Fee, Message, MinimumFee, tx_hash};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cosmrs::{
    Any,
    proto::cosmos::{authz::v1beta1::MsgExecResponse, base::abci::v1beta1::TxMsgData},
};
use prost::{Message as _, Name};
use serde::Deserialize;
use serde_json::json;

/// The longest pause between two requests for the result of a transaction, in milliseconds. The first pause is 1/16 of
/// it, and each later pause is twice as long as the one before.
const POLL_MS: u32 = 250;
/// The time after which a transaction counts as lost if no block contains it, in milliseconds.
const TIMEOUT_MS: u32 = 600_000;
/// The time after which a transaction without a result is sent again, in milliseconds. A node that crashed and was
/// restarted may have lost it.
const RESEND_MS: u32 = 5_000;

/// A transaction that was executed successfully.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutedTx {
    /// Hash that identifies the transaction.
    pub hash: String,
    /// The fee that the transaction stated, in micro-units.
    pub fee: u64,
    /// The ledger's responses to the messages of the transaction, in the same order.
    responses: Vec<Any>,
}

impl ExecutedTx {
    /// Returns the first response of type `M`. If a message was sent inside a `MsgExec` (the message that executes
    /// others in a granter's name), its response is taken out of the response to the `MsgExec`.
    pub fn response<M: prost::Message + Name + Default>(&self) -> Option<M> {
        self.responses.iter().find_map(|response| match response.type_url.as_str() {
            url if url == M::type_url() => M::decode(&*response.value).ok(),
            // inner responses have no type URL; the first one is the correct one, because a session sends one message
            // at a time
            url if url == MsgExecResponse::type_url() => {
                let inside = MsgExecResponse::decode(&*response.value).ok()?;
                inside.results.first().and_then(|response| M::decode(&**response).ok())
            }
            _ => None,
        })
    }
}

impl<H: Connection + Timer> Client<H> {
    /// Sends a message of the miner in a signed transaction, and waits until the transaction is executed.
    ///
    /// If the client acts for a granter, the granter pays the fee; otherwise, the account of the client's key pays it.
    /// If the balance of that account is less than the fee, the transaction asks the chain to waive the fee.
    pub async fn send(&self, message: Message) -> Result<ExecutedTx, ClientError> {
        self.send_all(vec![message]).await
    }

    /// Sends several messages of the miner in one signed transaction, and waits until the transaction is executed. If
    /// one of the messages fails, none of them takes effect. [`send`](Self::send) describes who pays the fee.
    pub async fn send_all(&self, messages: Vec<Message>) -> Result<ExecutedTx, ClientError> {
        #[derive(Deserialize)]
        struct Account {
            sequence: String,
        }
        #[derive(Deserialize)]
        struct AccountResponse {
            account: Account,
        }
        let path = format!("/cosmos/auth/v1beta1/accounts/{}", self.address());
        let AccountResponse { account } = self.json(&path).await?;
        let sequence = account.sequence.parse().map_err(|_| invalid_response(&path, "the sequence is not a number"))?;
        let TxParams { chain_id, minimum_fee, fee_waiver } = self.params().await?;
        let (messages, granter) = match &self.granter {
            Some(granter) => (vec![Message::Exec(self.address().to_owned(), messages)], Some(granter.clone())),
            None => (messages, None),
        };
        let sign = |fee: Fee| self.key.sign(&chain_id, sequence, &fee, &messages);
        if minimum_fee == MinimumFee::default() || Message::all_are_duties(&messages) {
            return self.broadcast(&sign(Fee::default())?, 0).await;
        }
        // the final amount has no more digits, so the transaction does not become larger
        let longest = Fee { amount: u64::MAX, granter: granter.clone().or(fee_waiver.clone()) };
        let amount = minimum_fee.of(sign(longest)?.len(), &messages, sequence == 0);
        let is_newcomer = fee_waiver.is_some() && self.balance(self.miner()).await? < amount;
        let granter = if is_newcomer { fee_waiver } else { granter };
        self.broadcast(&sign(Fee { amount, granter })?, amount).await
    }

    /// Sends a signed transaction and waits until it is executed. Until then, the transaction is sent again every five
    /// seconds. This is safe because the sequence number in the transaction lets the chain execute it only once.
    async fn broadcast(&self, tx: &[u8], fee: u64) -> Result<ExecutedTx, ClientError> {
        #[derive(Deserialize)]
        struct TxResult {
            #[serde(with = "text")]
            height: u64,
            code: u32,
            raw_log: String,
            data: String,
        }
        #[derive(Deserialize)]
        struct TxResponse {
            tx_response: TxResult,
        }
        let hash = tx_hash(tx);
        let body = json!({ "tx_bytes": BASE64.encode(tx), "mode": "BROADCAST_MODE_SYNC" }).to_string();
        let path = "/cosmos/tx/v1beta1/txs";
        let outcome = |TxResult { code, raw_log, data, .. }: TxResult| match code {
            0 => {
                let responses =
                    responses(&data).ok_or_else(|| invalid_response(path, "the data is not a TxMsgData"))?;
                Ok(ExecutedTx { hash: hash.clone(), fee, responses })
            }
            code => Err(ClientError::Failed { hash: hash.clone(), code, log: raw_log }),
        };
        let result_path = format!("{path}/{hash}");
        let (mut progress, mut pause_ms, mut send_at_ms) = (ProgressMonitor::default(), POLL_MS / 16, 0);
        while progress.waited_ms() < TIMEOUT_MS {
            let mut refused = None;
            if progress.waited_ms() >= send_at_ms {
                send_at_ms = progress.waited_ms() + RESEND_MS;
                let response = send(self.host(), path, Some(("application/json", body.as_bytes()))).await?;
                let TxResponse { tx_response } = parse(path, &response)?;
                refused = (tx_response.code != 0).then_some(tx_response);
            }
            match (self.json::<TxResponse>(&result_path).await, refused) {
                (Ok(TxResponse { tx_response }), _) => {
                    self.host().observe_height(tx_response.height);
                    return outcome(tx_response);
                }
                // the node refused the transaction and no block contains it, so it will never be executed
                (Err(ClientError::Refused { status: 404, .. }), Some(refused)) => return outcome(refused),
                (Err(ClientError::Refused { status: 404, .. }), None) => progress.wait(self, pause_ms).await?,
                (Err(error), _) => return Err(error),
            }
            pause_ms = (pause_ms * 2).min(POLL_MS);
        }
        Err(ClientError::Lost(hash))
    }
}

/// Decodes a `TxMsgData` (the Cosmos SDK's list of the responses to a transaction's messages) from hexadecimal digits,
/// and returns the responses. Returns `None` if the encoding is invalid.
fn responses(data: &str) -> Option<Vec<Any>> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(data.as_bytes()).ok()?;
    Some(TxMsgData::decode(&*bytes).ok()?.msg_responses)
}
