//! Content addressing: a value is blocks, a block is bytes whose SHA-256 is its name.
//!
//! Bytes in, bytes out; where blocks are kept is the front's affair, reached through [`Fetch`].

mod block;
mod car;
pub mod dag_cbor;
mod leaves;

pub use block::{Block, Codec, Dag, Fetch, MAX_BLOCK_BYTES, StoreError};
pub use cid::Cid;
pub use leaves::{LEAF_BYTES, join, split};
