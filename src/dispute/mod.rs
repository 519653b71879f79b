//! Disputes: two parties that disagree about a task play a game of a few dozen moves, whose last move is a proof of at
//! most 64 KiB that shows who is right.
//!
//! A program consists of the dispatches of a task as data; its root is part of the game's [`Subject`](judge::Subject).
//! A [`Trace`](judge::Trace) consists of hashes of what each dispatch wrote. An [`Answer`](judge::Answer) defends a
//! claim by a trace. A [`Game`](judge::Game) about the answer narrows the disagreement down to one step of the [word
//! program](judge::word_program) of one word, which the judge redoes. A prover runs the task again and computes every
//! move of a party. `docs/DISPUTES.md` describes the moves and their sizes.

pub mod judge;
#[cfg(feature = "compute")]
pub mod prover;

#[cfg(all(test, feature = "compute"))]
mod tests;
