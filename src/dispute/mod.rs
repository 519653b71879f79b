//! Who is right where two disagree about a task: a game of some dozen moves whose last one is a proof of at most 64 KiB.
//!
//! A [`Program`] is a task's dispatches as data, a [`Trace`] what each of them left, as roots. An [`Answer`] stands for a
//! claim with a trace; a [`Game`] narrows a doubt about it down to one step of one word's [`word_program`], which anybody redoes.
//! A [`Prover`] sequences the task itself and knows every move. `docs/DISPUTES.md` has the moves and the sizes.

pub mod judge;
#[cfg(feature = "compute")]
pub mod prover;

#[cfg(all(test, feature = "compute"))]
mod tests;
