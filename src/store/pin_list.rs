//! The pin list of a DAG: a block that links to every block of the DAG. If the list is pinned, a block store keeps
//! exactly these blocks.
//!
//! If an artifact itself were pinned, the block store would follow its links, and keep its task and the task's model
//! too. Therefore the pin list links to each block as a raw block, whose links are not followed. This is possible
//! because a block store identifies a block by its hash: it finds the block under the block's own CID, and also under
//! the CID that has the same hash and the codec `raw`.

use super::{Block, Cid, Codec, Dag, StoreError, dag_cbor};

const FORMAT: &str = "r3mes/pin_list/1";

impl Dag {
    /// Returns the pin list of this DAG: a block that links to every block of the DAG, by the CID that has the block's
    /// hash and the codec `raw`.
    pub fn pin_list(&self) -> Result<Block, StoreError> {
        let raw = |block: &Block| Cid::new_v1(Codec::Raw.code(), *block.cid().hash());
        dag_cbor::block(FORMAT, &self.blocks.iter().map(raw).collect::<Vec<_>>())
    }
}
