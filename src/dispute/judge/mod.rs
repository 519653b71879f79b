//! The judge: the code that decides a dispute from the moves alone, without a backend, a model or training data. The
//! ledger runs this code.

pub mod artifact_encoding;
pub(super) mod context;
mod dispute;
pub(super) mod error;
pub(super) mod game;
pub(super) mod memory;
pub(super) mod moves;
pub(super) mod phase;
pub(super) mod program;
pub(super) mod proof;
pub mod tensor;
pub(super) mod trace;
pub mod tree;
pub mod word_program;

pub use context::DisputeContext;
pub use dispute::{Dispute, MAX_ANSWERS};
pub use error::DisputeError;
pub use game::{Answer, Game};
pub use moves::{LeafChallenge, MAX_MOVE_BYTES, Move, Role};
pub use phase::{Bisection, DisputedDispatch, DisputedWord, Phase, Side};
pub use program::{BoundBuffer, BufferSource, DispatchEntry, Origin, Subject};
pub use proof::{Path, Proof, RevealedBuffer, RevealedTiles, RootProof};
pub use trace::{TaskOutcome, Trace, TraceLeaf};
pub use tree::Hash;
pub use word_program::WordPlace;
