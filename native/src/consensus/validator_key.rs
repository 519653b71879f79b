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
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The time between two attempts to ask CometBFT for its key, or to set the key in the ledger. If an attempt fails, the
/// operator must still have time for its duties.
const RETRY: Duration = Duration::from_secs(60);

/// The public key of this replica's CometBFT, and the ledger that should contain it.
pub(crate) struct ValidatorKey {
    node: Arc<Node>,
    rpc: CometRpc,
    /// `None` until CometBFT has stated its key.
    key: Option<ConsensusKey>,
    /// The time before which no further attempt is made.
    next_attempt: Instant,
}

impl ValidatorKey {
    pub(crate) fn new(node: Arc<Node>, rpc: CometRpc) -> Self {
        Self { node, rpc, key: None, next_attempt: Instant::now() }
    }

    /// Returns the message with which `operator` must set the key in the ledger. Returns `None` if the ledger already
    /// has the key, if the operator can have no voting power, if CometBFT does not answer, or if the last attempt was less
    /// than [`RETRY`] ago.
    pub(crate) fn due(&mut self, operator: &str) -> Option<Message> {
        let ledger = self.node.ledger();
        let state = ledger.state();
        if !state.assigns_voting_power() || !state.is_validator(operator) {
            return None;
        }
        if self.key.is_some_and(|key| state.consensus_key(operator) == Some(&key)) || Instant::now() < self.next_attempt
        {
            return None;
        }
        self.next_attempt = Instant::now() + RETRY;
        self.key = self.key.or_else(|| self.ask());
        let key = self.key.filter(|key| state.consensus_key(operator) != Some(key))?;
        let message = MsgSetConsensusKey { node_address: operator.to_owned(), key: key.to_vec() };
        Some(Message::SetConsensusKey(message))
    }

    fn ask(&self) -> Option<ConsensusKey> {
        let status = self.rpc.call("status", &json!({})).ok()?;
        let key = BASE64.decode(status["result"]["validator_info"]["pub_key"]["value"].as_str()?).ok()?;
        <[u8; 32]>::try_from(key).ok().map(ConsensusKey::new)
    }
}
