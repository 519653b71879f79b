//! The receipt: a task, the CID of its artifact, and the commitment to the task and the gradient. Anybody who has a
//! receipt can verify the gradient.

use super::artifact::Artifact;
use super::commitment::Commitment;
use super::error::{ProtocolError, in_range};
use super::task::Task;
use crate::store::{Block, Cid, StoreError, dag_cbor};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "r3mes/receipt/1";
const MAX_LOCATIONS: i64 = 8;
const MAX_LOCATION_BYTES: i64 = 256;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptFields {
    task: Task,
    artifact: Cid,
    commitment: Commitment,
    locations: Vec<String>,
}

/// A record of a computed task: the task, the CID of its artifact, and the commitment. The miner of the task keeps this
/// record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ReceiptFields", into = "ReceiptFields")]
pub struct Receipt(ReceiptFields);

impl Receipt {
    /// Builds the receipt of `artifact`, which is the result of `task`. `locations` are URLs from which the blocks of
    /// the artifact can be fetched.
    pub fn new(task: Task, artifact: &Artifact, locations: Vec<String>) -> Result<Self, ProtocolError> {
        let commitment = Commitment::new(&task, &artifact.gradient_root());
        ReceiptFields { artifact: artifact.dag()?.root, task, commitment, locations }.try_into()
    }

    /// Returns the task that was computed.
    pub fn task(&self) -> &Task {
        &self.0.task
    }

    /// Returns the CID of the artifact, which is the result of the task.
    pub fn artifact(&self) -> Cid {
        self.0.artifact
    }

    /// Returns the commitment to the task and the gradient.
    pub fn commitment(&self) -> Commitment {
        self.0.commitment
    }

    /// Returns URLs from which the blocks of the artifact can be fetched. They are hints that need not be trusted,
    /// because every block is checked against its CID.
    pub fn locations(&self) -> &[String] {
        &self.0.locations
    }

    /// Returns the DAG-CBOR block that encodes the receipt.
    pub fn block(&self) -> Block {
        dag_cbor::block(FORMAT, self).expect("the constructor checked the size")
    }

    /// Decodes a receipt from DAG-CBOR. Returns an error unless `bytes` is the canonical encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        Ok(dag_cbor::decode(FORMAT, bytes)?)
    }

    /// Returns the receipt as DAG-JSON. In this format, a CID is `{"/": "bafy…"}`, and bytes are
    /// `{"/": {"bytes": "…"}}`.
    pub fn to_json(&self) -> String {
        let json = serde_ipld_dagjson::to_vec(self).expect("a value that DAG-CBOR encodes can be encoded as DAG-JSON");
        String::from_utf8(json).expect("JSON is UTF-8")
    }

    /// Parses a receipt from DAG-JSON. The order of the keys and the white space do not matter.
    pub fn from_json(json: &str) -> Result<Self, ProtocolError> {
        let malformed = |reason| StoreError::Malformed { what: "r3mes/receipt/1 in DAG-JSON", reason };
        if json.len() > 4 * crate::store::MAX_BLOCK_BYTES {
            return Err(StoreError::TooLarge { bytes: json.len() }.into());
        }
        Ok(serde_ipld_dagjson::from_slice(json.as_bytes()).map_err(|error| malformed(error.to_string()))?)
    }
}

impl TryFrom<ReceiptFields> for Receipt {
    type Error = ProtocolError;

    fn try_from(fields: ReceiptFields) -> Result<Self, ProtocolError> {
        in_range("number of locations", fields.locations.len() as i64, 0, MAX_LOCATIONS)?;
        for location in &fields.locations {
            in_range("number of bytes in a location", location.len() as i64, 1, MAX_LOCATION_BYTES)?;
        }
        let receipt = Self(fields);
        dag_cbor::block(FORMAT, &receipt)?;
        Ok(receipt)
    }
}

impl From<Receipt> for ReceiptFields {
    fn from(receipt: Receipt) -> Self {
        receipt.0
    }
}
