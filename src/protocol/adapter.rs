//! The adapter state from which a round starts: a LoRA adapter and the state of its optimizer. The *adapter root* is
//! the CID of the manifest of the adapter state.
//!
//! The manifest links to leaves, which are raw blocks. They contain each matrix, row by row, as little-endian i32 in
//! Q3.28, and the optimizer state in the encoding of `Optimizer::to_bytes`.

use super::{
    error::{ProtocolError, in_range},
    job::{MAX_MATRICES, validate_shape},
};
use crate::{
    numbers::lora::{LoraAdapter, LoraMatrix},
    store::{Block, Cid, Dag, Fetch, dag_cbor, join, split},
};
use serde::{Deserialize, Serialize};

pub(super) const FORMAT: &str = "r3mes/adapter/1";
const MAX_OPTIMIZER_BYTES: i64 = 1 << 33;

/// A LoRA adapter, and the state of the optimizer that trains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterState {
    /// The parameters of the adapter.
    pub adapter: LoraAdapter,
    /// The optimizer state, in its canonical encoding.
    pub optimizer: Vec<u8>,
}

impl AdapterState {
    /// Returns the adapter state as blocks: a manifest and its leaves. The CID of the manifest, which is the root
    /// block, is the adapter root.
    pub fn dag(&self) -> Result<Dag, ProtocolError> {
        let mut blocks = Vec::new();
        let mut leaves = |bytes: &[u8]| -> Vec<Cid> {
            let leaves = split(bytes);
            let cids = leaves.iter().map(Block::cid).collect();
            blocks.extend(leaves);
            cids
        };
        let LoraAdapter { rank, alpha, matrices } = &self.adapter;
        let mut entries = Vec::with_capacity(matrices.len());
        for LoraMatrix { name, rows, columns, values } in matrices {
            validate_shape(name, *rows, *columns, *rank)?;
            let elements = (rows * columns) as i64;
            in_range("number of elements in a matrix", values.len() as i64, elements, elements)?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let (name, rows, columns) = (name.clone(), *rows as u32, *columns as u32);
            entries.push(AdapterEntry { name, rows, columns, leaves: leaves(&bytes) });
        }
        let (optimizer, optimizer_bytes) = (leaves(&self.optimizer), self.optimizer.len() as u64);
        let manifest =
            AdapterManifest { rank: *rank as u32, alpha: *alpha, matrices: entries, optimizer, optimizer_bytes };
        manifest.validate()?;
        Ok(Dag::new(dag_cbor::block(FORMAT, &manifest)?, blocks))
    }

    /// Fetches the adapter state whose adapter root is `root`, checks every block against its CID, and decodes the
    /// state.
    pub fn fetch(root: &Cid, fetch: Fetch) -> Result<Self, ProtocolError> {
        let manifest: AdapterManifest = dag_cbor::fetch(FORMAT, root, fetch)?;
        manifest.validate()?;
        let mut matrices = Vec::with_capacity(manifest.matrices.len());
        for AdapterEntry { name, rows, columns, leaves } in manifest.matrices {
            let bytes = join(&leaves, 4 * u64::from(rows) * u64::from(columns), fetch)?;
            let values = bytes.as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect();
            matrices.push(LoraMatrix { name, rows: rows as usize, columns: columns as usize, values });
        }
        let optimizer = join(&manifest.optimizer, manifest.optimizer_bytes, fetch)?;
        let adapter = LoraAdapter { rank: manifest.rank as usize, alpha: manifest.alpha, matrices };
        Ok(Self { adapter, optimizer })
    }

    /// Returns the CIDs of the leaves to which an encoded manifest links. Using these CIDs, a store can keep or delete
    /// an adapter state as a whole.
    pub fn links(manifest: &[u8]) -> Result<Vec<Cid>, ProtocolError> {
        let manifest: AdapterManifest = dag_cbor::decode(FORMAT, manifest)?;
        let leaves = manifest.matrices.into_iter().flat_map(|entry| entry.leaves);
        Ok(leaves.chain(manifest.optimizer).collect())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterManifest {
    rank: u32,
    alpha: u32,
    matrices: Vec<AdapterEntry>,
    optimizer: Vec<Cid>,
    optimizer_bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdapterEntry {
    name: String,
    rows: u32,
    columns: u32,
    leaves: Vec<Cid>,
}

impl AdapterManifest {
    fn validate(&self) -> Result<(), ProtocolError> {
        in_range("rank", self.rank.into(), 4, 64)?;
        in_range("alpha", self.alpha.into(), 1, 1 << 16)?;
        in_range("number of matrices", self.matrices.len() as i64, 1, MAX_MATRICES as i64)?;
        in_range("optimizer state size in bytes", self.optimizer_bytes.min(1 << 62) as i64, 0, MAX_OPTIMIZER_BYTES)?;
        let mut names: Vec<&str> = self.matrices.iter().map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ProtocolError::Name { what: "matrix", name: twice[0].to_owned(), problem: "occurs twice" });
        }
        for entry in &self.matrices {
            validate_shape(&entry.name, entry.rows as usize, entry.columns as usize, self.rank as usize)?;
        }
        Ok(())
    }
}
