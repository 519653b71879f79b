//! The engine by its JSON-RPC: CometBFT 0.38's, <https://docs.cometbft.com/v0.38/rpc/>.

use crate::client::sources::base;
use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::Refusal,
    tx::{MAX_TX_BYTES, code},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer: a block's are twice its own, in base64 and JSON.
const MAX_ANSWER_BYTES: u64 = 256 << 20;

/// A CometBFT by its URL.
#[derive(Clone)]
pub(crate) struct Engine {
    url: String,
    agent: ureq::Agent,
}

impl Engine {
    /// Asks nothing yet.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Ok(Self { url: base("--consensus", url)?, agent: config.new_agent() })
    }

    /// The answer to a call, with its `result` or `error`; fails where none comes.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Result<Value> {
        let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let ask = || -> Result<Value> {
            let request = self.agent.post(&self.url).header("content-type", "application/json");
            let mut answer = request.send(asked.to_string())?;
            let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
            Ok(serde_json::from_slice(&body)?)
        };
        ask().with_context(|| format!("the consensus engine at {} does not answer", self.url))
    }

    /// Hands a transaction over, and tells whether it waits for a block now; fails where no answer comes.
    pub(crate) fn broadcast(&self, tx: &[u8]) -> Result<Result<(), Refusal>> {
        if tx.len() > MAX_TX_BYTES {
            return Ok(Err(Refusal { code: code::MALFORMED, log: format!("more than {MAX_TX_BYTES} bytes") }));
        }
        admitted(&self.call("broadcast_tx_sync", &json!({ "tx": BASE64.encode(tx) }))?)
    }
}

/// Reads the answer to `broadcast_tx_sync`.
fn admitted(answer: &Value) -> Result<Result<(), Refusal>> {
    let result = &answer["result"];
    if let Some(code) = result["code"].as_u64() {
        let log = result["log"].as_str().unwrap_or_default().to_owned();
        let code = u32::try_from(code).unwrap_or(code::MALFORMED);
        return Ok(if code == 0 { Ok(()) } else { Err(Refusal { code, log }) });
    }
    match answer["error"]["data"].as_str().unwrap_or_default() {
        // one that waits already is well
        why if why.contains("tx already exists in cache") => Ok(Ok(())),
        why if why.contains("mempool is full") => Ok(Err(Refusal { code: code::MEMPOOL_FULL, log: why.to_owned() })),
        why => Err(anyhow!("the consensus engine did not take the transaction: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_engine_says_of_a_transaction() {
        let result = |code: u32| json!({ "result": { "code": code, "log": "words" } });
        assert_eq!(admitted(&result(0)).unwrap(), Ok(()));
        assert_eq!(admitted(&result(32)).unwrap(), Err(Refusal { code: 32, log: "words".to_owned() }));
        let error = |data: &str| json!({ "error": { "code": -32603, "message": "Internal error", "data": data } });
        assert_eq!(admitted(&error("tx already exists in cache")).unwrap(), Ok(()));
        let full = admitted(&error("mempool is full: number of txs 5000 (max: 5000)")).unwrap().unwrap_err();
        assert_eq!(full.code, code::MEMPOOL_FULL);
        assert!(admitted(&error("the node is on fire")).is_err());
        assert!(admitted(&json!([])).is_err());
    }
}
