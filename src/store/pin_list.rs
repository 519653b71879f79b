//! A pin_list: the list of a DAG's blocks, each under its raw name, so that a pin of the list keeps these bytes and follows
//! no link in them.
//!
//! An artifact names its task, and the task its model: a recursive pin of the artifact would ask for both. Stores know
//! blocks by their hash, so a block's raw name finds it as well as its own.

use super::{Block, Cid, Codec, Dag, StoreError, dag_cbor};

const FORMAT: &str = "r3mes/pin_list/1";

impl Dag {
    /// The pin_list of all its blocks.
    pub fn pin_list(&self) -> Result<Block, StoreError> {
        let raw = |block: &Block| Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
        dag_cbor::block(FORMAT, &self.blocks.iter().map(raw).collect::<Vec<_>>())
    }
}
