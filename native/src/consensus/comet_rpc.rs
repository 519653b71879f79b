//! A client of CometBFT 0.38's JSON-RPC: <https://docs.cometbft.com/v0.38/rpc/>.

use crate::client::{agent::agent, sources::base_url};
use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::Refusal,
    tx::{MAX_TX_BYTES, code},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The time after which a request without a complete response fails.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum size of a response in bytes. A response can contain a block in base64, which has less than twice the
/// size of the block.
const MAX_RESPONSE_BYTES: u64 = 256 << 20;

/// A client of the JSON-RPC of one CometBFT process.
#[derive(Clone)]
pub(crate) struct CometRpc {
    url: String,
    agent: ureq::Agent,
}

impl CometRpc {
    /// Creates a client for the RPC at `url`, without connecting. Returns an error if `url` is not an http(s) URL.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let url = base_url("--consensus", url)?;
        Ok(Self { agent: agent(&url, TIMEOUT, 0)?, url })
    }

    /// Calls an RPC method and returns the JSON-RPC response, which contains either a `result` or an `error`. Returns
    /// an error only if CometBFT sends no valid response.
    pub(crate) fn call(&self, method: &str, params: &Value) -> Result<Value> {
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let ask = || -> Result<Value> {
            let request = self.agent.post(&self.url).header("content-type", "application/json");
            let mut response = request.send(call.to_string())?;
            let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec()?;
            Ok(serde_json::from_slice(&body)?)
        };
        ask().with_context(|| format!("no valid response from CometBFT at {}", self.url))
    }

    /// Submits a transaction to CometBFT's mempool. Returns `Ok(Err(refusal))` if the transaction was refused, and
    /// `Err` after any other failure, such as a missing response.
    pub(crate) fn broadcast(&self, tx: &[u8]) -> Result<Result<(), Refusal>> {
        if tx.len() > MAX_TX_BYTES {
            return Ok(Err(Refusal {
                code: code::MALFORMED,
                log: format!("the transaction has more than {MAX_TX_BYTES} bytes"),
            }));
        }
        admitted(&self.call("broadcast_tx_sync", &json!({ "tx": BASE64.encode(tx) }))?)
    }
}

/// Parses CometBFT's response to `broadcast_tx_sync`. Returns `Ok(Err(refusal))` if the transaction was refused.
fn admitted(response: &Value) -> Result<Result<(), Refusal>> {
    let result = &response["result"];
    if let Some(code) = result["code"].as_u64() {
        let log = result["log"].as_str().unwrap_or_default().to_owned();
        let code = u32::try_from(code).unwrap_or(code::MALFORMED);
        return Ok(if code == 0 { Ok(()) } else { Err(Refusal { code, log }) });
    }
    match response["error"]["data"].as_str().unwrap_or_default() {
        // submitting a transaction again while it is pending counts as success
        why if why.contains("tx already exists in cache") => Ok(Ok(())),
        why if why.contains("mempool is full") => Ok(Err(Refusal { code: code::MEMPOOL_FULL, log: why.to_owned() })),
        why => Err(anyhow!("CometBFT rejected the transaction: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_to_broadcast_are_told_apart() {
        let result = |code: u32| json!({ "result": { "code": code, "log": "words" } });
        assert_eq!(admitted(&result(0)).unwrap(), Ok(()));
        assert_eq!(admitted(&result(32)).unwrap(), Err(Refusal { code: 32, log: "words".to_owned() }));
        let error = |data: &str| json!({ "error": { "code": -32603, "message": "Internal error", "data": data } });
        assert_eq!(admitted(&error("tx already exists in cache")).unwrap(), Ok(()));
        let full = admitted(&error("mempool is full: number of txs 5000 (max: 5000)")).unwrap().unwrap_err();
        assert_eq!(full.code, code::MEMPOOL_FULL);
        assert!(admitted(&error("unknown failure")).is_err());
        assert!(admitted(&json!([])).is_err());
    }
}
