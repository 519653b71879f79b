//! Finds the links of a block. Every CID that a block contains is a link to another block.

use super::{Block, Cid, Codec, StoreError, dag_pb::PbNode, inline_bytes};
use ipld_core::serde::ExtractLinks;

/// Returns the CID of every block to which a block links, in order of occurrence. An identity CID is left out, because
/// there is no block for the data that it contains. Fails if one of the CIDs has an unsupported codec or hash.
pub fn links(block: &Block) -> Result<Vec<Cid>, StoreError> {
    let found: Vec<Cid> = match Codec::of(&block.cid())? {
        Codec::Raw => Vec::new(),
        Codec::DagCbor => {
            let links: ExtractLinks<64> = serde_ipld_dagcbor::from_slice(block.bytes())
                .map_err(|error| StoreError::Malformed { what: "DAG-CBOR", reason: error.to_string() })?;
            links.into_vec()
        }
        Codec::DagPb => PbNode::read(block.bytes())?.links.iter().map(|link| link.cid()).collect::<Result<_, _>>()?,
    };
    let blocks = found.into_iter().filter(|cid| inline_bytes(cid).is_none());
    blocks.map(|cid| Codec::of(&cid).map(|_| cid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::dag_cbor;
    use multihash::Multihash;
    use proptest::prelude::*;

    #[test]
    fn links_are_found_in_every_codec() {
        let leaf = |byte| Block::new(Codec::Raw, vec![byte]).unwrap().cid();
        let found = [leaf(1), leaf(2), leaf(1)];
        let cbor = dag_cbor::block("test", &(7, found, "text", [(leaf(3), 5u8)])).unwrap();
        assert_eq!(links(&cbor), Ok(vec![leaf(1), leaf(2), leaf(1), leaf(3)]));
        let link = |cid: &Cid| super::super::dag_pb::PbLink::new(cid, 1);
        let node = PbNode { data: Some(vec![9]), links: found.iter().map(link).collect() };
        assert_eq!(links(&node.block().unwrap()), Ok(found.to_vec()));
        assert_eq!(links(&Block::new(Codec::Raw, cbor.bytes().to_vec()).unwrap()), Ok(vec![]));
    }

    #[test]
    fn identity_cids_are_no_links_and_the_error_names_an_unsupported_cid() {
        let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"abc").unwrap());
        assert_eq!(links(&dag_cbor::block("test", &identity).unwrap()), Ok(Vec::new()));
        let blake3 = Cid::new_v1(0x55, Multihash::wrap(0x1e, &[7; 32]).unwrap());
        assert_eq!(links(&dag_cbor::block("test", &blake3).unwrap()), Err(StoreError::Codec(blake3)));
    }

    #[test]
    fn deeply_nested_blocks_are_refused() {
        for byte in [0x81, 0xd8] {
            assert!(links(&Block::new(Codec::DagCbor, vec![byte; 1 << 20]).unwrap()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            for codec in Codec::ALL {
                let _ = links(&Block::new(codec, bytes.clone()).unwrap());
            }
        }
    }
}
