//! A dispute about the claimed outcome of a task. It consists of one game for each answer that defends the claim. The
//! dispute is dismissed if at least one answer wins its game.
//!
//! Anybody may answer for a miner. A wrong answer costs only the account that gave it, because other answers can still
//! win.

use super::{
    error::DisputeError,
    game::{Answer, Game},
    moves::Move,
    phase::Side,
    program::Subject,
    trace::TaskOutcome,
};
use serde::{Deserialize, Serialize};

/// The largest number of answers in one dispute.
pub const MAX_ANSWERS: usize = 64;

/// An open dispute: the disputed claim about the outcome of a task, and one game for each answer that defends the
/// claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispute {
    subject: Subject,
    outcome: TaskOutcome,
    games: Vec<Game>,
    deadline: u64,
    turn_blocks: u64,
}

impl Dispute {
    /// Opens a dispute in block `height` about the claimed `outcome` of a task. Answers may be given during the next
    /// `turn_blocks` blocks, and each turn of a game also lasts `turn_blocks` blocks.
    pub fn new(subject: Subject, outcome: TaskOutcome, height: u64, turn_blocks: u64) -> Self {
        Self { subject, outcome, games: Vec::new(), deadline: height.saturating_add(turn_blocks), turn_blocks }
    }

    /// Adds an answer that was given in block `height`, and starts the game about it. Returns the index of the answer.
    /// Fails if the answer comes too late, there are too many answers, or the answer does not prove the claimed
    /// outcome.
    pub fn answer(&mut self, answer: &Answer, height: u64) -> Result<usize, DisputeError> {
        if height > self.deadline {
            return Err(DisputeError::Late { height, deadline: self.deadline });
        }
        let number = self.games.len();
        super::error::below("answer", number as u64, MAX_ANSWERS)?;
        let game = Game::new(self.subject.clone(), self.outcome, answer, height, self.turn_blocks)?;
        self.games.push(game);
        Ok(number)
    }

    /// Makes the move `step` in the game about the answer with index `answer`. Block `height` contains the move. Fails
    /// if there is no such answer, or if the game refuses the move.
    pub fn apply(&mut self, answer: usize, step: &Move, height: u64) -> Result<(), DisputeError> {
        let answers = self.games.len();
        let answer = super::error::below("answer", answer as u64, answers)?;
        self.games[answer].apply(step, height)
    }

    /// Returns the height of the last block in which an answer may be given.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Returns the games of the dispute: one for each answer, in the order in which the answers were given.
    pub fn games(&self) -> &[Game] {
        &self.games
    }

    /// Returns the game that decides about the answer with index `answer`; `None` if there is no such answer.
    pub fn game(&self, answer: usize) -> Option<&Game> {
        self.games.get(answer)
    }

    /// Ends each game whose current turn has a deadline before block `height`: the side whose turn it is loses the
    /// game. Then returns the side that has won the dispute. The miner wins as soon as one answer has won its game. The
    /// challenger wins when no more answers may be given and all answers have lost. Otherwise the result is `None`.
    pub fn settle(&mut self, height: u64) -> Option<Side> {
        self.games.iter_mut().for_each(|game| game.expire(height));
        let mut winners = self.games.iter().map(|game| game.winner());
        if winners.clone().any(|winner| winner == Some(Side::Miner)) {
            return Some(Side::Miner);
        }
        (height > self.deadline && winners.all(|winner| winner.is_some())).then_some(Side::Challenger)
    }
}
