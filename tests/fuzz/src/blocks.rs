//! Fuzz targets for blocks, manifests, CAR files, chunks, UnixFS nodes, and the moves of a dispute.

use r3mes_wgpu::{
    dispute::judge::{Hash, LeafChallenge, Move},
    model::peft::GradientPackage,
    numbers::lora::{GradientMatrix, LoraAdapter},
    protocol::{AdapterState, Aggregate, Artifact, Chunk, Gradient, MatrixSpec, Receipt, Task, TaskTerms, parts},
    simulation::job,
    store::{
        Block, CarReader, Cid, Codec, Dag, MAX_CAR_BYTES, StoreError, car_header, car_section, links,
        unixfs::{FileLayout, FileReader},
    },
    training::optimizer::{Optimizer, Settings},
};
use std::sync::LazyLock;

fn task() -> Task {
    let terms = TaskTerms {
        job: job(),
        adapter: Codec::DagCbor.cid(b"adapter"),
        chunk: Codec::Raw.cid(b"chunk"),
        seed: [5; 32],
        miner: "remes1somebody".to_owned(),
    };
    Task::new(terms).expect("terms within their limits")
}

/// An artifact with a small gradient, and the DAG of its blocks.
pub(crate) static ARTIFACT: LazyLock<(Artifact, Dag)> = LazyLock::new(|| {
    let matrix = |spec: &MatrixSpec| GradientMatrix {
        name: spec.name.clone(),
        rows: spec.rows as usize,
        columns: spec.columns as usize,
        exponent: spec.exponent,
        values: (0..spec.len() as i64).map(|at| (at - 9) << 30).collect(),
    };
    let gradient = Gradient { loss: 77, tokens: 2047, matrices: job().matrices.iter().map(matrix).collect() };
    let artifact = Artifact::gradient(&task(), &gradient).expect("the task's shapes");
    let dag = artifact.dag().expect("a small one");
    (artifact, dag)
});

static ADAPTER: LazyLock<Dag> = LazyLock::new(|| {
    let shapes = [("layers.0.attention.q".to_owned(), 6, 6)];
    let adapter = LoraAdapter::seeded(4, 8, &shapes, [4; 32]).expect("sizes within their limits");
    let optimizer = Optimizer::new(Settings::ADAMW, &adapter).expect("its settings").to_bytes();
    AdapterState { adapter, optimizer }.dag().expect("a small one")
});

/// Decodes the bytes as a block of each codec, as a task, as a receipt, and as the state of an optimizer. If a task or
/// a receipt can be decoded, its encoding must consist of the same bytes.
pub(crate) fn block(bytes: &[u8]) {
    for codec in Codec::ALL {
        let Ok(block) = Block::new(codec, bytes.to_vec()) else { return };
        let _ = links(&block);
        let _ = parts(&block);
    }
    if let Ok(task) = Task::decode(bytes) {
        assert_eq!(task.block().bytes(), bytes, "a task has one encoding");
    }
    if let Ok(receipt) = Receipt::decode(bytes) {
        assert_eq!(receipt.block().bytes(), bytes, "a receipt has one encoding");
    }
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(receipt) = Receipt::from_json(text)
    {
        assert_eq!(Receipt::from_json(&receipt.to_json()), Ok(receipt), "JSON holds the same receipt");
    }
    let _ = Optimizer::from_bytes(bytes);
}

/// Returns the seeds (initial inputs) of the fuzz target [`block`]: a task, a receipt, a gradient package, a list of
/// blocks to pin, and all blocks of an artifact and of an adapter.
pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let (artifact, dag) = &*ARTIFACT;
    let receipt = Receipt::new(task(), artifact, vec!["http://127.0.0.1:7717".to_owned()]).expect("its own task");
    let package = GradientPackage::new(&receipt, artifact, 3).expect("its own task");
    let mut seeds = vec![task().block().into_bytes(), receipt.block().into_bytes(), receipt.to_json().into_bytes()];
    seeds.push(package.to_bytes());
    seeds.push(dag.pin_list().expect("few blocks").into_bytes());
    seeds.extend(dag.blocks.iter().chain(&ADAPTER.blocks).map(|block| block.bytes().to_vec()));
    seeds
}

/// Reads the bytes as a CAR file twice: all at once, and in pieces of 7 bytes. Both ways must give the same result. A
/// DAG that was read must be the same after it is written and read again.
pub(crate) fn car(bytes: &[u8]) {
    let read = |piece: usize| -> Result<(Vec<Cid>, Vec<Block>), StoreError> {
        let (mut reader, mut blocks) = (CarReader::new(MAX_CAR_BYTES), Vec::new());
        bytes.chunks(piece).try_for_each(|bytes| reader.push(bytes, &mut blocks))?;
        Ok((reader.finish()?, blocks))
    };
    let whole = read(usize::MAX);
    let pieces = read(7);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "reading in pieces makes no difference");
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert_eq!(whole, pieces, "reading in pieces makes no difference");
    }
    if let Ok(dag) = Dag::from_car(bytes) {
        assert_eq!(Dag::from_car(&dag.to_car()), Ok(dag), "written and read again");
    }
}

/// Returns the seeds (initial inputs) of the fuzz target [`car`]: two CARs of an artifact (only the first one begins
/// with the root block), a CAR of an adapter, a CAR of a file, and an empty input.
pub(crate) fn cars() -> Vec<Vec<u8>> {
    let layout = FileLayout::new(16, 3).expect("a small layout");
    let file = Dag::file(layout, &[9; 200]).expect("a small file");
    let dag = &ARTIFACT.1;
    let in_order = dag.blocks.iter().rev().flat_map(car_section);
    let in_order = car_header(dag.root).into_iter().chain(in_order).collect();
    vec![in_order, dag.to_car(), ADAPTER.to_car(), file.to_car(), Vec::new()]
}

