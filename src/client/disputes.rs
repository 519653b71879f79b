//! The request by which a challenger gets the lists of the gradients that can be disputed and of the open disputes.

use super::{Client, ClientError, Connection, text};
use crate::{
    dispute::judge::{DisputeError, Game},
    store::Cid,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

/// A submitted gradient, described by the values that a challenger needs to recompute and check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedGradient {
    /// ID that the ledger gave to the submission of this gradient.
    pub stored_gradient_id: u64,
    /// CID of the task for which the gradient was computed.
    #[serde(with = "text")]
    pub task: Cid,
    /// CID of the root block of the artifact, the group of data blocks that contain the submitted gradient.
    #[serde(with = "text")]
    pub ipfs_hash: Cid,
    /// Hash by which the miner has committed to the task and the gradient, as 64 hexadecimal digits.
    pub gradient_hash: String,
}

/// A gradient that can be disputed, or about which the verifiers have made a finding that can be appealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputableGradient {
    /// The gradient that can be disputed, or about which a finding of verifiers can be appealed.
    pub gradient: ClaimedGradient,
    /// Whether a new dispute about the gradient can be opened now.
    pub disputable: bool,
    /// ID of the challenge in which verifiers found that the gradient is wrong. `None` if there is no such finding, if
    /// somebody has already appealed against it, or if the time for an appeal is over.
    pub appealable: Option<u64>,
}

/// A dispute that has not been decided yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDispute {
    /// ID that the ledger gave to the dispute.
    pub dispute_id: u64,
    /// The gradient that the challenger claims to be wrong.
    pub gradient: ClaimedGradient,
    /// Address of the account that opened the dispute.
    pub challenger: String,
    /// Whether there is still time to defend the gradient, that is, whether an answer in the next block would meet the
    /// deadline.
    pub answerable: bool,
    /// All answers that defend the gradient, in the order in which they were given. When a party of the dispute makes a
    /// move, the move states the index of an answer in this list.
    pub answers: Vec<GivenAnswer>,
}

/// An answer that defends a disputed gradient, and the state of the game in which the challenger attacks the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenAnswer {
    /// Address of the account that sent the answer, which need not be the miner's.
    pub sender: String,
    /// State of the game (the exchange of moves about this answer): the bytes of [`Game::encode`], in base64.
    game: String,
}

/// The list that a node returns: the gradients that can be disputed, the gradients about which a finding of verifiers
/// can be appealed, and the open disputes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisputeList {
    /// The gradients that can be disputed, or about which a finding of verifiers can be appealed, in ascending order of
    /// their IDs.
    pub gradients: Vec<DisputableGradient>,
    /// The disputes that have not been decided yet, in ascending order of their IDs.
    pub disputes: Vec<OpenDispute>,
}

impl GivenAnswer {
    /// Creates the description of an answer. `sender` is the address of the account that sent the answer. `game` is the
    /// current state of the game, the exchange of moves about the answer.
    pub fn new(sender: String, game: &Game) -> Self {
        Self { sender, game: BASE64.encode(game.encode()) }
    }

    /// Decodes the state of the game (the exchange of moves about this answer). Returns an error if the encoding is
    /// invalid.
    pub fn game(&self) -> Result<Game, DisputeError> {
        let bytes = BASE64.decode(&self.game).map_err(|_| DisputeError::Root("a game in base64"))?;
        Game::decode(&bytes)
    }
}

impl<H: Connection> Client<H> {
    /// Requests the gradients that can be disputed, those about which a finding of verifiers can be appealed, and the
    /// open disputes.
    pub async fn disputes(&self) -> Result<DisputeList, ClientError> {
        self.json("/r3mes/wgpu/v1/disputes").await
    }
}
