//! Verification: a claimed artifact holds exactly where it equals the one recomputed from its task.

use super::artifact::{Artifact, ArtifactBody};
use super::commitment::Commitment;
use super::error::WorkError;
use super::receipt::Receipt;
use crate::store::{Cid, Fetch};

/// The first thing in which a claim and its recomputation differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The claim's blocks are missing, altered or not of the right form.
    #[error(transparent)]
    Blocks(#[from] WorkError),
    /// The commitment is not that of the task and the artifact.
    #[error("commitment {claimed} is not that of the artifact, {found}")]
    Commitment {
        /// As claimed.
        claimed: Commitment,
        /// Of the artifact's blocks.
        found: Commitment,
    },
    /// The two are for different tasks.
    #[error("task {claimed} was claimed, task {recomputed} recomputed")]
    Task {
        /// As claimed.
        claimed: Cid,
        /// As recomputed.
        recomputed: Box<Cid>,
    },
    /// One of the two saturated, the other did not.
    #[error("the claim is {}, the recomputation {}", void(*.claimed_void), void(!*.claimed_void))]
    Void {
        /// Whether it is the claim that is void.
        claimed_void: bool,
    },
    /// The loss differs.
    #[error("the loss is {recomputed} · 2^-20 bits, not {claimed}")]
    Loss {
        /// As claimed.
        claimed: i64,
        /// As recomputed.
        recomputed: i64,
    },
    /// The supervised tokens differ.
    #[error("the supervised tokens are {recomputed}, not {claimed}")]
    Tokens {
        /// As claimed.
        claimed: u32,
        /// As recomputed.
        recomputed: u32,
    },
    /// A matrix has another place, shape or exponent.
    #[error("matrix {at} is {recomputed}, not {claimed}")]
    Matrix {
        /// Its place in canonical order.
        at: usize,
        /// As claimed.
        claimed: String,
        /// As recomputed.
        recomputed: String,
    },
    /// A matrix was shifted otherwise.
    #[error("matrix {name} has shift {recomputed}, not {claimed}")]
    Shift {
        /// The matrix.
        name: String,
        /// As claimed.
        claimed: u32,
        /// As recomputed.
        recomputed: u32,
    },
    /// An element differs.
    #[error("matrix {name} has {recomputed} at row {row}, column {column}, not {claimed}")]
    Element {
        /// The matrix.
        name: String,
        /// Below its rows.
        row: usize,
        /// Below its columns.
        column: usize,
        /// As claimed.
        claimed: i16,
        /// As recomputed.
        recomputed: i16,
    },
}

fn void(is: bool) -> &'static str {
    if is { "void" } else { "a gradient" }
}

/// Whether `claimed` is exactly `recomputed`; otherwise the first difference.
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

/// Gets the artifact that a receipt names and checks that blocks, task and commitment belong together.
pub fn open_receipt(receipt: &Receipt, fetch: Fetch) -> Result<Artifact, Mismatch> {
    let claimed = Artifact::fetch(receipt.task(), &receipt.artifact(), fetch)?;
    let found = Commitment::new(receipt.task(), &claimed.gradient_root());
    if found != receipt.commitment() {
        return Err(Mismatch::Commitment { claimed: receipt.commitment(), found });
    }
    Ok(claimed)
}

/// [`open_receipt`], then [`compare`] with the artifact `recomputed` from the receipt's task.
pub fn verify(receipt: &Receipt, fetch: Fetch, recomputed: &Artifact) -> Result<(), Mismatch> {
    compare(&open_receipt(receipt, fetch)?, recomputed)
}
