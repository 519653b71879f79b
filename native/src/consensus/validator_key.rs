//! Tells the ledger the public key of this replica's CometBFT, so that CometBFT gets the voting power that follows from
//! the operator's stake.

use super::CometRpc;
use crate::node::Node;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use r3mes_wgpu::{
    ledger::ConsensusKey,
    tx::{Message, MsgSetConsensusKey},
};
use serde_json::json;
use std::sync::Arc;

/// The public key of this replica's CometBFT, and the ledger that should contain it.
pub(crate) struct ValidatorKey {
    node: Arc<Node>,
    rpc: CometRpc,
    /// `None` until CometBFT has stated its key.
    key: Option<ConsensusKey>,
}

impl ValidatorKey {
    pub(crate) fn new(node: Arc<Node>, rpc: CometRpc) -> Self {
        Self { node, rpc, key: None }
    }

    /// Returns the message with which `operator` must set the key in the ledger. Returns `None` if the ledger already
    /// has the key, if the operator can have no voting power, or if CometBFT does not answer.
    pub(crate) fn due(&mut self, operator: &str) -> Option<Message> {
        let ledger = self.node.ledger();
        let state = ledger.state();
        if !state.assigns_voting_power() || !state.is_validator(operator) {
            return None;
        }
        if self.key.is_none() {
            self.key = self.ask();
        }
        let key = self.key?;
        let message = MsgSetConsensusKey { node_address: operator.to_owned(), key: key.to_vec() };
        (state.consensus_key(operator) != Some(&key)).then_some(Message::SetConsensusKey(message))
    }

    fn ask(&self) -> Option<ConsensusKey> {
        let status = self.rpc.call("status", &json!({})).ok()?;
        let key = BASE64.decode(status["result"]["validator_info"]["pub_key"]["value"].as_str()?).ok()?;
        <[u8; 32]>::try_from(key).ok().map(ConsensusKey::new)
    }
}
