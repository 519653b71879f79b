//! Tests that the acknowledged blocks of a node survive a restart, `kill -9` and a power cut.
//!
//! All tests execute the same list of transactions, with one transaction per block. The ledger roots are therefore the
//! same in every execution, so an interrupted execution can be compared with an uninterrupted one, block by block.

mod kill;
mod power_cut;
mod search;

use super::*;
use r3mes_wgpu::{
    ledger::{Genesis, LedgerParams, Tx},
    numbers::lora::{LoraAdapter, LoraMatrix},
    protocol::{AdapterState, CHUNK_TOKENS, MatrixSpec, cut_text},
    simulation::{CHAIN, address, genesis, key},
    tx::{Fee, Message, MsgClaimTask, Transfer, code},
};
use redb::{Database, backends::InMemoryBackend};
use std::sync::OnceLock;

/// The number of blocks, and of transactions, in the list that all tests execute.
const BLOCKS: u64 = 24;

pub(crate) fn setup(chunks: usize) -> Setup {
    let Genesis { job, dispute_context, layout_root, .. } = genesis(2, LedgerParams::EMBEDDED, &[]);
    let lora = |spec: &MatrixSpec| LoraMatrix { name: spec.name.clone(), rows: 4, columns: 6, values: vec![3; 24] };
    let adapter = LoraAdapter { rank: 4, alpha: 8, matrices: job.matrices.iter().map(lora).collect() };
    let terms = GenesisTerms {
        chain_id: CHAIN.to_owned(),
        params: LedgerParams::EMBEDDED,
        rank: 4,
        seed: [3; 32],
        quota: 2,
        accounts: vec![(address(1), 1_000_000)],
        nodes: vec![(address(9), 1_000_000, vec![3, 4])],
        consensus_keys: Default::default(),
    };
    let text: Vec<u8> = (0..chunks * CHUNK_TOKENS).map(|at| (at * at / 7 % 90 + 35) as u8).collect();
    let adapter = AdapterState { adapter, optimizer: vec![0; 8] };
    Setup::new(terms, job, (dispute_context, layout_root), &adapter, cut_text(&text).collect()).unwrap()
}

pub(crate) fn memory() -> RecoveringDatabase {
    RecoveringDatabase::once(Database::builder().create_with_backend(InMemoryBackend::new()).unwrap())
}

pub(crate) fn node(database: RecoveringDatabase) -> Result<Node> {
    node_with(database, |_| {})
}

/// Like [`node`], but `change` edits the genesis.
pub(crate) fn node_with(database: RecoveringDatabase, change: impl FnOnce(&mut Genesis)) -> Result<Node> {
    let mut setup = setup(5);
    change(&mut setup.genesis);
    Node::with(database, BlockStore::in_memory(QUOTA)?, &setup, 0)
}

/// Returns the signed transaction that the block after the block at `height` contains.
pub(crate) fn transaction(height: u64) -> Vec<u8> {
    let (from, to) = (address(1), address(2 + (height % 5) as u8));
    let message = match height {
        3 => Message::ClaimTask(MsgClaimTask { miner: from, pool_id: 0, chunk_id: 1 }),
        _ => Message::Send(Transfer { from, to, amount: height + 1 }),
    };
    key(1).sign(CHAIN, height, &Fee { amount: 1, granter: None }, &[message]).unwrap()
}

/// Adds the blocks that are still missing up to the height [`BLOCKS`]. After each block, calls `on_block` with the
/// height and the ledger root.
fn run(node: &Node, mut on_block: impl FnMut(u64, [u8; 32])) -> Result<()> {
    loop {
        let height = node.ledger().state().head().height;
        if height == BLOCKS {
            return Ok(());
        }
        node.admit(transaction(height), 1_000)?;
        let added = node.produce(1_000 + height)?.context("a block")?;
        assert_eq!((added.block.height, added.applied.outcomes[0].log.as_str()), (height + 1, ""));
        on_block(height + 1, node.ledger().root());
    }
}

/// Returns the ledger roots of an uninterrupted execution. The element with index `h` is the root after the block at
/// height `h`, and the first element is the root of the genesis.
fn roots() -> &'static [[u8; 32]] {
    static ROOTS: OnceLock<Vec<[u8; 32]>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let node = node(memory()).unwrap();
        let mut roots = vec![node.ledger().root()];
        run(&node, |_, root| roots.push(root)).unwrap();
        roots
    })
}

/// Asserts that a node that was opened after an interruption has at least the first `acknowledged` blocks, and that
/// each of its blocks is the same as in an uninterrupted execution.
fn assert_intact(node: &Node, acknowledged: u64, context: &str) {
    let height = node.ledger().state().head().height;
    assert!(height >= acknowledged, "{context}: {acknowledged} blocks were acknowledged, {height} were found");
    assert_eq!(node.ledger().root(), roots()[height as usize], "{context}");
    for height in 1..=height {
        let record = node.block(height).unwrap().expect("a block that is kept");
        assert_eq!(record.root, roots()[height as usize], "{context}");
        let found = node.transaction(&record.outcomes[0].hash).unwrap().unwrap();
        assert_eq!((found.height, &found.outcome), (height, &record.outcomes[0]), "{context}");
    }
}

