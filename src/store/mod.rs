//! Content addressing: encodes values as blocks. Each block is addressed by its CID, which contains the SHA-256 hash of
//! the block's bytes.
//!
//! This module performs no input or output. It reads blocks by calling [`Fetch`] functions, which the caller supplies.
//! Storing blocks is also left to the caller.

mod block;
mod car;
pub mod dag_cbor;
mod dag_pb;
mod leaves;
mod links;
mod pin_list;
pub mod unixfs;

pub use block::{Block, Codec, Dag, Fetch, MAX_BLOCK_BYTES, StoreError, inline_bytes};
pub use car::{CarReader, MAX_CAR_BYTES, car_header, car_section};
pub use cid::Cid;
pub use leaves::{LEAF_BYTES, join, split};
pub use links::links;
