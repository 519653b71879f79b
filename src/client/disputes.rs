//! What a node tells challengers: which gradients may be doubted, and how the open disputes stand.

use super::{Client, ClientError, Host, text};
use crate::{
    dispute::judge::{DisputeError, Game},
    store::Cid,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

/// A gradient, by what a recomputation needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Its number.
    pub stored_gradient_id: u64,
    /// CID of its task.
    #[serde(with = "text")]
    pub task: Cid,
    /// Root of its artifact.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// Its commitment, hexadecimal.
    pub gradient_hash: String,
}

/// A gradient that may be doubted, or whose verifiers' words may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Which.
    pub gradient: Claimed,
    /// Whether a dispute may be opened.
    pub disputable: bool,
    /// The challenge in which verifiers found a mismatch that nobody appealed against yet.
    pub appealable: Option<u64>,
}

/// An open dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDispute {
    /// Its number.
    pub dispute_id: u64,
    /// What it is about.
    pub gradient: Claimed,
    /// Who doubts it.
    pub challenger: String,
    /// Whether the next block takes answers.
    pub answerable: bool,
    /// By number.
    pub answers: Vec<GivenAnswer>,
}

/// An answer in a dispute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Who gave it.
    pub sender: String,
    /// The game over it, as [`Game::encode`], base64.
    game: String,
}

/// All that challengers need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Docket {
    /// In the order of their numbers.
    pub gradients: Vec<Watched>,
    /// In the order of their numbers.
    pub disputes: Vec<OpenDispute>,
}

impl GivenAnswer {
    /// With the game as it stands.
    pub fn new(sender: String, game: &Game) -> Self {
        Self { sender, game: BASE64.encode(game.encode()) }
    }

    /// The game over it.
    pub fn game(&self) -> Result<Game, DisputeError> {
        let bytes = BASE64.decode(&self.game).map_err(|_| DisputeError::Root("a game in base64"))?;
        Game::decode(&bytes)
    }
}

impl<H: Host> Client<H> {
    /// What may be doubted, and what is.
    pub async fn docket(&self) -> Result<Docket, ClientError> {
        self.json("/r3mes/wgpu/v1/disputes").await
    }
}
