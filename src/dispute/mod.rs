//! Who is right where two disagree about a task: a game of some dozen moves whose last one is a proof of at most 64 KiB.
//!
//! A [`Program`] is a task's dispatches as data, a [`Trace`] what each of them left, as roots. An [`Answer`] stands for a
//! claim with a trace; a [`Game`] narrows a doubt about it down to one step of one word's [`tape`], which anybody redoes.
//! A [`Party`] plays the task itself and knows every move. `docs/DISPUTES.md` has the moves and the sizes.

mod answers;
mod attestation;
pub mod closing;
mod error;
mod game;
mod ground;
mod memory;
mod moves;
mod party;
mod phase;
mod play;
mod program;
mod proof;
pub mod tape;
pub mod tensor;
mod trace;
pub mod tree;

pub use answers::{Dispute, MAX_ANSWERS};
pub use attestation::Chosen;
pub use error::DisputeError;
pub use game::{Answer, Game};
pub use ground::{Ground, Packing};
pub use moves::{Doubt, MAX_MOVE_BYTES, Maker, Move};
pub use party::Party;
pub use phase::{Asked, Descent, Phase, Side, Spot};
#[cfg(test)]
pub(crate) use play::Lie;
pub use play::{Material, Replay, Snapshot};
pub use program::{Bound, Entry, Origin, Program, Source, Subject};
pub use proof::{Known, Path, Proof, Tensor, Tiles};
pub use tape::Place;
pub use trace::{Outcome, Trace, TraceLeaf};
pub use tree::Hash;

#[cfg(test)]
mod tests;
