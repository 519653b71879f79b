//! Tests that flipped bits, invalid fields and random bytes never cause a panic, and that altered data is refused with
//! an error or is found to differ from the original.

use super::samples::*;
use crate::{
    protocol::*,
    store::{Block, Cid, Codec, Dag, Fetch, StoreError, dag_cbor},
};
use proptest::prelude::*;

/// Returns a function that serves the blocks of `dag`. In the block with index `block`, one bit is flipped, but the CID
/// under which the block is served is unchanged.
fn flipped(dag: &Dag, block: usize, bit: usize) -> impl Fn(&Cid) -> Result<Vec<u8>, StoreError> + '_ {
    move |cid| {
        let mut bytes = dag.get(cid)?;
        if dag.blocks[block].cid() == *cid {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Ok(bytes)
    }
}

#[test]
fn a_flipped_bit_in_any_block_contradicts_its_cid() {
    let (receipt, artifact) = receipt(Transport::Int16, 9);
    let dag = artifact.dag().unwrap();
    let state = state(&receipt.task().job).dag().unwrap();
    for (dag, is_artifact) in [(&dag, true), (&state, false)] {
        let error = |fetch: Fetch| match is_artifact {
            true => verify(&receipt, fetch, &artifact).unwrap_err(),
            false => AdapterState::fetch(&dag.root, fetch).unwrap_err().into(),
        };
        for (at, block) in dag.blocks.iter().enumerate() {
            for bit in (0..8 * block.bytes().len()).step_by(3) {
                let error = error(&flipped(dag, at, bit));
                let named = matches!(&error, Mismatch::Blocks(ProtocolError::Store(StoreError::Mismatch { claimed, .. })) if *claimed == block.cid());
                assert!(named, "{error}");
            }
        }
        for missing in &dag.blocks {
            let fetch = |cid: &Cid| if *cid == missing.cid() { Err(StoreError::Missing(*cid)) } else { dag.get(cid) };
            assert_eq!(error(&fetch), Mismatch::Blocks(StoreError::Missing(missing.cid()).into()));
        }
    }
}

/// Flips each bit of an artifact's manifest in turn, and serves the altered manifest under the CID of the altered
/// bytes. Checks that the altered manifest is malformed, belongs to another task, or differs from the recomputed
/// artifact.
#[test]
fn an_altered_manifest_under_its_new_cid_is_refused_or_differs() {
    let (receipt, artifact) = receipt(Transport::Int8, 5);
    let dag = artifact.dag().unwrap();
    let manifest = dag.blocks.last().unwrap();
    let mut reasons = std::collections::BTreeSet::new();
    for bit in 0..8 * manifest.bytes().len() {
        let mut bytes = manifest.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let forged = Block::new(Codec::DagCbor, bytes).unwrap();
        let fetch = |cid: &Cid| if *cid == forged.cid() { Ok(forged.bytes().to_vec()) } else { dag.get(cid) };
        match Artifact::fetch(receipt.task(), &forged.cid(), &fetch) {
            Err(error) => reasons.insert(format!("{error:?}").split([' ', '(', '{']).next().unwrap().to_owned()),
            Ok(read) => {
                assert_eq!(read.dag().unwrap().root, forged.cid(), "the value has another encoding");
                let different = compare(&read, &artifact).unwrap_err();
                reasons.insert(format!("{different:?}").split([' ', '(', '{']).next().unwrap().to_owned())
            }
        };
    }
    for reason in ["Store", "OtherTask", "Matrix", "Loss", "Tokens"] {
        assert!(reasons.contains(reason), "{reason} is not among {reasons:?}");
    }
}

#[test]
fn each_forged_value_is_reported_by_its_kind() {
    let job = job(Transport::Int8, 20);
    let honest = task(job.clone(), "remes1miner");
    let exact = gradient(&job, 1, 30);
    let artifact = Artifact::gradient(&honest, &exact).unwrap();
    let claim = |change: &dyn Fn(&mut Gradient)| {
        let mut gradient = exact.clone();
        change(&mut gradient);
        let forged = Artifact::gradient(&honest, &gradient).unwrap();
        let receipt = Receipt::new(honest.clone(), &forged, vec![]).unwrap();
        let dag = forged.dag().unwrap();
        verify(&receipt, &|cid| dag.get(cid), &artifact).unwrap_err()
    };
    assert!(matches!(claim(&|g| g.loss -= 1), Mismatch::Loss { .. }));
    assert!(matches!(claim(&|g| g.tokens -= 1), Mismatch::Tokens { .. }));
    assert!(matches!(claim(&|g| g.matrices[3].values[0] = 1 << 40), Mismatch::Shift { .. }));
    let Mismatch::Element { name, row, column, .. } = claim(&|g| g.matrices[1].values[2 * 21 + 7] ^= 1 << 26) else {
        panic!("the mismatch is not in an element")
    };
    assert_eq!((name.as_str(), row, column), ("layers.0.attention.q.b", 2, 7));
    let other = Receipt::new(task(job, "remes1other"), &artifact, vec![]).unwrap();
    let dag = artifact.dag().unwrap();
    let copied = verify(&other, &|cid| dag.get(cid), &artifact).unwrap_err();
    assert!(matches!(copied, Mismatch::Blocks(ProtocolError::OtherTask { .. })), "{copied}");
}