#[test]
fn an_uninterrupted_run_is_complete_and_stores_claimed_tasks() {
    let node = node(memory()).unwrap();
    run(&node, |_, _| {}).unwrap();
    assert_intact(&node, BLOCKS, "uninterrupted");
    let held = node.ledger().held(key(1).address()).unwrap().unwrap();
    assert!(node.blocks().get(&held.task.cid()).is_ok() && node.blocks().get(&held.task.chunk).is_ok());
    assert!(node.produce(2_000).unwrap().is_none(), "nothing is pending");
    let again = node.admit(transaction(3), 1_000).unwrap_err();
    assert_eq!(again.code, code::WRONG_SEQUENCE);
}

#[test]
fn blocks_can_be_read_while_others_are_added() {
    for _ in 0..20 {
        let node = node(memory()).unwrap();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| run(&node, |_, _| {}).unwrap());
            while !writing.is_finished() {
                let height = node.ledger().state().head().height;
                let root = node.block(height).unwrap().map(|record| record.root);
                assert!(height == 0 || root == Some(roots()[height as usize]), "block {height}");
                // if a block is visible, the ledger already includes it
                let shown = node.block(height + 1).unwrap().is_some();
                assert!(
                    !shown || node.ledger().state().head().height > height,
                    "the block after {height} was visible too early"
                );
            }
        });
    }
}

#[test]
fn several_transactions_of_an_account_fit_into_one_block() {
    let node = node(memory()).unwrap();
    (0..3).for_each(|height| node.admit(transaction(height), 1_000).unwrap());
    node.admit(transaction(1), 1_000).unwrap();
    let added = node.produce(1_000).unwrap().unwrap();
    assert_eq!(added.block.txs.len(), 3, "a pending transaction is added only once");
    assert!(added.applied.outcomes.iter().all(|outcome| outcome.code == 0));
    assert_eq!(node.transaction(&added.applied.outcomes[2].hash).unwrap().unwrap().index, 2);
}

#[test]
fn signatures_are_checked_without_a_lock_on_the_mempool() {
    let node = node(memory()).unwrap();
    let unlocked = |decoded: DecodedTx, chain: &str| {
        assert!(node.mempool.try_lock().is_ok(), "other requests have to wait");
        decoded.verify(chain)
    };
    node.admit_verified_by(unlocked, transaction(0), 1_000).unwrap();

    let transfer = Message::Send(Transfer { from: address(1), to: address(9), amount: 1 });
    let rival = key(1).sign(CHAIN, 1, &Fee { amount: 1, granter: None }, &[transfer]).unwrap();
    let overtaken = |decoded: DecodedTx, chain: &str| {
        node.admit(rival, 1_000).unwrap();
        decoded.verify(chain)
    };
    let refusal = node.admit_verified_by(overtaken, transaction(1), 1_000).unwrap_err();
    assert_eq!(refusal.code, code::WRONG_SEQUENCE, "the sequence was used while the signatures were checked");

    let unchecked = |_: DecodedTx, _: &str| panic!("the signatures of a transaction that is refused anyway");
    assert_eq!(node.admit_verified_by(unchecked, transaction(9), 1_000).unwrap_err().code, code::WRONG_SEQUENCE);
    node.admit_verified_by(unchecked, transaction(0), 1_000).unwrap();
    assert_eq!(node.produce(1_000).unwrap().unwrap().block.txs.len(), 2);
}

#[test]
fn a_folder_of_another_genesis_is_refused() {
    let folder = std::env::temp_dir().join(format!("r3mes-node-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ledger.new"), [0; 4096]).unwrap();
    {
        let node = Node::open(&folder, setup(5), 0).unwrap();
        run(&node, |_, _| {}).unwrap();
        let second = Node::open(&folder, setup(5), 0).err().unwrap();
        assert!(format!("{second:#}").contains("another process uses the ledger"), "{second:#}");
    }
    let error = Node::open(&folder, setup(6), 0).err().unwrap();
    assert!(format!("{error:#}").contains("which differs in the text"), "{error:#}");
    assert_intact(&Node::open(&folder, setup(5), 0).unwrap(), BLOCKS, "opened again with the right genesis");
    let stopped = StoppedNode::open(&folder).unwrap();
    assert_eq!(stopped.ledger.root(), roots()[BLOCKS as usize]);
    assert!(AdapterState::fetch(&stopped.ledger.state().adapter(), &|cid| stopped.blocks.get(cid)).is_ok());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_fee_below_the_minimum_is_refused() {
    let node = Node::with(memory(), BlockStore::in_memory(QUOTA).unwrap(), &setup(5), 2).unwrap();
    let refusal = node.admit(transaction(0), 1_000).unwrap_err();
    assert_eq!((refusal.code, refusal.log.contains("required 2uremes")), (code::INSUFFICIENT_FEE, true), "{refusal}");
}
