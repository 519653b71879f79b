//! Requests of challengers: the gradients that can be disputed, and the open disputes.

use super::{Client, ClientError, Connection, text};
use crate::{
    dispute::judge::{DisputeError, Game},
    store::Cid,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

/// A submitted gradient, with the fields that are needed to recompute and check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedGradient {
    /// ID of the gradient.
    pub stored_gradient_id: u64,
    /// CID of the task.
    #[serde(with = "text")]
    pub task: Cid,
    /// CID of the artifact's manifest.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// The submission's commitment, hexadecimal.
    pub gradient_hash: String,
}

/// A gradient that can be disputed, or one on which verifiers' attestations can be appealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputableGradient {
    /// The disputable gradient.
    pub gradient: ClaimedGradient,
    /// Whether a dispute about the gradient can be opened now.
    pub disputable: bool,
    /// ID of the challenge in which verifiers attested a mismatch, if nobody has appealed against it yet.
    pub appealable: Option<u64>,
}

/// A dispute that is not decided yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDispute {
    /// ID of the dispute.
    pub dispute_id: u64,
    /// The disputed gradient.
    pub gradient: ClaimedGradient,
    /// Address of the challenger.
    pub challenger: String,
    /// Whether the next block can still contain an answer.
    pub answerable: bool,
    /// The answers, in the order of their indices.
    pub answers: Vec<GivenAnswer>,
}

/// An answer in a dispute, with the game that follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Address of the account that gave the answer.
    pub sender: String,
    /// State of the game about this answer: [`Game::encode`] in base64.
    game: String,
}

/// The response to a challenger's request: what can be disputed or appealed, and what is in dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeList {
    /// The gradients that can be disputed or appealed about, in the order of their IDs.
    pub gradients: Vec<DisputableGradient>,
    /// The open disputes, in the order of their IDs.
    pub disputes: Vec<OpenDispute>,
}

impl GivenAnswer {
    /// Creates an answer from its sender and the current state of its game.
    pub fn new(sender: String, game: &Game) -> Self {
        Self { sender, game: BASE64.encode(game.encode()) }
    }

    /// Decodes the game about this answer.
    pub fn game(&self) -> Result<Game, DisputeError> {
        let bytes = BASE64.decode(&self.game).map_err(|_| DisputeError::Root("a game in base64"))?;
        Game::decode(&bytes)
    }
}

impl<H: Connection> Client<H> {
    /// Returns the gradients that can be disputed and the open disputes.
    pub async fn disputes(&self) -> Result<DisputeList, ClientError> {
        self.json("/r3mes/wgpu/v1/disputes").await
    }
}
