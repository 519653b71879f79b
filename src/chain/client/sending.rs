//! Transactions on their way: signed, sent, and waited for.

use super::{Client, ClientError, Host, Params, parse, senseless};
use crate::chain::{Fee, Message, tx_hash};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::json;

/// Between two looks for a transaction.
const POLL_MS: u32 = 250;
/// Looks for a transaction before giving up: ten minutes.
const POLLS: u32 = 2400;
/// Looks before it is sent again: a node that was killed may have forgotten what it took.
const POLLS_A_SENDING: u32 = 20;

impl<H: Host> Client<H> {
    /// Signs a message of the miner's, sends it, and waits until it ran; returns the transaction's hash. It pays the
    /// node's fee: of the granter's balance where there is a granter, else of the session's own.
    pub async fn send(&self, message: Message) -> Result<String, ClientError> {
        self.send_all(vec![message]).await
    }

    /// The same, of messages that happen all together or not at all.
    pub async fn send_all(&self, messages: Vec<Message>) -> Result<String, ClientError> {
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
        let Params { chain_id, min_fee } = self.params().await?;
        let (messages, granter) = match &self.granter {
            Some(granter) => (vec![Message::Exec(self.address().to_owned(), messages)], Some(granter.clone())),
            None => (messages, None),
        };
        let fee = Fee { amount: min_fee, granter: granter.filter(|_| min_fee > 0) };
        self.broadcast(&self.key.sign(&chain_id, sequence, &fee, &messages)?).await
    }

    /// Sends a signed transaction, again now and then, and waits until it ran. Sending it again is no harm.
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
        let done = |TxResponse { code, raw_log }: TxResponse| match code {
            0 => Ok(hash.clone()),
            code => Err(ClientError::Failed { hash: hash.clone(), code, log: raw_log }),
        };
        let found = format!("{path}/{hash}");
        for look in 0..POLLS {
            let mut refused = None;
            if look % POLLS_A_SENDING == 0 {
                let answer = self.ask(path, Some(("application/json", body.as_bytes()))).await?;
                let Answer { tx_response } = parse(path, &answer)?;
                refused = (tx_response.code != 0).then_some(tx_response);
            }
            match (self.json::<Answer>(&found).await, refused) {
                (Ok(Answer { tx_response }), _) => return done(tx_response),
                // refused when sent again and in no block: it never will be
                (Err(ClientError::Refused { status: 404, .. }), Some(refused)) => return done(refused),
                (Err(ClientError::Refused { status: 404, .. }), None) => self.host.sleep(POLL_MS).await,
                (Err(error), _) => return Err(error),
            }
        }
        Err(ClientError::Lost(hash))
    }
}
