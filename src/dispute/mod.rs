//! Disputes about the result of a task. Two parties that disagree about the result play a game of a few dozen moves.
//! The last move is a proof of at most 64 KiB that shows which of them is right.
//!
//! A program describes, as data, all dispatches (kernel launches) of a task. The Merkle root of the program is one of
//! the facts on which both parties agree (the [`Subject`](judge::Subject)). A [`Trace`](judge::Trace) consists of
//! hashes of what each dispatch wrote. An [`Answer`](judge::Answer) defends a claimed result and commits to a trace. A
//! [`Game`](judge::Game) about the answer narrows the disagreement down to one step in the computation of a single word
//! (see [word programs](judge::word_program)). The judge then recomputes this step. A prover runs the task again and
//! computes all moves of one party. `docs/DISPUTES.md` describes the moves and their sizes.

pub mod judge;
#[cfg(feature = "compute")]
pub mod prover;

#[cfg(all(test, feature = "compute"))]
mod tests;
