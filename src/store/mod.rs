//! Content addressing: a value is blocks, a block is bytes whose SHA-256 is its name.
//!
//! Bytes in, bytes out; where blocks are kept is the front's affair, reached through [`Fetch`].

mod block;
mod car;
pub mod dag_cbor;
mod dag_pb;
mod leaves;
mod links;
mod pin_list;
pub mod unixfs;

pub use block::{Block, Codec, Dag, Fetch, MAX_BLOCK_BYTES, StoreError, version_1};
pub use car::{CarReader, MAX_CAR_BYTES, car_header, car_section};
pub use cid::Cid;
pub use leaves::{LEAF_BYTES, join, split};
pub use links::links;
