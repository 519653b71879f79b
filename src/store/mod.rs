//! Content addressing: encodes values as blocks, and names each block by a CID, which contains the SHA-256 of its
//! bytes.
//!
//! This module does no IO. Blocks are read through [`Fetch`], and their storage belongs to other crates.

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
