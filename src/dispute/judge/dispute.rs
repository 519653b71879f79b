//! A dispute: a claim, and a game for every answer that was given for it. The claim stands where one answer does.
//!
//! Anybody may answer for a miner, and a wrong answer costs only whoever gave it: it can fall without the claim.

use super::{
    error::DisputeError,
    game::{Answer, Game},
    moves::Move,
    phase::Side,
    program::Subject,
    trace::TaskOutcome,
};
use serde::{Deserialize, Serialize};

/// Most answers to one challenge.
pub const MAX_ANSWERS: usize = 64;

/// A challenged claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    subject: Subject,
    outcome: TaskOutcome,
    games: Vec<Game>,
    deadline: u64,
    patience: u64,
}

impl Dispute {
    /// A challenge in block `height`: answers and turns have `patience` blocks each.
    pub fn new(subject: Subject, outcome: TaskOutcome, height: u64, patience: u64) -> Self {
        Self { subject, outcome, games: Vec::new(), deadline: height.saturating_add(patience), patience }
    }

    /// Gives an answer; its number.
    pub fn answer(&mut self, answer: &Answer, height: u64) -> Result<usize, DisputeError> {
        if height > self.deadline {
            return Err(DisputeError::Late { height, deadline: self.deadline });
        }
        let number = self.games.len();
        super::error::below("answer", number as u64, MAX_ANSWERS)?;
        let game = Game::new(self.subject.clone(), self.outcome, answer, height, self.patience)?;
        self.games.push(game);
        Ok(number)
    }

    /// Makes a move in the game over an answer.
    pub fn apply(&mut self, answer: usize, found: &Move, height: u64) -> Result<(), DisputeError> {
        let answers = self.games.len();
        let answer = super::error::below("answer", answer as u64, answers)?;
        self.games[answer].apply(found, height)
    }

    /// The last block in which an answer is taken.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// The games, by answer.
    pub fn games(&self) -> &[Game] {
        &self.games
    }

    /// The game over an answer.
    pub fn game(&self, answer: usize) -> Option<&Game> {
        self.games.get(answer)
    }

    /// Who has won by block `height`: the miner once an answer stands; the challenger once no more may be given and all
    /// have fallen.
    pub fn settle(&mut self, height: u64) -> Option<Side> {
        self.games.iter_mut().for_each(|game| game.expire(height));
        let mut winners = self.games.iter().map(|game| game.winner());
        if winners.clone().any(|winner| winner == Some(Side::Miner)) {
            return Some(Side::Miner);
        }
        (height > self.deadline && winners.all(|winner| winner.is_some())).then_some(Side::Challenger)
    }
}
