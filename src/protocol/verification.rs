//! Verification: the artifact of a receipt is valid if and only if it equals the artifact that is recomputed from its
//! task.

use super::artifact::{Artifact, ArtifactBody};
use super::commitment::Commitment;
use super::error::ProtocolError;
use super::receipt::Receipt;
use crate::store::{Cid, Fetch};

/// The first difference between the artifact of a receipt and the recomputed one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// A block of the artifact of the receipt is missing, altered or malformed.
    #[error(transparent)]
    Blocks(#[from] ProtocolError),
    /// The commitment that a receipt states differs from the commitment that is computed from the receipt's task and
    /// artifact.
    #[error("the receipt states the commitment {claimed}, but the commitment of its task and artifact is {found}")]
    Commitment {
        /// The commitment that the receipt states.
        claimed: Commitment,
        /// The commitment that is computed from the receipt's task and the blocks of the artifact.
        found: Commitment,
    },
    /// The two artifacts belong to different tasks.
    #[error("the artifact of the receipt belongs to task {claimed}, the recomputed one to task {recomputed}")]
    Task {
        /// CID of the task to which the artifact of the receipt belongs.
        claimed: Cid,
        /// CID of the task to which the recomputed artifact belongs.
        recomputed: Box<Cid>,
    },
    /// One of the two artifacts is void (contains no gradient), and the other one is not.
    #[error(
        "the artifact of the receipt is {claimed}, but the recomputed artifact is {recomputed}",
        claimed = void(*.claimed_void), recomputed = void(!*.claimed_void)
    )]
    Void {
        /// If true, only the artifact of the receipt is void. If false, only the recomputed one is void.
        claimed_void: bool,
    },
    /// The summed losses of the two artifacts differ.
    #[error("the summed loss is {recomputed} · 2^-20 bits of information, but {claimed} · 2^-20 bits was claimed")]
    Loss {
        /// Summed loss of the artifact of the receipt, in units of 2^-20 bits of information.
        claimed: i64,
        /// Summed loss of the recomputed artifact, in units of 2^-20 bits of information.
        recomputed: i64,
    },
    /// The two artifacts state different numbers of supervised tokens (tokens that have a label).
    #[error("the number of supervised tokens is {recomputed}, but {claimed} was claimed")]
    Tokens {
        /// The number of supervised tokens (tokens that have a label) in the artifact of the receipt.
        claimed: u32,
        /// The number of supervised tokens (tokens that have a label) in the recomputed artifact.
        recomputed: u32,
    },
    /// A matrix of the two artifacts differs in name, shape or exponent, or only one of the two artifacts has it.
    #[error("matrix {at} is {recomputed} in the recomputed artifact, but {claimed} in the artifact of the receipt")]
    Matrix {
        /// Index of the matrix in canonical order.
        at: usize,
        /// Name, shape and exponent of the matrix in the artifact of the receipt, or `absent`.
        claimed: String,
        /// Name, shape and exponent of the matrix in the recomputed artifact, or `absent`.
        recomputed: String,
    },
    /// The two artifacts state different shifts for a matrix. (Rounding divides the elements by 2^shift.)
    #[error("the elements of matrix {name} are divided by 2^{recomputed} to round them, but 2^{claimed} was claimed")]
    Shift {
        /// Name of the matrix whose shifts differ.
        name: String,
        /// Shift of the matrix in the artifact of the receipt.
        claimed: u32,
        /// Shift of the matrix in the recomputed artifact.
        recomputed: u32,
    },
    /// An element of a matrix differs between the two artifacts.
    #[error("matrix {name} has the value {recomputed} at row {row}, column {column}, but {claimed} was claimed")]
    Element {
        /// Name of the matrix that contains the element.
        name: String,
        /// Index of the element's row.
        row: usize,
        /// Index of the element's column.
        column: usize,
        /// Value of the element in the artifact of the receipt, a rounded integer.
        claimed: i16,
        /// Value of the element in the recomputed artifact, a rounded integer.
        recomputed: i16,
    },
}

fn void(is: bool) -> &'static str {
    if is { "void" } else { "a gradient" }
}

/// Returns an error if `claimed` differs from `recomputed`. The error states the first difference.
pub fn compare(claimed: &Artifact, recomputed: &Artifact) -> Result<(), Mismatch> {
    if claimed.task() != recomputed.task() {
        return Err(Mismatch::Task { claimed: claimed.task(), recomputed: Box::new(recomputed.task()) });
    }
    let (ours, theirs) = match (recomputed.body(), claimed.body()) {
        (ArtifactBody::Void, ArtifactBody::Void) => return Ok(()),
        (ArtifactBody::Gradient(ours), ArtifactBody::Gradient(theirs)) => (ours, theirs),
        (_, theirs) => return Err(Mismatch::Void { claimed_void: *theirs == ArtifactBody::Void }),
    };
    if theirs.tokens != ours.tokens {
        return Err(Mismatch::Tokens { claimed: theirs.tokens, recomputed: ours.tokens });
    }
    if theirs.loss != ours.loss {
        return Err(Mismatch::Loss { claimed: theirs.loss, recomputed: ours.loss });
    }
    for at in 0..theirs.matrices.len().max(ours.matrices.len()) {
        let (claimed, recomputed) = (theirs.matrices.get(at), ours.matrices.get(at));
        let (Some(theirs), Some(ours)) = (claimed, recomputed) else {
            let shown =
                |matrix: Option<&super::TransportMatrix>| matrix.map_or("absent".into(), |m| m.spec.to_string());
            return Err(Mismatch::Matrix { at, claimed: shown(claimed), recomputed: shown(recomputed) });
        };
        if theirs.spec != ours.spec {
            return Err(Mismatch::Matrix { at, claimed: theirs.spec.to_string(), recomputed: ours.spec.to_string() });
        }
        let name = ours.spec.name.clone();
        if theirs.shift != ours.shift {
            return Err(Mismatch::Shift { name, claimed: theirs.shift, recomputed: ours.shift });
        }
        if let Some(index) = (0..ours.values.len()).find(|&index| theirs.values.get(index) != ours.values.get(index)) {
            let columns = ours.spec.columns as usize;
            let (row, column) = (index / columns, index % columns);
            let (claimed, recomputed) = (theirs.values[index], ours.values[index]);
            return Err(Mismatch::Element { name, row, column, claimed, recomputed });
        }
    }
    Ok(())
}

/// Fetches the artifact whose CID a receipt states, and returns it. Returns an error unless the blocks, the task and
/// the commitment of the artifact match the receipt.
pub fn open_receipt(receipt: &Receipt, fetch: Fetch) -> Result<Artifact, Mismatch> {
    let claimed = Artifact::fetch(receipt.task(), &receipt.artifact(), fetch)?;
    let found = Commitment::new(receipt.task(), &claimed.gradient_root());
    if found != receipt.commitment() {
        return Err(Mismatch::Commitment { claimed: receipt.commitment(), found });
    }
    Ok(claimed)
}

/// Fetches the artifact whose CID a receipt states. Returns an error unless its blocks, task and commitment match the
/// receipt, and the artifact equals `recomputed`, which the caller has computed from the receipt's task.
pub fn verify(receipt: &Receipt, fetch: Fetch, recomputed: &Artifact) -> Result<(), Mismatch> {
    compare(&open_receipt(receipt, fetch)?, recomputed)
}