/// Returns a function that fetches a block by its CID: `bytes` for the CID `root`, and a block of `dag` for any other
/// CID.
fn among<'a>(root: Cid, bytes: &'a [u8], dag: &'a Dag) -> impl Fn(&Cid) -> Result<Vec<u8>, StoreError> + 'a {
    move |cid| if *cid == root { Ok(bytes.to_vec()) } else { dag.get(cid) }
}

/// Decodes the bytes as the manifest of an artifact, and fetches the blocks to which the manifest refers. Only the
/// blocks of [`ARTIFACT`] can be fetched. If all blocks are found, encoding the manifest again must give the same
/// bytes.
pub(crate) fn artifact(bytes: &[u8]) {
    let root = Codec::DagCbor.cid(bytes);
    let _ = Artifact::links(bytes);
    if let Ok(artifact) = Artifact::fetch(&task(), &root, &among(root, bytes, &ARTIFACT.1)) {
        assert_eq!(artifact.dag().map(|dag| dag.root), Ok(root), "an artifact has one encoding");
        let _ = Aggregate::new(&job()).add(&artifact);
    }
}

/// Returns the seeds (initial inputs) of the fuzz target [`artifact`]: the manifest of an artifact with a gradient, and
/// the manifest of a void artifact, which has no gradient.
pub(crate) fn artifacts() -> Vec<Vec<u8>> {
    let manifest = |dag: &Dag| dag.get(&dag.root).expect("its root");
    vec![manifest(&ARTIFACT.1), manifest(&Artifact::void(&task()).dag().expect("a small one"))]
}

/// Decodes the bytes as the manifest of an adapter, and fetches the blocks to which the manifest refers. Only the
/// blocks of `ADAPTER` can be fetched. If all blocks are found, encoding the manifest again must give the same bytes.
pub(crate) fn adapter(bytes: &[u8]) {
    let root = Codec::DagCbor.cid(bytes);
    let _ = AdapterState::links(bytes);
    if let Ok(state) = AdapterState::fetch(&root, &among(root, bytes, &ADAPTER)) {
        assert_eq!(state.dag().map(|dag| dag.root), Ok(root), "an adapter has one encoding");
        let _ = Optimizer::from_bytes(&state.optimizer);
    }
}

/// Returns the only seed (initial input) of the fuzz target [`adapter`]: the manifest of an adapter.
pub(crate) fn adapters() -> Vec<Vec<u8>> {
    vec![ADAPTER.get(&ADAPTER.root).expect("its root")]
}

/// Decodes the bytes as a chunk for a model with a vocabulary of 256 tokens. If the chunk can be decoded, encoding it
/// again must give the same bytes.
pub(crate) fn chunk(bytes: &[u8]) {
    let cid = Codec::Raw.cid(bytes);
    if let Ok(chunk) = Chunk::fetch(&cid, 256, &|_| Ok(bytes.to_vec())) {
        assert_eq!(chunk.block().cid(), cid, "a chunk has one encoding");
    }
}

/// Returns the only seed (initial input) of the fuzz target [`chunk`]: a chunk of 2048 tokens.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    vec![(0..2048u32).flat_map(|at| (at % 256).to_le_bytes()).collect()]
}

/// Decodes the bytes as the root UnixFS node of a file, and reads the file: first the whole file, then only a range of
/// it. Only the child nodes of one small file can be fetched. The bytes of the range must equal the same bytes of the
/// whole file.
pub(crate) fn unixfs(bytes: &[u8]) {
    let root = Codec::DagPb.cid(bytes);
    let dag = file();
    let fetch = among(root, bytes, &dag);
    let read = |range| FileReader::new(root, range).read(&fetch);
    let whole = read(0..u64::MAX);
    if let (Ok(whole), Ok(part)) = (whole, read(3..90)) {
        let end = whole.len().min(90);
        assert_eq!(part, whole[3.min(end)..end], "a range equals the same range of the whole");
    }
}

fn file() -> Dag {
    let bytes: Vec<u8> = (0..200).collect();
    Dag::file(FileLayout::new(16, 3).expect("a small layout"), &bytes).expect("a small file")
}

/// Returns the seeds (initial inputs) of the fuzz target [`unixfs`]: all nodes of a file except its leaves.
pub(crate) fn unixfs_nodes() -> Vec<Vec<u8>> {
    let dag = file();
    let nodes = dag.blocks.iter().filter(|block| block.cid().codec() == Codec::DagPb.code());
    nodes.map(|block| block.bytes().to_vec()).collect()
}

/// Decodes the bytes as a move of a dispute. If the move can be decoded, its encoding must consist of the same bytes.
pub(crate) fn dispute_move(bytes: &[u8]) {
    if let Ok(found) = Move::decode(bytes) {
        assert_eq!(found.encode(), bytes, "a move has one encoding");
        let _ = (found.role(), found.name());
    }
}

/// Returns the seeds (initial inputs) of the fuzz target [`dispute_move`]: moves of the kinds whose encodings are
/// short.
pub(crate) fn dispute_moves() -> Vec<Vec<u8>> {
    let moves = [
        Move::Open(vec![Hash([1; 32]), Hash([2; 32])]),
        Move::Pick(3),
        Move::Challenge(LeafChallenge::Output(1)),
        Move::Challenge(LeafChallenge::Sound),
        Move::Tile(vec![5; 64]),
        Move::Word(9),
    ];
    moves.iter().map(Move::encode).collect()
}