#[test]
fn wrong_gradients_and_tasks_are_refused() {
    let job = job(Transport::Int8, 20);
    let task = task(job.clone(), "remes1miner");
    let changes: [fn(&mut Gradient); 6] = [
        |g| g.matrices.truncate(3),
        |g| g.matrices.swap(0, 1),
        |g| g.matrices[1].exponent += 1,
        |g| g.matrices[1].values.truncate(4),
        |g| g.tokens = 0,
        |g| g.tokens = 2049,
    ];
    for change in changes {
        let mut gradient = gradient(&job, 1, 30);
        change(&mut gradient);
        assert!(Artifact::gradient(&task, &gradient).is_err());
    }
    let changes: [fn(&mut TaskTerms); 11] = [
        |t| t.job.rank = 3,
        |t| t.job.rank = 65,
        |t| t.job.rank = 8,
        |t| t.job.targets.swap(0, 1),
        |t| t.job.targets[1] = "attention.q".to_owned(),
        |t| t.job.matrices.swap(0, 1),
        |t| t.job.matrices[0].name = "layers.00.attention.q.a".to_owned(),
        |t| t.job.matrices[0].columns = 0,
        |t| t.job.matrices[0].exponent = 4000,
        |t| t.miner = String::new(),
        |t| t.miner = "with space".to_owned(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut terms = TaskTerms::from(task.clone());
        change(&mut terms);
        let bytes = dag_cbor::encode("r3mes/task/1", &terms);
        assert!(Task::new(terms).is_err(), "change {at} was accepted");
        assert!(Task::decode(&bytes).is_err(), "change {at} was decoded");
    }
}

#[test]
fn a_flipped_bit_in_a_receipt_is_refused_or_another_receipt() {
    let (receipt, artifact) = receipt(Transport::Int8, 5);
    let (bytes, dag) = (receipt.block().into_bytes(), artifact.dag().unwrap());
    for bit in 0..8 * bytes.len() {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let Ok(read) = Receipt::decode(&altered) else { continue };
        assert_eq!(read.block().bytes(), altered, "the value has another encoding");
        let only_hints = read.locations() != receipt.locations();
        assert_eq!(verify(&read, &|cid| dag.get(cid), &artifact).is_ok(), only_hints, "bit {bit}");
    }
}

#[test]
fn other_encodings_of_the_same_value_are_refused() {
    let (receipt, _) = receipt(Transport::Int8, 5);
    let bytes = receipt.block().into_bytes();
    assert_eq!(bytes[..2], [0xa2, 0x64], "a map of two entries, the first key having four letters");
    let long_map = [&[0xb8, 2], &bytes[1..]].concat();
    let open_map = [&[0xbf], &bytes[1..], &[0xff]].concat();
    let tagged = [&[0xd9, 0xd9, 0xf7], &bytes[..]].concat();
    let trailing = [&bytes[..], &[0]].concat();
    for other in [long_map, open_map, tagged, trailing, bytes[..bytes.len() - 1].to_vec(), Vec::new()] {
        assert!(Receipt::decode(&other).is_err());
    }
    assert!(Task::decode(&bytes).is_err(), "a receipt was decoded as a task");
    let state = state(&job(Transport::Int8, 5)).dag().unwrap();
    let read = AdapterState::fetch(&receipt.artifact(), &|_| Ok(state.blocks.last().unwrap().bytes().to_vec()));
    assert!(read.is_err());
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let fetch = |_: &Cid| Ok(bytes.clone());
        let (raw, cbor) = (Codec::Raw.cid(&bytes), Codec::DagCbor.cid(&bytes));
        let (receipt, _) = receipt(Transport::Int8, 5);
        prop_assert!(Task::decode(&bytes).is_err());
        prop_assert!(Receipt::decode(&bytes).is_err());
        prop_assert!(Receipt::from_json(&String::from_utf8_lossy(&bytes)).is_err());
        prop_assert!(Chunk::fetch(&raw, 256, &fetch).is_err());
        prop_assert!(AdapterState::fetch(&cbor, &fetch).is_err());
        prop_assert!(Artifact::fetch(receipt.task(), &cbor, &fetch).is_err());
    }

    /// Overwrites several bytes of an encoding, or inserts several bytes into it. Checks that nothing panics. If the
    /// altered bytes can still be decoded, checks that they are the canonical encoding of the decoded value.
    #[test]
    fn spliced_bytes_never_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), insert: bool) {
        let (receipt, artifact) = receipt(Transport::Int8, 5);
        let manifest = artifact.dag().unwrap().blocks.last().unwrap().bytes().to_vec();
        let state = state(&receipt.task().job).dag().unwrap();
        for source in [receipt.block().into_bytes(), manifest, state.blocks.last().unwrap().bytes().to_vec()] {
            let mut bytes = source;
            for (at, byte) in &cuts {
                let at = at.index(bytes.len());
                if insert { bytes.insert(at, *byte) } else { bytes[at] = *byte }
            }
            if let Ok(read) = Receipt::decode(&bytes) {
                prop_assert_eq!(read.block().into_bytes(), bytes.clone());
            }
            let cid = Codec::DagCbor.cid(&bytes);
            let fetch = |asked: &Cid| if *asked == cid { Ok(bytes.clone()) } else { state.get(asked).or(artifact.dag().unwrap().get(asked)) };
            if let Ok(read) = Artifact::fetch(receipt.task(), &cid, &fetch) {
                prop_assert_eq!(read.dag().unwrap().root, cid);
            }
            if let Ok(read) = AdapterState::fetch(&cid, &fetch) {
                prop_assert_eq!(read.dag().unwrap().root, cid);
            }
        }
    }
}
